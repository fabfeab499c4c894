# Included by the Makefile: it uses VENV, BIN, INSTALL and $(VENV)/dev.installed from there.
#
#   make bench BENCH_ARGS="--quick --peers ours,go"

BENCH_ARGS ?=
.PHONY: bench bench-peers

bench: $(VENV)/bench.installed ## measure every proxy side by side (BENCH_ARGS=--help)
	$(BIN)/python -m benchmarks.run $(BENCH_ARGS)

bench-peers: $(VENV)/bench.installed ## install the proxies to compare with
	$(BIN)/python -m benchmarks.install

$(VENV)/bench.installed: $(VENV)/dev.installed benchmarks/requirements.txt
	$(INSTALL) --require-hashes --requirement benchmarks/requirements.txt
	@touch $@
