/* SPDX-License-Identifier: ISC */
/* git:// (gitprotocol-pack(5), "Git Transport"): one packet names the service and the repository,
 * then the service has the stream. */
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "node/internal.h"

enum { REQUEST_BYTES_MAX = 4096 };

struct gitd_request {
	enum node_service service;
	char name[BOLE_REPO_NAME_MAX + 1];
	int version;
};

/* An ERR packet, so that the client shows a reason instead of "hung up unexpectedly". */
static void send_error(struct node_connection *c, const char *text)
{
	char line[BOLE_REPO_NAME_MAX + 100];

	atomic_fetch_add(&c->node->refused_total, 1);
	bole_log(c->node->platform, BOLE_LOG_INFO, "git %s: refused: %s", c->peer, text);
	int len = snprintf(line, sizeof line, "%04zxERR %.*s\n", strlen(text) + 9,
	                   BOLE_REPO_NAME_MAX + 80, text);
	struct bole_bytes piece = bole_bytes_of(line, (size_t)len);
	if (bole_node_connection_send(c, &piece, 1) == BOLE_OK)
		bole_node_connection_linger(c);
}

static int hex_value(uint8_t ch)
{
	if (ch >= '0' && ch <= '9')
		return ch - '0';
	ch |= 0x20;
	return ch >= 'a' && ch <= 'f' ? ch - 'a' + 10 : -1;
}

/* The whole first packet, without its length. */
static const char *read_packet(struct node_connection *c, struct bole_bytes *out)
{
	struct bole_platform *platform = c->node->platform;
	uint64_t deadline = platform->ops->now_ns(platform) + c->node->options.head_ns;
	size_t need = 4;

	for (;;) {
		size_t have = c->input_len - c->input_pos;
		const uint8_t *p = c->input + c->input_pos;
		if (have >= 4 && need == 4) {
			need = 0;
			for (int i = 0; i < 4; i++) {
				if (hex_value(p[i]) < 0)
					return "this is no Git request";
				need = need << 4 | (size_t)hex_value(p[i]);
			}
			if (need <= 4 || need > REQUEST_BYTES_MAX)
				return "the request is empty or too long";
		}
		if (have >= need && need > 4) {
			*out = bole_bytes_of(p + 4, need - 4);
			c->input_pos += need;
			return NULL;
		}
		enum bole_status rc = bole_node_connection_fill(c, deadline);
		if (rc == BOLE_E_TIMEOUT && !atomic_load(&c->evicted))
			return "no request came in time";
		if (rc != BOLE_OK)
			return ""; /* gone: nobody to tell */
	}
}

/* Cuts up to the next NUL off *rest. */
static struct bole_bytes cut(struct bole_bytes *rest)
{
	const uint8_t *nul = rest->len == 0 ? NULL : memchr(rest->ptr, 0, rest->len);
	size_t len = nul == NULL ? rest->len : (size_t)(nul - rest->ptr);
	struct bole_bytes word = bole_bytes_of(rest->ptr, len);
	size_t skip = nul == NULL ? len : len + 1;

	rest->ptr += skip;
	rest->len -= skip;
	return word;
}

static const char *parse_name(struct bole_bytes path, char name[BOLE_REPO_NAME_MAX + 1])
{
	while (path.len > 0 && path.ptr[0] == '/') {
		path.ptr++;
		path.len--;
	}
	while (path.len > 0 && (path.ptr[path.len - 1] == '/' || path.ptr[path.len - 1] == '\n'))
		path.len--;
	if (path.len > 4 && memcmp(path.ptr + path.len - 4, ".git", 4) == 0)
		path.len -= 4;
	if (path.len > BOLE_REPO_NAME_MAX ||
	    !bole_repo_name_valid((const char *)path.ptr, path.len))
		return "no such repository";
	memcpy(name, path.ptr, path.len);
	name[path.len] = '\0';
	return NULL;
}

static const char *parse_packet(struct bole_bytes packet, struct gitd_request *r)
{
	static const struct {
		const char *word;
		enum node_service service;
	} services[] = {
	        {"git-upload-pack ", NODE_UPLOAD_PACK},
	        {"git-receive-pack ", NODE_RECEIVE_PACK},
	        {"git-upload-archive ", NODE_UPLOAD_ARCHIVE},
	};
	struct bole_bytes command = cut(&packet);
	const char *why = "this service is not offered";

	*r = (struct gitd_request){0};
	for (size_t i = 0; i < sizeof services / sizeof services[0]; i++) {
		struct bole_bytes word = bole_bytes_z(services[i].word);
		if (!bole_bytes_start(command, word))
			continue;
		r->service = services[i].service;
		why = parse_name(bole_bytes_of(command.ptr + word.len, command.len - word.len),
		                 r->name);
	}
	/* host=…, an empty word, then further parameters; the order is not relied upon. */
	while (packet.len > 0) {
		struct bole_bytes word = cut(&packet);
		if (word.len == 9 && memcmp(word.ptr, "version=", 8) == 0 && word.ptr[8] >= '0' &&
		    word.ptr[8] <= '2')
			r->version = word.ptr[8] - '0';
	}
	return why;
}

static const char *text_of(enum bole_node_verdict verdict)
{
	if (verdict == NODE_READ_ONLY)
		return "pushing is not enabled here (receive.enable)";
	if (verdict == NODE_UNKNOWN)
		return "a name and a token are needed, which only HTTP can take";
	if (verdict == NODE_FORBIDDEN)
		return "pushing is not allowed here";
	return verdict == NODE_FAILED ? "the store failed; its log says why" : "no such repository";
}

void bole_node_gitd_serve(struct node_connection *c)
{
	struct bole_bytes packet = {NULL, 0};
	struct gitd_request parsed;

	if (!bole_node_connection_idle(c, true))
		return;
	const char *why = read_packet(c, &packet);
	if (!bole_node_connection_idle(c, false))
		return;
	if (why == NULL)
		why = parse_packet(packet, &parsed);
	if (why != NULL && why[0] == '\0')
		return;
	atomic_fetch_add(&c->node->requests_total, 1);
	enum bole_node_verdict verdict = NODE_NOT_FOUND;
	if (why == NULL) {
		verdict = bole_node_verdict(c->node, parsed.service, NULL, parsed.name);
		if (verdict != NODE_GRANTED && verdict != NODE_ABSENT)
			why = text_of(verdict);
	}
	if (why == NULL && bole_node_throttle(c, NULL, parsed.name) > 0)
		why = "too many requests; try again in a while";
	if (why == NULL && !bole_node_enter(c))
		why = "the server is busy; try again shortly";
	if (why != NULL) {
		send_error(c, why);
		return;
	}
	struct node_request request = {
	        .connection = c,
	        .service = parsed.service,
	        .name = parsed.name,
	        .version = parsed.version,
	        .reader = &c->reader,
	        .writer = &c->writer,
	};
	bole_node_request_run(&request);
	bole_node_leave(c);
	/* Else the peer may be sending still, and a reset would take the last answer away. */
	if (!request.ended)
		bole_node_connection_linger(c);
}
