"""Pages about studies, made from their results: Markdown tables, and how sure a difference is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from scipy.stats import t as student

from protocol.ablation import RIM, compare, level
from protocol.runs import HERE, Results, read_runs

DOCS = HERE.parent / "docs" / "studies"


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Write a table, its first column aligned to the left, the others to the right."""
    lines = ["| " + " | ".join(header) + " |", "|---" + "|---:" * (len(header) - 1) + "|"]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def is_sure(difference: tuple[float, float], seeds: int) -> bool:
    """Tell whether a mean difference and its standard error exclude zero, at 95 % by Student's t."""
    mean, error = difference
    return abs(mean) > float(student.ppf(0.975, seeds - 1)) * error


def show(difference: tuple[float, float], seeds: int) -> str:
    """Write a difference in dB with its standard error, in bold where zero is excluded."""
    mean, error = difference
    if mean == 0 and error == 0:
        return "–"
    text = f"{mean:+.2f} ± {error:.2f}"
    return f"**{text}**" if is_sure(difference, seeds) else text


LEGEND = f"""Differences in dB (more is better), means over fields and seeds, ± their standard error over seeds; bold
where zero is excluded at 95 % (Student's t). *Inside*: fine cells of fields that no training saw, {RIM} coarse cells or
more from the edge; *rim*: those nearer to it. Errors are over seeds, for these very fields, and not corrected for the
number of comparisons: by chance one cell in twenty would be bold. With three seeds bold needs 4.3 standard errors, so
that what is not bold may still be an effect. Trainings are short: what a long one would add is not told."""
"""What the numbers of `comparison` mean."""


def comparison(study: str, results: Mapping[str, Any], variants: Sequence[str], domains: Sequence[str]) -> str:
    """Write a table of variants: gain over bicubic of the first one, differences of the others.

    Parameters
    ----------
    study : str
        Its name.
    results : mapping
        By the names of runs.
    variants : sequence of str
        Without domain and seed; the first one is what the others are compared with.
    domains : sequence of str
        Of the columns; one, which names of runs do not tell, or several.
    """
    header, columns = ["variant"], []
    for domain in domains:
        names = [f"{variant} {domain}" if len(domains) > 1 else variant for variant in variants]
        seeds = seeds_of(study, names[0])
        for place in ("inside", "rim"):
            header.append(f"{domain}, {place}")
            first = level(results, f"bicubic {domain} x3", names[0], seeds, place)
            differences = compare(results, names, seeds, place)
            shown = [show(differences[name], len(seeds)) for name in names[1:]]
            columns.append([f"bicubic {first:+.2f}", *shown])
    return table(header, zip(variants, *columns, strict=True))


def gain(study: str, results: Mapping[str, Any], first: str, variant: str, domain: str, place: str) -> str:
    """Write the difference of one variant to the first one, of a study of several domains."""
    names = [f"{first} {domain}", f"{variant} {domain}"]
    seeds = seeds_of(study, names[0])
    return show(compare(results, names, seeds, place)[names[1]], len(seeds))


def seeds_of(study: str, name: str) -> list[int]:
    """List the seeds of a variant."""
    runs = read_runs(HERE / f"{study}.toml")
    return [run.settings.seed for run in runs if run.name.partition("#")[0] == name]


def load_complete(study: str) -> Mapping[str, Any] | None:
    """Load a study's results; None where a run is missing, or is of other settings."""
    results = Results(HERE / "results" / f"{study}.json")
    settings = HERE / f"{study}.toml"
    missing = settings.exists() and not all(results.has(run) for run in read_runs(settings))
    return None if missing or not results.values else results.values


def render(study: str, facts: Mapping[str, Any]) -> str:
    """Fill in a study's page, texts/NAME.md."""
    jinja = Environment(loader=FileSystemLoader(HERE / "texts"), undefined=StrictUndefined, keep_trailing_newline=True)  # noqa: S701  Markdown from our own results
    return jinja.get_template(f"{study}.md").render(**facts, legend=LEGEND)
