#!/bin/bash
# SPDX-License-Identifier: ISC
# Goal: Bole as a client of git's servers, and of its own: ls-remote, clone, fetch, push, mirror.
# Method: git daemon and git http-backend serve repositories of git, `bole serve` serves its own; the
# same steps run against each, in every protocol version and both object formats, and after each
# the objects and references on both sides are compared by git.
set -uo pipefail
. "$(dirname "$0")/../support/service.sh"
export GIT_DEFAULT_HASH=sha1 # where none is named; both have their turn
suite
configure http.receivepack=true receive.advertisePushOptions=true uploadpack.allowFilter=true safe.directory='*'
ca=$top/tests/support/tls/ca.pem

bo() { timeout 60 "$bole" "$@"; }

# -- the servers --
GIT_TRACE_PACKET=$dir/packets git_servers
read -r secure strange expired <<<"${tls[*]}"
"$bole" init own.img --size 256M >/dev/null || die init
for name in sha1 push-sha1-bhttp push-sha1-bgit; do "$bole" repo "own.img#$name" create >/dev/null || die repo; done
for name in sha256 push-sha256-bhttp push-sha256-bgit; do
	"$bole" repo "own.img#$name" create --sha256 >/dev/null || die repo
done
store=own.img
start receive.enable=true
declare -A base=([daemon]=git://127.0.0.1:$daemon [backend]=http://127.0.0.1:$backend
	[bhttp]=http://127.0.0.1:$http [bgit]=git://127.0.0.1:$git)
"$bole" init d.img --size 512M >/dev/null || die init

declare -A old=([sha1]=1 [sha256]=) # servers that are asked for version 1, too
declare -A pushed=([sha1]='daemon backend bhttp bgit' [sha256]='backend bgit')
# -- clone and fetch, from every server in every version --
for format in sha1 sha256; do
	src=src-$format
	history "$src" $format 40
	git clone -q --mirror "$src" "srv/$format.git"
	bo import "d.img#seed-$format" "$src" >/dev/null || die import
	git -C "$src" push -q --mirror "http://127.0.0.1:$http/$format.git" >/dev/null 2>push.log ||
		die "push to bole: $format"
	for peer in daemon backend bhttp bgit; do
		for version in 2 ${old[$format]} 0; do
			name=$format-$peer-$version
			url=${base[$peer]}/$format.git
			cmp -s <(git ls-remote "$url" 2>/dev/null) \
				<(bo ls-remote --protocol $version "$url" | grep -v '^ref:') ||
				die "ls-remote $name"
			bo clone --protocol $version "$url" "d.img#$name" >/dev/null || die "clone $name"
			stored "$src" "d.img#$name" "clone $name"
		done
	done
	# new commits on both sides of a merge, a tag, a branch that is gone
	git -C "$src" checkout -q topic
	for i in 1 2 3; do git -C "$src" commit -q --allow-empty -m "t$i"; done
	git -C "$src" checkout -q main
	git -C "$src" merge -q topic -m merge
	git -C "$src" tag -a v2 -m two
	git -C "$src" tag on-old HEAD~20
	git -C "$src" push -q --mirror "$dir/srv/$format.git"
	git -C "$src" push -q --mirror "http://127.0.0.1:$http/$format.git"
	for peer in daemon backend bhttp bgit; do
		for version in 2 ${old[$format]} 0; do
			name=$format-$peer-$version
			bo fetch --protocol $version "d.img#$name" "${base[$peer]}/$format.git" >fetch.out ||
				die "fetch $name"
			grep -q '^5 objects' fetch.out || { cat fetch.out; die "fetch $name brings too much"; }
			stored "$src" "d.img#$name" "fetch $name"
		done
	done
done

# -- server options; long requests are packed --
url=${base[daemon]}/sha1.git
bo ls-remote --server-option one=1 --server-option=two "$url" >/dev/null || die "server options: ls-remote"
bo clone --server-option three "$url" 'd.img#told' >/dev/null || die "server options: clone"
for word in 'server-option=one=1' 'server-option=two' 'server-option=three'; do
	grep -q "upload-pack< $word" packets || die "$word was not told"
done
refused 'takes no server options' "$bole" ls-remote --protocol 0 --server-option x "$url"
refused 'too long' "$bole" ls-remote --server-option "$(printf '%02000d' 1)" "$url"
git init -q many
git -C many fetch -q "$dir/src-sha1" 'refs/*:refs/*' --update-head-ok
tree=$(git -C many rev-parse 'main^{tree}')
for i in {1..40}; do git -C many branch "b$i" "$(git -C many commit-tree -m "b$i" -p main "$tree")"; done
git clone -q --mirror many srv/many.git
bo fetch --dry-run 'd.img#told' "${base[backend]}/many.git" >dry || die "dry run"
grep -q '^new .*b40' dry || die "dry run: $(<dry)"
rm -rf out && bo export 'd.img#told' out >/dev/null && ! git -C out rev-parse -q --verify b40 >/dev/null ||
	die "a dry run changed something"
bo fetch 'd.img#told' "${base[backend]}/many.git" >/dev/null || die "a long request"
stored many 'd.img#told' "a long request"
grep -q 'coded gzip' backend.log || die "the long request was not packed"

# -- mirror: goes back, prunes, follows HEAD --
src=src-sha1
url=${base[daemon]}/sha1.git
bo mirror "$url" 'd.img#m' >/dev/null || die "first mirror"
stored "$src" 'd.img#m' "first mirror"
git -C "$src" update-ref refs/pull/1/head HEAD~2
git -C "$src" branch -f topic HEAD~9
git -C "$src" tag -d light >/dev/null
git -C "$src" tag -f -a v1 -m again HEAD~4 >/dev/null
git -C "$src" branch next
git -C "$src" push -q --mirror "$dir/srv/sha1.git"
git -C srv/sha1.git symbolic-ref HEAD refs/heads/next
bo mirror "$url" 'd.img#m' >mirror.out || die "second mirror"
for words in 'forced *refs/heads/topic' 'deleted *refs/tags/light' 'forced *refs/tags/v1' \
	'new *refs/pull/1/head'; do
	grep -q "$words" mirror.out || { cat mirror.out >&2; die "mirror does not say: $words"; }
done
stored "$src" 'd.img#m' "second mirror"
[[ $(cat out/HEAD) == "ref: refs/heads/next" ]] || die "HEAD did not follow"
bo mirror "$url" 'd.img#m' | grep -q '^0 objects, 0 references' || die "a third mirror does something"

# -- in steps: what came stays when the server goes away in the middle --
bo clone "$url" 'd.img#steps' --batch 1 >steps.out || die "clone in steps"
bo clone "$url" 'd.img#whole' >whole.out || die "clone"
cmp -s <(cut -d, -f1-3 steps.out) <(cut -d, -f1-3 whole.out) ||
	die "steps bring something else: $(cat steps.out whole.out)"
rm -rf expect && git clone -q --mirror "$src" expect && git -C expect update-ref -d refs/pull/1/head
stored expect 'd.img#steps' "clone in steps"
python3 "$top/tests/support/few_connections.py" "$daemon" 3 >proxy.port &
pids+=($!)
for _ in {1..50}; do [[ -s proxy.port ]] && break; sleep 0.1; done
refused 'what came before is kept' "$bole" clone "git://127.0.0.1:$(cat proxy.port)/sha1.git" 'd.img#half' --batch 1
bo fetch 'd.img#half' "$url" --tags >half.out || die "going on"
(($(tail -n 1 half.out | cut -d' ' -f1) < $(cut -d' ' -f1 whole.out))) || die "nothing was kept"
stored expect 'd.img#half' "going on"

# -- fetch: refspecs, what is refused, tags, pruning --
name=d.img#sha1-daemon-2
refused 'refs/heads/topic: no fast-forward' "$bole" fetch "$name" "$url"
refused 'would replace a tag' "$bole" fetch "$name" "$url" --tags
refused 'none has moved' "$bole" fetch "$name" "$url" --atomic
bo fetch "$name" "$url" '+refs/heads/*:refs/heads/*' '^refs/heads/next' --no-tags --prune >fetch.out ||
	die "fetch by refspec"
! grep -q next fetch.out || die "a negative refspec does not hold"
bo fetch "$name" "$url" next:copy v1:refs/tags/other refs/pull/1/head:refs/x/y >/dev/null || die "fetch by names"
refused 'no reference nix' "$bole" fetch "$name" "$url" nix
refused 'is no refspec' "$bole" fetch "$name" "$url" 'a:b:c'
refused 'would become' "$bole" fetch "$name" "$url" main:x next:x
refused 'exists already' "$bole" clone "$url" "$name"
refused 'those of' "$bole" fetch 'd.img#sha256-daemon-2' "$url"

# -- a shallow server, an empty one, none --
git clone -q --bare --depth 3 "file://$dir/$src" srv/shallow.git
for version in 2 0; do
	bo clone --protocol $version "${base[daemon]}/shallow.git" "d.img#sh$version" >/dev/null 2>&1 ||
		die "shallow server"
	stored srv/shallow.git "d.img#sh$version" "shallow server"
done
git init -q --bare srv/empty.git
git -C srv/empty.git symbolic-ref HEAD refs/heads/trunk
bo clone "${base[backend]}/empty.git" 'd.img#empty' >/dev/null || die "clone of nothing"
refused 'no such repository' "$bole" ls-remote "${base[bhttp]}/nix.git"
refused 'not exported' "$bole" ls-remote "${base[daemon]}/nix.git"
refused 'not exported' "$bole" clone "${base[daemon]}/nix.git" 'd.img#nix'
[[ -z $(bo repo d.img | grep -x nix) ]] || die "a refused clone leaves a repository"

# -- HTTP: credentials, redirects, what is no Git server --
web=${base[backend]}
cred=${web/:\/\//:\/\/ada:s3cret@}
bo ls-remote "$cred/auth/sha1.git" >/dev/null || die "credentials of the URL"
echo 'ada:s3cret' >secret
bo clone "$web/auth/sha1.git" 'd.img#auth' --credentials secret >/dev/null || die "credentials of a file"
BOLE_CREDENTIALS='Bearer t0ken' bo ls-remote "$web/token/sha1.git" >/dev/null || die "a token"
refused 'wants credentials.*--credentials FILE' "$bole" ls-remote "$web/auth/sha1.git"
refused 'not these' "$bole" ls-remote "${web/:\/\//:\/\/eve:x1y2z3@}/auth/sha1.git"
! grep -q x1y2z3 refused.log || die "a password is shown"
bo clone "$web/moved/sha1.git" 'd.img#moved' >/dev/null || die "a redirect"
bo ls-remote "${cred/127.0.0.1/127.0.0.1}/far/sha1.git" >/dev/null || die "a redirect to another host"
! grep -q '^sha1.git Basic' backend.log || die "credentials went to another host"
refused 'leads away' "$bole" ls-remote "$web/away/sha1.git"
refused 'without end' "$bole" ls-remote "$web/loop/sha1.git"
refused 'no Git server' "$bole" ls-remote "$web/plain/sha1.git"
refused 'busy (429), retry after 17' "$bole" ls-remote "$web/busy/sha1.git"
for host in localhost 127.0.0.1; do
	bo clone "https://$host:$secure/sha1.git" "d.img#tls-$host" --cacert $ca >/dev/null || die "https $host"
done
SSL_CERT_FILE=$ca bo push 'd.img#tls-localhost' "https://localhost:$secure/sha1.git" main:over-tls >/dev/null ||
	die "push over https"
refused 'not trusted' "$bole" ls-remote "https://localhost:$secure/sha1.git" --cacert ${ca/ca.pem/good.pem}
refused 'not trusted.*Common Name' "$bole" ls-remote "https://localhost:$strange/sha1.git" --cacert $ca
refused 'not trusted.*expired' "$bole" ls-remote "https://localhost:$expired/sha1.git" --cacert $ca
refused 'no certificates' "$bole" ls-remote "https://localhost:$secure/sha1.git" --cacert config
refused 'TLS with localhost fails' "$bole" ls-remote "https://localhost:$backend/sha1.git" --cacert $ca
refused 'ssh is not' "$bole" ls-remote ssh://a@b/c

# -- push: into each server, both formats --
for format in sha1 sha256; do
	src=src-$format
	bo import "d.img#push-$format" "$src" >/dev/null || die "import"
	for peer in daemon backend bhttp bgit; do
		name=push-$format-$peer
		[[ $peer == b[hg]* ]] || git init -q --bare --object-format=$format "srv/$name.git"
	done
done
check_push() { # server, format, what: the server holds what the folder expect does
	local url=${base[$1]}/push-$2-$1.git
	rm -rf got
	git clone -q --mirror "$url" got || die "$3: clone of what was pushed"
	git -C got fsck --full --strict >fsck.log 2>&1 || { cat fsck.log >&2; die "$3: fsck"; }
	cmp -s <(refs expect) <(refs got) || { diff <(refs expect) <(refs got) >&2; die "$3: references"; }
	cmp -s <(objects expect) <(objects got) || die "$3: objects"
}
for format in sha1 sha256; do
	src=src-$format
	repo=d.img#push-$format
	for peer in ${pushed[$format]}; do
		url=${base[$peer]}/push-$format-$peer.git
		what="push $peer $format"
		rm -rf expect
		git init -q --bare --object-format=$format expect
		# a part, then the rest; --all and tags
		bo push "$repo" "$url" 'main~0:refs/heads/x' >/dev/null 2>&1 && die "$what: a name that is none"
		old=$(git -C "$src" rev-parse main~10)
		bo push "$repo" "$url" "$old:refs/heads/main" >/dev/null || die "$what: an id"
		git -C "$src" push -q "$dir/expect" "$old:refs/heads/main"
		check_push "$peer" "$format" "$what: first"
		bo push "$repo" "$url" >push.out || die "$what: HEAD"
		grep -q '^forward *refs/heads/main' push.out || { cat push.out; die "$what: HEAD goes elsewhere"; }
		bo push "$repo" "$url" --all --tags >/dev/null || die "$what: --all --tags"
		git -C "$src" push -q "$dir/expect" --all && git -C "$src" push -q "$dir/expect" --tags
		check_push "$peer" "$format" "$what: all"
		bo push "$repo" "$url" --all | grep -q '^0 objects, 0 references' || die "$what: again"
		# rewinds, leases, deletions, atomicity
		back=$(git -C "$src" rev-parse main~5) now=$(git -C "$src" rev-parse main)
		refused 'no fast-forward' "$bole" push "$repo" "$url" "$back:main"
		refused 'than expected' "$bole" push "$repo" "$url" "$back:main" --force-with-lease "main:$old"
		bo push "$repo" "$url" "$back:main" --force-with-lease="main:$now" >/dev/null || die "$what: lease"
		git -C expect update-ref refs/heads/main "$back"
		refused 'none was pushed' "$bole" push "$repo" "$url" --atomic "$old:main" 'main:refs/heads/y'
		bo push "$repo" "$url" "+$old:main" 'v1:refs/tags/more' --atomic >/dev/null || die "$what: atomic"
		git -C expect update-ref refs/heads/main "$old"
		git -C expect update-ref refs/tags/more "$(git -C "$src" rev-parse v1)"
		bo push "$repo" "$url" --delete topic more >/dev/null || die "$what: delete"
		git -C expect update-ref -d refs/heads/topic
		git -C expect update-ref -d refs/tags/more
		check_push "$peer" "$format" "$what: moved"
		refused 'no such reference' "$bole" push "$repo" "$url" :nix
		# a mirror
		bo push "$repo" "$url" --mirror --push-option ci.skip >/dev/null || die "$what: mirror"
		git -C "$src" push -q --mirror "$dir/expect"
		rm -rf out
		bo export "$repo" out >/dev/null && rm -rf expect && mv out expect
		check_push "$peer" "$format" "$what: mirror"
	done
done

# -- the server has the last word --
git init -q --bare srv/hooked.git
cat >srv/hooked.git/hooks/update <<'EOF'
#!/bin/sh
echo "looked at it" >&2
case $1 in *bad) printf 'no such \342\206\222 a\302\2331mthing\n' >&2 && exit 1 ;; esac
EOF
chmod +x srv/hooked.git/hooks/update
url=${base[daemon]}/hooked.git
refused 'refs/heads/bad.*: hook declined' "$bole" push 'd.img#push-sha1' "$url" main main:bad
# What is no ASCII is shown, but for what commands terminals.
grep -q 'remote: no such → a?1mthing' refused.log || die "the hook is not heard: $(cat refused.log)"
bo ls-remote "$url" | grep -q 'refs/heads/main$' || die "the other reference did not move"
refused '40[034])\|answers 400' "$bole" push 'd.img#push-sha1' "http://127.0.0.1:$http/../x.git"
refused 'those of' "$bole" push 'd.img#push-sha256' "$url"
git init -q --bare srv/noatomic.git
git -C srv/noatomic.git config receive.advertiseAtomic false
refused 'all at once' "$bole" push 'd.img#push-sha1' "${base[daemon]}/noatomic.git" --atomic
# more than a buffer goes in chunks
head -c 3000000 /dev/urandom >$src/large && git -C src-sha1 checkout -q main && cp $src/large src-sha1/ &&
	git -C src-sha1 add -A && git -C src-sha1 commit -qm large
bo import 'd.img#large' src-sha1 --all >/dev/null || die "import"
for peer in backend bhttp daemon; do
	bo push 'd.img#large' "${base[$peer]}/push-sha1-$peer.git" --mirror >/dev/null || die "large push $peer"
	rm -rf expect && git clone -q --mirror src-sha1 expect && check_push $peer sha1 "large push $peer"
done
stop
echo "client: ok"
