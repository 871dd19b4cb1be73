# SPDX-License-Identifier: ISC
# Measurements; included by the top Makefile.
.PHONY: bench-run
bench-run: test-tools build/host/bole
	tools/bench/run.sh
