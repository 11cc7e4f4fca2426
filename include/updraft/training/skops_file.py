"""A scikit-learn estimator as bytes, and back: skops with a list of types that are trusted, and bytes that repeat themselves."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from typing import Any, Final

from updraft.errors import IntegrityError

TRUSTED: Final = (
    "numpy.dtype",
    "sklearn.tree._tree.Tree",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    # How HistGradientBoosting checks its input: a partial of this one function. skops holds the function of a partial against the list too.
    "functools.partial",
    "sklearn.utils.validation.check_array",
)
"""Types that the estimators hold beside those that skops trusts by itself. None of them opens a file or runs what it is given."""
_SETTLED = (1980, 1, 1, 0, 0, 0)
"""Time of every file in the archive: that of writing it would change its bytes."""


def to_bytes(kept: Mapping[str, Any]) -> bytes:
    """A skops archive in which equal models are equal bytes: skops numbers what it writes by addresses in memory, and notes the time."""
    import skops.io

    written = zipfile.ZipFile(io.BytesIO(skops.io.dumps(dict(kept))))
    numbers: dict[str, int] = {}

    def renumbered(state: Any) -> Any:
        if isinstance(state, list):
            return [renumbered(item) for item in state]
        if not isinstance(state, dict):
            return state
        changed = {key: renumbered(value) for key, value in state.items()}
        if "__id__" in changed:
            changed["__id__"] = numbers.setdefault(str(changed["__id__"]), len(numbers) + 1)
        file = changed.get("file")
        if isinstance(file, str) and file in names:
            changed["file"] = renamed.setdefault(file, f"{len(renamed) + 1}.npy")
        return changed

    names, renamed = set(written.namelist()), dict[str, str]()
    schema = renumbered(json.loads(written.read("schema.json")))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for file, name in renamed.items():
            archive.writestr(_entry(name), _array(written.read(file)), zipfile.ZIP_DEFLATED)
        archive.writestr(_entry("schema.json"), json.dumps(schema), zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _entry(name: str) -> zipfile.ZipInfo:
    return zipfile.ZipInfo(name, _SETTLED)


def _array(content: bytes) -> bytes:
    """An array's file; of the nodes of a tree, whose fields have gaps of any content between them, with these at zero."""
    import numpy as np

    array = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
    if array.dtype.names is None:
        return content
    clean = np.zeros(array.shape, array.dtype)
    for name in array.dtype.names:
        clean[name] = array[name]
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, clean, allow_pickle=False)
    return buffer.getvalue()


def from_bytes(weights: bytes) -> Mapping[str, Any]:
    """Read :func:`to_bytes` back.

    :raises IntegrityError: when it is no such archive, or holds a type that is not trusted.
    """
    import skops.io
    from skops.io.exceptions import UntrustedTypesFoundException

    try:
        kept: Mapping[str, Any] = skops.io.loads(weights, trusted=list(TRUSTED))
    except UntrustedTypesFoundException as error:
        raise IntegrityError(f"not a model of the sklearn trainer: {error}") from error
    except (zipfile.BadZipFile, OSError, ValueError, LookupError, TypeError, AttributeError, ImportError) as error:
        raise IntegrityError(f"not the skops file of a scikit-learn model: {type(error).__name__}: {error}") from error
    return kept
