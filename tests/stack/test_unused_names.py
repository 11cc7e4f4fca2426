"""The list of names that stay although nothing uses them: each has a reason, and none is on it in vain."""

from __future__ import annotations

from pathlib import Path

from vulture.config import make_config
from vulture.core import Vulture

ROOT = Path(__file__).resolve().parents[2]
LIST = ROOT / ".ci" / "unused_names.py"


def listed() -> list[tuple[str, str]]:
    lines = LIST.read_text().splitlines()[1:]  # the first is the docstring
    entries = [line for line in lines if line and not line.startswith("#")]
    return [tuple(map(str.strip, entry.partition("#")[::2])) for entry in entries]


def test_each_name_has_a_reason_and_stands_there_once() -> None:
    entries = listed()
    assert len(entries) > 20
    assert [name for name, reason in entries if len(reason) < 8] == []
    assert len({name for name, _ in entries}) == len(entries)


def test_without_the_list_the_check_finds_every_name_on_it() -> None:
    config = make_config(argv=[f"--config={ROOT / 'pyproject.toml'}"])
    vulture = Vulture(ignore_decorators=config["ignore_decorators"])
    vulture.scavenge([str(ROOT / path) for path in config["paths"] if path != ".ci/unused_names.py"])
    unused = {item.name for item in vulture.get_unused_code(min_confidence=config["min_confidence"])}
    assert {name.removeprefix("_.") for name, _ in listed()} - unused == set()


def test_a_function_that_nothing_calls_is_found(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text("def forgotten():\n    return 1\n")
    config = make_config(argv=[f"--config={ROOT / 'pyproject.toml'}", str(tmp_path), str(LIST)])
    vulture = Vulture(ignore_decorators=config["ignore_decorators"])
    vulture.scavenge(config["paths"])
    assert [item.name for item in vulture.get_unused_code(min_confidence=60)] == ["forgotten"]
