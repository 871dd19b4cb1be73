/* SPDX-License-Identifier: ISC */
#include "kv_open.h"

#include <string.h>

int bole_cli_kv_open(struct bole_cli *cli, const char *text, enum bole_cli_access access,
                     struct bole_cli_kv *out)
{
	*out = (struct bole_cli_kv){.kv = NULL};
	int code = bole_cli_spec_parse(text, &out->spec);
	if (code == BOLE_EXIT_OK)
		code = bole_cli_store_open(cli, &out->spec, access, &out->store);
	if (code != BOLE_EXIT_OK)
		return code;
	struct bole_kv_options options = {
	        .repo = out->spec.repo,
	        .create = access == BOLE_CLI_WRITE,
	};
	enum bole_status rc = bole_kv_open(cli->platform, cli->platform->alloc, out->store.store,
	                                   &options, &out->kv);
	if (rc == BOLE_OK)
		return BOLE_EXIT_OK;
	if (rc == BOLE_E_NOT_FOUND) {
		bole_cli_say("no repository %s in %s; see: bole repo %s", out->spec.repo,
		             out->spec.store, out->spec.store);
		code = BOLE_EXIT_NOT_FOUND;
	} else {
		code = bole_cli_fail(out->spec.repo, rc);
	}
	return bole_cli_kv_close(out, code);
}

int bole_cli_kv_close(struct bole_cli_kv *kv, int code)
{
	bole_kv_close(kv->kv);
	kv->kv = NULL;
	int closed = bole_cli_store_close(&kv->store);
	return code == BOLE_EXIT_OK ? closed : code;
}

int bole_cli_kv_view(struct bole_cli_kv *kv, struct bole_kv_view **out)
{
	enum bole_status rc = bole_kv_view_open(kv->kv, bole_cli_kv_branch(kv), out);

	if (rc == BOLE_OK)
		return BOLE_EXIT_OK;
	if (rc != BOLE_E_NOT_FOUND)
		return bole_cli_fail(kv->spec.store, rc);
	bole_cli_say("no branch, tag or commit %s in %s; see: bole branch %s#%s", kv->spec.branch,
	             kv->spec.repo, kv->spec.store, kv->spec.repo);
	return BOLE_EXIT_NOT_FOUND;
}

bool bole_cli_author(const char *text, char *buf, size_t cap, struct bole_kv_info *info)
{
	if (text == NULL)
		return true;
	size_t len = strlen(text);
	const char *open = strstr(text, " <");
	if (open == NULL || open == text || text[len - 1] != '>' || len >= cap) {
		bole_cli_say("'%s' is no author; try: --author 'A U Thor <a@b.org>'", text);
		return false;
	}
	memcpy(buf, text, len);
	buf[open - text] = '\0';
	buf[len - 1] = '\0';
	info->name = buf;
	info->mail = buf + (open - text) + 2;
	return true;
}

int bole_cli_kv_done(struct bole_cli *cli, const char *key, enum bole_status rc,
                     const struct bole_oid *commit)
{
	char hex[BOLE_OID_HEX_MAX + 1];

	switch ((int)rc) {
	case BOLE_OK: break;
	case BOLE_E_INVALID:
		bole_cli_say("'%s' is not a key, or the author is no author: a key has no "
		             "empty part and none like '.', '..' or '.git'",
		             key);
		return BOLE_EXIT_USAGE;
	case BOLE_E_EXISTS:
		bole_cli_say("'%s' would be a value and a directory: remove the other first", key);
		return BOLE_EXIT_CONFLICT;
	default: return bole_cli_fail(key, rc);
	}
	if (cli->json)
		printf("{\"commit\":\"%s\"}\n", bole_oid_format(commit, hex));
	return BOLE_EXIT_OK;
}
