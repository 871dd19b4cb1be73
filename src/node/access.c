/* SPDX-License-Identifier: ISC */
#include "node/access.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/hash.h"
#include "base/memory.h"
#include "base/secret.h"

enum { SALT_MAX = 64, SHA256_BYTES = 32, RULE_WORDS = 5 };

struct token {
	char user[NODE_USER_MAX];
	struct bole_bytes salt; /* of the configuration */
	struct bole_oid hash;   /* SHA-256 of "salt:token" */
};

struct rule {
	bool allow;
	unsigned rights;
	struct bole_bytes users; /* names, '*', "anonymous", "users", with commas */
	struct bole_bytes repo;
	struct bole_bytes ref;
};

struct node_access {
	struct bole_alloc *alloc;
	struct token *tokens;
	size_t token_count;
	struct rule *rules;
	size_t rule_count;
};

/* -- patterns -- */

/* Only the last star of each kind is ever gone back to: what an earlier one could do instead, the
 * later one can do as well. */
bool bole_node_pattern_matches(struct bole_bytes p, struct bole_bytes t)
{
	size_t i = 0;
	size_t k = 0;
	size_t star = SIZE_MAX, star_at = 0;   /* behind a '*', and what it stands up to */
	size_t stars = SIZE_MAX, stars_at = 0; /* the same of a "**" */

	while (k < t.len || i < p.len) {
		if (i < p.len && p.ptr[i] == '*') {
			bool twice = i + 1 < p.len && p.ptr[i + 1] == '*';

			i += twice ? 2 : 1;
			star = twice ? SIZE_MAX : i;
			star_at = k;
			if (twice) {
				stars = i;
				stars_at = k;
			}
			continue;
		}
		bool one = i < p.len && k < t.len &&
		           (p.ptr[i] == t.ptr[k] || (p.ptr[i] == '?' && t.ptr[k] != '/'));
		if (one) {
			i++;
			k++;
		} else if (star != SIZE_MAX && star_at < t.len && t.ptr[star_at] != '/') {
			i = star;
			k = ++star_at;
		} else if (stars != SIZE_MAX && stars_at < t.len) {
			i = stars;
			k = ++stars_at;
			star = SIZE_MAX;
		} else {
			return false;
		}
	}
	return true;
}

/* -- the configuration -- */

static bool cut(struct bole_bytes *rest, char at, struct bole_bytes *word)
{
	const uint8_t *end = rest->len == 0 ? NULL : memchr(rest->ptr, at, rest->len);
	size_t len = end == NULL ? rest->len : (size_t)(end - rest->ptr);

	*word = bole_bytes_of(rest->ptr, len);
	*rest = bole_bytes_of(rest->ptr + len + (end != NULL), rest->len - len - (end != NULL));
	return word->len > 0;
}

bool bole_node_user_valid(struct bole_bytes name)
{
	if (name.len == 0 || name.len >= NODE_USER_MAX)
		return false;
	for (size_t i = 0; i < name.len; i++) {
		uint8_t c = name.ptr[i];

		if (c <= ' ' || c >= 127 || c == ',' || c == ':' || c == '*')
			return false;
	}
	return !bole_bytes_equal(name, bole_bytes_z("anonymous")) &&
	       !bole_bytes_equal(name, bole_bytes_z("users"));
}

/* "name:sha256:salt:hash" */
static bool parse_token(const char *text, struct token *out)
{
	struct bole_bytes rest = bole_bytes_z(text);
	struct bole_bytes name;
	struct bole_bytes kind;

	if (!cut(&rest, ':', &name) || !bole_node_user_valid(name) || !cut(&rest, ':', &kind) ||
	    !bole_bytes_equal(kind, bole_bytes_z("sha256")) || !cut(&rest, ':', &out->salt) ||
	    out->salt.len > SALT_MAX)
		return false;
	memcpy(out->user, name.ptr, name.len);
	return bole_oid_parse((const char *)rest.ptr, rest.len, BOLE_HASH_SHA256, &out->hash) ==
	       BOLE_OK;
}

static bool parse_rights(struct bole_bytes words, unsigned *out)
{
	static const struct {
		const char *name;
		unsigned rights;
	} names[] = {
	        {"read", NODE_READ},
	        {"create", NODE_CREATE},
	        {"update", NODE_UPDATE},
	        {"delete", NODE_DELETE},
	        {"force", NODE_FORCE},
	        {"init", NODE_INIT},
	        {"write", NODE_WRITE | NODE_INIT},
	        {"all", NODE_READ | NODE_WRITE | NODE_INIT},
	};
	struct bole_bytes word;

	*out = 0;
	while (words.len > 0) {
		size_t i = 0;

		(void)cut(&words, ',', &word);
		while (i < sizeof names / sizeof names[0] &&
		       !bole_bytes_equal(word, bole_bytes_z(names[i].name)))
			i++;
		if (i == sizeof names / sizeof names[0])
			return false;
		*out |= names[i].rights;
	}
	return *out != 0;
}

/* "allow|deny rights users repository [reference]" */
static bool parse_rule(const char *text, struct rule *out)
{
	struct bole_bytes rest = bole_bytes_z(text);
	struct bole_bytes words[RULE_WORDS] = {{NULL, 0}};
	size_t count = 0;

	while (rest.len > 0) {
		struct bole_bytes word;

		if (!cut(&rest, ' ', &word))
			continue;
		if (count == RULE_WORDS)
			return false;
		words[count++] = word;
	}
	if (count < RULE_WORDS - 1)
		return false;
	out->allow = bole_bytes_equal(words[0], bole_bytes_z("allow"));
	out->users = words[2];
	out->repo = words[3];
	out->ref = count == RULE_WORDS ? words[4] : bole_bytes_z("**");
	return (out->allow || bole_bytes_equal(words[0], bole_bytes_z("deny"))) &&
	       parse_rights(words[1], &out->rights);
}

static size_t count_values(const struct bole_config *config, const char *key, size_t max)
{
	size_t n = 0, at = 0;

	while (n <= max && bole_config_next_value(config, key, &at) != NULL)
		n++;
	return n;
}

static enum bole_status bad(struct bole_platform *platform, const char *key, size_t i,
                            const char *shape)
{
	/* The value may be half a secret: it is not shown. */
	bole_log(platform, BOLE_LOG_ERROR, "config: %s number %zu is not \"%s\"", key, i + 1,
	         shape);
	return BOLE_E_INVALID;
}

static enum bole_status read_all(struct node_access *a, struct bole_platform *platform,
                                 const struct bole_config *config)
{
	size_t token_at = 0, rule_at = 0;

	for (size_t i = 0; i < a->token_count; i++)
		if (!parse_token(bole_config_next_value(config, "auth.token", &token_at),
		                 &a->tokens[i]))
			return bad(platform, "auth.token", i, "name:sha256:salt:hash");
	for (size_t i = 0; i < a->rule_count; i++)
		if (!parse_rule(bole_config_next_value(config, "access.rule", &rule_at),
		                &a->rules[i]))
			return bad(platform, "access.rule", i,
			           "allow|deny rights users repository [reference]");
	return BOLE_OK;
}

enum bole_status bole_node_access_open(struct bole_platform *platform, struct bole_alloc *alloc,
                                       const struct bole_config *config, struct node_access **out)
{
	struct node_access *a = bole_alloc_zeroed(alloc, 1, sizeof *a);
	size_t tokens = count_values(config, "auth.token", NODE_TOKENS_MAX);
	size_t rules = count_values(config, "access.rule", NODE_RULES_MAX);

	*out = NULL;
	if (a == NULL)
		return BOLE_E_NO_MEMORY;
	a->alloc = alloc;
	enum bole_status rc = BOLE_OK;
	if (tokens > NODE_TOKENS_MAX || rules > NODE_RULES_MAX) {
		bole_log(platform, BOLE_LOG_ERROR,
		         "config: more than %d auth.token or %d access.rule", (int)NODE_TOKENS_MAX,
		         (int)NODE_RULES_MAX);
		rc = BOLE_E_INVALID;
	}
	if (rc == BOLE_OK && tokens > 0) {
		a->tokens = bole_alloc_zeroed(alloc, tokens, sizeof *a->tokens);
		rc = a->tokens == NULL ? BOLE_E_NO_MEMORY : BOLE_OK;
		a->token_count = a->tokens == NULL ? 0 : tokens;
	}
	if (rc == BOLE_OK && rules > 0) {
		a->rules = bole_alloc_zeroed(alloc, rules, sizeof *a->rules);
		rc = a->rules == NULL ? BOLE_E_NO_MEMORY : BOLE_OK;
		a->rule_count = a->rules == NULL ? 0 : rules;
	}
	if (rc == BOLE_OK)
		rc = read_all(a, platform, config);
	if (rc != BOLE_OK)
		bole_node_access_close(a);
	else
		*out = a;
	return rc;
}

void bole_node_access_close(struct node_access *a)
{
	if (a == NULL)
		return;
	bole_alloc_free(a->alloc, a->tokens, a->token_count, sizeof *a->tokens);
	bole_alloc_free(a->alloc, a->rules, a->rule_count, sizeof *a->rules);
	bole_alloc_free(a->alloc, a, 1, sizeof *a);
}

bool bole_node_access_has_users(const struct node_access *a)
{
	return a->token_count > 0;
}

/* -- who -- */

static bool token_fits(const struct token *t, struct bole_bytes secret)
{
	struct bole_hash hash;
	struct bole_oid oid;

	bole_hash_init(&hash, BOLE_HASH_SHA256);
	bole_hash_update(&hash, t->salt.ptr, t->salt.len);
	bole_hash_update(&hash, ":", 1);
	bole_hash_update(&hash, secret.ptr, secret.len);
	bole_hash_final(&hash, &oid);
	return bole_secret_equal(bole_bytes_of(oid.bytes, SHA256_BYTES),
	                         bole_bytes_of(t->hash.bytes, SHA256_BYTES));
}

/* name.ptr NULL: whoever has this token. All are tried, whichever fits. */
static enum node_identity find_user(const struct node_access *a, struct bole_bytes name,
                                    struct bole_bytes secret, char *user)
{
	static const struct token nobody = {.salt = {NULL, 0}};
	enum node_identity found = NODE_WRONG;
	bool any = false;

	for (size_t i = 0; i < a->token_count; i++) {
		const struct token *t = &a->tokens[i];

		if (name.ptr != NULL && !bole_bytes_equal(name, bole_bytes_z(t->user)))
			continue;
		any = true;
		if (!token_fits(t, secret))
			continue;
		found = NODE_USER;
		memcpy(user, t->user, NODE_USER_MAX);
	}
	if (!any)
		(void)token_fits(&nobody, secret);
	return found;
}

static int base64_value(uint8_t c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* False: not base64 (RFC 4648, section 4), padded and with no bits beyond the last byte, so that
 * there is one text for each secret. dst has room for three quarters of text. */
static bool base64_decode(struct bole_bytes text, uint8_t *dst, size_t *len)
{
	uint32_t bits = 0;
	unsigned count = 0;

	*len = 0;
	if (text.len % 4 != 0)
		return false;
	for (unsigned pads = 0; pads < 2 && text.len > 0 && text.ptr[text.len - 1] == '='; pads++)
		text.len--;
	for (size_t i = 0; i < text.len; i++) {
		int value = base64_value(text.ptr[i]);

		if (value < 0)
			return false;
		bits = bits << 6 | (uint32_t)value;
		count += 6;
		if (count >= 8) {
			count -= 8;
			dst[(*len)++] = (uint8_t)(bits >> count);
		}
	}
	return (bits & ((UINT32_C(1) << count) - 1)) == 0;
}

static bool scheme_is(struct bole_bytes *value, const char *scheme)
{
	size_t len = strlen(scheme);

	if (value->len <= len || value->ptr[len] != ' ')
		return false;
	for (size_t i = 0; i < len; i++)
		if ((value->ptr[i] | 0x20) != scheme[i])
			return false;
	*value = bole_bytes_of(value->ptr + len + 1, value->len - len - 1);
	while (value->len > 0 && value->ptr[0] == ' ')
		*value = bole_bytes_of(value->ptr + 1, value->len - 1);
	return true;
}

enum node_identity bole_node_access_identify(const struct node_access *a, struct bole_bytes value,
                                             char *user)
{
	uint8_t decoded[NODE_AUTHORIZATION_MAX];
	struct bole_bytes rest;
	struct bole_bytes name;

	if (value.len == 0)
		return NODE_ANONYMOUS;
	if (value.len > NODE_AUTHORIZATION_MAX)
		return NODE_WRONG;
	if (scheme_is(&value, "bearer"))
		return find_user(a, bole_bytes_of(NULL, 0), value, user);
	size_t len;
	if (!scheme_is(&value, "basic") || !base64_decode(value, decoded, &len))
		return NODE_WRONG;
	rest = bole_bytes_of(decoded, len);
	const uint8_t *colon = len == 0 ? NULL : memchr(decoded, ':', len);
	if (colon == NULL)
		return NODE_WRONG;
	(void)cut(&rest, ':', &name);
	enum node_identity who = find_user(a, name, rest, user);
	memset(decoded, 0, sizeof decoded);
	return who;
}

/* -- what -- */

static bool rule_names(const struct rule *rule, const char *user)
{
	struct bole_bytes rest = rule->users;
	struct bole_bytes word;

	while (rest.len > 0) {
		(void)cut(&rest, ',', &word);
		if (bole_bytes_equal(word, bole_bytes_z("*")))
			return true;
		if (user == NULL ? bole_bytes_equal(word, bole_bytes_z("anonymous"))
		                 : bole_bytes_equal(word, bole_bytes_z(user)) ||
		                           bole_bytes_equal(word, bole_bytes_z("users")))
			return true;
	}
	return false;
}

/* Where no rule speaks: everybody reads; who writes must be somebody, where there are names. */
static bool by_default(const struct node_access *a, const char *user, unsigned rights)
{
	return (rights & NODE_READ) != 0 || user != NULL || a->token_count == 0;
}

bool bole_node_access_ref(const struct node_access *a, const char *user, const char *repo,
                          struct bole_bytes ref, enum node_right right)
{
	for (size_t i = 0; i < a->rule_count; i++) {
		const struct rule *rule = &a->rules[i];

		if ((rule->rights & (unsigned)right) != 0 && rule_names(rule, user) &&
		    bole_node_pattern_matches(rule->repo, bole_bytes_z(repo)) &&
		    bole_node_pattern_matches(rule->ref, ref))
			return rule->allow;
	}
	return by_default(a, user, (unsigned)right);
}

/* One right of them is enough, for one reference. */
bool bole_node_access_repo(const struct node_access *a, const char *user, const char *repo,
                           unsigned rights)
{
	for (size_t i = 0; i < a->rule_count; i++) {
		const struct rule *rule = &a->rules[i];

		if ((rule->rights & rights) == 0 || !rule_names(rule, user) ||
		    !bole_node_pattern_matches(rule->repo, bole_bytes_z(repo)))
			continue;
		if (rule->allow)
			return true;
		if (bole_bytes_equal(rule->ref, bole_bytes_z("**")))
			rights &= ~rule->rights;
		if (rights == 0)
			return false;
	}
	return by_default(a, user, rights);
}
