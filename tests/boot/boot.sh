#!/bin/bash
# SPDX-License-Identifier: ISC
# The image's main: what it says and how it ends without a disk, with an unformatted one, with foreign
# bytes on it; formatting on request; push, stop, boot again, clone; stopping while clients are busy.
# IMAGE=…elf.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
top=$PWD
. tests/support/node.sh
NODE_ELF=${IMAGE:-build/image/qemu/bole.elf}
[[ -f $NODE_ELF ]] || { echo "boot: no $NODE_ELF; run make image"; exit 1; }
work=$(mktemp -d)
NODE_LOG=$work/console NODE_PID=
trap '[[ -n $NODE_PID ]] && kill -9 "$NODE_PID" 2>/dev/null; rm -rf "$work"' EXIT
passed=0 failed=0
disk=$work/disk.img

ok() { # NAME COMMAND...
	local name=$1
	shift
	if "$@" >"$work/said" 2>&1; then
		echo "ok: $name"
		passed=$((passed + 1))
	else
		echo "FAILED: $name:"
		tail -n 20 "$work/said" "$NODE_LOG"
		failed=$((failed + 1))
	fi
}
# ends STATUS TEXT WORDS...: the machine ends by itself, so and saying so. disk_args as QEMU wants them.
disk_args=()
ends() {
	local want=$1 text=$2
	shift 2
	timeout 30 qemu-system-x86_64 -accel tcg -cpu max -M microvm,acpi=off -m 128 -nodefaults -display none \
		-global virtio-mmio.force-legacy=false -serial stdio -no-reboot "${disk_args[@]}" \
		-device isa-debug-exit,iobase=0x501,iosize=4 -kernel "$NODE_ELF" -append "$*" \
		</dev/null >"$NODE_LOG" 2>&1
	local status=$?
	((status == want * 2 + 1)) && grep -aq "$text" "$NODE_LOG" && return
	echo "status $status, wanted $((want * 2 + 1)) and: $text"
	return 1
}
start() { : >"$NODE_LOG" && node_boot "$disk" "$@"; }
git() { command git -c gc.auto=0 -c user.name=t -c user.email=t@localhost "$@"; }

git init -q -b main "$work/source"
for i in $(seq 40); do
	head -c $((i * 700)) /dev/urandom | base64 >"$work/source/file$i"
	git -C "$work/source" add -A
	git -C "$work/source" commit -q -m "commit $i"
done
push() { timeout 60 git -C "$work/source" push -q "http://127.0.0.1:$NODE_HTTP/$1.git" main; }
equals() { # URL: a clone is whole and equals the source
	rm -rf "$work/copy"
	timeout 60 git clone -q --mirror "$1" "$work/copy" && git -C "$work/copy" fsck --full --strict &&
		[[ $(git -C "$work/copy" rev-parse main) == $(git -C "$work/source" rev-parse main) ]]
}
both() { equals "http://127.0.0.1:$NODE_HTTP/$1.git" && equals "git://127.0.0.1:$NODE_GIT/$1.git"; }
says() { grep -aE "$1" "$NODE_LOG"; }

# -- what it refuses --
ok "without a disk it says so" ends 3 'no disk: give the machine a virtio block device'
ok "a bad key is refused" ends 2 'volume.memory must be true or false' volume.memory=maybe
disk_args=(-drive "if=none,id=disk,format=raw,file=$disk" -device virtio-blk-device,drive=disk)
truncate -s 64M "$disk"
ok "a blank disk names bole init" ends 4 'run `bole init`'
printf 'precious' | dd of="$disk" bs=1 seek=$((32 << 20)) conv=notrunc status=none
cp "$disk" "$work/before"
ok "a disk with foreign bytes is not formatted" ends 4 'not formatted' volume.format=auto
ok "and it is untouched" cmp "$disk" "$work/before"

# -- a volume on a disk, over stop and start --
rm -f "$disk" && truncate -s 256M "$disk"
for NODE_MACHINE in microvm q35; do
	ok "$NODE_MACHINE boots" start volume.format=auto receive.enable=true receive.create=true
	ok "the banner names version, memory, disk, address, time" says '^ready in [0-9]+ ms: http://10.0.2.15:8080/ git:'
	ok "push to $NODE_MACHINE" push "$NODE_MACHINE"
	ok "clone over both protocols" both "$NODE_MACHINE"
	ok "stop" node_stop
	ok "start again, without formatting" start
	ok "what was pushed is there" both "$NODE_MACHINE"
	ok "a push is refused by default" bash -c "! git -C '$work/source' push -q http://127.0.0.1:$NODE_HTTP/no.git main"
	ok "stop again" node_stop
done
ok "the other machine's repository is there too" start
ok "clone it" both microvm

# -- stopping while clients are busy --
exec {idle}<>"/dev/tcp/127.0.0.1/$NODE_HTTP"
(for _ in 1 2 3 4 5 6; do equals "http://127.0.0.1:$NODE_HTTP/microvm.git"; done) >/dev/null 2>&1 &
clients=$!
sleep 0.5
ok "stop with an idle and a busy connection" node_stop
exec {idle}>&-
wait $clients
NODE_PID=

# -- in memory --
ok "a volume in memory" start volume.memory=true receive.enable=true receive.create=true
ok "push into memory" push memory
ok "clone from memory" both memory
ok "stop it" node_stop

echo "$passed passed, $failed failed"
[[ $failed -eq 0 ]]
