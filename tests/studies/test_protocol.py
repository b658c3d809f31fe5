"""The protocol of super-resolution studies: images, scores, patches, first weights, runs."""

from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from geofsrcnn.values.blocks import block_mean
from geofsrcnn.values.kernels import resample
from protocol.engine import upscale_with
from protocol.images import imresize, make_coarse, make_fine, read_photos, rescale, to_luma, trim
from protocol.patches import Patches, augment, pad
from protocol.runs import Results, read_runs
from protocol.scores import mean, psnr, score, ssim
from protocol.training import Settings, make_network, padding_of, train

BENCHMARK = Path(__file__).parents[3] / "shared" / "data" / "benchmark"
shared = pytest.mark.skipif(not BENCHMARK.is_dir(), reason="the photographs of the tables are not there")


def photo(rows, columns, seed=0):
    """Make a field of whole grey levels with structure at several scales."""
    y, x = np.mgrid[:rows, :columns] / 7
    waves = 128 + 60 * np.sin(x + 0.5 * y) * np.cos(0.3 * y) + 20 * np.sign(np.sin(2.1 * x))
    return np.clip(np.round(waves + np.random.default_rng(seed).normal(0, 2, waves.shape)), 16, 235)


# Images


@shared
@pytest.mark.parametrize("path", sorted((BENCHMARK / "matlab_bicubic").glob("*.npz")), ids=lambda path: path.stem)
def test_imresize_is_matlabs(path):
    """Images made coarser and finer by MATLAB come out within a thousandth of a grey level."""
    of_matlab = np.load(path)
    factor = round(of_matlab["gt_y"].shape[0] / of_matlab["lr_y"].shape[0])
    coarse = make_coarse(of_matlab["gt_y"].astype(float), factor)
    assert np.abs(coarse - of_matlab["lr_y"]).max() < 1e-3
    assert np.abs(make_fine(of_matlab["lr_y"].astype(float), factor) - of_matlab["bicubic_y"]).max() < 1e-3


@shared
@pytest.mark.parametrize(
    ("name", "published"), [("Set5", (33.66, 30.39, 28.42)), ("Set14", (30.23, 27.54, 26.00))], ids=["Set5", "Set14"]
)
def test_bicubic_scores_as_published(name, published):
    """Bicubic interpolation has the tables' PSNR at x2, x3, x4 to a hundredth of a decibel."""
    photos = read_photos(BENCHMARK / name)
    found = [mean(score(lambda coarse, f=factor: make_fine(coarse, f), photos, factor)) for factor in (2, 3, 4)]
    assert found == pytest.approx(published, abs=0.01)


def test_imresize_by_hand():
    """Halved, cells are weighted by the cubic kernel at half its frequency; the edge is mirrored."""
    weights = np.array([-3, -9, 29, 111, 111, 29, -9, -3]) / 256
    mirrored = np.array([2, 1, 0, 0, 1, 2, 3, 4, 5, 6, 7, 7, 6, 5])  # of cells 0 to 7, three beyond each end
    line = np.array([3.0, 1, 4, 1, 5, 9, 2, 6])
    expected = [weights @ line[mirrored[i : i + 8]] for i in (0, 2, 4, 6)]
    np.testing.assert_allclose(imresize(np.tile(line, (8, 1)), (4, 4))[1], expected, atol=1e-12)


def test_imresize_enlarges_as_the_package_does():
    """Made finer, cells away from the edge are those of cubic convolution."""
    field = photo(12, 15)
    np.testing.assert_allclose(make_fine(field, 3)[6:-6, 6:-6], resample(field, 3, "cubic")[6:-6, 6:-6], atol=1e-10)


def test_luma():
    """White and black are 235 and 16, green counts most; grey images stay as they are."""
    colours = np.array([[[255.0, 255, 255], [0, 0, 0], [0, 255, 0]]])
    assert to_luma(colours).tolist() == [[235, 16, 145]]
    grey = photo(3, 4)
    assert to_luma(grey) is grey


def test_rescaled_images_are_whole_levels_and_rounded_up_in_size():
    """Seven cells at 0.6 are five."""
    smaller = rescale(photo(7, 10), 0.6)
    assert smaller.shape == (5, 6)
    assert (smaller == np.round(smaller)).all()


# Scores


def test_psnr_by_hand():
    """An error of one grey level everywhere is 48.13 dB; the border and fractions of levels do not count."""
    truth = photo(20, 20)
    result = truth + 1.2
    result[:3] = 0
    assert psnr(truth, result, 3) == pytest.approx(20 * np.log10(255))


def test_ssim_is_that_of_scikit_image():
    """Within whole windows, by an implementation of others."""
    truth, result = photo(40, 50), np.round(photo(40, 50, seed=1))
    _, everywhere = structural_similarity(
        truth, result, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255, full=True
    )
    assert ssim(truth, result, 0) == pytest.approx(everywhere[5:-5, 5:-5].mean(), abs=1e-6)


# Patches


@pytest.mark.parametrize("mirror", [False, True])
def test_patches_are_coarse_and_fine_of_one_place(mirror):
    """Turned and mirrored alike: block means of the fine patch are the coarse one."""
    patches = Patches([photo(40, 50)], 3, block_mean, patch=6, halo=2, padding="replicate", batch=9, mirror=mirror)
    coarse, fine = patches.draw(4)
    assert coarse.shape == (9, 1, 10, 10)
    assert fine.shape == (9, 1, 18, 18)
    means = np.stack([block_mean(each, 3) for each in fine[:, 0].double().numpy()])
    np.testing.assert_allclose(means, coarse[:, 0, 2:-2, 2:-2].numpy(), atol=1e-6)
    again = Patches([photo(40, 50)], 3, block_mean, patch=6, halo=2, padding="replicate", batch=9, mirror=mirror)
    assert torch.equal(again.draw(4)[0], coarse)
    assert not torch.equal(patches.draw(5)[0], coarse)


def test_augmentation_is_the_papers():
    """Five sizes of each image; with four turns each, 20-fold."""
    sizes = [each.shape for each in augment([photo(100, 50)])]
    assert sizes == [(100, 50), (90, 45), (80, 40), (70, 35), (60, 30)]


def test_too_small_images_are_told():
    with pytest.raises(SystemExit, match="no field has 30 x 30 coarse cells"):
        Patches([photo(40, 50)], 3, block_mean, patch=30, halo=0, padding="zeros", batch=1)


# Networks


@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("form", [{}, {"d": 32, "s": 5, "m": 1}, {"pad_layers": False, "padding": "replicate"}])
def test_a_network_that_carries_its_input_starts_at_interpolation(factor, form):
    """Of the paper's graph nothing is changed; its first channel alone interpolates linearly."""
    model = make_network(Settings(factor=factor, initial="carry", network=form))
    with torch.no_grad():
        model.deconvolution.weight[:, 1:] = 0
    field = photo(20, 24)
    found, expected = upscale_with(model)(field), resample(field, factor, "bilinear")
    inner = slice(8 * factor, -8 * factor)
    np.testing.assert_allclose(found[inner, inner], expected[inner, inner], atol=1e-3)


@pytest.mark.parametrize(
    "form", [{}, {"pad_layers": False, "padding": "reflect"}, {"kernels": [9, 1, 5]}], ids=["paper", "reflect", "SRCNN"]
)
def test_what_is_scored_is_what_was_trained(form):
    """The engine gives what the trained network gives for the whole image, padded as its patches are."""
    network = make_network(Settings(network=form, initial="carry"))
    field = photo(30, 37)
    padded = torch.from_numpy(pad(field / 255, network.halo, padding_of(network)).astype(np.float32))
    with torch.no_grad():
        expected = network(padded[None, None])[0, 0] * 255
    np.testing.assert_allclose(upscale_with(network)(field), expected, atol=2e-3)


def test_linear_stages_have_no_activation_and_stay_so():
    """A network whose stages are all linear answers twice the field, less its biases, with twice the result."""
    settings = Settings(linear=("feature", "shrink", "mapping", "expand"), steps=3, batch=2, patch=6)
    model = train(make_network(settings), [photo(60, 60)], settings).model
    slopes = [weight for name, weight in model.named_parameters() if "prelu" in name]
    assert all((slope == 1).all() for slope in slopes)
    x = torch.rand(1, 1, 9, 9)
    zero = model(torch.zeros_like(x))
    torch.testing.assert_close(model(2 * x) - zero, 2 * (model(x) - zero), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("form", [{"n1": 8, "n2": 4, "kernels": [9, 1, 5]}, {"d": 6, "s": 4, "m": 1}])
def test_training_lowers_the_loss(form):
    """A hundred steps on one image bring its loss down, whichever network learns; the curve says when."""
    settings = Settings(network=form, initial="carry", steps=100, batch=2, patch=10, learning_rate=3e-3, ema=0.9)
    seen = []
    result = train(make_network(settings), [photo(60, 60)], settings, every=50, tell=seen.append)
    assert [point["step"] for point in result.curve] == [50, 100]
    assert result.curve == seen
    assert result.curve[1]["loss"] < result.curve[0]["loss"]


def test_frozen_networks_learn_in_the_deconvolution_alone():
    settings = Settings(frozen=True, steps=3, batch=2, patch=6)
    model = make_network(settings)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    after = train(model, [photo(40, 40)], settings).model.state_dict()
    changed = {name.split(".")[0] for name, weight in after.items() if not torch.equal(weight, before[name])}
    assert changed == {"deconvolution"}


@pytest.mark.parametrize(("padding", "mode"), [("replicate", "edge"), ("zeros", "constant"), ("reflect", "reflect")])
def test_edges(padding, mode):
    np.testing.assert_array_equal(pad(photo(4, 5), 2, padding), np.pad(photo(4, 5), 2, mode=mode))


# Runs


def test_runs_are_expanded_by_domain_and_seed(tmp_path):
    (tmp_path / "a.toml").write_text(
        'base = { steps = 7, seeds = [0, 1], domains = ["images", "grids"] }\n'
        '[[run]]\nname = "one"\n[[run]]\nname = "two"\nseeds = [3]\ndomains = ["images"]\nsteps = 9\n'
    )
    runs = read_runs(tmp_path / "a.toml")
    assert [run.name for run in runs] == ["one images#0", "one images#1", "one grids#0", "one grids#1", "two"]
    assert [run.settings.steps for run in runs] == [7, 7, 7, 7, 9]
    assert runs[4].settings.seed == 3


def test_results_of_other_settings_do_not_count(tmp_path):
    (tmp_path / "a.toml").write_text('[[run]]\nname = "one"\nsteps = 7\n')
    (run,) = read_runs(tmp_path / "a.toml")
    results = Results(tmp_path / "deep" / "a.json")
    results.put(run, {"errors": 1})
    assert Results(results.path).has(run)
    (tmp_path / "a.toml").write_text('[[run]]\nname = "one"\nsteps = 8\n')
    assert not Results(results.path).has(read_runs(tmp_path / "a.toml")[0])


def test_unknown_settings_are_told(tmp_path):
    (tmp_path / "a.toml").write_text('[[run]]\nname = "one"\nstep = 7\n')
    with pytest.raises(SystemExit, match="unknown settings: step"):
        read_runs(tmp_path / "a.toml")


def test_trimming():
    assert trim(photo(10, 11), 3).shape == (9, 9)
