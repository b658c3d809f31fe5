"""Quantities of the bands of a raster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from geofsrcnn.errors import ModelError, UsageError, printable
from geofsrcnn.formats.raster import RasterSource
from geofsrcnn.values.guesses import warn_of_repeated, warn_of_totals
from geofsrcnn.values.quantity import Certainty, Kind, Quantity, header_of_band, quantity_as, quantity_of

if TYPE_CHECKING:
    from geofsrcnn.networks.catalog import Model


def check_joint(source: RasterSource, quantities: Sequence[Quantity], model: Model) -> None:
    """Refuse bands that a model does not take together; of a model of one band any will do.

    Parameters
    ----------
    source : RasterSource
        The raster.
    quantities : sequence of Quantity
        What each band is.
    model : Model
        The model.

    Raises
    ------
    ModelError
        If there are more or fewer bands than it takes, others by their names, or some that are no fields.
    """
    if model.upsampler is None or model.upsampler.channels == 1:
        return
    shown, names = printable(source.path.name), model.band_names
    together = _listed(names) if names else f"{model.upsampler.channels} bands"
    wanted = f"model {printable(model.name)} takes {together} together"
    if len(source.bands) != model.upsampler.channels:
        raise ModelError(f"{wanted}, {shown} has {len(source.bands)} bands: choose them with bidx=")
    found = tuple(band.description or "" for band in source.bands)
    if names and all(found) and found != names:
        numbers = {band.description: band.index for band in source.bands}
        order = f" ({','.join(str(numbers[name]) for name in names)})" if sorted(found) == sorted(names) else ""
        raise ModelError(f"{wanted}, {shown} has {_listed(found)}: choose them in its order with bidx={order}")
    for band, quantity in zip(source.bands, quantities, strict=True):
        if quantity.kind in (Kind.CATEGORY, Kind.DIRECTION):
            what = f"band {band.index} of {shown} is a {quantity.kind.value} ({quantity.evidence})"
            instead = f"say otherwise with kinds={{'{band.index}': 'field'}}, or take another model"
            raise ModelError(f"{what}, which has no part in bands together: {instead}")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(printable, names))


def quantities_of(source: RasterSource, kinds: Mapping[str, str]) -> list[Quantity]:
    """Return what each band is, by its description, unit and tags, or by the user's word for its number or description.

    Raises
    ------
    UsageError
        If a band is named that is not there.
    """
    name = source.path.stem if source.count == 1 else ""  # that of a file of several bands is none of theirs
    headers = [
        header_of_band(band.description, band.unit, band.dtype, name=name, tags=band.tags) for band in source.bands
    ]
    names = [{str(band.index), band.description or ""} for band in source.bands]
    if unknown := [name for name in kinds if not any(name in own for own in names)]:
        there = ", ".join(str(band.index) for band in source.bands)
        raise UsageError(
            f"no band {printable(', '.join(unknown))} for kinds= in {printable(source.path.name)}: it has {there}"
        )
    found = []
    for own, header in zip(names, headers, strict=True):
        chosen = [kind for name, kind in kinds.items() if name in own]
        found.append(quantity_as(chosen[0], header) if chosen else quantity_of(header))
    return found


def quantities_with_classes(source: RasterSource, kinds: Mapping[str, str]) -> list[Quantity]:
    """Return the same, of a raster that may hold classes, which upscaling repeats whatever else its header says.

    Raises
    ------
    UsageError
        If a band is named that is not there, or classes are said to be something else.
    """
    found = quantities_of(source, kinds)
    if source.classes is not None:
        if found[0].given and found[0].kind is not Kind.CATEGORY:
            band, name = source.bands[0].index, printable(source.path.name)
            raise UsageError(f"band {band} of {name} holds categories ({source.classes}): leave out its kinds=")
        found[0] = Quantity(Kind.CATEGORY, source.classes, certainty=Certainty.STATED)
    return found


def warn_of_guesses(source: RasterSource, quantities: Sequence[Quantity], *, repeats: bool = False) -> None:
    """Say which bands are not made finer as the others are, where that was guessed; `repeats` if these are repeated."""
    pairs = list(zip(source.bands, quantities, strict=True))
    shown = printable(source.path.name)
    classes = [f"{b.index} ({q.evidence})" for b, q in pairs if q.kind is Kind.CATEGORY and not q.given]
    if classes and not repeats:
        warn_of_repeated(classes, f"bands of {shown}")
    warn_of_totals({str(band.index): quantity for band, quantity in pairs}, "NUMBER", f"bands of {shown}")
