"""Rasters made finer by a guide: a raster of the fine resolution that shows the same ground."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from geofsrcnn._types import Facts, Progress, StrPath
from geofsrcnn.engine.base import Rule, Source
from geofsrcnn.engine.guided_source import GuidedSource
from geofsrcnn.engine.sources import PeriodicSource
from geofsrcnn.engine.stream import Stream
from geofsrcnn.errors import InputError, UsageError, printable, warn
from geofsrcnn.files.kinds import check_geotiff_name
from geofsrcnn.files.paths import local_path, refuse_same
from geofsrcnn.formats.open import open_raster_within
from geofsrcnn.networks.card import is_shipped
from geofsrcnn.networks.catalog import Model, ModelLike, check_options, load_model, model_file
from geofsrcnn.networks.checkpoint import GUIDED, Section, check_output, save_checkpoint
from geofsrcnn.networks.guided import section_of
from geofsrcnn.options import LEARNING_MINUTES, RunOptions, UpscaleOptions, check_factor
from geofsrcnn.training.guided_verdict import Verdict
from geofsrcnn.training.own_scene import Lesson, learn_scene
from geofsrcnn.training.schedule import BASELINE
from geofsrcnn.upscale.file import open_task
from geofsrcnn.upscale.task import Summary, Task

if TYPE_CHECKING:
    from geofsrcnn.formats.guide import GuideRaster
    from geofsrcnn.formats.raster import RasterSource


LEAST_FINER = 1.25
"""A guide has so many cells along one side of a coarse cell, at least."""

COARSER = 0.75
"""A guide with fewer cells than this along one side of a fine cell is worth a word."""


@dataclass(frozen=True)
class Sharpened(Facts):
    """The result of sharpening.

    Parameters
    ----------
    summary : Summary
        What was written, as of `geofsrcnn.upscale_file`.
    verdict : Verdict
        How well the guide helps, and what was applied.
    guides : tuple of str
        How each guide came onto the fine grid: ``as it is``, ``cubic`` or ``average``.
    """

    summary: Summary
    verdict: Verdict
    guides: tuple[str, ...]


def sharpen_file(
    src: StrPath,
    dst: StrPath,
    guide: StrPath | Sequence[StrPath],
    factor: int | None = None,
    model: ModelLike = "default",
    *,
    minutes: float = LEARNING_MINUTES,
    always: bool = False,
    save_model: StrPath | None = None,
    progress: Progress | None = None,
    each_step: Callable[[float], None] = lambda _: None,
    **options: Unpack[RunOptions],
) -> Sharpened:
    """Sharpen a raster by a finer one of the same ground.

    The network learns on the scene itself, one scale coarser, where the raster is the truth; parts are held out and say
    how well that goes. If the guide does not help there, the result is that without it.

    Parameters
    ----------
    src : str or path
        The coarse raster: a GeoTIFF, or any GDAL raster with `driver`.
    dst : str or path
        Ends in ``.tif`` or ``.tiff``.
    guide : str or path, or several
        Rasters of the fine resolution, whose bands all count; warped to the fine grid where they lie on another.
    factor : int, optional
        Fine cells along one side of a coarse cell, 2 to 8; by the cells of the first guide if not given.
    model : str, path, Checkpoint or Model
        As for `geofsrcnn.load_model`; a file that `save_model` wrote starts from what was learned then. For factors
        that "default" is not shipped for, it stands for the best classical method, and all is learned on the scene.
    minutes : float
        Learn on the scene for at most so long; 0 applies what the model can already.
    always : bool
        Follow the guide even where it does not help.
    save_model : str or path, optional
        Checkpoint to write what was learned to, ``.safetensors``, for other scenes of the same bands.
    progress : callable, optional
        As for `geofsrcnn.upscale_file`.
    each_step : callable
        Called before each step of the learning with the share that is done; what it raises ends the run.
    **options
        Those of `geofsrcnn.UpscaleOptions` for rasters, but for `error`, `error_file` and a limit of `overshoot`.

    Returns
    -------
    Sharpened
        What was written, and how well the guide helps.

    Raises
    ------
    UsageError, InputError, ModelError, OutputError, LimitError
        If an argument, an input or the model is wrong, or the output cannot be written; nothing is left of it then.
    """
    start = time.perf_counter()
    chosen = UpscaleOptions.of(options)
    factor = None if factor is None else check_factor(factor)
    place = local_path(src)
    guides = [local_path(path) for path in ([guide] if isinstance(guide, str | os.PathLike) else guide)]
    _check(place, Path(dst).absolute(), guides, minutes)
    if save_model is not None:
        inputs = [each for each in (place, Path(dst), model_file(model), *guides) if each is not None]
        check_output(save_model, inputs, overwrite=chosen.overwrite)
    with _open(place, guides, factor, chosen) as (source, beside, finer):
        place, chosen = source.path, replace(chosen, inside=None)  # which is unpacked now
        loaded = load_model(_base(model, finer), finer, device=chosen.device, precision=chosen.precision)
        check_options(loaded, chosen, guided=True)
        if save_model is not None and loaded.checkpoint is None:
            raise UsageError(f"{loaded.name} is a classical method, which has no file: save_model= needs a network")
        with open_task(place, dst, finer, loaded, chosen) as task:  # all that can be refused is, before the learning
            task.check()
            bands = _bands_to_learn(task, source)
        lesson = _learn(loaded, source, beside, bands, minutes, always, each_step)
        if save_model is not None:
            save_lesson(save_model, loaded, lesson, overwrite=chosen.overwrite)
        applied = replace(lesson.model, notes=_notes(beside, lesson.verdict))
        with open_task(place, dst, finer, applied, chosen) as task:
            guided = _with_guide(task, beside, finer)
            size = guided.write(progress)
        return Sharpened(
            guided.summary(time.perf_counter() - start, size),
            lesson.verdict,
            tuple(each.fit.method for each in beside),
        )


def _check(src: Path, target: Path, guides: Sequence[Path], minutes: float) -> None:
    """Refuse what cannot be, before anything is opened."""
    if not guides:
        raise UsageError("sharpen needs a guide: name a finer raster with guide=")
    check_minutes(minutes)
    check_geotiff_name(target, "sharpen writes")
    refuse_same(target, src, *guides)


def check_minutes(minutes: float) -> None:
    """Refuse a time to learn that is none with a UsageError."""
    if isinstance(minutes, bool) or not isinstance(minutes, int | float) or not 0 <= minutes < float("inf"):
        raise UsageError(f"minutes must be a number from 0, got {minutes!r}")


@contextmanager
def _open(
    src: Path, guides: Sequence[Path], factor: int | None, options: UpscaleOptions
) -> Iterator[tuple[RasterSource, list[GuideRaster], int]]:
    """The raster, its guides on the fine grid, and the factor between them."""
    from geofsrcnn.formats.guide import GuideRaster, find_factor

    instead = "sharpen takes rasters: open it with xarray, ds.fsrcnn.sharpen(guide) does it there"
    with ExitStack() as held:
        source = held.enter_context(open_raster_within(src, options, instead))
        factor = find_factor(guides[0], source.grid) if factor is None else factor
        fine = source.grid.refine(factor)
        beside = [held.enter_context(GuideRaster(path, fine)) for path in guides]
        for each in beside:
            check_cells(each.fit.scale, factor, each.shown)
        yield source, beside, factor


def check_cells(cells: float, factor: int, shown: str, guided: str = "the raster") -> None:
    """Refuse a guide that is no finer than what it guides, and warn of one that is coarser than the result.

    One scale coarser it would tell more than it can here: the verdict would be too good.

    Parameters
    ----------
    cells : float
        The guide's along one side of a fine cell.
    factor : int
        Fine cells along one side of a coarse cell.
    shown : str
        The guide's name.
    guided : str
        What it guides.

    Raises
    ------
    InputError
    """
    if cells * factor < LEAST_FINER:
        raise InputError(f"the guide {shown} is no finer than {guided}: it tells nothing of finer cells")
    if cells < COARSER:
        warn(
            "W-GUIDE",
            f"the cells of the guide {shown} are {1 / cells:.3g} times as large as those of the result: it helps "
            "less than the table says",
        )


def _base(model: ModelLike, factor: int) -> ModelLike:
    """The model as it was named, but where none is shipped for the factor the best classical method."""
    if model != "default" or is_shipped("default", factor):
        return model
    return BASELINE


def _bands_to_learn(task: Task, source: RasterSource) -> list[int]:
    """Positions of the bands that a network computes as they are: no categories, no directions.

    Raises
    ------
    UsageError
        If there is none.
    """
    stream = task.streams[0]
    assert isinstance(stream, Stream)
    rules: Sequence[Rule] = stream.rules or [Rule()] * source.shape[0]
    found = [number for number, rule in enumerate(rules) if not rule.repeats and not rule.value_period]
    if not found:
        raise UsageError(f"{printable(source.path.name)} holds categories or directions: a guide tells nothing of them")
    return found


def _learn(
    model: Model,
    source: RasterSource,
    guides: Sequence[GuideRaster],
    bands: Sequence[int],
    minutes: float,
    always: bool,
    each_step: Callable[[float], None],
) -> Lesson:
    """Learn on the scene, and say what a user should know of the guide."""
    names = {n: source.bands[n].description or f"band {source.bands[n].index}" for n in bands}
    lesson = learn_scene(model, source, guides, names, minutes=minutes, always=always, each_step=each_step)
    warn_of_shift(lesson.verdict, "the raster's own", "gdal_translate -a_ullr")
    return lesson


def warn_of_shift(verdict: Verdict, guided: str, remedy: str) -> None:
    """Warn if a guide lies off what it guides."""
    if verdict.misplaced and verdict.shift is not None:
        dy, dx = verdict.shift
        rows = f"{abs(dy):.2f} rows too far {'down' if dy > 0 else 'up'}"
        columns = f"{abs(dx):.2f} columns too far to the {'right' if dx > 0 else 'left'}"
        warn(
            "W-SHIFT",
            f"what the guide shows lies {rows} and {columns} (in coarse cells, by phase correlation), or {guided} "
            f"the other way: put one of them right ({remedy})",
        )


def _with_guide(task: Task, guides: Sequence[Source], factor: int) -> Task:
    """The task with the guides beside its cells."""
    stream = task.streams[0]
    assert isinstance(stream, Stream)

    def beside(source: Source) -> Source:
        return GuidedSource(source, guides, factor)

    source = stream.source
    guided = source.over(beside) if isinstance(source, PeriodicSource) else beside(source)  # guides lie as files do
    return replace(task, streams=[replace(stream, source=guided)])


def _notes(guides: Sequence[GuideRaster], verdict: Verdict) -> dict[str, str]:
    """Tags that say what the output follows, and how well that went."""
    return {
        "GEOFSRCNN_GUIDE": ", ".join(f"{each.shown} ({each.fit.method})" for each in guides),
        "GEOFSRCNN_APPLIED": verdict.chosen,
        "GEOFSRCNN_VERDICT": verdict.words(),
    }


def save_lesson(path: StrPath, model: Model, lesson: Lesson, *, overwrite: bool) -> None:
    """Write a model with what was learned on a scene.

    Raises
    ------
    OutputError
        If the file exists or cannot be written.
    """
    checkpoint, verdict = model.checkpoint, lesson.verdict
    assert checkpoint is not None
    learned = {"what": verdict.words(), "steps": verdict.steps, "bands": list(verdict.bands)}
    facts = {**checkpoint.sections.get(GUIDED, Section({})).values, "held_out": learned}
    sections = {**checkpoint.sections, GUIDED: section_of(lesson.correction, facts)}
    save_checkpoint(path, checkpoint.networks, checkpoint.card, sections=sections, overwrite=overwrite)
