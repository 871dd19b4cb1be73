# SPDX-License-Identifier: ISC
# Small programs that the shell tests use; included by the top Makefile.
TEST_TOOLS := $(patsubst tests/tools/%.c,build/host/tests/%,$(sort $(wildcard tests/tools/*.c)))

build/host/tests/%: tests/tools/%.c Makefile tests/tests.mk
	@mkdir -p $(@D)
	$(CC) -std=c11 -D_GNU_SOURCE -O2 -g -Wall -Wextra $(WERROR) -o $@ $<

.PHONY: test-tools
test-tools: $(TEST_TOOLS)

# The emulator's own floor under boot times.
build/host/tests/stub.elf: tests/tools/stub.S tests/tests.mk
	@mkdir -p $(@D)
	$(CC) -m32 -nostdlib -static -Wl,-e,start -Wl,-Ttext=0x100000 -Wl,--build-id=none -o $@ $<
test-tools: build/host/tests/stub.elf

# The Git services on loopback over a memory store: tests/interop/git-*.sh talk to it.
build/asan/tests/gitserve: build/asan/tests/interop/gitserve.o $(call objs,asan,$(SUPPORT)) \
		build/asan/libposix.a build/asan/libbole.a
	@mkdir -p $(@D)
	$(SAY) "  link  $@"
	$(Q)$(call LINK,asan,)
test-tools: build/asan/tests/gitserve

# An image whose flushes do nothing, which the power-cut test must find guilty.
$(IMAGE)/bole-noflush.elf: tests/image/noflush.c $(IMAGE_LINKED)
	$(SAY) "  link  $@"
	$(Q)$(CC) $(IMAGE_OWN) -c $< -o $@.o
	$(Q)$(call IMAGE_LD,-Xlinker --wrap=bole_block_flush $@.o,$@)
test-tools: $(IMAGE)/bole-noflush.elf

# Git's files both ways: REPOS random repositories from SEED on.
.PHONY: test-files
test-files: build/host/bole ## Git's files written and read, over REPOS (1000) random repositories
	@BOLE=$(CURDIR)/build/host/bole REPOS=$(or $(REPOS),1000) SEED=$(or $(SEED),1) tests/interop/files.sh
