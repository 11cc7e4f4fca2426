"""Entry of ``python -m updraft.cli``."""

from updraft.cli.main import main

main()
