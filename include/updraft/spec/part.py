"""What every part of a spec is made of: a frozen base that knows its keys, and values that people write as text."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

DURATION = r"^\d+\s*[smhdw]$"
CPU = r"^\d+(\.\d{1,3})?$|^\d+m$"
MEMORY = r"^\d+(\.\d+)?(Ki|Mi|Gi|Ti|k|M|G|T)?$"
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_LONGEST = timedelta(days=36500)
"""A century: what is longer is a slip, and would run out of the calendar when it is added to a date."""
_BYTES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_BYTES |= {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
_MOST_MEMORY = 2**50
_MOST_CORES = 10_000
_LEAST_MEMORY = 16 * 2**20
"""A pod with less cannot even start a shell: what was meant is another unit (``4`` for ``4Gi``)."""


class Part(BaseModel):
    """Base of every part of the spec: frozen, and a key that is not known is an error."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, protected_namespaces=(), allow_inf_nan=False
    )


def _duration(value: object) -> object:
    if isinstance(value, str) and (match := re.fullmatch(r"(\d+)\s*([smhdw])", value.strip())):
        digits = match[1].lstrip("0")
        if len(digits) > 12 or int(digits or 0) * _SECONDS[match[2]] > _LONGEST.total_seconds():
            raise ValueError(f"is longer than {_LONGEST.days}d, a century")
        return timedelta(seconds=int(digits or 0) * _SECONDS[match[2]])
    if isinstance(value, timedelta) and timedelta(0) <= value <= _LONGEST and not value.microseconds:
        return value
    raise ValueError("write a duration as a whole number and a unit: 90s, 30m, 6h, 1d or 2w")


def _written_duration(value: timedelta) -> str:
    """The form that hashes are made of: minutes where they come out even, as ever (``1440m``), else seconds (``45s``)."""
    seconds = int(value.total_seconds())
    return f"{seconds}s" if seconds % 60 else f"{seconds // 60}m"


def cpu_cores(text: str) -> float:
    """Cores of a quantity such as ``500m`` or ``1.5`` (Kubernetes, "Resource units").

    :raises ValueError: when there are more than any machine has.
    """
    milli = text.endswith("m")
    cores = float(text.removesuffix("m")) / (1000 if milli else 1)
    if cores > _MOST_CORES:
        raise ValueError(f"is more than {_MOST_CORES} cores")
    return cores


def memory_bytes(text: str) -> int:
    """Bytes of a quantity such as ``4Gi`` or ``500M`` (Kubernetes, "Resource units").

    :raises ValueError: when it is no amount, or more than any machine has.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT]i|[kMGT])?", text)
    if match is None:
        raise ValueError(f"{text!r} is no amount of memory")
    amount = float(match[1]) * _BYTES[match[2] or ""]
    if amount > _MOST_MEMORY:
        raise ValueError("is more memory than any machine has; mind the unit")
    return int(amount)


def mebibytes(count: int) -> str:
    """Bytes as a quantity in whole Mi, rounded up; ``Gi`` where it comes out even."""
    whole = -(-count // 2**20)
    return f"{whole // 1024}Gi" if whole % 1024 == 0 else f"{whole}Mi"


def shown_duration(value: timedelta) -> str:
    """A duration as a person writes it, in the largest unit that comes out even."""
    seconds = int(value.total_seconds())
    units = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))
    size, unit = next((size, unit) for size, unit in units if seconds % size == 0)
    return f"{seconds // size}{unit}"


def _cpu(value: object) -> object:
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    if not isinstance(value, str) or not re.fullmatch(CPU, value) or cpu_cores(value) <= 0:
        raise ValueError("write cores as 2, 1.5 or 500m")
    return value


def _memory(value: object) -> object:
    if not isinstance(value, str) or not re.fullmatch(MEMORY, value):
        raise ValueError("write memory as a number and a unit: 512Mi, 4Gi or 1.5Gi")
    if memory_bytes(value) < _LEAST_MEMORY:
        raise ValueError("is less than any training can start with; mind the unit: Mi and Gi are 2^20 and 2^30 bytes")
    return value


Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
Tag = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._/-]{0,62}$")]
Column = Annotated[str, Field(min_length=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Duration = Annotated[
    timedelta,
    BeforeValidator(_duration, json_schema_input_type=Annotated[str, Field(pattern=DURATION)]),
    PlainSerializer(_written_duration, return_type=str),
]
Cpu = Annotated[
    str,
    BeforeValidator(_cpu, json_schema_input_type=Annotated[float, Field(gt=0)] | Annotated[str, Field(pattern=CPU)]),
]
Memory = Annotated[str, BeforeValidator(_memory, json_schema_input_type=Annotated[str, Field(pattern=MEMORY)])]
