"""Dates of times, in any calendar, and the step from one time to the next."""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

Step = Literal["hours", "days", "months", "years", ""]

PARTS = {"years": 1, "months": 2, "days": 3, "": 3, "hours": 5}
"""How many parts of a `Date` tell times of a step apart: year, month, day, hour, minute."""

MEAN_MONTH = 30.4375
"""Days."""


class Date(NamedTuple):
    """A date, whose text is its day ``YYYY-MM-DD``; any calendar, such as one with a 30 February."""

    year: int
    month: int
    day: int
    hour: int = 0
    minute: int = 0

    def __str__(self) -> str:
        return f"{self.year:04d}-{self.month:02d}-{self.day:02d}"


def parse_day(text: str) -> Date | None:
    """Read a day ``YYYY-MM-DD``; None if it is none.

    Examples
    --------
    >>> str(parse_day("1993-06-01")), parse_day("June")
    ('1993-06-01', None)
    """
    found = re.fullmatch(r"(\d{4})-(\d{1,2})-(\d{1,2})", text, re.ASCII)
    date = Date(*map(int, found.groups())) if found else None
    return date if date and 1 <= date.month <= 12 and 1 <= date.day <= 31 else None


def day_of_year(date: Date, step: Step = "") -> float:
    """Count the days since the year began, from 0; months are equally long, as in no calendar and nearly in all.

    A month or a year counts as its middle, wherever in it its date lies.
    """
    if step == "years":
        month, day = 7, 1
    else:
        month, day = date.month, 16 if step == "months" else date.day
    return (month - 1) * MEAN_MONTH + day - 1


def days_between(dates: Sequence[Date], step: Step) -> float:
    """Return the median distance of times in days: a part of one where there are several a day, else 1."""
    hours = sorted({date.hour + date.minute / 60 for date in dates}) if step == "hours" else []
    gaps = [after - before for before, after in pairwise(hours)]
    return statistics.median(gaps) / 24 if gaps else 1.0
