#!/bin/bash
# SPDX-License-Identifier: ISC
# The network of the image, by its own echo, sink and source services: DHCP on microvm, a static
# address on q35; megabytes both ways with checksums, many connections at once, stalled peers, resets,
# connecting out over both IP versions, and no leak of packets or connections at the end.
# IMAGE=…elf.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
image=${IMAGE:-build/image/qemu/bole.elf}
[[ -f $image ]] || { echo "net: no $image; run make image"; exit 1; }
work=$(mktemp -d)
machine_pid=
trap '[[ -n $machine_pid ]] && kill -9 $machine_pid 2>/dev/null; rm -rf "$work"' EXIT
passed=0 failed=0
client() { timeout 60 python3 tests/support/net_client.py "$@"; }

ports() { # COUNT: free ports of this host
	python3 -c 'import socket, sys
s = [socket.socket() for _ in range(int(sys.argv[1]))]
for x in s: x.bind(("127.0.0.1", 0))
print(*[x.getsockname()[1] for x in s])' "$1"
}

# boot MACHINE GUEST WORDS...: forwards to the address GUEST ("" = any); waits for "ready".
boot() {
	local machine=$1 guest=$2 net a end
	shift 2
	read -r echo_at sink_at source_at stall_at closed_at http_at <<<"$(ports 6)"
	net=user,id=net
	for a in "$echo_at:7" "$sink_at:9" "$source_at:19" "$stall_at:11" "$closed_at:99" "$http_at:8080"; do
		net+=",hostfwd=tcp:127.0.0.1:${a%:*}-$guest:${a#*:}"
	done
	case $machine in
	microvm)
		set -- -M microvm,acpi=off,pit=off,pic=off -global virtio-mmio.force-legacy=false \
			-device virtio-net-device,netdev=net -device virtio-rng-device -append "$*"
		;;
	q35)
		set -- -M q35 -device virtio-net-pci,netdev=net,romfile= -device virtio-rng-pci -append "$*"
		;;
	esac
	rm -f "$work/in"
	mkfifo "$work/in"
	timeout 80 qemu-system-x86_64 -accel tcg -cpu "${cpu:-max}" -nodefaults -display none -serial stdio \
		-no-reboot -device isa-debug-exit,iobase=0x501,iosize=4 -m 128 -netdev "$net" \
		-kernel "$image" "$@" <"$work/in" >"$work/out" 2>&1 &
	machine_pid=$!
	exec {input}>"$work/in"
	end=$((SECONDS + 15))
	until grep -q '^ready' "$work/out"; do
		if ! kill -0 $machine_pid 2>/dev/null || ((SECONDS > end)); then
			echo "FAILED: $machine does not get ready:"
			cat "$work/out"
			exit 1
		fi
		sleep 0.02
	done
}

halt() { # asks the machine to stop, waits for its end; sets status
	sleep 0.3
	printf '\003' >&"$input"
	exec {input}>&-
	wait $machine_pid
	status=$?
	machine_pid=
}

ok() { # NAME COMMAND...
	local name=$1
	shift
	if "$@" >"$work/said" 2>&1; then
		echo "ok: $name: $(tail -1 "$work/said")"
		passed=$((passed + 1))
	else
		echo "FAILED: $name:"
		cat "$work/said" "$work/out"
		failed=$((failed + 1))
	fi
}
printed() { # the machine may still be about to say it
	local _
	for _ in {1..50}; do
		grep -E "$1" "$work/out" && return
		sleep 0.1
	done
	return 1
}
clean_end() { # nothing is open, the budget is free again, none was refused
	[[ $status -le 1 ]] && printed '^net: .* refused 0 open 0 most [0-9]+ heap [0-9]{1,4} '
}
all_rates() { client bulk "$echo_at" "$sink_at" "$source_at" && sed -n '2,$p' "$work/said"; }
idle_ticks() { # processor time that an idle machine takes in two seconds, in 1/100 s
	local qemu a b
	qemu=$(pgrep -P $machine_pid)
	a=$(awk '{ print $14 + $15 }' "/proc/$qemu/stat")
	sleep 2
	b=$(awk '{ print $14 + $15 }' "/proc/$qemu/stat")
	echo "$((b - a)) hundredths of a second in 2 s"
	((b - a <= 30))
}

boot microvm "" image.selftest=net
ok "an address by DHCP" printed 'address +10\.0\.2\.15, gateway 10\.0\.2\.2'
ok "a page over HTTP" curl -sf --max-time 5 "http://127.0.0.1:$http_at/"
ok "an idle machine rests" idle_ticks
ok "round trips" client latency "$echo_at"
ok "megabytes" client bulk "$echo_at" "$sink_at" "$source_at"
cat "$work/said"
ok "many connections" client crowd "$echo_at" 200
ok "stalled peers" client slow "$echo_at" "$source_at" "$stall_at" "$http_at"
ok "resets and a closed port" client resets "$echo_at" "$sink_at" "$source_at" "$closed_at"
sleep 2 # stalled fibers end 3 s after they began
halt
ok "nothing leaked" clean_end

# A helper of ours writes its port when it listens.
listens() { # file
	for _ in {1..100}; do
		[[ -s $1 ]] && return
		sleep 0.1
	done
	return 1
}
client serve >"$work/port" &
listens "$work/port"
boot q35 10.0.2.77 image.selftest=net net.address=10.0.2.77/24 net.gateway=10.0.2.2 \
	"test.connect=10.0.2.2:$(cat "$work/port")"
ok "a static address" printed 'address +10\.0\.2\.77, gateway 10\.0\.2\.2'
ok "megabytes over PCI" client bulk "$echo_at" "$sink_at" "$source_at"
cat "$work/said"
ok "connecting out" printed '^connect: 10\.0\.2\.2:[0-9]+: ok'
halt
ok "nothing leaked over PCI" clean_end

client serve6 >"$work/port6" 2>/dev/null &
if listens "$work/port6"; then
	# This processor has no random numbers of its own: they come from virtio-rng.
	cpu=qemu64 boot microvm "" image.selftest=net net.dhcp=false net.address6=fec0::77/64 \
		"test.connect=[fec0::2]:$(cat "$work/port6")"
	sleep 1
	ok "connecting out over IPv6" printed '^connect: \[fec0::2\]:[0-9]+: ok'
	halt
fi

boot_status() { # STATUS WORDS...: a machine that ends by itself
	local want=$1
	shift
	timeout 20 qemu-system-x86_64 -accel tcg -cpu max -nodefaults -display none -serial stdio -m 64 \
		-no-reboot -M microvm,acpi=off -global virtio-mmio.force-legacy=false \
		-device isa-debug-exit,iobase=0x501,iosize=4 -netdev user,id=net \
		-device virtio-net-device,netdev=net -kernel "$image" -append "$*" </dev/null >"$work/out" 2>&1
	(($? == want)) && grep -E 'error: ' "$work/out"
}
ok "a bad address is refused by name" boot_status 5 net.address=10.0.2.300/24
ok "a bad gateway is refused by name" boot_status 5 net.address=10.0.2.3/24 net.gateway=ten

echo "$passed passed, $failed failed"
[[ $failed -eq 0 ]]
