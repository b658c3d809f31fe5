"""Variables that a model of pairs gives: its targets, how sure they are, and quantiles that were asked for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from geofsrcnn._types import Array
from geofsrcnn.cf.attributes import add_ancillary
from geofsrcnn.errors import UsageError
from geofsrcnn.pairs.distributions import Distribution
from geofsrcnn.pairs.pairing import Downscaled, Pairing, Target
from geofsrcnn.pairs.predictive import Predictive

DTYPE = np.dtype(np.float32)
"""Type of all variables; NaN where there is no value."""


@dataclass(frozen=True)
class Output:
    """A variable.

    Parameters
    ----------
    name : str
        Of the variable.
    attrs : dict of str
        Its attributes.
    target : int
        Number of the target that it belongs to.
    kind : {"mean", "spread", "std", "wet", "quantile"}
        Its values: the mean of the networks, their standard deviation, that of the distribution, the chance of at
        least `level`, or the quantile `level`.
    level : float
        An amount, or a share.
    """

    name: str
    attrs: dict[str, str]
    target: int
    kind: str
    level: float = math.nan

    def values(self, found: Downscaled, distributions: Sequence[Distribution]) -> Array:
        """Work out the variable ``(time, y, x)``.

        Parameters
        ----------
        found : Downscaled
            The targets by each network.
        distributions : sequence of Distribution
            Of the targets; none without a network that gives them.
        """
        if self.kind == "mean":
            return found.mean[:, self.target]
        if self.kind == "spread":
            return np.asarray(np.std(found.members[:, :, self.target], axis=0, ddof=1))
        distribution = distributions[self.target]
        if self.kind == "std":
            return np.sqrt(distribution.variance)
        return distribution.chance_of(self.level) if self.kind == "wet" else distribution.quantile(self.level)


def list_outputs(
    pairing: Pairing, members: int, predictive: Predictive | None, quantiles: Sequence[float] = ()
) -> list[Output]:
    """List the variables: the targets, then what belongs to each.

    Parameters
    ----------
    pairing : Pairing
        What stands around the networks.
    members : int
        Number of networks.
    predictive : Predictive, optional
        What gives distributions.
    quantiles : sequence of float
        Shares between 0 and 1.

    Raises
    ------
    UsageError
        If quantiles are asked of a model without distributions.
    """
    if quantiles and predictive is None:
        raise UsageError("quantiles= is for models that were trained with distribution=True, this one was not")
    means, beside = list[Output](), list[Output]()
    for k, target in enumerate(pairing.targets):
        own = list[Output]()
        if predictive is not None:
            own = _of_distribution(k, target, predictive.families[k], predictive.wet[k], quantiles)
        elif members > 1:
            words = f"standard deviation of {members} networks, {_long_name(target)}"
            own = [Output(f"{target.name}_spread", {"long_name": words, **_units(target)}, k, "spread")]
        attrs = add_ancillary(target.attrs, *(each.name for each in own)) if own else dict(target.attrs)
        means.append(Output(target.name, attrs, k, "mean"))
        beside += own
    return means + beside


def _of_distribution(
    k: int, target: Target, family: str, wet: float | None, quantiles: Sequence[float]
) -> list[Output]:
    name, shown, told = target.name, _long_name(target), {"comment": f"of a {family} distribution in each cell"}
    words = f"standard deviation of the error of {shown}"
    found = [Output(f"{name}_std", {"long_name": words, **_units(target), **told}, k, "std")]
    if wet is not None:
        units = target.attrs.get("units", "")
        least = f"at least {wet:g} {units}".rstrip() if wet else "more than 0"
        words = f"probability of {least} of {shown}"
        found.append(Output(f"{name}_wet", {"long_name": words, "units": "1", **told}, k, "wet", wet))
    for share in quantiles:
        attrs = {"long_name": f"{share:g} quantile of {shown}", **_units(target), **told}
        found.append(Output(f"{name}_{quantile_name(share)}", attrs, k, "quantile", share))
    return found


def quantile_name(share: float) -> str:
    """Name a quantile by its per cent, as a name of NetCDF can hold it.

    Examples
    --------
    >>> quantile_name(0.1), quantile_name(0.995)
    ('q10', 'q99_5')
    """
    return f"q{100 * share:.10g}".replace(".", "_")


def _long_name(target: Target) -> str:
    return target.attrs.get("long_name", target.name)


def _units(target: Target) -> dict[str, str]:
    return {key: value for key, value in target.attrs.items() if key == "units"}
