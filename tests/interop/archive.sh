#!/bin/bash
# SPDX-License-Identifier: ISC
# Goal: archives are those of git-archive(1), by every way to get them, and the dumb HTTP protocol serves
# clones. Method: a tree with long names, links, modes, a submodule and large and empty files; tar is
# compared byte by byte with stock git, the rest by unpacking; refusals must name their reason.
# Also: sha256 image
set -uo pipefail
. "$(dirname "$0")/../support/service.sh"
suite
configure core.quotePath=false
store=store

git init -q src
long=$(printf 'd%.0s' {1..90})
mkdir -p src/a/b/c "src/$long/$long" "src/a/$long$long"
seq 50000 >src/a/large
: >src/a/empty
echo x >src/a/b/c/deep
echo '#!/bin/sh' >src/a/run
chmod +x src/a/run
echo y >"src/$long/$long/file"
echo z >"src/a/$long$long/$long"
echo u >src/ümlaut
ln -s a/large src/link
ln -s "$long/$long/$long" src/longlink
head -c 300000 /dev/urandom >src/noise
git -C src add -A
module=$(git -C src hash-object -t commit --literally --stdin <src/a/empty)
git -C src update-index --add --cacheinfo "160000,$module,module"
mkdir -p src/ign/only/sub src/ign/files src/ign/part
echo 1 >src/ign/only/sub/f; echo 2 >src/ign/files/secret; echo 3 >src/ign/part/kept.c; echo 4 >src/ign/part/out.log
echo 5 >src/ign/other.log; echo 6 >src/ign/part/kept.log; echo 7 >src/unwanted
printf '[attr]noship export-ignore\n*.log export-ignore\n/unwanted noship\nign/only/sub/ noship\n' >src/.gitattributes
printf 'secret export-ignore\n' >src/ign/files/.gitattributes
printf 'kept.log -export-ignore\n"ou\\164.log" export-ignore=no\n' >src/ign/part/.gitattributes
git -C src add -A
GIT_COMMITTER_DATE='1700000000 +0000' git -C src commit -qm one
git -C src tag -a -m t v1
git -C src branch topic/x
passes "$bole" init store --size 64M
passes "$bole" import "store#r" src/.git
passes "$bole" import "store#closed" src/.git
serve() { # repository...: with one more, from the folder of its name
	local from
	for from; do
		[[ -z $server ]] || stop
		passes "$bole" import "store#$from" "$from/.git"
	done
	start repo.closed.uploadarchive.enable=false repo.closed.transfer.hideRefs=refs/tags
	u=$(url git r) web=http://127.0.0.1:$http
}
serve

as_git() { # what arguments of git archive...
	local what=$1
	shift
	git -C src archive --format=tar "$@" >want.tar || die "$what: git archive"
	limit git archive --remote="$u" --format=tar "$@" >have.tar || die "$what: from us"
	cmp want.tar have.tar || die "$what: the archives differ"
}
as_git "all" HEAD
as_git "a branch" topic/x
as_git "a tag" v1
as_git "a prefix" --prefix=p/q/ main
as_git "a prefix without a slash" --prefix=p main
as_git "paths" main a/b link
as_git "a deep path" main a/b/c/deep
tar tf want.tar | grep -q deep || die "the deep path is not there"
as_git "attributes" main ign
tar tf have.tar >list
for name in unwanted other.log secret only/sub/f; do
	grep -q "$name" list && die "export-ignore: $name is there"
done
grep -q 'part/kept.log' list && grep -q 'part/out.log' list || die "-export-ignore: $(cat list)"
[[ $(git get-tar-commit-id <have.tar) == $(git -C src rev-parse main) ]] || die "the commit's id"
for folder in a ign ign/part; do # where attributes from above do not count
	limit git archive --remote="$u" --format=tar main:$folder | tar t >list || die "$folder"
	cmp list <(git -C src archive --format=tar main:$folder | tar t) || die "$folder: the names differ"
done
limit git archive --list --remote="$u" | tr '\n' ' ' | grep -q '^tar tgz tar.gz zip $' || die "--list"

limit git archive --remote="$u" --format=tar.gz -9 main | gzip -dc >have.tar || die "tar.gz"
git -C src archive --format=tar main | cmp - have.tar || die "tar.gz differs"
limit git archive --remote="$u" --format=zip --prefix=p/ main >have.zip || die "zip"
python3 - <<'P' || die "zip: python"
import zipfile, subprocess
z = zipfile.ZipFile("have.zip")
assert z.testzip() is None
subprocess.run(["git", "-C", "src", "archive", "--format=zip", "--prefix=p/", "-o", "../want.zip", "main"], check=True)
w = zipfile.ZipFile("want.zip")
mine, git = [{i.filename: (i.file_size, i.CRC, i.is_dir(), i.date_time) for i in x.infolist()} for x in (z, w)]
assert mine == git, set(mine.items()) ^ set(git.items())
kind = lambda x, k: [i for i in x.infolist() if i.external_attr >> 28 == k]
links = lambda x: {i.filename for i in kind(x, 0o12)}
runs = {i.filename for i in kind(z, 0o10) if i.external_attr >> 16 & 0o111}
assert links(z) == links(w) and runs == {"p/a/run"} and z.comment == w.comment
P

# Files that change on their way: what the commit says, ids, line ends. Several commits, each with
# files of its own, so that decorations, parents and messages differ.
git init -q subst
messages=($'one line' $'sub  ject. \n two \n\n\nbody\n\nmore\n' '' $'\n\n .. Odd: [name]...  ' $'a\n\nb' $'Grüße')
for i in {0..5}; do # commits
	rm -rf subst/* subst/.gitattributes
	python3 "$here/archive_files.py" "$dir/subst" $((SEED + i)) || die "files"
	# As they are: git would undo what an archive does.
	mv subst/.gitattributes attributes
	git -C subst add -A
	mv attributes subst/.gitattributes
	blob=$(git -C subst hash-object -w --no-filters .gitattributes)
	git -C subst update-index --add --cacheinfo "100644,$blob,.gitattributes"
	[[ $i == 4 ]] && git -C subst checkout -q --orphan other
	tree=$(git -C subst write-tree)
	parents=()
	((i > 0 && i != 4)) && parents=(-p "$commit")
	[[ $i == 5 ]] && parents+=(-p main)
	printf '%s' "${messages[i]}" >message
	commit=$(GIT_AUTHOR_NAME=$'\xc3\x84nn  von X.' GIT_AUTHOR_EMAIL="a.b@c@d" \
		GIT_AUTHOR_DATE="@$((i * 300000000 + 100000)) -0730" GIT_COMMITTER_DATE="$((1700000000 + i)) +0545" \
		git -C subst commit-tree "${parents[@]}" -F ../message "$tree")
	git -C subst update-ref "refs/heads/$( ((i > 3)) && echo other || echo main)" "$commit"
	git -C subst tag "light$i" "$commit"
	git -C subst tag -a -m "t $i" "full$i" "light$i"
done
git -C subst -c advice.nestedTag=false tag -a -m nested nested full5
git -C subst gc -q
serve subst
for name in light0 main light2 full4 other nested light3 main:sub; do
	git -C subst archive --format=tar $name >want.tar || die "git archive of $name"
	limit git archive --remote="$(url git subst)" --format=tar $name >have.tar ||
		die "$name"
	cmp -s want.tar have.tar && continue
	rm -rf want have && mkdir want have && tar xf want.tar -C want && tar xf have.tar -C have
	# What is no commit is as old as the second in which it was asked for.
	diff -ra want have >diffs && [[ $name == *:* ]] &&
		cmp -s <(tar tvf want.tar | cut -c1-27,48-) <(tar tvf have.tar | cut -c1-27,48-) && continue
	head -20 diffs >&2
	die "files that change: $name differs"
done
limit git archive --remote="$(url git subst)" --format=zip other >have.zip || die "zip"
git -C subst archive --format=zip other >want.zip
python3 -c '
import zipfile
a, b = [{i.filename: x.read(i) for i in x.infolist()} for x in map(zipfile.ZipFile, ("want.zip", "have.zip"))]
assert a == b, [n for n in a if a[n] != b.get(n)]' || die "zip: contents differ"

refused 'no such reference' git archive --remote="$u" nothing
refused 'no such reference' git archive --remote="$u" "$(git -C src rev-parse main)"
refused 'no such path' git archive --remote="$u" main no/such
refused 'no such format' git archive --remote="$u" --format=rar main
refused 'not enabled' git archive --remote="$(url git closed)" main
refused 'no such repository' git archive --remote="$(url git none)" main

# Behind an sshd, and by GET.
export GIT_SSH_COMMAND=$dir/ssh
cat >ssh <<S
#!/bin/bash
[[ \$* == *git-upload-archive* ]] && exec "$bole" upload-archive "$dir/store#r" 2>/dev/null
exit 1
S
chmod +x ssh
stop
git -C src archive --format=tar main >want.tar
limit git archive --remote=ssh://host/x --format=tar main | cmp - want.tar || die "stdin and stdout"
serve
git -C src archive --format=tar --prefix=r-topic-x/ topic/x >want.tar
curl -sf "$web/r.git/archive/topic/x.tar" | cmp - want.tar || die "tar by GET"
curl -sf "$web/r/archive/topic/x.tar.gz" | gzip -dc | cmp - want.tar || die "tar.gz by GET"
curl -sf "$web/r/archive/v1.zip" >have.zip &&
	python3 -c 'import zipfile; assert zipfile.ZipFile("have.zip").testzip() is None' ||
	die "zip by GET"
status() { curl -s -o /dev/null -w '%{http_code}' "$@"; }
[[ $(status "$web/r/archive/nothing.zip") == 404 ]] || die "an archive of nothing"
[[ $(status "$web/none/archive/main.zip") == 404 ]] || die "an archive of no repository"
[[ $(status "$web/closed/archive/main.zip") == 403 ]] || die "a closed archive"
[[ $(status -d x "$web/r/archive/main.zip") == 405 ]] || die "an archive by POST"
[[ $(status -I "$web/r/archive/main.tar") == 200 ]] || die "the head of an archive"
[[ $(status "$web/r/archive/..%2f..%2fx.tar") == 400 ]] || die "a funny archive"

# The dumb protocol, as git speaks it when there is no smart server.
limit env GIT_SMART_HTTP=0 git clone -q --mirror "$web/r.git" dumb 2>err || { cat err >&2; die "dumb clone"; }
git -C dumb fsck --full >/dev/null 2>&1 || die "dumb clone: fsck"
cmp <(git -C dumb for-each-ref) <(git -C src for-each-ref) || die "dumb clone: references"
[[ $(status "$web/closed/info/refs") == 403 && $(status "$web/closed/HEAD") == 403 ]] ||
	die "dumb, where references are hidden"
[[ $(status "$web/r/objects/00/0000000000000000000000000000000000000000") == 404 ]] || die "no such object"
[[ $(status "$web/r/objects/00/00000000000000000000000000000000000000") == 404 ]] || die "no such object"
[[ $(status "$web/r/objects/info/alternates") == 404 ]] || die "alternates"
stop
passes "$bole" fsck $store
echo "archive: as git makes them"
