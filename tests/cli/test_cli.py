"""The command line: exit codes, one line an error, no network, and what it prints."""

from __future__ import annotations

import http.server
import json
import os
import re
import subprocess
import sys
import sysconfig
import threading
from pathlib import Path

import numpy as np
import pytest

from geofsrcnn import __version__, upscale_array, upscale_file
from geofsrcnn.errors import UsageError
from geofsrcnn.networks.checkpoint import Card, save_checkpoint
from tests.support import processes
from tests.support.networks import TINY, random_model
from tests.support.rasters import NOWHERE, created, opened, read, state, terrain, write

SCRIPTS = Path(sysconfig.get_path("scripts"))


@pytest.fixture
def source(tmp_path) -> Path:
    """A small raster."""
    (tmp_path / "in").mkdir()
    return write(tmp_path / "in" / "coarse.tif", terrain((20, 24), low=5, high=9).astype("float32"))


@pytest.fixture
def output(tmp_path) -> Path:
    """An output name in a folder of its own."""
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "fine.tif"


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A checkpoint of factor 3."""
    path = tmp_path_factory.mktemp("model") / "random.safetensors"
    save_checkpoint(path, random_model(0, **TINY), Card(name="random"))
    return path


class Requests:
    """A loopback HTTP server that counts requests."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.seen.append(self.path)
                self.send_error(404)

            do_HEAD = do_PROPFIND = do_POST = do_PUT = do_GET  # noqa: N815  names that http.server looks for

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def close(self) -> None:
        """Stop serving."""
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture(scope="module")
def web():
    """A server that must not be asked anything."""
    server = Requests()
    yield server
    server.close()


# -------------------------------------------------------------------------------------------------- no network

NAMES = {
    "http://127.0.0.1:{port}/x.tif": 7,
    "https://127.0.0.1:{port}/x.tif": 7,
    "ftp://127.0.0.1:{port}/x.tif": 7,
    "s3://bucket/x.tif": 7,
    "/vsicurl/http://127.0.0.1:{port}/x.tif": 7,
    "/vsicurl?url=http%3A%2F%2F127.0.0.1%3A{port}%2Fx.tif": 7,
    "/vsicurl_streaming/http://127.0.0.1:{port}/x.tif": 7,
    "/vsizip//vsicurl/http://127.0.0.1:{port}/x.zip/x.tif": 7,
    "vrt:///vsicurl/http://127.0.0.1:{port}/x.tif": 7,
    'NETCDF:"http://127.0.0.1:{port}/x.nc":v': 7,
    "NETCDF:f:v": 3,
    "WMS:127.0.0.1:{port}": 3,
    "WMTS:127.0.0.1:{port}": 3,
    "DERIVED_SUBDATASET:LOGAMPLITUDE:/vsicurl": 3,
    "<GDAL_WMS><Service name='TMS'><ServerUrl>http</ServerUrl></Service></GDAL_WMS>": 3,
    "-": 3,
}


@pytest.mark.parametrize("name", NAMES)
def test_no_name_reaches_the_network(web, tmp_path, name):
    """URLs, GDAL's network names, drivers' names, inline XML and ``-`` are refused in one line, without a request."""
    before = len(web.seen)
    done = processes.run("upscale", name.format(port=web.port), tmp_path / "y.tif", "-m", "nearest", cwd=str(tmp_path))
    message = done.refused(NAMES[name])
    assert "remote input is not allowed" in message or "not " in message or "no such file" in message
    assert web.seen[before:] == []
    assert list(tmp_path.iterdir()) == []


SOURCES = [
    "/vsicurl/http://127.0.0.1:{port}/x.tif",
    "/vsicurl_streaming/http://127.0.0.1:{port}/x.tif",
    "http://127.0.0.1:{port}/x.tif",
    "/vsiwebhdfs/http://127.0.0.1:{port}/webhdfs/v1/x.tif",
    "&lt;GDAL_WMS&gt;&lt;Service name='TMS'&gt;&lt;ServerUrl&gt;http://127.0.0.1:{port}/x&lt;/ServerUrl&gt;",
]


@pytest.mark.parametrize("inner", SOURCES)
@pytest.mark.parametrize("driver", [None, "VRT"])
def test_no_vrt_reaches_the_network(web, tmp_path, output, inner, driver):
    """A VRT under a TIFF's name is refused; one that is asked for by name reads files only, never the network."""
    before = len(web.seen)
    source = tmp_path / "x.tif"
    source.write_text(
        '<VRTDataset rasterXSize="4" rasterYSize="4"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
        f'<SourceFilename relativeToVRT="0">{inner.format(port=web.port)}</SourceFilename><SourceBand>1</SourceBand>'
        "</SimpleSource></VRTRasterBand></VRTDataset>"
    )
    more = [] if driver is None else ["--driver", driver]
    done = processes.run("upscale", source, output, "-m", "nearest", *more)
    assert done.code == 3
    if driver is None:
        assert "it starts with '<VRTDataset" in done.refused(3)
    assert web.seen[before:] == []
    assert not output.exists()


def test_python_in_a_vrt_does_not_run(tmp_path, output, source):
    """A VRT with a pixel function in Python does not run it, even if it is asked for by name."""
    vrt = tmp_path / "x.vrt"
    ran = tmp_path / "ran"
    vrt.write_text(
        '<VRTDataset rasterXSize="20" rasterYSize="20"><VRTRasterBand dataType="Float32" band="1" '
        'subClass="VRTDerivedRasterBand"><PixelFunctionType>f</PixelFunctionType>'
        "<PixelFunctionLanguage>Python</PixelFunctionLanguage><PixelFunctionCode><![CDATA[\n"
        f"def f(*args, **kwargs):\n    open({str(ran)!r}, 'w')\n]]></PixelFunctionCode>"
        f"<SimpleSource><SourceFilename>{source}</SourceFilename><SourceBand>1</SourceBand></SimpleSource>"
        "</VRTRasterBand></VRTDataset>"
    )
    done = processes.run(
        "upscale", vrt, output, "-m", "nearest", "--driver", "VRT", env={"GDAL_VRT_ENABLE_PYTHON": "YES"}
    )
    assert done.code == 3
    assert not ran.exists()
    assert not output.exists()


def test_the_server_would_have_seen_a_request(web):
    """The loopback server counts what reaches it."""
    import urllib.error
    import urllib.request

    before = len(web.seen)
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"http://127.0.0.1:{web.port}/probe")
    assert web.seen[before:] == ["/probe"]


# ------------------------------------------------------------------------------------------------ exit codes

IN, OUT, MODEL = "{source}", "{output}", "{model}"
CLASSICAL = ("-m", "bilinear")
WRONG: dict[str, tuple[int, tuple[str, ...], str]] = {
    "no command": (2, (), ""),
    "unknown command": (2, ("polish",), "No such command 'polish'"),
    "unknown option": (2, ("upscale", IN, OUT, "--faktor", "3"), "No such option"),
    "no output": (2, ("upscale", IN), "Missing argument 'OUTPUT'"),
    **{
        f"factor {f}": (2, ("upscale", IN, OUT, "-f", f), "is not a whole number from 2 to 8")
        for f in ("0", "1", "-2", "2.5", "nan", "1000", "inf", "1e1", "x", "")
    },
    "tile below halo": (
        2,
        ("upscale", IN, OUT, "-m", "lanczos-bp", "--tile-size", "3"),
        "tile size 3 is below the halo",
    ),
    "tile 0": (2, ("upscale", IN, OUT, *CLASSICAL, "--tile-size", "0"), "0 is not in the range"),
    "threads 0": (2, ("upscale", IN, OUT, *CLASSICAL, "--threads", "0"), "0 is not in the range"),
    "precision": (2, ("upscale", IN, OUT, *CLASSICAL, "--precision", "float8"), "is not one of"),
    "device": (2, ("upscale", IN, OUT, *CLASSICAL, "--device", "abacus"), "no device 'abacus' here"),
    "device on two lines": (2, ("upscale", IN, OUT, *CLASSICAL, "--device", "a\nb"), r"no device 'a\\x0ab' here"),
    "dtype": (2, ("upscale", IN, OUT, *CLASSICAL, "--dtype", "complex64"), "type 'complex64' cannot be written"),
    "range upside down": (2, ("upscale", IN, OUT, *CLASSICAL, "--range", "2", "1"), "a smaller and a larger number"),
    "range nan": (2, ("upscale", IN, OUT, *CLASSICAL, "--range", "nan", "1"), "a smaller and a larger number"),
    "range one": (2, ("upscale", IN, OUT, *CLASSICAL, "--range", "1"), "requires 2 arguments|Invalid value|takes 2"),
    "overshoot 2": (2, ("upscale", IN, OUT, "--overshoot", "2"), "'2' is not a number from 0 to 1, nor none"),
    "overshoot batch": (
        2,
        ("batch", IN, "-o", "{folder}", "--overshoot", "all"),
        "is not a number from 0 to 1, nor none",
    ),
    "bounds nan": (
        2,
        ("upscale", IN, OUT, *CLASSICAL, "--bounds", "nan", "0", "1", "1"),
        "--bounds must be four numbers",
    ),
    "bounds inf": (
        2,
        ("upscale", IN, OUT, *CLASSICAL, "--bounds", "0", "0", "inf", "1"),
        "--bounds must be four numbers",
    ),
    "bounds empty": (
        2,
        ("upscale", IN, OUT, *CLASSICAL, "--bounds", "5", "0", "5", "1"),
        "--bounds must be four numbers",
    ),
    "bounds elsewhere": (
        3,
        ("upscale", IN, OUT, *CLASSICAL, "--bounds", "0", "0", "1", "1"),
        "do not meet the raster's",
    ),
    "band 0": (2, ("upscale", IN, OUT, *CLASSICAL, "-b", "0"), "is not a list of bands"),
    "band x": (2, ("upscale", IN, OUT, *CLASSICAL, "-b", "1,x"), "is not a list of bands"),
    "band 9": (2, ("upscale", IN, OUT, *CLASSICAL, "-b", "9"), "no band 9 in coarse.tif: it has 1"),
    "band twice": (2, ("upscale", IN, OUT, *CLASSICAL, "-b", "1,1"), "band given twice"),
    "co": (2, ("upscale", IN, OUT, *CLASSICAL, "--co", "TILED"), "is not KEY=VALUE"),
    "co driver": (2, ("upscale", IN, OUT, *CLASSICAL, "--co", "driver=PNG"), "creation option DRIVER is not yours"),
    "co lossy": (2, ("upscale", IN, OUT, *CLASSICAL, "--co", "COMPRESS=JPEG"), "COMPRESS=JPEG changes the values"),
    "nodata": (2, ("upscale", IN, OUT, *CLASSICAL, "--nodata", "x"), "is not a valid float"),
    "max-pixels 0": (2, ("upscale", IN, OUT, *CLASSICAL, "--max-pixels", "0"), "0 is not in the range"),
    "in is out": (2, ("upscale", IN, IN, *CLASSICAL), "output is the input: .*: give another name"),
    "driver": (2, ("upscale", IN, OUT, *CLASSICAL, "--driver", "WMS"), "driver WMS is not opened"),
    "missing input": (3, ("upscale", "nowhere.tif", OUT, *CLASSICAL), "no such file: nowhere.tif"),
    "folder as input": (3, ("upscale", "{folder}", OUT, *CLASSICAL), "a folder, neither a GeoTIFF nor a Zarr group"),
    "empty input name": (3, ("upscale", "", OUT, *CLASSICAL), "not a file name"),
    "no such model": (4, ("upscale", IN, OUT, "-m", "best"), "no model 'best' in the package"),
    "model of another factor": (4, ("upscale", IN, OUT, "-m", MODEL, "-f", "2"), "model random is for factor 3, not 2"),
    "no such model file": (4, ("upscale", IN, OUT, "-m", "m.safetensors"), "no such file: m.safetensors"),
    "folder as output": (5, ("upscale", IN, "{folder}", *CLASSICAL), "output is a folder"),
    "no output folder": (5, ("upscale", IN, "{folder}/a/b.tif", *CLASSICAL), "output folder is missing"),
    "long output name": (5, ("upscale", IN, "{folder}/" + "x" * 256, *CLASSICAL), "longer than 255 bytes"),
    "output exists": (5, ("upscale", IN, "{other}", *CLASSICAL), "output exists: .*: use --overwrite"),
    "max-pixels": (
        6,
        ("upscale", IN, OUT, *CLASSICAL, "--max-pixels", "4319"),
        "has 4320 cells, more than --max-pixels 4319 allows",
    ),
    "remote model": (7, ("upscale", IN, OUT, "-m", "https://127.0.0.1:9/m.safetensors"), "remote input is not allowed"),
    "info group of a raster": (2, ("info", IN, "--group", "a"), "--group is for NetCDF and Zarr"),
    "info factor of a raster": (2, ("info", IN, "-f", "3"), "--factor is for models"),
    "info driver of a model": (2, ("info", "small", "--driver", "HFA"), "--driver is for files"),
    "info missing": (3, ("info", "nowhere.tif"), "no such file"),
    "info model": (4, ("info", "nothing"), "no model 'nothing' in the package"),
    "info driver": (2, ("info", IN, "--driver", "WCS"), "driver WCS is not opened"),
    "train nothing": (
        2,
        ("train", "-f", "3", "-o", "{folder}/m.safetensors"),
        "nothing to train on: give FINE files",
    ),
    "train on pairs": (2, ("train", IN, "--coarse", IN), "--coarse is for pairs of .* fields: use train-pairs"),
    "train no factor": (2, ("train", IN, "-o", "{folder}/m.safetensors"), "Missing option '--factor'"),
    "train suffix": (2, ("train", IN, "-f", "3", "-o", "{folder}/m.pt"), "must end in .safetensors"),
    "train rate": (
        2,
        ("train", IN, "-f", "3", "-o", "{folder}/m.safetensors", "--learning-rate", "nan"),
        "--learning-rate must be positive, got nan",
    ),
    "train steps": (2, ("train", IN, "-f", "3", "-o", "{folder}/m.safetensors", "--steps", "0"), "not in the range"),
    "train minutes": (
        2,
        ("train", IN, "-f", "3", "-o", "{folder}/m.safetensors", "--minutes", "-1"),
        "must be positive",
    ),
    "train seed": (
        2,
        ("train", IN, "-f", "3", "-o", "{folder}/m.safetensors", "--seed", "-1"),
        "-1 is not in the range",
    ),
    "train share": (2, ("train", IN, "-f", "3", "-o", "{folder}/m.safetensors", "--hold-out", "1"), "between 0 and 1"),
    "train out": (5, ("train", IN, "-f", "3", "-o", "{folder}/none/m.safetensors"), "output folder is missing"),
    "train input": (3, ("train", "nowhere.tif", "-f", "3", "-o", "{folder}/m.safetensors"), "no such file"),
    "train start": (
        4,
        (
            "train",
            "{big}",
            "-f",
            "3",
            "-o",
            "{folder}/m.safetensors",
            "--patch",
            "4",
            "--size",
            "small",
            "--start",
            "no",
        ),
        "no model 'no'",
    ),
    "train log": (
        5,
        ("train", "{big}", "-f", "3", "-o", "{folder}/m.safetensors", "--patch", "4", "--log", "{folder}/no/log.jsonl"),
        "output folder is missing: .*/no: make it first",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_usage(tmp_path, source, output, model, name):
    """Each wrong usage: its exit code, one line on stderr, no traceback, no output, nothing changed."""
    code, line, words = WRONG[name]
    folder, other = tmp_path / "folder", tmp_path / "other.tif"
    folder.mkdir()
    other.write_bytes(b"old")
    big = write(tmp_path / "big.tif", terrain((160, 170)).astype("float32")) if "{big}" in line else None
    names = {"source": source, "output": output, "model": model, "folder": folder, "other": other, "big": big}
    before = state(source)
    done = processes.run(*(part.format(**names) for part in line), cwd=str(tmp_path))
    if name == "no command":
        assert done.code == 2
        assert "Traceback" not in done.err
    else:
        message = done.refused(code)
        assert re.search(words, message), message
        assert message.isprintable()
    assert (state(source), other.read_bytes()) == (before, b"old")
    assert list(output.parent.iterdir()) == list(folder.iterdir()) == []


def test_options_are_checked_before_any_file(tmp_path):
    """A wrong option is reported even if the input does not exist: nothing was opened."""
    for more in (
        ["-f", "9"],
        ["--range", "1", "0"],
        ["--tile-size", "0"],
        ["--dtype", "x"],
        ["--bounds", "0", "0", "0", "nan"],
    ):
        processes.run("upscale", "nowhere.tif", tmp_path / "y.tif", *CLASSICAL, *more).refused(2)


RASTERS = (
    *("--steps 0", "--steps -1", "--steps 2.5", "--batch-size 0"),
    *("--patch 3", "--learning-rate nan", "--learning-rate inf", "--learning-rate 0"),
    *("--last-layer-lr-ratio nan", "--last-layer-lr-ratio 0", "--charbonnier-eps nan", "--weight-decay nan"),
    *("--weight-decay 1", "--minutes 0", "--minutes nan"),
    *("--minutes inf", "--save-minutes nan", "--save-minutes 0", "--hold-out 0", "--hold-out 1", "--hold-out nan"),
    *("--blur nan", "--mix 2", "--balance -1", "--teacher-weight nan"),
    *("--pyramid-levels 7", "--frozen -1", "--patience -1"),
    *("--freeze top", "--freeze ,", "--freeze feature,shrink,mapping,expand,deconvolution,skip", "--lr-schedule up"),
    *("--precision half", "--seeds 0", "--seeds -1", "--seed -1", "--seed 1.5", "--factor nan", "--factor 1000"),
    *("--steps 9 --minutes 1", "--hold-out 0.5 -v nowhere.tif", "--members 2", "--dropout 0.1", "--until 2000-01-01"),
    *("--curves c.jpg", "--out ..", "--log ..", "--curves .", "--tensorboard ..", "--card ..", "--start .."),
)
PAIRS = (
    *("--dropout 1", "--dropout nan", "--dropout -0.1", "--members 0", "--members 1000", "--size small", "--blur 0.1"),
    *("--until 2000", "--until 2000-13-01", "--until 2000-01-32", "--until x", "--limits t=1", "--limits t=nan:1"),
    *("--limits t=1:1", "--limits t=2:1", "--limits t", "--limits =0:1", "--targets ,", "--predictors a,,b"),
    *("--validation nowhere.tif", "--hold-out 0.2", "--start nowhere"),
    *("--steps 0", "--minutes nan", "--learning-rate nan"),
    *("--static ..", "--transform t=cube", "--base mean", "--steps 9 --minutes 1"),
)


@pytest.mark.parametrize("more", RASTERS)
def test_options_of_training_are_checked_before_any_file(tmp_path, more):
    """A wrong option is a usage error although no raster is there: nothing was opened, nothing is left."""
    line = ("train", "nowhere.tif", "-f", "3", "-o", "m.safetensors", *more.split())
    processes.run(*line, cwd=str(tmp_path)).refused(2)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("more", PAIRS)
def test_options_of_pairs_are_checked_before_any_file(tmp_path, more):
    """The same for pairs."""
    line = ("train-pairs", "nowhere.nc", "--coarse", "no.nc", "-f", "3", "-o", "m.safetensors", "--until", "2000-01-01")
    processes.run(*line, *more.split(), cwd=str(tmp_path)).refused(2)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("option", ["--fine", "--out", "--log", "--curves", "--tensorboard", "--card", "--start"])
def test_empty_names_are_refused(tmp_path, option):
    """An empty name is a usage error that names the option."""
    line = ("train", "nowhere.tif", "-f", "3", "-o", "m.safetensors", option, "")
    assert f"{option} needs the name of a file, got ''" in processes.run(*line, cwd=str(tmp_path)).refused(2)


def test_debug_shows_the_traceback(tmp_path, source):
    """--debug adds the traceback with its causes; the last line stays the error."""
    source.write_bytes(source.read_bytes()[:500])
    done = processes.run("upscale", source, tmp_path / "y.tif", *CLASSICAL, "--debug")
    assert done.code == 3
    assert "Traceback (most recent call last):" in done.err
    assert "direct cause of the following exception" in done.err
    assert done.err.splitlines()[-1] == done.errors[0]
    assert len(done.errors) == 1


def test_a_defect_is_one_line_too(source, output):
    """An exception of ours is exit 1 in one line, with a traceback only for --debug; nothing is left."""
    prelude = "import geofsrcnn.engine.run as p\ndef run(*_, **__):\n    raise KeyError('x')\np.run = run"
    message = processes.run("upscale", source, output, *CLASSICAL, prelude=prelude).refused(1)
    assert message == "internal error: KeyError: 'x': please report it with --debug"
    assert list(output.parent.iterdir()) == []
    done = processes.run("upscale", source, output, *CLASSICAL, "--debug", prelude=prelude)
    assert done.code == 1
    assert "Traceback" in done.err


# ---------------------------------------------------------------------------------------------------- output


def test_a_run_prints_one_line(source, output):
    """The summary is one line on stdout, nothing on stderr; the file is the array's result bit for bit."""
    done = processes.run("upscale", source, output, "-m", "lanczos-bp", end=True)
    assert (done.code, done.err) == (0, "")
    assert re.fullmatch(
        rf"{output}: 20 x 24 -> 60 x 72, 1 band, [\d.]+ KiB; lanczos-bp on cpu, [\d.]+ s, [\d.]+ million cells a "
        r"second, peak memory [\d.]+ MiB\n",
        done.out,
    )
    assert np.array_equal(read(output, 1), upscale_array(read(source, 1), 3, "lanczos-bp"))
    assert [p.name for p in output.parent.iterdir()] == ["fine.tif"]


def test_json(source, output, model):
    """--json is one JSON object that agrees with the file."""
    done = processes.run("upscale", source, output, "-m", model, "--json", end=True)
    assert (done.code, done.err) == (0, "")
    facts = json.loads(done.out)
    assert facts["output"] == str(output)
    assert (facts["coarse"], facts["fine"], facts["bands"], facts["factor"]) == ([20, 24], [60, 72], 1, 3)
    assert (facts["model"], len(facts["digest"])) == ("random", 64)
    assert facts["output_bytes"] == output.stat().st_size
    assert facts["cells_per_second"] == pytest.approx(60 * 72 / facts["seconds"])
    assert facts["peak_memory"] > 2**20


def test_expected_errors_are_in_the_summary(tmp_path, output, with_errors):
    """Where they are, and that they made whole numbers floats: in words and in JSON; flags in refusals."""
    source = write(tmp_path / "in.tif", (100 * terrain((20, 24))).astype("uint8"))
    run = ("upscale", source, output, "-m", with_errors.path, "--overwrite")
    done = processes.run(*run, "--error")
    assert (done.code, done.err) == (0, "")
    assert "60 x 72, 1 band and expected errors, stored as float32, " in done.out
    done = processes.run(*run, "--error-file", output.with_name("e.tif"), "--json")
    facts = json.loads(done.out)
    apart = (1, str(output.with_name("e.tif")), None)
    assert (facts["error_bands"], facts["error_output"], facts["dtype"]) == apart
    done = processes.run(*run, "--error-file", output.with_name("e.tif"))
    assert ", 1 band and expected errors in e.tif, " in done.out
    facts = json.loads(processes.run(*run, "--error", "--json").out)
    assert (facts["error_bands"], facts["error_output"], facts["dtype"]) == (1, None, "float32")
    message = processes.run(*run, "--error", "--dtype", "int16").refused(2)
    assert message.endswith("take --dtype float32, or a file of their own with --error-file")
    message = processes.run("upscale", source, output, "-m", "cubic", "--overwrite", "--error").refused(4)
    assert message == "model cubic gives no expected error: take a shipped network (default)"


def test_quiet(source, output):
    """--quiet prints nothing."""
    done = processes.run("upscale", source, output, *CLASSICAL, "--quiet")
    assert (done.code, done.out, done.err) == (0, "", "")


def test_dry_run_writes_nothing(source, output, model):
    """--dry-run says what a run would take, makes no file, and checks what a run checks."""
    done = processes.run("upscale", source, output, "-m", model, "--dry-run", "--json")
    assert (done.code, done.err) == (0, "")
    facts = json.loads(done.out)
    assert set(facts) == {
        *("bands", "coarse", "fine", "tiles", "seconds", "memory", "disk", "disk_free", "model", "device", "precision")
    }
    assert (facts["coarse"], facts["fine"], facts["tiles"]) == ([20, 24], [60, 72], 1)
    assert facts["disk"] == 60 * 72 * 4
    assert facts["seconds"] > 0
    done = processes.run("upscale", source, output, "-m", model, "--dry-run")
    assert "20 x 24 -> 60 x 72 cells, 1 band, 1 tile" in done.out
    assert list(output.parent.iterdir()) == []
    output.write_bytes(b"old")
    assert "output exists" in processes.run("upscale", source, output, "-m", model, "--dry-run").refused(5)


def test_dry_run_takes_every_option(source, output):
    """--dry-run accepts the options of a run, those of writing too."""
    more = ("--cog", "--co", "BLOCKSIZE=128", "--dtype", "float64", "--range", "0", "1", "-b", "1", "--nodata", "0")
    done = processes.run("upscale", source, output, *CLASSICAL, "--dry-run", "--json", *more)
    assert (done.code, json.loads(done.out)["disk"]) == (0, 60 * 72 * 8)


def test_warnings_are_lines_and_errors_with_strict(source, output):
    """A warning is one line with its code on stderr; with --strict it is an error and there is no output."""
    write(source, terrain((8, 9)).astype("float32"), **NOWHERE)
    source.with_suffix(".tfw").write_text("1\n0\n0\n-1\n0\n0\n")
    done = processes.run("upscale", source, output, *CLASSICAL, "-q")
    assert done.code == 0
    lines = done.err.splitlines()
    assert [re.match(r"geofsrcnn: warning: (W-\w+): ", line)[1] for line in lines] == ["W-SIDECAR", "W-NOGEO"]
    output.unlink()
    message = processes.run("upscale", source, output, *CLASSICAL, "-q", "--strict").refused(3)
    assert re.fullmatch(r"W-SIDECAR: .* \(--strict\)", message)
    assert list(output.parent.iterdir()) == []


def test_overwrite(source, output):
    """--overwrite replaces an output and keeps its mode; without it the old one stays."""
    output.write_bytes(b"old")
    output.chmod(0o604)
    processes.run("upscale", source, output, *CLASSICAL).refused(5)
    assert output.read_bytes() == b"old"
    assert processes.run("upscale", source, output, *CLASSICAL, "-q", "--overwrite").code == 0
    assert read(output, 1).shape == (60, 72)
    assert output.stat().st_mode & 0o7777 == 0o604


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_the_outputs_mode_follows_the_umask(source, output, umask):
    """A new output is as readable as the umask says."""
    assert processes.run("upscale", source, output, *CLASSICAL, "-q", umask=umask).code == 0
    assert output.stat().st_mode & 0o7777 == 0o666 & ~umask


def test_names_that_look_odd(tmp_path, source):
    """Names with spaces, quotes, non-ASCII and percent signs work; control characters in them are refused."""
    odd = tmp_path / "größe 10% 'x\" ;&"
    odd.mkdir()
    for name in ("a b.tif", "-x.tif", "日本.tif"):
        renamed = odd / name
        renamed.write_bytes(source.read_bytes())
        done = processes.run("upscale", renamed, odd / f"fine {name}", *CLASSICAL)
        assert (done.code, done.err) == (0, "")
    assert "control characters" in processes.run("upscale", "a\x1b[31m.tif", odd / "y.tif", *CLASSICAL).refused(3)


def test_the_input_is_never_written_to(source, output, model):
    """The input's bytes, time and folder are the same after a run, as for every command that reads it."""
    before = state(source)
    source.chmod(0o444)
    source.parent.chmod(0o555)
    try:
        for line in (("upscale", source, output, "-m", model), ("info", source), ("info", source, "--json")):
            assert processes.run(*line).code == 0
    finally:
        source.parent.chmod(0o755)
    assert state(source) == before


def test_info_describes_a_raster_and_a_model(source, model):
    """Info tells what upscale sees of a raster, and what a checkpoint says of itself."""
    facts = json.loads(processes.run("info", source, "--json").out)
    assert (facts["rows"], facts["columns"], facts["crs"]) == (20, 24, "EPSG:32633")
    assert facts["bounds"] == [500_000, 6_000_000 - 600, 500_000 + 720, 6_000_000]
    assert facts["bands"][0]["dtype"] == "float32"
    facts = json.loads(processes.run("info", model, "--json").out)
    assert (facts["name"], facts["factor"], facts["network"]["d"]) == ("random", 3, 8)
    assert len(facts["sha256"]) == 64
    text = processes.run("info", model).out
    assert "random" in text
    assert "Traceback" not in text


def test_info_of_every_kind_of_raster(tmp_path):
    """Info works without CRS, transform, name or value, for classes and for complex data."""
    plain = write(tmp_path / "a.tif", terrain((4, 4)), **NOWHERE)
    nan = write(tmp_path / "b.tif", np.full((4, 4), np.nan, "float32"), nodata=np.nan)
    for path, words in ((plain, "W-NOGEO"), (nan, "")):
        done = processes.run("info", path)
        assert done.code == 0
        assert words in done.err
        assert path.name in done.out


def test_text_from_files_cannot_control_the_terminal(tmp_path):
    """Control characters in tags and cards are shown, not sent."""
    with_tags = write(tmp_path / "a.tif", terrain((4, 4)))
    with opened(with_tags):
        pass
    import rasterio

    with rasterio.open(with_tags, "r+") as d:
        d.update_tags(EVIL="a\x1b]0;owned\x07b")
        d.set_band_description(1, "c\x1b[31md")
    bad = tmp_path / "m.safetensors"
    save_checkpoint(bad, random_model(0, **TINY), Card(name="e\x1b[2Jf", summary="g\rh", limits="\x9b31m"))
    for path in (with_tags, bad):
        done = processes.run("info", path)
        assert done.code == 0
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", done.out + done.err)
    assert "e\\x1b[2Jf" in done.out


def test_models_lists_what_there_is():
    """The models command lists classical methods and every file in the package."""
    from geofsrcnn.networks.checkpoint import shipped_models

    facts = json.loads(processes.run("models", "--json").out)
    assert {"nearest", "bilinear", "cubic", "lanczos", "lanczos-bp"} <= set(facts["classical"])
    assert len(facts["models"]) == len(shipped_models())
    text = processes.run("models").out
    assert "lanczos-bp" in text


@pytest.mark.parametrize("command", [(), ("upscale",), ("info",), ("models",), ("train",), ("train-pairs",)])
def test_help(command):
    """Every command has help on stdout, exit 0."""
    done = processes.run(*command, "--help")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("Usage: geofsrcnn")


def test_version():
    """--version names the package and its version."""
    assert processes.run("--version").out == f"geofsrcnn, version {__version__}\n"


# ------------------------------------------------------------------------------------------ real entry points


def entry(*args: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a command as a user does."""
    done = subprocess.run([str(a) for a in args], capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    return done


def test_the_installed_command(source, output):
    """The script in the environment runs, ends well, and refuses in one line with its code."""
    done = entry(SCRIPTS / "geofsrcnn", "upscale", source, output, "-m", "bilinear")
    assert done.stderr == ""
    assert read(output, 1).shape == (60, 72)
    again = entry(SCRIPTS / "geofsrcnn", "upscale", source, output, "-m", "bilinear", code=5)
    assert again.stderr == f"geofsrcnn: error: output exists: {output}: use --overwrite\n"


def test_the_package_as_a_module(source, output):
    """``python -m geofsrcnn`` is the same command."""
    entry(sys.executable, "-m", "geofsrcnn", "upscale", source, output, "-m", "nearest", "-q")
    assert read(output, 1).shape == (60, 72)


def test_the_rasterio_plugin(source, output, tmp_path):
    """``rio upscale`` is the same command: same bits, same exit codes, same line."""
    processes.run("upscale", source, output, "-m", "lanczos-bp", "-q")
    other = tmp_path / "rio.tif"
    done = entry(SCRIPTS / "rio", "upscale", source, other, "--model", "lanczos-bp", "--factor", "3")
    assert done.stderr == ""
    assert np.array_equal(read(other), read(output))
    done = entry(SCRIPTS / "rio", "upscale", source, other, "-m", "bilinear", code=5)
    assert done.stderr == f"geofsrcnn: error: output exists: {other}: use --overwrite\n"
    assert "Traceback" not in entry(SCRIPTS / "rio", "upscale", source, other, "-f", "9", code=2).stderr


def test_importing_takes_no_torch():
    """Importing the package, and its help, load neither torch nor rasterio."""
    code = "import sys, geofsrcnn, geofsrcnn.cli.main; print([m for m in ('torch', 'rasterio') if m in sys.modules])"
    assert entry(sys.executable, "-c", code).stdout == "[]\n"


def test_output_that_nobody_reads(source, output):
    """A reader of stdout that has gone does not spoil the run."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "w") as closed:
        command = [str(SCRIPTS / "geofsrcnn"), "upscale", str(source), str(output), "-m", "nearest"]
        done = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, text=True)
    assert read(output, 1).shape == (60, 72)
    assert "Traceback" not in done.stderr


def test_the_bare_command_shows_its_help():
    """Without arguments the help is printed as help, exit 2."""
    done = processes.run()
    assert done.code == 2
    assert "Usage: " in done.err
    assert "\\x0a" not in done.err
    assert "error:" not in done.err


def test_a_reader_that_goes_is_no_defect(tmp_path):
    """A closed pipe and a full disk behind stdout are no internal errors."""
    command = f"{sys.executable} -m geofsrcnn info default"
    done = subprocess.run(["bash", "-c", f"{command} | true"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    done = subprocess.run(["bash", "-c", f"{command} > /dev/full"], capture_output=True, text=True)
    assert "internal error" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["o.png", "x.grib", "plain", "-", "o.tif.gz"])
def test_an_output_has_the_name_of_its_format(source, tmp_path, name):
    """Names of other formats, and none, are refused before any work."""
    message = processes.run("upscale", source, tmp_path / name, *CLASSICAL).refused(2)
    assert message.startswith("the output's name must end in .tif, .tiff, .nc, .nc4, .zarr: ")
    with pytest.raises(UsageError, match="the output's name must end in"):
        upscale_file(source, tmp_path / name, 3, "nearest")
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("dry", [(), ("--dry-run",)], ids=["run", "dry run"])
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--co", "COMPRESS=FOO"), "'FOO' is an unexpected value for COMPRESS"),
        (("--co", "NOSUCH=1"), "does not support creation option NOSUCH"),
        (("--co", "BIGTIFF=foo"), "'foo' is an unexpected value for BIGTIFF"),
        (("--co", "ZSTD_LEVEL=99", "--co", "COMPRESS=ZSTD"), "ZSTD_LEVEL=99 value not recognised"),
        (("--co", "PREDICTOR=7", "--co", "COMPRESS=DEFLATE"), "PREDICTOR=7 is not supported"),
        (("--co", "NBITS=3"), "creation option NBITS changes the values"),
        (("--co", "DISCARD_LSB=4"), "creation option DISCARD_LSB changes the values"),
        (("--co", "TFW=YES"), "creation option TFW moves metadata out of the file"),
        (("--co", "PROFILE=BASELINE"), "creation option PROFILE moves metadata"),
        (("--co", "COMPRESS=CCITTFAX4"), "COMPRESS=CCITTFAX4 changes the values"),
        (("--cog", "--co", "COMPRESS=FOO"), "'FOO' is an unexpected value for COMPRESS"),
        (("--cog", "--co", "TARGET_SRS=EPSG:4326"), "creation option TARGET_SRS changes the grid"),
        (("--cog", "--co", "TILING_SCHEME=GoogleMapsCompatible"), "creation option TILING_SCHEME changes the grid"),
        (("--cog", "--co", "BLOCKSIZE=100"), "GDAL refuses the creation options|does not take the creation options"),
    ],
    ids=str,
)
def test_creation_options_that_cannot_be(source, tmp_path, options, words, dry):
    """Options that GDAL would pass over, or that break a promise, are refused before any work, in a dry run too."""
    out = tmp_path / "o.tif"
    assert re.search(words, processes.run("upscale", source, out, *CLASSICAL, *options, *dry).refused(2))
    assert not out.exists()


def test_info_says_what_upscale_would_refuse(tmp_path):
    """A palette raster is described, with the words in which upscale refuses it; a plain one without."""
    path = tmp_path / "classes.tif"
    with created(path, (9, 8), "uint8") as d:
        d.write(np.ones((1, 9, 8), "uint8"))
        d.write_colormap(1, {0: (0, 0, 0, 255), 1: (10, 200, 30, 255)})
    facts = json.loads(processes.run("info", path, "--json").out)
    assert facts["refused"].startswith("categorical raster (palette): classes.tif")
    assert "categorical raster" in processes.run("info", path).out
    plain = write(tmp_path / "plain.tif", np.ones((9, 8), "uint8"))
    assert json.loads(processes.run("info", plain, "--json").out)["refused"] is None
    assert "cubic is a classical method" in processes.run("info", "cubic").refused(4)
