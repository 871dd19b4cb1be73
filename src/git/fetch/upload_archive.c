/* SPDX-License-Identifier: ISC */
/* upload-archive (git-upload-archive(1)): "argument" packets, an ACK, the archive in the side-band.
 */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "git/fetch/archive.h"

struct parsing {
	struct bole_session *s;
	struct bole_archive_ask *ask;
	struct bole_arena text;
	size_t text_bytes;
	bool list;
	bool no_more_options;
};

static bool cut(struct bole_bytes word, const char *option, struct bole_bytes *value)
{
	size_t len = strlen(option);

	if (!bole_bytes_start(word, bole_bytes_of(option, len)))
		return false;
	*value = bole_bytes_of(word.ptr + len, word.len - len);
	return true;
}

bool bole_archive_format_of(struct bole_bytes name, enum bole_archive_format *out)
{
	static const struct {
		const char *name;
		enum bole_archive_format format;
	} formats[] = {{"tar", BOLE_ARCHIVE_TAR},
	               {"tgz", BOLE_ARCHIVE_TGZ},
	               {"tar.gz", BOLE_ARCHIVE_TGZ},
	               {"zip", BOLE_ARCHIVE_ZIP}};

	for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
		if (!bole_pkt_is(name, formats[i].name))
			continue;
		*out = formats[i].format;
		return true;
	}
	return false;
}

static enum bole_status refuse(struct parsing *p, const char *what, struct bole_bytes word)
{
	char shown[100];

	return bole_session_refuse(p->s, BOLE_E_INVALID, "upload-archive: %s '%s'", what,
	                           bole_printable(shown, sizeof shown, word));
}

static enum bole_status take_option(struct parsing *p, struct bole_bytes word)
{
	struct bole_archive_ask *ask = p->ask;
	struct bole_bytes value;

	if (bole_pkt_is(word, "--"))
		p->no_more_options = true;
	else if (bole_pkt_is(word, "-l") || bole_pkt_is(word, "--list"))
		p->list = true;
	else if (cut(word, "--prefix=", &value))
		ask->prefix = value;
	else if (cut(word, "--format=", &value)) {
		if (!bole_archive_format_of(value, &ask->format))
			return refuse(p, "no such format:", value);
	} else if (word.len == 2 && word.ptr[1] >= '0' && word.ptr[1] <= '9')
		ask->level = word.ptr[1] - '0';
	else if (!bole_pkt_is(word, "-v") && !bole_pkt_is(word, "--verbose"))
		return refuse(p, "unknown option", word);
	return BOLE_OK;
}

static enum bole_status take_word(struct parsing *p, struct bole_bytes word)
{
	struct bole_archive_ask *ask = p->ask;

	if (word.len > BOLE_ARCHIVE_TEXT_MAX - p->text_bytes)
		return refuse(p, "too many arguments:", word);
	uint8_t *copy = bole_arena_alloc(&p->text, word.len + 1, 1);
	if (copy == NULL)
		return bole_session_check(p->s, BOLE_E_NO_MEMORY, "upload-archive");
	if (word.len > 0)
		memcpy(copy, word.ptr, word.len);
	p->text_bytes += word.len + 1;
	word = bole_bytes_of(copy, word.len);
	if (!p->no_more_options && word.len > 0 && word.ptr[0] == '-')
		return take_option(p, word);
	if (ask->treeish.ptr == NULL) {
		ask->treeish = word;
		return BOLE_OK;
	}
	if (ask->path_count == BOLE_ARCHIVE_PATHS_MAX)
		return refuse(p, "too many paths:", word);
	while (word.len > 0 && word.ptr[word.len - 1] == '/')
		word.len--;
	if (bole_pkt_is(word, "."))
		word.len = 0;
	ask->paths[ask->path_count++] = word;
	return BOLE_OK;
}

static enum bole_status read_words(struct parsing *p)
{
	for (;;) {
		struct bole_bytes word;
		struct bole_pkt pkt;
		enum bole_status rc = bole_session_read(p->s, &pkt);
		if (rc == BOLE_END)
			return bole_session_refuse(p->s, BOLE_E_INVALID,
			                           "protocol error: the request is cut short");
		if (rc != BOLE_OK)
			return rc;
		if (pkt.type == BOLE_PKT_FLUSH)
			break;
		if (pkt.type != BOLE_PKT_DATA || !cut(pkt.line, "argument ", &word))
			return refuse(p, "expected an argument, got", pkt.line);
		BOLE_TRY(take_word(p, word));
	}
	if (p->ask->treeish.ptr == NULL && !p->list)
		return bole_session_refuse(p->s, BOLE_E_INVALID,
		                           "upload-archive: no reference is named");
	return BOLE_OK;
}

static enum bole_status send(struct parsing *p)
{
	static const char formats[] = "tar\ntgz\ntar.gz\nzip\n";
	struct bole_session *s = p->s;
	struct bole_service *svc = s->svc;
	char shown[100];

	bole_pkt_text(svc->out, "ACK\n");
	bole_pkt_flush(svc->out);
	BOLE_TRY(bole_sideband_open(&s->band, svc->out, svc->platform, svc->alloc,
	                            BOLE_SIDEBAND_LARGE, true));
	s->band_open = true;
	enum bole_status rc =
	        p->list ? s->band.writer.write(&s->band.writer, formats, sizeof formats - 1)
	                : bole_archive_write(s, p->ask, &s->band.writer);
	if (rc == BOLE_E_NOT_FOUND)
		return bole_session_refuse(
		        s, rc, "upload-archive: no such reference, or no such path in it: '%s'",
		        bole_printable(shown, sizeof shown, p->ask->treeish));
	BOLE_TRY(bole_session_check(s, rc, "upload-archive"));
	bole_sideband_push(&s->band);
	bole_pkt_flush(svc->out);
	return bole_session_flush(s);
}

enum bole_status bole_upload_archive(struct bole_service *svc)
{
	struct bole_archive_ask ask = {.level = BOLE_ARCHIVE_LEVEL};
	struct bole_session s;
	struct parsing p = {.s = &s, .ask = &ask};
	enum bole_status rc = bole_session_open(&s, svc);

	s.refs = svc->policy->fetch.refs;
	bole_arena_init(&p.text, svc->alloc, 1024);
	if (rc == BOLE_OK && !svc->policy->fetch.archive)
		rc = bole_session_refuse(&s, BOLE_E_DENIED,
		                         "upload-archive: archives are not enabled here");
	if (rc == BOLE_OK)
		rc = read_words(&p);
	if (rc == BOLE_OK)
		rc = send(&p);
	if (s.refused)
		bole_session_drain(&s);
	bole_arena_release(&p.text);
	bole_session_close(&s);
	return rc;
}

enum bole_status bole_archive_get(struct bole_service *svc, struct bole_bytes treeish,
                                  struct bole_bytes prefix, struct bole_bytes format)
{
	struct bole_archive_ask ask = {
	        .level = BOLE_ARCHIVE_LEVEL, .treeish = treeish, .prefix = prefix};
	struct bole_session s;

	if (!svc->policy->fetch.archive)
		return BOLE_E_DENIED;
	if (!bole_archive_format_of(format, &ask.format))
		return BOLE_E_NOT_FOUND;
	enum bole_status rc = bole_session_open(&s, svc);
	s.refs = svc->policy->fetch.refs;
	s.refused = true; /* the transport tells: there are no packets here */
	if (rc == BOLE_OK)
		rc = bole_sideband_open(&s.band, svc->out, svc->platform, svc->alloc,
		                        BOLE_SIDEBAND_NONE, true);
	s.band_open = rc == BOLE_OK;
	if (rc == BOLE_OK)
		rc = bole_archive_write(&s, &ask, &s.band.writer);
	bole_session_close(&s);
	return rc;
}
