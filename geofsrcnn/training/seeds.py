"""One training with several seeds: the names of its checkpoints, which are finished, the scores that are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from geofsrcnn.errors import OutputError, UsageError, printable
from geofsrcnn.networks.checkpoint import load_checkpoint
from geofsrcnn.training.loop import differences, identity_of
from geofsrcnn.training.states import check_checkpoint, folder_of


def targets(out: str, seeds: int) -> list[Path]:
    """The checkpoint of each seed: the name itself, then ``NAME-seed1`` and so on beside it.

    Examples
    --------
    >>> [path.name for path in targets("m.safetensors", 3)]
    ['m.safetensors', 'm-seed1.safetensors', 'm-seed2.safetensors']
    """
    first = Path(out).absolute()
    return [first, *(first.with_stem(f"{first.stem}-seed{k}") for k in range(1, seeds))]


def check_targets(found: Sequence[Path], inputs: Sequence[Path], *, overwrite: bool, resume: bool) -> None:
    """Refuse before the first training what would be refused at a later one.

    Raises
    ------
    UsageError, OutputError
        If a checkpoint would replace an input or what is there.
    """
    for target in found:
        check_checkpoint(target, inputs, overwrite=overwrite, resume=resume)


def begin(target: Path) -> None:
    """Mark a training as begun; that it has ended removes the mark, the folder of its states."""
    try:
        folder_of(target).mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make {printable(folder_of(target))} ({error.strerror})") from error


def is_finished(target: Path) -> bool:
    """Tell whether a training with this checkpoint has been ended."""
    return target.exists() and not folder_of(target).is_dir()


def finished_scores(target: Path, factor: int, identity: Mapping[str, Any]) -> dict[str, float]:
    """The scores in the card of a finished training.

    Raises
    ------
    UsageError
        If it was another training than that of this `identity`.
    """
    checkpoint = load_checkpoint(target, factor)
    card = checkpoint.card
    if others := differences(identity_of(checkpoint), identity):
        words = f"{printable(target.name)} is of a training with other {others}"
        raise UsageError(f"{words}: give it the same, or use overwrite=True")
    if "geometric_mean" in card.scores:
        return {"score": float(card.scores["geometric_mean"])}
    return {name: float(row["network"]) for name, row in card.scores.items() if isinstance(row, dict)}


def scores_of(result: Any) -> dict[str, float]:
    """The figures of a training that seeds are compared by: the score, or each target's RMSE."""
    by_target = getattr(result, "scores", None)
    return {"score": result.score} if by_target is None else {name: row["network"] for name, row in by_target.items()}
