#!/bin/bash
# SPDX-License-Identifier: ISC
# The disk driver of the image, by its own self test, over mmio and PCI and with odd devices: what it
# wrote is verified from the host, a flush and a failing one reach the guest, discard frees space,
# requests of many fibers are in flight at once. IMAGE=…elf.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
image=${IMAGE:-build/image/qemu/bole.elf}
[[ -f $image ]] || { echo "disk: no $image; run make image"; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0
disk=$work/disk.img

# The host's own flushes only cost time here (cache=unsafe); the guest's still arrive.
# boot MACHINE DEVICE-OPTIONS DRIVE-OPTIONS WORDS: output in $work/out, QEMU's status in $status.
boot() {
	local args
	case $1 in
	microvm)
		args=(-M microvm,acpi=off -global virtio-mmio.force-legacy=false
			-device "virtio-blk-device,drive=disk$2" -device virtio-rng-device)
		;;
	q35) args=(-M q35 -device "virtio-blk-pci,drive=disk$2" -device virtio-rng-pci) ;;
	esac
	timeout 20 qemu-system-x86_64 -accel tcg -cpu max -nodefaults -display none -serial stdio \
		-no-reboot -m 64 -device isa-debug-exit,iobase=0x501,iosize=4 "${args[@]}" \
		-drive "if=none,id=disk,${3:-format=raw,cache=unsafe,discard=unmap,file=$disk}" \
		-kernel "$image" -append "$4" </dev/null >"$work/out" 2>&1
	status=$?
}
ok() { # NAME COMMAND...
	local name=$1
	shift
	if "$@" >"$work/said" 2>&1; then
		echo "ok: $name: $(tail -1 "$work/said")"
		passed=$((passed + 1))
	else
		echo "FAILED: $name (status $status):"
		cat "$work/said" "$work/out"
		failed=$((failed + 1))
	fi
}
printed() { grep -aE "$1" "$work/out"; }
fresh() { # bytes that are neither zero nor the pattern
	python3 -c 'import sys; open(sys.argv[1], "wb").write(b"\xa5" * (32 << 20))' "$disk"
}
verify() { # everything that the self test wrote, and that the rest is untouched
	python3 - "$disk" <<-'PYTHON'
		import struct, sys
		MIB = 1 << 20
		def pattern(off, count):
		    first = off >> 3
		    return b"".join(struct.pack("<Q", (first + i) * 0x9e3779b97f4a7c15 & (1 << 64) - 1)
		                    for i in range(count >> 3))
		got = open(sys.argv[1], "rb").read()
		fill = b"\xa5" * MIB
		want = [pattern(0, 12 * MIB), fill, pattern(13 * MIB, 16384), fill * 3, pattern(16 * MIB, 2 * MIB) * 4,
		        bytes(4 * MIB), fill * 4]
		want[3] = want[3][16384:]
		want = b"".join(want)
		assert len(got) == len(want)
		bad = next((i for i in range(0, len(want), 512) if got[i:i + 512] != want[i:i + 512]), None)
		assert bad is None, "differs at %d" % bad
		print("32 MiB as expected")
	PYTHON
}
passes() { ((status <= 1)) && printed 'disk: passed'; }
depth() { printed 'disk: reads .* errors 0 depth (3[0-9]|4[0-9]|[56][0-9]) left 0'; }
# The discarded 4 MiB are a hole now. Holes are looked for, as what stat counts has blocks of the host's
# own in it: ext4 keeps the list of more than four pieces in one.
shrunk() {
	python3 - "$disk" <<-'EOF'
		import os, sys
		fd, at, used = os.open(sys.argv[1], os.O_RDONLY), 0, 0
		size = os.fstat(fd).st_size
		while at < size:
		    try:
		        begin = os.lseek(fd, at, os.SEEK_DATA)
		    except OSError:
		        break
		    at = os.lseek(fd, begin, os.SEEK_HOLE)
		    used += at - begin
		print(used, "bytes in use")
		sys.exit(used > 28 << 20)
	EOF
}

while read -r name machine device; do
	fresh
	boot "$machine" "$device" "" image.selftest=disk
	ok "$name: the self test" passes
	ok "$name: the host sees the same bytes" verify
	[[ $name == ring-of-8 ]] || ok "$name: requests in flight together" depth
	ok "$name: discarded space is free" shrunk
done <<-END
	mmio microvm
	pci q35
	blocks-of-4096 microvm ,logical_block_size=4096,physical_block_size=4096
	plain-ring microvm ,indirect_desc=off,event_idx=off
	modern-pci-without-msix q35 ,disable-legacy=on,vectors=0
	ring-of-8 q35 ,queue-size=8,indirect_desc=off,seg-max-adjust=on
END

broken="driver=raw,file.driver=blkdebug,file.image.driver=file,file.image.filename=$disk"
inject=file.inject-error.0
fresh
boot microvm "" "$broken,$inject.event=flush_to_disk,$inject.errno=5" image.selftest=disk
ok "a failing flush is an error" printed 'disk: flush: input/output error'
ok "a failing flush fails the test" test "$status" -eq 3
fresh
boot q35 "" "$broken,$inject.event=pwritev,$inject.errno=5,$inject.once=on,$inject.sector=20480,werror=report" \
	image.selftest=disk
ok "a failing write is an error" printed 'request type 1 at sector [0-9]+ failed'
boot microvm "" "format=raw,readonly=on,file=$disk" image.selftest=disk
ok "a read-only disk refuses writes" printed 'disk: write refused: ok'
truncate -s 1000 "$disk"
boot microvm "" "" ""
ok "a tiny disk does not crash the machine" printed 'disk +virtio-blk0, 0 MiB'

echo "$passed passed, $failed failed"
[[ $failed -eq 0 ]]
