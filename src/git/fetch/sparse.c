/* SPDX-License-Identifier: ISC */
/* The patterns of a filter "sparse:oid=<blob>". */
#include "base/bytes.h"
#include "base/check.h"
#include "git/fetch/treeish.h"

#include "git/fetch/upload_pack_impl.h"
#include "git/object/object.h"

/* A blob by its id: only one that might be wanted, so that nobody asks what is in others. */
static enum bole_status find_by_id(struct bole_fetch *f, const struct bole_oid *oid)
{
	struct bole_service *svc = f->s->svc;
	struct bole_id_list ids;
	size_t refused;

	bole_id_list_init(&ids, svc->platform, svc->alloc, svc->repo.algo);
	enum bole_status rc = bole_id_list_add(&ids, oid);
	if (rc == BOLE_OK)
		rc = bole_wants_check(f->s, &ids, NULL, &refused);
	bole_id_list_release(&ids);
	return rc == BOLE_E_DENIED ? BOLE_E_NOT_FOUND : rc;
}

static enum bole_status find_blob(struct bole_fetch *f, struct bole_object_reader *reader,
                                  struct bole_oid *oid)
{
	struct bole_bytes name = bole_bytes_of(f->filter.sparse, f->filter.sparse_len);
	struct bole_treeish found;

	if (bole_oid_parse(f->filter.sparse, f->filter.sparse_len, f->s->svc->repo.algo, oid) ==
	    BOLE_OK)
		return find_by_id(f, oid);
	BOLE_TRY(bole_treeish_find(f->s, reader, name, &found));
	*oid = found.oid;
	return found.mode == BOLE_MODE_SUBMODULE ? BOLE_E_NOT_FOUND : BOLE_OK;
}

static enum bole_status read_patterns(struct bole_fetch *f)
{
	struct bole_object_reader *reader;
	struct bole_bytes content;
	struct bole_oid oid;
	uint64_t bytes;
	uint8_t type;

	BOLE_TRY(bole_session_reader(f->s, f->s->snapshot, &reader));
	BOLE_TRY(find_blob(f, reader, &oid));
	BOLE_TRY(bole_object_size(reader, &oid, &type, &bytes));
	if (type != BOLE_OBJECT_BLOB)
		return BOLE_E_NOT_FOUND;
	if (bytes > BOLE_PATTERNS_BYTES_MAX)
		return BOLE_E_LIMIT;
	BOLE_TRY(bole_object_read(reader, &oid, NULL, &content));
	bole_path_patterns_release(&f->patterns);
	return bole_path_patterns_parse(&f->patterns, f->s->svc->alloc, content);
}

enum bole_status bole_fetch_sparse(struct bole_fetch *f)
{
	struct bole_bytes name = bole_bytes_of(f->filter.sparse, f->filter.sparse_len);
	enum bole_status rc = read_patterns(f);
	char shown[80];

	f->filter.patterns = &f->patterns;
	if (rc == BOLE_E_NOT_FOUND)
		return bole_session_refuse(f->s, rc, "upload-pack: sparse:oid: no blob '%s'",
		                           bole_printable(shown, sizeof shown, name));
	if (rc == BOLE_E_LIMIT)
		return bole_session_refuse(f->s, rc,
		                           "upload-pack: sparse:oid: '%s' has too many or too "
		                           "long patterns",
		                           bole_printable(shown, sizeof shown, name));
	return bole_session_check(f->s, rc, "upload-pack: sparse:oid");
}
