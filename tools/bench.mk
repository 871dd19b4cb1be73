# SPDX-License-Identifier: ISC
# Measurements; included by the top Makefile. LITTLEFS_DIR=its source tree builds the benches with
# littlefs as a peer; nothing of it is fetched or kept here.
BENCH := $(sort $(wildcard tests/bench/flash_*.c tests/bench/engine_*.c))
BENCH_BINS := $(BENCH:tests/bench/%.c=build/bench/bin/%)
BENCH_SHARED := $(call objs,host,$(filter-out $(BENCH),$(sort $(wildcard tests/bench/*.c))))

ifneq ($(LITTLEFS_DIR),)
BENCH_LFS := build/bench/littlefs/lfs.o build/bench/littlefs/lfs_util.o
build/bench/littlefs/%.o: $(LITTLEFS_DIR)/%.c
	@mkdir -p $(@D)
	$(Q)$(CC) -std=c99 -O2 -w -DLFS_NO_DEBUG -DLFS_NO_WARN -DLFS_NO_ERROR -c $< -o $@
build/bench/littlefs/keyed.o: tests/bench/keyed_littlefs.c tests/bench/keyed.h
	@mkdir -p $(@D)
	$(Q)$(CC) $(COMMON) $(CFLAGS_host) $(INC) $(HOSTED) -DBENCH_LITTLEFS -isystem $(LITTLEFS_DIR) \
		-c $< -o $@
BENCH_SHARED := $(filter-out %/keyed_littlefs.o,$(BENCH_SHARED)) build/bench/littlefs/keyed.o \
	$(BENCH_LFS)
endif

$(BENCH_BINS): build/bench/bin/%: build/host/tests/bench/%.o $(BENCH_SHARED) \
		$(call objs,host,$(SUPPORT)) build/host/libposix.a build/host/libbole.a
	@mkdir -p $(@D)
	$(SAY) "  link  $@"
	$(Q)$(call LINK,host,-lm)

.PHONY: bench-run bench-bins
bench-bins: $(BENCH_BINS)
bench-run: test-tools bench-bins build/host/bole
	tools/bench/run.sh
