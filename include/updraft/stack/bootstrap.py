"""Build ``.venv`` on a bare machine: ``python3 include/updraft/stack/bootstrap.py``, which every make target calls.
With names of extras (``bootstrap.py torch``) these are added; an environment that has them keeps them. ``dev`` is what tests and
lint need, which no environment that serves has; ``tools`` is no extra, but ``.venv-tools`` with what `make audit` and `make sbom` run.

Whatever comes from a package index is checked against the hashes of the files that `make lock` writes, uv and what builds a package
from its source included. PyTorch is the exception: which build of it is wanted differs from machine to machine.

Only the standard library is there yet, and the Python that runs this may be too old for Updraft: so this file keeps to
what Python 3.6 understands, and looks for a suitable interpreter first.
"""
# ruff: noqa: UP006, UP035, UP045

import hashlib
import itertools
import json
import os
import shutil
import subprocess
import sys
from typing import Dict, Iterable, Iterator, List, Mapping, Optional, Tuple

OLDEST, NEWEST = (3, 11), (3, 13)
NAMES = ("python3.11", "python3.12", "python3.13", "python3", "python")
FREE_DISK = 5 * 1024**3
"""Bytes: the environment takes about 3 GiB, its download cache and the demo's data the rest."""
REQUIREMENTS, DEV, UV, TOOLS = (
    "requirements.txt",
    "requirements-dev.txt",
    "requirements-uv.txt",
    "requirements-tools.txt",
)
"""Pinned packages with their hashes: of every environment, of the extra ``dev`` beside it, of uv, of ``.venv-tools``."""

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))


class BootstrapError(Exception):
    """The environment cannot be built; the message says why and what to do."""


def version_of(python: str) -> Optional[Tuple[int, int]]:
    """(major, minor) of an interpreter; None when it does not run (a shim without a version behind it, say)."""
    try:
        said = subprocess.check_output(
            [python, "-c", "import sys; print('%d %d' % sys.version_info[:2])"], stderr=subprocess.DEVNULL, timeout=30
        )
        major, minor = said.split()
        return int(major), int(minor)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def find_python(running: Tuple[str, Tuple[int, int]], on_path: Iterable[Tuple[str, Optional[Tuple[int, int]]]]) -> str:
    """The interpreter to build with: the running one when it is suitable, else the first suitable one on the path.

    :param running: (path, version) of the interpreter that runs this.
    :param on_path: (path, version or None) of the others, in order of preference.
    :raises BootstrapError: when none is suitable; names those that were found.
    """
    known = []  # type: List[str]
    for path, version in itertools.chain([running], on_path):
        if version is not None and OLDEST <= version <= NEWEST:
            return path
        if version is not None:
            known.append(f"{path} is {version[0]}.{version[1]}")
    listed = ", ".join(known)
    raise BootstrapError(
        f"Updraft needs Python {OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]}, and none is on the path "
        f"(found: {listed}). Install one, or name it: `make demo PYTHON=/path/to/python3.11`."
    )


def candidates() -> Iterator[Tuple[str, Optional[Tuple[int, int]]]]:
    """The interpreters on the path, each once."""
    seen = {os.path.realpath(sys.executable)}
    for name in NAMES:
        path = shutil.which(name)
        if path and os.path.realpath(path) not in seen:
            seen.add(os.path.realpath(path))
            yield path, version_of(path)


def need_disk(free: int, folder: str) -> None:
    """Refuse to start what would fill the disk.

    :param free: bytes that are free where ``folder`` is.
    """
    if free < FREE_DISK:
        raise BootstrapError(
            f"{folder}: {free / 1024**3:.1f} GiB are free on its disk, {FREE_DISK // 1024**3} GiB are needed. "
            "Free some, or clone to another disk."
        )


def stamp_of(root: str) -> str:
    """What the environment depends on: pinned packages, how the project installs, and where it stands."""
    digest = hashlib.sha256(root.encode("utf-8", "surrogateescape"))
    for name in (REQUIREMENTS, DEV, "pyproject.toml"):
        with open(os.path.join(root, name), "rb") as file:
            digest.update(file.read())
    return digest.hexdigest()


def noted(root: str) -> Mapping[str, object]:
    """What the last build noted; empty when there was none."""
    try:
        with open(os.path.join(root, ".venv", "updraft.json")) as file:
            built = json.load(file)
    except (OSError, ValueError):
        return {}
    return built if isinstance(built, dict) else {}


def extras_of(root: str) -> List[str]:
    """The extras that ``.venv`` has."""
    extras = noted(root).get("extras", [])
    return [str(name) for name in extras] if isinstance(extras, list) else []


def is_built(root: str, extras: Iterable[str] = ()) -> bool:
    """Whether ``.venv`` is whole, of this version, and has these extras."""
    whole = noted(root).get("stamp") == stamp_of(root) and os.path.exists(in_venv(root))
    return whole and set(extras) <= set(extras_of(root))


def in_venv(root: str) -> str:
    """The environment's interpreter."""
    return os.path.join(root, ".venv", "bin", "python")


def sources(env: Mapping[str, str]) -> List[str]:
    """uv's options for the package sources that pip was told by its variables."""
    options = []
    if env.get("PIP_INDEX_URL"):
        options += ["--default-index", env["PIP_INDEX_URL"]]
    for url in env.get("PIP_EXTRA_INDEX_URL", "").split():
        options += ["--index", url]
    for place in env.get("PIP_FIND_LINKS", "").split():
        options += ["--find-links", place]
    return options


def clean(env: Mapping[str, str]) -> Dict[str, str]:
    """The environment to install with: bytecode is written (it halves every cold start), no other venv interferes."""
    unwanted = ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "UV_SYSTEM_PYTHON")
    kept = {name: value for name, value in env.items() if name not in unwanted}
    kept["PIP_ROOT_USER_ACTION"] = "ignore"  # it installs into a folder of ours, not into the system
    if env.get("PIP_CERT"):
        kept.setdefault("SSL_CERT_FILE", env["PIP_CERT"])
    return kept


def get_uv(python: str, root: str, env: Mapping[str, str]) -> str:
    """The path of uv: from pip into ``.venv-uv``, pinned, or the one on the path where there is no pip."""
    folder = os.path.join(root, ".venv-uv")
    uv = os.path.join(folder, "bin", "uv")
    if uv_version(uv) == pinned_uv(root):
        return uv
    if runs([python, "-m", "pip", "--version"]):
        shutil.rmtree(folder, ignore_errors=True)
        # --target also works where the system's Python is marked as externally managed.
        hashed = ["--no-deps", "--only-binary", ":all:", "--require-hashes", "--requirement", os.path.join(root, UV)]
        run([python, "-m", "pip", "install", "--quiet", "--target", folder, *hashed], env, root)
        return uv
    on_path = shutil.which("uv")
    if on_path and uv_version(on_path):
        return on_path
    raise BootstrapError(
        f"{python} has no pip, and there is no uv on the path. Install one of them (on Debian and Ubuntu: "
        "`apt-get install python3-pip`)."
    )


def pinned_uv(root: str) -> str:
    """The version of uv that is pinned."""
    with open(os.path.join(root, UV)) as file:
        return file.read().split("uv==", 1)[1].split()[0]


def uv_version(uv: str) -> Optional[str]:
    """The version of a uv; None when there is none."""
    try:
        words = subprocess.check_output([uv, "--version"], stderr=subprocess.DEVNULL, timeout=30).decode().split()
    except (OSError, UnicodeDecodeError, subprocess.SubprocessError):
        return None
    return words[1] if len(words) > 1 else None


def runs(command: List[str]) -> bool:
    """Whether a command exists and succeeds."""
    try:
        return subprocess.call(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0
    except OSError:
        return False


def run(command: List[str], env: Mapping[str, str], root: str) -> None:
    """Run a command to its end.

    :raises BootstrapError: when it fails.
    """
    status = subprocess.call(command, env=env, cwd=root)
    if status != 0:
        raise BootstrapError(
            f"`{' '.join(command[:6])}` failed (exit status {status}); what it said is above. "
            "Run the same make target again: it goes on from here."
        )


def build(root: str, python: str, env: Mapping[str, str], extras: Iterable[str] = ()) -> None:
    """Build ``.venv`` from ``requirements.txt``; the stamp comes last, so that an interrupted build is done again."""
    say(f"Building the environment in {root} with {python} (once; a few minutes, most of it download).")
    uv = get_uv(python, root, env)
    extras = sorted({*extras, *extras_of(root)})
    venv, half_built = os.path.join(root, ".venv"), os.path.join(root, ".venv", "half-built")
    if os.path.exists(half_built) or not os.path.exists(in_venv(root)):
        shutil.rmtree(venv, ignore_errors=True)  # a half-written package looks whole; uv's cache makes this cheap
        run([uv, "venv", "--quiet", "--no-project", "--python", python, venv], env, root)
    with open(half_built, "w"):
        pass
    requirements = os.path.join(root, REQUIREMENTS)
    install = [uv, "pip", "install", "--python", in_venv(root), "--compile-bytecode", *sources(env)]
    install += [
        "--build-constraints",
        requirements,
    ]  # of what has no wheel, and of Updraft itself: setuptools, by its hash
    files = [requirements, *([os.path.join(root, DEV)] if "dev" in extras else [])]
    run([*install, "--require-hashes", *(word for file in files for word in ("--requirement", file))], env, root)
    run([*install, "--quiet", "--no-deps", "--editable", root], env, root)
    others = [name for name in extras if name != "dev"]
    if others:
        run([*install, "--constraint", requirements, "--editable", f"{root}[{','.join(others)}]"], env, root)
    with open(os.path.join(venv, "updraft.json"), "w") as file:
        json.dump({"stamp": stamp_of(root), "python": python, "extras": extras}, file)
    os.remove(half_built)


def build_tools(root: str, python: str, env: Mapping[str, str]) -> None:
    """Build ``.venv-tools`` from its pinned packages, unless it is built."""
    folder, requirements = os.path.join(root, ".venv-tools"), os.path.join(root, TOOLS)
    complete = os.path.join(folder, "complete")
    with open(requirements, "rb") as file:
        stamp = hashlib.sha256(file.read()).hexdigest()
    if os.path.exists(complete):
        with open(complete) as noted_stamp:
            if noted_stamp.read() == stamp:
                return
    uv = get_uv(python, root, env)
    shutil.rmtree(folder, ignore_errors=True)
    run([uv, "venv", "--quiet", "--no-project", "--python", python, folder], env, root)
    install = [uv, "pip", "install", "--quiet", "--python", os.path.join(folder, "bin", "python"), *sources(env)]
    run([*install, "--require-hashes", "--requirement", requirements], env, root)
    with open(complete, "w") as written:
        written.write(stamp)


def say(text: str) -> None:
    """Tell the person."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> int:
    """Build what is missing; 0 when the environment is ready, 1 with an explanation when it cannot be."""
    extras = sys.argv[1:]
    tools = extras == ["tools"]
    if not tools and is_built(ROOT, extras):
        return 0
    try:
        python = find_python((sys.executable, (sys.version_info[0], sys.version_info[1])), candidates())
        if tools:
            build_tools(ROOT, python, clean(os.environ))
            return 0
        need_disk(shutil.disk_usage(ROOT).free, ROOT)
        build(ROOT, python, clean(os.environ), extras)
    except BootstrapError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\nInterrupted. Run the same make target again: it goes on from here.\n")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
