# SPDX-License-Identifier: ISC
# The unikernel image. `make image TARGET=qemu` gives in build/image/qemu: bole.elf (enters by PVH),
# bole-multiboot.elf (the same objects behind a multiboot 1 header) and both stripped. Included by
# the top Makefile. Everything is compiled for the image anew: our sources with the host's warnings,
# the libraries from build/deps without, all against musl's headers.
TARGET ?= qemu
IMAGE_ARCH := x86_64
DEPS := build/deps
IMAGE := build/image/$(TARGET)
MUSL := $(DEPS)/musl

IMAGE_LIBC_INC := -isystem $(MUSL)/include -isystem $(IMAGE)/generated \
	-isystem $(MUSL)/arch/$(IMAGE_ARCH) -isystem $(MUSL)/arch/generic \
	-isystem $(shell $(CC) -print-file-name=include 2>/dev/null)
# One guard page is enough under a stack only if no frame jumps over it: -fstack-clash-protection.
IMAGE_FLAGS := -g -ffreestanding -fbuiltin -nostdinc -fno-pic -fno-pie -fno-stack-protector \
	-fno-asynchronous-unwind-tables -fno-omit-frame-pointer -fstack-clash-protection \
	-fcf-protection=none -ffunction-sections -fdata-sections -fno-common -mno-red-zone \
	-ffile-prefix-map=$(CURDIR)=. -MMD -MP
IMAGE_OPT ?= -O2

# --- ours ------------------------------------------------------------------------------------------
IMAGE_SRC := $(CORE) $(sort $(wildcard runtime/core/*.c runtime/core/*.S runtime/arch/$(IMAGE_ARCH)/*.c \
	runtime/arch/$(IMAGE_ARCH)/*.S runtime/libc/*.c runtime/drivers/*.c runtime/drivers/*/*.c \
	runtime/net/*.c runtime/platform/$(TARGET)/*.c))
IMAGE_INC := -Iinclude -Isrc -Iruntime -isystem $(DEPS)/zlib -isystem $(DEPS)/libdeflate \
	-isystem $(DEPS)/xxhash -isystem $(DEPS)/libgit2/src/util/hash -isystem $(DEPS)/lwip/src/include \
	-isystem $(DEPS)/yyjson/src -isystem $(DEPS)/mbedtls/include -Iruntime/libc $(IMAGE_LIBC_INC)
IMAGE_OWN = -std=c11 $(IMAGE_OPT) $(WARN) $(WARN_CC) $(WERROR) $(IMAGE_FLAGS) $(IMAGE_INC) \
	-DMBEDTLS_CONFIG_FILE='"image_mbedtls.h"' -DXXH_STATIC_LINKING_ONLY -DBOLE_VERSION='"$(VERSION)"'

# --- musl: the subset that the image needs -----------------------------------------------------------
MUSL_C := $(addprefix string/,bcmp memccpy memchr memcmp memmem memrchr stpcpy stpncpy strcasecmp \
		strcat strchr strchrnul strcmp strcpy strcspn strlcat strlcpy strlen strncasecmp strncat \
		strncmp strncpy strnlen strpbrk strrchr strspn strstr strtok_r explicit_bzero) \
	$(addprefix stdio/,vsnprintf snprintf vfprintf fwrite __towrite sprintf vsprintf) \
	$(addprefix stdlib/,abs atoi atol bsearch labs qsort qsort_nr strtol) \
	$(addprefix ctype/,isalnum isalpha isdigit isgraph islower isprint ispunct isspace isupper \
		isxdigit tolower toupper iscntrl __ctype_b_loc) \
	$(addprefix internal/,intscan shgetc) stdio/__uflow stdio/__toread \
	$(addprefix multibyte/,wctomb wcrtomb) \
	$(addprefix math/,frexpl __fpclassifyl __signbitl) \
	$(addprefix time/,gmtime_r __secs_to_tm __tm_to_secs __year_to_secs __month_to_secs) \
	$(addprefix malloc/mallocng/,malloc free realloc aligned_alloc) \
	$(addprefix malloc/,calloc free realloc)
MUSL_S := $(addprefix string/$(IMAGE_ARCH)/,memcpy memmove memset)
MUSL_FLAGS := -std=c99 -Os -w $(IMAGE_FLAGS) -fno-builtin -D_XOPEN_SOURCE=700 -D_GNU_SOURCE \
	-fno-inline-functions-called-once -I$(MUSL)/arch/$(IMAGE_ARCH) -I$(MUSL)/arch/generic \
	-I$(MUSL)/src/include -I$(MUSL)/src/internal -I$(IMAGE)/generated -I$(MUSL)/include \
	-isystem $(shell $(CC) -print-file-name=include 2>/dev/null)
IMAGE_GEN := $(IMAGE)/generated/bits/alltypes.h $(IMAGE)/generated/bits/syscall.h

# --- the libraries ---------------------------------------------------------------------------------
THIRD_FLAGS := -w $(IMAGE_FLAGS) $(IMAGE_INC)
ZLIB_C := adler32 crc32 deflate inffast inflate inftrees trees zutil
SHA1DC_C := sha1 ubc_check
MBEDTLS_C := aes aesni ctr_drbg sha512 platform_util constant_time
LWIP_C := $(if $(wildcard runtime/net/lwipopts.h),$(patsubst $(DEPS)/lwip/src/%.c,%,$(wildcard \
	$(DEPS)/lwip/src/core/*.c $(DEPS)/lwip/src/core/ipv4/*.c $(DEPS)/lwip/src/core/ipv6/*.c)) \
	netif/ethernet apps/sntp/sntp)

IMAGE_OBJ := $(patsubst %,$(IMAGE)/%.o,$(basename $(IMAGE_SRC)))
IMAGE_THIRD := $(patsubst %,$(IMAGE)/musl/%.o,$(MUSL_C) $(MUSL_S)) \
	$(patsubst %,$(IMAGE)/zlib/%.o,$(ZLIB_C)) \
	$(patsubst %,$(IMAGE)/libdeflate/%.o,$(LIBDEFLATE_C)) \
	$(patsubst %,$(IMAGE)/sha1dc/%.o,$(SHA1DC_C)) \
	$(patsubst %,$(IMAGE)/mbedtls/%.o,$(MBEDTLS_C)) \
	$(patsubst %,$(IMAGE)/lwip/%.o,$(LWIP_C)) $(IMAGE)/xxhash/xxhash.o $(IMAGE)/yyjson/yyjson.o

$(IMAGE)/generated/bits/alltypes.h: | build/deps/.stamp
	@mkdir -p $(@D)
	$(Q)sed -f $(MUSL)/tools/mkalltypes.sed $(MUSL)/arch/$(IMAGE_ARCH)/bits/alltypes.h.in \
		$(MUSL)/include/alltypes.h.in >$@
$(IMAGE)/generated/bits/syscall.h: | build/deps/.stamp
	@mkdir -p $(@D)
	$(Q)sed -e 's/__NR_/SYS_/p' $(MUSL)/arch/$(IMAGE_ARCH)/bits/syscall.h.in >$@

# $(call IMAGE_CC,flags)
IMAGE_CC = @mkdir -p $(@D); $(if $(V)$(findstring s,$(firstword -$(MAKEFLAGS))),:,echo) "  cc    $@"; \
	$(if $(V),set -x;) $(CC) $(1) -c $< -o $@
$(IMAGE)/musl/%.o: $(MUSL)/src/%.c $(IMAGE_GEN) runtime/image.mk
	$(call IMAGE_CC,$(MUSL_FLAGS) $(MUSL_EXTRA))
$(IMAGE)/musl/%.o: $(MUSL)/src/%.s $(IMAGE_GEN) runtime/image.mk
	$(call IMAGE_CC,)
$(IMAGE)/musl/string/%.o: MUSL_EXTRA = -O3
$(IMAGE)/musl/malloc/%.o: MUSL_EXTRA = -O2
$(IMAGE)/musl/malloc/mallocng/%.o: MUSL_EXTRA = -O2 -include runtime/libc/malloc_glue.h
$(IMAGE)/zlib/%.o: $(DEPS)/zlib/%.c $(IMAGE_GEN) runtime/image.mk
	$(call IMAGE_CC,-O2 $(THIRD_FLAGS) -DZ_SOLO -DNO_GZIP)
$(IMAGE)/libdeflate/%.o: $(DEPS)/libdeflate/lib/%.c $(IMAGE_GEN) runtime/image.mk
	$(call IMAGE_CC,-O2 $(THIRD_FLAGS) -D_ANSI_SOURCE)
$(IMAGE)/sha1dc/%.o: $(DEPS)/libgit2/src/util/hash/sha1dc/%.c $(IMAGE_GEN) runtime/image.mk
	$(call IMAGE_CC,-O2 $(THIRD_FLAGS) -DSHA1DC_NO_STANDARD_INCLUDES=1 \
		-DSHA1DC_CUSTOM_INCLUDE_SHA1_C='<stdint.h>' -include stdint.h -include stdlib.h -include string.h)
$(IMAGE)/mbedtls/%.o: $(DEPS)/mbedtls/library/%.c runtime/libc/image_mbedtls.h $(IMAGE_GEN) runtime/image.mk
	$(call IMAGE_CC,-Os $(THIRD_FLAGS) -DMBEDTLS_CONFIG_FILE='"image_mbedtls.h"' \
		-U__linux__ -U__unix__ -U__gnu_linux__ -U__unix -Ulinux -Uunix)
$(IMAGE)/lwip/%.o: $(DEPS)/lwip/src/%.c $(wildcard runtime/net/*.h runtime/net/arch/*.h) $(IMAGE_GEN) runtime/image.mk
	$(call IMAGE_CC,-O2 $(THIRD_FLAGS) -Iruntime/net)
$(IMAGE)/xxhash/xxhash.o: $(DEPS)/xxhash/xxhash.c $(IMAGE_GEN) runtime/image.mk
	$(call IMAGE_CC,-O2 $(THIRD_FLAGS))
$(IMAGE)/yyjson/yyjson.o: $(DEPS)/yyjson/src/yyjson.c $(IMAGE_GEN) runtime/image.mk
	$(call IMAGE_CC,-Os $(THIRD_FLAGS) $(YYJSON_FLAGS))
$(IMAGE)/runtime/net/%.o: IMAGE_EXTRA = -Iruntime/net
$(IMAGE)/%.o: %.c $(IMAGE_GEN) runtime/image.mk Makefile
	$(call IMAGE_CC,$(IMAGE_OWN) $(IMAGE_EXTRA))
$(IMAGE)/%.o: %.S $(IMAGE_GEN) runtime/image.mk
	$(call IMAGE_CC,$(IMAGE_FLAGS) $(IMAGE_INC))

# --- the link ----------------------------------------------------------------------------------------
# $(call IMAGE_LD,flags,output): every object by name, so that musl's string functions win over the
# weak ones of a library; unused sections go.
IMAGE_LD = $(CC) -nostdlib -static -no-pie -Wl,--build-id=none -Wl,--gc-sections \
	-Wl,-z,max-page-size=4096 -Wl,-z,noexecstack -Wl,--no-warn-rwx-segments \
	-Wl,-T,runtime/platform/$(TARGET)/link.ld $(1) $(IMAGE_OBJ) $(IMAGE_THIRD) \
	$(shell $(CC) -print-libgcc-file-name) -o $(2)
# Twice: the second link adds the function names of the first for backtraces, behind the text.
IMAGE_LINK = $(Q)$(call IMAGE_LD,$(1),$@.bare) && tools/image/symbols $@.bare >$@.S && \
	$(CC) -c $@.S -o $@.symbols && \
	$(call IMAGE_LD,$(1) -u image_symbols $@.symbols,$@) && rm $@.bare $@.S
IMAGE_LINKED := $(IMAGE_OBJ) $(IMAGE_THIRD) runtime/platform/$(TARGET)/link.ld tools/image/symbols
$(IMAGE)/bole.elf: $(IMAGE_LINKED)
	$(SAY) "  link  $@"
	$(call IMAGE_LINK,)
# A loader of multiboot wants an ELF of 32 bits; the code in it stays what it is.
$(IMAGE)/bole-multiboot.elf: $(IMAGE_LINKED)
	$(SAY) "  link  $@"
	$(call IMAGE_LINK,-u arch_multiboot_header)
	$(Q)objcopy --remove-section=.note.pvh -O elf32-i386 $@ $@.32 && mv $@.32 $@
$(IMAGE)/%.stripped: $(IMAGE)/%
	$(Q)strip -s -o $@ $<

.PHONY: image
image: $(IMAGE)/bole.elf $(IMAGE)/bole.elf.stripped $(IMAGE)/bole-multiboot.elf \
	$(IMAGE)/bole-multiboot.elf.stripped ## build the unikernel image (TARGET=qemu)
	@size $(IMAGE)/bole.elf | tail -1 | while read -r t d b rest; do \
		echo "image: $(IMAGE)/bole.elf: text $$t, data $$d, bss $$b," \
			"stripped $$(stat -c %s $(IMAGE)/bole.elf.stripped) bytes"; done
.PHONY: reproducible
reproducible: image ## build the image again elsewhere and compare every byte
	+@tools/image/reproducible $(TARGET)
-include $(shell find $(IMAGE) -name '*.d' 2>/dev/null)
