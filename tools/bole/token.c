/* SPDX-License-Identifier: ISC */
/* bole token: the tokens of users, in a file of settings. Only their hashes are kept there; a token
 * is shown when it is made, and never again. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bole/config.h"
#include "bole/node.h"
#include "cli.h"

static const char help[] =
        "usage: bole token create NAME [--config FILE]   make a token and show it\n"
        "       bole token list --config FILE            names and ids, without secrets\n"
        "       bole token revoke NAME[/ID] --config FILE\n\n"
        "Without a file, create shows the setting to give to `bole serve --set` or to an\n"
        "image. A server reads its settings when it starts.\n";

enum { TEXT_MAX = 1 << 20, WORD_MAX = 512 };

/* -- the file -- */

/* *text is malloc'ed, with a NUL; "" where there is no file and there need not be one. */
static int read_text(const char *path, bool must, char **text)
{
	FILE *file = fopen(path, "rb");
	uint8_t *bytes = NULL;
	size_t len = 0;

	if (file == NULL && errno == ENOENT && !must) {
		*text = strdup("");
		return *text == NULL ? BOLE_EXIT_FAILED : BOLE_EXIT_OK;
	}
	if (file == NULL || !bole_cli_read_all(file, &bytes, &len) || len > TEXT_MAX ||
	    memchr(bytes, 0, len) != NULL) {
		bole_cli_say("cannot read %s: %s", path,
		             file == NULL ? strerror(errno) : "not a file of settings");
		if (file != NULL)
			fclose(file);
		free(bytes);
		return file == NULL && errno == ENOENT ? BOLE_EXIT_NOT_FOUND : BOLE_EXIT_FAILED;
	}
	fclose(file);
	*text = malloc(len + 1);
	if (*text != NULL) {
		memcpy(*text, bytes, len);
		(*text)[len] = '\0';
	}
	free(bytes);
	return *text == NULL ? BOLE_EXIT_FAILED : BOLE_EXIT_OK;
}

/* The whole file or nothing, with the rights that it had; a new one is its owner's only. */
static int write_text(const char *path, const char *text)
{
	char other[4096];
	struct stat st;
	mode_t mode = stat(path, &st) == 0 ? st.st_mode & 07777 : 0600;
	size_t len = strlen(text);

	int n = snprintf(other, sizeof other, "%s.new", path);
	FILE *file = n < 0 || (size_t)n >= sizeof other ? NULL : fopen(other, "wbx");
	bool done = file != NULL && fchmod(fileno(file), mode) == 0 &&
	            fwrite(text, 1, len, file) == len && fflush(file) == 0 &&
	            fsync(fileno(file)) == 0;
	int why = errno;
	if (file != NULL && fclose(file) != 0 && done) {
		done = false;
		why = errno;
	}
	if (done && rename(other, path) != 0) {
		done = false;
		why = errno;
	}
	if (done)
		return BOLE_EXIT_OK;
	if (file != NULL)
		unlink(other);
	bole_cli_say("cannot write %s: %s%s", path, strerror(why),
	             file == NULL && why == EEXIST ? " (FILE.new is left from another one)" : "");
	return BOLE_EXIT_FAILED;
}

/* NULL: it is no configuration; said why. */
static struct bole_config *parse(struct bole_cli *cli, const char *path, const char *text)
{
	struct bole_config *config = NULL;
	unsigned line = 0;

	if (bole_config_open(cli->platform->alloc, &config) != BOLE_OK)
		return NULL;
	if (bole_config_parse(config, bole_cli_bytes(text), &line) == BOLE_OK)
		return config;
	bole_cli_say("%s, line %u: not git-config syntax", path, line);
	bole_config_close(config);
	return NULL;
}

/* "name:sha256:id:hash": its name and id. */
static bool split(const char *value, char name[WORD_MAX], char id[WORD_MAX])
{
	const char *end = strchr(value, ':');
	const char *from = end == NULL ? NULL : strchr(end + 1, ':');
	const char *to = from == NULL ? NULL : strchr(from + 1, ':');

	if (to == NULL || end - value >= WORD_MAX || to - from > WORD_MAX)
		return false;
	snprintf(name, WORD_MAX, "%.*s", (int)(end - value), value);
	snprintf(id, WORD_MAX, "%.*s", (int)(to - from - 1), from + 1);
	return true;
}

/* -- create, list -- */

static int append(struct bole_cli *cli, const char *path, const char *setting)
{
	char *text = NULL;
	int code = read_text(path, false, &text);

	if (code != BOLE_EXIT_OK)
		return code;
	size_t len = strlen(text);
	size_t cap = len + strlen(setting) + 32;
	char *grown = malloc(cap);
	code = BOLE_EXIT_FAILED;
	if (grown != NULL) {
		snprintf(grown, cap, "%s%s[auth]\n\ttoken = %s\n", text,
		         len == 0 || text[len - 1] == '\n' ? "" : "\n", setting);
		struct bole_config *config = parse(cli, path, grown);
		if (config != NULL)
			code = write_text(path, grown);
		bole_config_close(config);
	}
	free(grown);
	free(text);
	return code;
}

static int create(struct bole_cli *cli, const char *name, const char *path)
{
	struct bole_node_token token;

	if (bole_node_token_make(cli->platform, name, &token) != BOLE_OK) {
		bole_cli_say("nobody can be called '%s': up to 63 letters, digits and "
		             "marks without blanks, commas, colons and stars",
		             name);
		return BOLE_EXIT_USAGE;
	}
	int code = path == NULL ? BOLE_EXIT_OK : append(cli, path, token.setting);
	if (code != BOLE_EXIT_OK)
		return code;
	if (cli->json) {
		printf("{\"name\":");
		bole_cli_json(stdout, bole_cli_bytes(name));
		printf(",\"id\":\"%s\",\"token\":\"%s\",\"setting\":\"auth.token=", token.id,
		       token.token);
		/* Without its quotes: a name has none either. */
		printf("%s\"}\n", token.setting);
	} else {
		puts(token.token);
		if (path == NULL)
			printf("auth.token=%s\n", token.setting);
		fflush(stdout);
		bole_cli_say(
		        "this token is not shown again; a server admits it from its next start on");
	}
	return BOLE_EXIT_OK;
}

static int list(struct bole_cli *cli, const char *path)
{
	struct bole_config *config;
	char name[WORD_MAX];
	char id[WORD_MAX];
	char *text = NULL;
	const char *value;
	bool any = false;

	int code = read_text(path, true, &text);
	if (code != BOLE_EXIT_OK)
		return code;
	config = parse(cli, path, text);
	free(text);
	if (config == NULL)
		return BOLE_EXIT_USAGE;
	if (cli->json)
		putchar('[');
	for (size_t at = 0; (value = bole_config_next_value(config, "auth.token", &at)) != NULL;) {
		if (!split(value, name, id))
			continue;
		if (cli->json) {
			printf("%s{\"name\":", any ? "," : "");
			bole_cli_json(stdout, bole_cli_bytes(name));
			printf(",\"id\":");
			bole_cli_json(stdout, bole_cli_bytes(id));
			putchar('}');
		} else {
			printf("%s/%s\n", name, id);
		}
		any = true;
	}
	if (cli->json)
		puts("]");
	bole_config_close(config);
	return BOLE_EXIT_OK;
}

/* -- revoke -- */

static bool fits(const char *value, const char *name, const char *id)
{
	char its_name[WORD_MAX];
	char its_id[WORD_MAX];

	return split(value, its_name, its_id) && strcmp(its_name, name) == 0 &&
	       (id == NULL || strcmp(its_id, id) == 0);
}

/* Is it "token = name:…" of this token? line has no newline. */
static bool is_token_line(const char *line, const char *name, const char *id)
{
	char value[WORD_MAX * 2];

	line += strspn(line, " \t");
	if (strncasecmp(line, "token", 5) != 0)
		return false;
	line += 5;
	line += strspn(line, " \t");
	if (*line++ != '=')
		return false;
	line += strspn(line, " \t\"");
	size_t len = strcspn(line, " \t\r\";#");
	if (len >= sizeof value)
		return false;
	memcpy(value, line, len);
	value[len] = '\0';
	return fits(value, name, id);
}

/* Takes the lines of these tokens out of text, in place. Returns how many. */
static size_t take_lines(char *text, const char *name, const char *id)
{
	bool in_auth = false;
	bool continued = false;
	size_t count = 0;
	char *to = text;

	for (char *at = text; *at != '\0';) {
		char *end = strchr(at, '\n');
		size_t len = end == NULL ? strlen(at) : (size_t)(end - at);
		char saved = at[len];
		at[len] = '\0';
		const char *start = at + strspn(at, " \t");
		if (!continued && *start == '[')
			in_auth = strncasecmp(start, "[auth]", 6) == 0;
		bool drop = in_auth && !continued && is_token_line(at, name, id);
		continued = len > 0 && at[len - 1] == '\\';
		at[len] = saved;
		size_t whole = len + (saved == '\n');
		if (drop)
			count++;
		else
			memmove(to, at, whole);
		to += drop ? 0 : whole;
		at += whole;
	}
	*to = '\0';
	return count;
}

static size_t count_entries(const struct bole_config *config, const char *name, const char *id,
                            size_t *matching)
{
	const char *key;
	const char *value;
	size_t cursor = 0;
	size_t count = 0;

	*matching = 0;
	while (bole_config_next(config, &cursor, &key, &value)) {
		count++;
		*matching += strcmp(key, "auth.token") == 0 && fits(value, name, id);
	}
	return count;
}

/* Lines are cut out of a text that people edit: what is left must mean what it meant. */
static int cut_out(struct bole_cli *cli, const char *path, char *text, const char *name,
                   const char *id)
{
	struct bole_config *before = parse(cli, path, text);
	size_t matching = 0;
	size_t left = 0;

	if (before == NULL)
		return BOLE_EXIT_USAGE;
	size_t all = count_entries(before, name, id, &matching);
	bole_config_close(before);
	if (matching == 0) {
		bole_cli_say("%s has no such token of %s; try: bole token list", path, name);
		return BOLE_EXIT_NOT_FOUND;
	}
	size_t taken = take_lines(text, name, id);
	struct bole_config *after = parse(cli, path, text);
	bool right = after != NULL && taken == matching &&
	             count_entries(after, name, id, &left) == all - matching && left == 0;
	bole_config_close(after);
	if (!right) {
		bole_cli_say("%s is written in a way that this cannot change; remove the "
		             "token by hand",
		             path);
		return BOLE_EXIT_FAILED;
	}
	int code = write_text(path, text);
	if (code == BOLE_EXIT_OK)
		bole_cli_say("%zu %s removed; a server forgets %s at its next start", matching,
		             matching == 1 ? "token" : "tokens", matching == 1 ? "it" : "them");
	return code;
}

static int withdraw(struct bole_cli *cli, const char *which, const char *path)
{
	char name[WORD_MAX];
	char *text = NULL;

	snprintf(name, sizeof name, "%s", which);
	char *id = strrchr(name, '/');
	if (id != NULL)
		*id++ = '\0';
	int code = read_text(path, true, &text);
	if (code == BOLE_EXIT_OK)
		code = cut_out(cli, path, text, name, id);
	free(text);
	return code;
}

static int run(struct bole_cli *cli, int argc, char **argv)
{
	const char *path = NULL;
	const struct bole_cli_option options[] = {{"--config", NULL, &path}};
	struct bole_cli_args args;

	int code = bole_cli_args(argc, argv, help, options, 1, 1, 2, &args);
	if (code != BOLE_EXIT_OK)
		return code == BOLE_CLI_HELP_SHOWN ? BOLE_EXIT_OK : code;
	if (args.count == 2 && strcmp(args.at[0], "create") == 0)
		return create(cli, args.at[1], path);
	if (args.count == 1 && strcmp(args.at[0], "list") == 0 && path != NULL)
		return list(cli, path);
	if (args.count == 2 && strcmp(args.at[0], "revoke") == 0 && path != NULL)
		return withdraw(cli, args.at[1], path);
	return bole_cli_usage("token",
	                      "create takes a name, revoke one and --config, list --config");
}

const struct bole_command bole_command_token = {
        .name = "token",
        .summary = "token create|list|revoke [NAME] [--config FILE]  who may push",
        .run = run,
};
