"""What every answer of the control room is made of."""

from __future__ import annotations

import math
from typing import Any

from pydantic import BaseModel, ConfigDict


class View(BaseModel):
    """A frozen answer; a number that is none is null in JSON."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="null")


def finite(value: Any) -> float | None:
    """A number, or None of what is none."""
    if value is None or isinstance(value, bool):
        return None
    number = float(value)
    return number if math.isfinite(number) else None
