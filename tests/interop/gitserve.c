/* SPDX-License-Identifier: ISC */
/* The Git services on loopback, for tests with real clients: git:// and smart HTTP on one port, a
 * store behind. Nothing here is fit for more than a test.
 *
 *   gitserve PORTFILE memory|flash [sha256]
 *
 * writes "port\n" when it listens and serves until SIGTERM; a flash volume (in memory) is then
 * checked and mounted again. The repositories:
 *   a, b       plain
 *   strict     no rewinds, no deletions
 *   readonly   no pushes
 *   other      of the other object format */
#include <arpa/inet.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>

#include "base/bytes.h"
#include "base/io.h"
#include "base/memory.h"
#include "bole/devices.h"
#include "bole/store.h"
#include "git/service/service.h"
#include "git/wire/pkt_line.h"
#include "support/platform.h"

enum { BUF = 65536, HEAD_MAX = 16384, DISK_BYTES = 256 << 20 };

static struct test_platform test;
static struct bole_store *store;

struct link {
	struct bole_reader reader; /* the body: raw, by length, or chunked */
	struct bole_writer writer;
	int fd;
	FILE *in;
	bool chunked;
	bool bounded;
	size_t left; /* of the body or chunk */
	bool gzip;
	bool gzip_end;
	z_stream z;
	uint8_t packed[BUF];
};

static enum bole_status raw_read(struct link *l, void *dst, size_t cap, size_t *got)
{
	char line[64];

	*got = 0;
	if (l->chunked && l->left == 0) {
		if (fgets(line, sizeof line, l->in) == NULL)
			return BOLE_E_CLOSED;
		l->left = strtoul(line, NULL, 16);
		if (l->left == 0)
			return BOLE_END;
	}
	if (l->bounded && l->left == 0)
		return BOLE_END;
	if (l->chunked || l->bounded) {
		*got = fread(dst, 1, cap < l->left ? cap : l->left, l->in);
		l->left -= *got;
		if (l->chunked && l->left == 0 && fgets(line, sizeof line, l->in) == NULL)
			return BOLE_E_CLOSED;
		return *got > 0 ? BOLE_OK : BOLE_E_CLOSED;
	}
	ssize_t n = read(l->fd, dst, cap);
	*got = n > 0 ? (size_t)n : 0;
	return n > 0 ? BOLE_OK : n == 0 ? BOLE_END : BOLE_E_CLOSED;
}

static enum bole_status body_read(struct bole_reader *self, void *dst, size_t cap, size_t *got)
{
	struct link *l = (struct link *)self;

	*got = 0;
	if (!l->gzip)
		return raw_read(l, dst, cap, got);
	l->z.next_out = dst;
	l->z.avail_out = (uInt)cap;
	while (!l->gzip_end && l->z.avail_out == cap) {
		size_t n = 0;
		if (l->z.avail_in == 0) {
			if (raw_read(l, l->packed, sizeof l->packed, &n) != BOLE_OK)
				return BOLE_E_CLOSED;
			l->z.next_in = l->packed;
			l->z.avail_in = (uInt)n;
		}
		int rc = inflate(&l->z, Z_NO_FLUSH);
		if (rc != Z_OK && rc != Z_STREAM_END)
			return BOLE_E_INVALID;
		l->gzip_end = rc == Z_STREAM_END;
	}
	*got = cap - l->z.avail_out;
	return *got > 0 ? BOLE_OK : BOLE_END;
}

static enum bole_status link_write(struct bole_writer *self, const void *src, size_t len)
{
	struct link *l = (struct link *)((char *)self - offsetof(struct link, writer));
	const char *p = src;

	while (len > 0) {
		ssize_t n = send(l->fd, p, len, MSG_NOSIGNAL);
		if (n <= 0)
			return BOLE_E_CLOSED;
		p += n;
		len -= (size_t)n;
	}
	return BOLE_OK;
}

static enum bole_status link_flush(struct bole_writer *self)
{
	(void)self;
	return BOLE_OK;
}

static bool hung_up(void *ctx)
{
	const struct link *l = ctx;
	char c;

	return recv(l->fd, &c, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

static void serve(struct link *l, const char *repo, bool push, int version, bool http,
                  bool advertise)
{
	uint8_t *buf = malloc(2 * BUF);
	struct bole_input in;
	struct bole_output out;
	struct bole_budget budget;
	struct bole_service_policy policy = {
	        .receive_enable = strcmp(repo, "readonly") != 0,
	        .deny_non_fast_forward = strcmp(repo, "strict") == 0,
	        .deny_delete = strcmp(repo, "strict") == 0,
	};

	bole_fetch_policy_init(&policy.fetch);
	bole_budget_init(&budget, &test.alloc, 256 << 20);
	bole_input_init(&in, &l->reader, buf, BUF);
	bole_output_init(&out, &l->writer, buf + BUF, BUF);
	struct bole_service svc = {
	        .platform = &test.base,
	        .alloc = &budget.alloc,
	        .store = store,
	        .policy = &policy,
	        .in = &in,
	        .out = &out,
	        .version = version,
	        .stateless = http,
	        .advertise = advertise,
	        .cancelled = http ? NULL : hung_up,
	        .cancelled_ctx = l,
	        .peer = http ? "http" : "git",
	};
	if (bole_repo_find(store, repo, &svc.repo) != BOLE_OK) {
		bole_pkt_text(&out, "ERR no such repository");
	} else {
		if (http && advertise && (push || version != 2)) {
			bole_pkt_text(&out, push ? "# service=git-receive-pack\n"
			                         : "# service=git-upload-pack\n");
			bole_pkt_flush(&out);
		}
		enum bole_status rc = push ? bole_receive_pack(&svc) : bole_upload_pack(&svc);
		fprintf(stderr, "gitserve: %s %s v%d %s: %s, peak %zu KiB\n", svc.peer, repo,
		        version, push ? "push" : "fetch", bole_status_text(rc),
		        (size_t)budget.peak / 1024);
	}
	(void)bole_output_flush(&out);
	free(buf);
}

/* "git-upload-pack /a.git\0host=x\0\0version=2\0" */
static void serve_git(struct link *l, const char *line, size_t len)
{
	char repo[200];
	bool push = strncmp(line, "git-receive-pack ", 17) == 0;
	const char *path = strchr(line, '/');
	int version = 0;

	if (path == NULL)
		return;
	snprintf(repo, sizeof repo, "%s", path + 1);
	if (strlen(repo) > 4 && strcmp(repo + strlen(repo) - 4, ".git") == 0)
		repo[strlen(repo) - 4] = '\0';
	for (size_t i = 0; i + 9 < len; i++)
		if (memcmp(line + i, "version=", 8) == 0)
			version = line[i + 8] - '0';
	serve(l, repo, push, version, false, false);
}

static void serve_http(struct link *l, const char *request)
{
	char repo[200] = "";
	char service[40] = "";
	char line[HEAD_MAX];
	char answer[300];
	int version = 0;
	bool get = strncmp(request, "GET /", 5) == 0;
	bool info;

	if (sscanf(request, get ? "GET /%150[^/]/info/refs?service=%39s" : "POST /%150[^/]/%39s",
	           repo, service) != 2)
		return;
	info = get;
	l->bounded = true;
	while (fgets(line, sizeof line, l->in) != NULL && line[0] != '\r') {
		if (strncasecmp(line, "git-protocol: version=", 22) == 0)
			version = line[22] - '0';
		if (strncasecmp(line, "content-length: ", 16) == 0)
			l->left = strtoul(line + 16, NULL, 10);
		if (strncasecmp(line, "transfer-encoding: chunked", 26) == 0)
			l->chunked = true;
		if (strncasecmp(line, "content-encoding: gzip", 22) == 0)
			l->gzip = inflateInit2(&l->z, 31) == Z_OK;
		if (strncasecmp(line, "expect: 100", 11) == 0)
			link_write(&l->writer, "HTTP/1.1 100 Continue\r\n\r\n", 25);
	}
	if (l->chunked)
		l->bounded = false;
	if (strlen(repo) > 4)
		repo[strlen(repo) - 4] = '\0';
	int n = snprintf(answer, sizeof answer,
	                 "HTTP/1.1 200 OK\r\nContent-Type: application/x-%s-%s\r\n"
	                 "Connection: close\r\nCache-Control: no-cache\r\n\r\n",
	                 service, info ? "advertisement" : "result");
	link_write(&l->writer, answer, (size_t)n);
	serve(l, repo, strcmp(service, "git-receive-pack") == 0, version, true, info);
	if (l->gzip)
		inflateEnd(&l->z);
}

static void *serve_one(void *arg)
{
	struct link *l = arg;
	char line[HEAD_MAX] = "";
	char peek[4] = "";

	l->reader.read = body_read;
	l->writer = (struct bole_writer){.write = link_write, .flush = link_flush};
	if (recv(l->fd, peek, 4, MSG_PEEK | MSG_WAITALL) == 4 &&
	    (memcmp(peek, "GET ", 4) == 0 || memcmp(peek, "POST", 4) == 0)) {
		l->in = fdopen(dup(l->fd), "r");
		if (l->in != NULL && fgets(line, sizeof line, l->in) != NULL)
			serve_http(l, line);
		if (l->in != NULL)
			fclose(l->in);
	} else {
		struct bole_input in;
		uint8_t small[1]; /* takes no byte beyond the packet */
		struct bole_pkt_reader pkts;
		struct bole_pkt pkt;
		bole_input_init(&in, &l->reader, small, 1);
		bole_pkt_reader_init(&pkts, &in, &test.alloc);
		if (bole_pkt_read(&pkts, &pkt) == BOLE_OK && pkt.data.len < sizeof line) {
			memcpy(line, pkt.data.ptr, pkt.data.len);
			serve_git(l, line, pkt.data.len);
		}
		bole_pkt_reader_release(&pkts);
	}
	shutdown(l->fd, SHUT_WR);
	close(l->fd);
	free(l);
	return NULL;
}

static void make_repositories(uint8_t algo, uint8_t other)
{
	static const char *const names[] = {"a", "b", "strict", "readonly", "other"};
	struct bole_repo repo;

	for (size_t i = 0; i < 5; i++)
		if (bole_repo_create(store, names[i], i == 4 ? other : algo, "refs/heads/main",
		                     &repo) != BOLE_OK)
			exit(2);
}

static struct bole_block *disk;

static void finding(void *ctx, bool error, const char *text)
{
	(void)ctx;
	fprintf(stderr, "gitserve: fsck: %s: %s\n", error ? "error" : "warning", text);
}

static void open_store(bool flash)
{
	static const struct bole_flash_format_options format = {.label = "gitserve"};
	static const struct bole_flash_open_options options = {.read_only = false};
	enum bole_status rc;

	if (!flash) {
		rc = bole_memory_store_open(&test.base, &test.alloc, &store);
	} else if (disk == NULL) {
		rc = bole_block_ram_open(&test.alloc, DISK_BYTES, 512, &disk);
		if (rc == BOLE_OK)
			rc = bole_flash_format(disk, &test.base, &format);
		if (rc == BOLE_OK)
			rc = bole_flash_open(disk, &test.base, &test.alloc, &options, &store);
	} else {
		rc = bole_flash_open(disk, &test.base, &test.alloc, &options, &store);
	}
	if (rc != BOLE_OK) {
		fprintf(stderr, "gitserve: no store: %s\n", bole_status_text(rc));
		exit(2);
	}
}

/* What was served is on the volume, all of it, and the volume is whole. */
static int close_flash(void)
{
	struct bole_flash_check_report report = {.finding = finding};
	struct bole_flash_check_result result;
	struct bole_store_stats before;
	struct bole_store_stats after;

	if (bole_store_stats(store, &before) != BOLE_OK || bole_store_close(store) != BOLE_OK)
		return 3;
	if (bole_flash_check(disk, &test.base, &test.alloc, &report, &result) != BOLE_OK ||
	    result.errors > 0)
		return 3;
	open_store(true);
	if (bole_store_stats(store, &after) != BOLE_OK || after.objects != before.objects)
		return 3;
	fprintf(stderr, "gitserve: %llu objects on a whole volume\n",
	        (unsigned long long)after.objects);
	return bole_store_close(store) == BOLE_OK ? 0 : 3;
}

static int listen_on_loopback(const char *portfile)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t len = sizeof address;
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (listener < 0 || bind(listener, (struct sockaddr *)&address, len) != 0 ||
	    listen(listener, 64) != 0 ||
	    getsockname(listener, (struct sockaddr *)&address, &len) != 0)
		exit(2);
	FILE *file = fopen(portfile, "w");
	if (file == NULL)
		exit(2);
	fprintf(file, "%d\n", ntohs(address.sin_port));
	fclose(file);
	return listener;
}

static volatile sig_atomic_t stopping;

static void on_term(int number)
{
	(void)number;
	stopping = 1;
}

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = on_term};
	bool flash = argc >= 3 && strcmp(argv[2], "flash") == 0;
	bool memory = argc >= 3 && strcmp(argv[2], "memory") == 0;

	test_platform_init(&test, 1);
	if (!memory && !flash)
		return 2;
	sigaction(SIGTERM, &action, NULL);
	open_store(flash);
	bool wide = argc > 3 && strcmp(argv[3], "sha256") == 0;

	make_repositories(wide ? BOLE_HASH_SHA256 : BOLE_HASH_SHA1,
	                  wide ? BOLE_HASH_SHA1 : BOLE_HASH_SHA256);
	int listener = listen_on_loopback(argv[1]);
	while (!stopping) {
		struct link *l = calloc(1, sizeof *l);
		pthread_t thread;
		if (l == NULL)
			return 2;
		l->fd = accept(listener, NULL, NULL);
		if (l->fd < 0) {
			free(l);
			continue;
		}
		if (pthread_create(&thread, NULL, serve_one, l) != 0)
			return 2;
		pthread_detach(thread);
	}
	return flash ? close_flash() : 0;
}
