"""Models that a process holds ready, for tasks of dask that come one after the other and share no objects."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from geofsrcnn.networks.catalog import Model, load_model

if TYPE_CHECKING:
    from geofsrcnn.networks.checkpoint import Checkpoint

MAX_MODELS = 8
"""Models that are held; the oldest goes first."""

_models: dict[tuple[str, int, str, str], Model] = {}
"""By name or digest, factor, device and precision."""

_models_lock = threading.Lock()


def ready_model(model: str | Checkpoint, factor: int, device: str, precision: str) -> Model:
    """Return a model ready to run, loaded once in a process.

    Parameters
    ----------
    model : str or Checkpoint
        A classical method's name, or a network.
    factor : int
        Fine cells along one side of a coarse cell.
    device, precision : str
        As for `geofsrcnn.load_model`.
    """
    if isinstance(model, str):
        return ready_model_of(model, lambda: model, factor, device, precision)
    return ready_model_of(model.digest, lambda: model, factor, device, precision)


def ready_model_of(
    identity: str, find: Callable[[], str | Checkpoint], factor: int, device: str, precision: str
) -> Model:
    """Return a model that is found only if it is not held yet.

    Parameters
    ----------
    identity : str
        Name of a classical method, or digest of a network.
    find : callable
        Gives the name, or the network.
    factor : int
        Fine cells along one side of a coarse cell.
    device, precision : str
        As for `geofsrcnn.load_model`.
    """
    key = identity, factor, device, precision
    with _models_lock:
        if key not in _models:
            _models[key] = load_model(find(), factor, device=device, precision=precision)
            while len(_models) > MAX_MODELS:
                del _models[next(iter(_models))]
        return _models[key]
