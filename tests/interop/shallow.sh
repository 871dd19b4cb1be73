#!/bin/bash
# SPDX-License-Identifier: ISC
# Goal: shallow repositories of Bole hold what git's own do: cloned, deepened, shortened, completed
# by bole from git's servers and its own, and served on by Bole to git; pushes from and into them.
# Method: random histories (SEED), and random steps that bole and git take side by side against the
# same server; after each the objects and ends are compared by git, and now and then gc and fsck run.
# Also: sha256 image
set -uo pipefail
. "$(dirname "$0")/../support/service.sh"
suite
configure http.receivepack=true safe.directory='*' fetch.pruneTags=false receive.shallowUpdate=true \
	maintenance.auto=false
ROUNDS=${ROUNDS:-$([[ $where == host ]] && echo 4 || echo 2)}

bo() { timeout 60 "$bole" "$@" >bo.log 2>&1; }
heads() { git -C "$1" rev-list --objects --branches | cut -d' ' -f1 | sort; }
# What git has and Bole has not. Who had less may be sent more, from behind an end that the other has.
lacks() { # git folder, whether Bole had more
	comm -23 <(heads "$1") <(heads out) | if [[ -z $2 ]]; then cat; else
		comm -23 - <(git -C "$src" rev-list --objects --stdin 2>/dev/null <out/shallow | cut -d' ' -f1 | sort)
	fi
}
beside() { # git folder, STORE#REPO, what
	rm -rf out
	# Ends that nothing reaches count for the next step, and both keep others of them.
	if ((tidy)); then
		git -C "$1" prune --expire=now >prune.log 2>&1 || die "$3: prune"
		bo gc "${2%%#*}" || die "$3: gc"
	fi
	bo export "$2" out || die "$3: export"
	git -C out fsck --full --strict >fsck.log 2>&1 || die "$3: fsck"
	cmp -s <(git -C "$1" show-ref --heads) <(git -C out show-ref --heads) || die "$3: the branches differ"
	((tidy)) || return
	local had=$more
	more=
	cmp -s <(heads "$1") <(heads out) || {
		# git forgets what it had where a server counts from the nearest end
		[[ ${ways[0]:-} != --deepen && (-z $had || ${#ways[@]} != 0) ]] ||
			[[ -n $(lacks "$1" "$had") ]] || more=1
		[[ -z $more ]] || return
		diff <(heads "$1") <(heads out) | grep -c '^<' >&2
		diff <(heads "$1") <(heads out) | grep -c '^>' >&2
		[[ -z ${KEEP:-} ]] || cp -r "$dir" "$KEEP"
		die "$3: the objects differ"
	}
}
sound() { # STORE, what
	bo gc "$1" || die "$2: gc"
	bo repack "$1" --all || die "$2: repack"
	bo fsck "$1" || { cat bo.log >&2; die "$2: bole fsck"; }
}

# -- the servers --
git_servers
store=own.img
passes "$bole" init $store --size 128M
start receive.enable=true receive.create=true repo.open.receive.shallowUpdate=true
declare -A base=([daemon]=git://127.0.0.1:$daemon [backend]=http://127.0.0.1:$backend
	[bhttp]=http://127.0.0.1:$http [bgit]=git://127.0.0.1:$git)
passes "$bole" init d.img --size 256M

more= # bole has more now than git
ways=() # a random way to end history
pick_way() {
	case $((RANDOM % 6)) in
	0) ways=(--shallow-since "$((1700000000 + (RANDOM % 36) * 3600))") ;;
	1) ways=(--shallow-exclude "$(shuf -n 1 --random-source=<(yes $RANDOM) -e main topic side)") ;;
	*) ways=(--depth $((1 + RANDOM % 6))) ;;
	esac
}
specs='+refs/heads/*:refs/heads/*'

# -- bole beside git, against each server --
servers=(bhttp bgit)
compared=0
[[ $where == image ]] || servers+=(daemon backend)
for round in $(seq $ROUNDS); do
	version=$((RANDOM % 2 * 2))
	name=r$round
	more=
	tidy=$((RANDOM % 4))
	src=src$round
	git init -q --bare $src
	grow $src $((SEED + round)) 1 36
	peer=${servers[$((RANDOM % ${#servers[@]}))]}
	url=${base[$peer]}/$name.git
	pushed=$url
	[[ $peer == b[hg]* ]] && pushed=${base[bhttp]}/$name.git
	if [[ $peer == b[hg]* ]]; then
		git -C $src push -q --mirror "$pushed" >push.log 2>&1 || die "push"
	else
		git clone -q --mirror $src srv/$name.git
		pushed=$dir/srv/$name.git
	fi
	pick_way
	what="round $round, $peer v$version $format: clone ${ways[*]}"
	git -c protocol.version=$version clone -q --bare --no-tags --no-single-branch "${ways[@]}" "$url" \
		g$round >git.log 2>&1
	gitrc=$?
	bo clone --protocol $version "${ways[@]}" "$url" "d.img#$name"
	rc=$?
	((gitrc == 0)) || continue
	((rc == 0)) || die "$what"
	beside g$round "d.img#$name" "$what"
	((compared += 1))
	at=37
	for step in 1 2 3 4 5; do
		pick_way
		case $((RANDOM % 4)) in
		0) ways=(--deepen $((1 + RANDOM % 4))) ;;
		1) ((step < 4)) || ways=(--unshallow) ;;
		2) # git asks for branches that did not move only when none did
			grow $src $((SEED + round)) $at 5
			at=$((at + 5))
			git -C $src push -q --mirror "$pushed" >push.log 2>&1 || die "push"
			ways=()
			;;
		esac
		[[ -z $more || ${#ways[@]} == 0 ]] || ways=(--depth $((1 + RANDOM % 9)))
		# Only what ends somewhere can be completed; who has more may be whole before git is.
		[[ ${ways[*]} != --unshallow || (-s g$round/shallow && -s out/shallow) ]] || continue
		what="$what; ${ways[*]}"
		git -c protocol.version=$version -C g$round fetch -q --no-tags "${ways[@]}" "$url" "$specs" \
			>git.log 2>&1
		gitrc=$?
		bo fetch --protocol $version --no-tags "${ways[@]}" "d.img#$name" "$url" "$specs"
		rc=$?
		# It falls over ends that it was told of and did not get.
		((gitrc == 0)) || { more=1; break; }
		((rc == 0)) || die "$what"
		beside g$round "d.img#$name" "$what"
	done
	sound d.img "$what"
	[[ -n $more ]] || beside g$round "d.img#$name" "$what; gc"
done
((compared > 0)) || die "git itself made none of these clones: $(cat git.log)"

ways=() tidy=1
# -- Bole serves what is shallow: git clones, deepens, and pushes into it --
src=whole
git init -q --bare $src
grow $src $SEED 1 36
git clone -q --bare $src srv/whole.git
bo repo 'd.img#empty' create "${create[@]}" || die "create"
git clone -q --bare --no-tags --no-single-branch --depth 3 "file://$dir/$src" three
ends=$(heads three | wc -l)
refused 'shallow update not allowed' git -C three push -q "${base[bhttp]}/closed.git" --all
git -C three push -q "${base[bhttp]}/open.git" --all >push.log 2>&1 || die "a shallow push"
for peer in bhttp bgit; do
	for version in 0 2; do
		what="serving, $peer v$version"
		url=${base[$peer]}/open.git
		rm -rf w
		git -c protocol.version=$version clone -q --bare --no-tags "$url" w 2>git.log || die "$what: clone"
		git -C w fsck --full >fsck.log 2>&1 || die "$what: fsck"
		[[ $(heads w | wc -l) == "$ends" && -s w/shallow ]] || die "$what: clone lacks something"
		rm -rf w
		git -c protocol.version=$version clone -q --bare --no-tags --no-single-branch --depth 2 \
			"$url" w 2>git.log || die "$what: depth 2"
		rm -rf two
		git clone -q --bare --no-tags --no-single-branch --depth 2 "file://$dir/$src" two
		cmp -s <(heads two) <(heads w) || die "$what: depth 2 is another one"
		git -c protocol.version=$version -C w fetch -q --depth 9 "$url" "$specs" 2>git.log ||
			die "$what: depth 9"
		cmp -s <(heads three) <(heads w) || die "$what: depth 9 is another one"
		bo clone --protocol $version "$url" "d.img#s$peer$version" || die "$what: bole clone"
		beside three "d.img#s$peer$version" "$what: bole clone"
		refused 'update-shallow' "$bole" fetch --protocol $version 'd.img#empty' "$url"
	done
done
bo mirror "${base[bgit]}/open.git" 'd.img#mirror' || die "mirror of a shallow one"
git -C three update-ref refs/heads/main "$(git -C three commit-tree -p main -m more 'main^{tree}')"
git -C three push -q "${base[bhttp]}/open.git" --all >push.log 2>&1 || die "a push into a shallow one"
bo mirror "${base[bgit]}/open.git" 'd.img#mirror' || die "mirror again"
beside three 'd.img#mirror' "mirror"
bo fetch --unshallow 'd.img#sbhttp2' "${base[bhttp]}/open.git" "$specs" || die "unshallow from a shallow one"
grep -q 'still ends at' bo.log || die "nobody says that history still ends"
refused 'is no shallow repository' "$bole" fetch --unshallow 'd.img#empty' "${base[daemon]}/whole.git"
bo fetch --unshallow 'd.img#sbhttp2' "${base[daemon]}/whole.git" "$specs" || die "unshallow from another"
rm -rf out && bo export 'd.img#sbhttp2' out || die export
[[ ! -e out/shallow ]] && cmp -s <(heads $src) <(heads out) || die "not whole again"

# -- pushes out of shallow repositories of Bole --
bo clone --depth 2 "${base[daemon]}/whole.git" 'd.img#p' || die "clone"
echo text >file
bo set 'd.img#p' k file || bo set 'd.img#p' k text || die "set"
bo push 'd.img#p' "${base[daemon]}/whole.git" main || { cat bo.log; die "a push from a shallow repository"; }
git -C srv/whole.git fsck --full --strict >fsck.log 2>&1 || die "fsck of what was pushed to"
git init -q --bare srv/new.git
bo push 'd.img#p' "${base[daemon]}/new.git" main || die "a shallow push to git"
git -C srv/new.git fsck --full >fsck.log 2>&1 || die "fsck of a shallow push"
[[ -s srv/new.git/shallow ]] || die "git does not know that it is shallow"
git init -q --bare srv/no.git
git -C srv/no.git config receive.shallowUpdate false
refused 'shallow update not allowed' "$bole" push 'd.img#p' "${base[daemon]}/no.git" main
refused 'shallow' "$bole" bundle create 'd.img#p' b.bundle main
bo log 'd.img#p' || die "log"
sound d.img "at last"
stop
sound own.img "at last, the server"
echo "shallow: ok"
