"""What the feature layer extracts: filters of FSRCNN and of `default` beside random ones, and answers to three fields.

    python studies/paper.py DIR --only "FSRCNN x3"    # whose weights are looked at
    python studies/features.py DIR

Each filter is described by its spectrum: where along x and y it is strongest (`wavelength` in coarse cells and
`orientation`), and how much of its power lies along that orientation (`directional`, 1 is all). Pictures are drawn
beside the page, docs/studies/features.md.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import rasterio
import torch
import torch.nn.functional as F
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from PIL import Image

from geofsrcnn.networks.checkpoint import load_checkpoint
from geofsrcnn.networks.config import FSRCNNConfig
from geofsrcnn.networks.fsrcnn import FSRCNN
from geofsrcnn.values.blocks import block_mean
from protocol.images import Array
from protocol.runs import HERE
from protocol.tables import table
from protocol.training import PAPER_FORM, take_over

FIELDS = {
    "terrain": ("validation/elevation/jacksboro.tif", 1),
    "satellite band": ("validation/imagery/olinda_landsat7.tif", 1),
    "temperature": ("validation/temperature/hadgem2_preindustrial.tif", 1),
}
"""Rasters and bands that the filters are shown, made three times coarser."""

DIRECTIONAL = 0.3
"""Share of a filter's power from which on it has a direction."""

LEVEL = 0.3
"""Cosine between a filter and a constant from which on it sees how high a field is."""

RANDOM = 2000
"""Random filters that trained ones are compared with."""

PICTURES = HERE.parent / "docs" / "studies"
SPECTRUM = 64
"""Frequencies along one axis."""


def describe(kernel: Array) -> dict[str, float]:
    """Describe a filter ``(k, k)`` by its power spectrum.

    Returns
    -------
    dict
        ``wavelength`` in coarse cells at the spectrum's mean frequency; ``orientation`` in degrees, the direction
        across which it changes, counter-clockwise from x; ``directional``, 0 to 1, how much its power keeps to it;
        ``level``, 0 to 1, the cosine between it and a constant.
    """
    power = np.abs(np.fft.fftshift(np.fft.fft2(kernel, (SPECTRUM, SPECTRUM)))) ** 2
    along = np.fft.fftshift(np.fft.fftfreq(SPECTRUM))
    y, x = np.meshgrid(-along, along, indexing="ij")  # rows count downwards
    total = power.sum()
    # directions d and d + 180 degrees are the same: their doubled angles are averaged
    doubled = (power * np.exp(2j * np.arctan2(y, x))).sum() / total
    frequency = float((power * np.hypot(x, y)).sum() / total)
    return {
        "wavelength": 1 / frequency,
        "orientation": float(np.degrees(np.angle(doubled)) / 2 % 180),
        "directional": float(abs(doubled)),
        "level": float(abs(kernel.mean()) / np.sqrt((kernel**2).mean())),
    }


def filters_of(model: FSRCNN) -> Array:
    """Give the filters of a network's first layer, ``(d, k, k)``."""
    filters: Array = model.feature_filters().detach().double().numpy()[:, 0]
    return filters


def random_filters(size: int, *, planes: bool) -> Array:
    """Draw filters of normal noise ``(n, k, k)``; without planes, what a plane through them explains is taken off."""
    noise = np.random.default_rng(0).normal(size=(RANDOM, size * size))
    if not planes:
        y, x = np.mgrid[:size, :size] - size // 2
        basis, _ = np.linalg.qr(np.stack([np.ones(size * size), x.ravel(), y.ravel()], 1))
        noise -= noise @ basis @ basis.T
    return noise.reshape(RANDOM, size, size)


def count(filters: Array) -> dict[str, Any]:
    """Count what filters ``(d, k, k)`` have in common."""
    found = [describe(each) for each in filters]
    return {
        "count": len(found),
        "directional": sum(each["directional"] >= DIRECTIONAL for each in found),
        "level": sum(each["level"] >= LEVEL for each in found),
        "wavelength": float(np.median([each["wavelength"] for each in found])),
    }


def read_coarse(data: Path, name: str, factor: int) -> Array:
    """Read one of `FIELDS`, made coarser by block means, less its mean, in units of its standard deviation."""
    path, band = FIELDS[name]
    with rasterio.open(data / path) as source:
        values = source.read(band).astype(np.float64)
        values = values if source.transform.e < 0 else values[::-1]  # north up
    coarse = block_mean(values[: values.shape[0] // factor * factor, : values.shape[1] // factor * factor], factor)
    scaled: Array = (coarse - coarse.mean()) / coarse.std()
    return scaled


def responses(model: FSRCNN, field: Array) -> Array:
    """Give what each feature channel answers to a field ``(y, x)``, before its activation: ``(d, y - 4, x - 4)``."""
    with torch.no_grad():
        x = torch.from_numpy(field)[None, None].double()
        answer: Array = F.conv2d(x, model.feature_filters().double())[0].numpy()
    return answer


def measure(paper: FSRCNN, default: FSRCNN) -> dict[str, Any]:
    """Describe the filters of both, beside random ones."""
    size = paper.config.feature_kernel
    return {
        "default": [describe(each) for each in filters_of(default)],
        "counts": {
            "FSRCNN": count(filters_of(paper)),
            "random": count(random_filters(size, planes=True)),
            "`default`": count(filters_of(default)),
            "random, less planes": count(random_filters(size, planes=False)),
        },
    }


def draw_filters(filters: Array, path: Path) -> None:
    """Draw all filters, the directional ones first, by orientation."""
    facts = [describe(each) for each in filters]
    order = sorted(range(len(filters)), key=lambda i: (facts[i]["directional"] < DIRECTIONAL, facts[i]["orientation"]))
    columns = 16
    rows = -(-len(filters) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(columns * 0.6, rows * 0.72), squeeze=False)
    for axis, i in zip(axes.flat, order, strict=False):
        limit = np.abs(filters[i]).max()
        axis.imshow(filters[i], cmap="RdBu_r", vmin=-limit, vmax=limit)
        shown = facts[i]["directional"] >= DIRECTIONAL
        axis.set_title(f"{facts[i]['orientation']:.0f}°" if shown else "spot", fontsize=7, pad=2)
    for axis in axes.flat:
        axis.set_axis_off()
    figure.tight_layout(pad=0.3)
    _save(figure, path, 130)


def draw_answers(model: FSRCNN, data: Path, path: Path) -> None:
    """Draw each field beside what its strongest filters answer."""
    shown = 4
    figure, axes = plt.subplots(len(FIELDS), shown + 1, figsize=(11, 2.3 * len(FIELDS)), squeeze=False)
    filters = filters_of(model)
    for row, name in zip(axes, FIELDS, strict=True):
        field = read_coarse(data, name, model.config.factor)
        answer = responses(model, field)
        row[0].imshow(field, cmap="viridis")
        row[0].set_title(name, fontsize=9)
        for axis, i in zip(row[1:], strongest(answer, filters, shown), strict=True):
            limit = float(np.quantile(np.abs(answer[i]), 0.99))
            axis.imshow(answer[i], cmap="RdBu_r", vmin=-limit, vmax=limit)
            fact = describe(filters[i])
            word = f"{fact['orientation']:.0f}°" if fact["directional"] >= DIRECTIONAL else "spot"
            axis.set_title(f"filter {i}, {word}", fontsize=9)
    for axis in axes.flat:
        axis.set_axis_off()
    figure.tight_layout(pad=0.4)
    _save(figure, path, 80)


def _save(figure: Figure, path: Path, dpi: int) -> None:
    """Save a picture with few colours: a tenth of the bytes."""
    figure.savefig(path, dpi=dpi)
    plt.close(figure)
    with Image.open(path) as image:
        image.convert("RGB").quantize(64).save(path, optimize=True)


def strongest(answer: Array, filters: Array, count: int) -> list[int]:
    """Number the filters that answer most strongly, no two of them alike."""
    flat = filters.reshape(len(filters), -1)
    flat = flat / np.linalg.norm(flat, axis=1, keepdims=True)
    chosen: list[int] = []
    for i in np.argsort(-answer.std(axis=(1, 2))):
        if all(abs(float(flat[i] @ flat[j])) < 0.6 for j in chosen):
            chosen.append(int(i))
    return chosen[:count]


def facts(results: Mapping[str, Any]) -> dict[str, Any]:
    """Gather what the study's page says."""
    directional = [each["orientation"] for each in results["default"] if each["directional"] >= DIRECTIONAL]
    angles = {"x": (0, 180), "rising": (45,), "y": (90,), "falling": (135,)}
    return {
        "table": table(
            ["filters of 5 x 5 cells", "with a direction", "that see the level", "median wavelength"],
            [
                [
                    name,
                    f"{each['directional']:,} of {each['count']:,} ({each['directional'] / each['count']:.0%})",
                    f"{each['level'] / each['count']:.0%}",
                    f"{each['wavelength']:.1f}",
                ]
                for name, each in results["counts"].items()
            ],
        ),
        "count": len(results["default"]),
        "directional": len(directional),
        "near": {
            name: sum(min(abs(each - angle) for angle in there) <= 22.5 for each in directional)
            for name, there in angles.items()
        },
    }


def main(arguments: list[str] | None = None) -> None:
    """Measure, draw, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with validation/")
    parser.add_argument("--results", type=Path, default=HERE / "results" / "features.json")
    parser.add_argument("--weights", type=Path, default=HERE / "weights" / "paper" / "FSRCNN x3.safetensors")
    parser.add_argument("--pictures", type=Path, default=PICTURES)
    options = parser.parse_args(arguments)
    mpl.use("Agg")
    paper = FSRCNN(FSRCNNConfig(factor=3, **PAPER_FORM))
    take_over(paper, options.weights)
    default = load_checkpoint("default", 3).model
    for folder in (options.results.parent, options.pictures):
        folder.mkdir(parents=True, exist_ok=True)
    options.results.write_text(json.dumps(measure(paper, default), indent=1) + "\n")
    draw_filters(filters_of(paper), options.pictures / "features-paper.png")
    draw_filters(filters_of(default), options.pictures / "features-filters.png")
    draw_answers(default, options.data, options.pictures / "features-answers.png")


if __name__ == "__main__":
    main()
