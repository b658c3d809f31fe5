"""Types that stand in many places."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

Mask = npt.NDArray[np.bool_]

Write = Callable[[], None]
"""Stores what was prepared; called once, in the order of the plan, by the calling thread."""

Progress = Callable[[int, int], None]

Range = tuple[float, float]

StrPath = str | os.PathLike[str]


def each_of(writes: Sequence[Write]) -> Write:
    """Make one of what stores several parts."""

    def write() -> None:
        for each in writes:
            each()

    return write


@dataclass(frozen=True)
class Facts:
    """Facts that a user asks for, as JSON too."""

    def to_dict(self) -> dict[str, Any]:
        """Return the facts as plain values, for JSON.

        Returns
        -------
        dict
            The value of each parameter, by its name.
        """
        return asdict(self)


def plain_values(value: Any, replace: Callable[[float], Any]) -> Any:
    """Values as JSON has them, which has no NaN and no infinity: `replace` says what stands for those."""
    if isinstance(value, Mapping):
        return {str(key): plain_values(each, replace) for key, each in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain_values(value.tolist(), replace)
    if isinstance(value, list | tuple):
        return [plain_values(each, replace) for each in value]
    return replace(value) if isinstance(value, float) and not math.isfinite(value) else value
