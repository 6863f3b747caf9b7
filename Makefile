# One target for each habit; `make help` lists them.
VENV ?= .venv
PYTEST_ARGS ?=
export PYTHON
# The folder of PyO3's sources, which tools/pyo3-crates fetches for the tests.
export OWNGIL_CRATES ?= $(wildcard .venvs/crates)

.DEFAULT_GOAL := help
.PHONY: help demo test test-all stress fuzz asan tsan soak bench ecosystem lint format clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "Variables: PYTHON=path of the Python to use, VENV=folder (.venv), PYTEST_ARGS=arguments of pytest (-n0: one process)"

demo: ## draw the Mandelbrot set on all cores and compare with threads and processes
	@tools/make-venv $(VENV) cli
	$(VENV)/bin/owngil mandelbrot --compare --kernel python

# Several processes run the tests, as conftest.py says; PYTEST_ARGS=-n0 runs them in one.
PYTEST = $(VENV)/bin/python -m pytest -n auto --dist worksteal

test: ## run the tests on one Python
	@tools/make-venv $(VENV) test
	@$(PYTEST) $(if $(REPORT),--junit-xml=$(REPORT)) $(PYTEST_ARGS)

stress: ## run the loops that provoke rare races for long, on one Python
	@tools/make-venv $(VENV) test
	@$(PYTEST) --stress $(PYTEST_ARGS)

test-all: ## run the tests on Python 3.12, 3.13, 3.14 and 3.15
	@tools/test-all

# The programs of tests/fuzz share the time equally; NAME=elf_read is one of them.
SECONDS = 600
SEED = 0
FUZZ = $(if $(NAME),tests/fuzz/$(NAME).py,$(filter-out tests/fuzz/test_%,$(wildcard tests/fuzz/*.py)))

fuzz: ## run random cases for a while, SECONDS=600 SEED=0 NAME=elf_read; a failure says how to run its case again
	@tools/make-venv $(VENV) test
	@status=0; for program in $(FUZZ); do \
		$(VENV)/bin/python $$program --seconds $$(($(SECONDS) / $(words $(FUZZ)))) --seed $(SEED) || status=1; \
	done; exit $$status

asan: ## run the loader's tests with the address and undefined behaviour sanitizers
	@tools/asan .venvs/asan $(PYTEST_ARGS)

tsan: ## run the core's tests with the thread sanitizer
	@tools/tsan .venvs/tsan $(PYTEST_ARGS)

soak: ## run a million tasks with failures, interrupts and all ends of pools: tests/soak/results; 10 minutes or more
	@tools/make-venv $(VENV) test
	$(VENV)/bin/python tests/soak/soak.py \
		--json tests/soak/results/$$($(VENV)/bin/python -c 'import platform; print(platform.python_version())').json

bench: ## measure all executors and the picture: benchmarks/results, docs/bench.png and the README's tables; 20 minutes
	@tools/make-venv $(VENV) bench
	$(VENV)/bin/python benchmarks/bench.py --repeat 3 --largest 1000 --plot docs/bench.png \
		--json benchmarks/results/bench-$$($(VENV)/bin/python -c 'import platform; print(platform.python_version())').json
	$(VENV)/bin/python benchmarks/picture.py
	$(VENV)/bin/python benchmarks/steps.py
	$(VENV)/bin/python benchmarks/readme.py

ecosystem: ## run the packages' checks and own test suites in workers; writes docs/compatibility.md; hours
	@tools/ecosystem

lint: ## check style, types and layers
	@tools/make-venv $(VENV) test,dev
	$(VENV)/bin/ruff check src tests examples benchmarks
	$(VENV)/bin/ruff format --check src tests examples benchmarks
	$(VENV)/bin/mypy
	$(VENV)/bin/python tools/lint-layers
	$(VENV)/bin/python tools/lint-includes
	tools/lint-c $(VENV)

format: ## format the Python and C code
	@tools/make-venv $(VENV) test,dev
	$(VENV)/bin/ruff check --fix src tests examples benchmarks
	$(VENV)/bin/ruff format src tests examples benchmarks
	find src/core -name '*.[ch]' | xargs $(VENV)/bin/clang-format -i

clean: ## remove all files that make made here
	rm -rf .venv .venvs build
