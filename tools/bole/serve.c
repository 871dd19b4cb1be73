/* SPDX-License-Identifier: ISC */
/* bole serve: the node as a process. On loopback and read-only unless told otherwise. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bole/config.h"
#include "bole/node.h"
#include "bole/posix.h"
#include "cli.h"
#include "commands.h"

enum {
	STOP_SECONDS = 10,
	STOP_SECONDS_MAX = 3600,
	REPOS_SHOWN_MAX = 20,
	CONNECTIONS = 10240, /* unless the settings say otherwise */
	FILES_KEPT = 64,     /* descriptors for everything that is no connection */
	LOOPS_MAX = 64,
};

static const char help[] =
        "usage: bole serve STORE [OPTIONS]\n\n"
        "  --http ADDRESS   listen for HTTP there (127.0.0.1:8080; \"off\" = not at all)\n"
        "  --git ADDRESS    listen for git:// there (127.0.0.1:9418; \"off\" = not at all)\n"
        "  --push           accept pushes\n"
        "  --create         a push may create a repository (with --push)\n"
        "  --config FILE    read settings from FILE, in git-config syntax\n"
        "  --set KEY=VALUE  one setting, for example node.connections=100\n\n"
        "ADDRESS is host:port, [v6]:port or :port (every address of this machine).\n"
        "Later options win; docs/CONFIG.md lists all settings. Ctrl-C stops cleanly, a\n"
        "second one at once.\n";

struct server {
	struct bole_platform *platform;
	struct bole_config *config;
	struct bole_mutex lock;
	struct bole_cond stopped;
	bool stop; /* under lock */
	bool configured;
	uint64_t stop_seconds;
};

/* -- options -- */

static int set(struct server *s, const char *key, const char *value)
{
	char text[1024];

	int len = snprintf(text, sizeof text, "%s=%s", key, value);
	if (len < 0 || (size_t)len >= sizeof text)
		text[0] = '\0';
	return bole_cli_config_set(s->config, text);
}

/* Takes the option at argv[*i] and its value. */
static int take_option(struct server *s, int argc, char **argv, int *i)
{
	const char *name = argv[*i];

	if (strcmp(name, "--push") == 0)
		return set(s, "receive.enable", "true");
	if (strcmp(name, "--create") == 0)
		return set(s, "receive.create", "true");
	if (strcmp(name, "--http") != 0 && strcmp(name, "--git") != 0 &&
	    strcmp(name, "--config") != 0 && strcmp(name, "--set") != 0) {
		bole_cli_say("no option %s; try: bole serve --help", name);
		return BOLE_EXIT_USAGE;
	}
	if (++*i >= argc) {
		bole_cli_say("%s needs a value", name);
		return BOLE_EXIT_USAGE;
	}
	if (strcmp(name, "--http") == 0)
		return set(s, "http.listen", argv[*i]);
	if (strcmp(name, "--git") == 0)
		return set(s, "git.listen", argv[*i]);
	s->configured = true;
	return strcmp(name, "--set") == 0 ? bole_cli_config_set(s->config, argv[*i])
	                                  : bole_cli_config_file(s->config, argv[*i]);
}

/* *store is the one argument that is no option. */
static int take_options(struct server *s, int argc, char **argv, const char **store)
{
	*store = NULL;
	for (int i = 1; i < argc; i++) {
		int code = BOLE_EXIT_OK;
		if (argv[i][0] == '-') {
			code = take_option(s, argc, argv, &i);
		} else if (*store != NULL) {
			bole_cli_say("one store only, not also '%s'", argv[i]);
			code = BOLE_EXIT_USAGE;
		} else {
			*store = argv[i];
		}
		if (code != BOLE_EXIT_OK)
			return code;
	}
	if (*store != NULL)
		return BOLE_EXIT_OK;
	return bole_cli_usage("serve", "a store is missing");
}

/* What this process can take; the node itself knows no descriptors. */
static int fit_process(struct server *s)
{
	uint64_t files = bole_posix_raise_files();
	uint64_t most = files > 2 * FILES_KEPT ? files - FILES_KEPT : FILES_KEPT;
	uint64_t connections = 0;
	uint64_t loops = 0;
	char text[32];

	if (bole_config_u64(s->config, "node.loops", 0, &loops) != BOLE_OK || loops > LOOPS_MAX) {
		bole_cli_say("node.loops must be a number from 0 to %d", LOOPS_MAX);
		return BOLE_EXIT_USAGE;
	}
	if (bole_config_u64(s->config, "node.stopTimeout", STOP_SECONDS, &s->stop_seconds) !=
	            BOLE_OK ||
	    s->stop_seconds > STOP_SECONDS_MAX) {
		bole_cli_say("node.stopTimeout must be a number from 0 to %d", STOP_SECONDS_MAX);
		return BOLE_EXIT_USAGE;
	}
	bole_posix_set_loops(s->platform, (unsigned)loops);
	/* What is no number is the node's to refuse. */
	if (bole_config_u64(s->config, "node.connections", CONNECTIONS, &connections) != BOLE_OK)
		return BOLE_EXIT_OK;
	if (connections > most && bole_config_get(s->config, "node.connections") != NULL)
		bole_cli_say("warning: node.connections is %llu, but %llu files may be open "
		             "(ulimit -n): it is %llu",
		             (unsigned long long)connections, (unsigned long long)files,
		             (unsigned long long)most);
	snprintf(text, sizeof text, "%llu",
	         (unsigned long long)(connections > most ? most : connections));
	return set(s, "node.connections", text);
}

/* -- what the user sees -- */

static bool is_loopback(const char *address)
{
	return strncmp(address, "127.", 4) == 0 || strncmp(address, "localhost:", 10) == 0 ||
	       strncmp(address, "[::1]:", 6) == 0 || strcmp(address, "off") == 0;
}

static void warn_if_open(const struct server *s, const char *key, bool push)
{
	const char *address = bole_config_get(s->config, key);

	if (address != NULL && !is_loopback(address))
		bole_cli_say("warning: %s %s can be reached from other machines, without a "
		             "password%s",
		             key, address, push ? ", and it accepts pushes" : "");
}

static void show_repo(const struct bole_node *node, const char *name)
{
	if (bole_node_http_port(node) != 0)
		printf("  git clone http://localhost:%u/%s.git\n",
		       (unsigned)bole_node_http_port(node), name);
	else if (bole_node_git_port(node) != 0)
		printf("  git clone git://localhost:%u/%s.git\n",
		       (unsigned)bole_node_git_port(node), name);
}

static void show(struct server *s, const struct bole_node *node, struct bole_store *store)
{
	struct bole_repo repo;
	char after[BOLE_REPO_NAME_MAX + 1] = "";
	unsigned count = 0;
	bool push = false;
	bool create = false;

	(void)bole_config_bool(s->config, "receive.enable", false, &push);
	(void)bole_config_bool(s->config, "receive.create", false, &create);
	printf("bole serves%s%s:\n", push ? ", accepts pushes" : ", read-only",
	       push && create ? " and creates repositories" : "");
	while (count < REPOS_SHOWN_MAX && bole_repo_next(store, after, &repo) == BOLE_OK) {
		show_repo(node, repo.name);
		memcpy(after, repo.name, sizeof after);
		count++;
	}
	if (count == 0 && push && create)
		printf("  no repository yet; for example:\n  git push http://localhost:%u/new.git "
		       "HEAD\n",
		       (unsigned)bole_node_http_port(node));
	else if (count == 0)
		puts("  no repository yet");
	else if (count == REPOS_SHOWN_MAX)
		puts("  and more");
	printf("http port %u, git port %u. Stop with Ctrl-C.\n",
	       (unsigned)bole_node_http_port(node), (unsigned)bole_node_git_port(node));
	fflush(stdout);
	warn_if_open(s, "http.listen", push);
	warn_if_open(s, "git.listen", push);
}

/* -- running -- */

static void on_stop(void *ctx, unsigned n)
{
	struct server *s = ctx;
	const struct bole_platform_ops *ops = s->platform->ops;

	if (n > 1) {
		static const char text[] = "bole: stopped at once\n";
		if (write(STDERR_FILENO, text, sizeof text - 1) < 0)
			_exit(131);
		_exit(130);
	}
	ops->mutex_lock(s->platform, &s->lock);
	s->stop = true;
	ops->cond_broadcast(s->platform, &s->stopped);
	ops->mutex_unlock(s->platform, &s->lock);
}

static int serve(struct server *s, struct bole_store *store)
{
	const struct bole_platform_ops *ops = s->platform->ops;
	struct bole_node *node = NULL;

	enum bole_status rc = bole_posix_on_stop(s->platform, on_stop, s);
	if (rc == BOLE_OK)
		rc = bole_node_start(s->platform, store, s->config, &node);
	if (rc != BOLE_OK)
		return bole_cli_fail("cannot serve, as the log says", rc);
	show(s, node, store);
	ops->mutex_lock(s->platform, &s->lock);
	while (!s->stop)
		(void)ops->cond_wait(s->platform, &s->stopped, &s->lock, BOLE_NEVER);
	ops->mutex_unlock(s->platform, &s->lock);
	bole_cli_say("stopping; requests in flight have %llu seconds",
	             (unsigned long long)s->stop_seconds);
	bole_node_close(node, ops->now_ns(s->platform) + s->stop_seconds * UINT64_C(1000000000));
	return BOLE_EXIT_OK;
}

static int open_and_serve(struct bole_cli *cli, struct server *s, int argc, char **argv)
{
	const char *text = NULL;
	struct bole_cli_spec spec;
	struct bole_cli_store store;
	bool push = false;

	int code = take_options(s, argc, argv, &text);
	if (code == BOLE_EXIT_OK)
		code = fit_process(s);
	if (code == BOLE_EXIT_OK)
		code = bole_cli_spec_parse(text, &spec);
	if (code != BOLE_EXIT_OK)
		return code;
	/* With no way to push, others may read the volume beside us. */
	bool asked = bole_config_bool(s->config, "receive.enable", false, &push) != BOLE_OK;
	bool write = push || asked || s->configured;
	code = bole_cli_store_open(cli, &spec, write ? BOLE_CLI_SERVE : BOLE_CLI_READ, &store);
	if (code != BOLE_EXIT_OK)
		return code;
	code = serve(s, store.store);
	int closed = bole_cli_store_close(&store);
	return code == BOLE_EXIT_OK ? closed : code;
}

static int run(struct bole_cli *cli, int argc, char **argv)
{
	struct server s = {.platform = cli->platform};
	const struct bole_platform_ops *ops = s.platform->ops;

	if (argc > 1 && strcmp(argv[1], "--help") == 0) {
		fputs(help, stdout);
		return BOLE_EXIT_OK;
	}
	enum bole_status rc = bole_config_open(s.platform->alloc, &s.config);
	if (rc != BOLE_OK)
		return bole_cli_fail("cannot start", rc);
	ops->mutex_init(s.platform, &s.lock);
	ops->cond_init(s.platform, &s.stopped);
	int code = open_and_serve(cli, &s, argc, argv);
	/* The thread that calls on_stop looks at s. */
	bole_posix_off_stop(s.platform);
	ops->cond_destroy(s.platform, &s.stopped);
	ops->mutex_destroy(s.platform, &s.lock);
	bole_config_close(s.config);
	return code;
}

const struct bole_command bole_command_serve = {
        "serve",
        "serve STORE [--push] [--http ADDRESS] [--git ADDRESS] …   serve it to Git clients",
        run,
};
