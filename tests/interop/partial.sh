#!/bin/bash
# SPDX-License-Identifier: ISC
# Goal: partial clones of Bole hold exactly what git's filters let through, know what is promised,
# fetch it when it is asked for or all at once, and never pass for whole: gc, repack, fsck, pushes
# out of and into them, clones and fetches from them.
# Method: random histories (SEED); every filter against git daemon, git http-backend and Bole, both
# formats; objects compared with `git rev-list --filter` and `--missing=print` over an export.
set -uo pipefail
. "$(dirname "$0")/../support/service.sh"
export GIT_DEFAULT_HASH=sha1 # where none is named; both have their turn
suite
configure http.receivepack=true safe.directory='*' maintenance.auto=false uploadpack.allowFilter=true \
	uploadpack.allowAnySHA1InWant=true
ROUNDS=${ROUNDS:-3}

bo() { timeout 60 "$bole" "$@" >bo.log 2>&1; }
listed() { git -C "$1" rev-list --objects --all --no-object-names "${@:2}" 2>missing.log | sort -u; }
present() { git -C "$1" cat-file --batch-all-objects --batch-check='%(objectname)' 2>missing.log | sort; }
count() { sed -n "s/^$1 *//p" bo.log; }

sound() { # git repository with all, STORE#REPO, filter or "", what
	rm -rf out
	bo export "$2" out || die "$4: export"
	git -C out fsck --full --strict >fsck.log 2>&1 || die "$4: git fsck"
	cmp -s <(git -C "$1" show-ref) <(git -C out show-ref) || die "$4: references differ"
	listed "$1" ${3:+--filter=$3} >want
	present out >have
	cmp -s want have || { diff want have | head -3; die "$4: other objects"; }
	comm -23 <(listed "$1") have >gone
	# of them git names what is linked to from what is here
	git -C out rev-list --objects --all --missing=print --no-object-names >all 2>missing.log ||
		die "$4: rev-list"
	sed -n 's/^?//p' all | sort >named
	[[ -z $(comm -13 gone named) ]] || die "$4: names what nobody has"
	bo fsck "${2%%#*}" || { cat bo.log >&2; die "$4: bole fsck"; }
	[[ $(count promised) == "$(wc -l <named)" ]] || die "$4: promised $(count promised), git says $(wc -l <named)"
	[[ $3 != blob:none || -s named ]] || die "$4: nothing is missing"
}
tidy() { # STORE, what
	bo gc "$1" || die "$2: gc"
	bo repack "$1" --all || die "$2: repack"
	bo gc "$1" --full || die "$2: gc --full"
}

# -- the servers --
git_servers
serve() { # image
	store=$1
	start receive.enable=true receive.create=true uploadpack.packfileURIs=false
}
format_of() { (($1 % 3 == 2)) && echo sha256 || echo sha1; } # round
passes "$bole" init own.img --size 256M
for round in $(seq $ROUNDS); do # git of this age creates none of the other format by a push
	[[ $(format_of "$round") == sha1 ]] || passes "$bole" repo "own.img#r$round" create --sha256
done
serve own.img
declare -A base=([daemon]=git://127.0.0.1:$daemon [backend]=http://127.0.0.1:$backend
	[bhttp]=http://127.0.0.1:$http [bgit]=git://127.0.0.1:$git)

# -- every filter --
filters=(blob:none blob:limit=60 tree:0 tree:1 tree:2 object:type=commit combine:tree:2+blob:limit=100)
servers=(daemon backend bhttp bgit)
"$bole" init d.img --size 256M >/dev/null || die init
for round in $(seq $ROUNDS); do
	format=$(format_of "$round")
	peer=${servers[$(((round + SEED) % 4))]}
	src=src$round
	git init -q --bare --object-format=$format $src
	grow $src $((SEED + round)) 1 40
	git -C $src tag -a -m t annotated main
	if [[ $peer == b[hg]* ]]; then
		git -C $src push -q --mirror "${base[bhttp]}/r$round.git" >push.log 2>&1 || die push
	else
		git clone -q --mirror $src srv/r$round.git
	fi
	url=${base[$peer]}/r$round.git
	for filter in $(shuf -n ${FILTERS:-3} --random-source=<(yes $RANDOM) -e "${filters[@]}"); do
		rm -f d.img
		"$bole" init d.img --size 256M >/dev/null || die init
		what="round $round, $peer $format $filter"
		bo clone --filter="$filter" "$url" 'd.img#p' || die "$what: clone"
		sound $src 'd.img#p' "$filter" "$what"
		tidy d.img "$what"
		sound $src 'd.img#p' "$filter" "$what, tidied"
		# one value, in passing
		key=$(git -C $src ls-tree -r --name-only main | shuf -n 1 --random-source=<(yes $RANDOM))
		timeout 60 "$bole" get 'd.img#p@main' "$key" >value 2>get.log || die "$what: get $key"
		cmp -s value <(git -C $src cat-file blob "main:$key") || die "$what: another value"
		timeout 60 "$bole" ls 'd.img#p@main' >keys 2>get.log || die "$what: ls"
		cmp -s keys <(git -C $src ls-tree -r --name-only main | LC_ALL=C sort) || die "$what: other keys"
		tidy d.img "$what"
		bo fsck d.img || die "$what: fsck"
		# all of it
		bo backfill 'd.img#p' || die "$what: backfill"
		grep -q ' 0 missing' bo.log || die "$what: backfill left something"
		sound $src 'd.img#p' '' "$what, whole"
		! compgen -G 'out/objects/pack/*.promisor' >/dev/null || die "$what: still partial"
	done
	# later fetches use the filter
	rm -f d.img
	"$bole" init d.img --size 256M >/dev/null || die init
	filter=${filters[$((RANDOM % 5))]}
	what="round $round, $peer $format $filter, later"
	bo clone --filter "$filter" "$url" 'd.img#p' || die "$what: clone"
	at=41
	for step in 1 2 3; do
		grow $src $((SEED + round)) $at 5
		at=$((at + 5))
		if [[ $peer == b[hg]* ]]; then
			git -C $src push -q --mirror "${base[bhttp]}/r$round.git" >push.log 2>&1 || die push
		else
			git -C $src push -q --mirror "$dir/srv/r$round.git" >push.log 2>&1 || die push
		fi
		bo fetch --force 'd.img#p' "$url" || { cat bo.log; die "$what: fetch $step"; }
		bo fsck d.img || { cat bo.log; die "$what: fsck $step"; }
		(($(count promised) > 0)) || die "$what: whole after fetch $step"
		[[ $step != 2 ]] || tidy d.img "$what"
	done
	bo backfill 'd.img#p' || die "$what: backfill"
	sound $src 'd.img#p' '' "$what, whole"
done

away='origin of this partial clone'
# -- pushes out of a partial clone, and into one; fetches from one --
src=src1
git clone -q --mirror $src srv/whole.git
url=${base[daemon]}/whole.git
rm -f d.img
"$bole" init d.img --size 256M >/dev/null || die init
for filter in blob:none blob:limit=60 tree:0; do
	name=p${filter//[^a-z0-9]/}
	bo clone --filter $filter "$url" "d.img#$name" || die "clone"
	bo set "d.img#$name@main" "new/$name" text || {
		[[ $filter == tree:0 ]] && grep -q 'bole backfill' bo.log || die "set, $filter"
		continue
	}
	bo push "d.img#$name" "$url" main || { cat bo.log; die "push to the origin, $filter"; }
	git -C srv/whole.git fsck --full --strict >fsck.log 2>&1 || die "the origin, $filter"
	git init -q --bare srv/$name.git
	refused 'bole backfill' "$bole" push "d.img#$name" "${base[daemon]}/$name.git" main
	[[ -z $(git -C srv/$name.git show-ref) ]] || die "a push without objects, $filter"
	refused "$away" "$bole" bundle create "d.img#$name" b.bundle
done
git clone -q --mirror $src srv/other.git
refused 'partial clone of' "$bole" fetch --filter blob:none 'd.img#pblobnone' "${base[daemon]}/other.git"
git clone -q --mirror $src srv/none.git && git -C srv/none.git config uploadpack.allowFilter false
refused 'offers no partial clones' "$bole" clone --filter blob:none "${base[daemon]}/none.git" 'd.img#none'
refused 'filter' "$bole" clone --filter nonsense "$url" 'd.img#none'
stop
serve d.img
for proto in 0 2; do
	for at in git://127.0.0.1:$git http://127.0.0.1:$http; do
		rm -rf w
		refused "$away" git -c protocol.version=$proto clone -q --bare $at/pblobnone.git w
		rm -rf w
		git -c protocol.version=$proto clone -q --bare \
			--filter=blob:none $at/pblobnone.git w 2>git.log ||
			die "a clone with the same filter, $at v$proto"
		git -c protocol.version=$proto clone -q --bare \
			--filter=blob:limit=50 $at/pbloblimit60.git w2 2>git.log ||
			die "a clone with a narrower limit, $at v$proto"
		refused "$away" git clone -q --bare --filter=blob:limit=70 $at/pbloblimit60.git w3
		rm -rf w w2 w3
	done
done
# What is promised may be linked to by a push, what is nowhere may not.
git clone -q srv/whole.git work 2>git.log
cd work || exit 1
echo more >more && git add more && git commit -q -m more
git push -q http://127.0.0.1:$http/pblobnone.git main 2>../push.log || die "a push into a partial clone"
blob=$(echo other | git hash-object -w --stdin)
tree=$(printf '100644 blob %s\tx\n' "$blob" | git mktree)
commit=$(git commit-tree -p main -m bad "$tree")
rm ".git/objects/${blob:0:2}/${blob:2}"
git update-ref refs/heads/bad "$commit"
cd ..
python3 - "$dir/work" "$commit" "$tree" "http://127.0.0.1:$http/pblobnone.git" <<'PY' || die "a push that lacks a blob was taken"
import subprocess, sys, urllib.request
repo, commit, tree, url = sys.argv[1:]
pack = subprocess.run(["git", "-C", repo, "pack-objects", "--stdout", "-q"],
                      input=f"{commit}\n{tree}\n".encode(), capture_output=True, check=True).stdout
line = f"{'0' * 40} {commit} refs/heads/bad\0 report-status\n".encode()
body = b"%04x" % (len(line) + 4) + line + b"0000" + pack
request = urllib.request.Request(url + "/git-receive-pack", body,
                                 {"Content-Type": "application/x-git-receive-pack-request"})
answer = urllib.request.urlopen(request).read()
sys.exit(0 if b"missing blob" in answer and b"ng refs/heads/bad" in answer else 1)
PY
stop
bo fsck d.img || { cat bo.log; die "fsck at last"; }
bo gc d.img || die "gc at last"
bo backfill 'd.img#pblobnone' || die "backfill at last"
bo export 'd.img#pblobnone' last && git -C last fsck --full >fsck.log 2>&1 || die "whole at last"
bo fsck own.img || die "the server"
echo "partial: ok"
