/* SPDX-License-Identifier: ISC */
/* Configuration in git-config syntax (git-config(1), "CONFIGURATION FILE"): a file, a config
 * partition, or words "section.key=value" of a command line. Section and key are case-insensitive,
 * the subsection is not; the last value wins, bole_config_next_value sees every one. Nothing here
 * blocks; a config that nobody changes may be read by many threads. */
#ifndef BOLE_CONFIG_H
#define BOLE_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bole/alloc.h"
#include "bole/status.h"
#include "bole/types.h"

#ifdef __cplusplus
extern "C" {
#endif

struct bole_config;

/* An empty one; alloc is borrowed until close. BOLE_E_NO_MEMORY. */
BOLE_MUST_USE enum bole_status bole_config_open(struct bole_alloc *, struct bole_config **out);
/* NULL is fine. */
void bole_config_close(struct bole_config *);
/* Adds a whole file. BOLE_E_INVALID: *line is the line at fault (1-based). Nothing is added then.
 */
BOLE_MUST_USE enum bole_status bole_config_parse(struct bole_config *, struct bole_bytes text,
                                                 unsigned *line);
/* Adds one "section.key=value" or "section.subsection.key=value"; "section.key" alone is true.
 * BOLE_E_INVALID (no such thing), BOLE_E_LIMIT (docs/CONFIG.md), BOLE_E_NO_MEMORY. */
BOLE_MUST_USE enum bole_status bole_config_set(struct bole_config *, const char *assignment);
/* Splits a kernel command line at spaces (double quotes group) and adds each word that has a dot
 * before any '='; other words are ignored. */
BOLE_MUST_USE enum bole_status bole_config_command_line(struct bole_config *, const char *line);
/* The last value or NULL; owned by the config. key: "http.listen". */
const char *bole_config_get(const struct bole_config *, const char *key);
/* Every value of a multi-valued key in order: start with *cursor 0. NULL: none is left. */
const char *bole_config_next_value(const struct bole_config *, const char *key, size_t *cursor);
/* False: no key begins with this section. Costs less than to look for one. */
bool bole_config_section(const struct bole_config *, const char *section);
/* Every entry in order: start with *cursor 0. key has section and key in lower case. False: none
 * is left. Borrowed from the config. */
bool bole_config_next(const struct bole_config *, size_t *cursor, const char **key,
                      const char **value);
/* Git's booleans: true yes on 1 and a key without "="; false no off 0 and the empty value. No such
 * key: missing. Anything else: missing and BOLE_E_INVALID. */
enum bole_status bole_config_bool(const struct bole_config *, const char *key, bool missing,
                                  bool *out);
/* Integers with k, m, g suffixes (1024 each). No such key: missing. Anything else: missing and
 * BOLE_E_INVALID. */
enum bole_status bole_config_u64(const struct bole_config *, const char *key, uint64_t missing,
                                 uint64_t *out);

#ifdef __cplusplus
}
#endif

#endif /* BOLE_CONFIG_H */
