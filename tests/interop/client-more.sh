#!/bin/bash
# SPDX-License-Identifier: ISC
# Goal: what Bole's client can beyond plain fetches: references that move meanwhile (ref-in-want,
# no-done), bundles, packs from elsewhere, proxies. Method: servers of git and our own, with a
# program between that moves references or cuts connections; git compares what came.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
top=$PWD
bole=${BOLE:-$top/build/asan/bole}
[[ -x $bole ]] || { echo "client-more: $bole is not built" >&2; exit 1; }
dir=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null; wait "${pids[@]}" 2>/dev/null; rm -rf "$dir"' EXIT
cd "$dir" || exit 1
export GIT_CONFIG_GLOBAL=$dir/config GIT_CONFIG_SYSTEM=/dev/null GIT_TERMINAL_PROMPT=0 HOME=$dir
export GIT_AUTHOR_NAME=A GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=A GIT_COMMITTER_EMAIL=a@b
export LC_ALL=C
unset http_proxy https_proxy HTTPS_PROXY all_proxy ALL_PROXY no_proxy NO_PROXY
git config --file config init.defaultBranch main
git config --file config safe.directory '*'

die() { echo "client-more: $*" >&2; tail -n 5 "$dir"/*.log >&2; exit 1; }
bo() { timeout 60 "$bole" "$@"; }
refused() { # words command...: it must fail and say the words
	local words=$1
	shift
	if timeout 60 "$@" >refused.log 2>&1; then die "not refused: $*"; fi
	grep -q -- "$words" refused.log || { cat refused.log >&2; die "refused without '$words': $*"; }
	! grep -q 'ERROR: AddressSanitizer\|runtime error' refused.log || die "sanitizer: $*"
}
objects() { git -C "$1" rev-list --objects --all | cut -d' ' -f1 | sort; }
refs() { git -C "$1" for-each-ref --format='%(refname) %(objectname)' | sort; }
same() { # git folder, STORE#REPO, what: equal objects and references, and sound
	rm -rf out
	bo export "$2" out >/dev/null || die "$3: export"
	git -C out fsck --full --strict >fsck.log 2>&1 || { cat fsck.log >&2; die "$3: fsck"; }
	cmp -s <(objects "$1") <(objects out) || die "$3: the objects differ"
	cmp -s <(refs "$1") <(refs out) || { diff <(refs "$1") <(refs out) >&2; die "$3: the references differ"; }
}
gone() { # STORE#REPO, what: nothing of it is left
	[[ -z $(bo repo "${1%#*}" | grep "^${1#*#} ") ]] || die "$2 leaves a repository"
}
first_line() { # file: waits for it
	for _ in {1..100}; do [[ -s $1 ]] && break; sleep 0.1; done
	head -n 1 "$1"
}

# -- the servers --
mkdir srv
port=$((20000 + RANDOM % 20000))
git daemon --reuseaddr --export-all --base-path="$dir/srv" --listen=127.0.0.1 --port=$port >daemon.log 2>&1 &
pids+=($!)
tls=$top/tests/support/tls
python3 "$top/tests/support/http_backend.py" srv $tls/good.pem >http.out 2>http.log &
pids+=($!)
for _ in {1..100}; do [[ $(wc -l <http.out) == 2 ]] && break; sleep 0.1; done
{ read -r plain; read -r secure; } <http.out
"$bole" init d.img --size 512M >/dev/null || die init
history() { # folder, format, commits
	git init -q --object-format="$2" "$1"
	for i in $(seq "$3"); do
		mkdir -p "$1/d$((i % 4))"
		seq $((i * 37 % 500)) >>"$1/d$((i % 4))/f$((i % 7))"
		git -C "$1" add -A
		GIT_COMMITTER_DATE="$((1700000000 + i * 60)) +0000" git -C "$1" commit -qm "commit $i"
	done
	git -C "$1" tag -a v1 -m one HEAD~3
	git -C "$1" branch topic HEAD~7
}
history src-sha1 sha1 40
history src-sha256 sha256 12

# -- a reference moves between the list and the fetch --
moving() { # format, ref-in-want, port of the server, scheme, repository on the server, its folder
	rm -rf "$6"
	git clone -q --mirror "src-$1" "$6"
	git -C "$6" config uploadpack.allowRefInWant "$2"
	old=$(git -C "$6" rev-parse main)
	new=$(git -C "$6" commit-tree -p main~3 -m moved 'main^{tree}')
	python3 "$top/tests/support/between.py" "$3" command=fetch \
		"git -C '$dir/$6' update-ref refs/heads/main $new" >between.port &
	pids+=($!)
	way=$4://127.0.0.1:$(first_line between.port)/$5
	rm between.port
}
n=0
for format in sha1 sha256; do
	for server in git:$port http:$plain; do
		n=$((n + 1))
		moving $format true "${server#*:}" "${server%:*}" moving$n.git srv/moving$n.git
		bo clone "$way" "d.img#moving$n" >/dev/null || die "$server: clone while main moves"
		[[ $(git -C srv/moving$n.git rev-parse main) == "$new" ]] || die "$server: main did not move"
		git -C srv/moving$n.git gc -q --prune=now # what was listed is not there any more
		same srv/moving$n.git "d.img#moving$n" "$server: clone while main moves"
	done
done
# a fetch: the branch that is here moves on there, and again meanwhile
git clone -q --mirror src-sha1 srv/again.git
git -C srv/again.git config uploadpack.allowRefInWant true
bo clone "git://127.0.0.1:$port/again.git" 'd.img#again' >/dev/null || die "clone"
next=$(git -C srv/again.git commit-tree -p main -m next 'main^{tree}')
git -C srv/again.git update-ref refs/heads/main "$next"
then=$(git -C srv/again.git commit-tree -p "$next" -m then 'main^{tree}')
python3 "$top/tests/support/between.py" "$port" command=fetch \
	"git -C '$dir/srv/again.git' update-ref refs/heads/main $then" >between.port &
pids+=($!)
bo fetch 'd.img#again' "git://127.0.0.1:$(first_line between.port)/again.git" >fetch.out || die "fetch while main moves"
grep -q '^forward *refs/heads/main' fetch.out || die "fetch while main moves: $(<fetch.out)"
same srv/again.git 'd.img#again' "fetch while main moves"
# -- no-done: over HTTP in version 0 the pack follows the word "ready" --
git clone -q --mirror src-sha1 srv/done.git
base=$(git -C srv/done.git rev-parse main~10)
git init -q --bare ours
git -C ours fetch -q "$dir/srv/done.git" "$base:refs/heads/main"
tree=$(git -C ours rev-parse 'main^{tree}')
for i in {1..40}; do # older than what is common, so that they are named last
	GIT_COMMITTER_DATE="$((1600000000 + i)) +0000" git -C ours commit-tree -m "ours $i" "$tree" >id
	git -C ours update-ref "refs/heads/mine$i" "$(<id)"
done
bo import 'd.img#done' ours >/dev/null || die "import"
: >http.log
bo fetch 'd.img#done' "http://127.0.0.1:$plain/done.git" --protocol 0 >fetch.out || die "no-done"
[[ $(grep -c coded http.log) == 1 ]] || die "no-done: $(grep -c coded http.log) requests"
grep -q '^[1-9][0-9]* objects' fetch.out || die "no-done: $(<fetch.out)"
git -C ours fetch -q "$dir/srv/done.git" '+refs/*:refs/*'
same ours 'd.img#done' "no-done"

# -- what is no refspec is a mistake of the command line --
url=git://127.0.0.1:$port/done.git
for words in "fetch d.img#done $url a:b:c" "push d.img#done $url a:"; do
	# shellcheck disable=SC2086
	bo $words >usage.log 2>&1
	[[ $? == 2 ]] && grep -q 'is no refspec' usage.log || die "$words: $(<usage.log)"
done
echo "client-more: ok"
