# SPDX-License-Identifier: ISC
# What tests of Git's services begin with. Source it from anywhere; then one call of `suite`, which
# makes a fresh folder that goes at the end, goes there, and keeps git from everybody's settings.
#
#   suite                    sets suite, top, bole, dir, here (the script's folder), format, other
#   start SETTING...         serves $store with settings "section.key=value"; sets http, git, server
#   stop; crash              a clean end, which must succeed; the end that a power cut is
#   url http|git REPO        an address of what start started
#   git_servers              stock git serves the folder srv; sets ports: daemon, backend, tls (good, wrong
#                            name, expired)
#
# Who serves is a parameter: WHERE=host is the process, WHERE=image the machine of tests/support/node.sh
# with 128 MiB. store is a file, or mem:. So is the format of all repositories: GIT_DEFAULT_HASH=sha1
# or sha256, as git knows it; without it SEED chooses. `create` is what `bole repo` needs for it. A process that
# a test starts itself goes into pids. tests/run reads which of these a script is run with.

suite() {
	suite=$(basename "$0" .sh)
	here=$(cd "$(dirname "$0")" && pwd)
	top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
	where=${WHERE:-host}
	if [[ $where == image ]]; then
		bole=${BOLE:-$top/build/host/bole}
		# shellcheck source=tests/support/node.sh
		. "$top/tests/support/node.sh"
	else
		bole=${BOLE:-$top/build/asan/bole}
	fi
	[[ -x $bole ]] || { echo "$suite: $bole is not built" >&2; exit 1; }
	SEED=${SEED:-$RANDOM}
	RANDOM=$SEED
	format=${GIT_DEFAULT_HASH:-$( ((SEED % 2)) && echo sha256 || echo sha1)}
	create=() other=sha256
	[[ $format == sha1 ]] || create=(--sha256) other=sha1
	echo "SEED=$SEED GIT_DEFAULT_HASH=$format WHERE=$where"
	dir=$(mktemp -d)
	server='' pids=() store=mem:
	trap leave EXIT
	cd "$dir" || exit 1
	export GIT_CONFIG_GLOBAL=$dir/config GIT_CONFIG_SYSTEM=/dev/null GIT_TERMINAL_PROMPT=0 HOME=$dir
	export GIT_AUTHOR_NAME=A GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=A GIT_COMMITTER_EMAIL=a@b
	export GIT_DEFAULT_HASH=$format LC_ALL=C no_proxy='*'
	configure init.defaultBranch=main advice.detachedHead=false gc.auto=0 protocol.ext.allow=always
	: >server.log
}
configure() { # key=value...: of git
	local pair
	for pair; do git config --file "$dir/config" --add "${pair%%=*}" "${pair#*=}"; done
}
leave() {
	exec 2>/dev/null
	# Whom the server still has work for must not keep the test from ending.
	[[ -z $server ]] || kill -9 "$server"
	((${#pids[@]} == 0)) || kill "${pids[@]}"
	wait $server "${pids[@]}"
	rm -rf "$dir"
}
die() {
	echo "$suite: $* (SEED=$SEED GIT_DEFAULT_HASH=$format WHERE=$where)" >&2
	tail -n 15 "$dir"/*.log >&2
	exit 1
}

# -- commands and what they must do --
limit() { timeout 60 "$@"; }
passes() { limit "$@" >passes.log 2>&1 || { cat passes.log >&2; die "failed: $*"; }; }
refused() { # words command...: it must fail and say the words
	local words=$1
	shift
	if limit "$@" >refused.log 2>&1; then die "not refused: $*"; fi
	grep -q -e "$words" refused.log || { cat refused.log >&2; die "refused without '$words': $*"; }
	! grep -q 'ERROR: AddressSanitizer\|runtime error' refused.log || die "sanitizer: $*"
}
objects() { git -C "$1" rev-list --objects --all | cut -d' ' -f1 | sort; }
same() { # folder folder what: the second is sound and has the objects of the first
	git -C "$2" fsck --full --strict >fsck.log 2>&1 || { cat fsck.log >&2; die "$3: fsck fails"; }
	cmp -s <(objects "$1") <(objects "$2") || die "$3: the objects differ"
}
refs() { git -C "$1" for-each-ref --format='%(refname) %(objectname)' | sort; }
stored() { # folder STORE#REPOSITORY what: what is stored is the same, and so are its references
	rm -rf out
	passes "$bole" export "$2" out
	same "$1" out "$3"
	cmp -s <(refs "$1") <(refs out) || { diff <(refs "$1") <(refs out) >&2; die "$3: the references differ"; }
}

# -- histories --
history() { # folder format commits: one line of them, a tag, a branch
	git init -q --object-format="$2" "$1"
	for i in $(seq "$3"); do
		mkdir -p "$1/d$((i % 4))"
		seq $((i * 37 % 500)) >>"$1/d$((i % 4))/f$((i % 7))"
		git -C "$1" add -A
		GIT_COMMITTER_DATE="$((1700000000 + i * 60)) +0000" git -C "$1" commit -qm "commit $i"
	done
	git -C "$1" tag -a v1 -m one HEAD~3
	git -C "$1" tag light HEAD~5
	git -C "$1" branch topic HEAD~7
}
grow() { # folder seed first count: commits of a random one, which goes on where it was
	python3 "$top/tests/interop/shallow.py" "$2" "$3" "$4" |
		git -C "$1" fast-import --quiet --import-marks-if-exists=marks --export-marks=marks ||
		die "fast-import"
}

# -- the server --
start() { # setting...
	local words=("init.defaultObjectFormat=$format" "$@") options=() word
	if [[ $where == image ]]; then
		if [[ $store == mem: ]]; then
			rm -f memory.img
			"$bole" init memory.img --size 96M >/dev/null || die "init"
		fi
		for word in "${words[@]}"; do options+=("\"$word\""); done
		NODE_LOG=$dir/server.log
		node_boot "${store/#mem:/memory.img}" "${options[@]}" || die "boot"
		server=$NODE_PID http=$NODE_HTTP git=$NODE_GIT
		return
	fi
	for word in "${words[@]}"; do options+=(--set "$word"); done
	: >server.out
	"$bole" serve "$store" --http "${http_at:-127.0.0.1:0}" --git 127.0.0.1:0 "${options[@]}" \
		>server.out 2>>server.log &
	server=$!
	for _ in {1..300}; do
		grep -q '^http port' server.out && break
		kill -0 $server 2>/dev/null || die "the server ended"
		sleep 0.05
	done
	read -r http git < <(sed -n 's/^http port \([0-9]*\), git port \([0-9]*\).*/\1 \2/p' server.out)
	[[ -n $git ]] || die "the server does not say its ports"
}
stop() {
	if [[ $where == image ]]; then
		node_stop || die "the machine did not end well"
	else
		kill -INT "$server"
		wait "$server" || die "the server's exit code is $?"
	fi
	server=
	! grep -aqE 'AddressSanitizer|runtime error|panic' server.log || die "the server's sanitizers complain"
}
crash() {
	if [[ $where == image ]]; then
		node_kill
	else
		kill -9 "$server"
		wait "$server" 2>/dev/null
	fi
	server=
}
git_servers() {
	local certificates=$top/tests/support/tls
	mkdir srv
	: >daemon.log >backend.out
	for _ in {1..20}; do
		daemon=$((20000 + RANDOM % 12000)) # below what the system gives to callers
		git daemon --reuseaddr --export-all --enable=receive-pack --base-path="$dir/srv" \
			--listen=127.0.0.1 --port=$daemon --verbose 2>daemon.log &
		until grep -q 'Ready to rumble' daemon.log || ! kill -0 $! 2>/dev/null; do sleep 0.05; done
		kill -0 $! 2>/dev/null && break
	done
	kill -0 $! 2>/dev/null || die "git daemon finds no port"
	pids+=($!)
	python3 "$top/tests/support/http_backend.py" srv "$certificates"/{good,other,expired}.pem \
		>backend.out 2>backend.log &
	pids+=($!)
	for _ in {1..300}; do [[ $(wc -l <backend.out) == 4 ]] && break; sleep 0.05; done
	{ read -r backend; mapfile -t tls; } <backend.out
	((${#tls[@]} == 3)) || die "git http-backend does not say its ports"
}
url() { # transport repository
	if [[ $1 == http ]]; then echo "http://127.0.0.1:$http/$2.git"; else echo "git://127.0.0.1:$git/$2.git"; fi
}
