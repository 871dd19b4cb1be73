# SPDX-License-Identifier: ISC
# Measurements; included by the top Makefile. LITTLEFS_DIR=its source tree builds the benches with
# littlefs as a peer; nothing of it is fetched or kept here.
BENCH := $(sort $(wildcard tests/bench/flash_*.c tests/bench/git_*.c))
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

# One program an engine; an engine whose headers are not there is left out, and so reported.
ENGINE_HEADER_bole := bole/store.h
ENGINE_HEADER_raw := fcntl.h
ENGINE_HEADER_checked := xxhash.h
ENGINE_HEADER_lmdb := lmdb.h
ENGINE_HEADER_leveldb := leveldb/c.h
ENGINE_HEADER_rocksdb := rocksdb/c.h
ENGINE_HEADER_sqlite := sqlite3.h
ENGINE_LIBS_lmdb := -llmdb
ENGINE_LIBS_leveldb := -lleveldb
ENGINE_LIBS_rocksdb := -lrocksdb
ENGINE_LIBS_sqlite := -lsqlite3
ENGINES := bole raw checked lmdb leveldb rocksdb sqlite
engine_known = $(shell echo '\#include <$(ENGINE_HEADER_$(1))>' | \
	$(CC) $(INC) -E - >/dev/null 2>&1 && echo $(1))
ifneq ($(filter bench%,$(MAKECMDGOALS)),)
ENGINE_BINS := $(foreach e,$(ENGINES),$(patsubst %,build/bench/bin/engine_%,$(call engine_known,$(e))))
endif
$(ENGINES:%=build/bench/bin/engine_%): build/bench/bin/engine_%: build/host/tests/bench/engines/%.o \
		build/host/tests/bench/engines/main.o build/host/tests/bench/engines/floor.o \
		build/host/tests/bench/bench.o \
		build/host/libposix.a build/host/libbole.a
	@mkdir -p $(@D)
	$(SAY) "  link  $@"
	$(Q)$(call LINK,host,$(ENGINE_LIBS_$*) -lm)

.PHONY: bench-run bench-bins
bench-bins: $(BENCH_BINS) $(ENGINE_BINS)
bench-run: test-tools bench-bins build/host/bole
	tools/bench/run.sh
