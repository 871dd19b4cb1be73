#!/bin/bash
# SPDX-License-Identifier: ISC
# Goal: pushes into namespaces (gitnamespaces(7)) do to a repository what git's own receive-pack does
# to it, and nothing beside the namespace. Method: the same random pushes by stock git to a
# repository of git and to one of ours, on stdin and stdout; after each the answers and all
# references of the whole repository are compared. Then over HTTP: creation, clones, rules.
# Also: sha256 image
set -uo pipefail
. "$(dirname "$0")/../support/service.sh"
suite

git init -q work
for i in {1..6}; do
	echo $i >work/f
	git -C work add f
	git -C work commit -qm $i
done
git -C work checkout -q -b fork main~4 2>/dev/null
echo fork >work/f && git -C work commit -qam fork
git init -q --bare theirs.git
passes "$bole" init ours.img --size 64m
passes "$bole" repo ours.img#r create "${create[@]}"

# -- the same pushes --
all_refs() { # the whole repository, by path and value
	git -C theirs.git for-each-ref --format='%(objectname) %(refname)' >theirs.refs
	limit git ls-remote "ext::$bole upload-pack $dir/ours.img#r" 2>ls.log | tr '\t' ' ' |
		grep -v ' HEAD$\|/HEAD$\|\^{}$' | sort -k2 >ours.refs
	sort -k2 -o theirs.refs theirs.refs
}
prefix() { # namespace: what its references begin with
	local part
	for part in ${1//\// }; do printf 'refs/namespaces/%s/' "$part"; done
}
answers() { grep '^[-+*!= ]' "$1" | sed -E 's/\t\[?[^\t]*$//' | sort; }
spaces=(one two one/deep '')
names=(main side a/b tags/x secret/s)
values=(main main~1 main~3 fork fork~1 '')
[[ $where == host ]] && rounds=${ROUNDS:-25} || rounds=0 # pipes need no server
for ((round = 1; round <= rounds; round++)); do
	space=${spaces[RANDOM % 4]}
	settings=(-c receive.denyDeleteCurrent=ignore) ours=(--set receive.denyDeleteCurrent=false) specs=() options=()
	for setting in denyNonFastForwards=true denyDeletes=true hideRefs=refs/heads/secret \
		hideRefs=^refs/namespaces/one; do
		((RANDOM % 4)) && continue
		settings+=(-c "receive.$setting")
		ours+=(--set "receive.$setting")
	done
	# Where a reference is hidden, git makes the other changes of an atomic push; we do not.
	[[ ${settings[*]} == *hideRefs* ]] || ((RANDOM % 3)) || options+=(--atomic)
	for name in "${names[@]}"; do
		((RANDOM % 2)) && continue
		force=; ((RANDOM % 2)) && force=+
		[[ $name == tags/* ]] || name=heads/$name
		value=${values[RANDOM % 6]}
		[[ -z $value && $name == tags/* ]] && continue # denyDeletes of git is about branches
		# To delete what is not there is allowed or not, as it comes.
		if [[ -z $value ]]; then
			force=
			git --git-dir=theirs.git show-ref -q --verify "$(prefix "$space")refs/$name" || continue
		fi
		specs+=("$force$value:refs/$name")
	done
	((${#specs[@]})) || continue
	what="round $round: '$space' ${options[*]} ${settings[*]}: ${specs[*]}"
	limit git -C work push --porcelain "${options[@]}" ../theirs.git "${specs[@]}" \
		--receive-pack="git ${settings[*]} --namespace=$space receive-pack" >theirs.log 2>&1
	theirs=$?
	limit git -C work push --porcelain "${options[@]}" "$dir/ours.img#r" "${specs[@]}" \
		--receive-pack="GIT_NAMESPACE=$space $bole receive-pack ${ours[*]}" >ours.log 2>&1
	[[ $? == "$theirs" ]] || die "$what: git $theirs: $(cat theirs.log ours.log)"
	cmp -s <(answers theirs.log) <(answers ours.log) || die "$what: $(cat theirs.log ours.log)"
	all_refs
	cmp -s theirs.refs ours.refs || die "$what: $(diff theirs.refs ours.refs; cat theirs.log ours.log)"
done
((rounds == 0)) ||
	[[ $(grep -c refs/namespaces/one/ ours.refs) -gt 0 && $(grep -c refs/namespaces/two/ ours.refs) -gt 0 ]] ||
	die "nothing was in the namespaces: $(cat ours.refs)"

# What one namespace has, another stores no second time.
head -c 300000 /dev/urandom >work/big && git -C work add big && git -C work commit -qm big
to() { # namespace refspec
	limit git -C work push -q --receive-pack="GIT_NAMESPACE=$1 $bole receive-pack" "$dir/ours.img#r" "$2" ||
		die "push into $1"
}
stored() { "$bole" stats ours.img --json | tr ',{' '\n\n' | sed -n 's/^"objects"://p' | head -1; }
to one fork:refs/heads/big
before=$(stored)
to two fork:refs/heads/big
[[ -n $before && $(stored) == "$before" ]] || die "objects are stored twice: $before, $(stored)"
for service in upload receive; do
	GIT_NAMESPACE=two "$bole" $service-pack ours.img#r </dev/null 2>/dev/null | tr '\0' ' ' >adv
	grep -q 'refs/heads/big' adv && ! grep -q 'namespaces' adv ||
		die "what is shown of a namespace: $(cat adv)"
done
grep -q '\.have$' adv || die "nothing beside the namespace: $(cat adv)"
GIT_NAMESPACE=two "$bole" receive-pack ours.img#r --set 'receive.hideRefs=^refs' \
	--set 'receive.hideRefs=!^refs/namespaces/two' </dev/null 2>/dev/null | tr '\0' ' ' >adv
grep -q 'refs/heads/big' adv && ! grep -q '\.have' adv || die "what is kept quiet: $(cat adv)"

# -- over HTTP: a push creates, a clone finds a HEAD, rules hold inside --
start receive.enable=true receive.create=true transfer.namespace=tenant \
	transfer.hideRefs=refs/heads/secret 'access.rule=deny update,delete * ** refs/heads/release'
fresh=$(url http fresh)
limit git -C work push -q "$fresh" main:side main:main main:release 2>log || die "a push that creates: $(<log)"
for name in release secret/x; do
	limit git -C work push -q "$fresh" "fork:refs/heads/$name" --force 2>log && die "a push to $name"
done
limit git clone -q "$fresh" back 2>log && [[ ! -s log ]] || die "clone: $(<log)"
[[ $(git -C back rev-parse HEAD) == $(git -C work rev-parse main) ]] || die "another commit"
[[ $(git -C back branch --show-current) == main ]] ||
	die "what the clone has checked out"
cmp -s <(git ls-remote "$fresh" | cut -f2) <(printf '%s\n' HEAD refs/heads/{main,release,side}) ||
	die "references: $(git ls-remote "$fresh")"
limit git -C work push -q "$fresh" :side main~2:refs/tags/t 2>log || die "a deletion: $(<log)"
limit git -C work push -q "$fresh" :main 2>log && die "HEAD's branch was deleted"
grep -q 'current branch' log || die "HEAD's branch: $(<log)"
git ls-remote "$fresh" | grep -q side && die "what was deleted"
stop
echo "namespaces: all right"
