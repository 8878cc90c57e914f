# `make` lists the targets. All of them run in .venv, which is created from setup.py when it is first needed.

# The quick start: a detector of the package, fine-tuned on blood cells.
QUICKSTART := runs/quickstart
QUICKSTART_PHOTOS := examples/photos
QUICKSTART_TEST := examples/blood_cells/JPEGImages/BloodImage_00[34]*.jpg

# The parts that `make bench` times, and its flags. See make bench BENCH=--help.
PARTS :=
BENCH :=

# To use another Python: make PYTHON=/path/to/python3.12
PYTHON :=
VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready
# Works in an empty environment, too.
export PATH := $(or $(PATH),/usr/local/bin:/usr/bin:/bin)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help quickstart test bench lint format clean

help: ## List the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20

quickstart: $(READY) ## Detect in photographs, then fine-tune on blood cells, evaluate, export and detect
	$(PY) detect.py --images=$(QUICKSTART_PHOTOS) --output_dir=$(QUICKSTART)_photos
	$(PY) train.py --flagfile=configs/quickstart.cfg
	$(PY) evaluate.py --checkpoint=$(QUICKSTART)/best.keras --eval_split=test
	$(PY) export.py --checkpoint=$(QUICKSTART)/best.keras --output_dir=$(QUICKSTART)/saved_model
	$(PY) detect.py --checkpoint=$(QUICKSTART)/best.keras --images='$(QUICKSTART_TEST)' \
		--output_dir=$(QUICKSTART)/detections
	@echo
	@echo "Done. You now have"
	@echo "  objects in photographs  $(QUICKSTART)_photos"
	@echo "  a detector of cells     $(QUICKSTART)/best.keras"
	@echo "  its evaluation          $(QUICKSTART)/evaluation/report.html"
	@echo "  its SavedModel          $(QUICKSTART)/saved_model"
	@echo "  the cells that it found $(QUICKSTART)/detections"
	@echo "  curves and images       $(VENV)/bin/tensorboard --logdir=$(QUICKSTART)"
	@echo "Next, train on your own images: see docs/own_data.md."

test: $(READY) ## Run all tests
	$(PY) -m pytest -n 2 --dist=worksteal --durations=20

bench: $(READY) ## Time everything (an hour or two); less with PARTS="layers backbone" BENCH="--quick"
	$(PY) -m benchmarks $(PARTS) $(BENCH)

lint: $(READY) ## Check style and formatting
	$(PY) -m ruff check
	$(PY) -m ruff format --check

format: $(READY) ## Format the code and fix what can be fixed automatically
	$(PY) -m ruff check --fix
	$(PY) -m ruff format

clean: ## Remove the environment and the files of the tools; keeps runs/
	rm -rf $(VENV) build dist keras_frcnn.egg-info .pytest_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

# An environment that no longer starts, because its Python was removed, is created anew. Any other is updated.
$(READY): setup.py pyproject.toml
	@$(PY) -c "" 2>/dev/null || { \
		for python in $(or $(PYTHON),python3 python3.13 python3.12 python3.11); do \
			command -v $$python >/dev/null || continue; \
			$$python -c "import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))" 2>/dev/null || \
				{ unfit="$$unfit $$python"; continue; }; \
			$$python -c "import ensurepip, venv" 2>/dev/null || \
				{ bare="$$bare $$python"; continue; }; \
			echo "Creating $(VENV) with $$python"; \
			exec $$python -m venv --clear $(VENV); \
		done; \
		echo "No usable Python found: keras-frcnn needs Python 3.11, 3.12 or 3.13 with the venv module." >&2; \
		test -z "$$unfit" || echo "  wrong version:$$unfit" >&2; \
		test -z "$$bare" || echo "  no venv module (on Debian: apt install python3-venv):$$bare" >&2; \
		echo "  to use another one: make PYTHON=/path/to/python3.12" >&2; \
		exit 1; \
	}
	@echo "Installing keras-frcnn and its dependencies into $(VENV) (TensorFlow is large, so this takes minutes)"
	@$(PY) -m pip install --quiet --editable ".[dev]"
	@touch $@
