"""Train a network on coarse and fine fields of the same times, and tell whether it is better than baselines."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from geofsrcnn._types import Array, Mask
from geofsrcnn.cf.dates import Date
from geofsrcnn.errors import InputError, warn
from geofsrcnn.evaluation.scores import Errors
from geofsrcnn.networks.card import Card
from geofsrcnn.networks.catalog import check_device
from geofsrcnn.networks.checkpoint import save_checkpoint, today, unknown_sources
from geofsrcnn.networks.config import FSRCNNConfig
from geofsrcnn.networks.fsrcnn import FIRST_WEIGHT, FSRCNN, Weights, run_layers
from geofsrcnn.pairs.diagnose import diagnose, share_where
from geofsrcnn.pairs.fields import TIMES_PER_BLOCK
from geofsrcnn.pairs.fit import best_baseline, draw_times, find_scored, fit, score_baselines
from geofsrcnn.pairs.network import downscale, downscale_with_distributions, section_of
from geofsrcnn.pairs.pairing import Downscaled, Pairing
from geofsrcnn.pairs.predictive import (
    GAUSSIAN,
    Predictive,
    centres,
    config_of,
    each_target,
    family_of,
    negative_log_likelihood,
    unit_of,
)
from geofsrcnn.pairs.quantities import wet_amount
from geofsrcnn.pairs.read import Pairs, allocate, read_pairs, read_static_predictors
from geofsrcnn.pairs.section import pack
from geofsrcnn.pairs.spec import FOLDS, PairOptions, PairsSpec
from geofsrcnn.training.log import Report
from geofsrcnn.training.loop import Run, Training, average, deterministic_torch, identify, penalty, record
from geofsrcnn.training.loop import fit as train_network
from geofsrcnn.training.processes import Ranks, join_processes
from geofsrcnn.training.states import State, open_checkpoint, remove_states, save_state

FORM: dict[str, Any] = {
    "bias": True,
    "prelu": "channel",
    "unit_free": False,
    "skip": "none",
    "conserving": "none",
}
"""Form of networks of pairs: units and places carry meaning, and the regression beside them is the skip."""

SIZES = {"d": 64, "s": 32, "m": 1}
"""Sizes of networks of pairs, where no others are given."""


@dataclass(frozen=True)
class PairResult:
    """Result of a training on pairs.

    Parameters
    ----------
    out : str
        The checkpoint.
    times : tuple of int
        Fitted on, scored on.
    scores : dict
        RMSE by target and method, `network` among them, on the times that were not fitted on.
    members : dict
        RMSE by target of each member alone.
    steps : int
        Steps taken.
    seconds : float
        Wall time of training.
    matched : str
        What times were matched by: "hours", "days", "months", "years", or "" where they are days of no fixed step.
    distributions : dict
        By target, where distributions are given: their continuous ranked probability score (CRPS) on the times that
        were not fitted on, over the mean absolute error of their mean; below 1 they say more than it does.
    """

    out: str
    times: tuple[int, int]
    scores: dict[str, dict[str, float]]
    members: dict[str, list[float]]
    steps: int
    seconds: float
    matched: str = ""
    distributions: dict[str, float] = dataclasses.field(default_factory=dict)

    def best_baseline(self, target: str) -> tuple[float, str]:
        """Give the smallest RMSE of a target without a network, and the baseline whose it is.

        Parameters
        ----------
        target : str
            Among `scores`.

        Returns
        -------
        tuple of float and str
            RMSE, name.
        """
        return best_baseline(self.scores[target])


def train_pairs(
    spec: PairsSpec,
    factor: int,
    out: str | os.PathLike[str],
    *,
    sizes: Mapping[str, int] | None = None,
    options: PairOptions | None = None,
    device: str = "auto",
    overwrite: bool = False,
    resume: bool = False,
    report: Report | None = None,
    each_step: Callable[[], None] = lambda: None,
) -> PairResult:
    """Train a network on coarse and fine fields of the same times.

    Parameters
    ----------
    spec : PairsSpec
        Files, the day that parts times, variables and what is made of them.
    factor : int
        Fine cells along one side of a coarse cell.
    out : path
        Checkpoint to write, ``.safetensors``.
    sizes : mapping of str to int, optional
        Of the network: ``d``, ``s``, ``m``; 64, 32 and 1 where not given.
    options : PairOptions, optional
        How to train.
    device : str
        ``auto``, ``cpu``, ``cuda``.
    overwrite : bool
        Replace an existing `out`.
    resume : bool
        Resume from the state that a stopped training left beside `out`; from the start if there is none.
    report : callable, optional
        Gets a dict of figures after each validation.
    each_step : callable
        Called before each step; what it raises ends the training, its state saved.

    Returns
    -------
    PairResult
        Scores on the later times, of the network and of all baselines.

    Raises
    ------
    UsageError, InputError, OutputError, TrainError
        If an argument is wrong, files cannot be used, or the loss is no longer finite.
    """
    options = options or PairOptions()
    target, unfinished = open_checkpoint(out, spec.files, overwrite=overwrite, resume=resume)
    device = check_device(device)
    data = _Prepared.read(spec, _config(factor, sizes), options)
    training = _PairsTraining(data, target, device, unfinished)
    training.may_replace = overwrite or unfinished is not None
    return training.run(report, each_step)


def identify_pairs(
    spec: PairsSpec, factor: int, *, sizes: Mapping[str, int] | None = None, options: PairOptions
) -> dict[str, Any]:
    """Return what tells the training with these arguments of `train_pairs` from others."""
    return _Prepared.read(spec, _config(factor, sizes), options).identity


def _config(factor: int, sizes: Mapping[str, int] | None) -> FSRCNNConfig:
    return FSRCNNConfig.from_dict({**FORM, **SIZES, **(sizes or {}), "factor": factor})


@dataclass(frozen=True)
class _Prepared:
    """Pairs, and all that is known of them before the first step.

    Parameters
    ----------
    spec, options
        As for `train_pairs`.
    config : FSRCNNConfig
        Of each network, its channels known.
    pairs : Pairs
        All times.
    pairing : Pairing
        Fitted to the earlier ones.
    training_period : ndarray (time,) of bool
        Times that are fitted on; the others are the test period.
    shares : ndarray (target,)
        How much the errors of each target count.
    """

    spec: PairsSpec
    options: PairOptions
    config: FSRCNNConfig
    pairs: Pairs
    pairing: Pairing
    training_period: Mask
    shares: npt.NDArray[np.float32]

    @classmethod
    def read(cls, spec: PairsSpec, config: FSRCNNConfig, options: PairOptions) -> _Prepared:
        """Read files and fit what stands around the network; warn of what does not fit."""
        variables: dict[str, Any] = {name: getattr(spec, name) for name in ("predictors", "targets", "partners")}
        pairs = read_pairs(spec.coarse, spec.fine, config.factor, config.halo, **variables)
        training_period = _is_before(pairs.dates, spec)
        static = read_static_predictors(spec.static, pairs.domain, pairs.frame)
        pairing = fit(pairs, training_period, spec, static, options.members)
        for words in diagnose(pairs, pairing, training_period, distribution=options.distribution):
            warn("W-PAIRS", words)
        if options.keep == "best" or options.patience:
            chosen = "keep='best'" if options.keep == "best" else "patience="
            words = f"chooses by the scores on the times from {spec.until} on, which are flattered by it"
            warn("W-CHOSEN", f"{chosen} {words}")
        channels = {"channels": len(pairing.targets), "inputs": pairing.channels}
        config = FSRCNNConfig.from_dict({**config.to_dict(), **channels})
        shares = np.array([spec.weights.get(target.name, 1.0) for target in pairing.targets], np.float32)
        return cls(spec, options, config, pairs, pairing, training_period, shares)

    @property
    def times(self) -> tuple[int, int]:
        """Numbers of times that are fitted on, and that are scored on."""
        fitted = int(self.training_period.sum())
        return fitted, len(self.training_period) - fitted

    @property
    def identity(self) -> dict[str, Any]:
        """Configuration, options and data, which tell this training from others."""
        data = f"{self._digest} {self.shares.tolist()}"
        return identify(self.config, self.options, data, arguments=self.spec.record())

    @cached_property
    def _digest(self) -> str:
        """SHA-256 of all that decides a training besides its options, hexadecimal."""
        words, arrays = pack(self.pairing)
        result = hashlib.sha256(f"{self.pairs.digest} {json.dumps(words, sort_keys=True)}".encode())
        for part in (self.training_period, *arrays.values()):
            result.update(np.ascontiguousarray(part).tobytes())
        return result.hexdigest()

    @cached_property
    def baselines(self) -> dict[str, dict[str, float]]:
        """RMSE of each baseline on the later times, by target."""
        return score_baselines(self.pairs, self.pairing, ~self.training_period)

    @cached_property
    def folds(self) -> list[Array]:
        """Indexes of the times that are fitted on, in parts of the same length, one after the other."""
        return np.array_split(np.nonzero(self.training_period)[0], FOLDS)

    @cached_property
    def families(self) -> tuple[str, ...]:
        """Families of the targets' distributions."""
        zeros = (
            share_where(self.pairs, k, self.training_period, lambda values: values == 0)
            for k in range(len(self.pairing.targets))
        )
        return tuple(map(family_of, self.pairing.targets, zeros))

    @cached_property
    def wet(self) -> tuple[float | None, ...]:
        """The amount from which on each target is wet: 1 mm a day of rain, more than 0 of other amounts."""
        pairs, found = self.pairs, list[float | None]()
        for target, family in zip(self.pairing.targets, self.families, strict=True):
            least = wet_amount(target.name, target.attrs, pairs.dates, pairs.step)
            found.append(None if family == GAUSSIAN else least or 0.0)
        return tuple(found)

    def downscale(self, networks: Sequence[FSRCNN], times: Array, device: str) -> Downscaled:
        """Apply networks to some times."""
        pairs = self.pairs
        given = pairs.coarse[times], pairs.partners[times], pairs.days[times]
        return downscale(networks, self.pairing, *given, device)

    def distribution_scores(self, networks: Sequence[FSRCNN], predictive: Predictive, device: str) -> dict[str, float]:
        """CRPS on the later times over the mean absolute error of the networks' mean, by target."""
        pairs, pairing = self.pairs, self.pairing
        sums = np.zeros((len(pairing.targets), 2))
        for times in pairs.blocks(~self.training_period):
            given = pairs.coarse[times], pairs.partners[times], pairs.days[times]
            found, distributions = downscale_with_distributions(networks, predictive, pairing, *given, device)
            for k, distribution in enumerate(distributions):
                where = pairs.domain.crop(find_scored(pairs, pairing, k, times))
                truth = pairs.domain.crop(pairs.fine[times, k]).astype(np.float64)
                sums[k] += distribution.crps(truth)[where].sum(), np.abs(found.mean[:, k] - truth)[where].sum()
        return {target.name: float(a / b) for target, (a, b) in zip(pairing.targets, sums, strict=True)}

    def scores(self, networks: Sequence[FSRCNN], device: str) -> dict[str, float]:
        """RMSE of the networks' mean on the later times, by target."""
        pairs, pairing = self.pairs, self.pairing
        found = [Errors() for _ in pairing.targets]
        for times in pairs.blocks(~self.training_period):
            whole = pairs.domain.pad(self.downscale(networks, times, device).mean)
            for k, errors in enumerate(found):
                errors.add(whole[:, k], pairs.fine[times, k], find_scored(pairs, pairing, k, times))
        return {target.name: errors.rmse for target, errors in zip(pairing.targets, found, strict=True)}

    def weights(self) -> Array:
        """How much errors count ``(target, Y, X)``: in units of what the base leaves of each target overall."""
        pairs, pairing = self.pairs, self.pairing
        std = pairing.std
        errors = [Errors() for _ in pairing.targets]
        for times in pairs.blocks(self.training_period):
            bases = pairing.bases(pairs.partners[times])
            for k, each in enumerate(errors):
                truth = pairs.fine[times, k]
                each.add(bases[:, k], truth, np.isfinite(truth) & np.isfinite(bases[:, k]) & (std[k] > 0))
        overall = np.array([each.rmse for each in errors])
        result: Array = (np.nan_to_num(std) / overall[:, None, None]).astype(np.float32)
        return result * self.shares[:, None, None]

    def card(self, name: str, scores: Mapping[str, float], step: int) -> Card:
        """Return the model card of networks with these scores."""
        predictors = ", ".join(predictor.name for predictor in self.pairing.predictors)
        fitted, scored = self.times
        rows = {target: {"network": value, **self.baselines[target]} for target, value in scores.items()}
        return Card(
            name=name,
            summary=f"{', '.join(scores)} from {predictors}, x{self.config.factor}",
            data=unknown_sources(path.name for path in self.spec.files),
            scores={
                "what": f"RMSE on {scored} times from {self.spec.until} on, fitted on {fitted} before",
                **{target: {name: round(value, 5) for name, value in row.items()} for target, row in rows.items()},
            },
            training=record(self.identity, self.options, step),
            limits="Only for this grid and these predictors; units and places carry meaning.",
            created=today(),
        )


class _PairsTraining:
    """Train the members of an ensemble one after the other.

    Parameters
    ----------
    data : _Prepared
        The same for all members.
    out : Path
        The checkpoint, which holds the members so far.
    device : str
        Of the networks.
    unfinished : State, optional
        To resume from.
    """

    def __init__(self, data: _Prepared, out: Path, device: str, unfinished: State | None) -> None:
        self.data = data
        self.out = out
        self.device = device
        self.unfinished = unfinished
        self.may_replace = False
        self.weights = torch.from_numpy(data.weights()).to(device)
        self.done: list[FSRCNN] = []
        self.alone: list[dict[str, float]] = []
        self.steps, self.seconds = 0, 0.0

    def run(self, report: Report | None, each_step: Callable[[], None]) -> PairResult:
        """Train to the end of the last member's schedule."""
        options = self.data.options
        together = join_processes(self.device, options.batch_size, timed=options.minutes is not None)
        with together as ranks, deterministic_torch():
            if self.unfinished is not None:
                self.alone = self.unfinished.values["alone"]
                self.done = [self.saved_network(number) for number in range(self.unfinished.values["member"])]
            elif ranks.first:
                remove_states(self.out)
            for number in range(len(self.done), options.networks):
                member = (_DistributionTraining if number == self.last else _MemberTraining)(
                    self, number, ranks, report
                )
                result = train_network(member, each_step)
                self.steps, self.seconds = self.steps + result.steps, self.seconds + result.seconds
                self.done.append(member.best)
                if ranks.first and number < options.members:
                    self.alone.append(self.data.scores([member.best], self.device))
            if ranks.first:
                remove_states(self.out)
        return self._result()

    @property
    def members(self) -> list[FSRCNN]:
        """Networks so far whose mean is the result."""
        return self.done[: self.data.options.members]

    @property
    def last(self) -> int | None:
        """Number of the network that gives distributions; None without one."""
        return self.data.options.members + FOLDS if self.data.options.distribution else None

    def data_of(self, number: int) -> _Prepared:
        """Return what a network is trained on: all, or for distributions all but a fold of the times."""
        fold = number - self.data.options.members
        if not 0 <= fold < FOLDS:
            return self.data
        kept = self.data.training_period.copy()
        kept[self.data.folds[fold]] = False
        return dataclasses.replace(self.data, training_period=kept)

    def config_of(self, number: int) -> FSRCNNConfig:
        """Return the configuration of a network."""
        return config_of(self.data.config, self.data.families) if number == self.last else self.data.config

    def _result(self) -> PairResult:
        data = self.data
        final = data.scores(self.members, self.device)
        return PairResult(
            str(self.out),
            data.times,
            {name: {"network": value, **data.baselines[name]} for name, value in final.items()},
            {name: [each[name] for each in self.alone] for name in final},
            self.steps,
            self.seconds,
            data.pairs.step,
            {} if self.last is None else data.distribution_scores(self.members, self.predictive(), self.device),
        )

    def predictive(self, model: FSRCNN | None = None) -> Predictive:
        """Return a network that gives distributions, the last one if none is given, with all that belongs to it."""
        return Predictive(model or self.done[-1], self.data.families, self.data.wet)

    def saved_network(self, number: int) -> FSRCNN:
        """Return a member that a stopped training had."""
        assert self.unfinished is not None
        begin, model = f"member{number}.", FSRCNN(self.config_of(number))
        tensors = self.unfinished.tensors.items()
        model.load_state_dict({n.removeprefix(begin): t for n, t in tensors if n.startswith(begin)})
        return model

    def keep(self, networks: Sequence[FSRCNN], step: int, predictive: Predictive | None = None) -> None:
        """Write the members so far as the checkpoint, and what gives distributions about them."""
        card = self.data.card(self.out.stem, self.data.scores(networks, self.device), step)
        sections = section_of(dataclasses.replace(self.data.pairing, members=len(networks)), predictive)
        save_checkpoint(self.out, networks, card, sections=sections, overwrite=self.may_replace)
        self.may_replace = True


@dataclass(frozen=True)
class _Batch:
    """Times of a step: input, truth in units of `Pairing.std`, where it counts, dropout factors; and the first days.

    For distributions the truth is in its own units, and the means about which they are come last.
    """

    tensors: tuple[Tensor, ...]
    shown: list[str]


_LAST = {"distribution": True}
"""Fact of the records of the network that gives distributions."""


class _MemberTraining(Training[_Batch]):
    """Train one member, from where it was left."""

    def __init__(self, whole: _PairsTraining, number: int, ranks: Ranks, report: Report | None) -> None:
        self.whole, self.data, self.number = whole, whole.data_of(number), number
        options = self.data.options
        steps = options.distribution_steps if number == whole.last else options.steps
        self.options = dataclasses.replace(options, seed=options.seed + number, steps=steps)
        torch.manual_seed(self.options.seed)
        model = FSRCNN(whole.config_of(number))
        with torch.no_grad():
            model.deconvolution.weight *= FIRST_WEIGHT  # start at the base
        run = Run(model.to(whole.device), self.options, ranks)
        super().__init__(run, whole.out, None if report is None else self._reporting(report))
        self.best = run.untrained
        unfinished = whole.unfinished
        if unfinished is not None and unfinished.values["member"] == number:
            self.best = whole.saved_network(number)
            run.restore(unfinished, whole.data.identity)

    def _reporting(self, report: Report) -> Report:
        """Return a report of this network's records, which say where in the whole training it stands."""
        number, count = self.number, self.options.networks
        if count == 1:
            return report
        held_out = number - self.options.members
        stage = {"member": number} if held_out < 0 else {"held_out": held_out} if held_out < FOLDS else _LAST
        return lambda record: report({**record, "done": (number + record["done"]) / count, **stage})

    def draw(self, step: int) -> _Batch:
        """Make the times of a step, of which each process takes its part."""
        pairs, pairing, options = self.data.pairs, self.data.pairing, self.options
        times = draw_times(self.data.training_period, options.batch_size, options.seed, step)
        shard = self.run.ranks.shard(len(times))
        own = times[shard]
        std = pairing.std
        left = pairs.fine[own] - pairing.bases(pairs.partners[own])
        valid = np.isfinite(left) & (std > 0)
        truth = np.where(valid, left / np.where(std > 0, std, 1), 0.0).astype(np.float32)
        stay = _dropout_factors(options, step, len(times), self.data.config.d)[shard]
        arrays = pairing.inputs(pairs.coarse[own], pairs.days[own], pairs.margin), truth, valid, stay
        x, y, where, kept = (torch.from_numpy(each) for each in arrays)
        return _Batch((x, y, where, kept), [str(pairs.dates[i]) for i in own[:3]])

    def loss(self, batch: _Batch) -> tuple[Tensor, list[str]]:
        """Return the loss of a batch of times, and its first days."""
        x, truth, valid, stay = (each.to(self.whole.device) for each in batch.tensors)
        with self.run.autocast():
            result = _run_with_dropout(self.run.model, x, stay)
        error = (result.float() - truth) * self.whole.weights
        kept = error.where(valid, torch.zeros_like(error))
        return penalty(kept, valid, self.options, self.run.ranks), batch.shown

    def validate(self, model: FSRCNN) -> dict[str, float]:
        """Return each target's RMSE divided by that of its best baseline."""
        scores = self.data.scores([model], self.whole.device)
        return {name: value / best_baseline(self.data.baselines[name])[0] for name, value in scores.items()}

    def keep(self, model: FSRCNN, step: int) -> None:
        """Write the members so far, this one among them; networks that are not among them serve distributions."""
        self.best = model
        if self.number < self.options.members:
            self.whole.keep([*self.whole.done, model], step)

    def save(self) -> None:
        """Write the run's state, and the members so far."""
        state = self.run.state(self.whole.data.identity)
        networks = enumerate([*self.whole.done, self.best])
        tensors = {f"member{k}.{name}": t for k, net in networks for name, t in net.state_dict().items()}
        values = {**state.values, "member": self.number, "alone": self.whole.alone}
        step = self.number * self.data.options.steps + state.step
        save_state(self.out, State(step, state.tensors | tensors, values))


class _DistributionTraining(_MemberTraining):
    """Train the network that gives distributions, by likelihood, on what others made of times they had not seen."""

    def __init__(self, whole: _PairsTraining, number: int, ranks: Ranks, report: Report | None) -> None:
        super().__init__(whole, number, ranks, report)
        families, targets = self.data.families, self.data.pairing.targets
        units = np.stack([unit_of(target, family) for target, family in zip(targets, families, strict=True)])
        self.known = np.isfinite(units)
        self.units = torch.from_numpy(np.where(self.known, units, 1.0).astype(np.float32)).to(whole.device)
        self.latents = allocate(self.data.pairs.fine.shape)
        networks = whole.done[self.options.members :]
        for network, fold in zip(networks, self.data.folds, strict=True):
            for times in np.array_split(fold, max(1, len(fold) // TIMES_PER_BLOCK)):
                found = self.data.downscale([network], times, whole.device)
                self.latents[times] = self.data.pairs.domain.pad(centres(found, families)[0])

    def draw(self, step: int) -> _Batch:
        """Make the times of a step, of which each process takes its part."""
        pairs, options = self.data.pairs, self.options
        times = draw_times(self.data.training_period, options.batch_size, options.seed, step)
        shard = self.run.ranks.shard(len(times))
        own = times[shard]
        truth, latents = pairs.fine[own], self.latents[own]
        valid = np.isfinite(truth) & np.isfinite(latents) & self.known
        stay = _dropout_factors(options, step, len(times), self.data.config.d)[shard]
        x = self.data.pairing.inputs(pairs.coarse[own], pairs.days[own], pairs.margin)
        arrays = x, np.nan_to_num(truth), valid, stay, np.nan_to_num(latents)
        return _Batch(tuple(map(torch.from_numpy, arrays)), [str(pairs.dates[i]) for i in own[:3]])

    def loss(self, batch: _Batch) -> tuple[Tensor, list[str]]:
        """Return the mean negative logarithm of the likelihood, and the first days."""
        x, truth, valid, stay, latents = (each.to(self.whole.device) for each in batch.tensors)
        with self.run.autocast():
            outputs = _run_with_dropout(self.run.model, x, stay)
        found = [
            negative_log_likelihood(family, own, self.units[k], latents[:, k], truth[:, k])
            for k, family, own in each_target(self.data.families, outputs.float())
        ]
        return average(torch.stack(found, 1), valid, self.run.ranks), batch.shown

    def validate(self, model: FSRCNN) -> dict[str, float]:
        """Return each target's CRPS on the later times, divided by the mean absolute error of its mean."""
        return self.data.distribution_scores(self.whole.members, self.whole.predictive(model), self.whole.device)

    def keep(self, model: FSRCNN, step: int) -> None:
        """Write all members, and this network beside them."""
        self.best = model
        self.whole.keep(self.whole.members, step, self.whole.predictive(model))


def _is_before(dates: Sequence[Date], spec: PairsSpec) -> Mask:
    """Tell which times come before the day that parts them."""
    is_before = np.array([date < spec.first_day for date in dates])
    if is_before.all() or not is_before.any():
        words = f"no time to {'score on from' if is_before.all() else 'fit on before'} {spec.until}"
        raise InputError(f"{words}: there are {dates[0]} to {dates[-1]}, and until= must part them")
    return is_before


def _dropout_factors(options: PairOptions, step: int, times: int, channels: int) -> Array:
    """Draw factors ``(time, channel, 1, 1)`` of the channels before the deconvolution, 0 for those left out."""
    lots = np.random.default_rng([options.seed, step, 1]).uniform(size=(times, channels, 1, 1))
    result: Array = ((lots >= options.dropout) / (1 - options.dropout)).astype(np.float32)
    return result


def _run_with_dropout(model: FSRCNN, x: Tensor, stay: Tensor) -> Tensor:
    """Return the network's result, the channels before the deconvolution multiplied (Tompson et al. 2015)."""
    weights = model.weights()
    *others, last = weights.layers

    class Dropped:
        radius = last.radius

        def __call__(self, hidden: Tensor) -> Tensor:
            return last(hidden * stay)

    return run_layers(model.config, x, Weights([*others, Dropped()], weights.skip))
