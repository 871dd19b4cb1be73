#!/bin/bash
# SPDX-License-Identifier: ISC
# Goal: what stock git can do in a push works against `bole serve` and `bole receive-pack`, and what
# the configuration forbids is refused by name: users and rules over HTTP, rates, browsers, signed
# and atomic pushes, options, shallow clones, broken objects, limits.
# Also: sha256 image
set -uo pipefail
. "$(dirname "$0")/../support/service.sh"
suite

token() { # name secret
	echo "auth.token=$1:sha256:s1:$(printf 's1:%s' "$2" | sha256sum | cut -d' ' -f1)"
}
start receive.enable=true receive.create=true receive.certNonceSeed='some secret' receive.certNonceSlop=100 \
	"$(token alice wonder)" "$(token bob builder)" "$(token carol chorus)" \
	'access.rule=allow all alice secret' 'access.rule=deny all * secret' 'access.rule=deny init carol **' \
	'access.rule=deny force,delete bob ** refs/heads/main' 'access.rule=deny write carol main' \
	'access.rule=deny update * main refs/tags/**' \
	limit.failedAuth=20 http.allowOrigin=https://app.example \
	repo.small.receive.maxInputSize=20000 repo.short.receive.maxObjectSize=5000 \
	repo.tight.receive.fsck.zeroPaddedFilemode=error repo.lax.receive.fsck.hasDotgit=warn
as() { echo "http://${1:+$1@}127.0.0.1:$http/$2.git"; }
alice=alice:wonder bob=bob:builder carol=carol:chorus

git init -q work
for i in 1 2 3 4 5; do
	echo $i >work/f
	git -C work add f
	git -C work commit -qm $i
done
cd work || exit 1

# -- users and rules --
refused 'could not read Username\|Authentication failed\|terminal prompts' git push -q "$(as '' main)" main
refused 'Authentication failed' git push -q "$(as alice:nothing main)" main
refused 'which only HTTP can take' git push -q "git://127.0.0.1:$git/main" main
refused 'not found\|no such' git push -q "$(as $carol fresh)" main
passes git push -q "$(as $alice main)" main main:side main:old
passes git push -q "$(as $alice secret)" main
passes git ls-remote "$(as '' main)"
passes git ls-remote "$(as $alice secret)"
refused 'not found' git ls-remote "$(as $bob secret)"
refused 'not found' git ls-remote "$(as $bob nothing)"
refused 'could not read Username\|terminal prompts' git ls-remote "$(as '' secret)"
refused 'which only HTTP' git ls-remote "git://127.0.0.1:$git/secret"
refused '403' git push -q "$(as $carol main)" main:x
passes git push -q "$(as $bob main)" main~1:refs/heads/side --force
refused 'non-fast-forward' git push -q "$(as $bob main)" main~1:refs/heads/main --force
refused 'deletion prohibited' git push -q "$(as $bob main)" :main
passes git push -q "$(as $bob main)" :old
passes git push -q "$(as $bob main)" main:refs/tags/t
refused 'protected reference' git push -q "$(as $alice main)" main~1:refs/tags/t --force

# -- what leaks nothing: the same answer for what is hidden and what is not there --
asked() { # repository options...: status and text of an advertisement
	local repo=$1
	shift
	curl -s -w '%{http_code}' "$@" "$(as '' "$repo")/info/refs?service=git-upload-pack" | sed "s|$repo|X|"
}
[[ $(asked secret -u $bob) == "$(asked absent/x -u $bob)" ]] || die "hidden: $(asked secret -u $bob)"
[[ $(asked secret -u $bob) == *404 && $(asked secret) == *401 ]] || die "hidden: $(asked secret)"

curl -s "http://127.0.0.1:$http/" | grep -q 'main.git' || die "the page lists no repositories"
curl -s "http://127.0.0.1:$http/" | grep -q secret && die "the page lists what is hidden"

# -- browsers --
curl -s -D h -o /dev/null -X OPTIONS -H 'Origin: https://app.example' -H 'Access-Control-Request-Method: POST' \
	"$(as '' main)/git-upload-pack"
grep -q '^HTTP/1.1 200' h && grep -qi '^access-control-allow-headers:.*git-protocol' h || die "preflight: $(cat h)"
curl -s -D h -o /dev/null -H 'Origin: https://app.example' "$(as '' main)/info/refs?service=git-upload-pack"
grep -qi '^access-control-allow-origin: https://app.example' h || die "no CORS: $(cat h)"
curl -s -D h -o /dev/null -H 'Origin: https://evil.example' "$(as '' main)/info/refs?service=git-upload-pack"
grep -qi '^access-control' h && die "CORS for strangers"

# -- options, atomic, signed --
passes git -c push.pushOption=ci.skip push -q -o a=b "$(as $alice main)" main:options
git branch -f ahead main~2
refused 'atomic' git push -q --atomic "$(as $alice main)" main:refs/heads/fresh ahead:refs/heads/options
git ls-remote "$(as '' main)" | grep -q fresh && die "an atomic push changed something"
passes git push -q --atomic "$(as $alice main)" main:fresh main:fresh2
cat >../gpg <<'END'
#!/bin/sh
cat >/dev/null
echo '[GNUPG:] SIG_CREATED ' >&2
printf '%s\n' '-----BEGIN PGP SIGNATURE-----' '' 'none' '-----END PGP SIGNATURE-----'
END
chmod +x ../gpg
u=$(as $alice main)
passes git -c gpg.program="$dir/gpg" -c user.signingkey=k push -q --signed=true -o x "$u" main:signed
grep -q 'push signed by .*nonce ok' "$dir/server.log" || die "no certificate in the log"

# -- shallow clones --
passes git clone -q --depth 2 "file://$dir/work" ../deep
(cd ../deep && echo x >g && git add g && git commit -qm shallow) || exit 1
refused 'shallow update not allowed' git -C ../deep push -q "$(as $alice unrelated)" main
passes git -C ../deep push -q "$(as $alice main)" main:from-shallow

# -- broken objects --
blob=$(git hash-object -w f)
bad() { # mode name: a branch whose tree has such an entry
	local tree commit
	tree=$(printf '%s %s\0%b' "$1" "$2" "$(sed 's/../\\x&/g' <<<"$blob")" |
		git hash-object --literally -t tree -w --stdin)
	commit=$(git commit-tree -m bad "$tree")
	git branch -f bad "$commit"
}
for name in .git .GIT 'git~1' '.git ' '.git.' '.git::$INDEX_ALLOCATION' $'.g\xe2\x80\x8cit' '..' '.'; do
	bad 100644 "$name"
	refused "hasDot" git push -q "$(as $alice main)" bad
done
bad 120000 .gitmodules
refused gitmodulesSymlink git push -q "$(as $alice main)" bad
bad 0100644 padded
refused zeroPaddedFilemode git push -q "$(as $alice tight)" bad
passes git push "$(as $alice lax)" bad
bad 100644 .git
passes git push "$(as $alice lax)" bad:worse
grep -q 'remote: warning: object .*hasDotgit' passes.log || die "no warning: $(cat passes.log)"
for text in '[submodule "../x"]' '[submodule "x"]\n\turl = -u' '[submodule "x"]\n\tupdate = !sh\n\turl = a'; do
	blob=$(printf "$text\n\tpath = a\n" | git hash-object -w --stdin)
	bad 100644 .gitmodules
	refused 'gitmodules\(Name\|Url\|Update\)' git push -q "$(as $alice main)" bad
done

# -- limits --
head -c 40000 /dev/urandom >big
git add big && git commit -qm big
refused 'longer than 20000' git push -q "$(as $alice small)" main
refused 'exceeds the limit of 5000' git push -q "$(as $alice short)" main
passes git push -q "$(as $alice main)" main

# -- rates --
for _ in {1..20}; do
	code=$(curl -s -o body -D h -w '%{http_code}' -u alice:guess \
		"$(as '' main)/info/refs?service=git-upload-pack")
	[[ $code == 429 ]] && break
done
[[ $code == 429 ]] && grep -qi '^retry-after: [1-9]' h || die "guesses are not slowed: $code"
git ls-remote "$(as '' main)" >/dev/null || die "others are slowed"

cd "$dir" || exit 1
stop

# -- on stdin and stdout --
passes "$bole" init vol.img --size 64m
passes "$bole" repo vol.img#a create "${create[@]}"
if limit git -C work push -q --receive-pack="$bole receive-pack" --atomic -o x "$dir/vol.img#a" \
	main main:b 2>pipe.log; then
	passes git -c protocol.ext.allow=always clone -q "ext::$bole upload-pack $dir/vol.img#a" back
	cmp -s <(git -C work rev-parse main) <(git -C back rev-parse main) || die "stdin: another commit"
else
	cat pipe.log
	die "push on stdin and stdout"
fi
echo "push: all right"
