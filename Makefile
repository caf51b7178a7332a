PYTHON ?= python3
TRIALS ?= 100
# Seconds that a search may take, all of them used; empty: as long as it needs.
TIMEOUT ?= 2700
ARGS ?=

# What is installed in .venv: what running needs, and what testing needs as well.
READY := .venv/.ready-run
READY_TEST := .venv/.ready-test
INSTALL := .venv/bin/python -m pip install --quiet -c constraints.txt -e
RUN := .venv/bin/python -m search.run

PYTEST := .venv/bin/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

.PHONY: search try check test test-slow test-all lint docs benchmark clean

search: $(READY)  ## search, full trainings, report
	$(RUN) --trials $(TRIALS) $(if $(TIMEOUT),--timeout $(TIMEOUT)) $(ARGS)

try: $(READY)  ## the same in small: bundled digits, five trials
	$(RUN) --dataset digits --trials 5 --study try $(ARGS)

check: lint  ## lint, types, imports, and the tests that load no TensorFlow, start no process, run no study, draw no report
	$(PYTEST) --light $(ARGS)

test: $(READY_TEST)  ## all but the slow ones: ten minutes on two cores
	$(PYTEST) -m "not slow" $(ARGS)

test-slow: $(READY_TEST)  ## the others: kills, clusters, exports, the wheel, whole studies
	$(PYTEST) -m slow $(ARGS)

test-all: $(READY_TEST)  ## both at once, as CI does: what their files share is made once, and no process waits between
	$(PYTEST) $(ARGS)

lint: $(READY_TEST)
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/lint-imports
	.venv/bin/pyright

docs: $(READY)  ## the documentation as a site, in site/
	$(INSTALL) '.[docs]'
	NO_MKDOCS_2_WARNING=1 .venv/bin/python -m mkdocs build --strict $(ARGS)

benchmark: $(READY_TEST)  ## the tool against its peers at equal time: seven, 20 minutes each
	$(INSTALL) '.[test,benchmark]'
	.venv/bin/python -m tests.benchmarks.peers $(ARGS)

clean:  ## caches only: no study, no environment
	find . \( -name .venv -o -name .git -o -name studies \) -prune -o -name __pycache__ -type d -exec rm -rf {} +
	rm -rf .pytest_cache .ruff_cache .coverage build site *.egg-info

.venv/bin/python:
	$(PYTHON) -m venv .venv

$(READY): pyproject.toml constraints.txt | .venv/bin/python
	$(INSTALL) .
	touch $@

$(READY_TEST): $(READY)
	$(INSTALL) '.[test]'
	touch $@
