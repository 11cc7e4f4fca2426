"""docs/commands.md is what the command line says of itself."""

from __future__ import annotations

from pathlib import Path

from updraft.cli.reference import reference

PAGE = Path(__file__).parents[2] / "docs" / "commands.md"


def test_the_page_is_as_the_command_line_says() -> None:
    assert PAGE.read_text() == reference(), "docs/commands.md is stale: make docs"


def test_every_command_has_a_section_with_an_example() -> None:
    sections = PAGE.read_text().split("\n## ")[1:]
    assert len(sections) >= 13
    for section in sections:
        name = section.partition("\n")[0]
        assert f"```console\n{name}" in section, name
