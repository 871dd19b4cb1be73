/* SPDX-License-Identifier: ISC */
/* report-status and report-status-v2 (gitprotocol-pack(5), "Report Status"). */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "git/client/push.h"

enum { REPORT_BUFFER = 16 * 1024, OPTIONS_MAX = 8 };

/* The report comes in a side-band or as it is. */
struct report {
	struct pushing *p;
	struct bole_demux demux;
	struct bole_input in;
	struct bole_pkt_reader pkt;
	uint8_t *buffer;
	char unpack[200]; /* why nothing was taken, or "" */
};

static enum bole_status next(struct report *t, struct bole_pkt *pkt)
{
	struct bole_remote *r = t->p->r;

	if (!t->p->side_band)
		return bole_remote_read(r, pkt);
	enum bole_status rc = bole_pkt_read(&t->pkt, pkt);
	if (rc == BOLE_OK)
		return rc;
	return bole_remote_fail(r, rc == BOLE_END ? BOLE_E_CLOSED : rc,
	                        "the server's report is cut short or malformed");
}

static int compare_names(const void *key, const void *item)
{
	return bole_bytes_compare(*(const struct bole_bytes *)key,
	                          ((const struct push_item *)item)->name);
}

static struct push_item *find(struct pushing *p, struct bole_bytes name)
{
	return p->count == 0 ? NULL
	                     : bsearch(&name, p->items, p->count, sizeof *p->items, compare_names);
}

/* "ok <name>", "ng <name> <reason>", "option ...". */
static enum bole_status take_line(struct report *t, struct bole_bytes line)
{
	struct bole_bytes reason = bole_bytes_z("the server gives no reason");
	struct bole_bytes name;
	char shown[160];

	if (bole_pkt_word(line, "option", &name))
		return BOLE_OK; /* what proc-receive did instead */
	bool good = bole_pkt_word(line, "ok", &name);
	if (!good && !bole_pkt_word(line, "ng", &name))
		return bole_remote_fail(t->p->r, BOLE_E_INVALID,
		                        "the server's report is malformed: '%s'",
		                        bole_printable(shown, sizeof shown, line));
	const uint8_t *space = memchr(name.ptr, ' ', name.len);
	if (space != NULL) {
		reason = bole_bytes_of(space + 1, name.len - (size_t)(space - name.ptr) - 1);
		name.len = (size_t)(space - name.ptr);
	}
	struct push_item *item = find(t->p, name);
	if (item == NULL || !item->sent || item->answered)
		return BOLE_OK;
	item->answered = true;
	if (good)
		return BOLE_OK;
	struct bole_bytes kept;
	bole_printable(shown, sizeof shown, reason);
	BOLE_TRY(bole_push_keep(t->p, bole_bytes_z(""), bole_bytes_z(shown), bole_bytes_z(""),
	                        &kept));
	bole_push_refuse(item, (const char *)kept.ptr);
	return BOLE_OK;
}

static enum bole_status read_lines(struct report *t)
{
	struct bole_bytes why;
	struct bole_pkt pkt;

	BOLE_TRY(next(t, &pkt));
	if (pkt.type != BOLE_PKT_DATA || !bole_pkt_word(pkt.line, "unpack", &why))
		return bole_remote_fail(t->p->r, BOLE_E_INVALID,
		                        "the server's report does not begin with 'unpack'");
	if (!bole_pkt_is(why, "ok"))
		bole_printable(t->unpack, sizeof t->unpack, why);
	for (size_t lines = 0; lines <= OPTIONS_MAX * (t->p->count + 1); lines++) {
		BOLE_TRY(next(t, &pkt));
		if (pkt.type == BOLE_PKT_FLUSH)
			return BOLE_OK;
		if (pkt.type != BOLE_PKT_DATA)
			break;
		BOLE_TRY(take_line(t, pkt.line));
	}
	return bole_remote_fail(t->p->r, BOLE_E_INVALID, "the server's report has no end");
}

/* Hooks may speak after the report; until the end of the side-band. */
static enum bole_status read_rest(struct report *t)
{
	struct bole_bytes rest;
	enum bole_status rc;

	while ((rc = bole_input_peek(&t->in, &rest)) == BOLE_OK)
		bole_input_take(&t->in, rest.len);
	/* The references have moved, whatever a server does then. */
	return BOLE_OK;
}

static enum bole_status judge(struct report *t)
{
	struct pushing *p = t->p;

	for (size_t i = 0; i < p->count; i++)
		if (p->items[i].sent && !p->items[i].answered)
			bole_push_refuse(&p->items[i], "the server does not say what became of it");
	if (t->unpack[0] == '\0')
		return BOLE_OK;
	return bole_remote_fail(p->r, BOLE_E_DENIED, "the server did not take the objects: %s",
	                        t->unpack);
}

static enum bole_status read_report(struct report *t)
{
	BOLE_TRY(read_lines(t));
	if (t->p->side_band)
		BOLE_TRY(read_rest(t));
	return judge(t);
}

enum bole_status bole_push_read_report(struct pushing *p)
{
	struct report t = {.p = p};
	struct bole_alloc *alloc = p->r->alloc;

	if (!p->report) {
		/* It cannot say; that it took everything is all there is to believe. */
		return BOLE_OK;
	}
	t.buffer = bole_alloc_array(alloc, REPORT_BUFFER, 1);
	if (t.buffer == NULL)
		return BOLE_E_NO_MEMORY;
	bole_demux_init(&t.demux, p->r);
	bole_input_init(&t.in, &t.demux.reader, t.buffer, REPORT_BUFFER);
	bole_pkt_reader_init(&t.pkt, &t.in, alloc);
	enum bole_status rc = read_report(&t);
	bole_pkt_reader_release(&t.pkt);
	bole_alloc_free(alloc, t.buffer, REPORT_BUFFER, 1);
	return rc;
}
