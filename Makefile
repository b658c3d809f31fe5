# `make demo` and `make test` do all the set-up themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test docs qgis-test web-test check format clean

demo: $(READY)
	$(BIN)/python examples/demo.py

test: $(READY)
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal

# the pages of docs/ as a site in site/, which needs no server: open site/index.html
docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# QGIS of Debian, some 170 packages, and the tests of the plugin in it
qgis-test: $(READY)
	(/usr/bin/python3 -c 'import qgis.core' && which xvfb-run xauth) >/dev/null 2>&1 || \
		(apt-get update && apt-get install -y --no-install-recommends qgis python3-qgis xvfb xauth)
	GEOFSRCNN_REQUIRE_QGIS=1 $(BIN)/python -m pytest tests/qgis

# Debian's browser, ONNX Runtime for browsers, and the page that runs a network there
web-test: $(READY)
	command -v chromium >/dev/null || apt-get install -y --no-install-recommends chromium
	npm install --silent --no-save --prefix $(VENV)/web onnxruntime-web@1.30.0
	GEOFSRCNN_REQUIRE_WEB=1 $(BIN)/python -m pytest tests/docs/test_browser.py

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	for system in linux darwin win32; do $(BIN)/mypy --platform $$system --cache-dir .mypy_cache/$$system || exit 1; done
	$(BIN)/codespell geofsrcnn qgis tests examples benchmarks studies docs *.md
	$(BIN)/python -m tests.support.docstrings

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) demo site

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --upgrade pip  # for dependency groups: 25.1 or later
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[all]" --group dev
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps xarray-spatial  # its Sentinel-2 scene
	touch $(READY)
