/* SPDX-License-Identifier: ISC */
#include "cli.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PROGRESS_NS = 200 * 1000 * 1000, READ_FIRST = 64 * 1024, LINE_MAX_BYTES = 16 * 1024 };

static void error_line(const char *format, va_list args)
{
	char line[LINE_MAX_BYTES];

	vsnprintf(line, sizeof line, format, args);
	fputs("bole: ", stderr);
	bole_cli_plain(stderr, bole_cli_bytes(line));
}

void bole_cli_say(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	error_line(format, args);
	va_end(args);
	putc('\n', stderr);
}

int bole_cli_usage(const char *command, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	error_line(format, args);
	va_end(args);
	fprintf(stderr, "; try: bole %s --help\n", command);
	return BOLE_EXIT_USAGE;
}

/* Takes the option at argv[*i] and its value, if it has one. */
static int take_option(int argc, char **argv, int *i, const struct bole_cli_option *options,
                       size_t count)
{
	for (size_t n = 0; n < count; n++) {
		if (strcmp(argv[*i], options[n].name) != 0)
			continue;
		if (options[n].flag != NULL) {
			*options[n].flag = true;
			return BOLE_EXIT_OK;
		}
		if (*i + 1 >= argc)
			return bole_cli_usage(argv[0], "%s needs a value", argv[*i]);
		*options[n].value = argv[++*i];
		return BOLE_EXIT_OK;
	}
	return bole_cli_usage(argv[0], "no option %s", argv[*i]);
}

int bole_cli_args(int argc, char **argv, const char *help, const struct bole_cli_option *options,
                  size_t option_count, int min, int max, struct bole_cli_args *out)
{
	bool options_ended = false;
	int code = BOLE_EXIT_OK;

	*out = (struct bole_cli_args){.count = 0};
	for (int i = 1; i < argc && code == BOLE_EXIT_OK; i++) {
		bool option = !options_ended && argv[i][0] == '-' && argv[i][1] != '\0';

		if (option && strcmp(argv[i], "--") == 0) {
			options_ended = true;
		} else if (option && strcmp(argv[i], "--help") == 0) {
			fputs(help, stdout);
			return BOLE_CLI_HELP_SHOWN;
		} else if (option) {
			code = take_option(argc, argv, &i, options, option_count);
		} else if (out->count == max || out->count == BOLE_CLI_ARGS_MAX) {
			code = bole_cli_usage(argv[0], "'%s' is one argument too many", argv[i]);
		} else {
			out->at[out->count++] = argv[i];
		}
	}
	if (code == BOLE_EXIT_OK && out->count < min)
		code = bole_cli_usage(argv[0], "an argument is missing");
	return code;
}

bool bole_cli_size(const char *text, uint64_t *out)
{
	static const char units[] = "kmgt";
	char *end;

	if (text[0] < '0' || text[0] > '9')
		return false;
	uint64_t value = strtoull(text, &end, 10);
	if (*end != '\0') {
		const char *unit = strchr(units, *end | 0x20);

		if (unit == NULL || end[1] != '\0')
			return false;
		unsigned shift = 10 * (unsigned)(unit - units + 1);
		if (value > UINT64_MAX >> shift)
			return false;
		value <<= shift;
	}
	*out = value;
	return true;
}

/* The length of the UTF-8 sequence at p (RFC 3629), or 0. */
static size_t utf8_len(const uint8_t *p, size_t left)
{
	static const struct {
		uint8_t first_min;
		uint8_t first_max;
		uint8_t second_min;
		uint8_t second_max;
		size_t len;
	} rows[] = {{0x00, 0x7f, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2},
	            {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
	            {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
	            {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4},
	            {0xf4, 0xf4, 0x80, 0x8f, 4}};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		if (p[0] < rows[i].first_min || p[0] > rows[i].first_max)
			continue;
		if (rows[i].len > left)
			return 0;
		if (rows[i].len > 1 && (p[1] < rows[i].second_min || p[1] > rows[i].second_max))
			return 0;
		for (size_t n = 2; n < rows[i].len; n++)
			if ((p[n] & 0xc0) != 0x80)
				return 0;
		return rows[i].len;
	}
	return 0;
}

void bole_cli_json(FILE *to, struct bole_bytes text)
{
	putc('"', to);
	for (size_t i = 0; i < text.len;) {
		uint8_t c = text.ptr[i];
		size_t len = utf8_len(text.ptr + i, text.len - i);

		if (len == 0) {
			fputs("\\ufffd", to);
			len = 1;
		} else if (c == '"' || c == '\\') {
			fprintf(to, "\\%c", c);
		} else if (c < 0x20 || c == 0x7f) {
			fprintf(to, "\\u%04x", c);
		} else {
			fwrite(text.ptr + i, 1, len, to);
		}
		i += len;
	}
	putc('"', to);
}

/* U+0080 to U+009F command terminals, too, and as single bytes those that take no UTF-8. */
static bool is_control(const uint8_t *p, size_t len)
{
	return p[0] < 0x20 || p[0] == 0x7f || (len == 1 && p[0] >= 0x80 && p[0] < 0xa0) ||
	       (len == 2 && p[0] == 0xc2 && p[1] < 0xa0);
}

void bole_cli_plain(FILE *to, struct bole_bytes text)
{
	for (size_t i = 0, len; i < text.len; i += len) {
		len = utf8_len(text.ptr + i, text.len - i);
		if (len == 0)
			len = 1;
		if (is_control(text.ptr + i, len))
			putc('?', to);
		else
			fwrite(text.ptr + i, 1, len, to);
	}
}

bool bole_cli_is_utf8(struct bole_bytes text)
{
	for (size_t i = 0, len; i < text.len; i += len) {
		len = utf8_len(text.ptr + i, text.len - i);
		if (len == 0)
			return false;
	}
	return true;
}

void bole_cli_progress_init(struct bole_cli_progress *progress, struct bole_platform *platform)
{
	*progress =
	        (struct bole_cli_progress){.platform = platform, .on = isatty(STDERR_FILENO) == 1};
}

void bole_cli_progress_show(struct bole_cli_progress *progress, const char *phase, uint64_t done,
                            uint64_t total)
{
	if (!progress->on)
		return;
	uint64_t now = progress->platform->ops->now_ns(progress->platform);
	if (progress->dirty && now - progress->shown_ns < PROGRESS_NS)
		return;
	progress->shown_ns = now;
	progress->dirty = true;
	if (total == 0)
		fprintf(stderr, "\r\033[K%s %llu", phase, (unsigned long long)done);
	else
		fprintf(stderr, "\r\033[K%s %llu of %llu (%u%%)", phase, (unsigned long long)done,
		        (unsigned long long)total,
		        (unsigned)((double)done * 100.0 / (double)total));
	fflush(stderr);
}

void bole_cli_progress_end(struct bole_cli_progress *progress)
{
	if (progress->dirty)
		fputs("\r\033[K", stderr);
	progress->dirty = false;
}

void bole_cli_figures(const struct bole_cli *cli, const struct bole_cli_figure *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (cli->json)
			printf("%s\"%s\":%llu", i == 0 ? "{" : ",", rows[i].name,
			       (unsigned long long)rows[i].value);
		else
			printf("%-18s %llu\n", rows[i].name, (unsigned long long)rows[i].value);
	}
	if (cli->json)
		puts("}");
}

enum bole_status bole_cli_maintain(struct bole_cli *cli, struct bole_store *store,
                                   unsigned eagerness)
{
	struct bole_maintain_options options = {.eagerness = eagerness};
	struct bole_maintain_report report;
	struct bole_cli_progress progress;
	enum bole_status rc;
	uint64_t bytes = 0;

	bole_cli_progress_init(&progress, cli->platform);
	while ((rc = bole_store_maintain(store, &options, &report)) == BOLE_OK) {
		bytes += report.bytes;
		bole_cli_progress_show(&progress, "cleaning, bytes", bytes, 0);
	}
	bole_cli_progress_end(&progress);
	return rc == BOLE_END ? BOLE_OK : rc;
}

bool bole_cli_read_all(FILE *from, uint8_t **out, size_t *len)
{
	size_t cap = READ_FIRST;
	uint8_t *data = malloc(cap);

	*len = 0;
	while (data != NULL) {
		size_t got = fread(data + *len, 1, cap - *len, from);

		*len += got;
		if (*len < cap)
			break;
		cap *= 2;
		uint8_t *more = realloc(data, cap);
		if (more == NULL)
			free(data);
		data = more;
	}
	*out = data;
	if (data == NULL || ferror(from) == 0)
		return data != NULL;
	free(data);
	*out = NULL;
	return false;
}
