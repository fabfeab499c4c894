# Included by the Makefile: it uses VENV, BIN, INSTALL and $(VENV)/dev.installed from there.
#
#   make bench BENCH_ARGS="--quick --peers ours,go"
#   make soak SOAK_ARGS="--minutes 60"

BENCH_ARGS ?=
SOAK_ARGS ?=
CANARY_REQUESTS ?= 100000
TRUTH_REQUESTS ?= 20000
PROOF_ARGS ?=
.PHONY: bench bench-peers bench-micro soak canary truth flood proof

bench: $(VENV)/bench.installed ## measure every proxy side by side (BENCH_ARGS=--help)
	$(BIN)/python -m benchmarks.run $(BENCH_ARGS)

bench-peers: $(VENV)/bench.installed ## install the proxies to compare with
	$(BIN)/python -m benchmarks.install

bench-micro: $(VENV)/dev.installed ## count the function calls of a request and of a chunk, relayed and translated
	$(BIN)/python -m benchmarks.micro
	$(BIN)/python -m benchmarks.translation

soak: $(VENV)/dev.installed ## minutes of mixed traffic with faults (SOAK_ARGS="--minutes 60")
	$(BIN)/python -m benchmarks.soak $(SOAK_ARGS)

canary: $(VENV)/dev.installed ## no answer meets another's request (CANARY_REQUESTS=100000)
	CANARY_REQUESTS=$(CANARY_REQUESTS) $(BIN)/python -m pytest tests/faults/test_canary.py

truth: $(VENV)/dev.installed ## what is counted is what happened (TRUTH_REQUESTS=20000)
	TRUTH_REQUESTS=$(TRUTH_REQUESTS) $(BIN)/python -m pytest tests/truth

proof: $(VENV)/dev.installed ## reload, drain, upgrade, kill under load: what was sent, answered, lost (PROOF_ARGS="--share 0.1")
	$(BIN)/python -m tests.operations.proof $(PROOF_ARGS)
	$(BIN)/python -m pytest -q -s tests/operations/test_faults.py tests/operations/test_full_disk.py

flood: $(VENV)/dev.installed ## 100,000 names of models, paths, methods: series, memory, scrape
	$(BIN)/python -m benchmarks.flood

$(VENV)/bench.installed: $(VENV)/dev.installed benchmarks/requirements.txt
	$(INSTALL) --require-hashes --requirement benchmarks/requirements.txt
	@touch $@
