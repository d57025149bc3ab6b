# Each target does everything it needs on a machine that has Python >= 3.11 and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TSC := npm_config_fetch_retries=0 npm_config_fetch_timeout=20000 npx --yes --package typescript@5.9.3 tsc
ARGS ?=

.PHONY: demo test lint bench results results-long clean

# Installed again whenever the requirements or the package's metadata change.
$(VENV)/.installed: requirements.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -r requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	touch $@

demo: $(VENV)/.installed
	$(BIN)/cogmentlab demo $(ARGS)

test: $(VENV)/.installed
	$(BIN)/python -m pytest --numprocesses 3 --dist loadfile $(ARGS)

# The namespace is complete only when installed (integrations/ and algorithms/ are mapped into it), so mypy reads a
# built wheel.
lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	rm -rf build/lint && mkdir -p build/lint
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir build/lint .
	$(BIN)/python -m pip install --quiet --no-deps --target build/lint/site build/lint/*.whl
	cd build/lint && MYPYPATH=site ../../$(BIN)/mypy --config-file ../../pyproject.toml -p cogment_lab
	if $(TSC) --version >/dev/null 2>&1; then $(TSC) -p jsconfig.json; \
	else echo "no npx, or no typescript to fetch: the pages' JavaScript is not type-checked"; fi

bench: $(VENV)/.installed
	$(BIN)/python benchmarks/step.py $(ARGS)
	$(BIN)/python benchmarks/read.py $(ARGS)
	$(BIN)/python benchmarks/learn.py $(ARGS)
	$(BIN)/python benchmarks/services.py $(ARGS)
	$(BIN)/python benchmarks/seats.py $(ARGS)
	$(BIN)/python benchmarks/soak.py $(ARGS)
	$(BIN)/python benchmarks/seats_soak.py $(if $(ARGS),$(ARGS),--hours 0.5)

# Of the table of docs/offline.md, what it claims, within 15 minutes on two cores; finished runs are not run again.
results: $(VENV)/.installed
	$(BIN)/python benchmarks/offline.py --jobs 2 --write --algorithms BC TD3+BC IQL $(ARGS)

# The whole table (150 runs, most of an hour), d3rlpy's IQL on the same data in an environment of its own, and
# MuJoCo (hours: SAC learns first, in each of two environments; MUJOCO_ARGS="--train-steps 2000 ..." is shorter).
results-long: $(VENV)/.installed runs/d3rlpy/.installed $(VENV)/.mujoco
	$(BIN)/python benchmarks/offline.py --jobs 2 --write $(ARGS)
	$(BIN)/python benchmarks/offline_d3rlpy.py export runs/offline/d3rlpy.npz
	runs/d3rlpy/bin/python benchmarks/offline_d3rlpy.py learn runs/offline/d3rlpy.npz $(D3RLPY_ARGS)
	$(BIN)/python benchmarks/offline_mujoco.py --jobs 2 $(MUJOCO_ARGS)

# With the torch of requirements.txt: an unpinned one pulls gigabytes of CUDA packages.
runs/d3rlpy/.installed: requirements.txt
	$(PYTHON) -m venv runs/d3rlpy
	runs/d3rlpy/bin/python -m pip install --quiet "$$(grep '^torch==' requirements.txt)" d3rlpy==2.8.1
	touch $@

$(VENV)/.mujoco: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet "gymnasium[mujoco]" mujoco==4.0.0
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info
