"""Types that stand in many places."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

Mask = npt.NDArray[np.bool_]

Progress = Callable[[int, int], None]

Range = tuple[float, float]

StrPath = str | os.PathLike[str]


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
