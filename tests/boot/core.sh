#!/bin/bash
# SPDX-License-Identifier: ISC
# The runtime under the image: its own tests inside the machine, every way to end it, and faults that
# must be caught (each prints what happened and ends with a status that is not 0). IMAGE=…elf.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
image=${IMAGE:-build/image/qemu/bole.elf}
[[ -f $image ]] || { echo "core: no $image; run make image"; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0
seed=bole.seed=$(printf '0123456789abcdef%.0s' 1 2 3 4)

# boot WORDS QEMU-ARGS...: output in $work/out, QEMU's status in $status.
boot() {
	local words=$1
	shift
	timeout 20 qemu-system-x86_64 -accel tcg -nodefaults -display none -serial stdio -no-reboot \
		-m "${memory:-64}" "$@" -kernel "${kernel:-$image}" -append "$words" \
		</dev/null >"$work/out" 2>"$work/err"
	status=$?
}
ok() { # NAME STATUS TEXT: the last boot ended so and printed so
	if [[ $status -eq $2 ]] && grep -qE "$3" "$work/out"; then
		echo "ok: $1"
		passed=$((passed + 1))
	else
		echo "FAILED: $1: status $status (want $2), output (want $3):"
		cat "$work/out" "$work/err"
		failed=$((failed + 1))
	fi
}
exit_device=(-device "isa-debug-exit,iobase=0x501,iosize=4")

for machine in microvm q35 pc; do
	boot "bole.selftest=1 $seed" -M $machine "${exit_device[@]}"
	ok "self test on $machine, powered off by ACPI" 0 '^selftest: passed'
done
boot "bole.selftest=1 $seed" -M microvm,acpi=off
ok "self test on microvm without ACPI, ended by reset" 0 '^selftest: passed'
boot "bole.selftest=1 $seed" -M microvm,acpi=off,pit=off,pic=off,rtc=off "${exit_device[@]}"
ok "self test on a microvm without PIT, PIC and RTC" 1 '^selftest: passed'
memory=4096 boot "bole.selftest=1 $seed" -M q35
ok "self test with 4 GiB" 0 '^selftest: passed'
boot bole.selftest=1 -M microvm -cpu max
ok "randomness from the processor" 0 '^selftest: passed'
kernel=${image%.elf}-multiboot.elf boot "bole.selftest=1 $seed" -M q35
ok "self test entered by multiboot" 0 '^selftest: passed'

boot bole.selftest=1 -M microvm "${exit_device[@]}"
ok "no randomness is refused" 37 'no source of randomness'
boot 'bole.selftest=1 entropy.insecure=true' -M microvm
ok "no randomness is accepted when told so" 0 'randomness is predictable'

for machine in microvm q35; do
	while read -r fault text; do
		boot "bole.selftest=$fault" -M $machine "${exit_device[@]}"
		ok "$fault is caught on $machine" 33 "TRAP 14: page fault, $text"
		grep -q 'rip 0000' "$work/out" && grep -q 'called from 0x.*main_fiber' "$work/out" || {
			echo "FAILED: $fault on $machine: no registers or no backtrace"
			failed=$((failed + 1))
		}
	done <<-'END'
		text write to a read-only page
		constant write to a read-only page
		data execution of data
		overflow stack overflow
		null null pointer
	END
done
boot bole.selftest=panic -M microvm "${exit_device[@]}"
ok "a panic ends with its status" 35 '^PANIC: asked for'
boot bole.selftest=heap -M microvm "${exit_device[@]}"
ok "a spoiled heap is noticed" 35 '^PANIC: the heap is corrupt'

# Stopping: keys on the serial console, and the power button; the idle machine must sleep meanwhile.
stop() { # NAME QEMU-ARGS...: boots, waits, runs press, and takes the status
	local name=$1 ticks
	shift
	rm -f "$work"/{in,monitor}
	mkfifo "$work/in"
	timeout 20 qemu-system-x86_64 -accel tcg -nodefaults -display none -no-reboot -m 64 "$@" \
		-chardev stdio,id=s,signal=off -serial chardev:s \
		-monitor "unix:$work/monitor,server,nowait" -kernel "$image" \
		-append 'bole.selftest=stop' <"$work/in" >"$work/out" 2>"$work/err" &
	local pid=$!
	exec 9>"$work/in"
	for _ in $(seq 100); do
		grep -q waiting "$work/out" && break
		sleep 0.05
	done
	sleep 0.5
	ticks=$(cpu_ticks $pid)
	sleep 1
	ticks=$(($(cpu_ticks $pid) - ticks))
	press
	wait $pid
	status=$?
	exec 9>&-
	ok "$name" 0 '^selftest: stopped'
	if [[ $ticks -le 20 ]]; then
		passed=$((passed + 1))
	else
		echo "FAILED: $name: the idle machine used $ticks ticks of 10 ms in a second"
		failed=$((failed + 1))
	fi
}
cpu_ticks() { # PID of timeout: user and system ticks of its QEMU
	local child
	child=$(pgrep -P "$1")
	awk '{ print $14 + $15 }' "/proc/$child/stat"
}
press() { printf '\024\003' >&9; }
stop "Ctrl-C stops microvm" -M microvm
stop "Ctrl-C stops microvm without ACPI" -M microvm,acpi=off
stop "Ctrl-C stops q35" -M q35
ok "Ctrl-T tells the memory in use" 0 'memory in use [0-9]+ KiB'
press() {
	python3 - "$work/monitor" <<-'END'
		import socket, sys, time
		s = socket.socket(socket.AF_UNIX)
		s.connect(sys.argv[1])
		s.sendall(b"system_powerdown\n")
		time.sleep(0.2)
	END
}
stop "the power button stops q35" -M q35
stop "the power button stops microvm" -M microvm

echo "$passed passed, $failed failed"
[[ $failed -eq 0 ]]
