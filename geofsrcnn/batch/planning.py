"""Plans of a batch run: what an earlier run has done, and what is left to do."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from geofsrcnn.batch.journal import JournalState
from geofsrcnn.batch.manifest import Item, output_path, output_url
from geofsrcnn.batch.messages import Settings, Work
from geofsrcnn.batch.options import BatchOptions
from geofsrcnn.batch.parts import KEY_LENGTH, PARTS_SUFFIX, parts_folder
from geofsrcnn.batch.results import FileResult
from geofsrcnn.batch.state import work_state
from geofsrcnn.errors import InputError, ModelError, OutputError, UsageError
from geofsrcnn.files.paths import size_of
from geofsrcnn.files.remote import is_remote, remote_exists
from geofsrcnn.files.staging import work_prefix

PLANNERS = 16
"""Inputs whose state is asked for at a time."""

CHUNK = 1000
"""Inputs that are planned before the first of them is begun with."""

PERMANENT = (UsageError.exit_code, InputError.exit_code, ModelError.exit_code)
"""Exit codes of failures that the same input meets again."""


@dataclass(frozen=True)
class Planner:
    """Looks up what became of inputs before.

    Parameters
    ----------
    settings : Settings
        Settings of all tasks.
    batch : BatchOptions
        They say what is resumed, replaced and tried again.
    earlier : JournalState
        The work of earlier runs, as their journal says.
    """

    settings: Settings
    batch: BatchOptions
    earlier: JournalState

    def all(self, items: Sequence[Item]) -> Iterator[FileResult | None]:
        """Yield `before` of each input, many at a time: each may wait for a network."""
        with ThreadPoolExecutor(PLANNERS) as pool:
            for start in range(0, len(items), CHUNK):
                yield from pool.map(self.before, items[start : start + CHUNK])

    def before(self, item: Item) -> FileResult | None:
        """Return what became of an input already; None if it is to be done."""
        if item.problem:
            return FileResult(item.source, item.target, "failed", code=InputError.exit_code, reason=item.problem)
        last = self.earlier.last.get(item.target)
        if last is not None and self._is_same(item, last):
            if last.get("state") == "done" and self._is_there(item, int(last.get("bytes", -1))):
                return result_of(item, last, before=True)
            permanent = last.get("code") in PERMANENT and "fingerprint" in last and not self.batch.retry_failed
            if last.get("state") == "failed" and permanent:
                return result_of(item, last, before=True)
        if not self.batch.overwrite and item.target not in self.earlier.begun and self._is_there(item, None):
            reason = "output exists: use overwrite=True"
            return FileResult(item.source, item.target, "failed", code=OutputError.exit_code, reason=reason)
        return None

    def _is_same(self, item: Item, last: Mapping[str, Any]) -> bool:
        """Tell whether a line of the journal is about the same input, unchanged since."""
        if last.get("input") != item.source or tuple(last.get("variables", ())) != item.variables:
            return False
        return bool(last.get("fingerprint", "") == work_state(self.settings, work_of(item)))

    def _is_there(self, item: Item, size: int | None) -> bool:
        folder = self.settings.folder
        if is_remote(folder):
            return remote_exists(output_url(folder, item.target), self.settings.allow_remote)
        path = output_path(folder, item.target)
        try:
            return path.exists() and size in (None, size_of(path))
        except OSError:
            return False


def remove_stale_parts(items: Sequence[Item], todo: Sequence[Item], settings: Settings) -> None:
    """Remove parts that a killed run left and that this one has no use for: of other inputs, models or options."""
    due = {item.target for item in todo}
    targets = {output_path(settings.folder, item.target): item for item in items if not item.problem}
    item_of = {(target.parent, work_prefix(target)): item for target, item in targets.items()}
    for parent in {target.parent for target in targets}:
        if not parent.is_dir():
            continue
        for name in os.listdir(parent):  # noqa: PTH208  folders of outputs are long
            prefix = name[: -len(PARTS_SUFFIX) - KEY_LENGTH]
            item = item_of.get((parent, prefix))
            if item is None or not name.endswith(PARTS_SUFFIX):
                continue
            work = work_of(item)
            if item.target not in due or parts_folder(settings, work, work_state(settings, work)).name != name:
                shutil.rmtree(parent / name, ignore_errors=True)


def result_of(item: Item, facts: Mapping[str, Any], *, before: bool) -> FileResult:
    """Return the result that a line of the journal says."""
    return FileResult(
        item.source,
        item.target,
        facts["state"],
        before,
        int(facts.get("code", 0)),
        str(facts.get("reason", "")),
        tuple(facts.get("warnings", ())),
        str(facts.get("sha256", "")),
        int(facts.get("bytes", 0)),
        int(facts.get("cells", 0)),
        float(facts.get("seconds", 0.0)),
    )


def work_of(item: Item) -> Work:
    """Return the work that an input is for a worker."""
    return Work(item.source, item.target, item.variables)
