# Bole. `make help` lists the targets. One Makefile, not recursive; everything is built under build/.
.DEFAULT_GOAL := help
SHELL := /bin/bash
WERROR ?= -Werror

# cfg: host (release), asan (tests), tsan. Each has its own tree build/$(cfg).
WARN := -std=c11 -Wall -Wextra -Wpedantic $(WERROR) -Wshadow -Wconversion -Wsign-conversion \
	-Wcast-qual -Wcast-align -Wstrict-prototypes -Wmissing-prototypes -Wmissing-declarations \
	-Wold-style-definition -Wundef -Wvla -Wswitch-enum -Wimplicit-fallthrough -Wpointer-arith \
	-Wwrite-strings -Wformat=2 -Wdouble-promotion -Wdate-time -Wnested-externs \
	-Wredundant-decls -fno-common
INC := -Iinclude -Isrc
CFLAGS_host := -O2 -g
CFLAGS_asan := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
CFLAGS_tsan := -O1 -g -fsanitize=thread

SRC := $(sort $(wildcard src/base/*.c src/base/arch/*/*.c src/git/*.c src/flash/*.c src/kv/*.c \
	src/node/*.c src/backends/*.c src/backends/host/*.c))
LIBS := -lz -ldeflate -lxxhash

define CONFIG_RULES
build/$(1)/%.o: %.c Makefile
	@mkdir -p $$(@D)
	$$(CC) $(WARN) $$(CFLAGS_$(1)) $(INC) -ffile-prefix-map=$$(CURDIR)=. -MMD -MP -c $$< -o $$@
build/$(1)/libbole.a: $(SRC:%.c=build/$(1)/%.o)
	@rm -f $$@
	$$(AR) rcsD $$@ $$^
endef
$(foreach c,host asan tsan,$(eval $(call CONFIG_RULES,$(c))))

.PHONY: help lib clean
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18
lib: build/host/libbole.a ## build the library
clean: ## remove build/ except fetched sources
	rm -rf build/host build/asan build/tsan
-include $(shell find build -name '*.d' 2>/dev/null)
