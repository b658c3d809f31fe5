"""Count values of predictors unlike those that a network was trained on."""

from __future__ import annotations

import numpy as np

from geofsrcnn._types import Array
from geofsrcnn.errors import printable, warn
from geofsrcnn.pairs.pairing import Pairing

MANY = 0.001
"""Share of a predictor's values outside what was trained on that is worth a warning."""


class UnseenValues:
    """Values beyond those that a network was trained on, counted."""

    def __init__(self, pairing: Pairing) -> None:
        self._predictors = pairing.predictors
        self._count = np.zeros(len(pairing.predictors))
        self._missing = np.zeros(len(pairing.predictors))
        self._all = 0
        self._span = [[np.inf, -np.inf] for _ in pairing.predictors]

    def add(self, coarse: Array) -> None:
        """Count those of predictors ``(time, predictor, y, x)``."""
        self._all += coarse[:, 0].size
        for i, predictor in enumerate(self._predictors):
            values = coarse[:, i]
            low, high = predictor.span
            spare = 1e-5 * (high - low)  # what interpolation rounds
            self._count[i] += ((values < low - spare) | (values > high + spare)).sum()
            self._missing[i] += (~np.isfinite(values)).sum()
            own = self._span[i]
            own[:] = np.fmin(own[0], np.fmin.reduce(values, None)), np.fmax(own[1], np.fmax.reduce(values, None))

    def report(self, blocks: int = 1) -> None:
        """Warn of predictors with more than `MANY` of their values outside, and of those without any.

        Where this is one of several blocks that know nothing of each other, it has to have as many for all of them.
        """
        for predictor, missing in zip(self._predictors, self._missing, strict=True):
            if missing == self._all and blocks == 1:
                warn("W-MISSING", f"{printable(predictor.name)} has no value: its mean stands in for it")
        for predictor, count, span in zip(self._predictors, self._count, self._span, strict=True):
            low, high = predictor.span
            if count > MANY * self._all * blocks:
                warn(
                    "W-UNSEEN",
                    f"{100 * count / self._all:.1f} % of the values of {printable(predictor.name)} lie outside what "
                    f"the model was trained on ({low:.4g} to {high:.4g}; here {span[0]:.4g} to "
                    f"{span[1]:.4g}): results there are guesses",
                )
