"""The command `updraft`."""

from updraft.cli.main import main

__all__ = ["main"]
