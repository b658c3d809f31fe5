"""Reports: what they say, that they stand alone, and that they appear whole or not at all."""

from __future__ import annotations

import base64
import io
import json
import math
import pickle
import re
import statistics
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from scipy import ndimage

from geofsrcnn.errors import OutputError, UsageError, printable
from geofsrcnn.evaluation.comparison import Comparison, Maps
from geofsrcnn.evaluation.figures import _coarse_edges, _edges, draw_figures
from geofsrcnn.evaluation.measures import MEASURES
from geofsrcnn.evaluation.page import check_report, to_html, write_report
from geofsrcnn.evaluation.report import MARK, NAMES, to_json, to_markdown
from geofsrcnn.evaluation.verdict import compare_in_words, overall, verdict

FACTS = {"model": "default.safetensors", "sha256": "0" * 64, "scored on": "1990-01-01 to 1999-12-31"}
SEEDS, SKILLS = tuple(f"seed {i}" for i in range(1, 6)), (0.9, 0.93, 1.01, 0.95, 0.92)


def smooth(rng, shape, slope):
    """A random field with power falling as wavelength ** slope, mean 0, deviation 1."""
    ky, kx = np.fft.fftfreq(shape[0])[:, None], np.fft.fftfreq(shape[1])[None]
    size = np.hypot(ky, kx)
    size[0, 0] = np.inf
    field = np.fft.ifft2(np.fft.fft2(rng.standard_normal(shape)) * size ** (-slope / 2)).real
    return (field - field.mean()) / field.std()


def power(fields):
    """Radially averaged power by wavelength."""
    spectrum = np.mean([np.abs(np.fft.fft2(f - f.mean())) ** 2 for f in fields], 0)
    ky, kx = np.fft.fftfreq(spectrum.shape[0])[:, None], np.fft.fftfreq(spectrum.shape[1])[None]
    bins = np.linspace(1 / min(spectrum.shape), 0.5, 24)
    at = np.digitize(np.hypot(ky, kx), bins)
    return 2 / (bins[1:] + bins[:-1]), np.array([spectrum[at == i].mean() for i in range(1, len(bins))])


def compare(
    name="tas", unit="K", *, rain=False, skill=(0.55,), names=("network",), seed=0, shape=(72, 96), factor=4, count=12
):
    """A comparison on random fields; networks have `skill` times the error of cubic interpolation."""
    rng = np.random.default_rng(seed)
    relief = smooth(rng, shape, 2.6)
    raw = np.array([0.7 * smooth(rng, shape, 3.4) + 0.5 * relief for _ in range(count)])
    truth = 9 * np.maximum(raw, 0) ** 1.6 if rain else 283 + 5 * raw
    coarse = truth.reshape(count, shape[0] // factor, factor, shape[1] // factor, factor).mean((2, 4))

    def zoom(order):
        return np.array([ndimage.zoom(c, factor, order=order, mode="nearest", grid_mode=True) for c in coarse])

    fine = {"nearest": zoom(0), "bilinear": zoom(1), "bicubic": zoom(3), "lanczos": zoom(4)}
    mean = (truth - fine["bilinear"]).mean(0)
    fine["mean correction"] = fine["bilinear"] + 0.9 * mean
    fine["cell regression"] = fine["bilinear"] * 0.98 + 0.02 * fine["bilinear"].mean(0) + 0.95 * mean
    best = min(fine, key=lambda m: np.mean((fine[m] - truth) ** 2))
    fine = {
        **{
            n: truth + s * (fine[best] - truth) + 0.02 * k * raw
            for k, (n, s) in enumerate(zip(names, skill, strict=True))
        },
        **fine,
    }
    if rain:
        fine = {m: np.maximum(f, 0) for m, f in fine.items()}
    edges = np.linspace(truth.min(), truth.max(), 61)
    wavelengths, of_truth = power(truth)
    months = np.arange(count) % 12
    seasons = {"DJF": (11, 0, 1), "MAM": (2, 3, 4), "JJA": (5, 6, 7), "SON": (8, 9, 10)}
    spread = 0.6 * ndimage.gaussian_filter(np.abs(fine[names[0]][0] - truth[0]), 2)

    def scores(estimate):
        error = estimate - truth
        found = {
            "rmse": np.sqrt(np.mean(error**2)),
            "mae": np.abs(error).mean(),
            "bias": error.mean(),
            "correlation": np.corrcoef(estimate.ravel(), truth.ravel())[0, 1],
            "psnr": 20 * np.log10(np.ptp(truth) / np.sqrt(np.mean(error**2))),
            "ssim": 1 - 0.5 * np.mean(error**2) / truth.var(),
            "spectrum_ratio": (
                power(estimate)[1][wavelengths < 2 * factor] / of_truth[wavelengths < 2 * factor]
            ).mean(),
            **{f"p{p}": np.percentile(estimate, p) - np.percentile(truth, p) for p in (1, 5, 95, 99)},
            "shift_y": 0.01,
            "shift_x": -0.02,
            "conservation": np.sqrt(
                np.mean((estimate.reshape(count, shape[0] // factor, factor, -1, factor).mean((2, 4)) - coarse) ** 2)
            ),
        }
        if rain:
            found["wet_days"] = (estimate >= 1).mean() - (truth >= 1).mean()
            found["wet_intensity"] = estimate[estimate >= 1].mean() - truth[truth >= 1].mean()
        return {measure: float(value) for measure, value in found.items()}

    def rmse(method, of):
        at = np.isin(months, of)
        return float(np.sqrt(np.mean((fine[method][at] - truth[at]) ** 2)))

    found = {m: scores(f) for m, f in fine.items()}
    found[names[0]] |= {"crps": 0.6 * found[names[0]]["mae"], "spread_skill": 0.83}
    lacking = np.where(relief < -2.2, np.nan, 1.0)
    return Comparison(
        name=name,
        unit=unit,
        factor=factor,
        times=count,
        cells=truth.size,
        span=("1990-01-16", "1990-12-16"),
        models=tuple(names),
        scores=found,
        wavelengths=wavelengths,
        spectra={"truth": of_truth, **{m: power(f)[1] for m, f in fine.items()}},
        edges=edges,
        scatter={
            m: np.histogram2d(truth.ravel(), f.ravel(), bins=(edges, edges))[0].astype(int) for m, f in fine.items()
        },
        maps=Maps(
            when="1990-01-16",
            y=np.linspace(44, 36.9, shape[0]),
            x=np.linspace(-10, -0.5, shape[1]),
            coarse=coarse[0],
            truth=truth[0] * lacking,
            fine={m: fine[m][0] * lacking for m in (*names, "bilinear", best)},
            spread=spread * lacking,
        ),
        parts={
            "season": {k: {m: rmse(m, v) for m in fine} for k, v in seasons.items()},
            "month": {f"{k + 1:02}": {m: rmse(m, [k]) for m in fine} for k in range(12)},
        },
    )


@pytest.fixture(scope="module")
def warm():
    """Temperature; the network is better."""
    return compare()


@pytest.fixture(scope="module")
def drawn(warm):
    """A page of three variables: better, worse (rain), and five networks without members."""
    rain = compare("pr", "mm/day", rain=True, skill=(1.031,), seed=4)
    several = compare("tasmin", skill=SKILLS, names=SEEDS, seed=7)
    several = replace(several, maps=replace(several.maps, spread=None))
    comparisons = [warm, rain, several]
    return comparisons, to_html(comparisons, title="Iberia", facts=FACTS, notes=["Random fields."])


def bare(comparison, **changes):
    """The same with nothing to draw."""
    maps = replace(comparison.maps, truth=comparison.maps.truth * np.nan)
    return replace(comparison, maps=maps, wavelengths=np.zeros(0), spectra={}, scatter={}, **changes)


def judged(comparison, networks, **simple):
    """The same with these RMSE alone."""
    networks = (
        {f"seed {i}": value for i, value in enumerate(networks)} if len(networks) != 1 else {"network": networks[0]}
    )
    scores = {method: {"rmse": value} for method, value in {**networks, **simple}.items()}
    return bare(comparison, models=tuple(networks), scores=scores)


# ------------------------------------------------------------------------------------------------------------ words


UNSURE = "No clear difference between the network and cubic"
ADVICE = "Take cubic, or train on more."
BEST = "cubic, the best baseline"
WET_OFF = " (+20.0 against +9.0 % of the values off)."


@pytest.mark.parametrize(
    ("networks", "said"),
    [
        ([1.6], f"The network is better than {BEST}: RMSE 20.0 % below (1.600 against 2.000 K)."),
        ([2.062], f"The network is worse than cubic: RMSE 3.1 % above (2.062 against 2.000 K). {ADVICE}"),
        ([2.0], f"{UNSURE}: RMSE 0.0 % above (2.000 against 2.000 K). {ADVICE}"),
        ([1.9992], f"{UNSURE}: RMSE 0.0 % below (1.999 against 2.000 K). {ADVICE}"),
        ([2.0008], f"{UNSURE}: RMSE 0.0 % above (2.001 against 2.000 K). {ADVICE}"),
        ([1.8, 1.4], f"Both networks are better than {BEST}: RMSE 20.0 % below on average (ratio 0.800 ± 0.141"),
        ([2.1, 2.2, 2.3], "All 3 networks are worse than cubic: RMSE 10.0 % above on average (ratio 1.100 ± 0.050"),
        ([2.0, 2.3], "None of the 2 networks is better than cubic: RMSE 7.5 % above on average"),
        ([1.6, 2.2, 2.2], "Only 1 of 3 networks is better than cubic: RMSE 0.0 % "),
        ([1.6, 1.7, 2.2], "Only 2 of 3 networks are better than cubic: RMSE 8.3 % below on average"),
        ([], "No network was compared; cubic has the smallest RMSE."),
        ([float("nan")], "Networks and baselines cannot be compared"),
    ],
    ids=str,
)
def test_verdict_in_words(warm, networks, said):
    """Better, worse, the same, several that agree or not, and none."""
    assert verdict(judged(warm, networks, cubic=2.0, linear=3.0)).startswith(said)


@pytest.mark.parametrize(
    ("ours", "theirs", "said"),
    [
        ({"bias": 0.2}, {"bias": -0.01}, " Worse: the bias (+0.200 against -0.010 K)."),
        ({"bias": -0.2}, {"bias": 0.01}, " Worse: the bias (-0.200 against +0.010 K)."),
        ({"bias": 0.02}, {"bias": 0.0}, ""),
        ({"bias": 0.2}, {"bias": -0.3}, ""),
        (
            {"wet_days": 0.053, "bias": 0.0},
            {"wet_days": -0.002, "bias": 0.0},
            " Worse: the share of wet days (+5.3 against -0.2 % of the values off).",
        ),
        ({"wet_days": 0.004}, {"wet_days": 0.0}, ""),
        (
            {"bias": 5.0, "wet_days": 0.2},
            {"bias": 0.1, "wet_days": 0.09},
            " Worse: the bias (+5.000 against +0.100 K) and the share of wet days" + WET_OFF,
        ),
    ],
)
def test_verdict_names_what_got_worse(warm, ours, theirs, said):
    """A smaller RMSE at the price of the bias or of too much drizzle; nothing where it is small."""
    c = judged(warm, [1.6], cubic=2.0)
    scores = {"network": {**c.scores["network"], **ours}, "cubic": {**c.scores["cubic"], **theirs}}
    words = verdict(replace(c, scores=scores))
    assert words == f"The network is better than {BEST}: RMSE 20.0 % below (1.600 against 2.000 K).{said}"
    several = {"a": scores["network"], "b": scores["network"], "cubic": scores["cubic"]}
    assert ("Worse: " in verdict(replace(c, models=("a", "b"), scores=several))) == bool(said)


@pytest.mark.parametrize(
    ("ratio", "interval", "begins"),
    [
        (
            0.95,
            (0.9, 0.99),
            "The network is better than cubic, the best baseline: RMSE 5.0 % below (ratio 0.950, ",
        ),
        (0.95, (0.9, 1.01), "No clear difference between the network and cubic: RMSE 5.0 % below (ratio 0.950, "),
        (1.05, (0.99, 1.1), "No clear difference between the network and cubic: RMSE 5.0 % above (ratio 1.050, "),
        (
            1.05,
            (1.01, 1.1),
            "The network is worse than cubic: RMSE 5.0 % above (ratio 1.050, ",
        ),
        (0.9995, (0.999, 0.9999), "No clear difference between the network and cubic: RMSE 0.0 % below"),
    ],
)
def test_the_verdict_is_as_sure_as_the_interval(warm, ratio, interval, begins):
    """Better or worse only where the whole interval says so; a tenth of a percent is no difference however sure."""
    assert compare_in_words("the network", ratio, "cubic", interval).startswith(begins)
    c = judged(warm, [2 * ratio], cubic=2.0)
    words = verdict(replace(c, intervals={"network": {"ratio": interval}}))
    assert words.split(":")[0] == begins.split(":")[0]
    assert f"95 % interval {interval[0]:.3f} to {interval[1]:.3f})" in words


def test_several_networks_count_by_their_intervals(warm):
    """One that is better by chance is not counted."""
    c = judged(warm, [1.8, 1.9], cubic=2.0)
    sure = {"seed 0": {"ratio": (0.85, 0.95)}, "seed 1": {"ratio": (0.9, 1.02)}}
    assert verdict(c).startswith("Both networks are better than cubic")
    assert verdict(replace(c, intervals=sure)).startswith("Only 1 of 2 networks is better than cubic")


def test_of_several_models_of_a_raster_the_best_is_judged(warm):
    """They are no trainings of one kind: no mean over them."""
    c = replace(judged(warm, [1.9, 1.8], cubic=2.0), span=("", ""))
    assert verdict(c).startswith(
        "The network seed 1, the best of 2, is better than cubic, the best baseline: RMSE 10.0 %"
    )
    assert to_json([c], title="t", facts={})["variables"][0]["over_models"] == {}


def test_fields_are_summed_up(warm):
    """How often a network is better, worse, and neither; the mean of the ratios, and the worst field."""
    fields = [replace(judged(warm, [2.0 * ratio], cubic=2.0), name=f"field {ratio}") for ratio in (0.8, 1.25, 1.0)]
    (words,) = overall(fields)
    assert words == (
        "network is better than the best baseline on 1 of 3 fields, worse on 1, no clear difference on 1: RMSE 1.000 "
        "of it (geometric mean), at worst 1.250 (field 1.25)."
    )
    assert overall(fields[:1]) == []
    assert words in to_markdown(fields, title="t", facts={}).replace("\\", "")


def test_intervals_stand_beside_their_scores(warm):
    """In the table of skill; a method without one has an empty cell."""
    c = replace(warm, intervals={"network": {"rmse": (0.51, 0.62), "ratio": (0.5, 0.6)}})
    heads = re.search(r"^\| method .*$", to_markdown([c], title="t", facts={}), re.MULTILINE)[0].split(" | ")
    assert heads[1:5] == ["to best baseline", "95 % interval", "RMSE, K", "95 % interval, K"]
    row = re.search(r"^\| ◆ network .*$", to_markdown([c], title="t", facts={}), re.MULTILINE)[0].split(" | ")
    assert (row[2], row[4]) == ("0.500 to 0.600", "0.510 to 0.620")


def test_verdict_without_a_standard(warm):
    """A baseline without error, or none at all, is no yardstick."""
    assert "cannot be compared" in verdict(judged(warm, [1.0], cubic=0.0))
    assert verdict(judged(warm, [1.0])) == "No baseline was compared; network has the smallest RMSE."


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=6), st.floats(0.01, 100))
def test_verdict_never_praises_a_loser(warm, networks, simple):
    """Advice to take the baseline unless each network is better."""
    said = verdict(judged(warm, networks, cubic=simple))
    good = all(value < simple * 0.999 for value in networks)
    assert ("Take cubic" not in said) == good
    assert ("the best baseline" in said) == good


# ----------------------------------------------------------------------------------------------- JSON and Markdown


def strict(text):
    """JSON without NaN."""
    return json.loads(text, parse_constant=pytest.fail)


def test_json_holds_all_but_big_arrays(drawn):
    """Scores, parts and spectra as they are; of several networks mean and standard deviation."""
    comparisons, _ = drawn
    found = strict(json.dumps(to_json(comparisons, title="Iberia", facts=FACTS, notes=["a"]), allow_nan=False))
    assert (found["title"], found["facts"], found["notes"]) == ("Iberia", FACTS, ["a"])
    assert found["overall"] == overall(comparisons)
    for c, v in zip(comparisons, found["variables"], strict=True):
        assert (v["name"], v["models"], v["scores"], v["parts"]) == (c.name, list(c.models), c.scores, c.parts)
        assert (v["verdict"], v["best_baseline"], v["best_model"]) == (verdict(c), c.best_baseline, c.best_model)
        assert v["ratios"] == {m: c.ratio(m) for m in c.models}
        assert v["intervals"] == {m: {k: list(e) for k, e in own.items()} for m, own in c.intervals.items()}
        assert v["wavelengths"] == c.wavelengths.tolist()
        assert {method: np.array(power).shape for method, power in v["spectra"].items()} == dict.fromkeys(
            c.spectra, (23,)
        )
        assert not {"maps", "scatter"} & set(v)
    several, over = comparisons[2], found["variables"][2]["over_models"]
    for measure in ("rmse", "p99"):
        values = [several.scores[m][measure] for m in SEEDS]
        assert over[measure]["mean"] == pytest.approx(statistics.mean(values))
        assert over[measure]["std"] == pytest.approx(statistics.stdev(values))
    assert over["ratio"]["mean"] == pytest.approx(statistics.mean(several.ratio(m) for m in SEEDS))
    assert "crps" not in over, "only one of the networks has it"
    assert found["variables"][0]["over_models"] == {}


def test_what_is_no_number_is_null(warm):
    """NaN and infinity, of Python and numpy, in scores and spectra."""
    scores = {**warm.scores, "nearest": {"rmse": np.float32(np.inf), "bias": math.nan}}
    odd = replace(warm, scores=scores, spectra={"truth": np.array([1, np.nan])}, wavelengths=np.array([3.0, 2.0]))
    found = strict(json.dumps(to_json([odd], title="", facts={}), allow_nan=False))["variables"][0]
    assert found["scores"]["nearest"] == {"rmse": None, "bias": None}
    assert found["spectra"]["truth"] == [1.0, None]


def rendered(text):
    """Markdown as a list of tags and a list of the texts in between."""
    page = Tags()
    page.feed(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(text))
    return page


class Tags(HTMLParser):
    """Tags with attributes, and text."""

    def __init__(self):
        super().__init__()
        self.tags, self.texts = [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.texts.append(data)


def test_numbers_in_words_and_tables_are_those_of_the_json(drawn):
    """Each cell of the Markdown's tables is the JSON's number, rounded; rows are by rising RMSE, networks marked."""
    comparisons, _ = drawn
    title = {"title": "Iberia", "facts": {}}
    heads = {
        "RMSE": "rmse",
        "MAE": "mae",
        "bias": "bias",
        "correlation": "correlation",
        "PSNR": "psnr",
        "99th pct.": "p99",
    }
    for c in comparisons:
        found = to_json([c], **title)["variables"][0]
        text = to_markdown([c], **title)
        tables = [
            [row.strip("| ").split(" | ") for row in block.splitlines()]
            for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
        ]
        checked = 0
        for head, _, *rows in tables[:2]:
            names = [row[0].removeprefix(f"{MARK} ") for row in rows]
            assert names == sorted(found["scores"], key=lambda m: found["scores"][m]["rmse"])
            assert [row[0].startswith(MARK) for row in rows] == [name in c.models for name in names]
            for i, measure in enumerate(heads.get(h.partition(",")[0]) for h in head):
                for name, row in zip(names, rows, strict=True):
                    if measure:
                        cell = row[i].strip("*")
                        places = len(cell.partition(".")[2])
                        assert float(cell) == round(found["scores"][name][measure], places)
                        checked += 1
        assert checked == len(heads) * len(c.scores)
        for (head, _, *rows), parts in zip(tables[2:], found["parts"].values(), strict=True):
            for row in rows:
                for name, cell in zip(head[1:], row[1:], strict=True):
                    value = parts[row[0]][name.removeprefix(f"{MARK} ")]
                    assert float(cell.strip("*")) == pytest.approx(value, abs=5.1e-4)
    text = to_markdown(comparisons, **title)
    assert re.search(r"Mean over 5 networks ± standard deviation: to best.*, RMSE 0\.640 ± 0\.028 K", text)


@pytest.mark.parametrize(
    ("measure", "values", "best"),
    [
        ("mae", [0.5, 0.25, 0.75], {"0.250"}),
        ("correlation", [0.5, 0.25, 0.75], {"0.7500"}),
        ("bias", [-0.5, -0.25, 0.75], {"-0.250"}),
        ("spectrum_ratio", [0.5, 1.5, 0.25], {"1.500"}),
        ("spread_skill", [0.0, 0.5, 3.0], {"0.50"}),
        ("mae", [0.5, math.nan, 0.75], {"0.500"}),
        ("mae", [0.5, 0.5, 0.5], set()),
        ("mae", [0.5, 0.50001, 0.75], {"0.500"}),
    ],
)
def test_best_of_each_column_is_bold(warm, measure, values, best):
    """Small errors, large correlations, biases near 0 and ratios near 1; nothing where all look the same."""
    c = judged(warm, [1.0], a=1.0, b=1.0)
    c = replace(
        c, scores={m: {"rmse": 1.0, measure: value} for m, value in zip(c.scores, values, strict=True)}, parts={}
    )
    assert set(re.findall(r"\*\*([-+.0-9]+)\*\*", to_markdown([c], title="", facts={}))) == best


@given(st.text(min_size=1), st.text())
@example("- a", "")
@example("+ a", "|")
@example("1. a", "`a`")
@example("12) a", "a | b")
@example("# a", "<b>")
@example("~~a~~", "*a* _a_")
@example("[a](b)", "&amp;")
def test_any_text_stays_text_in_markdown(warm, name, unit):
    """Names change no tag of the rendered page."""

    def page(name, unit):
        scores = {name: warm.scores["network"], "other": warm.scores["nearest"]}
        c = bare(warm, name=name, unit=unit, models=(name,), scores=scores, parts={})
        return rendered(to_markdown([c], title=name, facts={name: unit}, notes=[name]))

    assume(name not in ("network", "other") and not name.isspace() and name == name.strip())
    assert [tag for tag, _ in page(name, unit).tags] == [tag for tag, _ in page("name", "unit" if unit else "").tags]


@pytest.mark.parametrize("text", ["0.1.0", "1.5 m", "2.", "3) b"])
def test_dots_are_escaped_where_they_begin_a_list(warm, text):
    """A version is read as it is, also in the file itself."""
    escaped = to_markdown([bare(warm)], title="t", facts={"geofsrcnn": text}).split("| geofsrcnn | ")[1].split(" |")[0]
    assert escaped == (text if text in ("0.1.0", "1.5 m") else text.replace(".", "\\.").replace(")", "\\)"))


# ------------------------------------------------------------------------------------------------------------- HTML

HOSTILE = "雨$\\frac$<script>alert(1)</script>\"'><img src=http://a.example/x onerror=y>&amp;\x1b\n\udc80"


def test_page_stands_alone(drawn):
    """One file: pictures inside, no script, no link, nothing to fetch."""
    _, text = drawn
    page = Tags()
    page.feed(text)
    pictures = [attributes["src"] for tag, attributes in page.tags if tag == "img"]
    assert len(pictures) == 9
    assert all(
        base64.b64decode(p.removeprefix("data:image/png;base64,"), validate=True)[:4] == b"\x89PNG" for p in pictures
    )
    assert not {"script", "link", "iframe", "object", "a", "base", "svg"} & {tag for tag, _ in page.tags}
    attributes = {name for _, found in page.tags for name in found}
    assert attributes <= {"lang", "charset", "http-equiv", "content", "name", "class", "title", "alt", "src", "width"}
    style = re.search(r"<style>(.*)</style>", text, re.DOTALL)[1]
    assert "url(" not in style
    assert "@import" not in style
    assert "http" not in re.sub(r"http-equiv", "", text)
    policy = {"http-equiv": "Content-Security-Policy"}
    policy["content"] = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    assert ("meta", policy) in page.tags


def test_page_says_all(drawn):
    """Words first, then facts, and for each variable its verdict, tables, pictures; last what measures mean."""
    comparisons, text = drawn
    page = Tags()
    page.feed(text)
    said = " ".join(page.texts)
    places = [said.index(verdict(c)) for c in comparisons] + [
        said.index("sha256"),
        said.index("Random fields."),
        said.index("Skill"),
    ]
    assert places == sorted(places)
    assert [a["alt"] for tag, a in page.tags if tag == "img"] == ["Maps", "Spectra", "Estimate against truth"] * 3
    for measure in ("rmse", "p99", "wet_days", "spread_skill"):
        assert MEASURES[measure].meaning in said
    assert MEASURES["shift_y"].meaning in {a.get("title") for tag, a in page.tags if tag == "th"}


def test_hostile_names_stay_text(warm):
    """Tags, quotes, entities, mathematics, control characters, broken Unicode: the page has the same tags."""

    def page(word):
        def named(method):
            return f"{word} {method}"

        scores = {named(m): s for m, s in warm.scores.items()}
        maps = replace(warm.maps, when=word, fine={named(m): f[::4, ::4] for m, f in warm.maps.fine.items()})
        maps = replace(maps, truth=maps.truth[::4, ::4], y=maps.y[::4], x=maps.x[::4], spread=None)
        c = replace(
            warm,
            name=word,
            unit=word,
            span=(word, word),
            models=(named("network"),),
            scores=scores,
            spectra={m if m == "truth" else named(m): p for m, p in warm.spectra.items()},
            scatter={named(m): n for m, n in warm.scatter.items()},
            parts={word: {word: {named("nearest"): 1.0}}},
            maps=maps,
        )
        found = Tags()
        text = to_html([c], title=word, facts={word: word}, notes=[word])
        found.feed(text)
        text.encode()
        return [(tag, sorted(a)) for tag, a in found.tags], "".join(found.texts)

    tags, text = page(HOSTILE)
    assert tags == page("plain")[0]
    assert printable(HOSTILE) in text


def picture(c):
    """The maps, as an array of colours."""
    from matplotlib.image import imread

    return imread(io.BytesIO(draw_figures(c)[0].png))


def test_maps_are_drawn_where_they_lie(warm):
    """Fields with rows and columns the other way about are the same picture; other coordinates are not."""
    maps = replace(warm.maps, spread=None)

    def drawn(y, x, turn):
        fine = {m: turn(f) for m, f in maps.fine.items()}
        return picture(
            replace(
                warm,
                scatter={},
                spectra={},
                maps=replace(maps, y=y, x=x, coarse=turn(maps.coarse), truth=turn(maps.truth), fine=fine),
            )
        )

    there = drawn(maps.y, maps.x, lambda f: f)
    assert np.array_equal(there, drawn(maps.y[::-1], maps.x[::-1], lambda f: f[::-1, ::-1]))
    assert not np.array_equal(there, drawn(maps.y, maps.x, lambda f: f[::-1]))


@pytest.mark.parametrize("down", [True, False])
def test_north_is_up(warm, down):
    """A field that rises with its coordinate is brighter above, whichever way its rows run; so is its coarse field."""
    y = np.linspace(40, 30, 24) if down else np.linspace(30, 40, 24)
    field = np.repeat(y[:, None], 32, 1)
    maps = Maps("", y, np.arange(32) / 3, field[::4, ::4], field, {"nearest": field, "network": field})
    seen = picture(replace(warm, scatter={}, spectra={}, maps=maps))
    green = seen[:, int(0.2 * seen.shape[1]), 1]
    height = len(green)
    for above, below in ((0.15, 0.4), (0.6, 0.83)):
        assert green[int(above * height)] > green[int(below * height)] + 0.2


@pytest.mark.parametrize("step", [1.0, -0.5])
def test_coarse_cells_lie_on_the_fine_cells_that_they_cover(step):
    """Borders are those of each factor-th fine cell; the last cell may reach beyond."""
    fine = 10 + step * np.arange(7)
    assert _edges(fine) == pytest.approx(10 + step * (np.arange(8) - 0.5))
    assert _coarse_edges(_edges(fine), 2, 3) == pytest.approx(10 + step * (np.array([0, 3, 6]) - 0.5))
    assert _coarse_edges(_edges(fine), 3, 3) == pytest.approx(10 + step * (np.array([0, 3, 6, 9]) - 0.5))


def test_grey_is_explained_where_something_is_grey(warm):
    """Cells that are missing or not scored, in the truth, the coarse field or an estimate; else no word of them."""
    truth = np.nan_to_num(warm.maps.truth)
    fine = dict.fromkeys(warm.maps.fine, truth + 1)
    whole = replace(warm.maps, truth=truth, coarse=np.nan_to_num(warm.maps.coarse), fine=fine, spread=None)
    holed = np.where(np.arange(truth.shape[1]) < 8, np.nan, truth)
    for maps, said in ((whole, False), (replace(whole, truth=holed), True)):
        shown = draw_figures(replace(warm, scatter={}, spectra={}, maps=maps))[0]
        assert ("grey is missing or not scored" in shown.caption) == said


def test_little_to_show_is_no_error(warm):
    """Without truth, spectra, scatter, parts or unit: words and tables; without estimates: truth and coarse."""
    page = to_html([bare(warm, unit="", parts={})], title="t", facts={})
    assert "<img" not in page
    assert "Skill" in page
    flat = {method: 0 * power for method, power in warm.spectra.items()}
    assert "<img" not in to_html([replace(bare(warm), wavelengths=warm.wavelengths, spectra=flat)], title="t", facts={})
    bones = replace(bare(warm), maps=replace(warm.maps, fine={}, spread=None))
    assert to_html([bones], title="t", facts={}).count("<img") == 1


def test_drawing_leaves_matplotlib_as_it_was(warm):
    """No pyplot, and the reader's settings are neither used nor changed."""
    code = """
import sys, matplotlib, pickle
from geofsrcnn.evaluation.figures import draw_figures
matplotlib.rcParams["text.usetex"] = True
before = {key: matplotlib.rcParams[key] for key in set(matplotlib.rcParams) - {"backend"}}
assert len(draw_figures(pickle.load(sys.stdin.buffer))) == 1
assert "matplotlib.pyplot" not in sys.modules
assert before == {key: matplotlib.rcParams[key] for key in before}
"""
    small = replace(bare(warm), wavelengths=warm.wavelengths, spectra=warm.spectra)
    done = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(small), capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


# ------------------------------------------------------------------------------------------------------------ files


def tree(folder):
    """All files below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_files_of_a_report(warm, tmp_path):
    """Three files, which say what the functions give; nothing is left beside the folder."""
    said = {"title": "Iberia", "facts": FACTS, "notes": ["a"]}
    paths = write_report(tmp_path / "report", [bare(warm)], **said)
    assert paths == [tmp_path / "report" / name for name in NAMES]
    assert [p.name for p in tmp_path.iterdir()] == ["report"]
    assert strict(paths[0].read_text()) == to_json([bare(warm)], **said)
    assert paths[1].read_text() == to_markdown([bare(warm)], **said)
    assert paths[2].read_text() == to_html([bare(warm)], **said)


def test_old_report_is_kept_or_replaced(warm, tmp_path):
    """Without overwrite it is as it was; with it, all three files are new."""
    write_report(tmp_path / "report", [bare(warm)], title="old", facts={})
    before = tree(tmp_path)
    with pytest.raises(OutputError, match=r"output exists: .*report: use overwrite=True"):
        write_report(tmp_path / "report", [bare(warm)], title="new", facts={})
    assert tree(tmp_path) == before
    write_report(tmp_path / "report", [bare(warm)], title="new", facts={}, overwrite=True)
    after = tree(tmp_path)
    assert sorted(after) == sorted(before)
    assert all(b"new" in text and b"old" not in text for text in after.values())


@pytest.mark.parametrize("foreign", ["thesis.tex", "data/x.nc", "report.json/x"])
def test_foreign_files_are_never_touched(warm, tmp_path, foreign):
    """A folder with anything but a report is refused, also with overwrite."""
    write_report(tmp_path / "report", [bare(warm)], title="old", facts={})
    path = tmp_path / "report" / foreign
    if path.parent.name == "report.json":
        path.parent.unlink()
    path.parent.mkdir(exist_ok=True)
    path.write_text("years of work")
    before = tree(tmp_path)
    with pytest.raises(OutputError, match=r"holds more than a report: .*: give another name|output is a folder"):
        write_report(tmp_path / "report", [bare(warm)], title="new", facts={}, overwrite=True)
    assert tree(tmp_path) == before


def test_targets_that_cannot_be(warm, tmp_path):
    """A file of that name and a missing parent are refused; a link leads to its folder."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="output is a file, not a folder"):
        write_report(tmp_path / "file", [bare(warm)], title="t", facts={}, overwrite=True)
    with pytest.raises(OutputError, match="output folder is missing"):
        write_report(tmp_path / "no" / "report", [bare(warm)], title="t", facts={})
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    write_report(tmp_path / "link", [bare(warm)], title="t", facts={}, overwrite=True)
    assert sorted(tree(tmp_path / "real")) == sorted(NAMES)


@contextmanager
def longest_file(size):
    """Files that grow beyond `size` bytes cannot be written, as on a full disk; Python ignores the signal."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("old", [False, True])
def test_report_appears_whole_or_not_at_all(warm, tmp_path, old):
    """Wherever the disk ends: an error and nothing new, old files as they were; or all three files."""
    folder = tmp_path / "report"
    said = {"title": "new", "facts": FACTS}
    sizes = sorted(p.stat().st_size for p in write_report(tmp_path / "full", [bare(warm)], **said))
    if old:
        write_report(folder, [bare(warm)], title="old", facts={})
    before = tree(tmp_path)
    for limit in (0, sizes[0] - 1, sizes[0], sizes[1], sizes[2] - 1):
        with (
            longest_file(limit),
            pytest.raises(OutputError, match=r"cannot write .*: is the file larger"),
        ):
            write_report(folder, [bare(warm)], **said, overwrite=old)
        assert tree(tmp_path) == before
        assert folder.exists() == old
    with longest_file(sizes[2]):
        write_report(folder, [bare(warm)], **said, overwrite=old)
    assert tree(folder) == tree(tmp_path / "full")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["full", "report"]


@pytest.mark.parametrize(("library", "shown"), [("matplotlib", "matplotlib"), ("jinja2", "jinja2")])
def test_what_is_not_installed_is_said_in_one_line(warm, tmp_path, monkeypatch, library, shown):
    """What to install, before any work; Markdown and JSON need none."""
    for name in {library, *(name for name in sys.modules if name.startswith(f"{library}."))}:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UsageError, match=rf"^{shown}.* is not installed: pip install 'geofsrcnn\[report\]'$"):
        check_report(tmp_path / "report")
    with pytest.raises(UsageError, match="is not installed"):
        write_report(tmp_path / "report", [warm], title="t", facts={})
    assert list(tmp_path.iterdir()) == []
    assert to_markdown([warm], title="t", facts={})
