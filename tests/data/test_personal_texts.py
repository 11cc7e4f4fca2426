"""Texts of persons are seen within free text, by column and without a value; numbers that only look like it are not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from updraft.data.personal_texts import told_within


def told(texts, private=()):
    return list(told_within(pd.DataFrame({"note": texts}), private))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("please write to Ann.Lee+x@shop.example.com, thanks", "e-mail addresses"),
        ("call +49 30 1234567 after six", "phone numbers"),
        ("her number is (555) 010-1234.", "phone numbers"),
        ("paid with 4111 1111 1111 1111 on Monday", "card numbers"),
        ("IBAN DE89 3704 0044 0532 0130 00 was used", "account numbers (IBAN)"),
    ],
)
def test_each_kind_is_told_by_its_column_and_never_by_a_value(text, what):
    [sentence] = told([*["a plain note"] * 40, *[text] * 5])
    assert f"column 'note' holds what looks like {what} in 5 of 45 texts" in sentence
    assert text.split()[3] not in sentence
    assert told([text] * 5, private=("note",)) == []
    assert told([*["a plain note"] * 40, *[text] * 2]) == []


def test_what_only_looks_like_it_is_left_alone():
    random = np.random.default_rng(3)
    numbers = [
        *(f"order {number:012d}" for number in random.integers(0, 10**12, 300)),
        *(f"2024-01-{day:02} 10:30:{day:02}" for day in range(1, 29)),
        *(f"4111 1111 1111 {number}" for number in (1112, 1113, 1114, 1115)),
        *(f"version 1.{number}.0, build 20240{number}" for number in range(100)),
        *(f"{number:.6f}" for number in random.normal(size=300) * 1e6),
        *(f"@user{number} said so" for number in range(50)),
    ]
    assert told(numbers) == []


def test_columns_that_are_no_texts_are_not_read():
    assert list(told_within(pd.DataFrame({"number": [4111111111111111] * 9, "_row": ["a@b.example"] * 9}), ())) == []
