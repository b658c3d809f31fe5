"""Model cards: what the header of a checkpoint says, read without torch, and the files in the package.

Headers are untrusted: their length is bounded, they are parsed strictly, and a card that is damaged is refused.
"""

from __future__ import annotations

import json
import re
import struct
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from geofsrcnn._version import __version__
from geofsrcnn.errors import ConfigError, ModelError, printable
from geofsrcnn.files.kinds import CHECKPOINT_SUFFIX, GIT_LFS_MAGIC
from geofsrcnn.networks.config import FSRCNNConfig

FORMAT_VERSION = 1

MAX_HEADER = 2**20

MODELS = Path(__file__).parent / "weights"


@dataclass(frozen=True)
class Card:
    """The model card: what a checkpoint says about itself.

    Parameters
    ----------
    name : str
        For people and for provenance.
    summary : str
        One sentence: what it is for.
    data : list of dict
        Sources trained on: ``name``, ``source``, ``licence``.
    scores : dict
        Figures on held-out data, with the words that say what they are.
    training : dict
        Options, steps and minutes of the training.
    limits : str
        Uses that it is not for.
    created : str
        ISO date.
    version : str
        Version of geofsrcnn that wrote it.
    """

    name: str
    summary: str = ""
    data: list[dict[str, str]] = field(default_factory=list)
    scores: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    limits: str = ""
    created: str = ""
    version: str = __version__


def shipped_models() -> list[Path]:
    """Files of the models in the package."""
    return sorted(MODELS.glob(f"*{CHECKPOINT_SUFFIX}"))


def shipped_stem(name: str, factor: int) -> str:
    """Return the name of a shipped model's file, without its suffix."""
    return f"{name}-x{factor}"


def is_shipped(name: str, factor: int) -> bool:
    """Tell whether a model of this name is in the package for a factor."""
    return any(path.stem == shipped_stem(name, factor) for path in shipped_models())


def read_card(path: Path) -> tuple[FSRCNNConfig, Card]:
    """Read a network's configuration and its card from the header of a file; its weights are not looked at."""
    try:
        with path.open("rb") as file:
            data = file.read(8 + MAX_HEADER)
    except OSError as error:
        raise ModelError(f"cannot read {printable(path)} ({error.strerror})") from None
    shown = printable(path.name)
    config, card, _ = parse_card(parse_header(data, shown), shown)
    return config, card


def parse_header(data: bytes, shown: str) -> dict[str, Any]:
    """Parse the header of a file by its first bytes, or all of them; a ModelError if it is no safetensors file."""
    if data[:4] == b"PK\x03\x04" or (data[:1] == b"\x80" and data[1:2] <= b"\x05" and data[8:9] != b"{"):
        raise ModelError(f"{shown} is a pickle (a PyTorch file), which can run code: only .safetensors is read")
    if data.startswith(GIT_LFS_MAGIC):
        raise ModelError(f"{shown} is a Git LFS pointer, not the model: run git lfs pull")
    if len(data) < 10:
        raise ModelError(f"not a safetensors file: {shown} ({len(data)} bytes)")
    (length,) = struct.unpack("<Q", data[:8])
    if length > MAX_HEADER or 8 + length > len(data):
        raise ModelError(f"not a sound safetensors file: {shown} (header of {length} bytes)")
    try:
        header = json.loads(data[8 : 8 + length], object_pairs_hook=_no_duplicates)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"not a sound safetensors file: {shown} (header: {printable(error)})") from None
    if not isinstance(header, dict):
        raise ModelError(f"not a sound safetensors file: {shown} (header is no object)")
    return header


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("duplicate key")
    return result


def parse_card(header: dict[str, Any], shown: str) -> tuple[FSRCNNConfig, Card, dict[str, dict[str, Any]]]:
    """Parse a header's card: the network's configuration, the card, and the plain values of each section."""
    metadata = header.get("__metadata__")
    if not isinstance(metadata, dict) or metadata.get("format") != "geofsrcnn":
        raise ModelError(f"{shown} is not a geofsrcnn checkpoint (its header has no geofsrcnn card)")
    if metadata.get("format_version") != str(FORMAT_VERSION):
        found = printable(metadata.get("format_version"))[:20]
        raise ModelError(f"{shown} has format version {found}, this geofsrcnn reads {FORMAT_VERSION}: update it")
    try:
        body = json.loads(metadata["card"], object_pairs_hook=_no_duplicates)
        config = FSRCNNConfig.from_dict(body.pop("config"))
        known = {each.name for each in fields(Card)}
        card = Card(**{key: value for key, value in body.items() if key in known})
        sections = {key: value for key, value in body.items() if key not in known and value != {}}
    except ConfigError as error:
        raise ModelError(f"{shown} describes a network that cannot be: {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ModelError(f"the model card of {shown} is damaged ({printable(error)})") from None
    for name, kind in _CARD_TYPES.items():
        if not isinstance(getattr(card, name), kind):
            raise ModelError(f"the model card of {shown} is damaged ({name} is no {kind.__name__})")
    for section, values in sections.items():
        if not isinstance(values, dict) or not re.fullmatch(r"[a-z_]+", section):
            raise ModelError(f"the model card of {shown} is damaged ({printable(section)} is no section)")
    return config, card, sections


_CARD_TYPES = {
    **dict.fromkeys(("name", "summary", "limits", "created", "version"), str),
    "data": list,
    **dict.fromkeys(("scores", "training"), dict),
}
