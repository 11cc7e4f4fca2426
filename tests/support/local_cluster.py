"""A server that keeps what a cluster would keep: the part of core/v1, batch/v1 and networking.k8s.io/v1 that the tasks use.

It keeps objects with their versions, selects by labels and fields, refuses names that are taken, removes what a Job owns, and
makes a Job's pods. What a node and a scheduler do, a test does: :meth:`LocalCluster.run`, :meth:`LocalCluster.end`. It may be
told to refuse, or to answer late.
"""

from __future__ import annotations

import copy
import json
import re
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

INDEX = "batch.kubernetes.io/job-completion-index"
JOB = "batch.kubernetes.io/job-name"
IMAGE_ID = "localhost/trainer@sha256:" + "1" * 64
_PATH = re.compile(
    r"/(?:api/v1|apis/(?:batch|networking\.k8s\.io)/v1)(?:/namespaces/(?P<namespace>[^/]+))?"
    r"/(?P<resource>pods|services|events|nodes|jobs|networkpolicies)(?:/(?P<name>[^/]+))?(?P<log>/log)?"
)
Thing = dict[str, Any]


class Refused(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def chosen(thing: Thing, selector: str) -> bool:
    """Whether labels meet a selector: ``a=b``, ``a!=b``, ``a``, ``!a``, all of them."""
    labels = thing["metadata"].get("labels") or {}
    for term in filter(None, selector.split(",")):
        if "!=" in term:
            name, _, value = term.partition("!=")
            met = labels.get(name) != value
        elif "=" in term:
            name, _, value = term.partition("=")
            met = labels.get(name) == value.removeprefix("=")
        else:
            met = (term.lstrip("!") in labels) != term.startswith("!")
        if not met:
            return False
    return True


def at(thing: Thing, path: str) -> Any:
    """A field, such as ``involvedObject.name``."""
    for part in path.split("."):
        thing = thing.get(part) or {}
    return thing


def merged(before: Any, change: Any) -> Any:
    """A merge patch (RFC 7386)."""
    if not isinstance(change, dict):
        return change
    kept = dict(before) if isinstance(before, dict) else {}
    for name, value in change.items():
        kept[name] = merged(kept.get(name), value)
    return {name: value for name, value in kept.items() if value is not None}


class LocalCluster:
    """The cluster's state, and what a test does to it."""

    def __init__(self, folder: Path) -> None:
        self.kubeconfig = folder / "kubeconfig"
        self.things: dict[tuple[str, str], Thing] = {}
        """(resource, name) → object."""
        self.logs: dict[str, list[tuple[datetime, str]]] = {}
        """Pod → its lines and when they were written."""
        self.asked: list[tuple[str, str]] = []
        """Method and path of every request."""
        self.late_seconds = 0.0
        self._refusals: list[tuple[str, str, int, str]] = []
        self._lock = threading.RLock()
        self._version = 0
        node = {"metadata": {"name": "node-1"}, "spec": {}}
        self.put("nodes", {**node, "status": {"allocatable": {"cpu": "8", "memory": "32Gi", "nvidia.com/gpu": "1"}}})

    # -- what a test does ------------------------------------------------------------------------------------------

    def refuse(self, method: str, resource: str, status: int, message: str) -> None:
        """Refuse the next request of this kind."""
        self._refusals.append((method, resource, status, message))

    def all(self, resource: str) -> list[Thing]:
        """Copies of the objects of one kind."""
        with self._lock:
            return [copy.deepcopy(thing) for (kind, _), thing in sorted(self.things.items()) if kind == resource]

    def write_log(self, pod: str, text: str) -> None:
        """Add the lines of a text to a pod's log."""
        with self._lock:
            self.logs.setdefault(pod, []).extend((datetime.now(UTC), line) for line in text.splitlines())

    def schedule(self, pod: str) -> None:
        """Give a pod a node, and let its container run."""
        state = {"running": {"startedAt": now()}}
        self._status(pod, {"phase": "Running"}, state)

    def end(self, pod: str, code: int = 0, *, reason: str | None = None, message: str = "", **status: Any) -> None:
        """End a pod's container."""
        words = reason or ("Completed" if code == 0 else "Error")
        state = {"terminated": {"exitCode": code, "reason": words, "message": message, "finishedAt": now()}}
        self._status(pod, {"phase": "Failed" if code else "Succeeded", **status}, state)

    def hold(self, pod: str, reason: str, message: str) -> None:
        """Keep a pod's container from being made."""
        self._status(pod, {"phase": "Pending"}, {"waiting": {"reason": reason, "message": message}})

    def remove(self, resource: str, name: str) -> None:
        """Delete an object, and what it owns."""
        with self._lock:
            gone = self.things.pop((resource, name))
            for key, thing in list(self.things.items()):
                owners = thing["metadata"].get("ownerReferences") or ()
                if any(owner["uid"] == gone["metadata"]["uid"] for owner in owners):
                    self.things.pop(key, None)

    def admit(self, job: str) -> None:
        """Let a suspended Job begin, as a queue does."""
        with self._lock:
            self.things["jobs", job]["spec"]["suspend"] = False
            self._make_pods(self.things["jobs", job])

    def put(self, resource: str, thing: Thing) -> Thing:
        """Keep an object as the cluster would."""
        with self._lock:
            meta = thing.setdefault("metadata", {})
            if not meta.get("name"):
                meta["name"] = f"{meta['generateName']}{uuid.uuid4().hex[:5]}"
            if (resource, meta["name"]) in self.things:
                raise Refused(409, f'{resource} "{meta["name"]}" already exists')
            self._version += 1
            meta |= {"uid": str(uuid.uuid4()), "creationTimestamp": now(), "resourceVersion": str(self._version)}
            self.things[resource, meta["name"]] = thing
            if resource == "pods":
                unscheduled = {"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available"}
                thing["status"] = {"phase": "Pending", "conditions": [unscheduled]}
            if resource == "jobs":
                thing["status"] = {}
                if not thing["spec"].get("suspend"):
                    self._make_pods(thing)
            return thing

    def _make_pods(self, job: Thing) -> None:
        meta = job["metadata"]
        for number in range(job["spec"].get("completions", 1)):
            pod = copy.deepcopy(job["spec"]["template"])
            own = pod.setdefault("metadata", {})
            own["name"], own["namespace"] = f"{meta['name']}-{number}-{uuid.uuid4().hex[:5]}", meta["namespace"]
            own["labels"] = {**(own.get("labels") or {}), JOB: meta["name"], INDEX: str(number)}
            own["ownerReferences"] = [
                {"apiVersion": "batch/v1", "kind": "Job", "name": meta["name"], "uid": meta["uid"]}
            ]
            self.put("pods", pod)
        job["status"] = {"active": job["spec"].get("completions", 1), "startTime": now()}

    def _status(self, pod: str, status: Thing, state: Thing) -> None:
        with self._lock:
            thing = self.things["pods", pod]
            thing["spec"]["nodeName"] = "node-1"
            [container] = thing["spec"]["containers"]
            told = {"name": container["name"], "image": container["image"], "imageID": IMAGE_ID, "state": state}
            told |= {"ready": "running" in state, "restartCount": 0}
            scheduled = [{"type": "PodScheduled", "status": "True"}]
            thing["status"] = {**thing["status"], "conditions": scheduled, **status, "containerStatuses": [told]}

    # -- what the API answers --------------------------------------------------------------------------------------

    def answer(self, method: str, url: str, body: Thing) -> Thing | str:
        """One request.

        :raises Refused: with the status and the words of the cluster.
        """
        split = urlsplit(url)
        self.asked.append((method, split.path))
        time.sleep(self.late_seconds)
        matched = _PATH.fullmatch(split.path)
        if matched is None:
            raise Refused(404, "the server could not find the requested resource")
        resource, name = matched["resource"], matched["name"]
        asked = {key: values[0] for key, values in parse_qs(split.query).items()}
        with self._lock:
            for refusal in self._refusals:
                if refusal[:2] == (method, resource):
                    self._refusals.remove(refusal)
                    raise Refused(*refusal[2:])
            if method == "POST":
                return self.put(resource, body)
            if name is None:
                return self._list(resource, asked)
            if (resource, name) not in self.things:
                raise Refused(404, f'{resource} "{name}" not found')
            if method == "PATCH":
                self.things[resource, name] = merged(self.things[resource, name], body)
            elif method == "DELETE":
                self.remove(resource, name)
                return {"kind": "Status", "apiVersion": "v1", "status": "Success"}
            return self._log(name, asked) if matched["log"] else self.things[resource, name]

    def _log(self, pod: str, asked: dict[str, str]) -> str:
        """The last seconds of a log are counted from now, as the kubelet does: not from when they were asked for."""
        lines = self.logs.get(pod, [])
        if "sinceSeconds" in asked:
            since = datetime.now(UTC) - timedelta(seconds=int(asked["sinceSeconds"]))
            lines = [(time, line) for time, line in lines if time >= since]
        stamped = asked.get("timestamps", "").lower() == "true"
        return "".join(f"{time:%Y-%m-%dT%H:%M:%S.%f}000Z {line}\n" if stamped else f"{line}\n" for time, line in lines)

    def _list(self, resource: str, asked: dict[str, str]) -> Thing:
        fields = [term.partition("=") for term in asked.get("fieldSelector", "").split(",") if term]
        items = [
            thing
            for (kind, _), thing in self.things.items()
            if kind == resource
            and chosen(thing, asked.get("labelSelector", ""))
            and all(at(thing, path) == value for path, _, value in fields)
        ]
        return {"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": str(self._version)}, "items": items}


class _Handler(BaseHTTPRequestHandler):
    cluster: LocalCluster
    protocol_version = "HTTP/1.1"

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length) or b"{}")
        try:
            found = self.cluster.answer(self.command, self.path, body)
            status = 201 if self.command == "POST" else 200
        except Refused as error:
            status = error.status
            found = {"kind": "Status", "status": "Failure", "code": status, "message": str(error)}
        text = isinstance(found, str)
        content = (found if isinstance(found, str) else json.dumps(found)).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain" if text else "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PATCH = do_DELETE = _serve

    def log_message(self, *_: Any) -> None:
        """Nothing: the test says what went wrong."""


@contextmanager
def local_cluster(folder: Path) -> Iterator[LocalCluster]:
    """Serve a cluster without pods, with one node; its kubeconfig is below ``folder``."""
    cluster = LocalCluster(folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"cluster": cluster}))
    server.daemon_threads = True
    url = f"http://127.0.0.1:{server.server_address[1]}"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "local",
        "clusters": [{"name": "local", "cluster": {"server": url}}],
        "users": [{"name": "local", "user": {"token": "none"}}],
        "contexts": [{"name": "local", "context": {"cluster": "local", "user": "local"}}],
    }
    cluster.kubeconfig.write_text(yaml.safe_dump(config))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield cluster
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
