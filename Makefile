# `make demo` does the whole job on real MNIST, `make test` runs the checks; both set everything up first.
# CONTRIBUTING.md names what the other tests need; `.ci/run` runs all but `make test-long`.
PYTHON ?= python3
VENV ?= .venv
READY := $(VENV)/.ready
BIN := $(VENV)/bin
unexport PYTHONDONTWRITEBYTECODE # the tests start hundreds of processes, which would compile the code anew each time

.PHONY: demo test test-slow test-long test-emulated test-browser gate models bundled refit results clean

demo: $(READY)
	$(BIN)/oddeven pipeline --epochs 3 --out build/demo

test: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -n 2 --dist loadfile -m 'not slow and not long and not emulated and not browser'
	@echo 'Skipped: long training runs, kills, installs and fuzzing (make test-slow), other CPUs (make test-emulated),'
	@echo 'the page in Chromium (make test-browser), and what takes longest (make test-long)'

test-slow: $(READY)
	$(BIN)/pytest -n 2 --dist loadfile -m 'slow and not long and not emulated and not browser'

test-long: $(READY)
	$(BIN)/pytest -m long

test-emulated: $(READY)
	$(BIN)/pytest -n 2 --dist loadfile -m emulated

test-browser: $(READY)
	$(BIN)/pytest -m browser

# This project's own gate: the shipped models against the answers that were accepted. They come out alike on every CPU.
gate: $(READY)
	$(BIN)/oddeven export train/models/*.keras --out build/gate \
		--format tflite-float32 --format tflite-int8 --format onnx-float32 --format onnx-int8
	$(BIN)/oddeven verify build/gate --engine litert --engine onnxruntime --strict \
		--baseline tests/baseline.json $(UPDATE) --report build/gate/junit.xml --report build/gate/report.html

# The second output and the calibration of the shipped models anew, without training them.
refit: $(READY)
	$(BIN)/python -m oddeven.train.refit train/models/*.keras

# Figures of docs/results.md: three and a half hours on two cores.
results: $(READY)
	$(BIN)/python benchmarks/recipes.py
	$(BIN)/python benchmarks/recipes.py --more

# The shipped models, of seed 0, and their int8 files for the wheel: two hours. The deep_cnn is the teacher of the cnn.
models: $(READY)
	$(BIN)/python benchmarks/recipes.py --more
	cp build/recipes/more/seed0/mlp/mlp.keras build/recipes/more/seed0/cnn/cnn.keras train/models/
	cp build/recipes/more/teacher/seed0/deep_cnn/deep_cnn.keras train/models/
	$(MAKE) bundled

bundled: $(READY)
	$(BIN)/oddeven export train/models/*.keras --format tflite-int8 --out build/models
	cp build/models/*/*.tflite build/models/*/*.selftest.npz runtime/oddeven/runtime/models/

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all]'
	touch $@

clean:
	rm -rf $(VENV) build
