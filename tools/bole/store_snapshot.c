/* SPDX-License-Identifier: ISC */
#include "store_snapshot.h"

int bole_cli_snapshot_open(struct bole_cli *cli, const char *text, struct bole_cli_snapshot *out)
{
	*out = (struct bole_cli_snapshot){.snapshot = NULL};
	int code = bole_cli_spec_parse(text, &out->spec);
	if (code == BOLE_EXIT_OK)
		code = bole_cli_store_open(cli, &out->spec, BOLE_CLI_READ, &out->store);
	if (code != BOLE_EXIT_OK)
		return code;
	enum bole_status rc = bole_repo_find(out->store.store, out->spec.repo, &out->repo);
	if (rc == BOLE_OK)
		rc = bole_snapshot_open(out->store.store, out->repo.id, &out->snapshot);
	if (rc == BOLE_E_NOT_FOUND) {
		bole_cli_say("no repository %s in %s; see: bole repo %s", out->spec.repo,
		             out->spec.store, out->spec.store);
		return BOLE_EXIT_NOT_FOUND;
	}
	return rc == BOLE_OK ? BOLE_EXIT_OK : bole_cli_fail(out->spec.repo, rc);
}

int bole_cli_snapshot_close(struct bole_cli_snapshot *from, int code)
{
	bole_snapshot_close(from->snapshot);
	from->snapshot = NULL;
	if (from->store.store == NULL)
		return code;
	int closed = bole_cli_store_close(&from->store);
	return code == BOLE_EXIT_OK ? closed : code;
}
