# `make demo` and `make test` do all the set-up themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test qgis-test check format clean

demo: $(READY)
	$(BIN)/python examples/demo.py

test: $(READY)
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal

# QGIS of Debian, some 170 packages, and the tests of the plugin in it
qgis-test: $(READY)
	/usr/bin/python3 -c 'import qgis.core' 2>/dev/null || apt-get install -y --no-install-recommends qgis python3-qgis
	GEOFSRCNN_REQUIRE_QGIS=1 $(BIN)/python -m pytest tests/qgis

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	for system in linux darwin win32; do $(BIN)/mypy --platform $$system --cache-dir .mypy_cache/$$system || exit 1; done
	$(BIN)/codespell geofsrcnn tests examples benchmarks studies docs *.md
	$(BIN)/python -m tests.support.docstrings

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) demo

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt "torch==2.13.0"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $(READY)
