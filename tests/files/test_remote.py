"""Remote input from servers on this machine: only where it is allowed, whole or not at all, never zeros."""

from __future__ import annotations

import http.server
import json
import shutil
import signal
import socket
import threading
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr
from zarr.abc.store import RangeByteRequest, SuffixByteRequest
from zarr.core.sync import sync

from geofsrcnn import upscale_file
from geofsrcnn.errors import RemoteError
from geofsrcnn.files import remote
from geofsrcnn.formats.zarr import RetryingStore
from tests.support import processes
from tests.support.faults import until
from tests.support.grids import regular
from tests.support.rasters import read, terrain, write

HERE = ("127.0.0.1",)


class Server:
    """Files of a folder over http, with faults on request."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.requests = folder, Counter[str]()
        self.fault, self.times, self.only, self.target = "", 10**9, "", ""
        self.stalled, self.release = 0, threading.Event()
        outer = self

        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *args: object) -> None:
                super().__init__(*args, directory=str(folder))

            def log_message(self, *_: object) -> None:
                pass

            def do_HEAD(self) -> None:
                outer.requests["HEAD"] += 1
                if not outer.meets(self, body=False):
                    super().do_HEAD()

            def do_GET(self) -> None:
                outer.requests["GET"] += 1
                if not outer.meets(self, body=True):
                    super().do_GET()

            def end_headers(self) -> None:
                if outer.fault == "etag":
                    self.send_header("ETag", f'"{outer.requests.total()}"')
                super().end_headers()

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def meets(self, handler: http.server.SimpleHTTPRequestHandler, *, body: bool) -> bool:
        """Whether the fault happens now, and does."""
        if not self.fault or self.only not in handler.path or self.fault == "etag":
            return False
        if self.times <= 0:
            return False
        if self.fault in ("404", "403", "503"):
            self.times -= 1
            handler.send_error(int(self.fault))
            return True
        if self.fault == "redirect":
            handler.send_response(302)
            handler.send_header("Location", self.target + handler.path)
            handler.end_headers()
            return True
        if not body:
            return False
        self.times -= 1
        content = (self.folder / handler.path.lstrip("/")).read_bytes()
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content[: len(content) // 2])
        handler.wfile.flush()
        if self.fault == "stall":
            self.stalled += 1
            self.release.wait()
        handler.connection.shutdown(socket.SHUT_RDWR)
        return True


@pytest.fixture
def server(tmp_path) -> Iterator[Server]:
    """A server of the files in a new folder."""
    folder = tmp_path / "remote"
    folder.mkdir()
    write(folder / "coarse.tif", terrain((40, 50)).astype("float32"))
    regular().to_netcdf(folder / "coarse.nc", engine="netcdf4")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for version in (2, 3):
            regular().to_zarr(folder / f"coarse{version}.zarr", zarr_format=version, consolidated=True)
    made = Server(folder)
    yield made
    made.release.set()
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """Little of it."""
    monkeypatch.setattr(remote, "PAUSE", 0.02)
    monkeypatch.setattr("geofsrcnn.files.remote.PAUSE", 0.02)


def left(tmp_path: Path) -> list[str]:
    """What a run has left."""
    return sorted(p.name for p in tmp_path.iterdir() if p.name != "remote")


@pytest.mark.parametrize("name", ["coarse.tif", "coarse.nc", "coarse2.zarr", "coarse3.zarr"])
def test_the_same_as_from_a_local_file(server, tmp_path, name):
    """GeoTIFF, NetCDF and both versions of Zarr over http: equal to the result of the local file."""
    suffix = ".tif" if name.endswith("tif") else ".nc"
    upscale_file(f"{server.url}/{name}", tmp_path / f"far{suffix}", 2, "bilinear", allow_remote=HERE)
    upscale_file(server.folder / name, tmp_path / f"near{suffix}", 2, "bilinear")
    if suffix == ".tif":
        assert np.array_equal(read(tmp_path / "far.tif"), read(tmp_path / "near.tif"))
        return
    with (
        xr.open_dataset(tmp_path / "far.nc", engine="netcdf4") as a,
        xr.open_dataset(tmp_path / "near.nc", engine="netcdf4") as b,
    ):
        assert a.identical(b)


@pytest.mark.parametrize(
    ("url", "allowed", "words"),
    [
        (
            "{url}/coarse.tif",
            (),
            "remote input is not allowed: {url}/coarse.tif: allow it with allow_remote='127.0.0.1'",
        ),
        ("{url}/coarse.tif", ("other.org",), "remote input is not allowed"),
        ("{url}/coarse2.zarr", (), "remote input is not allowed"),
        ("s3://bucket/x.tif", ("other",), "allow it with allow_remote='bucket'"),
        ("http://example.org/x.tif", ("example.org",), "http is neither private nor safe from changes"),
        ("https:///x.tif", HERE, "no host in https:///x.tif"),
        ("https://me:secret@example.org/x.tif?token=abc", (), "not allowed: https://example.org/x.tif: allow it"),
    ],
)
def test_nothing_is_asked_without_leave(server, tmp_path, url, allowed, words):
    """Hosts and buckets must be named, other machines need https, secrets are not repeated; no request is sent."""
    with pytest.raises(RemoteError) as caught:
        upscale_file(url.format(url=server.url), tmp_path / "fine.tif", 2, "bilinear", allow_remote=allowed)
    assert words.format(url=server.url) in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "abc" not in str(caught.value)
    assert not server.requests
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("404", "not found"),
        ("403", "403"),
        ("503", "tried 4 times"),
        ("half", "tried 4 times"),
        ("stall", "tried 4 times"),
        ("etag", "changed while it was fetched: run again"),
        ("redirect", "sends to another host, localhost"),
    ],
)
def test_a_file_that_cannot_be_had(server, tmp_path, monkeypatch, fault, words):
    """Errors, half bodies, silence, changes, redirections elsewhere: one line, nothing left."""
    monkeypatch.setattr(remote, "TIMEOUT", 0.3)
    server.fault, server.target = fault, server.url.replace("127.0.0.1", "localhost")
    with pytest.raises(RemoteError) as caught:
        upscale_file(f"{server.url}/coarse.tif", tmp_path / "fine.tif", 2, "bilinear", allow_remote=HERE)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert left(tmp_path) == []


@pytest.mark.parametrize("fault", ["503", "half"])
def test_faults_that_pass(server, tmp_path, fault):
    """What fails twice and then works is no error."""
    server.fault, server.times = fault, 2
    upscale_file(f"{server.url}/coarse.tif", tmp_path / "fine.tif", 2, "bilinear", allow_remote=HERE)
    upscale_file(server.folder / "coarse.tif", tmp_path / "near.tif", 2, "bilinear")
    assert server.times == 0
    assert np.array_equal(read(tmp_path / "fine.tif"), read(tmp_path / "near.tif"))


@pytest.mark.parametrize("fault", ["503", "half"])
def test_chunks_that_cannot_be_read_are_no_zeros(server, tmp_path, fault):
    """A chunk that fails to the end is an error, one that fails twice is not; one that is not there is fill."""
    server.only, server.fault = "tas/c/0", fault
    with pytest.raises(RemoteError, match=r"cannot read .*coarse3.zarr/tas/c/0.*, tried 4 times"):
        upscale_file(f"{server.url}/coarse3.zarr", tmp_path / "fine.nc", 2, "bilinear", allow_remote=HERE)
    assert left(tmp_path) == []
    server.times = 2
    upscale_file(f"{server.url}/coarse3.zarr", tmp_path / "fine.nc", 2, "bilinear", allow_remote=HERE)
    upscale_file(server.folder / "coarse3.zarr", tmp_path / "near.nc", 2, "bilinear")
    with (
        xr.open_dataset(tmp_path / "fine.nc", engine="netcdf4") as a,
        xr.open_dataset(tmp_path / "near.nc", engine="netcdf4") as b,
    ):
        assert a.identical(b)


def test_a_server_without_parts_of_files(server, tmp_path):
    """Keys come whole, or not at all where there are none; a whole file is never taken for a part of it."""
    regular().to_zarr(server.folder / "parts.zarr", zarr_format=3, consolidated=False)
    whole = (server.folder / "parts.zarr" / "zarr.json").read_bytes()
    with remote.fetch_remote(f"{server.url}/parts.zarr", HERE) as place:
        store = RetryingStore(place)

        def get(key: str, part: object = None) -> bytes | None:
            found = sync(store.get(key, byte_range=part))
            return None if found is None else found.to_bytes()

        assert get("zarr.json") == whole
        assert get("nothing") is None
        for part in (RangeByteRequest(2, 9), SuffixByteRequest(5)):
            with pytest.raises(RemoteError, match="on a server that sends no parts of files: download it first"):
                get("zarr.json", part)


def test_on_the_command_line(server, tmp_path):
    """Exit 7 without leave, 0 with it; a signal while a server is silent ends the wait."""
    command = ("upscale", f"{server.url}/coarse.tif", tmp_path / "fine.tif", "-m", "bilinear", "-q")
    assert processes.run(*command).refused(7).startswith("remote input is not allowed")
    done = processes.run(*command, "--allow-remote", "127.0.0.1")
    assert (done.code, done.err) == (0, "")
    (tmp_path / "fine.tif").unlink()
    store = ("upscale", f"{server.url}/coarse3.zarr", tmp_path / "fine.zarr", "-m", "bilinear", "-q")
    done = processes.run(*store, "--allow-remote", "127.0.0.1", end=True)
    assert (done.code, done.err) == (0, "")
    shutil.rmtree(tmp_path / "fine.zarr")
    server.fault = "stall"
    (own := tmp_path / "own").mkdir()
    prelude = f"import tempfile; tempfile.tempdir = {str(own)!r}"  # what others fetch meanwhile lies elsewhere
    run = processes.start(*command, "--allow-remote", "127.0.0.1", prelude=prelude)
    until(lambda: server.stalled, run)
    assert list(own.glob("geofsrcnn-*"))
    run.send(signal.SIGTERM)
    assert run.wait().code == 143
    assert not server.release.is_set()  # the server is silent still
    assert list(own.iterdir()) == []
    assert left(tmp_path) == ["own"]


# -------------------------------------------------------------------------------------------------------------- S3


def test_s3(bucket, server, tmp_path):
    """A COG and Zarr stores out of a bucket, equal to the local ones; what is not there is said."""
    import s3fs

    files = s3fs.S3FileSystem()
    rasterio.shutil.copy(server.folder / "coarse.tif", server.folder / "cog.tif", driver="COG")
    files.put(str(server.folder / "cog.tif"), "data/cog.tif")
    for version in (2, 3):
        files.put(str(server.folder / f"coarse{version}.zarr"), f"data/coarse{version}.zarr", recursive=True)
    upscale_file("s3://data/cog.tif", tmp_path / "far.tif", 3, "bilinear", allow_remote=["data"])
    upscale_file(server.folder / "cog.tif", tmp_path / "near.tif", 3, "bilinear")
    assert np.array_equal(read(tmp_path / "far.tif"), read(tmp_path / "near.tif"))
    for version in (2, 3):
        far, near = tmp_path / f"far{version}.nc", tmp_path / f"near{version}.nc"
        upscale_file(f"s3://data/coarse{version}.zarr", far, 3, "bilinear", allow_remote=["data"])
        upscale_file(server.folder / f"coarse{version}.zarr", near, 3, "bilinear")
        with xr.open_dataset(far, engine="netcdf4") as a, xr.open_dataset(near, engine="netcdf4") as b:
            assert a.identical(b)
    for name in ("none.tif", "none.zarr"):
        with pytest.raises(Exception, match="none") as caught:
            upscale_file(f"s3://data/{name}", tmp_path / "none.nc", 3, "bilinear", allow_remote=["data"])
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "none.nc").exists()


# -------------------------------------------------------------------------------------------------------------- GS


def test_gs(server, tmp_path, monkeypatch):
    """A file out of a bucket of Google's, by the two requests of its interface that it takes."""
    pytest.importorskip("gcsfs")
    content = (server.folder / "coarse.tif").read_bytes()
    about = {"kind": "storage#object", "name": "coarse.tif", "bucket": "data", "size": str(len(content)), "etag": "a"}

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            if "/b/data/o/coarse.tif" not in self.path:
                self.send_error(404)
                return
            body = content if "alt=media" in self.path else json.dumps(about).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/octet-stream" if body is content else "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    google = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=google.serve_forever, daemon=True).start()
    about["mediaLink"] = f"http://127.0.0.1:{google.server_port}/download/storage/v1/b/data/o/coarse.tif?alt=media"
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{google.server_port}")
    upscale_file("gs://data/coarse.tif", tmp_path / "far.tif", 2, "bilinear", allow_remote=["data"])
    upscale_file(server.folder / "coarse.tif", tmp_path / "near.tif", 2, "bilinear")
    assert np.array_equal(read(tmp_path / "far.tif"), read(tmp_path / "near.tif"))
    with pytest.raises(RemoteError, match=r"cannot read gs://data/none.tif: not found"):
        upscale_file("gs://data/none.tif", tmp_path / "none.tif", 2, "bilinear", allow_remote=["data"])
    google.shutdown()
    google.server_close()
