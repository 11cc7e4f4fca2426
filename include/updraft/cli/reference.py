"""``python -m updraft.cli.reference``: the command line as Markdown, for docs/commands.md (`make docs` writes it)."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from typing import Any

import typer

from updraft.cli.main import app

_HEAD = """# Commands

The command line is `.venv/bin/python -m updraft.cli`, or `updraft` with the environment active. This page is written from its
own help: `make docs`, never by hand.

Exit codes: 0 done; 1 failed; 2 wrong input (a project, a name, a file, a setting), nothing was started; 3 something needs a person;
75 a training was asked to end and goes on when run again. `--json` prints JSON for scripts, and nothing else on standard output.
`UPDRAFT_HOME` moves everything that is written, `UPDRAFT_PROJECTS` names another folder of projects; `UPDRAFT_LAKE`, `UPDRAFT_RAW`
and `UPDRAFT_AUDIT` put the lake, the raw zone and the anchors of decisions elsewhere, such as into buckets. `UPDRAFT_ENVIRONMENT`
says which `project.<environment>.yaml` overrides a `project.yaml` ([environments.md](environments.md)).
"""


def reference() -> str:
    """The whole page: each command with what it does, its arguments and options, and its example."""
    commands = list(_walk(typer.main.get_command(app), ()))
    table = ["| Command | Does |", "|---|---|"]
    table += [f"| [`{name}`](#{_anchor(name)}) | {_summary(command)} |" for name, command in commands]
    return "\n".join([_HEAD, *table, "", *("\n".join(_section(name, command)) for name, command in commands)])


def _walk(command: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    """Every command that does something, by its whole name; groups only lead to them."""
    children = getattr(command, "commands", None)
    if not children:
        yield " ".join(("updraft", *path)), command
        return
    for name in sorted(children):
        yield from _walk(children[name], (*path, name))


def _section(name: str, command: Any) -> Iterator[str]:
    """One command."""
    yield f"## {name}\n"
    for paragraph in _paragraphs(command):
        example = paragraph.removeprefix("Example: ")
        yield f"{paragraph}\n" if example == paragraph else f"```console\n{example}\n```\n"
    rows = [row for parameter in command.params if (row := _row(parameter))]
    if rows:
        yield "| | |\n|---|---|"
        yield "\n".join(rows) + "\n"


def _row(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        shown = f"`{str(parameter.name).upper()}`" + ("" if parameter.required else " (may be left out)")
    else:
        shown = ", ".join(f"`{option}`" for option in (*parameter.opts, *parameter.secondary_opts))
        shown += " (needed)" if parameter.required else ""
    words = _in_a_cell(str(parameter.help or ""))
    return f"| {shown} | {words} |"


def _paragraphs(command: Any) -> list[str]:
    """The help as its docstring has it, one paragraph each, unwrapped."""
    text = inspect.cleandoc(command.help or "")
    return [" ".join(paragraph.split()) for paragraph in text.split("\n\n") if paragraph.strip()]


def _summary(command: Any) -> str:
    return _in_a_cell(_paragraphs(command)[0])


def _in_a_cell(text: str) -> str:
    """Text in a cell of a table: neither the next cell's bar nor a tag."""
    return text.replace("|", "\\|").replace("<", "&lt;")


def _anchor(name: str) -> str:
    return name.replace(" ", "-")


if __name__ == "__main__":
    sys.stdout.write(reference())
