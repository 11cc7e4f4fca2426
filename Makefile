# Everything that a person does with a checkout. `make help` lists it.
# ARGS is passed on:   make test ARGS="-k verdict"   make logs ARGS="scheduler"   make bench ARGS="--quick"
PYTHON ?= python3
ARGS ?=
PY := .venv/bin/python
PROJECT ?= flight_delays
MESSAGE ?=

export PYTHONPATH := $(CURDIR):$(CURDIR)/include:$(CURDIR)/plugins
unexport PYTHONDONTWRITEBYTECODE PYTHONHOME VIRTUAL_ENV

.DEFAULT_GOAL := help
.PHONY: help bootstrap dev torch tools demo up down status logs doctor test test-quick test-k8s coverage mutants lint format migration docs bench lock audit sbom image astro trainer-image k8s-demo pictures clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' Makefile

bootstrap: ## build .venv from requirements.txt (every other target does it when needed)
	@PYTHONPATH= $(PYTHON) include/updraft/stack/bootstrap.py

dev: ## add what test, lint and bench need, which is in no environment that only serves (they do it when needed)
	@PYTHONPATH= $(PYTHON) include/updraft/stack/bootstrap.py dev

torch: ## add PyTorch to .venv, for projects with the torch trainer (PIP_FIND_LINKS may name a folder with a CPU build)
	@PYTHONPATH= $(PYTHON) include/updraft/stack/bootstrap.py torch

demo: up ## start everything and replay a year of flights through the real DAGs (7 to 11 minutes)
	@$(PY) -m updraft.cli replay $(PROJECT) --demo $(ARGS)

k8s-demo: bootstrap ## the reference project trained in pods of the cluster of your kubeconfig (docs/kubernetes.md)
	@PYTHON=$(PYTHON) docker/kubernetes/demo $(ARGS)

up: bootstrap ## start PostgreSQL, MLflow and Airflow on this machine
	@$(PY) -m updraft.stack up

down: bootstrap ## stop them; data stays
	@$(PY) -m updraft.stack down

status: bootstrap ## what runs where
	@$(PY) -m updraft.stack status $(ARGS)

logs: bootstrap ## follow the logs; ARGS="scheduler" for one program
	@$(PY) -m updraft.stack logs $(ARGS)

doctor: bootstrap ## look for what is wrong on this machine, and say what to do
	@$(PY) -m updraft.cli doctor $(ARGS)

# Two workers on two cores: what needs a real Airflow mostly waits for it. A few tests by name, file or mark are run by one.
WORKERS ?= $(if $(filter -k% -m% --lf% --ff% --pdb% -n% -p% tests/% %.py,$(subst ::, ,$(ARGS))),0,2)
SIDE_BY_SIDE = -n $(1) --dist loadscope --no-loadscope-reorder
LANES = $(if $(filter 0,$(WORKERS)),,$(call SIDE_BY_SIDE,$(WORKERS)))
QUICK := not integration and not e2e and not k8s and not slow

test: dev ## every test, cheap rooms first; needs nothing running (ARGS=-x stops at the first failure; WORKERS=0 for one process)
	@$(PY) -m pytest $(LANES) $(ARGS)

test-quick: dev ## the tests that need no service and take no time, within two minutes
	@$(PY) -m pytest $(call SIDE_BY_SIDE,2) -m "$(QUICK)" $(ARGS)

coverage: dev ## every test, and which branches of include/ and plugins/ they reach, those of other processes included
	@rm -f var/coverage/.coverage*
	@mkdir -p var/coverage
	@$(PY) -m coverage run -m pytest $(LANES) $(ARGS); failed=$$?; \
	$(PY) -m coverage combine --quiet && $(PY) -m coverage report --skip-covered --skip-empty && exit $$failed

test-k8s: dev ## the tests that need a real cluster: ../shared/k8s starts one, with ../shared/s3 beside it
	@$(PY) -m pytest -m k8s --k8s $(ARGS)

mutants: dev ## draw small mistakes in release, monitoring and store, and list those that no test notices (ARGS="store --count 100"; an hour or more)
	@$(PY) -m tests.support.mutants $(ARGS)

lint: dev ## ruff, mypy, import-linter, vulture (names that nothing uses; .ci/unused_names.py has the exceptions)
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy
	@$(PY) -c "import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command())"
	@$(PY) -m vulture

format: dev ## let ruff format and sort
	@$(PY) -m ruff check --fix .
	@$(PY) -m ruff format .

migration: dev ## write the migration for what changed in the store's tables: make migration MESSAGE="why"
	@$(PY) -m tests.support.new_migration "$(MESSAGE)" $(ARGS)
	@$(PY) -m ruff format -q include/updraft/store/migrations

docs: bootstrap ## write docs/commands.md from the command line, docs/runbook.md from the texts of the alerts
	@$(PY) -m updraft.cli.reference > docs/commands.md
	@$(PY) -m updraft.alerts.runbook > docs/runbook.md

pictures: dev ## take the README's pictures of the control room with Chromium, from a demo that is up (make demo)
	@$(PY) -m tests.support.demo_pictures

bench: dev ## the speeds that matter, measured side by side
	@$(PY) tests/bench/run.py $(ARGS)

# What is built from its source (two packages) needs setuptools, and so does Updraft itself: it is pinned, with its hash, like the rest.
lock: bootstrap ## write every requirements*.txt anew from pyproject.toml (add ARGS=--upgrade for newer versions)
	@uv=$$PWD/.venv-uv/bin/uv; [ -x $$uv ] || uv=uv; \
	compile() { $$uv pip compile --universal --python-version 3.11 --no-header --quiet --generate-hashes --no-annotate "$$@"; }; \
	compile pyproject.toml --output-file requirements.txt $(ARGS) && \
	base=$$(sed -nE 's/^([a-z0-9._-]+)(\[[^]]*\])?==.*/--no-emit-package \1/p' requirements.txt) && \
	compile pyproject.toml --extra dev --constraint requirements.txt $$base --output-file requirements-dev.txt $(ARGS) && \
	compile --group uv --output-file requirements-uv.txt $(ARGS) && \
	compile --group tools --output-file requirements-tools.txt $(ARGS) && \
	cd docker/trainer && \
	set -- requirements.in --constraint ../../requirements.txt && \
	compile "$$@" --output-file requirements-gpu.txt && \
	compile "$$@" --no-emit-package nvidia-nccl-cu12 --output-file requirements-cpu.txt && \
	torch=$$(sed -nE 's/^torch = \["(.*)"\]/\1/p' ../../pyproject.toml) && \
	printf '%s\n' "$$torch" safetensors | compile "$$@" - --output-file requirements-gpu-torch.txt && \
	cuda=$$(sed -nE 's/^((nvidia|cuda|triton)[a-z0-9-]*)==.*/--no-emit-package \1/p' requirements-gpu-torch.txt) && \
	printf '%s\n' "$$torch" safetensors | compile "$$@" - $$cuda --no-emit-package torch --output-file requirements-cpu-torch.txt && \
	cd ../airflow && left=$$(sed -nE 's/^# left out: (.*)/--no-emit-package \1/p' requirements.in) && \
	others=$$(sed -nE 's/^# of another version: (.*)/\1/p' requirements.in | sed 's/, /|/g') && \
	awk -v others="^($$others)==" '/^[a-z0-9]/ {keep = $$0 !~ others} keep' ../../requirements.txt > constraints.tmp && \
	compile ../../pyproject.toml requirements.in --constraint constraints.tmp $$left --output-file requirements.txt && rm constraints.tmp

tools:
	@PYTHONPATH= $(PYTHON) include/updraft/stack/bootstrap.py tools

audit: tools ## look for known vulnerabilities in what is pinned (asks the service of the package index)
	@for file in requirements*.txt docker/trainer/requirements-*.txt docker/airflow/requirements.txt; do \
	  echo "$$file"; .venv-tools/bin/pip-audit --strict --no-deps --disable-pip --progress-spinner off --requirement $$file || exit 1; \
	done

sbom: tools ## write what is in Airflow's side and in each image as CycloneDX files: var/sbom (by the pins alone)
	@docker/sbom var/sbom

image: bootstrap ## build Airflow's image, for Kubernetes, compose or Astro (docker/README.md); ARGS="registry.example.com/updraft-airflow:1"
	@PYTHON=$(PYTHON) docker/airflow/build $(ARGS)

astro: bootstrap ## write what `astro dev start` looks for: Dockerfile, packages.txt (docker/README.md); ARGS names the Astro runtime
	@PYTHON=$(PYTHON) docker/astro $(ARGS)

trainer-image: ## build the image that trainings run in, for pods; ARGS="gpu localhost/updraft-trainer:gpu"
	@PYTHON=$(PYTHON) docker/trainer/build $(ARGS)

clean: ## stop everything and delete what it wrote (var/, but its backups) and the environments (.venv)
	@[ ! -x $(PY) ] || $(PY) -m updraft.stack remove
	rm -rf .venv .venv-uv .venv-tools .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
