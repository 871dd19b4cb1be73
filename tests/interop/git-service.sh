#!/bin/bash
# SPDX-License-Identifier: ISC
# Goal: stock git is served by upload-pack and receive-pack in every protocol version, stateful
# (git://) and stateless (HTTP), as by its own server. Method: a history with merges, tags and local
# work on both sides goes to and fro; after each step git itself checks the copy, and the lists of
# objects must be the same. Refusals must name their reason. Behind it is a flash volume in memory,
# checked and mounted again at the end; STORE=memory takes the memory store instead. All of it for
# SHA-1 and then for SHA-256, or for GIT_DEFAULT_HASH only.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
top=$PWD
serve=$top/build/asan/tests/gitserve
[[ -x $serve ]] || { echo "git-service: $serve is not built" >&2; exit 1; }
if [[ -z ${GIT_DEFAULT_HASH:-} ]]; then
	GIT_DEFAULT_HASH=sha1 tests/interop/git-service.sh || exit 1
	GIT_DEFAULT_HASH=sha256 tests/interop/git-service.sh
	exit
fi
other=sha256
[[ $GIT_DEFAULT_HASH == sha1 ]] || other=sha1
dir=$(mktemp -d)
server=
trap 'kill $server 2>/dev/null; wait $server 2>/dev/null; rm -rf "$dir"' EXIT
cd "$dir" || exit 1
export GIT_CONFIG_GLOBAL=$dir/config GIT_CONFIG_SYSTEM=/dev/null GIT_TERMINAL_PROMPT=0
export GIT_AUTHOR_NAME=A GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=A GIT_COMMITTER_EMAIL=a@b
export HOME=$dir LC_ALL=C
git config --file config init.defaultBranch main
git config --file config advice.detachedHead false
git config --file config protocol.version 2
git config --file config advice.nestedTag false

die() {
	echo "git-service: $*" >&2
	echo "--- the server's last lines:" >&2
	tail -20 server.log >&2
	exit 1
}
limit() { timeout 60 "$@"; }

"$serve" port "${STORE:-flash}" "$GIT_DEFAULT_HASH" 2>server.log &
server=$!
for _ in {1..100}; do [[ -s port ]] && break; sleep 0.1; done
[[ -s port ]] || die "the server does not listen"
port=$(<port)
url() { # transport repository
	if [[ $1 == http ]]; then echo "http://127.0.0.1:$port/$2.git"; else echo "git://127.0.0.1:$port/$2.git"; fi
}

clock=1700000000
commit() { # folder message: changes a few files
	local n=$((RANDOM % 40))
	mkdir -p "$1/d$((n % 7))"
	{ echo "$2"; seq $((RANDOM % 300)); } >>"$1/d$((n % 7))/f$n"
	clock=$((clock + 60))
	git -C "$1" add -A
	GIT_AUTHOR_DATE="$clock +0000" GIT_COMMITTER_DATE="$clock +0000" git -C "$1" commit -qm "$2"
}
many() { # folder count message: commits on the branch that is checked out, made in one go
	local branch i n text
	branch=$(git -C "$1" symbolic-ref HEAD)
	for ((i = 1; i <= $2; i++)); do
		n=$((RANDOM % 40))
		text="$3 $i $(printf '%s\n' {1..60})"
		printf 'commit %s\ncommitter A <a@b> %d +0000\ndata %d\n%s\n' "$branch" $((clock + 60 * i)) \
			$((${#3} + 1 + ${#i})) "$3 $i"
		[[ $i == 1 ]] && git -C "$1" rev-parse -q --verify HEAD >/dev/null && echo "from $branch^0"
		printf 'M 100644 inline d%d/f%d\ndata %d\n%s\n\n' $((n % 7)) $n ${#text} "$text"
	done | git -C "$1" fast-import --quiet || die "fast-import"
	clock=$((clock + 60 * $2))
	git -C "$1" reset -q --hard
}
objects() { git -C "$1" rev-list --objects --all "${@:2}" | cut -d' ' -f1 | sort; }
same() { # folder folder what
	git -C "$2" fsck --full --strict >fsck.log 2>&1 || { cat fsck.log >&2; die "$3: fsck fails"; }
	grep -q . fsck.log && { grep -v '^notice' fsck.log >&2 && die "$3: fsck complains"; }
	cmp -s <(objects "$1") <(objects "$2") || die "$3: the objects differ"
}

RANDOM=${SEED:-4711}
git init -q src
many src 60 commit
git -C src branch topic HEAD~20
git -C src checkout -q topic
many src 15 topic
git -C src checkout -q main
git -C src merge -q -s ours -m merge topic
git -C src tag -a -m one v1 main~30
git -C src tag light main~12
git -C src tag -a -m "a tag of a tag" v1-again v1
git -C src tag -a -m "a tag of a tree" tree 'main^{tree}'

for transport in http git; do
	repo=a
	[[ $transport == git ]] && repo=b
	u=$(url $transport $repo)
	for version in 0 1 2; do
		what="$transport version $version"
		git config --file config protocol.version $version
		# An empty repository can be cloned, whatever the version.
		if [[ $version == 0 ]]; then
			limit git clone -q "$u" empty-$transport 2>/dev/null || die "$what: clone of nothing"
			limit git -C src push -q "$u" --all || die "$what: push of branches"
			limit git -C src push -q "$u" --tags || die "$what: push of tags"
		fi
		cmp -s <(git ls-remote "$u" | grep -v HEAD) <(git -C src show-ref -d | tr ' ' '\t') ||
			{ git ls-remote "$u" >&2; die "$what: ls-remote differs"; }
		limit git clone -q --mirror "$u" clone || die "$what: clone"
		same src clone "$what: clone"
		rm -rf clone
		# A branch alone brings the tags of its commits along (include-tag).
		limit git clone -q --single-branch -b topic "$u" one || die "$what: single branch"
		git -C one rev-parse -q --verify v1 >/dev/null || die "$what: the tag did not come along"
		git -C one fsck --full --strict >/dev/null 2>&1 || die "$what: single branch: fsck"
		rm -rf one
		# Work on both sides, then a fetch that has to negotiate past local commits.
		limit git clone -q "$u" work || die "$what: second clone"
		many work 40 "local $version"
		many src 25 "remote $transport $version"
		git -C src tag -a -m x "t-$transport-$version"
		limit git -C src push -q "$u" main "t-$transport-$version" || die "$what: push of more"
		limit git -C work fetch -q origin || die "$what: fetch"
		git -C work rev-parse -q --verify "t-$transport-$version" >/dev/null ||
			die "$what: no tag after the fetch"
		[[ $(git -C work rev-parse origin/main) == $(git -C src rev-parse main) ]] || die "$what: wrong tip"
		git -C work fsck --full --strict >/dev/null 2>&1 || die "$what: fetch: fsck"
		received=$(git -C work count-objects -v | sed -n 's/^in-pack: //p')
		((received < 2000)) || die "$what: the fetch sent $received objects"
		# A rebase and a forced push, a new branch, its deletion.
		git -C work rebase -q -X theirs origin/main >/dev/null 2>&1 || git -C work rebase --abort
		limit git -C work push -q origin HEAD:refs/heads/mine || die "$what: new branch"
		git -C work commit -q --amend -m "amended $version"
		limit git -C work push -q origin HEAD:refs/heads/mine 2>err && die "$what: a rewind without force"
		limit git -C work push -q --force origin HEAD:refs/heads/mine || die "$what: forced push"
		limit git -C work push -q origin :refs/heads/mine || die "$what: deletion"
		git ls-remote "$u" | grep -q refs/heads/mine && die "$what: the branch is still there"
		rm -rf work
		limit git -C src push -q "$u" +main || die "$what: restore main"
	done
done
git config --file config protocol.version 2
git config --file config advice.nestedTag false
u=$(url git a)
w=$(url http a)

# -- Refusals, with their reasons --
refused() { # text, command...
	local text=$1
	shift
	limit "$@" >err 2>&1 && die "not refused: $*"
	grep -q -- "$text" err || { cat err >&2; die "not refused for '$text': $*"; }
}
rm -rf r && git clone -q "$u" r
commit r "ahead"
for transport in http git; do
	s=$(url $transport strict)
	limit git -C r push -q "$s" HEAD:main HEAD~5:refs/heads/old HEAD~3:refs/heads/del || die "push to strict"
	refused 'non-fast-forward)' git -C r push -q --force "$s" HEAD~1:main
	refused 'deletion prohibited' git -C r push -q "$s" :del
	refused 'deletion of the current branch prohibited' git -C r push -q "$(url $transport a)" :main
	refused 'this node is read-only' git -C r push -q "$(url $transport readonly)" HEAD:main
	refused 'branch must point to a commit' git -C r push -q "$(url $transport a)" 'HEAD^{tree}:refs/heads/t'
	refused 'funny refname' git -C r push -q "$(url $transport a)" HEAD:refs/onelevel
	refused 'directory/file' git -C r push -q "$(url $transport a)" HEAD:refs/heads/main/deep
	refused 'atomic push failure' git -C r push -q --atomic "$(url $transport a)" \
		HEAD:refs/heads/x1 HEAD:refs/heads/main/deep
	git ls-remote "$(url $transport a)" | grep -q refs/heads/x1 && die "an atomic push moved one of two"
	limit git -C r push -q --atomic "$(url $transport a)" HEAD:refs/heads/x1 HEAD~1:refs/heads/x2 ||
		die "atomic push"
	limit git -C r push -q --atomic "$(url $transport a)" :refs/heads/x1 :refs/heads/x2 || die "atomic deletion"
	refused 'shallow update not allowed' bash -c "rm -rf sh; git clone -q --depth 3 file://$dir/src sh &&
		echo x >sh/new && git -C sh add new && git -C sh commit -qm x &&
			git -C sh push '$(url $transport a)' HEAD:refs/heads/sh"
	refused 'not our ref\|unadvertised object' git -C r -c protocol.version=0 fetch -q "$(url $transport a)" \
		"$(git -C src rev-parse main~3^{tree})"
done
limit git -C r push -q "$u" +refs/remotes/origin/main:refs/heads/main

# -- Negotiation for a push (wait-for-done) --
commit r "negotiated"
limit git -C r -c push.negotiate=true push "$w" HEAD:refs/heads/negotiated 2>err || die "push.negotiate: $(cat err)"
grep -qi 'failed\|warning' err && die "push.negotiate: $(cat err)"

# -- A push above http.postBuffer is chunked; a long list of refs makes a gzipped request --
head -c 3000000 /dev/urandom >r/big
git -C r add big
git -C r commit -qm big
limit git -C r -c http.postBuffer=65536 push -q "$w" HEAD:refs/heads/big || die "chunked push"
for i in $(seq 300); do echo "create refs/heads/many/$i $(git -C src rev-parse "main~$((i % 50))")"; done |
	git -C src update-ref --stdin
limit git -C src push -q "$w" 'refs/heads/many/*' || die "push of 300 refs"
limit git clone -q --mirror "$w" many || die "clone of 300 refs"
[[ $(git -C many for-each-ref 'refs/heads/many' | wc -l) == 300 ]] || die "300 refs: some are missing"
git -C many fsck --full --strict >/dev/null 2>&1 || die "300 refs: fsck"
for version in 0 2; do
	limit git -C r -c protocol.version=$version fetch -q "$w" 'refs/heads/many/*:refs/many/*' ||
		die "fetch of 300 refs"
done

# -- Two pushes to one ref at once: one wins, the other is told --
for round in 1 2 3; do
	limit git -C r push -q "$u" "+HEAD~1:refs/heads/race" || die "race: start"
	rm -rf rival && git clone -q "$u" rival
	git -C rival checkout -q -b race origin/race
	commit rival "rival $round"
	commit r "racer $round"
	limit git -C r push -q "$u" "HEAD:refs/heads/race" 2>err1 &
	one=$!
	limit git -C rival push -q "$w" HEAD:refs/heads/race 2>err2
	two=$?
	wait $one
	one=$?
	(((one == 0) != (two == 0))) || die "race: $one and $two: $(cat err1 err2)"
done

# -- A repository of the other object format beside them --
git init -q --object-format=$other other
many other 20 commit
git -C other tag -a -m x v1
for transport in http git; do
	for version in 0 2; do
		limit git -C other -c protocol.version=$version push -q "$(url $transport other)" --all ||
			die "$other push"
		limit git -C other -c protocol.version=$version push -q "$(url $transport other)" --tags ||
			die "$other tags"
		limit git -c protocol.version=$version clone -q --mirror "$(url $transport other)" copy ||
			die "$other clone"
		same other copy "$other over $transport, version $version"
		rm -rf copy
	done
done

# -- Ids of another repository on the same store --
commit src "secret"
secret=$(git -C src rev-parse HEAD)
limit git -C src push -q "$(url git b)" HEAD:refs/heads/secret || die "push of the secret"
for transport in http git; do
	git clone -q "$(url $transport a)" thief
	for id in $secret ${secret//[0-9]/7}; do
		refused "not our ref $id" git -C thief fetch -q "$(url $transport a)" "$id"
	done
	rm -rf thief
done
kill -0 $server || die "the server died"
kill $server
wait $server || die "the server ends with $?"
grep -qE 'AddressSanitizer|runtime error|panic' server.log && die "the server's sanitizers complain"
echo "git-service: ok"
