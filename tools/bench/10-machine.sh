# SPDX-License-Identifier: ISC
# Size of the image, memory at idle, time from exec to accepting connections. Sourced by run.sh.

bytes=$(stat -c %s "$image/bole.elf.stripped")
row 'image, stripped' "$bytes" bytes 'goal 1 MiB' 1048576

"$bole" init empty.img --size 64M >/dev/null || die "init"
NODE_LOG=$dir/console
# A static address and an empty volume: no lease to wait for, nothing to mount.
node_boot empty.img net.dhcp=false net.address=10.0.2.15/24 net.gateway=10.0.2.2 ||
	die "the image does not boot"
sleep 1
# Ctrl-T: the console tells the pages in use; the image's own bytes are among them.
printf '\024' >&"$NODE_INPUT"
sleep 0.5
used=$(sed -n 's/.*memory in use \([0-9]*\) KiB.*/\1/p' console | tail -n 1)
node_stop
row 'memory at idle, image included' "${used:-0}" KiB 'goal 16 MiB' 16384

# The same emulator options for both, but for the kernel.
NODE_HTTP=$(node_free_port) NODE_GIT=$(node_free_port)
# shellcheck disable=SC2046
set -- $(node_accel) $(NODE_MACHINE=microvm node_machine "$NODE_HTTP" "$NODE_GIT") -m 128 -nodefaults \
	-display none -no-reboot -device isa-debug-exit,iobase=0x501,iosize=4 -serial stdio \
	-drive if=none,id=disk,format=raw,file=empty.img
read -r stub stub_min _ < <("$tools/boottime" $((runs * 3)) ready \
	qemu-system-x86_64 "$@" -kernel "$tools/stub.elf" </dev/null)
read -r full full_min _ < <("$tools/boottime" $((runs * 3)) 'ready in' qemu-system-x86_64 "$@" \
	-kernel "$image/bole.elf" -append 'net.dhcp=false net.address=10.0.2.15/24 net.gateway=10.0.2.2' </dev/null)
row 'exec to accept, microvm, median' "$full" ms 'empty PVH stub' "$stub"
row 'exec to accept, microvm, minimum' "$full_min" ms 'empty PVH stub' "$stub_min"
row 'own share of the boot' "$(awk -v a="$full" -v b="$stub" 'BEGIN { printf "%.1f", a - b }')" ms
