#!/bin/bash
# SPDX-License-Identifier: ISC
# Goal: what `make install` puts down is enough for a program of somebody else. Method: install into
# an empty folder, build a C and a C++ program with pkg-config against the shared and the static
# library, run them, uninstall, and find nothing left.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
export PKG_CONFIG_PATH=$dir/root/lib/pkgconfig

die() {
	echo "install: $*" >&2
	exit 1
}

{
	for h in include/bole/*.h; do echo "#include <bole/${h##*/}>"; done
	cat <<-'END'
		#include <stdio.h>
		int main(void)
		{
			struct bole_platform *platform = NULL;
			struct bole_store *store = NULL;
			enum bole_status rc = bole_posix_open(NULL, &platform);
			if (rc == BOLE_OK)
				rc = bole_memory_store_open(platform, platform->alloc, &store);
			if (rc == BOLE_OK)
				rc = bole_store_close(store);
			bole_posix_close(platform);
			puts(bole_status_text(rc));
			return rc != BOLE_OK;
		}
	END
} >"$dir/main.c"
cp "$dir/main.c" "$dir/main.cc"

make -s install PREFIX="$dir/root" >/dev/null || die "make install failed"
"$dir/root/bin/bole" help >/dev/null || die "the installed command does not run"
cflags=$(pkg-config --cflags bole) libs=$(pkg-config --libs bole) || die "bole.pc is not found"
static=$(pkg-config --static --libs bole)
# shellcheck disable=SC2086
{
	gcc -std=c11 -Wall -Wextra -Werror $cflags "$dir/main.c" $libs -o "$dir/shared" || die "C, shared"
	g++ -std=c++17 -Wall -Wextra -Werror $cflags "$dir/main.cc" $libs -o "$dir/cxx" || die "C++, shared"
	gcc -std=c11 $cflags "$dir/main.c" ${static/-lbole/-l:libbole.a} -o "$dir/static" || die "C, static"
}
for program in shared cxx static; do
	LD_LIBRARY_PATH=$dir/root/lib "$dir/$program" >"$dir/out" || die "$program: $(cat "$dir/out")"
done
ldd "$dir/static" | grep -q libbole && die "the static program wants the shared library"
make -s uninstall PREFIX="$dir/root" >/dev/null || die "make uninstall failed"
left=$(find "$dir/root" ! -type d)
[[ -z $left ]] || die "left behind: $left"
echo "install: shared, C++ and static programs ran"
