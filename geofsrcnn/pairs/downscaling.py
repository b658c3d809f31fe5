"""A network of pairs with the coarse fields that it is applied to, and the targets on its fine grid."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr

from geofsrcnn._types import Array, Progress
from geofsrcnn.cf.attributes import CONVENTIONS, history
from geofsrcnn.cf.grid import CFGrid
from geofsrcnn.engine.base import Sink
from geofsrcnn.engine.run import torch_threads
from geofsrcnn.grids.windows import Window
from geofsrcnn.networks.catalog import Model
from geofsrcnn.pairs.fields import TIMES_PER_BLOCK, Fields
from geofsrcnn.pairs.frames import Frame
from geofsrcnn.pairs.interpolate import regrid
from geofsrcnn.pairs.network import downscale_with_distributions
from geofsrcnn.pairs.outputs import DTYPE, Output, list_outputs
from geofsrcnn.pairs.pairing import Pairing
from geofsrcnn.pairs.predictive import Predictive, predictive_of
from geofsrcnn.pairs.quantities import convert
from geofsrcnn.pairs.unseen import UnseenValues
from geofsrcnn.values.cells import Cells

MAPPING = "crs"
"""The grid mapping of results that are not on latitudes and longitudes."""


@dataclass(frozen=True)
class Layout:
    """Grid of a predictor's field, and what brings its values into the units that the model takes.

    Parameters
    ----------
    grid : CFGrid
        Of the field.
    frame : Frame
        CRS and units of its coordinates.
    conversion : tuple of float
        Scale and offset.
    """

    grid: CFGrid
    frame: Frame
    conversion: tuple[float, float] = (1.0, 0.0)


@dataclass(frozen=True)
class PredictorField:
    """A predictor's field in a dataset.

    Parameters
    ----------
    fields : Fields
        The dataset's fields.
    name : str
        Of the field among them.
    conversion : tuple of float
        Scale and offset into the model's units.
    index : list of int
        The times that the fields of all predictors have.
    """

    fields: Fields
    name: str
    conversion: tuple[float, float]
    index: list[int]

    @property
    def layout(self) -> Layout:
        """All but values, which workers need."""
        return Layout(self.fields.grid, self.fields.frame, self.conversion)

    @property
    def is_lazy(self) -> bool:
        """True if its values are a dask array."""
        return self.fields.dataset[self.name].chunks is not None

    def at(self, times: slice, member: int) -> xr.DataArray:
        """The field ``(time, y, x)`` at some times of a member, in its own units; read when asked for."""
        return self.fields.at(self.name, self.index[times], member)


@dataclass(frozen=True)
class Ensemble:
    """An ensemble whose members a model runs over.

    Parameters
    ----------
    dim : str
        Dimension of its members.
    labels : list
        Of the members.
    """

    dim: str
    labels: list[Any]


@dataclass(frozen=True)
class Downscaling:
    """A network of pairs with the coarse fields that it needs, found and checked.

    Parameters
    ----------
    model : Model
        Of pairs.
    pairing : Pairing
        All that stands around its networks.
    predictors : list of PredictorField
        In the order of the network's channels.
    times : DataArray
        Coordinate of the times.
    days : ndarray (time,)
        Of the year, from 0.
    ensemble : Ensemble, optional
        That the predictors are of.
    threads : int, optional
        Threads that compute; torch's own number if not given.
    quantiles : tuple of float
        Shares of which quantiles are given too.
    """

    model: Model
    pairing: Pairing
    predictors: list[PredictorField]
    times: xr.DataArray
    days: Array
    ensemble: Ensemble | None = None
    threads: int | None = None
    quantiles: tuple[float, ...] = ()

    @cached_property
    def networks(self) -> Networks:
        """All networks, and the variables that they are to give."""
        return Networks.of(self.model, self.pairing, self.quantiles)

    @property
    def runs(self) -> int:
        """Members of the ensemble, or 1."""
        return 1 if self.ensemble is None else len(self.ensemble.labels)

    @property
    def count(self) -> int:
        """Number of times."""
        return len(self.days)

    @property
    def shapes(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Rows and columns before and after."""
        domain, factor = self.pairing.domain, self.pairing.factor
        return (domain.padded[0] // factor, domain.padded[1] // factor), domain.shape

    @property
    def _blocks(self) -> int:
        """Blocks of times."""
        return -(-self.count // TIMES_PER_BLOCK)

    @property
    def units(self) -> int:
        """Blocks of times of all members of an ensemble, one member after the other."""
        return self.runs * self._blocks

    @property
    def bands(self) -> int:
        """Horizontal slices of all targets."""
        return self.runs * self.count * len(self.pairing.targets)

    @property
    def coarse_cells(self) -> int:
        """Number of coarse cells, of all targets and times."""
        return self.bands * math.prod(self.shapes[0])

    @property
    def fine_cells(self) -> int:
        """Number of fine cells, of all targets and times."""
        return self.bands * math.prod(self.shapes[1])

    @property
    def fine_bytes(self) -> int:
        """Bytes of all variables, before compression."""
        return self.runs * self.count * len(self.outputs()) * math.prod(self.shapes[1]) * DTYPE.itemsize

    def unit(self, number: int) -> tuple[slice, int]:
        """The times and the member of a unit."""
        member, block = divmod(number, self._blocks)
        return slice(block * TIMES_PER_BLOCK, min((block + 1) * TIMES_PER_BLOCK, self.count)), member

    def run(
        self,
        sink: Sink,
        progress: Progress | None = None,
        share: range | None = None,
        precomputed: Iterator[Cells] | None = None,
    ) -> None:
        """Write all units into a sink, or a share of them, computed here or before.

        A unit's cells are bands of the output, the variables of a time before those of the next.
        """
        rows, columns = self.shapes[1]
        count, own = len(self.outputs()), range(self.units) if share is None else share
        unseen = UnseenValues(self.pairing)
        for done, number in enumerate(own, 1):
            times, member = self.unit(number)
            if precomputed is None:
                values = self.compute(times, member, unseen).reshape(-1, rows, columns)
                cells = Cells(values, np.isfinite(values))
            else:
                cells = next(precomputed)
            first = member * self.count
            bands = slice((first + times.start) * count, (first + times.stop) * count)
            sink.prepare(Window(0, rows, 0, columns), cells, bands)()
            if progress is not None:
                progress(done, len(own))
        if precomputed is None:
            unseen.report(-(-self.units // len(own)))

    def seconds(self) -> float:
        """Estimate how long computing takes here, from the first time, computed now."""
        start = time.perf_counter()
        self.compute(slice(0, 1), 0, UnseenValues(self.pairing))
        return (time.perf_counter() - start) * self.count * self.runs

    def memory(self) -> int:
        """Bytes that are under way at the peak, about: float64 fields of a block, of each member and their mean."""
        fields = len(self.outputs()) * (len(self.model.members) + 2) + len(self.predictors)
        return min(TIMES_PER_BLOCK, self.count) * fields * math.prod(self.shapes[1]) * 8

    def template(self) -> xr.Dataset:
        """The result without its targets: coordinates and words."""
        domain, frame, times = self.pairing.domain, self.pairing.frame, self.times
        y, x = domain.names
        y_attrs, x_attrs = frame.axes()
        encoding = {k: v for k, v in times.encoding.items() if k in ("units", "calendar")}
        attrs = {k: v for k, v in times.attrs.items() if k != "bounds"}
        coordinates = {
            "time": xr.Variable("time", times.to_numpy(), attrs, encoding),
            y: xr.Variable(y, domain.y, y_attrs),
            x: xr.Variable(x, domain.x, x_attrs),
        }
        if self.ensemble is not None:
            dim, labels = self.ensemble.dim, np.asarray(self.ensemble.labels)
            coordinates[dim] = xr.Variable(dim, labels, {"standard_name": "realization"})
        mapping = frame.mapping()
        return xr.Dataset(
            {} if mapping is None else {MAPPING: xr.Variable((), np.int32(0), mapping)},
            coordinates,
            {
                "Conventions": CONVENTIONS,
                "history": history(None, self.model.name, self.model.digest, self.model.factor),
            },
        )

    @property
    def lead(self) -> dict[str, int]:
        """Dimensions before y and x, and their sizes: the members of an ensemble, times."""
        members = {} if self.ensemble is None else {self.ensemble.dim: self.runs}
        return {**members, "time": self.count}

    def outputs(self) -> list[tuple[str, dict[str, str]]]:
        """Names and attributes of the variables: see `geofsrcnn.pairs.outputs`."""
        placed = {} if self.pairing.frame.mapping() is None else {"grid_mapping": MAPPING}
        return [(output.name, {**output.attrs, **placed}) for output in self.networks.outputs]

    def compute(self, times: slice, member: int, unseen: UnseenValues) -> Array:
        """Some times of a member, ``(time, output, y, x)`` float32; NaN where no value was ever seen."""
        coarse = [predictor.at(times, member).load() for predictor in self.predictors]
        layouts = [predictor.layout for predictor in self.predictors]
        return downscale_block(self.networks, layouts, coarse, self.days[times], unseen, self.threads)


@dataclass(frozen=True)
class Networks:
    """Networks of pairs, ready to run, and what they give.

    Parameters
    ----------
    model : Model
        Of pairs.
    pairing : Pairing
        All that stands around its networks.
    predictive : Predictive, optional
        What gives distributions, if the model holds it.
    outputs : list of Output
        The variables.
    """

    model: Model
    pairing: Pairing
    predictive: Predictive | None
    outputs: list[Output]

    @classmethod
    def of(cls, model: Model, pairing: Pairing, quantiles: Sequence[float]) -> Networks:
        """Build all that a model holds; a UsageError says that it has no quantiles."""
        predictive = predictive_of(model.checkpoint, pairing)
        return cls(model, pairing, predictive, list_outputs(pairing, len(model.members), predictive, quantiles))

    def downscale(self, coarse: Array, partners: Array, days: Array) -> Array:
        """Compute the variables ``(time, output, y, x)``; parameters as for `geofsrcnn.pairs.network.downscale`."""
        networks = self.model.members, self.predictive, self.pairing
        found, distributions = downscale_with_distributions(*networks, coarse, partners, days, "cpu")
        return np.stack([each.values(found, distributions) for each in self.outputs], 1).astype(DTYPE)


def downscale_block(
    networks: Networks,
    layouts: Sequence[Layout],
    fields: Sequence[xr.DataArray],
    days: Array,
    unseen: UnseenValues,
    threads: int | None = None,
) -> Array:
    """Downscale some times.

    Parameters
    ----------
    networks : Networks
        What is run.
    layouts : sequence of Layout
        Of the predictors' fields.
    fields : sequence of DataArray (time, y, x)
        Of the predictors at these times, in memory, in their own units.
    days : ndarray (time,)
        Of the year, from 0.
    unseen : UnseenValues
        That count what lies outside what the model was trained on.
    threads : int, optional
        Threads that compute.

    Returns
    -------
    ndarray (time, output, y, x), float32
        All variables.
    """
    pairing = networks.pairing
    domain = pairing.domain
    converted = [convert(field, layout.conversion) for layout, field in zip(layouts, fields, strict=True)]

    def at(predictor: int, y: Array, x: Array) -> Array:
        layout = layouts[predictor]
        return regrid(converted[predictor], layout.grid, (layout.frame, pairing.frame), y, x)

    centers = domain.block_centers(networks.model.halo)
    coarse = np.stack([at(predictor, *centers) for predictor in range(len(layouts))], 1)
    unseen.add(coarse)
    nothing = np.full((len(days), *domain.shape), np.nan)
    partners = [pairing.partner(target) for target in pairing.targets]
    fine = [nothing if partner is None else at(partner, domain.y, domain.x) for partner in partners]
    with nullcontext() if threads is None else torch_threads(threads):
        return networks.downscale(coarse, domain.pad(np.stack(fine, 1)), days)
