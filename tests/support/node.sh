# SPDX-License-Identifier: ISC
# Boots Bole images in QEMU for the shell tests and tools/run. Source it; it sets no traps.
#
#   node_boot IMAGE [GUEST-OPTION...]   start, wait until it answers; sets NODE_PID NODE_HTTP NODE_GIT
#   node_stop                           clean shutdown through the serial line
#   node_kill                           kill -9, as a crash would
#
# Knobs: NODE_MACHINE (microvm|q35), NODE_MEMORY (MiB), NODE_ELF, NODE_LOG, NODE_WAIT (seconds),
#        NODE_BLOCK (replaces the -drive arguments; must name the drive `disk`).

top=${top:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}
bole=${BOLE:-$top/build/host/bole}

# KVM only where the processor has it: some machines show /dev/kvm but hang ordinary guests.
node_accel() {
	if [ -w /dev/kvm ] && grep -qE '^flags.* (vmx|svm)( |$)' /proc/cpuinfo; then
		echo "-accel kvm -cpu host"
	else
		echo "-accel tcg -cpu max"
	fi
}

node_free_port() {
	python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# The arguments of QEMU for one machine type with a disk and a network card.
node_machine() { # http-port git-port
	local net="user,id=net,hostfwd=tcp:127.0.0.1:$1-:8080,hostfwd=tcp:127.0.0.1:$2-:9418"
	case ${NODE_MACHINE:-microvm} in
	microvm)
		echo "-M microvm,acpi=off,pit=off,pic=off,rtc=on,x-option-roms=off" \
			"-global virtio-mmio.force-legacy=false" \
			"-device virtio-blk-device,drive=disk -netdev $net" \
			"-device virtio-net-device,netdev=net -device virtio-rng-device"
		;;
	q35)
		echo "-M q35 -device virtio-blk-pci,drive=disk -netdev $net" \
			"-device virtio-net-pci,netdev=net,romfile= -device virtio-rng-pci"
		;;
	*)
		echo "NODE_MACHINE: microvm or q35, not $NODE_MACHINE" >&2
		return 2
		;;
	esac
}

node_start() { # image options...; does not wait
	local image=$1
	shift
	NODE_HTTP=${NODE_HTTP_WANTED:-$(node_free_port)}
	NODE_GIT=${NODE_GIT_WANTED:-$(node_free_port)}
	NODE_LOG=${NODE_LOG:-$(mktemp)}
	NODE_PIPE=$(mktemp -u)
	mkfifo "$NODE_PIPE"
	# A session of its own, so that Ctrl-C reaches this shell and not QEMU.
	# shellcheck disable=SC2046,SC2086
	setsid qemu-system-x86_64 $(node_accel) $(node_machine "$NODE_HTTP" "$NODE_GIT") \
		-m "${NODE_MEMORY:-128}" -nodefaults -display none -no-reboot \
		-device isa-debug-exit,iobase=0x501,iosize=4 -serial stdio \
		${NODE_BLOCK:--drive if=none,id=disk,format=raw,cache=writeback,discard=unmap,file=$image} \
		-kernel "${NODE_ELF:-$top/build/image/qemu/bole.elf}" -append "$*" \
		<"$NODE_PIPE" >>"$NODE_LOG" 2>&1 &
	NODE_PID=$!
	exec {NODE_INPUT}>"$NODE_PIPE"
	rm -f "$NODE_PIPE"
}

node_answers() {
	timeout 5 bash -c "exec 3<>/dev/tcp/127.0.0.1/$NODE_HTTP &&
		printf 'GET /healthz HTTP/1.0\r\n\r\n' >&3 && head -c 12 <&3" 2>/dev/null | grep -q '200'
}

node_wait() {
	local end=$((SECONDS + ${NODE_WAIT:-30}))
	until node_answers; do
		if ! kill -0 "$NODE_PID" 2>/dev/null; then
			echo "node: the machine ended before it answered; its last words:" >&2
			tail -n 20 "$NODE_LOG" >&2
			return 1
		fi
		if [ "$SECONDS" -ge "$end" ]; then
			echo "node: no answer in ${NODE_WAIT:-30} s; its last words:" >&2
			tail -n 20 "$NODE_LOG" >&2
			return 1
		fi
		sleep 0.05
	done
}

node_boot() {
	node_start "$@" && node_wait
}

node_stop() {
	printf '\003' >&"$NODE_INPUT" 2>/dev/null
	local end=$((SECONDS + 20)) status
	while kill -0 "$NODE_PID" 2>/dev/null && [ "$SECONDS" -lt "$end" ]; do
		sleep 0.05
	done
	exec {NODE_INPUT}>&-
	if kill -0 "$NODE_PID" 2>/dev/null; then
		echo "node: did not stop in 20 s; killed" >&2
		kill -9 "$NODE_PID"
		wait "$NODE_PID" 2>/dev/null
		return 1
	fi
	wait "$NODE_PID" 2>/dev/null
	status=$?
	[ $status -le 1 ] # isa-debug-exit reports 2 * status + 1; 0 and 1 are clean ends
}

node_kill() {
	kill -9 "$NODE_PID" 2>/dev/null
	wait "$NODE_PID" 2>/dev/null
	exec {NODE_INPUT}>&-
}

# The objects of a repository as a client sees them, for comparing two.
repo_objects() {
	git -C "$1" rev-list --all --objects --no-object-names | sort
}
