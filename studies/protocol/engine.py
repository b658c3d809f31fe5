"""A study's network in the package's engine: what users would run is what is scored and timed."""

from __future__ import annotations

from collections.abc import Callable

from geofsrcnn import upscale_array
from geofsrcnn.networks.catalog import Model
from geofsrcnn.networks.fsrcnn import FSRCNN
from geofsrcnn.networks.inference import Network as Inference
from geofsrcnn.networks.srcnn import SRCNN, srcnn_model
from protocol.images import Array
from protocol.patches import WHITE


def as_model(network: FSRCNN | SRCNN, name: str = "study") -> Model:
    """Make a network ready to run."""
    if isinstance(network, SRCNN):
        return srcnn_model(network)
    config = network.config
    return Model(name, config.factor, "cpu", "float32", (Inference(network),), config.operations)


def upscale_with(network: FSRCNN | SRCNN) -> Callable[[Array], Array]:
    """Return the network as a function of whole images in grey levels."""
    model = as_model(network)

    def upscale(coarse: Array) -> Array:
        fine: Array = upscale_array(coarse / WHITE, model.factor, model, threads=1)
        return fine * WHITE

    return upscale
