/* SPDX-License-Identifier: ISC */
/* Users, rules, patterns, rates. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/hmac.h"
#include "base/secret.h"
#include "node/access.h"
#include "support/platform.h"

static bool matches(const char *pattern, const char *text)
{
	return bole_node_pattern_matches(bole_bytes_z(pattern), bole_bytes_z(text));
}

/* The same by trying everything. */
static bool slow(const char *p, const char *t)
{
	if (*p == '\0')
		return *t == '\0';
	if (*p == '*') {
		bool twice = p[1] == '*';

		for (const char *s = t;; s++) {
			if (slow(p + 1 + twice, s))
				return true;
			if (*s == '\0' || (!twice && *s == '/'))
				return false;
		}
	}
	return *t != '\0' && (*p == *t || (*p == '?' && *t != '/')) && slow(p + 1, t + 1);
}

Test(access, patterns_match_as_documented)
{
	uint64_t seed = 7;

	cr_assert(matches("refs/heads/*", "refs/heads/main"));
	cr_assert_not(matches("refs/heads/*", "refs/heads/a/b"));
	cr_assert(matches("refs/heads/**", "refs/heads/a/b"));
	cr_assert(matches("**", ""));
	cr_assert(matches("team/*", "team/x"));
	cr_assert_not(matches("team/*", "team2/x"));
	for (unsigned round = 0; round < 20000; round++) {
		char p[10], t[10];
		size_t plen = test_random(&seed) % 8, tlen = test_random(&seed) % 9;

		for (size_t i = 0; i < plen; i++)
			p[i] = "ab/**?"[test_random(&seed) % 6];
		for (size_t i = 0; i < tlen; i++)
			t[i] = "ab/"[test_random(&seed) % 3];
		p[plen] = t[tlen] = '\0';
		/* Three stars are a "**" and a '*'; a match of the whole is what both say. */
		if (strstr(p, "***") != NULL)
			continue;
		cr_assert_eq(matches(p, t), slow(p, t), "%s %s", p, t);
	}
}

struct scene {
	struct test_platform test;
	struct bole_config *config;
	struct node_access *access;
};

/* name:sha256:salt:hash for a token. */
static void add_token(struct scene *c, const char *name, const char *token)
{
	char text[300], hex[65];
	struct bole_hash hash;
	struct bole_oid oid;

	bole_hash_init(&hash, BOLE_HASH_SHA256);
	bole_hash_update(&hash, "salt:", 5);
	bole_hash_update(&hash, token, strlen(token));
	bole_hash_final(&hash, &oid);
	snprintf(text, sizeof text, "auth.token=%s:sha256:salt:%s", name,
	         bole_oid_format(&oid, hex));
	cr_assert_eq(bole_config_set(c->config, text), BOLE_OK);
}

static void scene_open(struct scene *c)
{
	memset(c, 0, sizeof *c);
	test_platform_init(&c->test, 1);
	cr_assert_eq(bole_config_open(&c->test.alloc, &c->config), BOLE_OK);
}

static void rule(struct scene *c, const char *text)
{
	char line[200];

	snprintf(line, sizeof line, "access.rule=%s", text);
	cr_assert_eq(bole_config_set(c->config, line), BOLE_OK);
}

static enum bole_status start(struct scene *c)
{
	bole_node_access_close(c->access);
	return bole_node_access_open(&c->test.base, &c->test.alloc, c->config, &c->access);
}

static void scene_close(struct scene *c)
{
	bole_node_access_close(c->access);
	bole_config_close(c->config);
}

static enum node_identity who(struct scene *c, const char *value, char *user)
{
	return bole_node_access_identify(c->access, bole_bytes_z(value), user);
}

Test(access, names_and_tokens_are_recognised)
{
	char user[NODE_USER_MAX] = "";
	struct scene c;

	scene_open(&c);
	add_token(&c, "alice", "secret");
	add_token(&c, "alice", "second");
	add_token(&c, "bob", "other");
	cr_assert_eq(start(&c), BOLE_OK);
	cr_assert(bole_node_access_has_users(c.access));
	cr_assert_eq(who(&c, "", user), NODE_ANONYMOUS);
	cr_assert_eq(who(&c, "Basic YWxpY2U6c2VjcmV0", user), NODE_USER); /* alice:secret */
	cr_assert_str_eq(user, "alice");
	cr_assert_eq(who(&c, "basic  YWxpY2U6c2Vjb25k", user), NODE_USER);
	cr_assert_eq(who(&c, "Bearer other", user), NODE_USER);
	cr_assert_str_eq(user, "bob");
	static const char *const wrong[] = {
	        "Basic YWxpY2U6b3RoZXI=", /* alice:other */
	        "Basic Ym9iOnNlY3JldA==", /* bob:secret */
	        "Basic Z2hvc3Q6c2VjcmV0", /* ghost:secret */
	        "Basic YWxpY2U=",
	        "Basic YWxpY2U6c2VjcmV0====", /* padded where nothing is missing */
	        "Basic YWxpY2U6c2VjcmV0=",
	        "Basic",
	        "Basic ",
	        "Basic !!!!",
	        "Digest x",
	        "Bearer ",
	        "Bearer",
	        "Bearer secre",
	        "Bearer secrets",
	        "x",
	};
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
		cr_assert_eq(who(&c, wrong[i], user), NODE_WRONG, "%s", wrong[i]);
	char longer[2000];
	memset(longer, 'A', sizeof longer - 1);
	longer[sizeof longer - 1] = '\0';
	memcpy(longer, "Basic ", 6);
	cr_assert_eq(who(&c, longer, user), NODE_WRONG);
	scene_close(&c);
}

static bool may(struct scene *c, const char *user, const char *repo, const char *ref,
                enum node_right right)
{
	return bole_node_access_ref(c->access, user, repo, bole_bytes_z(ref), right);
}

Test(access, the_first_rule_that_speaks_decides)
{
	struct scene c;

	scene_open(&c);
	cr_assert_eq(start(&c), BOLE_OK);
	cr_assert(may(&c, NULL, "a", "refs/heads/x", NODE_UPDATE)); /* nobody has a name */
	add_token(&c, "alice", "t");
	cr_assert_eq(start(&c), BOLE_OK);
	cr_assert_not(may(&c, NULL, "a", "refs/heads/x", NODE_UPDATE));
	cr_assert(may(&c, "alice", "a", "refs/heads/x", NODE_FORCE));
	cr_assert(bole_node_access_repo(c.access, NULL, "a", NODE_READ));
	cr_assert_not(bole_node_access_repo(c.access, NULL, "a", NODE_WRITE));

	rule(&c, "deny read anonymous secret/**");
	rule(&c, "allow all alice secret/**");
	rule(&c, "deny  all * secret/**");
	rule(&c, "deny force,delete users ** refs/heads/main");
	rule(&c, "allow write bob,carol team/* refs/heads/bob/**");
	rule(&c, "deny write bob ** ");
	cr_assert_eq(start(&c), BOLE_OK);
	cr_assert_not(bole_node_access_repo(c.access, NULL, "secret/x", NODE_READ));
	cr_assert(bole_node_access_repo(c.access, "alice", "secret/x", NODE_READ));
	cr_assert_not(bole_node_access_repo(c.access, "bob", "secret/x", NODE_READ));
	cr_assert_not(may(&c, "alice", "a", "refs/heads/main", NODE_FORCE));
	cr_assert(may(&c, "alice", "a", "refs/heads/main", NODE_UPDATE));
	cr_assert(may(&c, "alice", "a", "refs/heads/other", NODE_FORCE));
	cr_assert(may(&c, "bob", "team/a", "refs/heads/bob/x", NODE_CREATE));
	cr_assert_not(may(&c, "bob", "team/a", "refs/heads/x", NODE_CREATE));
	cr_assert(bole_node_access_repo(c.access, "bob", "team/a", NODE_WRITE));
	cr_assert_not(bole_node_access_repo(c.access, "bob", "other", NODE_WRITE));
	scene_close(&c);
}

Test(access, what_cannot_be_read_stops_the_start)
{
	static const char *const bad[] = {
	        "access.rule=permit read * **",
	        "access.rule=allow reed * **",
	        "access.rule=allow read",
	        "access.rule=allow read * ** a b",
	        "access.rule=",
	        "auth.token=x",
	        "auth.token=a:md5:s:00",
	        "auth.token=a:sha256:s:00",
	        "auth.token=a b:sha256:s:0000000000000000000000000000000000000000000000000000000000"
	        "000000",
	        "auth.token=users:sha256:s:00000000000000000000000000000000000000000000000000000000"
	        "00000000",
	};

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct scene c;

		scene_open(&c);
		cr_assert_eq(bole_config_set(c.config, bad[i]), BOLE_OK);
		cr_assert_eq(start(&c), BOLE_E_INVALID, "%s", bad[i]);
		c.access = NULL;
		scene_close(&c);
	}
}

Test(access, a_rate_is_kept_per_peer_and_recovers)
{
	struct node_rates *rates;
	struct scene c;
	unsigned passed = 0;

	scene_open(&c);
	cr_assert_eq(bole_config_set(c.config, "limit.address=60"), BOLE_OK);
	cr_assert_eq(bole_node_rates_open(&c.test.base, &c.test.alloc, c.config, &rates), BOLE_OK);
	struct bole_bytes one = bole_bytes_z("10.0.0.1");
	struct bole_bytes two = bole_bytes_z("10.0.0.2");
	while (bole_node_rates_take(rates, NODE_RATE_ADDRESS, one) == 0)
		cr_assert_lt(++passed, 100u);
	cr_assert_geq(passed, 15u);
	cr_assert_leq(passed, 17u);
	unsigned wait = bole_node_rates_look(rates, NODE_RATE_ADDRESS, one);
	cr_assert(wait == 1 || wait == 2);
	cr_assert_eq(bole_node_rates_take(rates, NODE_RATE_ADDRESS, two), 0u);
	cr_assert_eq(bole_node_rates_take(rates, NODE_RATE_USER, one), 0u); /* no limit */
	/* A million others: memory stays what it is. */
	for (unsigned i = 0; i < 100000; i++) {
		char name[20];

		snprintf(name, sizeof name, "h%u", i);
		(void)bole_node_rates_take(rates, NODE_RATE_ADDRESS, bole_bytes_z(name));
	}
	bole_node_rates_close(rates);
	scene_close(&c);
}

/* RFC 4231, cases 1, 2 and 6. */
Test(access, hmac_is_that_of_the_rfc)
{
	uint8_t key[131];
	char hex[65];
	struct bole_oid out;

	memset(key, 0x0b, sizeof key);
	bole_hmac_sha256(bole_bytes_of(key, 20), bole_bytes_z("Hi There"), &out);
	cr_assert_str_eq(bole_oid_format(&out, hex),
	                 "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
	bole_hmac_sha256(bole_bytes_z("Jefe"), bole_bytes_z("what do ya want for nothing?"), &out);
	cr_assert_str_eq(bole_oid_format(&out, hex),
	                 "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
	memset(key, 0xaa, sizeof key);
	bole_hmac_sha256(bole_bytes_of(key, 131),
	                 bole_bytes_z("Test Using Larger Than Block-Size Key - Hash Key First"),
	                 &out);
	cr_assert_str_eq(bole_oid_format(&out, hex),
	                 "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
	cr_assert(bole_secret_equal(bole_bytes_z("ab"), bole_bytes_z("ab")));
	cr_assert_not(bole_secret_equal(bole_bytes_z("ab"), bole_bytes_z("aa")));
	cr_assert_not(bole_secret_equal(bole_bytes_z("ab"), bole_bytes_z("abc")));
}
