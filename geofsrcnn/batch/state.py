"""States of inputs: whether one has changed since it was read, or while it is."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from geofsrcnn.batch.messages import Settings, Work
from geofsrcnn.errors import GeofsrcnnError
from geofsrcnn.files.paths import fingerprint, sidecars_of
from geofsrcnn.files.remote import is_remote, remote_state


def state_of(source: str, allow_remote: tuple[str, ...], *, sidecars: bool = False, also: Sequence[str] = ()) -> str:
    """Return a text that changes when an input does, or what is read beside it; empty if it is not there."""
    if not is_remote(source):
        beside = [*(sidecars_of(Path(source)) if sidecars else ()), *map(Path, also)]
        return " ".join([fingerprint(Path(source)), *(f"{each.name} {fingerprint(each)}" for each in beside)])
    try:
        return remote_state(source, allow_remote)
    except GeofsrcnnError:
        return ""


def work_state(settings: Settings, work: Work) -> str:
    """`state_of` the input of a work."""
    return state_of(
        work.source,
        settings.allow_remote,
        sidecars=settings.options.sidecars,
        also=[os.fspath(path) for path in settings.options.also],
    )
