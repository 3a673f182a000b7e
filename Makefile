# mfi: each target sets up what it needs by itself, in .venv. Needs Python >= 3.11 (with venv) and make.
PYTHON ?= python3
BIN := .venv/bin
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help demo test lint fmt knowledge bench chaos clean

help:           ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:[^#]*##/\t/' | expand -t 12

demo: .venv/run.stamp  ## bot + sandbox Slack + broken mail servers on loopback; prints the page's address
	@$(BIN)/mfi demo

test: .venv/dev.stamp  ## all tests, small profiles, with coverage
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest -n 2 --dist loadgroup $(ARGS)
	@$(BIN)/coverage combine -q
	@$(BIN)/coverage report --fail-under=92
	@$(BIN)/coverage report --include='bot/core/*,knowledge/*,storage/records.py' --fail-under=100

lint: .venv/dev.stamp  ## formatting, style, types, import rules, generated docs, spelling
	@$(BIN)/ruff format --check -q .
	@$(BIN)/ruff check -q .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m knowledge > /dev/null
	@$(BIN)/cog --check -I . README.md
	@$(BIN)/codespell README.md CHANGELOG.md Makefile bot knowledge storage tests

fmt: .venv/dev.stamp   ## format, fix what can be fixed, regenerate the README's tables and .env.example
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .
	@$(BIN)/cog -r -I . README.md
	@$(BIN)/python -c 'from bot.settings import render_env_example as r; print(r(), end="")' > .env.example

knowledge: .venv/dev.stamp  ## which codes have an article, and that none is out of reach
	@$(BIN)/python -m knowledge

chaos: .venv/dev.stamp ## kills, outages and floods, full counts
	@MFI_CHAOS=full $(BIN)/pytest tests/chaos -s $(ARGS)

bench: .venv/dev.stamp ## speed figures
	@$(BIN)/python -m tests.bench

clean:          ## remove the virtual environment and caches
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .import_linter_cache .coverage .coverage.*

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("mfi needs Python 3.11 or newer") if sys.version_info < (3, 11) else None'
	@$(PYTHON) -m venv .venv

.venv/run.stamp: .venv/bin/python pyproject.toml constraints.txt
	@echo "Setting up .venv (once) …"
	@PYTHONWARNINGS=ignore $(BIN)/python -m pip install -q -e .
	@touch $@

.venv/dev.stamp: .venv/bin/python pyproject.toml constraints.txt
	@echo "Setting up .venv with the test tools (once) …"
	@PYTHONWARNINGS=ignore $(BIN)/python -m pip install -q -e '.[dev]'
	@touch $@ .venv/run.stamp
