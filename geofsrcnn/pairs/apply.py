"""Apply a network that was trained on pairs: coarse fields in, targets on its fine grid out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from geofsrcnn._types import Array
from geofsrcnn.cf.dates import day_of_year
from geofsrcnn.cf.times import decode_times
from geofsrcnn.errors import InputError, UsageError, printable
from geofsrcnn.networks.catalog import Model, ModelLike, load_model
from geofsrcnn.pairs.dimensions import split_levels
from geofsrcnn.pairs.downscaling import Downscaling, Ensemble, Networks, PredictorField
from geofsrcnn.pairs.fields import Fields, find_fields, join_fields
from geofsrcnn.pairs.frames import check_known
from geofsrcnn.pairs.interpolate import share_outside
from geofsrcnn.pairs.lazy import compute_lazily
from geofsrcnn.pairs.match import match_predictor
from geofsrcnn.pairs.match_times import common_step, common_times
from geofsrcnn.pairs.network import pairing_of
from geofsrcnn.pairs.pairing import Pairing, Predictor
from geofsrcnn.pairs.read import members_of
from geofsrcnn.pairs.unseen import UnseenValues


def downscale_dataset(
    coarse: xr.Dataset | Sequence[xr.Dataset],
    model: ModelLike,
    threads: int | None = None,
    quantiles: Sequence[float] = (),
) -> xr.Dataset:
    """Targets of a network that was trained on pairs, on its fine grid.

    Parameters
    ----------
    coarse : Dataset, or several
        Decoded, with the network's predictors by name, on any grids with coordinates of one dimension.
    model : path, Checkpoint or Model
        Of pairs.
    threads : int, optional
        Threads that compute.
    quantiles : sequence of float
        Shares between 0 and 1, such as 0.1 and 0.9: ``NAME_q10`` and ``NAME_q90`` are given too, by a model that gives
        distributions.

    Returns
    -------
    Dataset
        ``(time, y, x)``, float32; NaN where the network has never seen a value. With several members their mean, and
        ``NAME_spread``, their standard deviation; of a model that gives distributions ``NAME_std``, the standard
        deviation of the truth about it, and for amounts with many zeros ``NAME_wet``, the chance of a wet cell. Lazy,
        some times a chunk, where a predictor was.

    Raises
    ------
    InputError, UsageError, ModelError
        If a predictor is not there or in other units, there is no common time, or the model is no such one.
    """
    given = [coarse] if isinstance(coarse, xr.Dataset) else coarse
    task = prepare([decode_times(each, "the coarse fields") for each in given], load_model(model), threads, quantiles)
    is_lazy = any(predictor.is_lazy for predictor in task.predictors)
    fine = compute_lazily(task) if is_lazy else _compute(task)
    dims = (*task.lead, *task.pairing.domain.names)
    shape = *task.lead.values(), *task.shapes[1]
    return task.template().assign(
        {name: (dims, fine[:, k].reshape(shape), attrs) for k, (name, attrs) in enumerate(task.outputs())}
    )


def _compute(task: Downscaling) -> Array:
    """All times of all members ``(time, output, y, x)``."""
    unseen = UnseenValues(task.pairing)
    fine = np.concatenate([task.compute(*task.unit(number), unseen) for number in range(task.units)])
    unseen.report()
    return fine


def prepare(
    sources: Sequence[xr.Dataset], model: Model, threads: int | None = None, quantiles: Sequence[float] = ()
) -> Downscaling:
    """Find in decoded datasets what a model of pairs needs; errors as for `downscale_dataset`."""
    pairing = pairing_of(model)
    Networks.of(model, pairing, quantiles)  # before anything is read, what cannot be is refused
    wanted = [predictor.name for predictor in pairing.predictors]
    split = [split_levels(each, wanted)[0] for each in sources]
    found = [_find_predictor(split, predictor, pairing) for predictor in pairing.predictors]
    all_fields = [fields for fields, _ in found]
    predictors = [
        PredictorField(fields, predictor.name, conversion, index)
        for predictor, (fields, conversion), index in zip(
            pairing.predictors, found, common_times(all_fields), strict=True
        )
    ]
    timed = next((each for each in predictors if each.fields.time is not None), None)
    if timed is None:
        raise UsageError("the coarse fields have no time axis: add one")
    times = timed.fields.dataset[timed.fields.time].isel({timed.fields.time: timed.index})
    step = common_step(all_fields)
    days = np.array([day_of_year(timed.fields.dates[i], step) for i in timed.index])
    ensemble = _ensemble_of(all_fields)
    return Downscaling(model, pairing, predictors, times, days, ensemble, threads, tuple(quantiles))


def _ensemble_of(all_fields: Sequence[Fields]) -> Ensemble | None:
    dim = next((fields.member for fields in all_fields if fields.member is not None), None)
    return None if dim is None else Ensemble(dim, members_of(all_fields))


def _find_predictor(
    sources: Sequence[xr.Dataset], predictor: Predictor, pairing: Pairing
) -> tuple[Fields, tuple[float, float]]:
    """Find the fields that have a predictor, and scale and offset into the model's units."""
    having = [each for each in sources if predictor.name in each.variables]
    if not having:
        names = ", ".join(str(name) for each in sources for name in each.data_vars)
        words = f"no variable {printable(predictor.name)}, which the model needs"
        raise InputError(f"{words}: there are {printable(names)}; name the file that has it in also=")
    (fields,) = join_fields([find_fields(each, printable(predictor.name), [predictor.name]) for each in having])
    check_known((fields.frame, pairing.frame), (fields.shown, "the model's grid"))
    outside = share_outside(fields, pairing.domain, pairing.frame)
    attrs = fields.dataset[predictor.name].attrs
    return fields, match_predictor(predictor, attrs, fields.spacing, outside, is_daily=fields.is_daily)
