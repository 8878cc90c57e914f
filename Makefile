# `make` lists what can be made. Everything happens in .venv, made from setup.py on first need.

# The quick start: one small run on drawn shapes.
QUICKSTART := runs/quickstart
QUICKSTART_TRAIN := 1200
QUICKSTART_VAL := 100
QUICKSTART_TEST := 100
QUICKSTART_UNSEEN := $(QUICKSTART)/data/JPEGImages/test_*.jpg

# What `make bench` times, and with which flags: see make bench BENCH=--help
PARTS :=
BENCH :=

# To choose another Python: make PYTHON=/path/to/python3.12
PYTHON :=
VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready
# An empty environment will do.
export PATH := $(or $(PATH),/usr/local/bin:/usr/bin:/bin)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help quickstart test bench lint format clean

help: ## List what can be made
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20

quickstart: $(READY) ## Make a small data set, train, evaluate, export and detect
	$(PY) -m keras_frcnn.cli.main make-shapes --output_dir=$(QUICKSTART)/data \
		--num_train=$(QUICKSTART_TRAIN) --num_val=$(QUICKSTART_VAL) --num_test=$(QUICKSTART_TEST)
	$(PY) train.py --flagfile=configs/quickstart.cfg
	$(PY) evaluate.py --checkpoint=$(QUICKSTART)/best.keras --eval_split=test
	$(PY) export.py --checkpoint=$(QUICKSTART)/best.keras --output_dir=$(QUICKSTART)/saved_model \
		--images='$(QUICKSTART_UNSEEN)'
	$(PY) detect.py --checkpoint=$(QUICKSTART)/best.keras \
		--images='$(QUICKSTART_UNSEEN)' --output_dir=$(QUICKSTART)/detections
	@echo
	@echo "Done. What there is now:"
	@echo "  the model         $(QUICKSTART)/best.keras"
	@echo "  for serving       $(QUICKSTART)/saved_model"
	@echo "  drawn detections  $(QUICKSTART)/detections"
	@echo "  curves, images  $(VENV)/bin/tensorboard --logdir=$(QUICKSTART)"
	@echo "Next: your own images. See $(PY) train.py --help and the files in configs/."

test: $(READY) ## Run all tests
	$(PY) -m pytest -n 2 --dist=worksteal

bench: $(READY) ## Time it all, an hour or two; PARTS="layers backbone" BENCH="--quick" for less
	$(PY) -m benchmarks $(PARTS) $(BENCH)

lint: $(READY) ## Check style and formatting
	$(PY) -m ruff check
	$(PY) -m ruff format --check

format: $(READY) ## Format the code and mend what can be mended
	$(PY) -m ruff check --fix
	$(PY) -m ruff format

clean: ## Remove the environment and what the tools left behind; keeps runs/
	rm -rf $(VENV) build dist keras_frcnn.egg-info .pytest_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

# An environment that no longer starts (its Python was removed) is made anew; another one is brought up to date.
$(READY): setup.py pyproject.toml
	@$(PY) -c "" 2>/dev/null || { \
		for python in $(or $(PYTHON),python3 python3.13 python3.12 python3.11); do \
			command -v $$python >/dev/null || continue; \
			$$python -c "import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))" 2>/dev/null || \
				{ unfit="$$unfit $$python"; continue; }; \
			$$python -c "import ensurepip, venv" 2>/dev/null || \
				{ bare="$$bare $$python"; continue; }; \
			echo "Making $(VENV) with $$python"; \
			exec $$python -m venv --clear $(VENV); \
		done; \
		echo "No usable Python: keras-frcnn needs Python 3.11, 3.12 or 3.13 with the venv module." >&2; \
		test -z "$$unfit" || echo "  other versions:$$unfit" >&2; \
		test -z "$$bare" || echo "  without venv (on Debian: apt install python3-venv):$$bare" >&2; \
		echo "  name another one: make PYTHON=/path/to/python3.12" >&2; \
		exit 1; \
	}
	@echo "Installing keras-frcnn and what it needs into $(VENV) (TensorFlow is large; this takes minutes)"
	@$(PY) -m pip install --quiet --editable ".[dev]"
	@touch $@
