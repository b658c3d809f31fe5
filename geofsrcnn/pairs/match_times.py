"""Match the times of several files: by date, month or year, never values of longer times with those of shorter ones."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

from geofsrcnn.cf.dates import PARTS, Step
from geofsrcnn.errors import InputError
from geofsrcnn.pairs.fields import Fields
from geofsrcnn.pairs.times import TimeAxis, all_differ

_FREQUENCY: dict[Step, str] = {
    "hours": "several times a day",
    "days": "a time a day",
    "months": "a time a month",
    "years": "a time a year",
}
"""Steps in words, the shorter before the longer."""

SAME = 1.25
"""Ratio of two durations up to which they are the same, as of months."""

SHORT = 1.5
"""Days up to which moments may stand for a mean, and the other way round."""


def common_step(all_fields: Sequence[Fields]) -> Step:
    """Find the distance of times of datasets that go together, by which they are matched.

    Raises
    ------
    InputError
        If values of some are those of longer times than of others.
    """
    timed = [fields for fields in all_fields if fields.times is not None]
    found = {fields.step: fields for fields in reversed(timed) if len(fields.dates) > 1}
    _check_steps(found)
    step: Step = next((step for step in found if step), "")
    for fields in timed:
        if step in ("months", "years") and not all_differ(fields.dates, PARTS[step]):
            words = f"has several times a {step[:-1]}, {found[step].shown} one"
            raise InputError(f"{fields.shown} {words}: average the {step} first")
    for one, other in itertools.permutations(timed, 2):
        _check_durations(one, other)
    return step


def _check_steps(found: Mapping[Step, Fields]) -> None:
    """Refuse steps of several lengths; times at any other distance go with all but several times a day."""
    pairs: list[tuple[Step, Step]] = [*itertools.combinations(_FREQUENCY, 2), ("hours", "")]
    for shorter, longer in pairs:
        if shorter in found and longer in found:
            period = longer or "days"
            one = "one" if period == "days" else f"one a {period[:-1]}"
            select = ", or select one month" if (shorter, longer) == ("months", "years") else ""
            words = f"{found[shorter].shown} has {_FREQUENCY[shorter]}, {found[longer].shown} {one}"
            raise InputError(f"{words}: average the {period}{select} first")


def _check_durations(long: Fields, short: Fields) -> None:
    """Refuse values of longer times beside those of shorter ones, by what is stated of them, else by their distance."""
    assert long.times is not None
    assert short.times is not None
    if long.times.is_climatology and not short.times.is_climatology:
        raise InputError(f"{long.shown} is a climatology, {short.shown} is none: give fields of the same times")
    longer, shorter = long.times.duration, short.times.duration
    if longer is None or shorter is None:
        _check_distances(long, short, long.times, short.times)
    elif longer > SAME * shorter and (shorter > 0 or longer > SHORT):
        words = f"of {_in_words(shorter)}" if shorter > 0 else "of single moments"
        raise InputError(
            f"values of {long.shown} are of {_in_words(longer)} days each, those of {short.shown} {words}: "
            f"average {short.shown} over the same times"
        )


def _check_distances(long: Fields, short: Fields, longer: TimeAxis, shorter: TimeAxis) -> None:
    """Refuse values of longer times where one duration is not stated, which is then at most the distance of times.

    Winters whose bounds are stated so go with those of another file that only has one a year.
    """
    most = max(shorter.gap or math.inf, shorter.duration or 0.0)
    if longer.duration is not None and longer.duration > max(SHORT, SAME * most):
        raise InputError(
            f"values of {long.shown} are of {_in_words(longer.duration)} days each, those of {short.shown} of at most "
            f"{_in_words(most)}: average {short.shown} over the same times"
        )
    if longer.duration is None and longer.gap is not None and longer.gap > max(SHORT, SAME * most):
        raise InputError(
            f"{long.shown} has a time every {_in_words(longer.gap)} days, {short.shown} every {_in_words(most)}: "
            f"average {short.shown} over the same times, or select those times of it"
        )


def _in_words(days: float) -> str:
    return f"{days:.0f}" if days >= 10 else f"{days:.3g}"


def common_times(all_fields: Sequence[Fields]) -> list[list[int]]:
    """For each dataset, the indexes of the times that all have, in order of the first.

    Days are matched by date, whatever their hour, months by year and month, years by year, in any calendar.

    Raises
    ------
    InputError
        If they share none, one repeats, or some are of another step than others.
    """
    timed = [fields for fields in all_fields if fields.time is not None]
    if not timed:
        return [[] for _ in all_fields]
    for fields in timed:
        if not all_differ(fields.dates, PARTS[fields.step]):
            raise InputError(f"times of {fields.shown} repeat: take one of each")
    length = PARTS[common_step(timed)]
    positions = [{date[:length]: i for i, date in enumerate(fields.dates)} for fields in timed]
    shared = [date[:length] for date in timed[0].dates if all(date[:length] in known for known in positions)]
    if not shared:
        raise InputError(f"no time is in all of the files: {_not_shared(timed, length)}")
    indexes = iter([[known[date] for date in shared] for known in positions])
    return [next(indexes) if fields.time is not None else [] for fields in all_fields]


def _not_shared(timed: Sequence[Fields], length: int) -> str:
    """Why no time is in all of the files."""
    days = [{date[:3] for date in fields.dates} for fields in timed]
    if length > 3 and (same := set.intersection(*days)):
        hours = [sorted({date[3:5] for date in fields.dates if date[:3] == min(same)}) for fields in timed]
        texts = (", ".join(f"{hour:02d}:{minute:02d}" for hour, minute in some[:4]) for some in hours)
        words = "; ".join(f"{fields.shown} {text}" for fields, text in zip(timed, texts, strict=True))
        return f"the days are the same, the hours differ ({words}): shift or average them first"
    words = "; ".join(f"{fields.shown} {fields.dates[0]} to {fields.dates[-1]}" for fields in timed)
    return f"{words}: check the years and calendars"
