"""Functions that a drafted ``features.py`` has a copy of: it stands alone, so that the hash of that file names all that its features follow from."""

from __future__ import annotations

import inspect
import re
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np  # noqa: TID253 -- where this module is needed, they are read
import pandas as pd  # noqa: TID253


def hashed(column: pd.Series[Any], groups: int) -> pd.Series[Any]:
    """Texts as categories, so many by their hash: one that was never seen has a group too. What is missing stays missing."""
    known = {text: f"{zlib.crc32(str(text).encode()) % groups:03}" for text in column.dropna().unique()}
    return column.map(known).astype(object)


def words(name: str, texts: pd.Series[Any], groups: int) -> dict[str, np.ndarray[Any, Any]]:
    """How often words of each group stand in a text, and how many characters it has; groups are by hash, so that any word has one.

    What is missing stays missing.
    """
    counts = np.zeros((len(texts), groups))
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            counts[row] = np.nan
            continue
        for word in re.findall(r"\w+", text.lower()):
            counts[row, zlib.crc32(word.encode()) % groups] += 1
    length = np.array([len(text) if isinstance(text, str) else np.nan for text in texts], float)
    return {**{f"{name}_{group:02}": counts[:, group] for group in range(groups)}, f"{name}_length": length}


def source_of(helper: Callable[..., Any]) -> list[str]:
    """A helper's own lines."""
    return inspect.getsource(helper).rstrip("\n").split("\n")
