/* SPDX-License-Identifier: ISC */
/* bole get, bole ls: reading keys. */
#include <string.h>
#include <unistd.h>

#include "backfill.h"
#include "kv_open.h"

static const char get_help[] =
        "usage: bole get STORE[#REPO@BRANCH] KEY\n\n"
        "Writes the value of a key to standard output, byte for byte; with --json an\n"
        "object with its id, size and value (base64 when it is not UTF-8). Exit code 3\n"
        "when there is no such key. BRANCH may also be a tag or a commit.\n";

static const char ls_help[] =
        "usage: bole ls STORE[#REPO@BRANCH] [PREFIX] [--from KEY] [--to KEY] [--long]\n\n"
        "Lists the keys that start with PREFIX, from KEY (included) to KEY (excluded), in\n"
        "byte order. --long adds mode and object id.\n";

struct out_writer {
	struct bole_writer writer;
	uint64_t len;
};

static enum bole_status out_write(struct bole_writer *self, const void *src, size_t len)
{
	((struct out_writer *)self)->len += len;
	return fwrite(src, 1, len, stdout) == len ? BOLE_OK : BOLE_E_IO;
}

static enum bole_status out_flush(struct bole_writer *self)
{
	(void)self;
	return fflush(stdout) == 0 ? BOLE_OK : BOLE_E_IO;
}

static void print_base64(struct bole_bytes data)
{
	static const char digits[] =
	        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	for (size_t i = 0; i < data.len; i += 3) {
		uint32_t b = data.len - i > 1 ? data.ptr[i + 1] : 0;
		uint32_t c = data.len - i > 2 ? data.ptr[i + 2] : 0;
		uint32_t word = (uint32_t)data.ptr[i] << 16 | b << 8 | c;

		putchar(digits[word >> 18]);
		putchar(digits[word >> 12 & 63]);
		putchar(data.len - i > 1 ? digits[word >> 6 & 63] : '=');
		putchar(data.len - i > 2 ? digits[word & 63] : '=');
	}
}

static void print_value(const struct bole_kv_item *item, struct bole_bytes value)
{
	char hex[BOLE_OID_HEX_MAX + 1];

	fputs("{\"key\":", stdout);
	bole_cli_json(stdout, item->key);
	printf(",\"oid\":\"%s\",\"mode\":\"%06o\",\"size\":%zu,", bole_oid_format(&item->oid, hex),
	       (unsigned)item->mode, value.len);
	if (bole_cli_is_utf8(value)) {
		fputs("\"value\":", stdout);
		bole_cli_json(stdout, value);
	} else {
		fputs("\"base64\":\"", stdout);
		print_base64(value);
		putchar('"');
	}
	puts("}");
}

static int get_value(const struct bole_cli *cli, struct bole_kv_view *view, const char *text)
{
	struct out_writer writer = {{.write = out_write, .flush = out_flush}, 0};
	struct bole_bytes key = bole_cli_bytes(text);
	struct bole_kv_item item;
	struct bole_bytes value;
	enum bole_status rc;

	if (cli->json) {
		rc = bole_kv_stat(view, key, &item);
		if (rc == BOLE_OK)
			rc = bole_kv_get(view, key, &value);
		if (rc == BOLE_OK)
			print_value(&item, value);
	} else {
		rc = bole_kv_get_stream(view, key, &writer.writer);
	}
	return rc == BOLE_OK ? BOLE_EXIT_OK : bole_cli_fail(text, rc);
}

static enum bole_status drop(struct bole_writer *self, const void *src, size_t len)
{
	(void)self;
	(void)src;
	(void)len;
	return BOLE_OK;
}

static enum bole_status drop_flush(struct bole_writer *self)
{
	(void)self;
	return BOLE_OK;
}

static enum bole_status look_at_value(struct bole_kv_view *view, void *ctx)
{
	struct bole_writer writer = {.write = drop, .flush = drop_flush};

	return bole_kv_get_stream(view, bole_cli_bytes(ctx), &writer);
}

static int get_run(struct bole_cli *cli, int argc, char **argv)
{
	struct bole_cli_args args;
	struct bole_cli_kv kv;
	struct bole_kv_view *view;

	int code = bole_cli_args(argc, argv, get_help, NULL, 0, 2, 2, &args);
	if (code != BOLE_EXIT_OK)
		return code == BOLE_CLI_HELP_SHOWN ? BOLE_EXIT_OK : code;
	code = bole_cli_kv_open(cli, args.at[0], BOLE_CLI_READ, &kv);
	if (code != BOLE_EXIT_OK)
		return code;
	code = bole_cli_kv_fill(cli, args.at[0], &kv, look_at_value, (void *)(uintptr_t)args.at[1]);
	if (code == BOLE_EXIT_OK)
		code = bole_cli_kv_view(&kv, &view);
	if (code == BOLE_EXIT_OK) {
		code = get_value(cli, view, args.at[1]);
		bole_kv_view_close(view);
	}
	return bole_cli_kv_close(&kv, code);
}

static void print_item(const struct bole_cli *cli, const struct bole_kv_item *item, bool full,
                       bool first)
{
	char hex[BOLE_OID_HEX_MAX + 1];

	bole_oid_format(&item->oid, hex);
	if (cli->json) {
		fputs(first ? "{\"key\":" : ",\n{\"key\":", stdout);
		bole_cli_json(stdout, item->key);
		printf(",\"oid\":\"%s\",\"mode\":\"%06o\"}", hex, (unsigned)item->mode);
		return;
	}
	if (full)
		printf("%06o %s ", (unsigned)item->mode, hex);
	/* Scripts get the bytes. */
	if (isatty(STDOUT_FILENO) == 1)
		bole_cli_plain(stdout, item->key);
	else
		fwrite(item->key.ptr, 1, item->key.len, stdout);
	putchar('\n');
}

static int list(const struct bole_cli *cli, struct bole_kv_view *view,
                const struct bole_kv_range *range, bool full)
{
	struct bole_kv_cursor *cursor;
	struct bole_kv_item item;
	bool first = true;

	enum bole_status rc = bole_kv_cursor_open(view, range, &cursor);
	if (rc != BOLE_OK)
		return bole_cli_fail("listing keys", rc);
	if (cli->json)
		putchar('[');
	while ((rc = bole_kv_cursor_next(cursor, &item)) == BOLE_OK) {
		print_item(cli, &item, full, first);
		first = false;
	}
	if (cli->json)
		puts("]");
	bole_kv_cursor_close(cursor);
	return rc == BOLE_END ? BOLE_EXIT_OK : bole_cli_fail("listing keys", rc);
}

static enum bole_status look_at_keys(struct bole_kv_view *view, void *ctx)
{
	struct bole_kv_cursor *cursor;
	struct bole_kv_item item;

	enum bole_status rc = bole_kv_cursor_open(view, ctx, &cursor);
	if (rc != BOLE_OK)
		return rc;
	do {
		rc = bole_kv_cursor_next(cursor, &item);
	} while (rc == BOLE_OK);
	bole_kv_cursor_close(cursor);
	return rc;
}

static int ls_run(struct bole_cli *cli, int argc, char **argv)
{
	const char *from = "";
	const char *to = "";
	bool full = false;
	const struct bole_cli_option options[] = {
	        {"--from", NULL, &from}, {"--to", NULL, &to}, {"--long", &full, NULL}};
	struct bole_cli_args args;
	struct bole_cli_kv kv;
	struct bole_kv_view *view;

	int code = bole_cli_args(argc, argv, ls_help, options, 3, 1, 2, &args);
	if (code != BOLE_EXIT_OK)
		return code == BOLE_CLI_HELP_SHOWN ? BOLE_EXIT_OK : code;
	struct bole_kv_range range = {
	        .prefix = bole_cli_bytes(args.count == 2 ? args.at[1] : ""),
	        .from = bole_cli_bytes(from),
	        .to = bole_cli_bytes(to),
	};
	code = bole_cli_kv_open(cli, args.at[0], BOLE_CLI_READ, &kv);
	if (code != BOLE_EXIT_OK)
		return code;
	code = bole_cli_kv_fill(cli, args.at[0], &kv, look_at_keys, &range);
	if (code == BOLE_EXIT_OK)
		code = bole_cli_kv_view(&kv, &view);
	if (code == BOLE_EXIT_OK) {
		code = list(cli, view, &range, full);
		bole_kv_view_close(view);
	}
	return bole_cli_kv_close(&kv, code);
}

const struct bole_command bole_command_get = {
        .name = "get",
        .summary = "get STORE KEY  write a value to standard output",
        .run = get_run,
};

const struct bole_command bole_command_ls = {
        .name = "ls",
        .summary = "ls STORE [PREFIX]  list keys",
        .run = ls_run,
};
