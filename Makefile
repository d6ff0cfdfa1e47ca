# `make demo` does the whole job on real MNIST, `make test` runs the checks; both set everything up first.
PYTHON ?= python3
VENV ?= .venv
READY := $(VENV)/.ready
BIN := $(VENV)/bin

.PHONY: demo test models results clean

demo: $(READY)
	$(BIN)/oddeven pipeline --out build/demo

test: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest

# Figures of docs/results.md: an hour and a half on two cores.
results: $(READY)
	$(BIN)/python benchmarks/recipes.py

# The shipped models: the `best` ones of `make results`, and their int8 files for the wheel.
models: results
	cp build/recipes/best/seed0/*/*.keras train/models/
	$(BIN)/oddeven export train/models/*.keras --format tflite-int8 --out build/models
	cp build/models/*/*.tflite build/models/*/*.selftest.npz runtime/oddeven/runtime/models/

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all]'
	touch $@

clean:
	rm -rf $(VENV) build
