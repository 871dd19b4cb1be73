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
