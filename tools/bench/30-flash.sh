#!/bin/bash
# SPDX-License-Identifier: ISC
# The flash store on simulated devices, beside littlefs where its source is at hand. Sourced by
# run.sh, which it starts when called by itself.
[ -n "${results:-}" ] || exec "$(dirname "$0")/run.sh" "$@" 30-flash

for program in append update read mount push full latency; do
	[ ! -x "$bin/flash_$program" ] || measure "flash_$program"
done
