"""Coarse fields of files through a model of pairs, into a NetCDF or Zarr."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from geofsrcnn._types import Write, each_of
from geofsrcnn.cf.times import decode_times
from geofsrcnn.errors import UsageError, printable
from geofsrcnn.files.kinds import FormatName, is_folder
from geofsrcnn.files.paths import expand, refuse_same, watch_changes
from geofsrcnn.files.remote import RemoteZarr
from geofsrcnn.formats.open import create_store, open_dataset
from geofsrcnn.formats.writer import NewField, Writer
from geofsrcnn.grids.windows import Window
from geofsrcnn.networks.catalog import Model
from geofsrcnn.options import UpscaleOptions
from geofsrcnn.pairs.apply import prepare
from geofsrcnn.pairs.downscaling import Downscaling
from geofsrcnn.pairs.fields import TIMES_PER_BLOCK
from geofsrcnn.pairs.outputs import DTYPE
from geofsrcnn.upscale.store import StoreOutput
from geofsrcnn.upscale.task import Task
from geofsrcnn.values.cells import Cells


@contextmanager
def open_pairs(
    sources: Sequence[Path | RemoteZarr], target: Path, form: FormatName, model: Model, options: UpscaleOptions
) -> Iterator[Task]:
    """Coarse files as a task, with all predictors found and checked."""
    if form == "GeoTIFF":
        raise UsageError(f"networks of pairs write NetCDF or Zarr: {printable(target.name)} must end in .nc or .zarr")
    remote = [source for source in sources if isinstance(source, RemoteZarr)]
    local = expand([source for source in sources if isinstance(source, Path)])
    refuse_same(target, *local)
    check_unchanged = watch_changes(local)
    with ExitStack() as held:
        places: list[Path | RemoteZarr] = [*remote, *local]
        stored = [held.enter_context(open_dataset(place)) for place in places]
        names = [printable(place.name if isinstance(place, Path) else place) for place in places]
        datasets = [decode_times(each, name) for each, name in zip(stored, names, strict=True)]
        fields = prepare(datasets, model, options.threads, options.quantiles)
        output = StoreOutput(
            lambda staging: create_store(form, staging, fields.template()),
            lambda _: _new_fields(fields),
            lambda writer, _: _TimesSink(writer, [name for name, _ in fields.outputs()], fields.lead),
            folder=is_folder(form),
            less="fewer times",
            threads=options.workers,
        )
        yield Task([fields], output, target, model, fields.shapes, options, check_unchanged)


def _new_fields(fields: Downscaling) -> Iterator[NewField]:
    """The targets on the fine grid, as they are to be stored."""
    rows, columns = fields.shapes[1]
    y, x = fields.pairing.domain.names
    sizes = {**fields.lead, y: rows, x: columns}
    chunks = (*[1] * (len(sizes) - 3), min(TIMES_PER_BLOCK, fields.count), rows, columns)
    for name, words in fields.outputs():
        yield NewField(name, sizes, DTYPE, {**words, "_FillValue": DTYPE.type(np.nan)}, chunks)


@dataclass(frozen=True)
class _TimesSink:
    """Variables whose times come one after the other, all variables of a time together."""

    writer: Writer
    names: Sequence[str]
    lead: Mapping[str, int]

    def prepare(self, window: Window, cells: Cells, bands: slice) -> Write:
        count = len(self.names)
        member, first = divmod(bands.start // count, self.lead["time"])
        block = cells.values.reshape(-1, count, *window.shape)
        index = slice(first, first + len(block)), *window.slices()
        members = (slice(member, member + 1),) if len(self.lead) > 1 else ()
        writes = []
        for k, name in enumerate(self.names):
            values = np.ascontiguousarray(block[:, k])
            writes.append(self.writer.prepare(name, (*members, *index), values[None] if members else values))
        return each_of(writes)
