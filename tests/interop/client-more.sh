#!/bin/bash
# SPDX-License-Identifier: ISC
# Goal: what Bole's client can beyond plain fetches: references that move meanwhile (ref-in-want,
# no-done), bundles, packs from elsewhere, proxies. Method: servers of git and our own, with a
# program between that moves references or cuts connections; git compares what came.
set -uo pipefail
. "$(dirname "$0")/../support/service.sh"
export GIT_DEFAULT_HASH=sha1 # where none is named; both have their turn
suite
configure safe.directory='*' uploadpack.allowSidebandAll=true
unset http_proxy https_proxy HTTPS_PROXY all_proxy ALL_PROXY no_proxy NO_PROXY
ca=$top/tests/support/tls/ca.pem

bo() { timeout 60 "$bole" "$@"; }
gone() { # STORE#REPO, what: nothing of it is left
	[[ -z $(bo repo "${1%#*}" | grep -x "${1#*#}") ]] || die "$2 leaves a repository"
}
first_line() { # file: waits for it
	for _ in {1..100}; do [[ -s $1 ]] && break; sleep 0.1; done
	head -n 1 "$1"
}

# -- the servers --
git_servers
secure=${tls[0]}
"$bole" init d.img --size 512M >/dev/null || die init
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
	for peer in git:$daemon http:$backend; do
		n=$((n + 1))
		moving $format true "${peer#*:}" "${peer%:*}" moving$n.git srv/moving$n.git
		bo clone "$way" "d.img#moving$n" >/dev/null || die "$peer: clone while main moves"
		[[ $(git -C srv/moving$n.git rev-parse main) == "$new" ]] || die "$peer: main did not move"
		git -C srv/moving$n.git gc -q --prune=now # what was listed is not there any more
		stored srv/moving$n.git "d.img#moving$n" "$peer: clone while main moves"
	done
done
# a fetch: the branch that is here moves on there, and again meanwhile
git clone -q --mirror src-sha1 srv/again.git
git -C srv/again.git config uploadpack.allowRefInWant true
bo clone "git://127.0.0.1:$daemon/again.git" 'd.img#again' >/dev/null || die "clone"
next=$(git -C srv/again.git commit-tree -p main -m next 'main^{tree}')
git -C srv/again.git update-ref refs/heads/main "$next"
then=$(git -C srv/again.git commit-tree -p "$next" -m then 'main^{tree}')
python3 "$top/tests/support/between.py" "$daemon" command=fetch \
	"git -C '$dir/srv/again.git' update-ref refs/heads/main $then" >between.port &
pids+=($!)
bo fetch 'd.img#again' "git://127.0.0.1:$(first_line between.port)/again.git" >fetch.out || die "fetch while main moves"
[[ $(git -C srv/again.git rev-parse main) == "$then" ]] || die "main did not move during the fetch"
grep -q '^forward *refs/heads/main' fetch.out || die "fetch while main moves: $(<fetch.out)"
stored srv/again.git 'd.img#again' "fetch while main moves"
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
: >backend.log
bo fetch 'd.img#done' "http://127.0.0.1:$backend/done.git" --protocol 0 >fetch.out || die "no-done"
[[ $(grep -c coded backend.log) == 1 ]] || die "no-done: $(grep -c coded backend.log) requests"
grep -q '^[1-9][0-9]* objects' fetch.out || die "no-done: $(<fetch.out)"
git -C ours fetch -q "$dir/srv/done.git" '+refs/*:refs/*'
stored ours 'd.img#done' "no-done"

# -- proxies --
python3 "$top/tests/support/proxy.py" >proxy.port 2>>proxy.log &
pids+=($!)
python3 "$top/tests/support/proxy.py" ada:s3cret >guarded.port 2>guarded.log &
pids+=($!)
open=127.0.0.1:$(first_line proxy.port) guarded=127.0.0.1:$(first_line guarded.port)
asked() { grep -c "$2" "$1"; }
url=http://127.0.0.1:$backend/done.git
http_proxy=http://$open bo clone "$url" 'd.img#p1' >/dev/null || die "http over a proxy"
stored srv/done.git 'd.img#p1' "http over a proxy"
[[ $(asked proxy.log "^GET $url/info/refs") == 1 && $(asked proxy.log "^POST $url/git-upload-pack") -ge 2 ]] ||
	die "the proxy was not asked: $(<proxy.log)"
https_proxy=$open bo clone "https://localhost:$secure/done.git" 'd.img#p2' --cacert $ca >/dev/null ||
	die "https over a proxy"
stored srv/done.git 'd.img#p2' "https over a proxy"
grep -q "^CONNECT localhost:$secure -" proxy.log || die "no tunnel: $(<proxy.log)"
bo ls-remote "$url" --proxy "http://ada:s3cret@$guarded/" >/dev/null || die "a proxy with credentials"
bo ls-remote "https://localhost:$secure/done.git" --proxy "ada:s3cret@$guarded" --cacert $ca >/dev/null ||
	die "a tunnel with credentials"
for way in "$url" "https://localhost:$secure/done.git"; do
	refused "the proxy 127.0.0.1 wants credentials (407)" "$bole" ls-remote "$way" --proxy "$guarded"
	refused "and not these (407)" "$bole" ls-remote "$way" --proxy "ada:x1y2z3@$guarded"
	! grep -q x1y2z3 refused.log || die "a password is shown"
	refused 'the proxy 127.0.0.1:1 cannot be reached' "$bole" ls-remote "$way" --proxy 127.0.0.1:1
done
refused 'only http:// proxies' "$bole" ls-remote "$url" --proxy "socks5://$open"
refused 'proxy cannot be used: its host' "$bole" ls-remote "$url" --proxy "http://a b"
# Credentials of the server and of the proxy go each their way.
auth=http://ada:s3cret@127.0.0.1:$backend/auth/done.git
bo ls-remote "$auth" --proxy "ada:s3cret@$guarded" >/dev/null || die "both credentials"
bo ls-remote "${auth/http:/https:}" --proxy "$open" >/dev/null 2>&1 # no TLS there: only what CONNECT tells counts
grep -q "^CONNECT 127.0.0.1:$backend -" proxy.log || die "no tunnel: $(<proxy.log)"
! grep -q '^CONNECT.*Basic' proxy.log guarded.log || die "the tunnel was told the server's credentials"
# Who is asked directly.
: >proxy.log
for list in '*' 127.0.0.1 'x, 127.0.0.1' 'localhost,.0.0.1'; do
	http_proxy=$open no_proxy=$list bo ls-remote "$url" >/dev/null || die "no_proxy=$list"
done
http_proxy=$open bo ls-remote "$url" --proxy '' >/dev/null || die "an empty proxy"
HTTP_PROXY=$open bo ls-remote "$url" >/dev/null || die "HTTP_PROXY"
all_proxy=$open bo ls-remote "git://127.0.0.1:$daemon/done.git" >/dev/null || die "git:// and a proxy"
[[ ! -s proxy.log ]] || die "a proxy was asked all the same: $(<proxy.log)"
http_proxy=$open no_proxy='27.0.0.1,7.0.0.1' bo ls-remote "$url" >/dev/null || die "other names"
ALL_PROXY=$open bo ls-remote "$url" >/dev/null || die "ALL_PROXY"
[[ $(asked proxy.log "^GET $url") == 2 ]] || die "a proxy was not asked: $(<proxy.log)"

# -- packs from elsewhere: a server of git, and ours --
mkdir www
: >files.port
python3 "$top/tests/support/file_server.py" www "${ca/ca.pem/good.pem}" >files.port 2>>files.log &
pids+=($!)
for _ in {1..100}; do [[ $(wc -l <files.port) == 2 ]] && break; sleep 0.1; done
{ read -r files; read -r sfiles; } <files.port
gets() { grep -c "^GET /$1" files.log; }
uris() { # format: a repository whose blobs big and .gitmodules come from elsewhere
	rm -rf "elsewhere-$1" "srv/elsewhere-$1.git"
	git init -q --object-format="$1" "elsewhere-$1"
	head -c 300000 /dev/urandom >"elsewhere-$1/big"
	printf '[submodule "s"]\n\tpath = s\n\turl = ./s\n' >"elsewhere-$1/.gitmodules"
	seq 1000 >"elsewhere-$1/numbers"
	git -C "elsewhere-$1" add -A && git -C "elsewhere-$1" commit -qm one
	git -C "elsewhere-$1" tag -a -m t v1
	git clone -q --mirror "elsewhere-$1" "srv/elsewhere-$1.git"
	big=$(git -C "elsewhere-$1" rev-parse HEAD:big) modules=$(git -C "elsewhere-$1" rev-parse HEAD:.gitmodules)
	pack=$(printf '%s\n' "$big" "$modules" | git -C "elsewhere-$1" pack-objects -q "$dir/www/pack")
}
announce() { # format, uri
	git -C "srv/elsewhere-$1.git" config --unset-all uploadpack.blobPackfileUri
	for blob in "$big" "$modules"; do
		git -C "srv/elsewhere-$1.git" config --add uploadpack.blobPackfileUri "$blob $pack $2"
	done
}
elsewhere() { # what, format, STORE#REPO, packs expected, url, options...: a clone that is whole
	local what=$1 format=$2 repo=$3 count=$4 url=$5
	shift 5
	: >files.log
	bo clone "$url" "$repo" "$@" >clone.out 2>clone.log || die "$what: $(<clone.log)"
	[[ $(gets '') == "$count" ]] || die "$what: $(gets '') requests for packs, not $count: $(<files.log)"
	stored "srv/elsewhere-$format.git" "$repo" "$what"
}
for format in sha1 sha256; do
	uris $format
	file=http://127.0.0.1:$files/pack-$pack.pack
	announce $format "$file"
	n=0
	for peer in "git://127.0.0.1:$daemon" "http://127.0.0.1:$backend"; do
		n=$((n + 1)) repo=d.img#else-$format-$n
		url=$peer/elsewhere-$format.git
		elsewhere "packfile-uris $peer $format" $format "$repo" 1 "$url" --packfile-uris
		elsewhere "not asked for $peer $format" $format "$repo-no" 0 "$url"
		elsewhere "version 0 $peer $format" $format "$repo-0" 0 "$url" --packfile-uris --protocol 0
	done
	"$bole" init own-$format.img --size 64M >/dev/null || die init
	bo import "own-$format.img#one" "srv/elsewhere-$format.git" >/dev/null || die import
	store=own-$format.img
	start "repo.one.uploadpack.blobPackfileUri=$big $pack $file" \
		"repo.one.uploadpack.blobPackfileUri=$modules $pack $file"
	elsewhere "packfile-uris of ours $format" $format d.img#else-$format-own 1 "$(url http one)" \
		--packfile-uris
	stop
done
# The connection is cut, again and again: it goes on where it was. Else nothing stays.
uris sha1
url=git://127.0.0.1:$daemon/elsewhere-sha1.git
announce sha1 "http://127.0.0.1:$files/cut/70000/pack-$pack.pack"
elsewhere "a pack that is cut" sha1 d.img#cut 5 "$url" --packfile-uris
grep -q 'bytes=280000-' files.log || die "it does not go on where it was cut: $(<files.log)"
announce sha1 "http://127.0.0.1:$files/moved/query/pack-$pack.pack?key=1"
! bo clone "$url" d.img#moved --packfile-uris >/dev/null 2>&1 || die "a query was lost, and it came all the same"
announce sha1 "http://127.0.0.1:$files/query/pack-$pack.pack?key=1"
elsewhere "a URL with a query" sha1 d.img#query 1 "$url" --packfile-uris
announce sha1 "http://127.0.0.1:$files/moved/pack-$pack.pack"
elsewhere "a pack that has moved" sha1 d.img#pmoved 2 "$url" --packfile-uris
printf 'x' >www/none && head -c 1000 www/pack-$pack.pack >www/half
cp www/pack-$pack.pack www/more && printf 'x' >>www/more
small=$(git -C elsewhere-sha1 rev-parse HEAD:numbers)
wrong=$(printf '%s\n' "$small" | git -C elsewhere-sha1 pack-objects -q "$dir/www/wrong")
while read -r path words; do
	announce sha1 "http://127.0.0.1:$files/$path"
	refused "$words" "$bole" clone "$url" d.img#bad --packfile-uris
	grep -q "the pack at http://127.0.0.1:$files/$path" refused.log || die "$path is not named: $(<refused.log)"
	gone d.img#bad "$path"
done <<END
nix 404
none pack
half pack
more cannot be used
wrong-$wrong.pack not the one that was announced
cut/10000/pack-$pack.pack cut
never/70000/pack-$pack.pack does not go on there
changes/70000/pack-$pack.pack does not go on there
loop/x redirects without end
END
announce sha1 "http://127.0.0.1:1/x"
refused 'cannot be reached' "$bole" clone "$url" d.img#bad --packfile-uris
announce sha1 "http://ada:s3cret@127.0.0.1:$files/pack-$pack.pack"
refused 'has a password in it' "$bole" clone "$url" d.img#bad --packfile-uris
gone d.img#bad "a password"
# From https:// only https://, also by a redirect; credentials stay where they are.
announce sha1 "https://localhost:$sfiles/pack-$pack.pack"
url=https://ada:s3cret@localhost:$secure/auth/elsewhere-sha1.git
elsewhere "over TLS" sha1 d.img#ptls 1 "$url" --packfile-uris --cacert $ca
! grep -q Basic files.log || die "credentials went elsewhere: $(<files.log)"
announce sha1 "http://127.0.0.1:$files/pack-$pack.pack"
elsewhere "from https:// to http://" sha1 d.img#pdown 0 "$url" --packfile-uris --cacert $ca
announce sha1 "https://localhost:$sfiles/down/pack-$pack.pack"
refused 'from https:// to http://' "$bole" clone "$url" d.img#bad --packfile-uris --cacert $ca
gone d.img#bad "a redirect to http://"

# -- bundles: a file, a URL, lists, what our server recommends --
for format in sha1 sha256; do # three of each: every one needs the one before
	repo=srv/bundled-$format.git version=2
	[[ $format == sha1 ]] || version=3
	git clone -q --mirror "src-$format" "$repo"
	git -C "$repo" branch old main~8
	git -C "$repo" bundle create -q --version=$version "$dir/www/$format-1" old
	git -C "$repo" branch -f old main~5
	git -C "$repo" bundle create -q --version=$version "$dir/www/$format-2" main~8..old
	git -C "$repo" branch -f old main~2
	git -C "$repo" bundle create -q --version=3 "$dir/www/$format-3" main~5..old v1
	git -C "$repo" branch -q -D old
done
git -C srv/bundled-sha1.git bundle create -q --version=3 "$dir/www/filtered" --filter=blob:none main
: >www/empty
printf 'hello, this is no list\n' >www/text
{ cat www/sha1-1 && echo more; } >www/behind
head -c 2000 www/sha1-1 >www/short
list() { # name, mode, entries...: a list of bundles; an entry is "id uri [key value]..."
	local file=www/$1 entry words
	printf '[bundle]\n\tversion = 1\n\tmode = %s\n\theuristic = creationToken\n' "$2" >"$file"
	shift 2
	for entry; do
		read -ra words <<<"$entry"
		printf '[bundle "%s"]\n\turi = %s\n' "${words[0]}" "${words[1]}" >>"$file"
		[[ -z ${words[2]:-} ]] || printf '\t%s = %s\n' "${words[2]}" "${words[3]}" >>"$file"
	done
}
"$bole" init bundled.img --size 64M >/dev/null || die init
for format in sha1 sha256; do bo import "bundled.img#$format" "srv/bundled-$format.git" >/dev/null || die import; done
base=http://127.0.0.1:$files
config=()
for name in sha1-1 sha1-2 nix; do config+=("repo.sha1.uploadpack.bundleURI=$base/$name"); done
store=bundled.img
start "${config[@]}"
bundled() { # what, format, downloads, objects that the server still sends, options...
	local what=$1 format=$2 gets=$3 most=$4 sent
	shift 4
	for url in "git://127.0.0.1:$git/$format" "http://127.0.0.1:$http/$format.git"; do
		: >files.log
		: >server.log
		bo clone "$url" "d.img#b$((++n))" "$@" >clone.out 2>clone.log || die "$what: $(<clone.log)"
		stored "srv/bundled-$format.git" "d.img#b$n" "$what" # no reference of a bundle stays
		sent=$(sed -nE 's/.*: sent ([0-9]+) objects.*/\1/p' server.log | tail -n 1)
		((sent <= most)) || die "$what: the server sent $sent objects, more than $most: $(<clone.log)"
		[[ $(gets '') == "$gets" ]] || die "$what: $(gets '') downloads, not $gets: $(<files.log)"
	done
}
n=0
all=$(git -C srv/bundled-sha1.git rev-list --objects --all | wc -l)
for format in sha1 sha256; do
	rest=$(git -C srv/bundled-$format.git rev-list --objects --all ^main~2 ^v1 | wc -l)
	most=$(git -C srv/bundled-$format.git rev-list --objects --all ^main~8 | wc -l)
	bundled "a bundle in a file $format" $format 0 "$most" --bundle-uri www/$format-1
	! grep -q 'passed over' clone.log || die "a warning: $(<clone.log)"
	bundled "a bundle $format" $format 1 "$most" --bundle-uri "$base/$format-1"
	part=$(($(stat -c %s www/$format-1) * 2 / 3))
	bundled "a bundle that is cut $format" $format 2 "$most" --bundle-uri "$base/cut/$part/$format-1"
	list l$format all "c $format-3 creationToken 3" "a ./$format-1 creationToken 1" "b /$format-2 creationToken 2"
	bundled "a list $format" $format 4 "$rest" --bundle-uri "$base/l$format"
	! grep -q 'passed over' clone.log || die "a warning: $(<clone.log)"
	list l$format all "c $base/$format-3" "a $base/$format-1" "b $base/moved/$format-2"
	bundled "a list in a file, out of order $format" $format 5 "$rest" --bundle-uri www/l$format
	list any$format any "x nix" "a $format-1" "b $format-2"
	bundled "one of a list $format" $format 3 "$most" --bundle-uri "$base/any$format"
	list outer all "in any$format" "b $format-2"
	bundled "a list in a list $format" $format 6 "$most" --bundle-uri "$base/outer"
done
most=$(git -C srv/bundled-sha1.git rev-list --objects --all ^main~5 | wc -l)
bundled "what the server recommends" sha1 3 "$most" --bundles
grep -q "the bundle at $base/nix is passed over: 127.0.0.1 answers 404" clone.log || die "no warning: $(<clone.log)"
bundled "no recommendation" sha256 0 1000 --bundles
bundled "not asked for" sha1 0 1000
# What cannot be used is a warning, and the clone goes on.
list ring all "me ring"
list filters all "f sha1-1 filter blob:none" "n ssh://h/x" "g git://h/x"
list escape all "u ../../../x" "p http://a:b@127.0.0.1:$files/sha1-1"
printf '[bundle]\n\tversion = 2\n\tmode = all\n' >www/version
printf '[bundle]\n\tversion = 1\n[bundle "a"]\n\turi = x\n' >www/mode
while read -r gets path words; do
	bundled "$path" sha1 "$gets" 1000 --bundle-uri "$base/$path"
	grep -q "passed over.*$words" clone.log || die "$path: no '$words' in: $(<clone.log)"
done <<END
1 nix 404
1 empty nothing in it
1 text neither a bundle nor a list
1 version kind of list is not known
1 mode neither a bundle
1 filtered filter
1 sha256-1 another format
1 sha1-2 needs commits that no other
1 behind more behind its pack
1 short the pack ends early
1 filters a filter
1 escape no URI that can be used
21 loop/x redirects without end
1 huge too long
5 ring too many lists
END
bundled "nobody there" sha1 0 1000 --bundle-uri http://127.0.0.1:1/x
grep -q 'passed over: 127.0.0.1:1 cannot be reached' clone.log || die "nobody there: $(<clone.log)"
bundled "from https:// to http://" sha1 1 1000 --bundle-uri "https://localhost:$sfiles/down/sha1-1" --cacert $ca
refused 'cannot\|No such file' "$bole" clone "$url" d.img#bad --bundle-uri www/nix
gone d.img#bad "a file that is not there"
# A clone that fails leaves nothing of them; a fetch takes them, too, and prunes nothing of them.
refused 'no such repository' "$bole" clone "http://127.0.0.1:$http/nix.git" d.img#bad --bundle-uri www/sha1-1
gone d.img#bad "a clone that fails after bundles"
git init -q --bare little
bo import d.img#little little >/dev/null || die "import"
bo fetch d.img#little "git://127.0.0.1:$git/sha1" 'refs/*:refs/*' --prune --bundle-uri www/sha1-1 >fetch.out ||
	die "fetch"
! grep -q bundles fetch.out || die "tips of bundles are told: $(<fetch.out)"
stored srv/bundled-sha1.git d.img#little "a fetch with a bundle"

# -- what is no refspec is a mistake of the command line --
url=git://127.0.0.1:$daemon/done.git
for words in "fetch d.img#done $url a:b:c" "push d.img#done $url a:"; do
	# shellcheck disable=SC2086
	bo $words >usage.log 2>&1
	[[ $? == 2 ]] && grep -q 'is no refspec' usage.log || die "$words: $(<usage.log)"
done
stop
echo "client-more: ok"
