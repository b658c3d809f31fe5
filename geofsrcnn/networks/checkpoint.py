"""Checkpoints: one ``.safetensors`` file with weights and, in its header, the model card as JSON.

Files are untrusted: read into memory, header parsed strictly, names and shapes checked against the network that
the card describes, all numbers finite, before anything is built. Nothing in a checkpoint is executed.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import math
import os
import re
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from geofsrcnn.errors import InputError, ModelError, UsageError, printable
from geofsrcnn.files.kinds import CHECKPOINT_SUFFIX, is_checkpoint_name
from geofsrcnn.files.paths import local_path, refuse_same
from geofsrcnn.files.staging import check_target, staged
from geofsrcnn.networks.card import (
    FORMAT_VERSION,
    Card,
    is_shipped,
    parse_card,
    parse_header,
    shipped_models,
    shipped_stem,
)
from geofsrcnn.networks.config import DEFAULT_FACTOR, FSRCNNConfig
from geofsrcnn.networks.fsrcnn import FSRCNN
from geofsrcnn.options import FACTORS
from geofsrcnn.values.kernels import CLASSICAL

MAX_FILE = 512 * 2**20

PAIRING = "pairing"
"""Name of the section that holds what stands around networks of pairs."""

EXPECTED_ERROR = "expected_error"
"""Name of the section that holds the head which gives expected errors."""

BANDS = "bands"
"""Name of the section that holds the names of the bands that a joint network takes."""

GUIDED = "guided"
"""Name of the section that holds the network which corrects by a finer guide."""

MEMBER = re.compile(r"member([1-9]\d?)\.")
"""Prefix of the names of weights of all networks but the first."""


@dataclass(frozen=True)
class Section:
    """A named part of a checkpoint that only those who wrote it understand: its tensors are called ``NAME.key``.

    Parameters
    ----------
    values : dict
        Plain values, in the card under the section's name.
    arrays : dict of ndarray
        float32, finite.
    """

    values: dict[str, Any]
    arrays: dict[str, npt.NDArray[Any]] = field(default_factory=dict)


def unknown_sources(names: Iterable[str]) -> list[dict[str, str]]:
    """List files as the data of a card, of which no more is known than their names."""
    return [{"name": name, "source": "", "licence": ""} for name in names]


def today() -> str:
    """Date of a card that is written now, of UTC."""
    return dt.datetime.now(dt.UTC).date().isoformat()


@dataclass(frozen=True)
class Checkpoint:
    """A loaded model.

    Parameters
    ----------
    model : FSRCNN
        On the CPU, in evaluation mode.
    card : Card
        The model card: scores, data, licences and limits.
    digest : str
        SHA-256 of the file, hexadecimal.
    path : Path
        The file that it was read from.
    sections : dict of Section
        Parts that belong to the network, by name; what a model that was trained on pairs needs is ``pairing``.
    members : tuple of FSRCNN
        All networks whose mean is the result, `model` among them.
    content : bytes
        The file as it was read, for those who pass it on.
    """

    model: FSRCNN
    card: Card
    digest: str
    path: Path
    sections: dict[str, Section] = field(default_factory=dict)
    members: tuple[FSRCNN, ...] = ()
    content: bytes = field(default=b"", repr=False)

    @property
    def networks(self) -> tuple[FSRCNN, ...]:
        """All networks whose mean is the result, however it was made."""
        return self.members or (self.model,)

    @property
    def config(self) -> FSRCNNConfig:
        """The network's configuration."""
        return self.model.config

    @property
    def of_pairs(self) -> bool:
        """True if it was trained on pairs of coarse and fine fields, and needs its predictors by name."""
        return PAIRING in self.sections

    @property
    def band_names(self) -> tuple[str, ...]:
        """Names of the bands that it takes together, in order; empty where none are known."""
        names = self.sections[BANDS].values["names"] if BANDS in self.sections else ()
        return tuple(names)

    def to_dict(self) -> dict[str, Any]:
        """Give the card and the facts of the network as JSON takes them.

        Returns
        -------
        dict
            Fields of the card, ``factor``, ``bands``, ``network`` (its other options), ``halo`` in coarse cells,
            ``operations`` (multiply-adds a coarse cell), ``parameters``, ``sha256`` and ``file_bytes``; of networks
            that give expected errors, ``expected_error``, and of those that follow guides, ``guided``: how well, and
            what they were trained on; of joint ones ``band_names``, where they are known.
        """
        config = self.config
        told = {name: self.sections[name].values for name in (EXPECTED_ERROR, GUIDED) if name in self.sections}
        return {
            **asdict(self.card),
            **told,
            **({"band_names": list(self.band_names)} if self.band_names else {}),
            "factor": config.factor,
            "bands": config.channels,
            "network": {k: v for k, v in config.to_dict().items() if k not in ("factor", "channels")},
            "halo": config.halo,
            "operations": config.operations,
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "sha256": self.digest,
            "file_bytes": self.path.stat().st_size,
        }


def load_checkpoint(name_or_path: str | os.PathLike[str], factor: int | None = None) -> Checkpoint:
    """Load a shipped model by name, or a checkpoint file.

    Parameters
    ----------
    name_or_path : str or path
        ``"default"``, or the path of a ``.safetensors`` file.
    factor : int, optional
        Factor that the model must have; picks among the shipped models of a name (3 if not given).

    Returns
    -------
    Checkpoint
        The network, on the CPU, its card, and the file's digest.

    Raises
    ------
    ModelError
        If there is no such model, it has another factor, or the file is refused.

    Examples
    --------
    >>> load_checkpoint("default", factor=3).config.factor
    3
    """
    path = _find(name_or_path, factor)
    checkpoint = _load(path)
    if factor is not None and checkpoint.config.factor != factor:
        raise ModelError(f"{printable(path.name)} is a model for factor {checkpoint.config.factor}, not {factor}")
    return checkpoint


def check_output(out: str | os.PathLike[str], inputs: Iterable[str | os.PathLike[str]], *, overwrite: bool) -> Path:
    """Return the path of a checkpoint to write.

    Raises
    ------
    UsageError, OutputError
        If its name is of another kind, or it would replace an input, or an existing file unasked.
    """
    target = Path(out).absolute()
    if target.suffix != CHECKPOINT_SUFFIX:
        raise UsageError(f"the checkpoint's name must end in {CHECKPOINT_SUFFIX}: {printable(target.name)}")
    refuse_same(target, *map(Path, inputs))
    check_target(target, overwrite=overwrite)
    return target


def save_checkpoint(
    path: str | os.PathLike[str],
    model: FSRCNN | Sequence[FSRCNN],
    card: Card,
    *,
    sections: Mapping[str, Section] | None = None,
    overwrite: bool = False,
) -> str:
    """Write a checkpoint, verified by loading it again, whole or not at all.

    Parameters
    ----------
    path : str or path
        Output, ``.safetensors``.
    model : FSRCNN, or several
        Weights and configuration; several are of the same configuration.
    card : Card
        The model card that is written with it.
    sections : mapping of str to Section, optional
        Parts that belong to the network, by name.
    overwrite : bool
        Replace an existing file.

    Returns
    -------
    str
        SHA-256 of the file.

    Raises
    ------
    ModelError
        If a weight is not finite.
    OutputError
        If the file cannot be written.
    """
    first, *others = [model] if isinstance(model, FSRCNN) else model
    tensors = dict(first.state_dict())
    for number, other in enumerate(others, 1):
        tensors |= {f"member{number}.{name}": tensor for name, tensor in other.state_dict().items()}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    body = {"config": first.config.to_dict(), **card.__dict__}
    for section, content in (sections or {}).items():
        body[section] = content.values
        tensors |= {f"{section}.{name}": torch.from_numpy(array) for name, array in content.arrays.items()}
    _check_finite(tensors, str(path))
    metadata = {"format": "geofsrcnn", "format_version": str(FORMAT_VERSION), "card": json.dumps(body)}
    with staged(path, overwrite=overwrite) as staging:
        staging.write_bytes(_sort_header(save_tensors(tensors, metadata)))
        return _load(staging).digest


def _sort_header(data: bytes) -> bytes:
    """A safetensors file with its header in order: the library writes metadata in a random one."""
    (length,) = struct.unpack("<Q", data[:8])
    header = json.dumps(json.loads(data[8 : 8 + length]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + data[8 + length :]


def _find(name_or_path: str | os.PathLike[str], factor: int | None) -> Path:
    text = os.fspath(name_or_path)
    if is_checkpoint_name(text):
        try:
            path = local_path(text)
        except InputError as error:
            raise ModelError(str(error)) from None
        if not path.is_file():
            raise ModelError(f"not a checkpoint file: {printable(path)}")
        return path
    shipped = {path.stem: path for path in shipped_models()}
    for name in (text, shipped_stem(text, factor or DEFAULT_FACTOR)):
        if name in shipped:
            return shipped[name]
    if text in CLASSICAL:
        raise ModelError(f"{text} is a classical method, which has no checkpoint: load_model takes it")
    raise _unknown(text, factor)


def _unknown(name: str, factor: int | None) -> ModelError:
    """Return the error that says which models there are, or which factors one of them serves."""
    what = f"'{printable(name)}'" if factor is None else f"'{printable(name)}' for factor {factor}"
    others = "classical methods (lanczos-bp, cubic, nearest, ...) serve every factor, or give a checkpoint file"
    served = [str(each) for each in FACTORS if is_shipped(name, each)]
    if factor is None or not served:
        names = ", ".join(path.stem for path in shipped_models()) or "none"
        return ModelError(f"no model {what} in the package (there are: {names}); {others}")
    default = f"default serves {factor}, " if is_shipped("default", factor) else ""
    return ModelError(f"no model {what} in the package: it serves {', '.join(served)}; {default}{others}")


def _load(path: Path) -> Checkpoint:
    return parse_checkpoint(_read(path), path)


def parse_checkpoint(data: bytes, path: Path) -> Checkpoint:
    """Load a checkpoint from the bytes of the file at a path; a ModelError says why they are refused."""
    shown = printable(path.name)
    header = parse_header(data, shown)
    config, card, values = parse_card(header, shown)
    with torch.device("meta"):
        expected = {name: tuple(t.shape) for name, t in FSRCNN(config).state_dict().items()}
    of_one = dict(expected)
    count = 1 + len({found[1] for name in header if (found := MEMBER.match(name))})
    for number in range(1, count):
        expected |= {f"member{number}.{name}": shape for name, shape in of_one.items()}
    of_sections = {name for name in header if name.partition(".")[0] in values}
    _check_names(header, expected, of_sections, shown)
    try:
        tensors = load_tensors(data)
    except SafetensorError as error:
        raise ModelError(f"not a sound safetensors file: {shown} ({printable(error)})") from None
    _check_finite(tensors, shown)
    sections = {section: Section(plain) for section, plain in values.items()}
    for name in of_sections:
        section, _, key = name.partition(".")
        sections[section].arrays[key] = tensors.pop(name).numpy()
    if config.inputs and not sections:
        raise ModelError(f"the model card of {shown} is damaged ({config.inputs} channels that nothing fills)")
    _check_band_names(sections, config, shown)
    members = []
    for number in range(count):
        prefix = f"member{number}." if number else ""
        model = FSRCNN(config)
        model.load_state_dict({name: tensors[f"{prefix}{name}"] for name in of_one})
        members.append(model.eval().requires_grad_(False))
    return Checkpoint(members[0], card, hashlib.sha256(data).hexdigest(), path, sections, tuple(members), data)


def _read(path: Path) -> bytes:
    """The file in memory: a mapped file that is cut short would end the process."""
    try:
        size = path.stat().st_size
        if size > MAX_FILE:
            raise ModelError(f"checkpoint is larger than {MAX_FILE // 2**20} MiB: {printable(path)}")
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read {printable(path)} ({error.strerror})") from None


def _check_names(
    header: dict[str, Any], expected: dict[str, tuple[int, ...]], of_sections: set[str], shown: str
) -> None:
    found = {name: entry for name, entry in header.items() if name != "__metadata__" and name not in of_sections}
    missing, spare = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    if missing or spare:
        raise ModelError(
            f"weights of {shown} do not fit its card: missing {printable(missing)}, unexpected {printable(spare)}"
        )
    for name, shape in expected.items():
        entry = found[name]
        if not isinstance(entry, dict) or entry.get("dtype") != "F32" or entry.get("shape") != list(shape):
            raise ModelError(f"weight {name} of {shown} is not float32 of shape {shape}")
    for name in of_sections:
        if not isinstance(header[name], dict) or header[name].get("dtype") != "F32":
            raise ModelError(f"{printable(name)} of {shown} is not float32")


def _check_band_names(sections: Mapping[str, Section], config: FSRCNNConfig, shown: str) -> None:
    if BANDS in sections:
        names = sections[BANDS].values.get("names")
        if not isinstance(names, list) or [type(name) for name in names] != [str] * config.channels:
            raise ModelError(f"the model card of {shown} is damaged ({BANDS} are not {config.channels} names)")


def _check_finite(tensors: dict[str, torch.Tensor], shown: str) -> None:
    for name, tensor in tensors.items():
        if tensor.numel() and not math.isfinite(float(tensor.abs().max())):
            raise ModelError(f"weight {name} of {printable(shown)} is not finite")
