"""The page of docs/export.md runs a network in a browser, where one and its ONNX Runtime are installed."""

from __future__ import annotations

import functools
import html
import http.server
import os
import re
import shutil
import subprocess
import threading

import numpy as np
import pytest

import geofsrcnn
from tests.support.pages import page
from tests.support.places import ROOT

RUNTIME = ROOT / ".venv/web/node_modules/onnxruntime-web/dist"
BROWSER = shutil.which("chromium")


class Handler(http.server.SimpleHTTPRequestHandler):
    """Files of a folder, without a log."""

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def address(tmp_path):
    """The page, the network and the runtime, served on this machine."""
    if BROWSER is None or not RUNTIME.is_dir():
        assert "GEOFSRCNN_REQUIRE_WEB" not in os.environ
        pytest.skip("no Chromium or no onnxruntime-web here: make web-test installs both")
    geofsrcnn.export_onnx("default", tmp_path / "default-x3.onnx", 3)
    (block,) = (each for each in page("docs/export.md").blocks if each.language == "html")
    (tmp_path / "index.html").write_text(block.text, encoding="utf-8")
    (tmp_path / "dist").symlink_to(RUNTIME)
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Handler, directory=str(tmp_path))
    ) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/index.html"
        server.shutdown()


def test_the_page_makes_a_field_finer(address, tmp_path):
    """What it says of the result is what geofsrcnn gives."""
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    options = ["--headless", "--no-sandbox", "--disable-gpu", profile, "--virtual-time-budget=100000", "--dump-dom"]
    done = subprocess.run([BROWSER, *options, address], capture_output=True, text=True, timeout=300)
    said = html.unescape(re.search(r'<p id="said">(.*?)</p>', done.stdout)[1])
    y, x = np.mgrid[:48, :64]
    coarse = (500 + 80 * np.sin(x / 3) * np.cos(y / 5) + 40 * (x + y > 60)).astype(np.float32)
    fine = geofsrcnn.upscale_array(coarse, 3, device="cpu")
    numbers = [float(each) for each in re.findall(r"\d+\.\d+", said)]
    expected = [each for values in (coarse, fine) for each in (values.mean(dtype=float), values.max())]
    assert numbers == pytest.approx(expected, abs=0.006), said
