# aibridge: every command sets up what it needs in .venv; only Python 3.11 or newer has to be there.
PYTHON ?= python3
RUN := .venv/bin/python
NPM := tests/end_to_end/node_modules/.package-lock.json
ALL_CORES := -n auto --dist loadfile
unexport PYTHONDONTWRITEBYTECODE # else each process compiles anew what it imports, pytest all tests
CLIENTS := .venv-clients/.installed .venv-servers/.installed .venv-sqlite/.installed

.PHONY: demo test check format bench golden lock soak clean

demo: .venv/.runtime ## the main job on embedded defaults; ONCE=1 ends by itself
	$(RUN) -m aibridge.cli demo $(if $(ONCE),--once)

test: .venv/.dev $(NPM) $(CLIENTS) ## all tests
	$(RUN) -m pytest $(ALL_CORES)

check: .venv/.dev $(NPM) $(CLIENTS) ## format, lint, types, layers, tests
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	$(RUN) -m pytest $(ALL_CORES)

format: .venv/.dev ## put the code in order
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

golden: .venv/.dev ## write the golden conversations' expected files anew; look at the difference before you commit
	AIBRIDGE_GOLDEN=write $(RUN) -m pytest tests/conversations

# aibridge is measured in .venv's Python, or in another one: PYTHON_BENCH=/usr/bin/python3.
BENCH_ENVIRONMENT := $(if $(PYTHON_BENCH),.venv-bench/python/.made-by$(subst /,-,$(PYTHON_BENCH)))
bench: .venv/.runtime $(if $(QUICK),,.venv-bench/.peers) $(BENCH_ENVIRONMENT) ## measure beside nginx and others; QUICK=1 takes two minutes
	$(if $(PYTHON_BENCH),AIBRIDGE_BENCH_PYTHON=.venv-bench/python/bin/python) \
		$(RUN) -m bench $(if $(QUICK),--quick) $(BENCH)

.venv-bench/python/.made-by%: requirements.txt
	$(PYTHON_BENCH) -m venv --clear .venv-bench/python
	.venv-bench/python/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@touch $@

# What aibridge is measured against. What cannot be installed is named by the run, and left out.
.venv-bench/.peers: .venv/bin/python bench/peers/requirements.txt
	rm -rf .venv-bench/bin .venv-bench/lib
	$(RUN) -m venv .venv-bench
	-.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check -r bench/peers/requirements.txt
	-npm install --silent --no-audit --no-fund --no-save --prefix .venv-bench @portkey-ai/gateway@1.15.2
	@touch $@

lock: .venv/.dev ## pin all dependencies anew, with hashes and without any host
	.venv/bin/uv pip compile pyproject.toml $(LOCK) -o requirements.txt
	.venv/bin/uv pip compile pyproject.toml --extra dev $(LOCK) -o requirements-dev.txt
	for each in clients servers sqlite; do .venv/bin/uv pip compile tests/end_to_end/requirements-$$each.in \
		$(LOCK) -o tests/end_to_end/requirements-$$each.txt; done
PROPERTIES := $(addprefix tests/bridge/test_,properties.py responses_properties.py memory.py recall.py) \
	tests/dialects/translating/test_properties.py tests/upstreams/test_agreement.py
SOAKS := $(addprefix tests/end_to_end/test_,soak.py reconciliation.py crashes.py workers.py reloading.py) \
	tests/tools/test_soak.py tests/web/test_large_uploads.py $(PROPERTIES)
LOCK := --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-annotate --no-header

soak: .venv/.dev ## half an hour of mixed load; MCP servers that are killed; aibridge killed 200 times; 10 000 exchanges compared; ten times the examples
	AIBRIDGE_SOAK=1 $(RUN) -m pytest -s -n0 $(SOAKS)

clean:
	rm -rf .venv .venv-clients .venv-servers .venv-sqlite .venv-bench bench/build tests/end_to_end/node_modules
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "aibridge needs Python 3.11 or newer; name one: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv .venv

.venv/.runtime: .venv/bin/python requirements.txt
	$(RUN) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@touch $@

.venv/.dev: .venv/bin/python requirements-dev.txt pyproject.toml
	$(RUN) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@ .venv/.runtime

# Client libraries and MCP servers that the end-to-end tests drive, away from what aibridge itself needs.
.venv-%/.installed: tests/end_to_end/requirements-%.txt | .venv/bin/python
	$(RUN) -m venv --clear .venv-$*
	.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r $<
	@touch $@

# Not `npm ci`: it wants packages of every platform in the lock file, and registries may hold those of one alone.
# Without npm the tests that drive JavaScript programs say so and are skipped (never in CI).
$(NPM): tests/end_to_end/package-lock.json
	@if command -v npm >/dev/null; then \
		cd tests/end_to_end && npm install --silent --no-save --no-audit --no-fund && touch node_modules/.package-lock.json; \
	else echo "npm is missing: tests with JavaScript programs are skipped; install Node.js 20 or newer"; fi
