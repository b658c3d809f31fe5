"""Fields and patches that a network is trained on: fields of fine rasters, cut by site, and random patches of them.

A patch lies at any fine offset, so blocks fall everywhere; its coarse version is made of block means. Missing
cells are filled as in inference and count in no loss. Values are given in units of the patch's own roughness
(standard deviation of fine minus coarse), so that no domain's units dominate.

Whole sites are held out: rasters that overlap are one site, and no site is on both sides.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.crs import CRS
from rasterio.warp import transform_bounds

from geofsrcnn._types import Array
from geofsrcnn.errors import InputError, printable, warn
from geofsrcnn.formats.gdal import GDAL_ERRORS
from geofsrcnn.formats.raster import RasterSource
from geofsrcnn.grids.affine import Grid
from geofsrcnn.grids.longitude import FULL_CIRCLE
from geofsrcnn.grids.windows import Window, read_margin
from geofsrcnn.options import UpscaleOptions
from geofsrcnn.training.schedule import TrainOptions
from geofsrcnn.values.blocks import block_mean, repeat
from geofsrcnn.values.fill import fill

SMALLEST = 8
"""Coarse cells along the shorter side that a field needs to be trained on."""

VALID_SHARE = 0.25
"""Share of a patch's cells that must be valid."""


@dataclass
class Field:
    """One band of a raster in memory, or all of them that are learned together.

    Parameters
    ----------
    name : str
        File stem and band; the stem alone of bands together.
    grid : Grid
        Of the file.
    values : ndarray (y, x), or (band, y, x) of bands together, float64
        NaN where missing.
    bands : tuple of str
        Names of bands together; ``""`` where there is none.
    """

    name: str
    grid: Grid
    values: Array
    bands: tuple[str, ...] = ()

    @property
    def file(self) -> str:
        """The file's stem."""
        return self.name.split("#")[0]


def read_fields(path: Path, *, joint: bool = False, alpha: str = "auto") -> list[Field]:
    """All bands of a raster, in memory, NaN where missing; as one field if they are learned together.

    What `alpha` means, `UpscaleOptions` says.
    """
    with RasterSource(path, UpscaleOptions(alpha=alpha)) as source:
        bands, rows, columns = source.shape
        cells = source.read(Window(0, rows, 0, columns), slice(0, bands))
        if joint:
            names = tuple(band.description or "" for band in source.bands)
            return [Field(path.stem, source.grid, cells.with_nan(), names)]
        bands_and_values = zip(source.bands, cells.with_nan(), strict=True)
        return [Field(f"{path.stem}#{band.index}", source.grid, values) for band, values in bands_and_values]


def digest(fields: Sequence[Field]) -> str:
    """SHA-256 of names and values, hexadecimal: the same for the same data in the same order."""
    result = hashlib.sha256()
    for f in fields:
        result.update(f"{f.name} {f.values.shape}\n".encode())
        result.update(np.ascontiguousarray(f.values).view(np.uint8).data)
    return result.hexdigest()


def split(
    paths: list[Path],
    validation: list[Path],
    factor: int,
    *,
    hold_out: float,
    seed: int,
    channels: int = 1,
    alpha: str = "auto",
) -> tuple[list[Field], list[Field]]:
    """Fields to train on and fields to validate on, never of the same site.

    Parameters
    ----------
    paths : list of Path
        Rasters.
    validation : list of Path
        Rasters to validate on; if none, a share of the sites of `paths` is held out.
    factor : int
        Fine cells along one side of a coarse cell.
    hold_out : float
        Share of the sites to hold out.
    seed : int
        Of the choice.
    channels : int
        Bands of each raster that are learned together, as one field; 1: each for itself.
    alpha : {"auto", "none"}
        Ways to take bands that are tagged as alpha, as for `UpscaleOptions`.

    Raises
    ------
    InputError
        If a raster is on both sides, or bands differ that are to be the same.

    Warns
    -----
    GeofsrcnnWarning
        If a validation raster overlaps one that is trained on.
    """
    for path in validation:
        if any(path.samefile(other) for other in paths):
            raise InputError(f"{printable(path.name)} is to train on and to validate on: choose one")
    joint = channels > 1
    files, others = ([read_fields(path, joint=joint, alpha=alpha) for path in group] for group in (paths, validation))
    if joint:
        _check_same_bands([f for fields in files + others for f in fields], channels)
    if validation:
        pairs = [(a[0], b[0]) for a in files for b in others if a[0].grid.affine and same_site(a[0].grid, b[0].grid)]
        if pairs:
            a, b = pairs[0]
            warn(
                "W-OVERLAP",
                f"{printable(b.file)} is validated on and covers ground of {printable(a.file)}, which is trained on "
                f"({len(pairs)} such pairs): unless variable or time differ, scores will look too good",
            )
        return [f for fields in files for f in fields], [f for fields in others for f in fields]
    numbers = sites([fields[0].grid for fields in files])
    count = len(set(numbers))
    if count == 1:
        return _split_one(files, factor)
    order = np.random.default_rng(seed).permutation(sorted(set(numbers)))
    out = set(order[: max(1, round(hold_out * count))].tolist())
    training = [f for site, fields in zip(numbers, files, strict=True) if site not in out for f in fields]
    held_out = [f for site, fields in zip(numbers, files, strict=True) if site in out for f in fields]
    return training, held_out


def _check_same_bands(fields: Sequence[Field], channels: int) -> None:
    """Refuse rasters with another number of bands, or with other names of bands where both have names."""
    rule = "bands that are learned together are the same in all rasters"
    named: Field | None = None
    for f in fields:
        if len(f.bands) != channels:
            raise InputError(f"{printable(f.name)} has {len(f.bands)} bands, the network takes {channels}: {rule}")
        if all(f.bands):
            named = named or f
            if f.bands != named.bands:
                one, other = (f"{printable(each.name)} has {printable(', '.join(each.bands))}" for each in (f, named))
                raise InputError(f"{one}, {other}: {rule}")


def sites(grids: list[Grid]) -> list[int]:
    """A number for each grid; grids that overlap at comparable resolution, or are equal, share it."""
    number = list(range(len(grids)))
    for i, a in enumerate(grids):
        for j, b in enumerate(grids[:i]):
            if same_site(a, b):
                old, new = number[i], number[j]
                number = [new if n == old else n for n in number]
    return number


def same_site(a: Grid, b: Grid) -> bool:
    """Tell whether two grids overlap at comparable resolution, or are equal."""
    if a.affine is None or b.affine is None or (a.crs is None) != (b.crs is None):
        return a.shape == b.shape and a.affine == b.affine and a.crs == b.crs
    moved = a.crs != b.crs
    try:
        with rasterio.Env():  # without one, GDAL prints the error that it raises
            (al, ab, ar, at), (bl, bb, br, bt) = (_box(g, geographic=moved) for g in (a, b))
            around = moved or (a.crs is not None and CRS.from_user_input(a.crs).is_geographic)
    except GDAL_ERRORS:  # a local CRS, which lies nowhere, or one of another body
        return False
    turns = (-FULL_CIRCLE, 0.0, FULL_CIRCLE) if around else (0.0,)
    if not (ab < bt and bb < at and any(al < br + turn and bl + turn < ar for turn in turns)):
        return False
    ratio = ((ar - al) / a.shape[1]) / ((br - bl) / b.shape[1])
    return 1 / 8 < ratio < 8


def _box(grid: Grid, *, geographic: bool) -> tuple[float, float, float, float]:
    """Smallest and largest x and y; in longitude and latitude if asked."""
    assert grid.affine is not None
    rows, columns = grid.shape
    t, corners = grid.affine, ((0, 0), (columns, 0), (0, rows), (columns, rows))
    x = [t.a * column + t.b * row + t.c for column, row in corners]
    y = [t.d * column + t.e * row + t.f for column, row in corners]
    if not geographic:
        return min(x), min(y), max(x), max(y)
    west, south, east, north = transform_bounds(grid.crs, "EPSG:4326", min(x), min(y), max(x), max(y))
    return west, south, east if west < east else east + FULL_CIRCLE, north  # beyond the date line


def _split_one(files: list[list[Field]], factor: int) -> tuple[list[Field], list[Field]]:
    """One site: the right quarter validates, with a strip between that neither side uses."""
    training, held_out = [], []
    for f in (f for fields in files for f in fields):
        columns = f.values.shape[-1]
        cut, gap = columns * 3 // 4, 16 * factor
        training.append(replace(f, values=f.values[..., : max(cut - gap, 0)]))
        held_out.append(replace(f, values=f.values[..., cut:]))
    return training, held_out


B = TypeVar("B")
T = TypeVar("T", bound=np.generic)


def prefetch(draw: Callable[[int], B], step: int) -> Iterator[B]:
    """Batches from a step on, without end, each made while the one before is used."""
    with ThreadPoolExecutor(1) as ahead:
        following = ahead.submit(draw, step)
        while True:
            batch = following.result()
            step += 1
            following = ahead.submit(draw, step)
            yield batch


@dataclass(frozen=True)
class Batch:
    """Patches of one step.

    Parameters
    ----------
    coarse : ndarray (n, band, y + 2 halo, x + 2 halo), float32
        Input with halo, filled, each band of a patch less its mean, in units of its roughness.
    fine : ndarray (n, band, factor y, factor x), float32
        Truth in the same units; 0 where missing.
    valid : ndarray (n, band, factor y, factor x) of bool, or None
        Cells that count; None where all do.
    origins : list of str
        Field and fine window of each patch, for messages.
    """

    coarse: Array
    fine: Array
    valid: npt.NDArray[np.bool_] | None
    origins: list[str]


class Patches:
    """Random patches of fields: the batch of a step depends on the seed and the step alone.

    Parameters
    ----------
    fields : list of Field
        At least one with `SMALLEST` coarse cells along each side.
    factor : int
        Fine cells along one side of a coarse cell.
    halo : int
        Of the network, in coarse cells.
    options : TrainOptions
        Sizes and numbers of patches, how fields are drawn, smoothed and mixed, the seed.
    anchored : bool
        Leave zero where it is, for networks that keep values at or above it; else a patch's mean is taken out.
    """

    def __init__(
        self,
        fields: list[Field],
        factor: int,
        halo: int,
        options: TrainOptions,
        *,
        anchored: bool = False,
    ) -> None:
        self._factor, self._halo, self._batch, self._seed = factor, halo, options.batch_size, options.seed
        self._blur, self._mix, self._anchored = options.blur, options.mix, anchored
        self._noise, self._quantise = options.noise, options.quantise
        self._size = factor * (options.patch + 2 * halo)
        pyramid = (level for field in fields for level in _pyramid(field, options.pyramid_levels))
        self._fields = [level for level in pyramid if min(level.values.shape[-2:]) >= factor * SMALLEST]
        if not self._fields:
            raise InputError(f"no raster of {factor * SMALLEST} x {factor * SMALLEST} fine cells or more to train on")
        bands = Counter((f.file, f.values.shape) for f in self._fields)
        weights = [f.values.size**options.balance / bands[f.file, f.values.shape] for f in self._fields]
        self._shares = np.cumsum(weights) / sum(weights)
        self._complete = [bool(np.isfinite(f.values).all()) for f in self._fields]

    @property
    def files(self) -> list[str]:
        """Stems of the files that patches come from."""
        return sorted({f.file for f in self._fields})

    def draw(self, step: int) -> Batch:
        """The batch of a step."""
        random = np.random.default_rng([self._seed, step])
        patches, origins = [], []
        for _ in range(1000):
            patch, origin = self._cut(random)
            if patch is not None:
                patches.append(patch)
                origins.append(origin)
            if len(patches) == self._batch:
                fine, origins = self._mix_patches(np.stack(patches), origins, random)
                bands = fine.shape[1]
                return self._assemble(*self._sense(fine.reshape(-1, *fine.shape[2:]), step), bands, origins)
        raise InputError("found too few patches with valid cells and any structure in 1000 draws")

    def _cut(self, random: np.random.Generator) -> tuple[Array | None, str]:
        """Bands of a patch, turned at random, less their means; None where too little is valid or all are constant."""
        index = min(int(np.searchsorted(self._shares, random.uniform(), "right")), len(self._fields) - 1)
        f = self._fields[index]
        y, x = (int(random.integers(max(n - self._size, 0) + 1)) for n in f.values.shape[1:])
        turns, mirror, smooth = int(random.integers(4)), bool(random.integers(2)), random.uniform()
        sigma = random.uniform(0.4, 1.2)
        fine = f.values[:, y : y + self._size, x : x + self._size]
        origin = f"{f.name} rows {y}-{y + fine.shape[1]} columns {x}-{x + fine.shape[2]}"
        whole = self._complete[index]
        if fine.shape[1:] != (self._size, self._size):
            fine, whole = self._pad(fine), False
        if not whole and self._core(np.isfinite(fine)).mean() < VALID_SHARE:
            return None, origin
        bands = [self._scale(band, sigma if smooth < self._blur else 0.0, whole=whole) for band in fine]
        if all(band is None for band in bands):
            return None, origin
        flat = (0 * raw.astype(np.float32) for raw in fine)
        drawn = np.stack([rest if band is None else band for rest, band in zip(flat, bands, strict=True)])
        return np.rot90(drawn[..., ::-1] if mirror else drawn, turns, (1, 2)), origin

    def _scale(self, fine: Array, sigma: float, *, whole: bool) -> Array | None:
        """One band less its mean, smoothed, from -1 to 1, float32; None if it is constant."""
        finite = None if whole else np.isfinite(fine)
        if finite is not None and not finite.any():
            return None
        level = fine.mean() if finite is None else fine[finite].mean()
        fine = fine - (0.0 if self._anchored else level)
        if sigma:
            fine = blur_field(fine, sigma)
        contrast = float(np.max(np.abs(fine), where=whole or np.isfinite(fine), initial=0.0))
        return (fine / contrast).astype(np.float32) if contrast > 1e-9 * abs(level) else None

    def _mix_patches(self, fine: Array, origins: list[str], random: np.random.Generator) -> tuple[Array, list[str]]:
        """Some patches ``(n, band, y, x)`` with a part of the next one added, where enough cells are valid in both."""
        sums, names = fine.copy(), list(origins)
        for i, (drawn, weight) in enumerate(random.uniform(size=(len(fine), 2))):
            other = (i + 1) % len(fine)
            both = fine[i] + np.float32(weight) * fine[other]
            if drawn < self._mix and np.isfinite(self._core(both)).mean() >= VALID_SHARE:
                sums[i], names[i] = both, f"{origins[i]} + {origins[other]}"
        return sums, names

    def _sense(self, fine: Array, step: int) -> tuple[Array, Array]:
        """Some bands with noise, some rounded to few levels, and the steps that their coarse versions are rounded to.

        Parameters
        ----------
        fine : ndarray (n, y, x), float32
            From -1 to 1; changed in place.
        step : int
            Of the training.

        Returns
        -------
        fine : ndarray (n, y, x), float32
        steps : ndarray (n,), float32
            0 where coarse values are not rounded.
        """
        steps: Array = np.zeros(len(fine), np.float32)
        if not (self._noise or self._quantise):
            return fine, steps
        random = np.random.default_rng([self._seed, step, 1])  # draws of its own: the patches stay the same
        for number, patch in enumerate(fine):
            noisy, strength, rounded, bits, both = random.uniform(size=5)
            if noisy < self._noise:
                amplitude = np.nanstd(np.diff(patch, axis=1)) * 10 ** (1.8 * strength - 1.5)
                fine[number] += random.normal(size=patch.shape).astype(np.float32) * np.float32(amplitude)
            if rounded < self._quantise:
                level = np.float32(2 / 2 ** (3 + 6 * bits))
                np.multiply(np.round(patch / level), level, out=patch)
                steps[number] = level if both < 0.5 else 0.0
        return fine, steps

    def _core(self, fine: Array) -> Array:
        """Return the part of a patch ``(..., y, x)`` that is scored."""
        edge = self._factor * self._halo
        core: Array = fine[..., edge : self._size - edge, edge : self._size - edge]
        return core

    def _pad(self, fine: Array) -> Array:
        """A field smaller than a patch, missing cells around it, its blocks where they were."""
        before = [(self._size - n) // 2 // self._factor * self._factor for n in fine.shape[1:]]
        margins = [(b, self._size - n - b) for b, n in zip(before, fine.shape[1:], strict=True)]
        return np.pad(fine, [(0, 0), *margins], constant_values=np.nan)

    def _assemble(self, fine: Array, steps: Array, bands: int, origins: list[str]) -> Batch:
        """Coarse versions and units of roughness, for all bands of all patches ``(n * bands, y, x)`` at once."""
        f, halo = self._factor, self._halo
        coarse: Array = np.zeros_like(fine[:, ::f, ::f])
        for i, j in np.ndindex(f, f):
            coarse += fine[:, i::f, j::f] / np.float32(f * f)
        for each, level in zip(coarse, steps, strict=True):
            if level:
                np.multiply(np.round(each / level), level, out=each)
        inner = coarse[:, halo : coarse.shape[1] - halo, halo : coarse.shape[2] - halo]
        core = self._core(fine)
        valid = None
        holes = np.isnan(coarse).any((1, 2))
        if holes.any():
            valid = repeat(np.isfinite(inner), f)
            coarse[holes] = fill(coarse[holes], np.isfinite(coarse[holes]), read_margin(halo))
            core = np.where(valid, core, repeat(inner, f))
        rest = core - repeat(inner, f)
        cells = rest[0].size if valid is None else np.maximum(valid.sum((1, 2)), 1)
        roughness = np.sqrt((rest**2).sum((1, 2)) / cells)
        roughness = np.maximum(roughness, FLATTEST)[:, None, None]
        shown = None if valid is None else _in_patches(valid, bands)
        return Batch(_in_patches(coarse / roughness, bands), _in_patches(core / roughness, bands), shown, origins)


def _in_patches(values: npt.NDArray[T], bands: int) -> npt.NDArray[T]:
    """Bands ``(n * bands, y, x)`` as ``(n, bands, y, x)``."""
    return values.reshape(-1, bands, *values.shape[1:])


FLATTEST = 1e-4
"""Roughness below this share of a patch's contrast counts as this: rounding of its float32 values."""


def _pyramid(f: Field, times: int) -> Iterator[Field]:
    """The field ``(band, y, x)`` and its block means by 2, 4, ..."""
    f = replace(f, values=f.values.reshape(-1, *f.values.shape[-2:]))
    yield f
    for _ in range(times):
        f = replace(f, values=block_mean(f.values, 2))
        yield f


def blur_field(values: Array, sigma: float) -> Array:
    """Gaussian smoothing with replicated edges; cells near a missing one are missing."""
    radius = math.ceil(3 * sigma)
    line = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    line /= line.sum()
    for axis in (0, 1):
        moved = np.moveaxis(values, axis, 0)
        padded = np.pad(moved, [(radius, radius), (0, 0)], mode="edge")
        smooth = np.zeros_like(moved)
        for i, weight in enumerate(line):
            smooth += weight * padded[i : i + len(moved)]
        values = np.moveaxis(smooth, 0, axis)
    return values
