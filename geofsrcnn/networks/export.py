"""Networks as ONNX files, for programs that have no PyTorch; verified by ONNX Runtime before they appear."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from geofsrcnn._types import Facts, StrPath
from geofsrcnn._version import __version__
from geofsrcnn.errors import ModelError, OutputError, UsageError, need, printable
from geofsrcnn.files.paths import refuse_same
from geofsrcnn.files.staging import check_target, staged
from geofsrcnn.networks.card import MODELS
from geofsrcnn.networks.catalog import Model, ModelLike, load_model, model_file
from geofsrcnn.networks.checkpoint import Checkpoint
from geofsrcnn.networks.config import TORCH_PADDING, FSRCNNConfig
from geofsrcnn.networks.inference import Network
from geofsrcnn.options import Overshoot

SUFFIX = ".onnx"

MOST_CELLS = 2**16
"""Coarse cells along one side of a field of fixed size, at most."""

TOLERANCE = 1e-5
"""Largest difference from the network, as a share of the range of its result."""


@dataclass(frozen=True)
class Exported(Facts):
    """An ONNX file that was written.

    Parameters
    ----------
    output : str
        Its path.
    model : str
        Name of the network.
    coarse, fine : tuple of int or str
        Shapes ``(n, band, y, x)`` of input and output; words stand for sizes that are free.
    halo : int
        Coarse cells that a fine cell depends on around the one that it lies in.
    difference : float
        Largest difference between ONNX Runtime's result and the network's, as a share of the range of a random field.
    runtime : str
        Version of that ONNX Runtime.
    file_bytes : int
        Size of the file.
    sha256 : str
        Digest of the file.
    """

    output: str
    model: str
    coarse: tuple[int | str, ...]
    fine: tuple[int | str, ...]
    halo: int
    difference: float
    runtime: str
    file_bytes: int
    sha256: str


def export_onnx(
    model: ModelLike,
    output: StrPath,
    factor: int | None = None,
    *,
    size: tuple[int, int] | None = None,
    overshoot: Overshoot = None,
    overwrite: bool = False,
) -> Exported:
    """Write a network as an ONNX file, whole or not at all.

    Parameters
    ----------
    model : str, path, Checkpoint or Model
        A network, as `load_model` takes it.
    output : str or path
        The file, whose name ends in ``.onnx``.
    factor : int, optional
        Factor that the network must serve; if not given, that of the model's file, else 3.
    size : tuple of int, optional
        Coarse cells ``(y, x)`` of the single field that the file takes; fields of any number and size if not given.
    overshoot : float or "none", optional
        Share of the range of the 3 x 3 coarse cells around, 0 to 1, by which fine values may leave it; "none": no
        limit. If not given, what the model says.
    overwrite : bool
        Replace an existing file.

    Returns
    -------
    Exported
        Shapes of input and output, and how near the file comes to the network.

    Raises
    ------
    UsageError
        If an argument is wrong, or onnx or onnxruntime is not installed (extra ``export``).
    ModelError
        If there is no such model, or it is more than a network.
    OutputError
        If the file cannot be written, or does not do what the network does.

    Notes
    -----
    The file takes finite float32 values in any unit, and repeats those at the field's edges itself. What the engine
    does around the network is left to the program that runs it: missing cells, ranges, directions, categories.
    """
    need("export", "onnx", "onnxruntime")
    target = Path(output).absolute()
    if target.suffix != SUFFIX:
        raise UsageError(f"the name of an ONNX file must end in {SUFFIX}: {printable(target.name)}")
    _check_size(size)
    if (source := model_file(model)) is not None:
        refuse_same(target, source)
    check_target(target, overwrite=overwrite)
    loaded = load_model(model, factor, device="cpu", overshoot=overshoot)
    network, checkpoint = _network_of(loaded)
    if size is not None and network.padding == "reflect" and min(size) <= network.halo:
        raise UsageError(
            f"size= must be more than {network.halo} both ways, as this network reflects edges, got {size!r}"
        )
    free, data = (_serialise(checkpoint, network.config, each) for each in (None, size))
    with staged(target, overwrite=overwrite) as staging:
        staging.write_bytes(data)
        difference, coarse, fine = _verify(staging, free, network)
        return Exported(
            output=str(target),
            model=loaded.name,
            coarse=coarse,
            fine=fine,
            halo=loaded.halo,
            difference=difference,
            runtime=_runtime_version(),
            file_bytes=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
        )


def _check_size(size: Any) -> None:
    """Refuse what is no pair of whole numbers."""
    if size is None:
        return
    whole = isinstance(size, (tuple, list)) and all(type(each) is int and 1 <= each <= MOST_CELLS for each in size)
    if not (whole and len(size) == 2):
        raise UsageError(f"size= must be two whole numbers from 1 to {MOST_CELLS}, got {printable(repr(size))}")


def _network_of(model: Model) -> tuple[Network, Checkpoint]:
    """Return the network of a model that is nothing more, in float32, and where it came from."""
    if model.of_pairs:
        why = "was trained on pairs: it needs predictors and a calendar, which the file could not hold"
    elif not isinstance(model.upsampler, Network) or model.checkpoint is None:
        why = "is no FSRCNN of a checkpoint, and only those are exported: take default, or a .safetensors file"
    else:
        return Network(model.checkpoint.model).limit(model.upsampler.overshoot), model.checkpoint
    raise ModelError(f"cannot export {printable(model.name)}: it {why}")


def _serialise(checkpoint: Checkpoint, config: FSRCNNConfig, size: tuple[int, int] | None) -> bytes:
    """Return the bytes of the file."""
    import onnx
    from onnx import helper

    from geofsrcnn.networks.onnx_graph import IR_VERSION, OPSET, build_graph

    with torch.no_grad():
        graph = build_graph(config, checkpoint.model.weights(), size)
    found = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="geofsrcnn",
        producer_version=__version__,
        doc_string="Coarse fields (n, band, y, x) made finer by an FSRCNN; values finite, in any unit if unit_free.",
    )
    helper.set_model_props(found, _metadata(checkpoint, config))
    onnx.checker.check_model(found, full_check=True)
    return bytes(found.SerializeToString())


def _metadata(checkpoint: Checkpoint, config: FSRCNNConfig) -> dict[str, str]:
    """Return what the file says of itself, as text by name."""
    card = checkpoint.card
    facts = {
        "model": card.name,
        "summary": card.summary,
        "factor": config.factor,
        "halo": config.halo,
        "unit_free": config.unit_free,
        "conserving": config.conserving,
        "overshoot": config.overshoot,
        "network": config.to_dict(),
        "bands": list(checkpoint.band_names),
        "licence": "Apache-2.0" if checkpoint.path.parent == MODELS else "",
        "data": card.data,
        "limits": card.limits,
        "geofsrcnn": __version__,
        "sha256": checkpoint.digest,
    }
    return {name: fact if isinstance(fact, str) else json.dumps(fact) for name, fact in facts.items()}


def _runtime_version() -> str:
    import onnxruntime

    return str(onnxruntime.__version__)


def _open_session(file: Path | bytes) -> Any:
    """Let ONNX Runtime open a file, on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only: a GPU that is not there is no news
    return onnxruntime.InferenceSession(
        file if isinstance(file, bytes) else str(file), options, providers=["CPUExecutionProvider"]
    )


def _verify(path: Path, free: bytes, network: Network) -> tuple[float, tuple[int | str, ...], tuple[int | str, ...]]:
    """Compare with the network, and return the largest difference and the shapes of input and output.

    A file of a fixed size may take more memory than there is: its twin of any size, with the same nodes and weights, is
    run on a small field, and the file itself only opened.
    """
    side, halo = 2 * network.halo + 9, network.halo
    x = np.random.default_rng(0).random((2, network.channels, side, side + 2), np.float32)
    (found,) = _open_session(free).run(None, {"coarse": x})
    padded = F.pad(torch.from_numpy(x), [halo] * 4, mode=TORCH_PADDING[network.padding])
    expected = network(padded).numpy()
    largest = float(np.abs(found - expected).max()) if found.shape == expected.shape else np.inf
    difference = largest / float(np.ptp(expected)) if largest else 0.0
    if not difference <= TOLERANCE:
        raise OutputError(f"the ONNX file does not do what the network does (difference {difference:.1g} of the range)")
    session = _open_session(path)
    coarse, fine = (tuple(each[0].shape) for each in (session.get_inputs(), session.get_outputs()))
    return difference, coarse, fine
