"""Evaluation of expected errors: what stands in a comparison, in words, in tables, in the picture."""

from __future__ import annotations

import math

import numpy as np
import pytest

from geofsrcnn import upscale_array
from geofsrcnn.evaluation.calibration import calibration
from geofsrcnn.evaluation.figures import draw_figures
from geofsrcnn.evaluation.rasters import evaluate_array, evaluate_raster
from geofsrcnn.evaluation.report import tables, to_json, to_markdown
from geofsrcnn.evaluation.scores import scored_mask
from geofsrcnn.evaluation.verdict import errors_in_words
from geofsrcnn.networks.checkpoint import EXPECTED_ERROR, Card, save_checkpoint
from geofsrcnn.networks.expected_error import section_of
from geofsrcnn.values.blocks import block_mean
from tests.support.networks import TINY, random_head, random_model
from tests.support.rasters import terrain, write


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A network that gives errors, drawn at random, in a file."""
    path = tmp_path_factory.mktemp("network") / "random.safetensors"
    model = random_model(**TINY)
    save_checkpoint(path, model, Card("random"), sections={EXPECTED_ERROR: section_of(random_head(model.config), {})})
    return path


def test_they_are_what_anyone_computes(network):
    """Expected errors as upscaling gives them, true ones over the cells that are scored, by hand."""
    truth = terrain((90, 108), high=100)
    found = evaluate_array(truth, 3, [network])
    coarse = block_mean(truth, 3)
    fine, expected = upscale_array(coarse, 3, network, error=True)
    by_hand = calibration(expected, np.abs(fine - truth), scored_mask(np.isfinite(coarse), 3))
    assert found.calibrations["random"].ratio == pytest.approx(by_hand.ratio, rel=1e-5)
    assert found.calibrations["random"].within_half == pytest.approx(by_hand.within_half, abs=1e-3)
    assert found.calibrations["random"].cells == found.cells == by_hand.cells
    plain = evaluate_array(truth, 3, ["cubic"])
    assert plain.calibrations == {}


def test_directions_are_judged_by_their_angles(network, tmp_path):
    """Errors of directions are at most half a turn, however they are counted."""
    angles = (terrain((96, 96), high=80) + 320) % 360
    path = write(tmp_path / "wind.tif", angles.astype(np.float32))
    (found,) = evaluate_raster(path, 3, [network], kinds={"1": "direction"})
    fit = found.calibrations["random"]
    assert max(fit.true) < 90
    assert 0.01 < fit.ratio < 100


def test_the_report_says_it(network):
    """A sentence, a table, numbers for programs, a picture."""
    found = evaluate_array(terrain((90, 108), high=100), 3, [network], detail=True)
    fit = found.calibrations["random"]
    (sentence,) = errors_in_words(found)
    assert f"{fit.ratio:.2f} times the true ones" in sentence
    assert f"{100 * fit.within_ninety:.0f} % within their 90 % interval" in sentence
    facts = {"model": "random"}
    assert sentence in to_markdown([found], title="t", facts=facts).replace("\\", "")
    (table,) = [table for table in tables(found) if table.caption == "Expected errors"]
    assert table.rows[0].cells[0].text == f"{fit.ratio:.2f}"
    plain = to_json([found], title="t", facts=facts)["variables"][0]["expected_errors"]["random"]
    assert plain["ratio"] == fit.ratio
    assert len(plain["expected"]) == len(plain["true"]) == 10
    (picture,) = [picture for picture in draw_figures(found) if picture.title == "Expected errors"]
    assert picture.png.startswith(b"\x89PNG")


def test_without_expected_errors_nothing_is_said():
    """No sentence, no table, no picture."""
    found = evaluate_array(terrain((90, 108), high=100), 3, ["cubic"], detail=True)
    assert errors_in_words(found) == []
    assert all(table.caption != "Expected errors" for table in tables(found))
    assert all(picture.title != "Expected errors" for picture in draw_figures(found))
    assert math.isfinite(found.scores["cubic"]["rmse"])
