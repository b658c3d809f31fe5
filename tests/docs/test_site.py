"""The site of the pages: it builds without a warning, stands alone, and can be searched where there is no server."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.pages import PAGES
from tests.support.places import ROOT

pytest.importorskip("material", reason="the group docs is not installed")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; warnings, such as of links and headings that are not there, end the build."""
    folder = tmp_path_factory.mktemp("site")
    line = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def test_each_page_is_in_it(site):
    """Each page of docs/ is a page of the site, and in its search."""
    places = [name.removeprefix("docs/").replace(".md", ".html") for name in PAGES if name.startswith("docs/")]
    assert [place for place in places if not (site / place).is_file()] == []
    search = (site / "search" / "search_index.js").read_text(encoding="utf-8")
    assert [place for place in places if f'"location":"{place}' not in search] == []


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no Chromium here")
def test_its_search_finds_words_without_a_server(site, tmp_path):
    """A browser that opens a page as a file, and can reach nothing else, finds the pages about halos."""
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={tmp_path}",
        "--virtual-time-budget=20000",
    ]
    address = f"{(site / 'index.html').as_uri()}?q=halo"
    line = ["chromium", *options, "--host-resolver-rules=MAP * ~NOTFOUND", "--dump-dom", address]
    done = subprocess.run(line, capture_output=True, text=True, timeout=300)
    found = set(re.findall(r'<a href="[^"]*/(\w+\.html)[^"]*" class="md-search-result__link"', done.stdout))
    assert {"glossary.html", "promises.html"} <= found


def test_it_asks_nothing_of_the_network(site):
    """No page loads a script, a style, a font or a picture from elsewhere, and the search brings its own frame."""
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert re.findall(r'<(?:script|img|iframe|link)[^>]*(?:src|href)="?(?:https?:)?//[^">]*', text) == [], page
    assert "iframe-worker.js" in (site / "index.html").read_text(encoding="utf-8")
    styles = [path.read_text(encoding="utf-8") for path in site.rglob("*.css")]
    assert [each for style in styles for each in re.findall(r"url\((?:https?:)?//[^)]*\)", style)] == []


def test_links_out_of_the_folder_lead_to_the_project(site):
    """What pages say of files that are no pages leads to the repository, where they are."""
    links = {link for page in site.rglob("*.html") for link in re.findall(r'href="([^"]*)"', page.read_text("utf-8"))}
    ours = [link.partition("/blob/main/")[2].partition("#")[0] for link in links if "/geofsrcnn/blob/main/" in link]
    assert ours
    assert [place for place in ours if not (ROOT / place).exists()] == []
