"""Parts of a large run: fine cells that were computed on one worker, kept in a file until another writes them all.

A part holds the results of consecutive units (tiles) in the order that the output is written in, so that an output
made of parts is the one that a single process makes. Parts are NumPy's ``.npz`` files, uncompressed, whose members
carry a CRC-32.
"""

from __future__ import annotations

import hashlib
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import numpy as np

from geofsrcnn._types import Array, Write
from geofsrcnn.batch.manifest import output_path
from geofsrcnn.batch.messages import Settings, Work
from geofsrcnn.errors import OutputError, printable
from geofsrcnn.files.staging import staged, work_prefix
from geofsrcnn.grids.windows import Window
from geofsrcnn.values.cells import Cells

ARRAYS = ("values", "valid", "alpha", "mask", "errors")
"""Arrays of a unit, as in `Cells`."""

PARTS_SUFFIX = ".parts"
"""End of the name of a folder of parts."""

KEY_LENGTH = 12
"""Characters in that name that stand for all that the parts depend on."""


def shares(units: int, cells: int, cells_per_part: int) -> list[range]:
    """Divide consecutive units into parts of about so many cells each, given the cells of all.

    Examples
    --------
    >>> shares(10, 1000, 300)
    [range(0, 4), range(4, 8), range(8, 10)]
    """
    count = max(1, min(units, round(cells / cells_per_part)))
    step = -(-units // count)
    return [range(start, min(start + step, units)) for start in range(0, units, step)]


def parts_folder(settings: Settings, work: Work, state: str) -> Path:
    """Where the parts of an input in this state, made with these settings, are kept: beside its output."""
    target = output_path(settings.folder, work.target)
    depends_on = [settings.factor, settings.model, settings.digest, settings.options.given(), settings.split, state]
    key = hashlib.sha256(repr((depends_on, work, dict(settings.versions))).encode()).hexdigest()[:KEY_LENGTH]
    return target.with_name(f"{work_prefix(target)}{key}{PARTS_SUFFIX}")


def part_path(folder: Path, number: int) -> Path:
    """The file of a part."""
    return folder / f"{number:06d}.npz"


class PartWriter:
    """The results of units, as a sink, into a new file."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive, self._count = archive, 0

    def prepare(self, window: Window, cells: Cells, bands: slice) -> Write:  # noqa: ARG002  a sink
        """Pass on the results of the next unit."""
        valid: Array | None = None if cells.valid.all() else np.packbits(cells.valid)
        named = zip(ARRAYS, (cells.values, valid, cells.alpha, cells.mask, cells.errors), strict=True)
        return partial(self._write, {name: np.ascontiguousarray(each) for name, each in named if each is not None})

    def _write(self, arrays: Mapping[str, Array]) -> None:
        for name, array in arrays.items():
            with self._archive.open(f"{self._count}.{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)
        self._count += 1


@contextmanager
def write_part(path: Path) -> Iterator[PartWriter]:
    """A new part, which appears when it is whole.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    with staged(path, overwrite=True) as staging, zipfile.ZipFile(staging, "w") as archive:
        yield PartWriter(archive)


def read_parts(paths: Sequence[Path]) -> Iterator[Cells]:
    """The results of all units in order.

    Raises
    ------
    OutputError
        If a part is missing or damaged; it is removed, so that the next run makes it anew.
    """
    for path in paths:
        try:
            with np.load(path, allow_pickle=False) as arrays:
                count = sum(1 for name in arrays.files if name.endswith(".values"))
                for number in range(count):
                    found = {n: arrays[f"{number}.{n}"] for n in ARRAYS if f"{number}.{n}" in arrays.files}
                    values, packed = found["values"], found.get("valid")
                    if packed is None:
                        valid = np.ones(values.shape, bool)
                    else:
                        valid = np.unpackbits(packed, count=values.size).astype(bool).reshape(values.shape)
                    yield Cells(values, valid, found.get("alpha"), found.get("mask"), found.get("errors"))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            with suppress(OSError):
                path.unlink()
            raise OutputError(f"cannot read the part {printable(path)} ({printable(error)}): run again") from error


def remove_parts(folder: Path) -> None:
    """Remove a folder of parts."""
    shutil.rmtree(folder, ignore_errors=True)
