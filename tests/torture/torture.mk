# SPDX-License-Identifier: ISC
# The torture regime: make torture SECONDS=... SEED=... [JOBS=...] [PROGRAMS=p1,p2] [REPRO=...]
TORTURE_SRC := $(sort $(wildcard tests/torture/*.c))
SECONDS ?= 60
SEED ?= 1
build/host/torture: $(call objs,host,$(TORTURE_SRC)) build/host/libbole.a
	@mkdir -p $(@D)
	$(SAY) "  link  $@"
	$(Q)$(call LINK,host,)

.PHONY: torture
torture: build/host/torture ## cut power under the store for SECONDS (60) from SEED (1)
	@mkdir -p build/torture
	@build/host/torture --seed $(SEED) $(if $(REPRO),--verbose --repro '$(REPRO)', \
		--state build/torture/state --seconds $(SECONDS) $(if $(JOBS),--jobs $(JOBS)) \
		$(if $(PROGRAMS),--programs $(PROGRAMS)))

# Planted defects: the same with one function of the store wrapped.
TORTURE_DEFECTS := $(patsubst tests/torture/defects/%.c,%,$(wildcard tests/torture/defects/*.c))
WRAP_flush-skipped := bole_block_flush
WRAP_trailer-unchained := bole_flash_batch_end
WRAP_trailer-unverified := bole_flash_sum
WRAP_segment-reused := bole_flash_segment_get
WRAP_index-unchecked := bole_flash_sum
WRAP_bad-block-ignored := bole_block_is_bad
TORTURE_DEFECTIVE := $(TORTURE_DEFECTS:%=build/host/torture-%)
$(TORTURE_DEFECTIVE): build/host/torture-%: build/host/tests/torture/defects/%.o \
		$(call objs,host,$(TORTURE_SRC)) build/host/libbole.a
	$(SAY) "  link  $@"
	$(Q)$(call LINK,host,-Wl$(comma)--wrap=$(WRAP_$*))
comma := ,

.PHONY: torture-defects
torture-defects: build/host/torture $(TORTURE_DEFECTIVE) ## show that planted defects of the store are found
	@tests/torture/defects.sh
test-tools: build/host/torture $(TORTURE_DEFECTIVE)
