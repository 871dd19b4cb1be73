/* SPDX-License-Identifier: ISC */
/* Small things that the commands share: options, sizes, JSON, progress on a terminal. */
#ifndef BOLE_TOOLS_CLI_H
#define BOLE_TOOLS_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "bole/types.h"
#include "commands.h"

/* Either flag or value is set: the option stands alone, or takes the next argument. */
struct bole_cli_option {
	const char *name;
	bool *flag;
	const char **value;
};

enum { BOLE_CLI_HELP_SHOWN = -1, BOLE_CLI_ARGS_MAX = 64 };

struct bole_cli_args {
	const char *at[BOLE_CLI_ARGS_MAX + 1]; /* what is no option; NULL at the end */
	int count;
};

/* Says on one line what is wrong with the arguments and where the help is. BOLE_EXIT_USAGE. */
int bole_cli_usage(const char *command, const char *format, ...)
        __attribute__((format(printf, 2, 3)));

/* Reads the arguments of a command that takes min to max of them. "--" ends the options, "-" is an
 * argument. Returns BOLE_EXIT_OK, BOLE_EXIT_USAGE (said why), or BOLE_CLI_HELP_SHOWN. */
int bole_cli_args(int argc, char **argv, const char *help, const struct bole_cli_option *options,
                  size_t option_count, int min, int max, struct bole_cli_args *out);

/* "4096", "64k", "512M", "8G", "1T". False when it is no size. */
bool bole_cli_size(const char *text, uint64_t *out);

struct bole_config;
/* A file in git-config syntax, or one "section.key=value". BOLE_EXIT_OK, or BOLE_EXIT_USAGE after
 * saying why. */
int bole_cli_config_file(struct bole_config *, const char *path);
int bole_cli_config_set(struct bole_config *, const char *text);

/* Text that is not ours, for people: '?' for what could command a terminal or begin a new line. */
void bole_cli_plain(FILE *, struct bole_bytes text);
/* A JSON string with its quotes. Bytes that are no UTF-8 become U+FFFD. */
void bole_cli_json(FILE *, struct bole_bytes text);
bool bole_cli_is_utf8(struct bole_bytes);
static inline struct bole_bytes bole_cli_bytes(const char *text)
{
	size_t len = 0;

	while (text[len] != '\0')
		len++;
	return (struct bole_bytes){(const uint8_t *)text, len};
}

/* Figures by name: an object in JSON, else a line each. begin and end print the braces. */
struct bole_cli_figure {
	const char *name;
	uint64_t value;
};
void bole_cli_figures(const struct bole_cli *, const struct bole_cli_figure *, size_t count);

/* Runs bole_store_maintain until nothing is left to do, with progress. BOLE_OK. */
BOLE_MUST_USE enum bole_status bole_cli_maintain(struct bole_cli *, struct bole_store *,
                                                 unsigned eagerness);

/* A line on stderr that is written over, a few times a second, and only on a terminal. */
struct bole_cli_progress {
	struct bole_platform *platform;
	uint64_t shown_ns;
	bool on;
	bool dirty;
};
void bole_cli_progress_init(struct bole_cli_progress *, struct bole_platform *);
void bole_cli_progress_show(struct bole_cli_progress *, const char *phase, uint64_t done,
                            uint64_t total);
/* Clears the line. */
void bole_cli_progress_end(struct bole_cli_progress *);

/* Reads all of a file into malloc'ed memory; false when it failed. */
bool bole_cli_read_all(FILE *, uint8_t **out, size_t *len);

#endif /* BOLE_TOOLS_CLI_H */
