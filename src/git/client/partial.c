/* SPDX-License-Identifier: ISC */
/* Partial clones: what the server may leave out it promises to keep. One server is a repository's
 * origin; only what its packs link to may be missing here. */
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "git/client/fetch.h"
#include "git/fetch/filter.h"

static enum bole_status choose(struct fetching *f, const char *filter)
{
	struct bole_origin *o = &f->origin;
	size_t len = strlen(filter);
	struct bole_filter parsed;
	const char *why = NULL;
	size_t url = strlen(f->r->url);

	if (f->r->version != 2 || !f->r->caps.filter)
		return bole_remote_fail(f->r, BOLE_E_UNSUPPORTED,
		                        "the server offers no partial clones (filter)");
	/* Some servers hang up on others without a word. */
	enum bole_status rc =
	        len > BOLE_ORIGIN_FILTER_MAX
	                ? BOLE_E_LIMIT
	                : bole_filter_parse(&parsed, f->r->alloc, bole_bytes_z(filter), &why);
	if (rc != BOLE_OK)
		return bole_remote_fail(f->r, rc, "the filter: %s",
		                        why == NULL ? bole_status_text(rc) : why);
	if (url > BOLE_ORIGIN_URL_MAX)
		return bole_remote_fail(f->r, BOLE_E_LIMIT, "the URL is too long to be kept");
	if (o->there && strcmp(o->url, f->r->url) != 0)
		return bole_remote_fail(f->r, BOLE_E_CONFLICT,
		                        "%s is a partial clone of %s already", f->job->repo,
		                        o->url);
	f->new_origin = !o->there || strcmp(o->filter, filter) != 0;
	o->mixed = o->mixed || (o->there && f->new_origin);
	o->there = true;
	memcpy(o->url, f->r->url, url + 1);
	memcpy(o->filter, filter, len + 1);
	return BOLE_OK;
}

enum bole_status bole_fetch_partial(struct fetching *f)
{
	bool any = false;

	enum bole_status rc = bole_promise_any(f->tx->view, &any);
	if (rc == BOLE_OK)
		rc = bole_origin_load(f->tx->view, f->r->alloc, &f->origin);
	if (rc != BOLE_OK)
		return bole_remote_fail(f->r, rc, "repository %s: the record of its origin: %s",
		                        f->job->repo, bole_status_text(rc));
	if (f->job->filter != NULL && f->r->url != NULL)
		BOLE_TRY(choose(f, f->job->filter));
	f->promisor = f->origin.there && f->r->url != NULL && strcmp(f->origin.url, f->r->url) == 0;
	f->partial = any || f->origin.there;
	if (f->promisor && f->origin.filter[0] != '\0' &&
	    (f->r->version != 2 || !f->r->caps.filter))
		return bole_remote_fail(f->r, BOLE_E_UNSUPPORTED,
		                        "%s is a partial clone of this server, which offers none "
		                        "any more",
		                        f->job->repo);
	return BOLE_OK;
}
