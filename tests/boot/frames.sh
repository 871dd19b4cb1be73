#!/bin/bash
# SPDX-License-Identifier: ISC
# The image on a wire that nothing filters: raw Ethernet frames by hand. Fragments in any order, TCP
# out of order and spoilt, retransmission, thousands of malformed frames, and more connections than
# the named limit. IMAGE=…elf.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
image=${IMAGE:-build/image/qemu/bole.elf}
[[ -f $image ]] || { echo "frames: no $image; run make image"; exit 1; }
work=$(mktemp -d)
machine_pid=
trap '[[ -n $machine_pid ]] && kill -9 $machine_pid 2>/dev/null; rm -rf "$work"' EXIT

read -r ours guest <<<"$(python3 -c 'import socket
s = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
for x in s: x.bind(("127.0.0.1", 0))
print(*[x.getsockname()[1] for x in s])')"
end=type=inet,host=127.0.0.1
wire=dgram,id=net,local.${end/host/local.host},local.port=$guest,remote.${end/host/remote.host},remote.port=$ours
mkfifo "$work/in"
timeout 80 qemu-system-x86_64 -accel tcg -cpu max -nodefaults -display none -serial stdio -no-reboot \
	-M microvm,acpi=off -global virtio-mmio.force-legacy=false -m 192 \
	-device isa-debug-exit,iobase=0x501,iosize=4 -device virtio-net-device,netdev=net \
	-netdev "$wire" -kernel "$image" -append "image.selftest=net net.address=10.9.0.2/24" \
	<"$work/in" >"$work/out" 2>&1 &
machine_pid=$!
exec {input}>"$work/in"
for _ in $(seq 200); do
	grep -q '^ready' "$work/out" && break
	sleep 0.05
done

fail() {
	echo "frames: $*"
	cat "$work/out"
	exit 1
}
timeout 60 python3 tests/support/net_frames.py "$ours" "$guest" || fail "see above"
sleep 2
printf '\003' >&"$input"
exec {input}>&-
wait $machine_pid
status=$?
machine_pid=
((status <= 1)) || fail "ended with status $status"
# The conversations that the test leaves open stay so, all others are gone.
grep -E '^net: .* refused [1-9][0-9]* open [0-9] ' "$work/out" || fail "connections leaked, or none was refused"
