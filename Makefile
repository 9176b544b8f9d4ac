# hpkit: `make help` lists what can be made. Needs Python 3.11 to 3.14, git and make.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
KERAS  := $(VENV)/keras
LOWEST := $(VENV)/lowest
CONTRIB := $(VENV)/contrib
GRAF   ?= /usr/share/doc/opencv-doc/examples/data
# Only cells tagged nbval-check-output are compared; the others have to run.
NBVAL  := --nbval-lax --nbval-current-env --nbval-cell-timeout=900 \
          --nbval-sanitize-with=tests/nbval_sanitize.cfg
# Two files at a time, a thread each: threads that wait for each other cost more than they bring.
TWO    := -n 2 --dist loadfile --no-loadscope-reorder
# JupyterLab refuses to start for root (the usual user inside a container) without this.
ROOT   := $(if $(filter 0,$(shell id -u)),--allow-root)

# Tests and committed notebooks train everything anew: no kept run of older code may slip in.
FRESH  := export HPKIT_RUNS=$$(mktemp -d); trap 'rm -rf "$$HPKIT_RUNS"' EXIT;

.DEFAULT_GOAL := help
.PHONY: help install run lab check lowest test browser notebooks site class marks figure reference \
        pretrained clinic faults gpu-check benchmark peers replica colab badges lock clean clean-cache

help:  ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP)  ## set up .venv with the locked versions (does nothing the second time)

run: $(STAMP)  ## run the whole book without a browser; ends with the page to open
	$(BIN)/hpkit book

lab: $(STAMP)  ## open the notebooks in JupyterLab
	$(BIN)/jupyter lab $(ROOT) notebooks

check: $(STAMP)  ## ruff, and all tests but those that train, install or run whole notebooks
	$(BIN)/ruff check
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(TWO) -m "not slow"

# The tests of the set-up are about the locked versions, not about these.
lowest: $(LOWEST)/.installed  ## the quick tests with the lowest versions that pyproject.toml allows
	OMP_NUM_THREADS=1 $(LOWEST)/bin/python -m pytest $(TWO) -m "not slow" --ignore tests/test_setup.py

# A slow machine leaves some repetitions out and says which: HPKIT_TESTS=all makes it run them.
# The notebooks come first: small files of tests at the end keep both workers busy until then.
test: $(STAMP)  ## every test: ruff, quick tests, notebooks, slow tests
	$(BIN)/ruff check
	$(FRESH) OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(TWO) $(NBVAL) notebooks tests

browser: $(STAMP)  ## use every chapter in a real JupyterLab, through Chromium (15 minutes)
	HPKIT_TESTS=all HPKIT_BROWSER=all $(BIN)/python -m pytest tests/slow/test_browser.py

notebooks: $(STAMP)  ## execute the committed notebooks again and store their outputs
	$(FRESH) $(BIN)/python tests/helpers/execute_notebooks.py

site: $(STAMP)  ## make the site of the notebooks as they are, in seconds, without running them
	$(BIN)/hpkit site --out build/book

class: $(STAMP)  ## write dist/hpkit-class.zip for students: no solutions, no outputs
	$(BIN)/hpkit class dist

# HANDED=FOLDER holds a folder for each student, with the notebooks of that student.
marks: $(STAMP)  ## run what students hand in, and write who solved what: make marks HANDED=FOLDER
	@test -n "$(HANDED)" || { echo "HANDED='': expected a folder, STUDENT/*.ipynb in it"; exit 1; }
	$(BIN)/hpkit marks "$(HANDED)"

figure: $(STAMP)  ## draw the figures of the README anew
	$(BIN)/python tests/helpers/figures.py

reference: $(STAMP)  ## go on with the recorded runs in notebooks/results (hours; stop any time)
	$(BIN)/hpkit record reference

pretrained: $(STAMP)  ## train the shipped networks anew, and what they are compared with (an hour)
	$(BIN)/hpkit record pretrained

clinic: $(STAMP)  ## run the broken runs of chapter 13 and their healthy twins anew (ten minutes)
	$(BIN)/hpkit record clinic

faults: $(STAMP)  ## kill, damage, fill the disk ...: all faults at full counts, and their table
	$(BIN)/python tests/faults/kills.py

gpu-check: $(STAMP)  ## does the GPU compute what the CPU does, the same twice, and how fast?
	$(BIN)/python tests/benchmarks/gpu_check.py --out build/gpu-check

# The Keras baseline has an environment of its own; without it two scripts say how to get it.
benchmark: $(STAMP)  ## measure speed and memory beside the Keras baseline (15 minutes, 2 cores)
	-@$(MAKE) --no-print-directory $(KERAS)/.installed
	@failed=; for name in startup where_time_goes inference training evaluation scaling quality tables; do \
	    $(BIN)/python tests/benchmarks/$$name.py || failed="$$failed $$name"; done; \
	    test -z "$$failed" || { echo "no figures from:$$failed"; exit 1; }

# OpenCV contrib has an environment of its own: its cv2 would take the place of the kit's.
peers: $(STAMP) $(CONTRIB)/.installed  ## score other descriptors on the kit's patches and photos
	$(BIN)/python tests/benchmarks/peers.py
	$(BIN)/python tests/benchmarks/peer_pairs.py $(GRAF)
	$(BIN)/python tests/helpers/peer_tables.py

replica: $(STAMP)  ## fetch, convert and score a replica of HPatches (12 GB of disk)
	$(BIN)/python tests/benchmarks/replica.py

colab: $(STAMP)  ## write dist/hpkit-colab.zip: the notebooks for Colab, with all they need
	$(BIN)/hpkit colab --zip dist

badges: $(STAMP)  ## write an address everywhere: make badges REPO=owner/name (of GitHub)
	$(BIN)/hpkit colab $(if $(REPO),--repo "$(REPO)")

# torch stays at one version: recorded results and digests were made with it. Its CUDA packages
# are left out, so that the CPU build can be had; the CUDA build asks for them by itself.
lock: $(BIN)/python  ## look up the newest versions and write requirements.lock
	$(BIN)/pip install --quiet uv
	printf 'setuptools>=77\ntorch==2.13.0\n' | $(BIN)/uv pip compile --quiet --universal \
	    --python-version 3.11 --fork-strategy fewest --upgrade --all-extras --no-annotate \
	    --no-header pyproject.toml - > $(VENV)/compiled.txt
	(echo '# Every dependency at one version, for Python 3.11 to 3.14. Written by `make lock`.'; \
	    grep -vE '^(nvidia|cuda|triton)' $(VENV)/compiled.txt) > requirements.lock

clean:  ## delete what was made here: .venv, the book, caches of the tools
	rm -rf $(VENV) _book build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

clean-cache: $(STAMP)  ## delete what hpkit keeps (HPKIT_CACHE, HPKIT_RUNS), but not HPatches
	$(BIN)/hpkit clean

# A half-made environment is removed: the next try starts afresh.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null || { \
	    found=$$($(PYTHON) --version 2>&1) || found=missing; \
	    echo "hpkit needs Python 3.11 to 3.14, and $(PYTHON) is $$found:" \
	    "name another one, for instance make PYTHON=python3.12 run"; exit 1; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(STAMP): requirements.lock pyproject.toml | $(BIN)/python
	@if [ "$$(uname)" = Linux ] && ! command -v nvidia-smi >/dev/null && \
	    [ -z "$$PIP_EXTRA_INDEX_URL$$PIP_FIND_LINKS" ]; then \
	    echo "No NVIDIA GPU here? The small CPU build of torch saves 2 GB: stop this (Ctrl-C) and"; \
	    echo "export PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu"; sleep 5; fi
	$(BIN)/pip install --disable-pip-version-check -r requirements.lock
	$(BIN)/pip install --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

# As in `make lock`, the CUDA packages are left out: the CUDA build asks for them by itself.
$(LOWEST)/.installed: pyproject.toml | $(BIN)/python
	$(PYTHON) -m venv $(LOWEST)
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile --quiet --resolution lowest-direct --python-version 3.11 --all-extras \
	    --no-annotate --no-header pyproject.toml > $(LOWEST)/compiled.txt
	(echo 'setuptools>=77'; \
	    grep -vE '^(nvidia|cuda|triton)' $(LOWEST)/compiled.txt) > $(LOWEST)/lowest.txt
	$(LOWEST)/bin/pip install --disable-pip-version-check -r $(LOWEST)/lowest.txt
	$(LOWEST)/bin/pip install --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

$(KERAS)/.installed: tests/benchmarks/keras.txt | $(BIN)/python
$(CONTRIB)/.installed: tests/benchmarks/contrib.txt | $(BIN)/python
$(KERAS)/.installed $(CONTRIB)/.installed:
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/pip install --quiet --disable-pip-version-check -r $<
	touch $@
