# Everything runs in .venv, made with plain python3 and pip from the hashed locks.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help demo test quick coverage check fix docs lock bench screenshots clean
.DEFAULT_GOAL := help

help: ## what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' Makefile

$(READY): requirements-dev.txt pyproject.toml Makefile
	@echo "Making .venv (once; about a minute)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Longcall needs Python 3.11 or newer; PYTHON=… names another one"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --require-hashes -r requirements-dev.txt
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $(READY)

demo: $(READY) ## the whole story in under 30 s, on free ports of this machine
	@$(BIN)/longcall demo

# Tests of whole processes mostly wait, and the one about silence does nothing else: they run beside the others.
SILENCE := tests/end_to_end/test_silence.py
BESIDE = $(BIN)/pytest -q -p no:cacheprovider

test: $(READY) ## every test, the slow ones too (about fifteen minutes)
	@$(BESIDE) $(SILENCE) > .silence.log 2>&1 & silence=$$!; \
	$(BESIDE) tests/end_to_end tests/bench --ignore=$(SILENCE) > .end_to_end.log 2>&1 & processes=$$!; \
	$(BIN)/pytest --ignore=tests/end_to_end --ignore=tests/bench; rest=$$?; \
	wait $$processes; whole=$$?; wait $$silence; held=$$?; cat .end_to_end.log .silence.log; rm -f .end_to_end.log .silence.log; \
	test $$rest -eq 0 && test $$whole -eq 0 && test $$held -eq 0

coverage: $(READY) ## which lines the tests without the slow ones run
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest -q -m "not slow"
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report

quick: $(READY) ## the tests without the slow ones
	@$(BIN)/pytest -m "not slow"

check: $(READY) ## lint, types, rooms, docs
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/pytest -q tests/test_docs.py

fix: $(READY) ## format, mend what ruff can mend, make the generated pages anew
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .
	@$(BIN)/python docs/make.py

docs: $(READY) ## the pages as a site, in build/docs: read it offline
	@$(BIN)/sphinx-build -q -W --keep-going -b html -d build/doctrees docs build/docs
	@echo "build/docs/index.html"

UPGRADE := --upgrade
LOCK := $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-emit-package longcall

lock: $(READY) ## make requirements.txt and requirements-dev.txt anew; UPGRADE= keeps what is locked
	@$(LOCK) $(UPGRADE) --extra server --extra postgres --extra firestore --extra otel --output-file requirements.txt pyproject.toml
	@$(LOCK) $(UPGRADE) --group dev --output-file requirements-dev.txt pyproject.toml

ONLY := relay laptop held_calls recovery storm scale embedded_queue lists dashboard telemetry startup

bench: $(READY) ## the measurements beside a baseline, into docs/benchmarks.md; ONLY=relay is one of them
	@mkdir -p bench/results; failed=; for each in $(ONLY); do \
		echo "bench/$$each.py"; $(BIN)/python bench/$$each.py --json bench/results/$$each.json || failed="$$failed $$each"; \
	done; $(BIN)/python bench/page.py || exit 1; test -z "$$failed" || { echo "not measured:$$failed"; exit 1; }

screenshots: $(READY) ## the pictures in docs/images anew, with Chromium
	@$(BIN)/python docs/screenshots.py

clean: ## forget .venv and what tools left
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage* longcall-data
