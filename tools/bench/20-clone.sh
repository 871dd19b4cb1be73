# SPDX-License-Identifier: ISC
# A full clone of a 50,000-object history: wall and server CPU beside git daemon, in turn. Sourced.

if [ -n "${HISTORY:-}" ]; then
	git clone -q --mirror "$HISTORY" h.git || die "HISTORY"
else
	git init -q --bare h.git
	"$tools/gen_history" 1 8500 | git -C h.git fast-import --quiet || die "the generator"
	git -C h.git symbolic-ref HEAD refs/heads/main-0
fi
# As servers hold it: one pack; git once without and once with its reachability bitmap.
git -C h.git -c repack.writeBitmaps=false repack -q -a -d
mkdir bitmap && cp -r h.git bitmap/h.git && git -C bitmap/h.git repack -q -a -d -b || die "repack"
"$bole" init h.img --size 2G >/dev/null && "$bole" import 'h.img#h' h.git >/dev/null || die "import"

serve_bole() {
	"$tools/cputime" "$1" "$bole" serve h.img --http off --git "127.0.0.1:$2" >serve.log 2>&1 &
}
serve_git() { # report port folder
	"$tools/cputime" "$1" git daemon --listen=127.0.0.1 --port="$2" --base-path="${3:-$dir}" \
		--export-all --reuseaddr >daemon.log 2>&1 &
}
serve_bitmap() {
	serve_git "$1" "$2" "$dir/bitmap"
}
# One server process per run, so that its CPU is that of one clone; prints wall, CPU, first byte.
clone_once() { # serve_x client...
	local port server
	port=$(node_free_port)
	"$1" report "$port"
	server=$!
	for _ in $(seq 1 200); do
		(exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break
		sleep 0.05
	done
	"$tools/gitload" 127.0.0.1 "$port" h.git >cloned || cat serve.log daemon.log >&2
	kill -TERM $server
	wait $server 2>/dev/null
	awk 'NR == FNR { cpu = $1 + $2; kib = $3; next } { print $4, cpu, $3, kib, $1, $2 }' report cloned
}
: >bole.runs && : >git.runs && : >bitmap.runs
for _ in $(seq 1 "$runs"); do
	clone_once serve_bole >>bole.runs
	clone_once serve_git >>git.runs
	clone_once serve_bitmap >>bitmap.runs
done
col() { cut -d' ' -f"$2" "$1.runs" | median; }
row "full clone, $(col bole 5) objects, wall" "$(col bole 1)" s 'git daemon' "$(col git 1)"
row 'full clone, server CPU' "$(col bole 2)" s 'git daemon' "$(col git 2)"
row 'full clone, server CPU' "$(col bole 2)" s 'git daemon, bitmap' "$(col bitmap 2)"
row 'full clone, first pack byte' "$(col bole 3)" s 'git daemon' "$(col git 3)"
row 'full clone, largest server process' "$(col bole 4)" KiB 'git daemon' "$(col git 4)"
row 'full clone, bytes sent' "$(col bole 6)" bytes 'git daemon' "$(col git 6)"

# The same history into and out of the machine; user networking under emulation is the floor there.
NODE_LOG=$dir/console
"$bole" init m.img --size 2G >/dev/null || die "init"
node_boot m.img receive.enable=true receive.create=true || die "boot"
start=$(date +%s%N)
git -C h.git push -q --mirror "http://127.0.0.1:$NODE_HTTP/h.git" || die "push into the machine"
pushed=$(date +%s%N)
read -r _ _ _ wall < <("$tools/gitload" 127.0.0.1 "$NODE_GIT" h.git)
node_stop
row 'push into a machine of 128 MiB' "$(awk -v a="$start" -v b="$pushed" 'BEGIN { printf "%.2f", (b - a) / 1e9 }')" s
row 'full clone from a machine of 128 MiB' "$wall" s 'bole serve' "$(col bole 1)"
