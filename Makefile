PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: setup run test test-fast test-system test-soak soak check format bench corpus reproduce clean
.DEFAULT_GOAL := setup

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade "pip>=25.1"  # older ones know no dependency groups
	$(BIN)/pip install --quiet --constraint constraints.txt --editable . --group dev
	touch $@

setup: $(INSTALLED)  ## Create .venv with everything; the command is .venv/bin/tuner

run: $(INSTALLED)  ## Find the alignment strength of the shipped example
	$(BIN)/tuner run mfeat-few

test: $(INSTALLED)  ## Pass all tests, two files at a time: many of them wait for servers to start
	$(BIN)/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

test-fast: $(INSTALLED)  ## Pass the tests that start no process and no server and compute for a moment only
	$(BIN)/pytest --numprocesses 2 --dist loadfile -m "not integration and not slow and not system and not soak"

test-system: $(INSTALLED)  ## Pass those that take half a minute each: whole studies, with kills and browsers
	$(BIN)/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder -m "system and not soak"

test-soak: $(INSTALLED)  ## Pass a tenth of those of `soak` that need no servers: how often verdicts are wrong, say
	SOAK=0.1 $(BIN)/pytest --numprocesses 2 --dist loadfile -m "soak and not integration and not system"

soak: $(INSTALLED)  ## Pass the tests that take minutes each: many users, many faults (SOAK=0.1: a tenth)
	$(BIN)/pytest -m soak

check: $(INSTALLED)  ## Format, lint, types, import direction, dependencies
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry .

format: $(INSTALLED)  ## Put the code into the format that `check` wants
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(INSTALLED)  ## Measure speed against baselines in the same run
	$(BIN)/python -m tests.benchmarks

corpus: $(INSTALLED)  ## Train the past studies that `tuner predict` goes by; goes on where it was cut
	$(BIN)/python -m tests.benchmarks.corpus

reproduce: $(INSTALLED)  ## Try the paper's findings again; writes to tests/benchmarks/results (SHORT=1: a minute)
	$(BIN)/python -m tests.benchmarks.reproduce $(if $(SHORT),--short)

clean:  ## Remove what `setup` and the tools made; studies in .tuner stay
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
