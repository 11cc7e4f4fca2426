// What a page does beyond showing: Airflow's choice of light or dark, filters without a button, actions, and a fresh look once a minute.
"use strict";
(() => {
  const root = document.documentElement;
  const theme = () => {
    let chosen = null;
    try {
      chosen = localStorage.getItem("theme");
    } catch { /* a browser that keeps nothing */ }
    if (chosen === "light" || chosen === "dark") root.dataset.theme = chosen;
    else delete root.dataset.theme;
  };
  theme();
  addEventListener("storage", theme);

  for (const form of document.querySelectorAll("form[data-auto]")) {
    form.querySelector("button")?.remove();
    form.addEventListener("change", () => form.requestSubmit());
  }

  // Inside of Airflow's frame a page of Airflow belongs into the window around it.
  for (const link of document.querySelectorAll("a[data-top]")) {
    link.addEventListener("click", (event) => {
      if (window.parent === window || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      const outside = window.parent.document.createElement("a");
      outside.href = link.href;
      window.parent.document.body.append(outside);
      outside.click();
      outside.remove();
    });
  }

  for (const button of document.querySelectorAll("button[data-opens]")) {
    button.addEventListener("click", () => document.getElementById(button.dataset.opens).showModal());
  }
  for (const button of document.querySelectorAll("button[data-closes]")) {
    button.addEventListener("click", () => button.closest("dialog").close());
  }
  for (const form of document.querySelectorAll("form[data-action]")) {
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const answer = form.querySelector(".answer");
      const send = form.querySelector("[type=submit]");
      answer.className = "answer";
      const body = {};
      for (const field of form.elements) {
        if (!field.name) continue;
        if (field.type === "checkbox") body[field.name] = field.checked;
        else if (field.dataset.json !== undefined) {
          try {
            body[field.name] = JSON.parse(field.value);
          } catch (error) {
            answer.textContent = `This is no JSON: ${error.message}`;
            return;
          }
        } else if (field.value !== "") body[field.name] = field.value;
      }
      send.disabled = true;
      answer.textContent = "";
      try {
        const response = await fetch(form.dataset.action, {
          method: "POST", credentials: "same-origin", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
        });
        const told = await response.json().catch(() => ({}));
        if (response.ok) {
          answer.classList.add("done");
          answer.textContent = told.words;
          setTimeout(() => location.reload(), 2500);
          return;
        }
        const detail = Array.isArray(told.detail) ? told.detail.map((one) => one.msg).join("; ") : told.detail;
        answer.textContent = detail || `Airflow refused it (${response.status})`;
      } catch (error) {
        answer.textContent = `Airflow did not answer: ${error.message}`;
      }
      send.disabled = false;
    });
  }

  // A link to a decision opens it.
  const opened = () => document.getElementById(location.hash.slice(1))?.querySelector("details")?.setAttribute("open", "");
  addEventListener("hashchange", opened);
  opened();

  const fresh = document.querySelector("[data-refresh]");
  if (fresh) {
    setInterval(() => {
      if (!document.hidden && !document.querySelector("dialog[open]")) location.reload();
    }, 1000 * Number(fresh.dataset.refresh));
  }
})();
