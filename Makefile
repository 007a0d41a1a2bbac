# Everything happens in .venv, which requirements/install makes and keeps up to date.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
BIN := .venv/bin
# Where this is set, as in many containers, each process would compile everything that it imports: half a second.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help up test lint torture mutants requirements schema clean

help: ## Show this
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: ## Install what is missing, then run the whole casino here (Ctrl-C stops it; KAFKA=1 or DEBEZIUM=1 sends facts through Kafka)
	@requirements/install run $(if $(DEBEZIUM),debezium,$(if $(KAFKA),kafka))
	@exec $(BIN)/countroom up $(if $(KAFKA),--kafka) $(if $(DEBEZIUM),--debezium) $(ARGS)

test: lint ## Linters, types, import contracts and all tests
	@$(BIN)/python -m pytest -p tests.no_skips -n 3 --dist worksteal $(ARGS)

lint: ## Linters, types and import contracts alone
	@requirements/install test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

torture: ## Kill every process at random, compare 100,000 random histories with the model, misbehave 20,000 rounds: an hour
	@requirements/install test
	@KILLS=$(or $(KILLS),40) KAFKA_KILLS=$(or $(KAFKA_KILLS),40) BATCH_KILLS=$(or $(BATCH_KILLS),50) \
		HISTORIES=$(or $(HISTORIES),100000) FUZZED_BODIES=$(or $(FUZZED_BODIES),5000) \
		CHAOS_ROUNDS=$(or $(CHAOS_ROUNDS),20000) SEED=$(or $(SEED),$$RANDOM) \
		$(BIN)/python -m pytest -p tests.no_skips tests/torture tests/pipeline/torture_three_brokers.py tests/wallet/test_histories.py \
		tests/games/test_bad_callbacks.py tests/games/test_chaos.py -o log_cli=true -o log_cli_level=INFO $(ARGS)

mutants: ## Plant deliberate faults in the wallet, and show what finds each of them
	@requirements/install test
	@$(BIN)/python tests/mutants

requirements: ## Resolve the requirement files anew (UPGRADE=1 takes newer versions)
	@requirements/install test
	@for name in tools run test; do \
		case $$name in \
			tools) from="requirements/tools.in" ;; \
			run) from="pyproject.toml" ;; \
			test) from="--extra test --constraints requirements/run.txt pyproject.toml" ;; \
		esac; \
		$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes $(if $(UPGRADE),--upgrade) \
			--no-header --no-annotate --no-emit-index-url --no-emit-find-links -o requirements/$$name.txt $$from; \
	done

schema: ## Write the schema that the migrations result in
	@requirements/install test
	@GENERATE=1 $(BIN)/python -m pytest -q tests/schema -k generated

clean: ## Remove the environment and the caches (never the data folder)
	rm -rf .venv build src/*.egg-info .*_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
