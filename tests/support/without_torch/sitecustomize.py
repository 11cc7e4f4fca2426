"""A Python without PyTorch, as `make bootstrap` builds it, also where `make torch` was run: neither the module nor its metadata is found.

With this folder first on PYTHONPATH a process begins that way; :func:`torch_hidden` does it for a while to one that runs.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import Distribution, DistributionFinder
from types import ModuleType

_ANY = DistributionFinder.Context()


class PathWithoutTorch(PathFinder):
    """What imports from sys.path, and finds no PyTorch there."""

    @classmethod
    def find_spec(
        cls, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Of every other module."""
        return None if fullname.partition(".")[0] == "torch" else super().find_spec(fullname, path, target)

    @classmethod
    def find_distributions(cls, context: DistributionFinder.Context = _ANY) -> Iterable[Distribution]:  # type: ignore[override]
        """Of every other name; in a list of all it stays."""
        return () if context.name == "torch" else super().find_distributions(context)


def hide_torch() -> None:
    """Let nobody find it from here on."""
    sys.meta_path[:] = [PathWithoutTorch if finder is PathFinder else finder for finder in sys.meta_path]


@contextmanager
def torch_hidden() -> Iterator[None]:
    """This process without PyTorch, also where it has been imported."""
    finders, torch = list(sys.meta_path), sys.modules.pop("torch", None)
    hide_torch()
    try:
        yield
    finally:
        sys.meta_path[:] = finders
        if torch is not None:
            sys.modules["torch"] = torch


if __name__ == "sitecustomize":
    hide_torch()
