"""One page about a batch run: what was done and how fast, what failed and why, and how some outputs look."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geofsrcnn._types import Array, StrPath
from geofsrcnn.batch.manifest import name_of, output_path
from geofsrcnn.errors import GeofsrcnnError, UsageError, printable
from geofsrcnn.evaluation.shell import need_report, render_page
from geofsrcnn.files.remote import is_remote
from geofsrcnn.files.staging import check_target, staged

if TYPE_CHECKING:
    import xarray as xr

    from geofsrcnn.batch.results import BatchResult, FileResult
    from geofsrcnn.cf.grid import CFGrid

THUMBNAILS = 24
"""Outputs that are shown, evenly chosen."""

NAMED = 3
"""Files that are named beside a warning that they have in common."""

SIDE = 96
"""Coarse cells along one side of what is shown of each, from its middle."""


def check_page(name: StrPath, folder: StrPath, *, overwrite: bool, resume: bool) -> Path:
    """Return where a page goes that may be written; a new folder of outputs will be there.

    Raises
    ------
    UsageError
        If its name is none of a page.
    OutputError
        If it exists, or cannot be written.
    """
    path = Path(name).absolute()
    if path.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"the report is a page, its name must end in .html: {printable(name)}")
    if path.parent.exists() or path.parent != Path(folder).absolute():
        check_target(path, overwrite=overwrite or resume)  # a resumed run makes its page anew
    need_report()
    return path


def write_page(result: BatchResult, path: Path) -> None:
    """Write the page; one that exists is replaced.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    text = render_page(
        "batch.html.j2",
        title="geofsrcnn batch run",
        folder=str(result.folder),
        facts=list(_facts(result)),
        failed=result.failed,
        warned=_warned(result),
        done=len(result.done),
        pictures=[(str(each.output), picture) for each, picture in _pictures(result)],
        journal=str(result.journal),
    )
    with staged(path, overwrite=True) as staging:
        staging.write_text(text, encoding="utf-8")


def _facts(result: BatchResult) -> Iterator[tuple[str, str]]:
    yield "files", f"{len(result.files):,}"
    yield "done", f"{len(result.done):,}"
    yield "failed", f"{len(result.failed):,}"
    yield "of earlier runs", f"{result.of_before:,}"
    if done := result.done_now:
        work = sum(each.seconds for each in done)
        yield "output", f"{result.size / 2**20:,.1f} MiB"
        yield "time", f"{result.seconds:,.1f} s"
        yield "worker threads", f"{result.workers:,}"
        yield "million cells a second", f"{result.cells_per_second / 1e6:,.3g}"
        yield "files a minute", f"{60 * len(done) / max(result.seconds, 1e-9):,.1f}"
        yield "workers at work", f"{100 * min(1.0, work / max(result.seconds * result.workers, 1e-9)):.0f} %"


def _warned(result: BatchResult) -> list[tuple[str, int, str]]:
    """Return each warning with its number of files and the first of them; it may begin with the name of its file."""
    found: dict[str, tuple[str, list[str]]] = {}
    for each in result.files:
        for text in each.warnings:
            key = text.replace(name_of(each.source), "")
            found.setdefault(key, (text, []))[1].append(each.source)
    return [(text, len(sources), ", ".join(sources[:NAMED])) for text, sources in found.values()]


def _pictures(result: BatchResult) -> Iterator[tuple[FileResult, str]]:
    if is_remote(result.folder):
        return
    done = [each for each in result.done if not is_remote(each.source)]
    step = max(1, -(-len(done) // THUMBNAILS))
    for each in done[::step]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                pair = _middles(Path(each.source), output_path(result.folder, each.output))
        except (GeofsrcnnError, OSError, ValueError, KeyError):
            continue  # a picture less; that the output is whole was checked when it was written
        yield each, _png(pair)


def _middles(coarse: Path, fine: Path) -> list[Array]:
    """The middle of the first field of both, the same area."""
    from geofsrcnn.cf.encoding import missing_of
    from geofsrcnn.cf.grid import find_grid
    from geofsrcnn.formats.open import open_dataset

    pair: list[Array] = []
    for path in (coarse, fine):
        with open_dataset(path) as dataset:
            grid = find_grid(dataset)
            name = grid.variables[0]
            variable = dataset.variables[name]
            rows, columns = (variable.sizes[dim] for dim in (grid.y, grid.x))
            if not pair:
                small = rows, columns
            factor = rows // small[0]
            index: dict[Any, Any] = {}
            for dim, size in ((grid.y, small[0]), (grid.x, small[1])):
                start = max(0, (size - SIDE) // 2)
                index[dim] = slice(factor * start, factor * min(size, start + SIDE))
            index |= {dim: 0 for dim in variable.dims if dim not in index}
            stored = variable.isel(index).transpose(grid.y, grid.x).to_numpy()
            valid = missing_of(variable).valid(stored[None])[0]
            values = np.where(valid, stored.astype(float), np.nan)
            pair.append(values[::-1] if _goes_north(dataset, grid) else values)
    return pair


def _goes_north(dataset: xr.Dataset, grid: CFGrid) -> bool:
    """Tell whether rows begin in the south."""
    if grid.y_coordinate is None or dataset.variables[grid.y_coordinate].ndim != 1:
        return False
    y = dataset.variables[grid.y_coordinate].to_numpy()
    return bool(y[-1] > y[0])


def _png(pair: Sequence[Array]) -> str:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = np.concatenate([each[np.isfinite(each)] for each in pair])
    low, high = np.percentile(shown, (1, 99)) if shown.size else (0.0, 1.0)
    figure = Figure(figsize=(4.0, 2.0), dpi=100)
    FigureCanvasAgg(figure)
    for number, each in enumerate(pair):
        axes = figure.add_axes((0.5 * number, 0.0, 0.495, 1.0))
        axes.imshow(each, vmin=low, vmax=high, cmap="viridis", interpolation="nearest", aspect="auto")
        axes.set_axis_off()
    file = io.BytesIO()
    figure.savefig(file, format="png", transparent=True)
    return base64.b64encode(file.getvalue()).decode()
