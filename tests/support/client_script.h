/* SPDX-License-Identifier: ISC */
/* A network whose servers read from a script: every connection gets the next list of bytes,
 * whatever is asked of it. And a memory store to fetch into. */
#ifndef BOLE_TESTS_CLIENT_SCRIPT_H
#define BOLE_TESTS_CLIENT_SCRIPT_H

#include "bole/client.h"
#include "support/packmaker.h"
#include "support/platform.h"

enum { SCRIPT_CONNECTIONS = 64 };

struct script {
	struct test_platform test;
	struct bole_platform_ops ops; /* the test platform's with another network */
	struct bole_platform platform;
	struct bole_store *store;
	struct bole_client_options options;
	struct bole_client_deepen deepen; /* of clones and fetches */
	const char *filter;               /* the same */
	bool packfile_uris;               /* the same */
	bool elsewhere;                   /* bundles, and packs, may come from elsewhere */
	/* What each connection says; after the last one nobody answers. */
	const struct maker_bytes *answers[SCRIPT_CONNECTIONS];
	size_t answer_count;
	size_t connections;
	size_t cut;  /* bytes of all answers until the network is gone; SIZE_MAX = none */
	size_t step; /* bytes a read gives at most; 0 = as many as there are */
	size_t flip; /* the byte that is changed; SIZE_MAX = none */
	uint8_t flip_by;
	const struct maker_bytes *endless; /* follows the last answer, again and again */
	size_t told;                       /* bytes of answers so far */
	struct maker_bytes asked;          /* all that was written */
	char last_address[300];
	char error[400];
	size_t changes;
	size_t refused;
	char reason[200]; /* of the last that was refused */
};

void script_open(struct script *, uint8_t algo);
void script_close(struct script *);
/* Begins again with the same answers. */
void script_rewind(struct script *);
enum bole_status script_clone(struct script *, const char *url);
/* Into the repository "r", pruning. */
enum bole_status script_fetch(struct script *, const char *url);
enum bole_status script_list(struct script *, const char *url);
enum bole_status script_push(struct script *, const char *url, const char *const *specs,
                             size_t count);
/* The repository "r" is there; its branch main is at oid, if that is not NULL. */
bool script_has(struct script *, const struct bole_oid *oid);
/* Nothing of the repository "r" is left. */
bool script_clean(struct script *);

/* Packets. text: without length. */
void say(struct maker_bytes *, const char *format, ...) __attribute__((format(printf, 2, 3)));
void say_bytes(struct maker_bytes *, const void *bytes, size_t len);
void say_flush(struct maker_bytes *);
void say_delim(struct maker_bytes *);
/* In packets of a band. */
void say_band(struct maker_bytes *, unsigned band, const void *bytes, size_t len);
const char *hex(const struct bole_oid *);

/* A commit with a tree and a file, and the pack of them. */
struct offer {
	struct maker_bytes pack;
	struct bole_oid commit;
};
void offer_open(struct offer *, uint8_t algo);
void offer_close(struct offer *);
/* A whole conversation that offers it as refs/heads/main and HEAD. */
void offer_v2(const struct offer *, struct maker_bytes *out);
void offer_v0(const struct offer *, struct maker_bytes *out);
/* The first two parts of it, up to where the pack begins. */
void offer_list(const struct offer *, struct maker_bytes *out);

#endif /* BOLE_TESTS_CLIENT_SCRIPT_H */
