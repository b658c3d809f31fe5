"""Words about comparisons: one field, several fields, and what a training says at its end."""

from __future__ import annotations

import math
from collections.abc import Sequence

from geofsrcnn.errors import printable
from geofsrcnn.evaluation.bootstrap import INTERVAL
from geofsrcnn.evaluation.comparison import Comparison, Interval
from geofsrcnn.evaluation.measures import decimals, number_text
from geofsrcnn.evaluation.scores import geometric_mean, mean_and_std

SAME = 1e-3
"""Relative difference of two RMSE below which neither method is called better, however sure it is."""

BIASED = 0.02
"""How much more of its RMSE a network's bias is than that of the best baseline, to be named."""

FEWER = 0.01
"""How much further its share of wet days is from the truth's, to be named."""


def verdict(comparison: Comparison) -> str:
    """Say what is best, by how much, and what follows, in one or two sentences.

    Parameters
    ----------
    comparison : Comparison
        Of one model, of several, of which the best is judged, or of several trainings, which are judged together.

    Returns
    -------
    str
        On one line; says plainly where the networks are no better than the best baseline. A network is called better or
        worse only where the 95 % interval of the ratio of its RMSE to the baseline's says so.
    """
    c = comparison
    if (share := c.scores.get("nearest", {}).get("accuracy")) is not None:
        return f"Categories are repeated, whatever the model: {100 * share:.1f} % of the fine cells get their class."
    if not c.models:
        return f"No network was compared; {printable(c.best_baseline)} has the smallest RMSE."
    if not c.baselines:
        return f"No baseline was compared; {printable(c.best_model)} has the smallest RMSE."
    baseline = printable(c.best_baseline)
    ratios = ratios_of(c)
    if not all(map(math.isfinite, ratios.values())):
        return f"Networks and baselines cannot be compared: the RMSE of {baseline} is 0, or an RMSE is no number."
    if c.repeated:
        return _verdict_on_several(c, baseline, ratios)
    model, places = c.best_model, decimals("rmse", c)
    ours, theirs = (number_text(c.scores[m]["rmse"], places) for m in (model, c.best_baseline))
    detail = f"{ours} against {theirs}{' ' + printable(c.unit) if c.unit else ''}"
    interval = c.intervals.get(model, {}).get("ratio")
    who = "the network" if model == "network" else f"the network {printable(model)}"
    who += f", the best of {len(ratios)}," if len(ratios) > 1 else ""
    return compare_in_words(who, ratios[model], baseline, interval, detail=detail, worse=_what_is_worse(c))


def compare_in_words(
    who: str,
    ratio: float,
    baseline: str,
    interval: Interval | None = None,
    *,
    detail: str = "",
    worse: str = "",
    rank: str = "the best baseline",
) -> str:
    """Say whether a network is better than a baseline.

    Parameters
    ----------
    who : str
        The network.
    ratio : float
        Its RMSE divided by the baseline's.
    baseline : str
        What it is compared with.
    interval : tuple of float, optional
        Of the ratio; without, the ratio alone decides.
    detail : str
        Both RMSE.
    worse : str
        A sentence on what is worse all the same.
    rank : str
        What the baseline is among others.

    Examples
    --------
    >>> compare_in_words("the network", 0.95, "lanczos-bp", (0.93, 0.98)).split(": ")[0]
    'The network is better than lanczos-bp, the best baseline'
    """
    sure = "" if interval is None else f"ratio {ratio:.3f}, {INTERVAL} {interval[0]:.3f} to {interval[1]:.3f}"
    much = f"RMSE {_share(ratio)}" + (f" ({'; '.join(filter(None, (detail, sure)))})" if detail or sure else "")
    difference = _difference(ratio, interval)
    if difference < 0:
        return f"{who[0].upper()}{who[1:]} is better than {baseline}, {rank}: {much}.{worse}"
    if difference > 0:
        return f"{who[0].upper()}{who[1:]} is worse than {baseline}: {much}. {_advice(baseline)}"
    return f"No clear difference between {who} and {baseline}: {much}. {_advice(baseline)}"


def overall(comparisons: Sequence[Comparison]) -> list[str]:
    """Say how each model does over several fields, a sentence each; nothing of a single field.

    Parameters
    ----------
    comparisons : sequence of Comparison
        One a field, all of the same models.

    Returns
    -------
    list of str
    """
    fields = [c for c in comparisons if c.models and c.baselines and all(map(math.isfinite, ratios_of(c).values()))]
    if len(fields) < 2:
        return []
    found = []
    for model in fields[0].models:
        own = [c for c in fields if model in c.models]
        ratios = [c.ratio(model) for c in own]
        signs = [_difference(c.ratio(model), c.intervals.get(model, {}).get("ratio")) for c in own]
        worst = max(own, key=lambda c: c.ratio(model))
        found.append(
            f"{printable(model)} is better than the best baseline on {signs.count(-1)} of {len(own)} fields, worse on "
            f"{signs.count(1)}, no clear difference on {signs.count(0)}: RMSE {geometric_mean(ratios):.3f} of it "
            f"(geometric mean), at worst {max(ratios):.3f} ({printable(worst.name)})."
        )
    return found


def errors_in_words(c: Comparison) -> list[str]:
    """Say how well expected errors fit, a sentence a network that gives them."""
    return [
        f"Expected errors of {printable(model)} are {fit.ratio:.2f} times the true ones on average; "
        f"{100 * fit.within_half:.0f} % of the cells lie within their 50 % interval, {100 * fit.within_ninety:.0f} % "
        f"within their 90 % interval."
        for model, fit in c.calibrations.items()
    ]


def ratios_of(c: Comparison) -> dict[str, float]:
    """Each model's RMSE to the best baseline's; NaN where that is 0; none where there is no baseline."""
    if not c.baselines:
        return {}
    return {m: c.ratio(m) if c.scores[c.best_baseline]["rmse"] else math.nan for m in c.models}


def _verdict_on_several(c: Comparison, baseline: str, ratios: dict[str, float]) -> str:
    signs = [_difference(r, c.intervals.get(m, {}).get("ratio")) for m, r in ratios.items()]
    better, worse, count = signs.count(-1), signs.count(1), len(signs)
    who = "Both networks" if count == 2 else f"All {count} networks"
    mean, deviation = mean_and_std(list(ratios.values()))
    much = f"RMSE {_share(mean)} on average (ratio {mean:.3f} ± {deviation:.3f}, mean and standard deviation)"
    if better == count:
        return f"{who} are better than {baseline}, the best baseline: {much}.{_what_is_worse(c)}"
    if worse == count:
        return f"{who} are worse than {baseline}: {much}. {_advice(baseline)}"
    if better == worse == 0:
        return f"No clear difference between {who[0].lower()}{who[1:]} and {baseline}: {much}. {_advice(baseline)}"
    some = (
        f"Only {better} of {count} networks {'is' if better == 1 else 'are'}"
        if better
        else f"None of the {count} networks is"
    )
    return f"{some} better than {baseline}: {much}. {_advice(baseline)}"


def _difference(ratio: float, interval: Interval | None) -> int:
    """-1 for better, 1 for worse, 0 for no clear difference."""
    low, high = (ratio, ratio) if interval is None else interval
    if high < 1 and ratio < 1 - SAME:
        return -1
    return int(low > 1 and ratio > 1 + SAME)


def _advice(baseline: str) -> str:
    return f"Take {baseline}, or train on more."


def _share(ratio: float) -> str:
    return f"{100 * abs(ratio - 1):.1f} % {'below' if ratio < 1 else 'above'}"


def _what_is_worse(c: Comparison) -> str:
    """Name in a sentence what got worse although the RMSE is better; of several networks by their means."""

    def both(measure: str) -> tuple[float, float]:
        ours = [c.scores[model].get(measure, 0.0) for model in c.models]
        return sum(ours) / len(ours), c.scores[c.best_baseline].get(measure, 0.0)

    worse = []
    ours, theirs = both("bias")
    if abs(ours) - abs(theirs) > BIASED * both("rmse")[0]:
        places, unit = decimals("bias", c), f" {printable(c.unit)}" if c.unit else ""
        numbers = [number_text(value, places, signed=True) for value in (ours, theirs)]
        worse.append(f"the bias ({numbers[0]} against {numbers[1]}{unit})")
    ours, theirs = both("wet_days")
    if abs(ours) - abs(theirs) > FEWER:
        numbers = [number_text(100 * value, 1, signed=True) for value in (ours, theirs)]
        worse.append(f"the share of wet days ({numbers[0]} against {numbers[1]} % of the values off)")
    return f" Worse: {' and '.join(worse)}." if worse else ""
