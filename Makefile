# The book's commands. On a fresh machine with Python >= 3.11 and make, `make book` or `make test` is enough.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: help book test serve exercises records checkpoints chapter clean

help: ## what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

book: .venv/installed ## install, fetch the data, execute the chapters, build the site
	@$(BIN)/python -m tools.book

test: book ## everything that CI runs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell
	$(BIN)/python -m tools.suite

serve: book ## build the site and serve it on http://localhost:8000
	$(BIN)/python -m http.server --directory _build/html 8000

exercises: .venv/installed ## regenerate exercises/ from solutions/ through a throwaway gradebook
	$(BIN)/python -m tools.exercises

records: .venv/installed ## repeat the recorded runs whose code has changed
	$(BIN)/python -m tools.records

checkpoints: .venv/installed ## pre-train the book's own models that are missing, verify the others
	$(BIN)/python -m tools.checkpoints

chapter: .venv/installed ## lay out a new chapter: make chapter era=features stem=naive_bayes
	$(BIN)/python -m tools.chapter "$(era)" "$(stem)"

clean: ## remove what was built (the data and the virtual environment stay)
	rm -rf _build .pytest_cache .ruff_cache .mypy_cache .hypothesis
