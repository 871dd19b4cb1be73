/* SPDX-License-Identifier: ISC */
#include "client.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* -- What is shown meanwhile -- */

static void show_progress(void *ctx, const char *phase, uint64_t done, uint64_t total)
{
	struct bole_cli_client *c = ctx;

	if (c->line_open)
		return;
	bole_cli_progress_show(&c->progress, phase, done, total);
}

/* Bytes of the server that could move a cursor or start a new line are not let through. */
static void show_text(void *ctx, struct bole_bytes text)
{
	struct bole_cli_client *c = ctx;

	bole_cli_progress_end(&c->progress);
	while (text.len > 0) {
		size_t len = 0;

		while (len < text.len && text.ptr[len] != '\n' && text.ptr[len] != '\r')
			len++;
		if (len > 0 && !c->line_open)
			fputs("remote: ", stderr);
		c->line_open |= len > 0;
		bole_cli_plain(stderr, (struct bole_bytes){text.ptr, len});
		if (len < text.len && c->line_open) {
			bool line = text.ptr[len] == '\n' || !c->progress.on;

			fputs(line ? "\n" : "\033[K\r", stderr);
			c->line_open = false;
		}
		len += len < text.len;
		text = (struct bole_bytes){text.ptr + len, text.len - len};
	}
	fflush(stderr);
}

static void show_warning(void *ctx, const char *line)
{
	struct bole_cli_client *c = ctx;

	bole_cli_progress_end(&c->progress);
	bole_cli_say("%s", line);
}

/* -- Settings -- */

static int read_secret(const char *path, char *dst, size_t cap)
{
	FILE *file = fopen(path, "rb");
	size_t len = file == NULL ? 0 : fread(dst, 1, cap - 1, file);

	if (file != NULL)
		fclose(file);
	dst[len] = '\0';
	dst[strcspn(dst, "\r\n")] = '\0';
	if (dst[0] != '\0')
		return BOLE_EXIT_OK;
	bole_cli_say("%s: no credentials could be read", path);
	return BOLE_EXIT_USAGE;
}

static int take_settings(struct bole_cli_client *c, const struct bole_cli_client_settings *s)
{
	const char *secret = getenv("BOLE_CREDENTIALS");

	if (s->credentials != NULL) {
		int code = read_secret(s->credentials, c->secret, sizeof c->secret);
		if (code != BOLE_EXIT_OK)
			return code;
		c->options.credentials = c->secret;
	} else if (secret != NULL && secret[0] != '\0') {
		c->options.credentials = secret;
	}
	for (const char *p = c->options.credentials; p != NULL && *p != '\0'; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f) {
			bole_cli_say("the credentials hold control characters");
			return BOLE_EXIT_USAGE;
		}
	if (s->protocol == NULL)
		return BOLE_EXIT_OK;
	if (strlen(s->protocol) != 1 || s->protocol[0] < '0' || s->protocol[0] > '2') {
		bole_cli_say("--protocol is 0, 1 or 2");
		return BOLE_EXIT_USAGE;
	}
	c->options.protocol = s->protocol[0] == '0'   ? BOLE_PROTOCOL_V0
	                      : s->protocol[0] == '1' ? BOLE_PROTOCOL_V1
	                                              : BOLE_PROTOCOL_V2;
	return BOLE_EXIT_OK;
}

/* In small letters before capitals, as curl looks; HTTP_PROXY is what a web server would set. */
static const char *environment(const char *small, const char *large)
{
	const char *value = getenv(small);

	return value == NULL && large != NULL ? getenv(large) : value;
}

static void take_proxies(struct bole_client_options *options, const char *given)
{
	const char *all = environment("all_proxy", "ALL_PROXY");

	options->http_proxy = environment("http_proxy", NULL);
	options->https_proxy = environment("https_proxy", "HTTPS_PROXY");
	if (options->http_proxy == NULL)
		options->http_proxy = all;
	if (options->https_proxy == NULL)
		options->https_proxy = all;
	options->no_proxy = environment("no_proxy", "NO_PROXY");
	if (given == NULL)
		return;
	options->http_proxy = options->https_proxy = given;
}

int bole_cli_client_open(struct bole_cli *cli, const char *url,
                         const struct bole_cli_client_settings *settings, bool push,
                         struct bole_cli_client *out)
{
	char why[BOLE_CLI_VALUES_MAX * 4];

	*out = (struct bole_cli_client){.cli = cli};
	bole_cli_progress_init(&out->progress, cli->platform);
	out->progress.on = out->progress.on && !settings->quiet;
	out->tls = (struct bole_tls_settings){cli->platform, settings->cacert};
	out->options = (struct bole_client_options){
	        .secure = bole_tls_open,
	        .secure_ctx = &out->tls,
	        .progress = show_progress,
	        .remote_text = push || out->progress.on ? show_text : NULL,
	        .warning = show_warning,
	        .ctx = out,
	        .server_options = settings->server_options.at,
	        .server_option_count = settings->server_options.count,
	};
	take_proxies(&out->options, settings->proxy);
	int code = take_settings(out, settings);
	if (code != BOLE_EXIT_OK)
		return code;
	enum bole_status rc = bole_client_open(cli->platform, cli->platform->alloc, url,
	                                       &out->options, why, sizeof why, &out->client);
	if (rc == BOLE_OK)
		return BOLE_EXIT_OK;
	/* The URL is not shown: a password may be in it. */
	bole_cli_say("the URL cannot be used: %s", why);
	return rc == BOLE_E_INVALID || rc == BOLE_E_UNSUPPORTED ? BOLE_EXIT_USAGE
	                                                        : BOLE_EXIT_FAILED;
}

void bole_cli_client_close(struct bole_cli_client *c)
{
	bole_client_close(c->client);
	*c = (struct bole_cli_client){.client = NULL};
}

static void close_line(struct bole_cli_client *c)
{
	if (c->line_open)
		putc('\n', stderr);
	c->line_open = false;
	bole_cli_progress_end(&c->progress);
}

int bole_cli_client_fail(struct bole_cli_client *c, enum bole_status rc)
{
	const char *why = bole_client_error(c->client);
	const char *next = "";

	if (rc == BOLE_E_NO_SPACE)
		next = "; delete something or use a larger disk";
	else if (rc == BOLE_E_DENIED && strstr(why, "(401)") != NULL)
		next = ": --credentials FILE or BOLE_CREDENTIALS";
	close_line(c);
	bole_cli_say("%s: %s%s", bole_client_url(c->client), why, next);
	if (rc == BOLE_E_NOT_FOUND)
		return BOLE_EXIT_NOT_FOUND;
	if (rc == BOLE_E_CONFLICT || rc == BOLE_E_EXISTS || rc == BOLE_E_BUSY)
		return BOLE_EXIT_CONFLICT;
	if (rc == BOLE_E_CORRUPT)
		return BOLE_EXIT_DAMAGED;
	return rc == BOLE_E_NO_SPACE ? BOLE_EXIT_NO_SPACE : BOLE_EXIT_FAILED;
}

/* -- What became of references -- */

static const char *const words[] = {
        [BOLE_CHANGE_NONE] = "unchanged",  [BOLE_CHANGE_NEW] = "new",
        [BOLE_CHANGE_FORWARD] = "forward", [BOLE_CHANGE_FORCED] = "forced",
        [BOLE_CHANGE_DELETED] = "deleted", [BOLE_CHANGE_REFUSED] = "refused",
        [BOLE_CHANGE_HEAD] = "head",
};

static void print_json(struct bole_cli_client *c, const struct bole_client_change *change)
{
	char hex[BOLE_OID_HEX_MAX + 1];

	fputs(c->shown == 0 ? "{\"refs\":[" : ",", stdout);
	printf("{\"what\":\"%s\",\"from\":", words[change->what]);
	bole_cli_json(stdout, change->from);
	fputs(",\"to\":", stdout);
	bole_cli_json(stdout, change->to);
	if (!bole_oid_is_null(&change->old_oid))
		printf(",\"old\":\"%s\"", bole_oid_format(&change->old_oid, hex));
	if (!bole_oid_is_null(&change->new_oid))
		printf(",\"new\":\"%s\"", bole_oid_format(&change->new_oid, hex));
	if (change->what == BOLE_CHANGE_REFUSED) {
		fputs(",\"reason\":", stdout);
		bole_cli_json(stdout, bole_cli_bytes(change->reason));
	}
	putchar('}');
}

void bole_cli_client_change(void *ctx, const struct bole_client_change *change)
{
	struct bole_cli_client *c = ctx;
	FILE *to = change->what == BOLE_CHANGE_REFUSED ? stderr : stdout;

	if (change->what == BOLE_CHANGE_NONE && !c->show_all)
		return;
	close_line(c);
	if (c->cli->json) {
		print_json(c, change);
		c->shown++;
		return;
	}
	c->shown++;
	fprintf(to, "%-9s ", words[change->what]);
	bole_cli_plain(to, change->to);
	if (change->from.len > 0 &&
	    (change->from.len != change->to.len ||
	     memcmp(change->from.ptr, change->to.ptr, change->to.len) != 0)) {
		fputs(" (from ", to);
		bole_cli_plain(to, change->from);
		putc(')', to);
	}
	if (change->what == BOLE_CHANGE_REFUSED) {
		fputs(": ", to);
		bole_cli_plain(to, bole_cli_bytes(change->reason));
	}
	putc('\n', to);
}

static void print_figures(struct bole_cli_client *c, const struct bole_cli_figure *rows,
                          size_t count)
{
	close_line(c);
	if (!c->cli->json) {
		for (size_t i = 0; i < count; i++)
			printf("%s%llu %s", i == 0 ? "" : ", ", (unsigned long long)rows[i].value,
			       rows[i].name);
		putchar('\n');
		return;
	}
	fputs(c->shown == 0 ? "{\"refs\":[]" : "]", stdout);
	for (size_t i = 0; i < count; i++)
		printf(",\"%s\":%llu", rows[i].name, (unsigned long long)rows[i].value);
	puts("}");
}

int bole_cli_client_done(struct bole_cli_client *c, enum bole_status rc,
                         struct bole_cli_store *store, const struct bole_cli_transfer *done)
{
	const struct bole_cli_figure figures[] = {{"objects", done->objects},
	                                          {"references", done->changed},
	                                          {"refused", done->refused},
	                                          {"bytes", done->bytes}};
	int code = rc == BOLE_OK ? BOLE_EXIT_OK : bole_cli_client_fail(c, rc);
	int closed = bole_cli_store_close(store);

	code = code == BOLE_EXIT_OK ? closed : code;
	if (code != BOLE_EXIT_OK)
		return code;
	print_figures(c, figures, sizeof figures / sizeof figures[0]);
	return done->refused > 0 ? BOLE_EXIT_FAILED : BOLE_EXIT_OK;
}

int bole_cli_check_refspecs(const char *command, const struct bole_cli_args *args, int first,
                            bool push)
{
	for (int i = first; i < args->count; i++)
		if (!bole_client_refspec_valid(args->at[i], push))
			return bole_cli_usage(command, "'%s' is no refspec", args->at[i]);
	return BOLE_EXIT_OK;
}

int bole_cli_take_values(int argc, char **argv, const char *name, struct bole_cli_values *out)
{
	size_t len = strlen(name);
	bool options = true;
	int kept = 1;

	for (int i = 1; i < argc; i++) {
		const char *value = NULL;

		options = options && strcmp(argv[i], "--") != 0;
		if (options && strncmp(argv[i], name, len) == 0 && argv[i][len] == '=')
			value = argv[i] + len + 1;
		else if (options && strcmp(argv[i], name) == 0 && i + 1 < argc)
			value = argv[++i];
		if (options && value == NULL && strcmp(argv[i], name) == 0) {
			(void)bole_cli_usage(argv[0], "%s needs a value", name);
			return -1;
		}
		if (value == NULL) {
			argv[kept++] = argv[i];
			continue;
		}
		if (out->count == BOLE_CLI_VALUES_MAX) {
			bole_cli_say("%s is given too often", name);
			return -1;
		}
		out->at[out->count++] = value;
	}
	argv[kept] = NULL;
	return kept;
}
