#!/bin/bash
# SPDX-License-Identifier: ISC
# Goal: every Git implementation that Debian and npm provide clones from Bole and pushes to it.
# Method: git, libgit2 (pygit2), dulwich, JGit and isomorphic-git, each against the booted image and
# against `bole serve`; each clone passes git fsck and equals the source, each push is read back by
# git; then what each of them knows of fetching, tags, deleting, shallow and partial clones and SHA-256
# (docs/GIT-FEATURES.md has the table). Needs the packages of `tools/deps packages interop` (make
# test-interop installs them).
#   OTHER_GIT=folder   one more git of that folder goes through all that git does
set -uo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
. "$top/tests/support/node.sh"
here=$top/tests/clients
dir=$(mktemp -d)
server=
passed=0 failed=0
trap 'node_kill 2>/dev/null; [ -n "$server" ] && kill $server 2>/dev/null; rm -rf "$dir"' EXIT
cd "$dir" || exit 1
NODE_LOG=$dir/console

# Debian's jgit-cli lacks jars on its class path.
java=/usr/share/java
JGIT_CLASSPATH=$java/org.eclipse.jgit.lfs.jar:$java/org.eclipse.jgit.http.apache.jar
JGIT_CLASSPATH+=:$java/httpclient.jar:$java/httpcore.jar:$java/commons-logging.jar
export JGIT_CLASSPATH+=:$java/commons-codec.jar
export NODE_PATH=$top/build/npm/node_modules
export HOME=$dir GIT_CONFIG_NOSYSTEM=1 GIT_TERMINAL_PROMPT=0
git config --global user.name t && git config --global user.email t@localhost
git config --global init.defaultBranch main

# One source for all: a synthetic history with merges and annotated tags.
git init -q --bare source.git
"$top/build/host/tests/gen_history" 7 400 | git -C source.git fast-import --quiet || exit 1
git -C source.git symbolic-ref HEAD refs/heads/main-0
git -C source.git rev-list --objects --no-object-names main-0 | sort >want

result() { # name rc
	if [ "$2" = 0 ]; then
		passed=$((passed + 1))
		echo "  ok    $1"
	else
		failed=$((failed + 1))
		echo "  FAIL  $1"
		tail -n 12 out.txt | sed 's/^/        /'
	fi
}

# Runs a client's clone, then checks what it got: all of the default branch, and sound.
clone_with() { # name command...
	local name=$1
	shift
	rm -rf copy
	timeout 120 "$@" >out.txt 2>&1 && git -C copy fsck --full --strict >>out.txt 2>&1 &&
		git -C copy rev-list --objects --no-object-names HEAD | sort | cmp - want >>out.txt 2>&1
	result "$name" $?
}

# Makes a commit in copy by plain git, pushes it with the client, reads it back with git.
push_with() { # name url reference command...
	local name=$1 url=$2 ref=$3 id
	shift 3
	git -C copy checkout -q --detach >out.txt 2>&1
	head -c 100000 /dev/urandom >copy/new-file
	git -C copy add new-file >>out.txt 2>&1 && git -C copy commit -q -m "$name" >>out.txt 2>&1
	git -C copy branch -f "${ref#refs/heads/}" && git -C copy checkout -q "${ref#refs/heads/}"
	id=$(git -C copy rev-parse HEAD)
	timeout 120 "$@" >>out.txt 2>&1 &&
		[ "$(git ls-remote "$url" "$ref" 2>>out.txt | cut -f1)" = "$id" ]
	result "$name" $?
}

# The client fetches a commit that is new on the server.
fetch_with() { # name url branch command...: the branch's name is unused
	local name=$1 url=$2 ref=refs/heads/$3 id
	shift 3
	id=$(git -C source.git commit-tree -p main-0 -m "$name" "main-0^{tree}")
	git -C source.git push -q "$url" "$id:$ref" >out.txt 2>&1 && timeout 120 "$@" >>out.txt 2>&1 &&
		git -C copy cat-file -e "$id" >>out.txt 2>&1 && git -C copy fsck --strict >>out.txt 2>&1
	result "$name" $?
}
# The client pushes an annotated tag, then deletes it: both are read back by git.
tag_with() { # name url tag push-command... -- delete-command...
	local name=$1 url=$2 ref=refs/tags/$3 push=()
	git -C copy tag -f -a -m "$name" "$3" HEAD >out.txt 2>&1
	shift 3
	while [ "$1" != -- ]; do push+=("$1") && shift; done
	shift
	timeout 120 "${push[@]}" >>out.txt 2>&1 &&
		[ "$(git ls-remote "$url" "$ref^{}" | cut -f1)" = "$(git -C copy rev-parse HEAD)" ]
	result "$name: push of a tag" $?
	timeout 120 "$@" >out.txt 2>&1 && [ -z "$(git ls-remote "$url" "$ref")" ]
	result "$name: delete" $?
}
shallow_with() { # name command...: clones three commits deep
	local name=$1
	shift
	rm -rf copy
	timeout 120 "$@" >out.txt 2>&1 && git -C copy fsck --strict >>out.txt 2>&1 &&
		[ "$(git -C copy rev-list --count --first-parent HEAD)" = 3 ]
	result "$name" $?
}
# All that git does, by any version of it.
git_does() { # where name url program...
	local name="$1: $2, ${3%%:*}" url=$3 tag=$2-${3%%:*}
	shift 3
	clone_with "$name: clone" "$@" clone -q "$url" copy
	push_with "$name: push" "$url" "refs/heads/$tag" "$@" -C copy push -q "$url" "HEAD:refs/heads/$tag"
	fetch_with "$name: fetch" "$url" "fresh-$tag" "$@" -C copy fetch -q "$url" "fresh-$tag"
	tag_with "$name" "$url" "tag-$tag" "$@" -C copy push -q "$url" "tag-$tag" -- \
		"$@" -C copy push -q "$url" ":refs/tags/tag-$tag"
	shallow_with "$name: shallow clone" "$@" clone -q --depth 3 "$url" copy
	"$@" -C copy fetch -q --unshallow >out.txt 2>&1 &&
		git -C copy rev-list --objects --no-object-names HEAD | sort | cmp - want >>out.txt 2>&1
	result "$name: unshallow" $?
	rm -rf copy
	timeout 120 "$@" clone -q --filter=blob:none "$url" copy >out.txt 2>&1 &&
		[ -n "$(git -C copy rev-list --objects --all --missing=print | grep '^?')" ] &&
		"$@" -C copy log -p -3 >>out.txt 2>&1 && git -C copy fsck >>out.txt 2>&1
	result "$name: partial clone, what is missing fetched" $?
	rm -rf other copy && "$@" init -q --object-format=sha256 other && "$@" -C other commit -q --allow-empty -m 1 &&
		"$@" -C other commit -q --allow-empty -m 2
	url=${url%/*}/sha256
	timeout 120 "$@" -C other push -q "$url" "HEAD:refs/heads/$tag" >out.txt 2>&1 &&
		timeout 120 "$@" clone -q -b "$tag" "$url" copy >>out.txt 2>&1 &&
		[ "$(git -C copy rev-parse HEAD)" = "$(git -C other rev-parse HEAD)" ]
	result "$name: SHA-256, push and clone" $?
}
# The operations beside clone and push that a scripted client has.
more_of() { # name url reference-name program...
	local name=$1 url=$2 tag=$3
	shift 3
	fetch_with "$name fetch" "$url" "fresh-$tag" "$@" fetch copy "$url" "refs/heads/fresh-$tag"
	tag_with "${name%:}" "$url" "tag-$tag" "$@" push copy "$url" "refs/tags/tag-$tag" -- \
		"$@" delete copy "$url" "refs/tags/tag-$tag"
}

clients() { # where http-port git-port
	local http=http://127.0.0.1:$2/src.git raw=git://127.0.0.1:$3/src.git
	git -C source.git push -q --mirror "$http" >out.txt 2>&1
	result "$1: git push --mirror creates the repository" $?
	local url
	local py=/usr/bin/python3 jgit=(jgit --git-dir copy/.git)
	for url in "$http" "$raw"; do
		local t=${url%%:*}
		git_does "$1" git "$url" git
		[ -z "${OTHER_GIT:-}" ] || [ ! -x "$OTHER_GIT/git" ] ||
			{ [ "$t" = http ] && [ ! -x "$OTHER_GIT/git-remote-http" ]; } ||
			git_does "$1" other-git "$url" "$OTHER_GIT/git" "--exec-path=$OTHER_GIT"
		clone_with "$1: libgit2 clone, $t" $py "$here/libgit2_client.py" clone "$url" copy
		push_with "$1: libgit2 push, $t" "$url" refs/heads/libgit2-$t \
			$py "$here/libgit2_client.py" push copy "$url" refs/heads/libgit2-$t
		more_of "$1: libgit2, $t:" "$url" libgit2-$t $py "$here/libgit2_client.py"
		clone_with "$1: dulwich clone, $t" $py "$here/dulwich_client.py" clone "$url" copy
		push_with "$1: dulwich push, $t" "$url" refs/heads/dulwich-$t \
			$py "$here/dulwich_client.py" push copy "$url" refs/heads/dulwich-$t
		more_of "$1: dulwich, $t:" "$url" dulwich-$t $py "$here/dulwich_client.py"
		shallow_with "$1: dulwich, $t: shallow clone" $py "$here/dulwich_client.py" shallow "$url" copy 3
		clone_with "$1: JGit clone, $t" jgit clone "$url" copy
		push_with "$1: JGit push, $t" "$url" refs/heads/jgit-$t \
			"${jgit[@]}" push "$url" HEAD:refs/heads/jgit-$t
		fetch_with "$1: JGit, $t: fetch" "$url" "fresh-jgit-$t" \
			"${jgit[@]}" fetch "$url" "refs/heads/fresh-jgit-$t:refs/fetched/jgit-$t"
		tag_with "$1: JGit, $t" "$url" "tag-jgit-$t" "${jgit[@]}" push "$url" "refs/tags/tag-jgit-$t" -- \
			"${jgit[@]}" push "$url" ":refs/tags/tag-jgit-$t"
	done
	clone_with "$1: isomorphic-git clone, http" node "$here/isomorphic_client.js" clone "$http" copy
	push_with "$1: isomorphic-git push, http" "$http" refs/heads/isomorphic \
		node "$here/isomorphic_client.js" push copy "$http" refs/heads/isomorphic
	more_of "$1: isomorphic-git, http:" "$http" isomorphic node "$here/isomorphic_client.js"
	shallow_with "$1: isomorphic-git, http: shallow clone" \
		node "$here/isomorphic_client.js" shallow "$http" copy 3
}

"$bole" init host.img --size 256M || exit 1
http=$(node_free_port) git=$(node_free_port)
"$bole" serve host.img --http "127.0.0.1:$http" --git "127.0.0.1:$git" --push --create \
	--set repo.sha256.init.defaultObjectFormat=sha256 >serve.log 2>&1 &
server=$!
for _ in $(seq 1 100); do
	(exec 3<>"/dev/tcp/127.0.0.1/$http") 2>/dev/null && break
	sleep 0.1
done
clients 'bole serve' "$http" "$git"
kill $server
wait $server 2>/dev/null
server=
"$bole" fsck host.img >out.txt 2>&1
result "bole serve: fsck of the volume" $?

"$bole" init disk.img --size 256M || exit 1
if node_boot disk.img receive.enable=true receive.create=true \
	repo.sha256.init.defaultObjectFormat=sha256; then
	clients 'booted image' "$NODE_HTTP" "$NODE_GIT"
	node_stop >out.txt 2>&1
	result "booted image: shutdown" $?
	"$bole" fsck disk.img >out.txt 2>&1
	result "booted image: fsck of the volume" $?
else
	tail -n 20 console >out.txt
	result "booted image: boot" 1
fi
echo "clients: $passed passed, $failed failed"
[ $failed = 0 ]
