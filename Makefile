PYTHON ?= python3
TRIALS ?= 100
ARGS ?=

READY := .venv/.ready
RUN := .venv/bin/python -m search.run

PYTEST := .venv/bin/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

.PHONY: search try check test test-slow lint docs benchmark clean

search: $(READY)  ## search, confirm, retrain, report
	$(RUN) --trials $(TRIALS) $(ARGS)

try: $(READY)  ## the same in small: bundled digits, five trials
	$(RUN) --dataset digits --trials 5 --study try $(ARGS)

check: lint  ## the inner loop: lint, types, imports, and the tests that load no TensorFlow and start no process
	.venv/bin/python -m pytest --light $(ARGS)

test: $(READY)  ## all but the slow ones: ten minutes on two cores
	$(PYTEST) -m "not slow" $(ARGS)

test-slow: $(READY)  ## the others: kills, several machines, exports, whole studies
	$(PYTEST) -m slow $(ARGS)

lint: $(READY)
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/lint-imports
	.venv/bin/pyright

docs: $(READY)  ## the documentation as a site, in site/
	.venv/bin/python -m pip install --quiet -c constraints.txt -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 .venv/bin/python -m mkdocs build --strict $(ARGS)

benchmark: $(READY)  ## the tool against its peers at equal time: seven, 20 minutes each
	.venv/bin/python -m pip install --quiet -c constraints.txt -e '.[test,benchmark]'
	.venv/bin/python -m tests.benchmarks.peers $(ARGS)

clean:  ## caches only: no study, no environment
	find . \( -name .venv -o -name .git -o -name studies \) -prune -o -name __pycache__ -type d -exec rm -rf {} +
	rm -rf .pytest_cache .ruff_cache build site *.egg-info

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet -c constraints.txt -e '.[test]'
	touch $@
