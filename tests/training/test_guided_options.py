"""Options of a guided training: bounds as of any training."""

from __future__ import annotations

import pytest

from geofsrcnn.errors import ConfigError
from geofsrcnn.training.guided_scenes import GuidedOptions
from geofsrcnn.training.schedule import Schedule


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"steps": 0}, "steps= must be at least 1, got 0"),
        ({"batch_size": 0}, "batch_size= must be at least 1, got 0"),
        ({"validate_every": 0}, "validate_every= must be at least 1, got 0"),
        ({"seed": -1}, "seed= must be from 0 to"),
        ({"learning_rate": 0.0}, "learning_rate= must be positive, got 0.0"),
        ({"ema_decay": 1.0}, "ema_decay= must be from 0 to below 1, got 1.0"),
    ],
)
def test_options_out_of_bounds_are_refused_as_of_any_training(options, words):
    """With the same words."""
    for kind in (GuidedOptions, Schedule):
        with pytest.raises(ConfigError, match=words):
            kind(**options)


def test_a_patch_has_a_least_side():
    """As that of a training on rasters."""
    with pytest.raises(ConfigError, match="patch= must be at least 4, got 3"):
        GuidedOptions(patch=3)
