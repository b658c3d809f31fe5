"""How far two fields of the same ground lie apart, whatever their units are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geofsrcnn._types import Array

WAVELENGTHS = (4.0, 50.0)
"""Shortest and longest waves that count, in cells: shorter ones are noise, longer ones the taper."""

FARTHEST = 2.0
"""Cells along each axis that are looked at."""

STEPS = ((0.25, FARTHEST), (0.05, 0.25), (0.01, 0.05))
"""Step and reach of each round of the search, in cells."""


@dataclass(frozen=True)
class Registration:
    """How one field lies against another.

    Parameters
    ----------
    y, x : float
        Cells by which the first lies further along each axis.
    coherence : float
        Mean agreement of phases there: 1 for the same field, about 0 for unrelated ones.
    """

    y: float
    x: float
    coherence: float


def cross_spectrum(field: Array, other: Array) -> tuple[Array, Array, Array]:
    """Work out the cross spectrum of two finite fields ``(y, x)``, tapered, and its frequencies in cycles a cell."""
    rows, columns = field.shape
    taper = np.hanning(rows)[:, None] * np.hanning(columns)[None, :]
    spectra = [np.fft.fft2((each - each.mean()) * taper) for each in (field, other)]
    ky, kx = np.meshgrid(np.fft.fftfreq(rows), np.fft.fftfreq(columns), indexing="ij")
    return spectra[0] * np.conj(spectra[1]), ky, kx


def register(field: Array, other: Array) -> Registration:
    """Find the shift of a field against another by phase correlation (Kuglin and Hines 1975), to a part of a cell.

    Amplitudes do not count, so that fields of other units and contrasts compare; the shift is that at which phases of
    waves of 4 to 50 cells agree best.

    Parameters
    ----------
    field, other : ndarray (y, x)
        Finite fields of the same shape.

    Returns
    -------
    Registration
    """
    cross, ky, kx = cross_spectrum(field, other)
    waves = np.hypot(ky, kx)
    used = (waves <= 1 / WAVELENGTHS[0]) & (waves >= 1 / WAVELENGTHS[1]) & (np.abs(cross) > 0)
    if not used.any():
        return Registration(0.0, 0.0, 0.0)
    phases, ky, kx = cross[used] / np.abs(cross[used]), ky[used], kx[used]
    best = Registration(0.0, 0.0, -1.0)
    for step, reach in STEPS:
        middle, offsets = best, np.arange(-reach, reach + step / 2, step)
        for dy in middle.y + offsets:
            turned = phases * np.exp(2j * np.pi * ky * dy)
            agreement = (turned[:, None] * np.exp(2j * np.pi * kx[:, None] * (middle.x + offsets))).real.mean(0)
            at = int(agreement.argmax())
            if agreement[at] > best.coherence:
                best = Registration(float(dy), float(middle.x + offsets[at]), float(agreement[at]))
    return best
