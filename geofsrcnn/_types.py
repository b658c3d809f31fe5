"""Names for types that stand in many signatures."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

Mask = npt.NDArray[np.bool_]

Progress = Callable[[int, int], None]

Range = tuple[float, float]

StrPath = str | os.PathLike[str]
