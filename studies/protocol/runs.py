"""Runs of a study: settings from its TOML, results into its JSON, what is there already is not run again."""

from __future__ import annotations

import argparse
import fnmatch
import json
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from protocol.training import Network, Settings, make_network, take_over

HERE = Path(__file__).parent.parent


@dataclass(frozen=True)
class Run:
    """One training of a study.

    Parameters
    ----------
    name : str
        Its name in the TOML; with several seeds ``NAME#SEED``.
    settings : Settings
        How it is trained.
    start : str
        Name of the run whose weights it starts from, in the TOML without its seed; empty for none.
    domain : {"images", "grids"}
        What it is trained and scored on.
    more : bool
        Train on the photographs of scikit-image beside the 91 images.
    """

    name: str
    settings: Settings
    start: str = ""
    domain: str = "images"
    more: bool = False

    def identity(self) -> dict[str, Any]:
        """All that decides what the run gives, as JSON has it."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        if not self.more:
            del plain["more"]
        return plain


def read_runs(path: Path) -> list[Run]:
    """Read the runs of a study: tables ``[[run]]``, over what ``[base]`` says of all.

    An entry with ``like`` has all settings of the earlier run of this name, but for its own; ``network`` is such a
    table within the table.
    """
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    entries: dict[str, dict[str, Any]] = {"": table.get("base", {})}
    for entry in table["run"]:
        before = entries[entry.pop("like", "")]
        network = {**before.get("network", {}), **entry.get("network", {})}
        entries[entry["name"]] = {**before, **entry, **({"network": network} if network else {})}
    del entries[""]
    return [run for entry in entries.values() for run in _expand(dict(entry))]


def _expand(entry: dict[str, Any]) -> Iterator[Run]:
    """Yield the runs of an entry, one for each of its seeds."""
    name, start, more = entry.pop("name"), entry.pop("start", ""), entry.pop("more", False)
    seeds, domains = entry.pop("seeds", [0]), entry.pop("domains", ["images"])
    for domain in domains:
        for seed in seeds:
            label = f"{name} {domain}" if len(domains) > 1 else name
            of_seed = f"#{seed}" if len(seeds) > 1 else ""
            begun = start and f"{start}{of_seed}"
            yield Run(f"{label}{of_seed}", Settings.of({**entry, "seed": seed}), begun, domain, more)


class Results:
    """A study's results: a JSON file by the names of its runs.

    Parameters
    ----------
    path : Path
        The file; written anew after each run.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}

    def has(self, run: Run) -> bool:
        """Tell whether a run with the very same settings is there."""
        return bool(self.values.get(run.name, {}).get("run") == run.identity())

    def put(self, run: Run, result: dict[str, Any]) -> None:
        """Add a run's result, and write all."""
        self.values[run.name] = {"run": run.identity(), **result}
        self.save()

    def save(self) -> None:
        """Write all, whole or not at all."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.path.with_suffix(".part")
        beside.write_text(json.dumps(self.values, indent=1, sort_keys=True) + "\n")
        beside.replace(self.path)


@dataclass(frozen=True)
class Options:
    """What a study's command line says.

    Parameters
    ----------
    data : Path
        Folder with ``benchmark`` (Set5, Set14, T91), and for grids ``train`` and ``validation``.
    work : Path
        Folder for weights.
    results : Path
        The JSON file.
    runs : list of Run
        Those that are asked for.
    """

    data: Path
    work: Path
    results: Path
    runs: list[Run]

    def weights(self, name: str) -> Path:
        """Return the file of a run's weights."""
        return self.work / f"{name}.safetensors"

    def begin(self, run: Run) -> Network:
        """Make a run's network, with the weights that it starts from."""
        model = make_network(run.settings)
        if run.start:
            take_over(model, self.weights(run.start))
        return model


def parse(study: str, doc: str | None, arguments: list[str] | None = None) -> Options:
    """Parse the command line of a study, ``python studies/NAME.py DIR``."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with benchmark/, and for grids train/ and validation/")
    parser.add_argument("--settings", type=Path, default=HERE / f"{study}.toml")
    parser.add_argument("--results", type=Path, default=HERE / "results" / f"{study}.json")
    parser.add_argument("--work", type=Path, default=HERE / "weights" / study, help="folder for weights")
    parser.add_argument("--only", default="*", help="runs whose names fit this pattern")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)  # small networks: a second thread only waits
    given.work.mkdir(parents=True, exist_ok=True)
    runs = [run for run in read_runs(given.settings) if fnmatch.fnmatch(run.name, given.only)]
    return Options(given.data, given.work, given.results, runs)


def run_missing(options: Options, train: Callable[[Run], dict[str, Any]]) -> Results:
    """Run what the results lack, one after the other."""
    results = Results(options.results)
    for run in options.runs:
        if not results.has(run):
            print(run.name, flush=True)
            result = train(run)
            results = Results(options.results)  # another process may have written meanwhile
            results.put(run, result)
    return results
