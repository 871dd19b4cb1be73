/* SPDX-License-Identifier: ISC */
#include "support/gitfiles.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"

static void fail(const char *what)
{
	fprintf(stderr, "gitfiles: %s\n", what);
	abort();
}

void gitfiles_open(struct gitfiles *f, uint8_t algo)
{
	memset(f, 0, sizeof *f);
	snprintf(f->folder, sizeof f->folder, "/tmp/bole-gitfiles-XXXXXX");
	if (mkdtemp(f->folder) == NULL)
		fail("no folder");
	f->algo = algo;
	test_platform_init(&f->test, 1);
	f->test.quiet = true;
}

void gitfiles_close(struct gitfiles *f)
{
	char command[128];

	snprintf(command, sizeof command, "rm -rf %s", f->folder);
	if (system(command) != 0)
		fail(command);
	test_platform_release(&f->test);
}

int gitfiles_try(struct gitfiles *f, const char *script)
{
	size_t cap = strlen(script) + 1024;
	char *command = malloc(cap);

	snprintf(command, cap,
	         "set -e; cd %s; export GIT_CONFIG_NOSYSTEM=1 HOME=%s GIT_AUTHOR_NAME=a "
	         "GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b "
	         "GIT_DEFAULT_HASH=%s\n%s",
	         f->folder, f->folder, bole_hash_name(f->algo), script);
	int code = system(command);
	free(command);
	return code;
}

void gitfiles_sh(struct gitfiles *f, const char *script)
{
	if (gitfiles_try(f, script) != 0)
		fail(script);
}

struct bole_bytes gitfiles_read(struct gitfiles *f, const char *pattern)
{
	char path[512];
	glob_t found;

	snprintf(path, sizeof path, "%s/%s", f->folder, pattern);
	if (glob(path, 0, NULL, &found) != 0)
		fail(path);
	FILE *in = fopen(found.gl_pathv[0], "rb");
	if (in == NULL || fseek(in, 0, SEEK_END) != 0)
		fail(path);
	size_t len = (size_t)ftell(in);
	rewind(in);
	/* Exactly as long: a read behind the end is caught. */
	uint8_t *bytes = malloc(len == 0 ? 1 : len);
	if (fread(bytes, 1, len, in) != len)
		fail(path);
	fclose(in);
	globfree(&found);
	return bole_bytes_of(bytes, len);
}

void gitfiles_write(struct gitfiles *f, const char *name, struct bole_bytes bytes)
{
	char path[512];

	snprintf(path, sizeof path, "%s/%s", f->folder, name);
	unlink(path); /* git's own are read-only */
	FILE *out = fopen(path, "wb");
	if (out == NULL || fwrite(bytes.ptr, 1, bytes.len, out) != bytes.len || fclose(out) != 0)
		fail(path);
}

char *gitfiles_line(struct bole_bytes *rest)
{
	char *line = (char *)(uintptr_t)rest->ptr;
	char *end = rest->len == 0 ? NULL : memchr(line, '\n', rest->len);

	if (end == NULL)
		return NULL;
	*end = '\0';
	rest->len -= (size_t)(end + 1 - line);
	rest->ptr = (const uint8_t *)end + 1;
	return line;
}

void gitfiles_history(struct gitfiles *f, unsigned commits)
{
	char script[2048];

	snprintf(
	        script, sizeof script,
	        "git init -q -b main w; cd w\n"
	        "for i in $(seq %u); do\n"
	        "  [ $((i %% 10)) = 0 ] && [ $i -gt 20 ] && more=\"merge refs/heads/b$((i / 10 - "
	        "1))\" || more=\n"
	        "  [ $((i %% 30)) = 0 ] && more=\"$more\nmerge refs/heads/b$((i / 10 - 2))\"\n"
	        "  t=$((1700000000 + i * 100 - i %% 7 * 1000)); [ $i = 5 ] && t=6000000000\n"
	        "  printf 'commit refs/heads/main\\ncommitter a <a@b> %%d +0000\\ndata 1\\n%%s\\n' "
	        "$t $((i %% 10))\n"
	        "  [ -n \"$more\" ] && printf '%%s\\n' \"$more\"\n"
	        "  seq $i $((i + 300)) >../text\n"
	        "  printf 'M 100644 inline d%%d/f%%d\\ndata %%d\\n' $((i %% 3)) $((i %% 7)) $(wc "
	        "-c <../text)\n"
	        "  cat ../text; echo\n"
	        "  [ $((i %% 10)) = 9 ] && printf 'commit refs/heads/b%%d\\ncommitter a <a@b> %%d "
	        "+0000\\ndata 4\\nside\\nfrom refs/heads/main\\nM 100644 inline "
	        "side%%d\\ndata 2\\ns\\n' $((i / 10)) $t $i\n"
	        "done | git fast-import --quiet\n"
	        "git tag -a -m x v1 main~3; git tag light main~1; git tag -a -m t tree "
	        "'main^{tree}'; git reset -q --hard",
	        commits);
	gitfiles_sh(f, script);
}
