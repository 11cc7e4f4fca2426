from __future__ import annotations

import stat
import threading

import pandas as pd
import pytest

from updraft.data.privacy import Pseudonymiser, load_key
from updraft.errors import SettingsError

KEY = bytes(range(32))


def test_a_pseudonym_is_sixteen_hex_digits_and_always_the_same() -> None:
    assert Pseudonymiser(KEY, "shop").pseudonym("customer", "anna") == "90e6e341de68d7e5"


def test_pseudonyms_differ_by_key_project_column_and_value() -> None:
    made = {
        Pseudonymiser(key, project).pseudonym(column, value)
        for key in (KEY, KEY[::-1])
        for project in ("shop", "bank")
        for column in ("customer", "friend")
        for value in ("anna", "berta")
    }
    assert len(made) == 16


def test_nulls_stay_null() -> None:
    pseudonyms = Pseudonymiser(KEY, "shop")
    assert pseudonyms.pseudonym("customer", None) is None
    series = pseudonyms.series("customer", pd.Series(["anna", None, float("nan"), "anna"], index=[3, 2, 1, 0]))
    anna = pseudonyms.pseudonym("customer", "anna")
    assert list(series) == [anna, None, None, anna]
    assert list(series.index) == [3, 2, 1, 0]


def test_the_key_never_shows() -> None:
    assert KEY.hex() not in repr(Pseudonymiser(KEY, "shop"))
    assert repr(KEY) not in repr(vars(Pseudonymiser(KEY, "shop")).keys())


def test_a_missing_key_is_made_once_for_its_owner_only(tmp_path) -> None:
    path = tmp_path / "keys" / "pseudonym.key"
    found: list[bytes] = []
    threads = [threading.Thread(target=lambda: found.append(load_key(path))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    assert len(found[0]) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert sorted(path.parent.iterdir()) == [path, path.with_name("pseudonym.key.id")]


def test_a_short_key_is_refused(tmp_path) -> None:
    (tmp_path / "pseudonym.key").write_bytes(b"short")
    with pytest.raises(SettingsError, match="5 bytes are no pseudonym key"):
        load_key(tmp_path / "pseudonym.key")
    with pytest.raises(SettingsError, match="at least 32 bytes"):
        Pseudonymiser(b"short", "shop")
