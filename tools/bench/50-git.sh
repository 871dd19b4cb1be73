#!/bin/bash
# SPDX-License-Identifier: ISC
# What a Git server costs: `bole serve` beside `git daemon` (without and with its bitmaps, and
# multi-pack or not as `git repack` leaves it), `git http-backend` behind nginx (with the bitmaps) and
# JGit's daemon (without: Debian's fails on those of git) on the same histories in the same run, in
# turns. CPU is that of the server and all its children, less that of starting and stopping it; memory
# is private, beyond that of the server at rest. Sourced by run.sh, which it starts when called itself.
#
#   GIT_HISTORIES   real histories, as name=path of a bare clone, separated by spaces
#   GIT_REFS (60000), GIT_BLOBS (5) of GIT_BLOB_MB (50 and 20 more each)
#   GIT_PARTS       clone repack push refs blobs clients; all by default. Of "clone" and "repack",
#                   clone:NAME only that of one history
#   GIT_SERVERS     bole plain bitmap nginx jgit; all by default, those that are missing left out
#   GIT_AGAIN (4)   clones once more, of a server that has just served one
[ -n "${results:-}" ] || exec "$(dirname "$0")/run.sh" "$@" 50-git

git_refs=${GIT_REFS:-60000} git_blobs=${GIT_BLOBS:-5} git_blob_mb=${GIT_BLOB_MB:-50} git_commits=8500
git_runs=$runs git_again=${GIT_AGAIN:-4} git_fcgi=16
[ ${#quick[@]} = 0 ] || git_refs=2000 git_blobs=2 git_blob_mb=5 git_commits=500
git_parts=" ${GIT_PARTS:-clone repack refs blobs push clients} "
load=$tools/gitload
rm -rf gits && mkdir -p gits/plain gits/bitmap
volume=$dir/gits/volume.img

part() { # name [history]
	[[ $git_parts == *" $1 "* || $git_parts == *" $1:${2:-} "* ]]
}
# The servers that are measured, in the order of their turns.
git_servers=()
choose_servers() {
	local kind
	for kind in ${GIT_SERVERS:-bole plain bitmap nginx jgit}; do
		case $kind in
		nginx)
			PATH=$PATH:/usr/sbin command -v nginx fcgiwrap >available
			[ "$(wc -l <available)" = 2 ] || {
				echo "    no nginx, fcgiwrap (tools/deps packages peers): http-backend not measured"
				continue
			}
			;;
		jgit)
			command -v jgit >/dev/null || {
				echo "    no jgit (tools/deps packages bench): JGit's daemon is not measured"
				continue
			}
			;;
		esac
		git_servers+=("$kind")
	done
}
has() {
	[[ " ${git_servers[*]} " == *" $1 "* ]]
}
# Debian's jgit-cli lacks jars on its class path.
java=/usr/share/java
jgit_classpath=$java/org.eclipse.jgit.lfs.jar:$java/org.eclipse.jgit.http.apache.jar
jgit_classpath+=:$java/httpclient.jar:$java/httpcore.jar:$java/commons-logging.jar
jgit_classpath+=:$java/commons-codec.jar
# One folder of repositories, one port, as Debian's packages are set up: a pool of FastCGI processes.
nginx_start() { # port
	local user=
	((EUID != 0)) || user='user root;'
	cat >nginx.conf <<END
$user
daemon off; pid $dir/nginx.pid; error_log $dir/nginx.log; worker_processes 1;
events { worker_connections 1024; }
http {
	access_log off;
	client_body_temp_path $dir/nginx-body; fastcgi_temp_path $dir/nginx-fastcgi;
	proxy_temp_path $dir/nginx-proxy; scgi_temp_path $dir/nginx-scgi; uwsgi_temp_path $dir/nginx-uwsgi;
	server {
		listen 127.0.0.1:$1 backlog=1024;
		client_max_body_size 0;
		location / {
			include /etc/nginx/fastcgi_params;
			fastcgi_param SCRIPT_FILENAME $dir/backend;
			fastcgi_param GIT_PROJECT_ROOT $dir/gits/bitmap;
			fastcgi_param GIT_HTTP_EXPORT_ALL 1;
			fastcgi_param GIT_PROTOCOL \$http_git_protocol;
			fastcgi_param PATH_INFO \$uri;
			fastcgi_param REMOTE_USER bench;
			fastcgi_max_temp_file_size 0;
			fastcgi_read_timeout 1h;
			fastcgi_pass unix:$dir/fcgi.sock;
		}
	}
}
END
	# fcgiwrap leaves its children to the kernel, which forgets their time: each has its own report.
	printf '#!/bin/sh\nexec %q %q/$$ %q\n' "$tools/cputime" "$dir/cgi" \
		"$(git --exec-path)/git-http-backend" >backend
	chmod +x backend
	rm -rf fcgi.sock cgi && mkdir cgi
	PATH=$PATH:/usr/sbin "$tools/cputime" report sh -c "fcgiwrap -c $git_fcgi -s unix:$dir/fcgi.sock &
		exec nginx -e $dir/nginx.log -c $dir/nginx.conf" >nginx.out 2>&1 &
}
# Sets `port`; the server's process is $server, its CPU goes to `report`.
server_start() { # bole|plain|bitmap|nginx|jgit
	port=$(node_free_port)
	rm -f report
	case $1 in
	bole)
		"$tools/cputime" report "$bole" serve "$volume" --http off --git "127.0.0.1:$port" \
			--push --create --set gc.auto=false --set repack.auto=false --set node.connections=20000 \
			>serve.log 2>&1 &
		;;
	nginx) nginx_start "$port" ;;
	jgit)
		CLASSPATH=$jgit_classpath JGIT_CLASSPATH=$jgit_classpath \
			"$tools/cputime" report \
			jgit daemon --listen 127.0.0.1 --port "$port" --export-all \
			--enable receive-pack "$dir/gits/plain" >jgit.log 2>&1 &
		;;
	*)
		"$tools/cputime" report git -c uploadpack.allowFilter=true daemon --listen=127.0.0.1 \
			--port="$port" --base-path="$dir/gits/$1" --export-all --reuseaddr --enable=receive-pack \
			--max-connections=0 >daemon.log 2>&1 &
		;;
	esac
	server=$!
	for _ in $(seq 1 400); do
		(exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && return
		sleep 0.02
	done
	echo "    ! $1 does not answer" && tail -n 5 serve.log nginx.out nginx.log jgit.log 2>/dev/null
}
server_url() { # kind
	[ "$1" != nginx ] && echo "git://127.0.0.1:$port" || echo "http://127.0.0.1:$port"
}
server_stop() { # prints CPU seconds and the largest process in KiB
	kill -TERM "$server"
	# This may run in a subshell, which cannot wait for the server.
	until [ -s report ]; do sleep 0.01; done
	[ ! -d cgi ] || cat cgi/* >>report 2>/dev/null
	rm -rf cgi
	awk '{ cpu += $1 + $2; most = $3 > most ? $3 : most } END { print cpu, most }' report
}
# Nanoseconds that the server's own threads have run; its children are in the report alone.
server_ns() { # kind
	# JGit's threads end with their connections: the clock of the process has them still.
	[ "$1" != jgit ] || {
		python3 -c 'import sys, time; print(time.clock_gettime_ns(~int(sys.argv[1]) << 3 | 2))' \
			"$(pgrep -P "$server" | head -n 1)"
		return
	}
	cat /proc/"$(pgrep -P "$server" | head -n 1)"/task/*/schedstat | awk '{ s += $1 } END { printf "%.0f", s }'
}
# Appends to gits/figures: kind, repository and name, then: ms of CPU a request, objects, bytes, first
# ms, wall ms, p99 ms, failed, largest KiB
cost() { # kind name repetitions gitload-arguments...
	local kind=$1 name=$2 repeat=$3 out used kib ns=0
	shift 3
	# What only version 2 has is not asked of those without it.
	[ "$kind" != jgit ] || [[ $* != *-f* ]] || return 0
	case $kind in nginx) set -- -H "$@" ;; jgit) set -- -0 "$@" ;; esac
	server_start "$kind"
	sleep "${GIT_UP:-1}" # what it reads at its start is no part of a request
	[ -z "${warm:-}" ] || "$load" "$@" 127.0.0.1 "$port" "$repo" >/dev/null 2>&1
	ns=$(server_ns "$kind")
	out=$("$load" -r "$repeat" "$@" 127.0.0.1 "$port" "$repo" 2>load.err)
	sort -u load.err | sed "s/^/    ! $kind, $repo: $name: /"
	ns=$(($(server_ns "$kind") - ns))
	read -r used kib < <(server_stop)
	[[ $kind == bole || $kind == jgit ]] ||
		ns=$(awk -v u="$used" -v i="${idle[$kind]}" -v n="$repeat" -v w="${warm:+1}" \
		'BEGIN { print (u - i) * 1e9 * n / (n + w) }')
	read -r -a out <<<"$out"
	# Served nothing: refused, or not understood.
	[[ $* == *-[LAR]* ]] || [ "${out[1]:-0}" != 0 ] || return 0
	echo "${out[*]}" | awk -v k="$kind" -v name="$repo: $name" -v ns="$ns" -v n="$repeat" -v kib="$kib" '{
		printf "%s|%s|%.4f|%s|%s|%.3f|%.3f|%.3f|%s|%s\n", k, name, ns / n / 1e6, $1, $2, $3 * 1000, $4 * 1000,
			$5 * 1000, $6, kib }' >>gits/figures
}
figure() { # kind name column
	awk -F'|' -v k="$1" -v n="$repo: $2" -v c="$3" '$1 == k && $2 == n { print $(c + 2) }' gits/figures | median
}
verdict() { # value op bar
	awk -v v="$1" -v op="$2" -v b="$3" 'BEGIN {
		if (v == "" || b == "") print "-"
		else print ((op == "<=" ? v + 0 <= b + 0 : v + 0 < b + 0) ? "met" : "missed") }'
}
peer_name() { # kind
	case $1 in
	plain) echo 'git daemon' ;;
	bitmap) echo 'git daemon, bitmap' ;;
	nginx) echo 'http-backend behind nginx, bitmap' ;;
	jgit) echo "JGit's daemon" ;;
	*) echo - ;;
	esac
}
# The same figures beside the servers that no bar speaks of.
show_others() { # name column unit
	local kind
	for kind in nginx jgit; do
		[ -z "$(figure $kind "$1" "$2")" ] || show "$1" "$2" "$3" $kind
	done
}
show() { # name column unit peer [factor of the peer | =absolute bar]
	local ours theirs bar='' text=-
	ours=$(figure bole "$1" "$2")
	theirs=$([ -z "$4" ] || figure "$4" "$1" "$2")
	case ${5:-} in
	'') ;;
	=*) bar=${5#=} text="<= $bar" ;;
	*) bar=$(awk -v a="$theirs" -v b="$5" 'BEGIN { print a * b }') text="<= $5 x peer" ;;
	esac
	peer=$(peer_name "$4")
	row "$repo: $1, $3" "$ours" "${3##* }" "$peer" "$theirs" "$text" \
		"$([ -n "$bar" ] && verdict "$ours" '<=' "$bar" || echo -)"
}
# CPU of a server that is started, asked for nothing and stopped.
idle_of() { # kind
	for _ in 1 2 3; do
		server_start "$1"
		server_stop | cut -d' ' -f1
	done | median
}
declare -A idle
measure_idle() {
	for kind in plain bitmap nginx; do
		! has $kind || idle[$kind]=$(idle_of $kind)
	done
	idle[bole]=0 idle[jgit]=0
}
turns() { # name repetitions arguments...
	local name=$1 repeat=$2 kind
	shift 2
	for _ in $(seq "$git_runs"); do
		for kind in "${git_servers[@]}"; do cost $kind "$name" "$repeat" "$@"; done
	done
}
take_history() { # name source-folder [import]
	git clone -q --mirror --no-hardlinks "$2" "gits/plain/$1" || die "$2"
	git -C "gits/plain/$1" config http.receivepack true
	git -C "gits/plain/$1" config uploadpack.allowFilter true # http-backend has no command line
	git -C "gits/plain/$1" -c repack.writeBitmaps=false repack -q -a -d
	rm -rf "gits/bitmap/$1" && cp -r "gits/plain/$1" "gits/bitmap/$1"
	git -C "gits/bitmap/$1" -c pack.threads=2 repack -q -a -d -b || die "repack $1"
	# The volume gets it by push, as a server would; real ones have old objects that none takes.
	[ -z "${3:-}" ] || "$bole" import "$volume#$1" "gits/plain/$1" >push.log 2>&1 || die "import of $1"
	server_start bole
	if [ -z "${3:-}" ]; then
		git -C "gits/plain/$1" push -q "git://127.0.0.1:$port/$1" 'refs/*:refs/*' >push.log 2>&1 ||
			{ cat push.log && die "push of $1"; }
	else
		"$load" 127.0.0.1 "$port" "$1" >/dev/null
	fi
	sleep "${GIT_SETTLE:-3}" # what a server does when nobody asks
	local pack inflated
	pack=$(du -bc "gits/plain/$1"/objects/pack/*.pack | tail -n 1 | cut -f1)
	inflated=$(git -C "gits/plain/$1" cat-file --batch-all-objects --unordered \
		--batch-check='%(objectsize)' | awk '{ s += $1 } END { printf "%.0f", s }')
	echo "$1 $(server_stop) $pack $inflated" >>gits/ingest
}

part_clone() { # repository
	local tip parent old base
	repo=$1
	tip=$(git -C "gits/plain/$repo" rev-parse HEAD)
	parent=$(git -C "gits/plain/$repo" rev-parse HEAD~1)
	old=$(git -C "gits/plain/$repo" rev-parse -q --verify HEAD~1000 ||
		git -C "gits/plain/$repo" rev-list --first-parent HEAD | tail -n 1)
	measure_idle
	turns 'full clone' 1
	warm=1 turns 'full clone again' "$git_again"
	turns 'depth 1' 1 -d 1 -w "$tip"
	warm=1 turns 'depth 1 again' 50 -d 1 -w "$tip"
	turns 'blob:none' 1 -f blob:none
	turns 'one commit' 50 -t -w "$tip" -h "$parent"
	turns '1,000 commits' 1 -t -w "$tip" -h "$old"
	turns 'ls-refs' 200 -L
	turns 'advertisement' 200 -A
	# What is over in no time is seen by samples only when it is done often.
	memory 'private memory of a clone' $([ "$repo" != generated ] || echo -r 20)
	# The floors: the bytes that were sent to the client.
	server_start bole
	"$load" -o pack 127.0.0.1 "$port" "$repo" >/dev/null
	server_stop >/dev/null
	"$bin/git_floor" pack 5 >floors
	plain=$(cut -d' ' -f1 floors | median) summed=$(cut -d' ' -f2 floors | median)
	rm -f pack
	ours=$(figure bole 'full clone' 1) again=$(figure bole 'full clone again' 1)
	for f in 'full clone' 'full clone again'; do
		ours=$(figure bole "$f" 1)
		bar=$(awk -v a="$summed" 'BEGIN { print a * 1300 }')
		row "$repo: $f, CPU beside loop + SHA-1" "$ours" ms 'loop + SHA-1' \
			"$(awk -v a="$summed" 'BEGIN { print a * 1000 }')" '<= 1.3 x peer' \
			"$(verdict "$ours" '<=' "$bar")"
		bar=$(awk -v a="$plain" 'BEGIN { print a * 1300 }')
		row "$repo: $f, CPU beside loop" "$ours" ms 'loop' \
			"$(awk -v a="$plain" 'BEGIN { print a * 1000 }')" '<= 1.3 x peer' \
			"$(verdict "$ours" '<=' "$bar")"
	done
	show 'full clone' 1 'CPU ms' plain
	show 'full clone' 1 'CPU ms' bitmap
	show 'full clone' 3 bytes bitmap
	show 'full clone' 4 'first byte ms' bitmap =20
	show 'full clone' 5 'wall ms' bitmap
	show 'full clone' 8 'largest process KiB' bitmap
	show 'depth 1' 1 'CPU ms' plain 0.3
	show 'depth 1 again' 1 'CPU ms' plain 0.05
	show 'depth 1' 3 bytes plain
	show 'blob:none' 1 'CPU ms' plain 0.3
	show 'blob:none' 1 'CPU ms' bitmap
	show 'blob:none' 3 bytes plain
	show 'one commit' 1 'CPU ms' plain =1
	show 'one commit' 3 bytes plain
	show '1,000 commits' 1 'CPU ms' bitmap 1
	show '1,000 commits' 3 bytes bitmap 0.5
	show '1,000 commits' 3 bytes plain
	show 'ls-refs' 1 'CPU ms' plain =0.102
	show 'advertisement' 1 'CPU ms' plain
	local name
	for name in 'full clone' 'full clone again' 'depth 1' 'depth 1 again' 'blob:none' 'one commit' '1,000 commits' \
		'ls-refs' 'advertisement'; do
		show_others "$name" 1 'CPU ms'
	done
	show_others 'full clone' 3 bytes
	show_others 'full clone' 4 'first byte ms'
	show_others 'full clone again' 4 'first byte ms'
	show_others 'full clone' 5 'wall ms'
	show_others '1,000 commits' 3 bytes
}
part_repack() { # repository: all deltas looked for anew, by both; what is sent then
	local tip old ours theirs after
	repo=$1
	tip=$(git -C "gits/plain/$repo" rev-parse HEAD)
	old=$(git -C "gits/plain/$repo" rev-parse -q --verify HEAD~1000 ||
		git -C "gits/plain/$repo" rev-list --first-parent HEAD | tail -n 1)
	# The others' packs are pushed later, as they were.
	cp -r "gits/bitmap/$repo" gits/kept
	"$tools/cputime" report "$bole" repack "$volume#$repo" --all --json >repacked || return
	ours=$(awk '{ print $1 + $2 }' report)
	after=$(sed 's/.*"bytes_after":\([0-9]*\).*/\1/' repacked)
	"$tools/cputime" report git -C "gits/bitmap/$repo" repack -q -a -d -f -b
	theirs=$(awk '{ print $1 + $2 }' report)
	row "$repo: repack of all, deltas anew, CPU" "$ours" s 'git repack -f' "$theirs" - -
	row "$repo: repack of all, deltas anew, bytes" "$after" bytes 'git repack -f' \
		"$(du -bc "gits/bitmap/$repo"/objects/pack/*.pack | tail -n 1 | cut -f1)" - -
	server_start bole
	"$load" 127.0.0.1 "$port" "$repo" >/dev/null
	sleep "${GIT_SETTLE:-3}"
	server_stop >/dev/null
	measure_idle
	for _ in $(seq "$git_runs"); do
		for kind in bole bitmap; do
			cost $kind 'repacked, full clone' 1
			cost $kind 'repacked, depth 1' 1 -d 1 -w "$tip"
			cost $kind 'repacked, 1,000 commits' 1 -t -w "$tip" -h "$old"
		done
	done
	show 'repacked, full clone' 1 'CPU ms' bitmap
	show 'repacked, full clone' 3 bytes bitmap
	show 'repacked, depth 1' 1 'CPU ms' bitmap 0.3
	show 'repacked, 1,000 commits' 1 'CPU ms' bitmap 1
	show 'repacked, 1,000 commits' 3 bytes bitmap
	# As the histories came, beside what ours is after a background repack.
	theirs=$(figure bitmap '1,000 commits' 3) ours=$(figure bole 'repacked, 1,000 commits' 3)
	[ -z "$theirs" ] || row "$repo: repacked, 1,000 commits, beside git as cloned" "$ours" bytes \
		'git daemon, bitmap' "$theirs" '<= 0.5 x peer' \
		"$(verdict "$ours" '<=' "$(awk -v b="$theirs" 'BEGIN { print b / 2 }')")"
	rm -rf "gits/bitmap/$repo" && mv gits/kept "gits/bitmap/$repo"
}
part_refs() { # 60,000 references on the generated history
	repo=refs
	[ -d gits/plain/refs ] || {
		git clone -q --mirror --no-hardlinks gits/plain/generated gits/source
		git -C gits/source rev-list --all | awk -v n="$git_refs" '{ c[NR] = $1 } END {
			for (i = 0; i < n; i++)
				printf "create refs/heads/many/%03d/%06d %s\n", i % 500, i, c[1 + (i * 7919) % NR] }' |
			git -C gits/source update-ref --stdin && git -C gits/source pack-refs --all
		take_history refs gits/source
	}
	measure_idle
	turns 'full clone' 1
	turns 'ls-refs' 5 -L
	turns 'advertisement' 5 -A
	for kind in "${git_servers[@]}"; do
		[ "$kind" != bitmap ] || continue
		warm=1 cost $kind 'ls-refs again' 20 -L
		warm=1 cost $kind 'advertisement again' 20 -A
		warm=1 cost $kind 'advertisement to push' 20 -R
	done
	show 'full clone' 1 'CPU ms' bitmap
	show 'full clone' 4 'first byte ms' bitmap =20
	show 'ls-refs' 1 'CPU ms' plain "=$(awk -v n="$git_refs" 'BEGIN { print 0.1 + n * 0.0001 }')"
	show 'advertisement' 1 'CPU ms' plain "=$(awk -v n="$git_refs" 'BEGIN { print 0.1 + n * 0.00005 }')"
	show 'ls-refs again' 1 'CPU ms' plain "=$(awk -v n="$git_refs" 'BEGIN { print 0.1 + n * 0.0001 }')"
	show 'advertisement again' 1 'CPU ms' plain "=$(awk -v n="$git_refs" 'BEGIN { print 0.1 + n * 0.00005 }')"
	show 'advertisement to push' 1 'CPU ms' plain
	show_others 'full clone' 1 'CPU ms'
	show_others 'full clone' 4 'first byte ms'
	show_others 'ls-refs again' 1 'CPU ms'
	show_others 'advertisement again' 1 'CPU ms'
	show_others 'advertisement to push' 1 'CPU ms'
	push_commits
}
push_commits() { # of one commit each; the advertisement's cost is taken off
	local kind used ns n=10
	git clone -q gits/plain/generated work 2>/dev/null
	for kind in "${git_servers[@]}"; do
		[ "$kind" != bitmap ] || continue
		git -C work checkout -q -B "p-$kind" origin/HEAD 2>/dev/null || git -C work checkout -q -B "p-$kind"
		server_start "$kind"
		sleep "${GIT_UP:-1}"
		ns=$(server_ns "$kind")
		for i in $(seq $n); do
			echo "$i" >>work/pushed
			git -C work add pushed
			git -C work -c user.name=a -c user.email=a@b commit -q -m "$i"
			git -C work push -q "$(server_url "$kind")/refs" HEAD:refs/heads/pushed 2>push.log ||
				{ cat push.log; break; }
		done
		ns=$(($(server_ns "$kind") - ns))
		read -r used _ < <(server_stop)
		[[ $kind == bole || $kind == jgit ]] ||
			ns=$(awk -v u="$used" -v i="${idle[$kind]}" 'BEGIN { print (u - i) * 1e9 }')
		awk -v k="$kind" -v ns="$ns" -v n=$n -v adv="$(figure $kind 'advertisement to push' 1)" \
			'BEGIN { printf "%s|refs: push of one commit|%.4f\n", k, ns / 1e6 / n - adv }' >>gits/figures
	done
	rm -rf work
	show 'push of one commit' 1 'CPU beyond the advertisement, ms' plain =2
	show_others 'push of one commit' 1 'CPU beyond the advertisement, ms'
}
part_blobs() {
	# Whole, not as deltas of each other: those need both in memory.
	export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=core.bigFileThreshold GIT_CONFIG_VALUE_0=8m
	git init -q --bare gits/blobs
	for i in $(seq "$git_blobs"); do
		# Half noise, half text: what large files are like.
		{ head -c $((git_blob_mb * 512 * 1024 + i * 10485760 / 2)) /dev/urandom
		seq 1 $((git_blob_mb * 75000 + i * 700000)); } >blob
		printf '100644 blob %s\tblob-%s\n' \
			"$(git -C gits/blobs -c core.compression=1 hash-object -w "$dir/blob")" "$i"
		rm -f blob
	done >entries
	git -C gits/blobs mktree <entries >tree || die "the blobs"
	git -C gits/blobs update-ref refs/heads/main "$(GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a \
		GIT_COMMITTER_EMAIL=a@b git -C gits/blobs commit-tree -m blobs "$(cat tree)")"
	git -C gits/blobs symbolic-ref HEAD refs/heads/main
	take_history blobs gits/blobs
	repo=blobs
	measure_idle
	turns 'full clone' 1
	show 'full clone' 1 'CPU ms' plain
	show 'full clone' 1 'CPU ms' bitmap
	show 'full clone' 8 'largest process KiB' plain
	show_others 'full clone' 1 'CPU ms'
	show_others 'full clone' 4 'first byte ms'
	memory 'private memory of a clone'
}
pushed() { # kind name: CPU seconds
	awk -F'|' -v k="$1" -v n="$2" '$1 == k && $2 == n { print $3 }' gits/pushes
}
part_push() { # everything at once, into an empty repository
	local name pack inflated kind folder ns used kib
	measure_idle
	: >gits/pushes
	while read -r name _ _ pack inflated; do
		for kind in "${git_servers[@]}"; do
			case $kind in
			bitmap) continue ;;
			plain | jgit) folder=gits/plain ;;
			*) folder=gits/bitmap ;;
			esac
			[ $kind = bole ] || git init -q --bare "$folder/in-$name"
			[ $kind = bole ] || git -C "$folder/in-$name" config http.receivepack true
			server_start $kind
			ns=$(server_ns $kind)
			git -C "gits/bitmap/$name" push -q "$(server_url $kind)/in-$name" 'refs/*:refs/*' \
				2>push.log || cat push.log
			ns=$(($(server_ns $kind) - ns))
			read -r used kib < <(server_stop)
			[ $kind != jgit ] || used=$(awk -v ns=$ns 'BEGIN { print ns / 1e9 }')
			awk -v k=$kind -v n="$name" -v u="$used" -v i="${idle[$kind]}" \
				'BEGIN { print k "|" n "|" u - i }' >>gits/pushes
			rm -rf "$folder/in-$name"
		done
		ours=$(pushed bole "$name")
		bar=$(awk -v b="$inflated" 'BEGIN { print b / 1e9 * 2 }') text='<= 2 s a GB'
		[ "$name" != blobs ] || bar=$(awk -v b="$pack" 'BEGIN { print b / 140e6 * 3 }') text='<= 3 s for 140 MB'
		row "$name: push of all, $((inflated / 1000000)) MB inflated, server CPU" "$ours" s \
			'git daemon' "$(pushed plain "$name")" "$text" "$(verdict "$ours" '<=' "$bar")"
		for kind in nginx jgit; do
			! has $kind || row "$name: push of all, server CPU" "$ours" s "$(peer_name $kind)" \
				"$(pushed $kind "$name")"
		done
	done <gits/ingest
}
# Samples the server and its children until standard input ends; prints the most, and at first, in KiB.
watch_private() {
	python3 "$top/tests/tools/private.py" "$(pgrep -P "$server" | head -n 1)"
}
# Prints the private memory of requests in KiB, beyond that of a server that has answered one.
private_kib() { # kind gitload-arguments...
	local kind=$1 how=()
	shift
	case $kind in nginx) how=(-H) ;; jgit) how=(-0) ;; esac
	server_start "$kind"
	"$load" "${how[@]}" -L 127.0.0.1 "$port" "$repo" >/dev/null
	rm -f watched private && mkfifo watched
	watch_private <watched >private &
	local watcher=$!
	exec {watched}>watched
	until [ -s private ]; do sleep 0.01; done
	"$load" "${how[@]}" "$@" 127.0.0.1 "$port" "$repo" >/dev/null 2>load.err
	exec {watched}>&-
	wait $watcher
	server_stop >/dev/null
	awk 'NR == 1 { a = $1 } { b = $1 } END { print (b > a ? b - a : 0) }' private
}
# The same as a figure of every server.
memory() { # name gitload-arguments...
	local kind name=$1
	shift
	for kind in "${git_servers[@]}"; do
		echo "$kind|$repo: $name|$(private_kib "$kind" "$@")" >>gits/figures
	done
	show "$name" 1 KiB plain =32768
	show "$name" 1 KiB bitmap
	show_others "$name" 1 KiB
}
part_clients() { # 100 clients at once; connections that wait
	local kind before after
	repo=generated
	measure_idle
	git_runs=1 turns '100 clients at once' 1 -c 100
	show '100 clients at once' 1 'CPU ms' bitmap
	show '100 clients at once' 5 'median ms' bitmap
	show '100 clients at once' 6 'p99 ms' bitmap \
		"=$(awk -v m="$(figure bole '100 clients at once' 5)" 'BEGIN { print 10 * m }')"
	show '100 clients at once' 7 'lost' bitmap =0
	show_others '100 clients at once' 1 'CPU ms'
	show_others '100 clients at once' 5 'median ms'
	show_others '100 clients at once' 6 'p99 ms'
	show_others '100 clients at once' 7 'lost'
	for kind in "${git_servers[@]}"; do
		[[ $kind != bitmap && $kind != jgit ]] || continue
		echo "$kind|$repo: idle connection|$(($(private_kib "$kind" -s 2 -c 200) / 200))" >>gits/figures
	done
	memory 'private memory of a clone' -r 10
	# git daemon has a process for each: Bole alone.
	server_start bole
	"$load" -L 127.0.0.1 "$port" $repo >/dev/null
	private_of() { awk '/^Private_(Clean|Dirty)/ { s += $2 } END { print s + 0 }' \
		"/proc/$(pgrep -P "$server" | head -n 1)/smaps_rollup"; }
	before=$(private_of)
	python3 "$top/tests/tools/hold.py" "$port" $((${#quick[@]} ? 500 : 10000)) 4 >held &
	until [ -s held ] || ! kill -0 $! 2>/dev/null; do sleep 0.1; done
	sleep 1
	after=$(private_of)
	wait $!
	server_stop >/dev/null
	echo "bole|$repo: of 10,000 idle connections, each|$(((after - before) / $(cut -d' ' -f1 held)))" >>gits/figures
	echo "bole|$repo: beside 10,000 idle connections, first line|$(cut -d' ' -f2 held)" >>gits/figures
	show 'of 10,000 idle connections, each' 1 'private KiB' '' =64
	show 'beside 10,000 idle connections, first line' 1 'ms' ''
	show 'idle connection' 1 'private KiB' plain =64
	show_others 'idle connection' 1 'private KiB'
}

: >gits/figures && : >gits/ingest
choose_servers
size=4G
[ -z "${GIT_HISTORIES:-}" ] || size=12G
"$bole" init "$volume" --size "${GIT_VOLUME:-$size}" >/dev/null || die "init"
git init -q --bare gits/generated
"$tools/gen_history" 1 "$git_commits" | git -C gits/generated fast-import --quiet || die "the generator"
git -C gits/generated symbolic-ref HEAD refs/heads/main-0
take_history generated gits/generated
! part clone generated || part_clone generated
! part repack generated || part_repack generated
[ -n "${GIT_HISTORIES:-}" ] || echo "    no GIT_HISTORIES: only what is generated is measured"
for history in ${GIT_HISTORIES:-}; do
	[ -d "${history#*=}" ] || { echo "    ! ${history#*=} is not there" && continue; }
	take_history "${history%%=*}" "${history#*=}" import
	! part clone "${history%%=*}" || part_clone "${history%%=*}"
	! part repack "${history%%=*}" || part_repack "${history%%=*}"
done
! part refs || part_refs
! part blobs || part_blobs
! part push || part_push
! part clients || part_clients
