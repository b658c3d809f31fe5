"""Hypothesis strategies: what rasters look like, the awkward ones first."""

from __future__ import annotations

import math

import numpy as np
from affine import Affine
from hypothesis import strategies as st

STEPS = (30.0, 10.0, 0.25, 1 / 3600, 0.1, 2.5, 1 / 120, 1000.0, 0.05)
RUBBISH = (math.nan, 1e30, -9999.0, math.inf, -math.inf, 0.0)
"""What may stand under a mask."""

seeds = st.integers(0, 2**32 - 1)
factors = st.integers(2, 5)
shapes = st.one_of(
    st.sampled_from([(1, 1), (1, 17), (17, 1), (2, 2), (5, 23), (23, 5)]),
    st.tuples(st.integers(1, 26), st.integers(1, 26)),
)
tile_sizes = st.integers(4, 30)
"""At least the halo of the small random networks."""

steps = st.one_of(st.sampled_from(STEPS), st.floats(1e-5, 1e4))
origins = st.one_of(
    st.integers(-180, 180).map(float),
    st.decimals(-5_000_000, 5_000_000, places=3).map(float),
    st.decimals(-180, 180, places=6).map(float),
)
magnitudes = st.sampled_from(
    [(0.0, 1.0), (101325.0, 10.0), (0.0, 1e38), (0.0, 1e-40), (273.15, 20.0), (-4000.0, 3000.0)]
)
"""(middle, half width) of the values."""


@st.composite
def affines(draw: st.DrawFn, *, rotated: bool = False) -> Affine:
    """North-up, south-up and mirrored transforms; rotated and sheared ones on request."""
    a = draw(steps) * draw(st.sampled_from([1, 1, -1]))
    e = draw(steps) * draw(st.sampled_from([-1, -1, 1]))
    b = d = 0.0
    if rotated:
        angle, shear = math.radians(draw(st.floats(1, 359))), draw(st.floats(-0.5, 0.5))
        cos, sin = math.cos(angle), math.sin(angle)
        a, b, d, e = a * cos, a * (shear * cos - sin), e * sin, e * (shear * sin + cos)
    return Affine(a, b, draw(origins), d, e, draw(origins))


@st.composite
def fields(draw: st.DrawFn, *, middle: float = 0.0, width: float = 1.0, dtype: str = "float64") -> np.ndarray:
    """A field of noise, steps, flat parts or a plane."""
    shape = draw(shapes)
    rng = np.random.default_rng(draw(seeds))
    kind = draw(st.sampled_from(["noise", "step", "flat patches", "plane"]))
    y, x = np.mgrid[: shape[0], : shape[1]]
    if kind == "noise":
        unit = rng.uniform(-1, 1, shape)
    elif kind == "step":
        unit = np.where(x + y < (shape[0] + shape[1]) // 2, -1.0, 1.0)
    elif kind == "flat patches":
        unit = np.round(rng.uniform(-1, 1, shape)) * (x % 5 < 2)
    else:
        unit = (x - 0.5 * y) / max(sum(shape), 1)
    return (middle + width * unit).astype(dtype)


@st.composite
def masks(draw: st.DrawFn, shape: tuple[int, int]) -> np.ndarray:
    """True where valid: scattered holes, a coast, all, none, a single valid or a single missing cell."""
    rng = np.random.default_rng(draw(seeds))
    kind = draw(st.sampled_from(["scattered", "coast", "all", "none", "one valid", "one missing", "mostly missing"]))
    cell = tuple(rng.integers(0, n) for n in shape)
    if kind == "scattered":
        return rng.random(shape) < 0.8
    if kind == "mostly missing":
        return rng.random(shape) < 0.05
    if kind == "coast":
        y, x = np.mgrid[: shape[0], : shape[1]]
        return x + 2 * y > sum(shape) / 2
    mask = np.full(shape, kind in ("all", "one missing"))
    if kind.startswith("one"):
        mask[cell] = kind == "one valid"
    return mask
