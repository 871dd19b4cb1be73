#!/bin/bash
# SPDX-License-Identifier: ISC
# Goal: stock git makes shallow and partial clones, deepens and completes them, fetches what it was
# promised, and sees only the references that it may. Method: `bole serve` on git:// and HTTP, one
# history, and git's own fsck and lists of objects after each step.
# An image is asked in one version of the protocol by each transport, unless VERSIONS says which.
# Also: sha256 image
set -uo pipefail
. "$(dirname "$0")/../support/service.sh"
suite
store=store

# A history of 40 commits with a branch that was merged; three levels of folders.
git init -q src
for i in {1..40}; do
	mkdir -p src/a$((i % 3))/b$((i % 2))
	seq $((i * 7)) >src/a$((i % 3))/b$((i % 2))/f$((i % 5))
	echo $i >src/top
	git -C src add -A
	when="$((1700000000 + i * 3600)) +0000"
	GIT_AUTHOR_DATE=$when GIT_COMMITTER_DATE=$when git -C src commit -qm "commit $i"
	((i == 20)) && git -C src branch old && git -C src tag -a -m t v20
done
git -C src branch feature HEAD~5
git -C src update-ref refs/secret/one "$(git -C src commit-tree -m hidden -p main~2 'main~2^{tree}')"
git -C src update-ref refs/namespaces/inner/refs/heads/main main~10
git -C src symbolic-ref refs/namespaces/inner/HEAD refs/namespaces/inner/refs/heads/main
git -C src update-ref refs/heads/patterns "$(git -C src commit-tree -m patterns "$(
	printf '100644 blob %s\tp\n' "$(printf '/*\n!/a2/\n/a2/b1/**/f1\n' | git -C src hash-object -w --stdin)" |
		git -C src mktree)")"
git clone -q --mirror src bare.git
"$bole" init store --size 64M >/dev/null 2>&1 || die "init"
for name in one hidden inner any tip reach; do
	"$bole" import "store#$name" bare.git >/dev/null 2>import.log || { cat import.log >&2; die "import"; }
done
whole() { # folder what
	git -C "$1" fsck --connectivity-only >fsck.log 2>&1 || { cat fsck.log >&2; die "$2: fsck"; }
}
count() { git -C "$1" rev-list --count HEAD; }
missing() { git -C "$1" rev-list --objects --all --missing=print | grep -c '^?'; }
# An import takes branches and tags; the rest is pushed, while nothing is hidden.
start receive.enable=true
for name in one hidden inner any tip reach; do
	limit git -C bare.git push -q "$(url http $name)" 'refs/secret/*' 'refs/namespaces/*' ||
		die "push"
done
stop
start receive.enable=true \
	repo.hidden.transfer.hideRefs=refs/secret repo.hidden.uploadpack.hideRefs=refs/namespaces \
	repo.inner.transfer.namespace=inner \
	repo.any.uploadpack.allowAnySHA1InWant=true \
	repo.tip.transfer.hideRefs=refs/secret repo.tip.uploadpack.allowTipSHA1InWant=true \
	repo.reach.transfer.hideRefs=refs/secret repo.reach.uploadpack.allowReachableSHA1InWant=true \
	repo.any.uploadpackfilter.sparse:oid.allow=true repo.any.uploadpackfilter.tree.maxDepth=3 \
	repo.any.uploadpack.allowSidebandAll=true repo.any.transfer.advertiseSID=true \
	repo.any.uploadpack.bundleURI=https://example.org/one.bundle
limit git -C bare.git push -q "$(url http hidden)" 'refs/secret/one:refs/secret/two' 2>log &&
	die "a push to what is hidden"

for transport in git http; do
	for version in ${VERSIONS:-$([[ $where == host ]] && echo 0 2 || echo $((RANDOM % 2 * 2)))}; do
		what="$transport v$version"
		git config --file config protocol.version $version
		u=$(url $transport one)
		rm -rf w && limit git clone -q --depth 3 "$u" w || die "$what: depth"
		[[ $(count w) == 3 && $(git -C w rev-parse HEAD) == $(git -C src rev-parse main) ]] ||
			die "$what: depth 3"
		whole w "$what: depth"
		limit git -C w fetch -q --depth 5 || die "$what: deeper"
		[[ $(count w) == 5 ]] || die "$what: depth 5"
		limit git -C w fetch -q --deepen 4 || die "$what: relative"
		[[ $(count w) == 9 ]] || die "$what: deepen by 4"
		limit git -C w fetch -q --shallow-exclude=v20 || die "$what: exclude"
		[[ $(count w) == 20 ]] || die "$what: exclude a tag: $(count w)"
		limit git -C w fetch -q --shallow-since="$((1700000000 + 11 * 3600)) +0000" || die "$what: since"
		[[ $(count w) == 30 ]] || die "$what: since: $(count w)"
		whole w "$what: since"
		# New work on top of what a shallow clone has.
		if [[ $what != "http v0" ]]; then # there git asks for the tag alone
			limit git -C w fetch -q --depth 1 || die "$what: back to depth 1"
			[[ $(count w) == 1 ]] || die "$what: depth 1"
		fi
		limit git -C w fetch -q --unshallow || die "$what: unshallow"
		[[ $(count w) == 40 && ! -s w/.git/shallow ]] || die "$what: unshallow"
		git -C w fsck --full --strict >/dev/null 2>&1 || die "$what: fsck of the whole"
		rm -rf w && limit git clone -q --no-local --depth 2 --no-single-branch "$u" w ||
			die "$what: all branches"
		[[ $(git -C w rev-list --count origin/old) == 2 ]] || die "$what: depth of a branch"
		for filter in blob:none blob:limit=100 tree:0 tree:2 object:type=commit combine:blob:none+tree:2; do
			rm -rf w && limit git clone -q --bare --filter=$filter "$u" w || die "$what: $filter"
			want=$(git -C bare.git rev-list --objects --no-object-names --filter=$filter \
				main old feature patterns | sort -u | wc -l)
			have=$(git -C w cat-file --batch-check --batch-all-objects | grep -vc ' tag ')
			[[ $want == "$have" ]] || die "$what: $filter: $have objects, $want expected"
			# What was left out comes when it is needed.
			if [[ $version == 2 ]]; then
				[[ $(limit git -C w show main~3:top) == 37 ]] || die "$what: $filter: a promised blob"
				limit git -C w log -4 -p --format=%h main >/dev/null 2>&1 ||
					die "$what: $filter: some history"
			fi
		done
	done
	git config --file config protocol.version 2
	rm -rf w && limit git clone -q --filter=blob:none --sparse "$(url $transport one)" w ||
		die "$transport: sparse"
	limit git -C w sparse-checkout set a1 || die "$transport: sparse checkout"
	[[ -e w/a1/b1/f1 && ! -e w/a2 ]] || die "$transport: what is checked out"

	# Filters by policy.
	rm -rf w && limit git clone -q --bare --filter=sparse:oid=patterns:p "$(url $transport any)" w ||
		die "$transport: sparse:oid"
	have=$(git -C w rev-list --objects --all --missing=print | grep -c '^?')
	want=$(comm -23 <(git -C src rev-list --objects --no-object-names main old feature patterns | sort) \
		<(git -C src rev-list --objects --no-object-names --filter=sparse:oid=patterns:p main old \
			feature patterns | sort) | wc -l)
	((want > 5 && have == want)) || die "$transport: sparse:oid: $have blobs are left out, not $want"
	limit git clone -q --filter=sparse:oid=patterns:p "$(url $transport one)" no 2>log &&
		die "$transport: sparse:oid without being asked"
	grep -q "filter 'sparse:oid=patterns:p': not allowed here" log || die "$transport: sparse:oid: $(<log)"
	limit git clone -q --filter=tree:4 "$(url $transport any)" no 2>log && die "$transport: tree:4"
	grep -q "filter 'tree:4': not allowed here" log || die "$transport: tree:4 is refused as $(<log)"
	limit git clone -q --bare --filter=sparse:oid=patterns:none "$(url $transport any)" no 2>log &&
		die "$transport: patterns that are not there"
	grep -q "sparse:oid: no blob 'patterns:none'" log || die "$transport: no patterns: $(<log)"

	# References by namespace and hide patterns.
	git ls-remote "$(url $transport hidden)" | grep -E 'secret|namespaces' &&
		die "$transport: a hidden reference is shown"
	git ls-remote "$(url $transport one)" | grep secret >/dev/null || die "$transport: a reference is missing"
	[[ $(git ls-remote "$(url $transport inner)" | grep -c .) == 2 ]] ||
		die "$transport: the namespace's references"
	[[ $(git ls-remote "$(url $transport inner)" refs/heads/main | cut -f1) == $(git -C src rev-parse main~10) ]] ||
		die "$transport: main of the namespace"
	secret=$(git -C bare.git rev-parse refs/secret/one)
	# What may be wanted by its id: a hidden tip, a commit that is no tip, neither. (Commits that a
	# tip reaches are served to whoever asks; what git asks for follows from what is advertised.)
	older=$(git -C src rev-parse main~7)
	for row in "tip 0 $secret yes" "tip 2 $secret yes" "reach 0 $older yes" \
		"reach 2 $older yes" "reach 0 $secret no" "reach 2 $secret no" "one 0 $older no"; do
		read -r name version oid expected <<<"$row"
		rm -rf w && git init -q w
		got=no
		limit git -C w -c protocol.version=$version fetch -q "$(url $transport $name)" "$oid" 2>err && got=yes
		[[ $got == "$expected" ]] || die "$transport: by id: $row: $(cat err)"
	done
	limit git ls-remote -o one=1 --server-option=two "$(url $transport one)" >/dev/null ||
		die "$transport: server options"
	for version in 0 2; do
		rm -rf w && git init -q w
		limit git -C w -c protocol.version=$version fetch -q "$(url $transport hidden)" "$secret" 2>err &&
			die "$transport v$version: a hidden commit was served"
		grep -q 'not our ref\|unadvertised' err || die "$transport v$version: $(cat err)"
		limit git -C w -c protocol.version=$version fetch -q "$(url $transport any)" "$secret" ||
			die "$transport v$version: any commit"
	done
	# Version 2's other words.
	limit git ls-remote --server-option=x=y "$(url $transport one)" >/dev/null || die "$transport: server-option"
	rm -rf w && git init -q w
	GIT_TRACE_PACKET=$dir/trace limit git -C w fetch -q "$(url $transport one)" refs/heads/old ||
		die "$transport: want-ref"
	grep -q 'want-ref refs/heads/old' trace || die "$transport: no want-ref was sent"
	rm -f trace
	GIT_TEST_SIDEBAND_ALL=1 GIT_TRACE_PACKET=$dir/trace limit git -C w fetch -q "$(url $transport any)" main ||
		die "$transport: sideband-all"
	grep -q 'fetch> sideband-all' trace || die "$transport: no sideband-all"
	grep -q 'session-id=' trace || die "$transport: no session-id"
	grep -q 'bundle-uri' trace || die "$transport: no bundle-uri"
	rm -f trace
done
post() { # packets: to upload-pack of "any", version 2
	printf '%s' "$1" | curl -s --data-binary @- -H 'Content-Type: application/x-git-upload-pack-request' \
		-H 'Git-Protocol: version=2' "http://127.0.0.1:$http/any.git/git-upload-pack"
}
# What a request begins with, and an id's packet.
form=0018object-format=sha256 id=0048oid
[[ $format == sha256 ]] || form='' id=0030oid
post "0016command=bundle-uri${form}0000" | grep -a 'bundle.bundle-1.uri=https://example.org/one.bundle' >/dev/null ||
	die "bundle-uri"
blob=$(git -C src rev-parse main:top)
post "0017command=object-info${form}00010008size$id ${blob}0000" | grep -a "$blob 3" >/dev/null || die "object-info"
post "0017command=object-info${form}00010008size$id ${blob//[0-9]/1}0000" | grep -a "${blob//[0-9]/1} " >/dev/null ||
	die "object-info of nothing"
stop
passes "$bole" fsck $store
echo "fetch: stock git fetches all ways"
