"""A Python without PyTorch, as `make bootstrap` builds it, also where `make torch` was run: neither the module nor its version is found.

With this folder first on PYTHONPATH a process begins that way; :func:`torch_hidden` does it for a while to one that runs.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import Distribution, PackageNotFoundError
from types import ModuleType

_installed = Distribution.from_name


class PathWithoutTorch(PathFinder):
    """What imports from sys.path, and finds no PyTorch there."""

    @classmethod
    def find_spec(
        cls, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Of every other module."""
        return None if fullname.partition(".")[0] == "torch" else super().find_spec(fullname, path, target)


def _installed_but_torch(name: str) -> Distribution:
    """Of every other name. Not asked of a finder: `importlib_metadata`, once it is imported, puts one of its own in their place."""
    if name == "torch":
        raise PackageNotFoundError(name)
    return _installed(name)


def hide_torch() -> None:
    """Let nobody find it from here on."""
    sys.meta_path[:] = [PathWithoutTorch if finder is PathFinder else finder for finder in sys.meta_path]
    Distribution.from_name = staticmethod(_installed_but_torch)  # type: ignore[method-assign]


@contextmanager
def torch_hidden() -> Iterator[None]:
    """This process without PyTorch, also where it has been imported."""
    finders, torch = list(sys.meta_path), sys.modules.pop("torch", None)
    hide_torch()
    try:
        yield
    finally:
        sys.meta_path[:] = finders
        Distribution.from_name = _installed  # type: ignore[method-assign]
        if torch is not None:
            sys.modules["torch"] = torch


if __name__ == "sitecustomize":
    hide_torch()
