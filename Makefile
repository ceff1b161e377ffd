# Everything that a person or CI runs. `make plan` and `make test` need only git, make, Python 3.11 and the package registries.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(shell command -v uv 2>/dev/null)
PHASES := mvp phase2 phase3

.PHONY: plan test check format setup setup-dev lock bench clean

plan: setup ## What the default phases build and cost, and what each step up changes
	@for phase in $(PHASES); do $(BIN)/rungway plan $$phase || exit $$?; done
	@set -- $(PHASES); while [ $$# -gt 1 ]; do $(BIN)/rungway diff $$1 $$2 || exit $$?; shift; done

test: setup-dev tools ## All tests
	$(BIN)/pytest

check: setup-dev ## Format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: setup-dev ## What planning costs beside a flat program with the same resources
	$(BIN)/python bench/plan_speed.py

format: setup-dev ## Rewrite the code in the project's format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Tests that boot servers need root on Debian or Ubuntu and these packages; elsewhere they skip and say so.
TOOLS := mmdebstrap systemd-container debian-archive-keyring curl e2fsprogs iproute2 mount nftables openssh-client
.PHONY: tools
tools:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! dpkg-query --show $(TOOLS) >/dev/null 2>&1; then \
		echo "installing what rehearsals need: $(TOOLS)"; \
		apt-get update -qq; DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(TOOLS) >/dev/null; \
	fi

setup: $(VENV)/.installed
setup-dev: $(VENV)/.installed-dev

# The marks depend on the locks, so that a changed lock is installed before anything runs. The development set holds the other one.
$(VENV)/.installed: requirements.lock pyproject.toml | $(BIN)/python
	@test -e $(VENV)/.installed-dev || $(MAKE) --no-print-directory install LOCK=requirements.lock
	@touch $@

$(VENV)/.installed-dev: requirements-dev.lock pyproject.toml | $(BIN)/python
	@$(MAKE) --no-print-directory install LOCK=requirements-dev.lock
	@touch $@ $(VENV)/.installed

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "rungway needs Python 3.11 or newer; $(PYTHON) is older. Set PYTHON=/path/to/python3.11." >&2; exit 1; }
ifdef UV
	@uv venv --quiet --python "$$(command -v $(PYTHON))" $(VENV)
else
	@$(PYTHON) -m venv $(VENV)
endif

.PHONY: install
install:
ifdef UV
	@uv pip sync --quiet --python $(BIN)/python --require-hashes $(LOCK)
	@uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
else
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement $(LOCK)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
endif

lock: setup-dev ## Resolve the dependencies anew into the two locks
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --upgrade \
		--group build pyproject.toml --output-file requirements.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --upgrade \
		--constraints requirements.lock --group build --group dev pyproject.toml --output-file requirements-dev.lock

clean: ## Remove what make built
	rm -rf $(VENV) build *.egg-info
