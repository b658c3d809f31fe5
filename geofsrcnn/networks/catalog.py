"""Models that can be run by name: networks in the package or in a file, and classical methods."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from geofsrcnn.errors import ModelError, UsageError, printable
from geofsrcnn.files.kinds import is_checkpoint_name
from geofsrcnn.networks.card import read_card, shipped_models, shipped_stem
from geofsrcnn.networks.config import DEFAULT_FACTOR
from geofsrcnn.options import FACTORS, Overshoot, UpscaleOptions, check_factor, check_overshoot, check_precision
from geofsrcnn.values.kernels import CLASSICAL

if TYPE_CHECKING:
    from geofsrcnn.networks.checkpoint import Checkpoint
    from geofsrcnn.networks.inference import Upsampler


@dataclass(frozen=True)
class Model:
    """A network, a classical method or a model of pairs, ready to run; safe to share between threads.

    Parameters
    ----------
    name : str
        Name of a shipped model, of a file's card, or of a classical method.
    factor : int
        Fine cells along one side of a coarse cell.
    device, precision : str
        Device that it runs on, and arithmetic of its hourglass.
    members : tuple of Upsampler
        None at all repeat cells (nearest); several are those of a model of pairs, whose results are averaged.
    operations : int
        Multiply-adds for a coarse cell and band.
    checkpoint : Checkpoint, optional
        That a network came from; None for classical methods.
    notes : mapping of str to str
        Further tags of its outputs, by name: what it was made to follow.
    """

    name: str
    factor: int
    device: str
    precision: str
    members: tuple[Upsampler, ...] = ()
    operations: int = 0
    checkpoint: Checkpoint | None = None
    notes: Mapping[str, str] = field(default_factory=dict)

    @property
    def upsampler(self) -> Upsampler | None:
        """The network or method that computes fine cells; None repeats them."""
        return self.members[0] if self.members else None

    @property
    def of_pairs(self) -> bool:
        """True if it was trained on pairs of coarse and fine fields, and needs its predictors by name."""
        return self.checkpoint is not None and self.checkpoint.of_pairs

    @property
    def gives_error(self) -> bool:
        """True if it says how large an error to expect in each fine cell."""
        return self.upsampler is not None and self.upsampler.gives_error

    @property
    def overshoot(self) -> Overshoot:
        """The option that makes it what it is; None if it keeps to what its file says."""
        if self.upsampler is None or self.of_pairs:
            return None
        of_file = None if self.checkpoint is None else self.checkpoint.config.overshoot
        own = self.upsampler.overshoot
        return None if own == of_file else "none" if own is None else own

    @property
    def digest(self) -> str:
        """SHA-256 of the checkpoint's file; empty for classical methods."""
        return "" if self.checkpoint is None else self.checkpoint.digest

    @property
    def band_names(self) -> tuple[str, ...]:
        """Names of the bands that it takes together, in order; empty where none are known."""
        return () if self.checkpoint is None else self.checkpoint.band_names

    @property
    def halo(self) -> int:
        """Coarse cells that an output depends on around its own."""
        return 0 if self.upsampler is None else self.upsampler.halo

    @property
    def whole_field(self) -> bool:
        """True if it has to see a field at once, not in tiles."""
        return self.upsampler is not None and self.upsampler.whole_field


ModelLike: TypeAlias = "str | os.PathLike[str] | Checkpoint | Model"
"""A name, the path of a checkpoint, a loaded checkpoint, or what `load_model` gave."""


@dataclass(frozen=True)
class ModelInfo:
    """A model that can be run by its name.

    Parameters
    ----------
    name : str
        For `load_model`, beside the factor.
    factor : int or None
        Fine cells along one side of a coarse cell; None of classical methods, which serve 2 to 8.
    summary : str
        One sentence: what it is for.
    operations : int or None
        Multiply-adds a coarse cell; None of classical methods.
    of_bicubic, of_best_classical : float or None
        RMSE divided by bicubic's, and by that of the best classical method of each field: geometric means over fields
        of sources that it was not trained on.
    file_bytes : int or None
        Size of the checkpoint; None of classical methods.
    """

    name: str
    factor: int | None = None
    summary: str = ""
    operations: int | None = None
    of_bicubic: float | None = None
    of_best_classical: float | None = None
    file_bytes: int | None = None


def list_models() -> list[ModelInfo]:
    """List the models in the package, by factor and cost, and the classical methods.

    Returns
    -------
    list of ModelInfo
        Networks first.

    Examples
    --------
    >>> [model.name for model in list_models() if model.factor == 2]
    ['small', 'default']
    """
    found = []
    for path in shipped_models():
        config, card = read_card(path)
        ratios = {name: card.scores.get(name) for name in ("of_bicubic", "of_best_classical")}
        name = path.stem.removesuffix(shipped_stem("", config.factor))
        found.append(
            ModelInfo(name, config.factor, card.summary, config.operations, **ratios, file_bytes=path.stat().st_size)
        )
    found.sort(key=lambda model: (model.factor, model.operations))
    return found + [ModelInfo(name) for name in CLASSICAL]


def least_factor(model: ModelLike, needed: int) -> int:
    """Return the smallest factor that a model serves and that is not below the one that is needed.

    Raises
    ------
    ModelError
        If there is none.
    """
    served = _factors_of(model)
    if found := [factor for factor in served if factor >= needed]:
        return min(found)
    name = printable(os.fspath(model)) if isinstance(model, str | os.PathLike) else "the model"
    others = "default or lanczos-bp" if needed <= max(_factors_of("default")) else "lanczos-bp"
    raise ModelError(
        f"{name} makes cells at most {max(served)} times finer, the wanted ones need {needed} times: take another "
        f"model, such as {others}"
    )


def _factors_of(model: ModelLike) -> Sequence[int]:
    """Return the factors that a model serves; all if it is not known, which is an error where it is loaded."""
    if isinstance(model, Model):
        return [model.factor]
    if not isinstance(model, str | os.PathLike):
        return [model.config.factor]
    if (path := model_file(model)) is not None:
        return [read_card(path)[0].factor]
    return [each.factor for each in list_models() if each.name == model and each.factor is not None] or FACTORS


def check_device(device: str) -> str:
    """``"auto"`` resolved; any other device if torch has it.

    Raises
    ------
    UsageError
        If torch does not have it.
    """
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError):
        raise UsageError(f"no device '{printable(device)}' here: take auto, cpu or cuda") from None
    return device


def model_file(model: ModelLike) -> Path | None:
    """The file that a model is read from, if a path of one was given."""
    if isinstance(model, (str, os.PathLike)) and is_checkpoint_name(model) and Path(model).is_file():
        return Path(model)
    return None


def load_model(
    model: ModelLike = "default",
    factor: int | None = None,
    *,
    device: str = "auto",
    precision: str = "float32",
    overshoot: Overshoot = None,
) -> Model:
    """Load a network, a classical method or a model of pairs, once for all that is to be done with it.

    Parameters
    ----------
    model : str, path, Checkpoint or Model
        ``default``, a ``.safetensors`` file, what `load_checkpoint` gave, one of
        `geofsrcnn.values.kernels.CLASSICAL`, or a model that is loaded already, which comes back as it is.
    factor : int, optional
        Factor that it must serve; if not given, that of the model's file, else 3.
    device : str
        ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
    precision : {"float32", "bfloat16", "auto"}
        Arithmetic of the network's hourglass; everything else is computed in float32 or better. ``auto`` takes bfloat16
        where the device is faster with it, which is measured for a fifth of a second.
    overshoot : float or "none", optional
        Share of the range of the 3 x 3 coarse cells around, 0 to 1, by which fine values may leave it; "none": no
        limit. If not given, what the model says.

    Returns
    -------
    Model
        Ready to run; its own factor is the default of whatever it is used for.

    Raises
    ------
    UsageError
        If an argument is wrong, or there is no such device.
    ModelError
        If there is no such model, its file is refused, or it is for another factor.

    Examples
    --------
    >>> load_model("default", 2).factor
    2
    """
    check_overshoot(overshoot)
    factor = None if factor is None else check_factor(factor)
    if isinstance(model, Model):
        _check_ready(model, device, precision)
        loaded = model
    else:
        loaded = _load(model, factor, device, precision)
    return _limit(_check_factor(loaded, factor), overshoot)


def _load(model: str | os.PathLike[str] | Checkpoint, factor: int | None, device: str, precision: str) -> Model:
    """Load a model that is not loaded yet; a name may stand for several, of which the factor chooses."""
    check_precision(precision)
    if model == "nearest":
        return Model("nearest", factor or DEFAULT_FACTOR, "cpu", "float32")
    device = check_device(device)
    from geofsrcnn.networks.checkpoint import Checkpoint, load_checkpoint
    from geofsrcnn.networks.expected_error import head_of
    from geofsrcnn.networks.inference import Classical, Network
    from geofsrcnn.networks.precision import resolve_precision

    if isinstance(model, str) and model in CLASSICAL:
        classical = Classical(model, factor or DEFAULT_FACTOR, device)
        operations = classical.factor**2 * (2 * classical.halo + 1) ** 2
        return Model(model, classical.factor, device, "float32", (classical,), operations)
    if isinstance(model, Checkpoint):
        checkpoint = model
    else:  # a file has one factor, which is checked below; a name may stand for several
        checkpoint = load_checkpoint(model, None if model_file(model) else factor)
    precision = resolve_precision(precision, device)
    head = head_of(checkpoint)
    members = tuple(Network(member, device, precision, head) for member in checkpoint.networks)
    config = checkpoint.config
    return Model(checkpoint.card.name, config.factor, device, precision, members, config.operations, checkpoint)


def _limit(model: Model, overshoot: Overshoot) -> Model:
    """Return the model with a limit, or without any."""
    if overshoot is None:
        return model
    if model.of_pairs:
        raise UsageError("overshoot= is not for models that were trained on pairs")
    share = None if overshoot == "none" else float(overshoot)
    return replace(model, members=tuple(member.limit(share) for member in model.members))


def _check_ready(model: Model, device: str, precision: str) -> None:
    """Refuse to run a model that is loaded elsewhere or otherwise than is asked for."""
    if model.checkpoint is None:
        precision = "auto"  # classical methods are computed in float32, whatever is asked for
    for what, wanted, defaults, own in (
        ("device", device, ("auto",), model.device),
        ("precision", precision, ("float32", "auto"), model.precision),
    ):
        if wanted not in (*defaults, own):
            raise UsageError(f"model {model.name} is loaded with {what} {own}, not {wanted}: load it so")


def _check_factor(model: Model, factor: int | None) -> Model:
    if factor not in (None, model.factor):
        raise ModelError(f"model {model.name} is for factor {model.factor}, not {factor}")
    return model


def refuse_pairs(model: Model, instead: str = "apply it to files or Datasets (upscale)") -> None:
    """Refuse a model of pairs with a ModelError where one field alone is at hand."""
    if model.of_pairs:
        raise ModelError(f"model {model.name} was trained on pairs: {instead}")


def check_gives_error(model: Model) -> None:
    """Refuse a model that gives no expected error with a ModelError."""
    if not model.gives_error or model.of_pairs:
        if model.of_pairs:
            remedy = "leave out error=True"
        elif model.upsampler is not None and model.upsampler.channels > 1:
            remedy = "only networks of one band do"
        elif model.checkpoint is None:
            remedy = "take a shipped network (default)"
        else:
            remedy = "add it with train_error (geofsrcnn train-error)"
        raise ModelError(f"model {model.name} gives no expected error: {remedy}")


GUIDED_REFUSALS = {
    "error": "guided networks give no expected error: leave out error=True and error_file=",
    "overshoot": "a guide may show what stands out, and sets no limit to it: leave out overshoot=",
}
"""Words for options that have no meaning with a guide."""


def check_options(model: Model, options: UpscaleOptions, *, guided: bool = False) -> None:
    """Refuse options that have no meaning for a model, or with a guide, with the same words wherever it is used."""
    options.refuse_pairs(of_pairs=model.of_pairs)
    if guided:
        if options.wants_grid:
            raise UsageError("a guide says which cells are wanted: leave out like= and resolution=")
        if options.error:
            raise UsageError(GUIDED_REFUSALS["error"])
        if options.overshoot not in (None, "none"):
            raise UsageError(GUIDED_REFUSALS["overshoot"])
    if options.value_range is not None and model.upsampler is None:
        raise UsageError("nearest repeats cells as they are and keeps to no range: leave out the range or the model")
    if options.error:
        check_gives_error(model)
