# SPDX-License-Identifier: ISC
# Bole. `make help` lists the targets. One Makefile, not recursive; everything is built under build/.
#
# A configuration has its own tree build/<cfg>: host (release), asan (tests), tsan (thread tests),
# fuzz (clang's libFuzzer). New sources, tests and fuzz targets are picked up by their place.
# Fragments add targets: runtime/image.mk, tests/tests.mk, tools/bench.mk.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/bash
ifeq ($(origin CC),default)
CC := gcc
endif
CLANG ?= clang-14
WERROR ?= -Werror
PREFIX ?= /usr/local
VERSION := 0.1.0
CONFIGS := host asan tsan fuzz
# Short lines by default; V=1 shows the commands.
Q := $(if $(V),,@)
SAY := @$(if $(V)$(findstring s,$(firstword -$(MAKEFLAGS))),:,echo)

# A fresh make (it sees the compiler that `deps` may just have installed) on all processors.
AGAIN = $(MAKE) --no-print-directory $(if $(findstring -j,$(MAKEFLAGS)),,-j$(shell nproc))

# --- flags ---------------------------------------------------------------------------------------
WARN := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion \
	-Wcast-qual -Wcast-align -Wstrict-prototypes -Wmissing-prototypes -Wmissing-declarations \
	-Wold-style-definition -Wundef -Wvla -Wswitch-enum -Wimplicit-fallthrough -Wpointer-arith \
	-Wwrite-strings -Wformat=2 -Wdouble-promotion -Wdate-time -Wnested-externs \
	-Wredundant-decls
WARN_GCC := -Wlogical-op -Wduplicated-cond -Wduplicated-branches -Wjump-misses-init
is_gcc := $(shell $(CC) -Werror $(WARN_GCC) -Wnull-dereference -x c -fsyntax-only /dev/null \
	2>/dev/null && echo yes)
ifeq ($(is_gcc),yes)
WARN_CC := $(WARN_GCC)
WARN_host := -Wnull-dereference
endif

SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
COMMON := -std=c11 -g -fno-common -ffile-prefix-map=$(CURDIR)=.
CC_host := $(CC)
CC_asan := $(CC)
CC_tsan := $(CC)
CC_fuzz := $(CLANG)
CFLAGS_host := -O2 -fPIC
CFLAGS_asan := -O1 $(SANITIZE)
CFLAGS_tsan := -O1 -fsanitize=thread
CFLAGS_fuzz := -O1 -fsanitize=fuzzer-no-link $(SANITIZE)
# Its decoder is what fuzz/inflate tests.
CFLAGS_libdeflate_fuzz := -fsanitize=fuzzer-no-link,address
LDFLAGS_asan := $(SANITIZE)
LDFLAGS_tsan := -fsanitize=thread
LDFLAGS_fuzz := $(SANITIZE)

ARCH := $(firstword $(subst -, ,$(shell $(CC) -dumpmachine 2>/dev/null)))
# Third-party headers are system headers: their warnings are not ours.
LIBDEFLATE_C := adler32 crc32 deflate_compress deflate_decompress utils zlib_compress zlib_decompress \
	$(if $(filter x86_64,$(ARCH)),x86,arm)/cpu_features
THIRD := $(if $(wildcard deps.lock),sha1 ubc_check yyjson $(LIBDEFLATE_C:%=libdeflate/%))
SHA1DC := build/deps/libgit2/src/util/hash/sha1dc
# yyjson reads from memory; the rest of it stays out.
YYJSON := build/deps/yyjson/src
YYJSON_FLAGS := -DYYJSON_DISABLE_WRITER=1 -DYYJSON_DISABLE_UTILS=1 -DYYJSON_DISABLE_NON_STANDARD=1
INC := -Iinclude -Isrc -isystem build/deps/libgit2/src/util/hash -isystem build/deps/libdeflate \
	-isystem $(YYJSON)
# Hosted code only; the core is strict C11 and never sees these.
HOSTED := -D_GNU_SOURCE -I. -Itests
LIBS := -Wl,--as-needed -lz -lxxhash -lpthread -Wl,--no-as-needed

# --- sources -------------------------------------------------------------------------------------
CORE := $(sort $(wildcard src/base/*.c src/base/arch/generic/*.c src/base/arch/$(ARCH)/*.c \
	src/git/*.c src/git/*/*.c src/flash/*/*.c src/kv/*.c src/node/*.c src/node/*/*.c \
	src/backends/*.c))
HOST := $(sort $(wildcard src/backends/host/*.c))
POSIX := $(sort $(wildcard runtime/platform/posix/*.c))
CLI := $(sort $(wildcard tools/bole/*.c))
SUPPORT := $(sort $(wildcard tests/support/*.c))
UNIT_AREAS := $(sort $(patsubst tests/unit/%/,%,$(dir $(wildcard tests/unit/*/*.c))))
TSAN := $(sort $(patsubst tests/tsan/%.c,%,$(wildcard tests/tsan/*.c)))
FUZZ := $(sort $(patsubst fuzz/%.c,%,$(wildcard fuzz/*.c)))
SRC := $(CORE) $(HOST)

objs = $(patsubst %.c,build/$(1)/%.o,$(2))

# Hashes have no paths for a fuzzer to find: not followed, four times as fast.
build/fuzz/src/base/arch/%.o: EXTRA = -O2 -fno-sanitize=fuzzer-no-link

# --- the rules of one configuration --------------------------------------------------------------
define CONFIG_RULES
FLAGS_$(1) = $$(COMMON) $$(WARN) $$(WARN_$(1)) $$(if $$(filter $$(CC),$$(CC_$(1))),$$(WARN_CC)) \
	$$(WERROR) $$(CFLAGS_$(1)) $$(INC) -MMD -MP
build/$(1)/src/backends/host/%.o build/$(1)/runtime/%.o build/$(1)/tools/%.o \
	build/$(1)/tests/%.o build/$(1)/fuzz/%.o: EXTRA = $$(HOSTED)
build/$(1)/tests/unit/runtime/%.o: EXTRA = $$(HOSTED) -Iruntime
build/$(1)/src/base/arch/aarch64/sha.o: EXTRA = -march=armv8-a+crypto
build/$(1)/%.o: %.c Makefile | build/deps/.stamp
	@mkdir -p $$(@D)
	$$(SAY) "  cc    $$@"
	$$(Q)$$(CC_$(1)) $$(FLAGS_$(1)) $$(EXTRA) -c $$< -o $$@
# Collision-detecting SHA-1 from libgit2's sources: not ours, so no warnings and no sanitizers.
build/$(1)/third/%.o: | build/deps/.stamp
	@mkdir -p $$(@D)
	$$(SAY) "  cc    $$@"
	$$(Q)$$(CC_$(1)) -std=c99 -O3 -w -fPIC -ffile-prefix-map=$$(CURDIR)=. \
		-DSHA1DC_NO_STANDARD_INCLUDES=1 -DSHA1DC_CUSTOM_INCLUDE_SHA1_C='<stdint.h>' \
		-include stdint.h -include stdlib.h -include string.h \
		-c $$(SHA1DC)/$$*.c -o $$@
# The image has the same, from the same patched sources (tools/patches).
build/$(1)/third/libdeflate/%.o: $(wildcard tools/patches/libdeflate.patch) | build/deps/.stamp
	@mkdir -p $$(@D)
	$$(SAY) "  cc    $$@"
	$$(Q)$$(CC_$(1)) -std=c99 -O2 $$(CFLAGS_libdeflate_$(1)) -w \
		-fPIC -ffile-prefix-map=$$(CURDIR)=. -D_ANSI_SOURCE -Ibuild/deps/libdeflate \
		-c build/deps/libdeflate/lib/$$*.c -o $$@
# It meets hostile bytes, so the sanitizers and the fuzzer see into it.
build/$(1)/third/yyjson.o: | build/deps/.stamp
	@mkdir -p $$(@D)
	$$(SAY) "  cc    $$@"
	$$(Q)$$(CC_$(1)) -std=c11 -g -w -fPIC -ffile-prefix-map=$$(CURDIR)=. $$(CFLAGS_$(1)) \
		$$(YYJSON_FLAGS) -c $$(YYJSON)/yyjson.c -o $$@
build/$(1)/libbole.a: $$(call objs,$(1),$$(SRC)) $$(THIRD:%=build/$(1)/third/%.o)
	@rm -f $$@
	$$(Q)$$(AR) rcsD $$@ $$^
build/$(1)/libposix.a: $$(call objs,$(1),$$(POSIX))
	@mkdir -p $$(@D)
	@rm -f $$@
	$$(Q)$$(AR) rcsD $$@ $$^
build/$(1)/bole: $$(call objs,$(1),$$(CLI)) build/$(1)/libposix.a build/$(1)/libbole.a
	$$(SAY) "  link  $$@"
	$$(Q)$$(call LINK,$(1),)
endef
$(foreach c,$(CONFIGS),$(eval $(call CONFIG_RULES,$(c))))

# $(call LINK,cfg,libraries): the test double of the platform is in tests/support; it comes before
# libposix.a, which only fills what is still missing.
LINK = $(CC_$(1)) $(LDFLAGS_$(1)) $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) \
	-Wl,--end-group $(2) $(LIBS) -o $@
define TEST_RULES
build/$(1)/tests/unit-$(2): $$(call objs,$(1),$$(sort $$(wildcard tests/unit/$(2)/*.c)) $$(SUPPORT)) \
		build/$(1)/libposix.a build/$(1)/libbole.a
	@mkdir -p $$(@D)
	$$(SAY) "  link  $$@"
	$$(Q)$$(call LINK,$(1),-lcriterion)
endef
$(foreach c,host asan tsan,$(foreach a,$(UNIT_AREAS),$(eval $(call TEST_RULES,$(c),$(a)))))
$(TSAN:%=build/tsan/tests/tsan-%): build/tsan/tests/tsan-%: build/tsan/tests/tsan/%.o \
		$(call objs,tsan,$(SUPPORT)) build/tsan/libposix.a build/tsan/libbole.a
	$(SAY) "  link  $@"
	$(Q)$(call LINK,tsan,)
$(FUZZ:%=build/fuzz/fuzz-%): build/fuzz/fuzz-%: build/fuzz/fuzz/%.o \
		$(call objs,fuzz,$(SUPPORT)) build/fuzz/libposix.a build/fuzz/libbole.a
	$(SAY) "  link  $@"
	$(Q)$(call LINK,fuzz,-fsanitize=fuzzer)

UNIT_BINS := $(UNIT_AREAS:%=build/asan/tests/unit-%)
TSAN_BINS := $(TSAN:%=build/tsan/tests/tsan-%)
FUZZ_BINS := $(FUZZ:%=build/fuzz/fuzz-%)
CLI_BINS := $(if $(CLI),build/host/bole build/asan/bole)

# --- fragments: the image, the small programs of shell tests, the benches ---------------------------
FRAGMENTS := $(wildcard runtime/image.mk tests/tests.mk tests/torture/torture.mk tools/bench.mk \
	tools/bole/tls.mk)
include $(FRAGMENTS)
fragment_targets := $(if $(FRAGMENTS),$(shell sed -n 's/^\([a-z-]*\):.*/\1/p' $(FRAGMENTS)))
TEST_EXTRA := $(filter image,$(fragment_targets))
# The image's lists look into the fetched sources: with those missing, make fetches, then starts over.
ifneq ($(filter image build/image/% test-tools test-bins,$(MAKECMDGOALS)),)
-include build/deps/stamp.mk
build/deps/stamp.mk: | build/deps/.stamp
	@touch $@
endif
# What no fragment makes yet says so in one line.
$(filter-out $(fragment_targets),image bench-run):
	@echo "make $(@:-run=): not built yet in this version" >&2; exit 1

# --- targets -------------------------------------------------------------------------------------
.PHONY: help lib all install-files deps deps-update test test-bins test-interop test-unit \
	test-fuzz check fuzz \
	install uninstall format clean distclean hooks run image bench
help: ## list the targets
	@echo "Bole $(VERSION). Targets:"
	@grep -hE '^[a-z_.-]+:.*## ' $(filter-out %.d,$(MAKEFILE_LIST)) | sed 's/:.*## /\t/' | expand -t 24 | sort
	@echo "Variables: CC, CLANG, PREFIX, DESTDIR, WERROR= (warnings do not stop the build),"
	@echo "DEPS_DIR=folder (cache of source packages; works without network once filled)."

lib: build/host/libbole.a ## build the library (build/host/libbole.a)
all: lib $(CLI_BINS) ## build the library and the command line
test-bins: $(UNIT_BINS) $(TSAN_BINS) $(FUZZ_BINS) $(CLI_BINS) build/tsan/bole lib \
	test-tools install-files

deps: ## install missing Debian packages and fetch the pinned sources
	@tools/deps packages
	@tools/deps sources
deps-update: ## renew deps.lock from what Debian offers now
	@tools/deps update
build/deps/.stamp: $(wildcard deps.lock tools/deps)
	@if [ -x tools/deps ]; then tools/deps sources; else mkdir -p build/deps; touch $@; fi

test: ## install what is missing, build with sanitizers, run every test
	+@$(AGAIN) deps
	+@$(AGAIN) test-bins $(TEST_EXTRA)
	@tests/run
test-unit: $(UNIT_BINS) ## run the unit tests only
	@tests/run 'unit-*'
test-fuzz: $(FUZZ_BINS) ## run the fuzz targets over their corpus
	@tests/run 'fuzz-*'
bench: ## measure, beside the peers; writes build/bench/results.tsv
	+@$(AGAIN) deps
	@tools/deps packages bench || echo "bench: an engine that is missing is reported as missing" >&2
	+@$(AGAIN) build/host/bole image
	+@$(AGAIN) bench-run
check: ## format, layers, headers, banned calls, symbols, style
	+@$(AGAIN) deps
	+@$(AGAIN) lib
	@CC='$(CC)' tools/check/all
format: ## format every source in place
	@git ls-files -z '*.c' '*.h' | xargs -0 clang-format-14 -i
hooks: ## run the quick checks before each commit
	git config core.hooksPath tools/hooks
fuzz: $(or $(TARGET:%=build/fuzz/fuzz-%),$(FUZZ_BINS)) ## fuzz TARGET (all) up to RUNS in total, or for SECONDS (60)
	@tools/fuzz $(RUNS:%=-r %) $(if $(filter command,$(origin SECONDS)),-s $(SECONDS)) $(TARGET)
compile_commands.json: Makefile ## for editors and clang tools
	$(SAY) "  make  $@"
	@{ echo '['; $(MAKE) -Bns V=1 lib test-bins 2>/dev/null | $(COMPDB); echo ']'; } >$@
COMPDB = grep -v /third/ | sed -nE -e '/ -c /!d; s/[\\"]/\\&/g' \
	-e 's|^(.* -c ([^ ]+) -o .*)$$|{"directory": "$(CURDIR)", "command": "\1", "file": "\2"},|p' \
	| sort -u | sed '$$s/,$$//'

# --- the installed library: the core, its host back ends and the POSIX platform in one -----------
LIBDIR ?= $(PREFIX)/lib
INSTALLED := $(call objs,host,$(SRC) $(POSIX)) $(THIRD:%=build/host/third/%.o)
build/host/install/libbole.a: $(INSTALLED)
	@mkdir -p $(@D)
	@rm -f $@
	$(Q)$(AR) rcsD $@ $^
build/host/install/libbole.so.0: $(INSTALLED)
	@mkdir -p $(@D)
	$(SAY) "  link  $@"
	@echo '{ global: bole_*; local: *; };' >$(@D)/exports
	$(Q)$(CC) -shared -Wl,-soname,$(@F) -Wl,--version-script,$(@D)/exports -Wl,-z,relro,-z,now,-z,defs \
		$^ $(LIBS) -o $@
build/host/install/bole.pc: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' 'prefix=$(PREFIX)' 'libdir=$(LIBDIR)' 'includedir=$${prefix}/include' '' \
		'Name: bole' 'Description: Git-compatible storage engine' 'Version: $(VERSION)' \
		'Libs: -L$${libdir} -lbole' 'Libs.private: -lz -lxxhash -lpthread' \
		'Cflags: -I$${includedir}' >$@
INSTALL_FILES := $(addprefix build/host/install/,libbole.a libbole.so.0 bole.pc)
install-files: $(INSTALL_FILES)
FORCE: # PREFIX may be another than last time
DEST = $(DESTDIR)$(PREFIX)
DESTLIB = $(DESTDIR)$(LIBDIR)
install: $(INSTALL_FILES) $(CLI_BINS) ## library, headers and command line to PREFIX
	install -d $(DEST)/include/bole $(DESTLIB)/pkgconfig $(DEST)/bin $(DEST)/share/doc/bole
	install -m 644 include/bole/*.h $(DEST)/include/bole
	install -m 644 build/host/install/libbole.a build/host/install/libbole.so.0 $(DESTLIB)
	ln -sf libbole.so.0 $(DESTLIB)/libbole.so
	install -m 644 build/host/install/bole.pc $(DESTLIB)/pkgconfig
	$(if $(CLI),install -m 755 build/host/bole $(DEST)/bin)
	install -m 644 README.md LICENSE NOTICE $(wildcard docs/*.md) $(DEST)/share/doc/bole
uninstall: ## remove what install put there
	rm -rf $(DEST)/include/bole $(DEST)/share/doc/bole $(DEST)/bin/bole
	rm -f $(DESTLIB)/libbole.a $(DESTLIB)/libbole.so $(DESTLIB)/libbole.so.0 \
		$(DESTLIB)/pkgconfig/bole.pc

clean: ## remove what was built; fetched sources stay
	rm -rf $(CONFIGS:%=build/%) build/bench build/image build/test compile_commands.json
distclean: clean ## remove build/ whole
	rm -rf build

run: ## boot a machine that serves this repository, and say how to clone it
	@tools/deps packages build run
	@tools/deps sources
	+@$(AGAIN) build/host/bole image
	@tools/run $(if $(FRESH),--fresh)
test-interop: ## clients other than git: libgit2, dulwich, JGit, browsers, git-lfs; all of git on the image
	+@$(AGAIN) deps
	@tools/deps packages interop
	+@$(AGAIN) all image test-tools build/npm/.stamp
	@tests/clients/clients.sh
	@tests/clients/browser.sh
	@tests/clients/lfs.sh
	@VERSIONS='0 2' tests/run 'image-*'
# Locked by version and integrity; node_modules appears whole or not at all.
build/npm/.stamp: tests/clients/package-lock.json
	@mkdir -p $(@D)
	@cp tests/clients/package.json tests/clients/package-lock.json $(@D)
	$(SAY) "  npm   $(@D)"
	$(Q)cd $(@D) && npm ci --loglevel=error --no-audit --no-fund --ignore-scripts
	@touch $@

-include $(shell find $(CONFIGS:%=build/%) -type f -name '*.d' 2>/dev/null)
