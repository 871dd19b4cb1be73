/* SPDX-License-Identifier: ISC */
/* bole bundle: repositories as single files. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bole/export.h"
#include "bundle.h"
#include "cli.h"
#include "store_snapshot.h"

static const char help[] =
        "usage: bole bundle create STORE#REPO FILE [REF...] [^REF...]\n"
        "       bole bundle unbundle STORE#REPO FILE\n"
        "       bole bundle verify STORE#REPO FILE\n\n"
        "create writes references (all, unless some are named) with their history into a\n"
        "bundle that git reads; what ^REF reaches is left out, and who takes the bundle\n"
        "must have it. unbundle takes one in: the repository is made if it is not there,\n"
        "branches only move forward. verify tells whether unbundle would, and the\n"
        "references. FILE may be - .\n";

/* -- create -- */

struct file_writer {
	struct bole_writer writer;
	FILE *file;
};

static enum bole_status file_write(struct bole_writer *self, const void *src, size_t len)
{
	FILE *file = ((struct file_writer *)self)->file;

	if (fwrite(src, 1, len, file) == len)
		return BOLE_OK;
	return errno == ENOSPC ? BOLE_E_NO_SPACE : BOLE_E_IO;
}

static enum bole_status file_flush(struct bole_writer *self)
{
	return fflush(((struct file_writer *)self)->file) == 0 ? BOLE_OK : BOLE_E_IO;
}

/* The full name that a short one means; name has room for it. */
static bool full_name(struct bole_snapshot *snapshot, const char *text, char *name, size_t cap,
                      struct bole_ref *ref)
{
	static const char *const folders[] = {"", "refs/heads/", "refs/tags/", "refs/"};

	for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
		int len = snprintf(name, cap, "%s%s", folders[i], text);

		if (len > 0 && (size_t)len < cap &&
		    bole_ref_get(snapshot, bole_cli_bytes(name), ref) == BOLE_OK)
			return true;
	}
	return false;
}

struct selection {
	char names[BOLE_CLI_ARGS_MAX][BOLE_REF_NAME_MAX + 1];
	struct bole_bytes refs[BOLE_CLI_ARGS_MAX];
	size_t ref_count;
	struct bole_oid have[BOLE_CLI_ARGS_MAX];
	size_t have_count;
};

static int select_refs(struct bole_snapshot *snapshot, const char *const *texts, size_t count,
                       struct selection *out)
{
	for (size_t i = 0; i < count; i++) {
		bool have = texts[i][0] == '^';
		const char *text = texts[i] + have;
		struct bole_oid oid;
		struct bole_ref ref;

		if (have &&
		    bole_oid_parse(text, strlen(text), snapshot->repo.algo, &oid) == BOLE_OK) {
			out->have[out->have_count++] = oid;
			continue;
		}
		if (!full_name(snapshot, text, out->names[i], sizeof out->names[i], &ref) ||
		    (have && ref.symbolic)) {
			bole_cli_say("no reference %s", text);
			return BOLE_EXIT_NOT_FOUND;
		}
		if (have)
			out->have[out->have_count++] = ref.has_peeled ? ref.peeled : ref.oid;
		else
			out->refs[out->ref_count++] = bole_cli_bytes(out->names[i]);
	}
	return BOLE_EXIT_OK;
}

static void show(void *ctx, const char *phase, uint64_t done, uint64_t total)
{
	bole_cli_progress_show(ctx, phase, done, total);
}

static int write_bundle(struct bole_cli *cli, struct bole_snapshot *snapshot,
                        const struct selection *chosen, FILE *file, const char *path)
{
	struct file_writer writer = {{.write = file_write, .flush = file_flush}, file};
	struct bole_export_report report;
	struct bole_cli_progress progress;

	bole_cli_progress_init(&progress, cli->platform);
	struct bole_bundle_options options = {.refs = chosen->refs,
	                                      .ref_count = chosen->ref_count,
	                                      .have = chosen->have,
	                                      .have_count = chosen->have_count,
	                                      .progress = show,
	                                      .progress_ctx = &progress};
	enum bole_status rc = bole_bundle_create(cli->platform, cli->platform->alloc, snapshot,
	                                         &options, &writer.writer, &report);
	bole_cli_progress_end(&progress);
	if (rc == BOLE_OK && (fflush(file) != 0 || (file != stdout && fsync(fileno(file)) != 0)))
		rc = BOLE_E_IO;
	if (rc == BOLE_E_UNSUPPORTED) {
		bole_cli_say("%s is shallow, which a bundle cannot say", snapshot->repo.name);
		return BOLE_EXIT_FAILED;
	}
	if (rc == BOLE_E_INVALID) {
		bole_cli_say("there is nothing to put into a bundle");
		return BOLE_EXIT_FAILED;
	}
	if (rc != BOLE_OK)
		return bole_cli_fail(path, rc);
	if (file != stdout) {
		const struct bole_cli_figure figures[] = {{"objects", report.objects},
		                                          {"references", report.refs}};
		bole_cli_figures(cli, figures, 2);
	}
	return BOLE_EXIT_OK;
}

/* Under another name until it is whole. */
static int create(struct bole_cli *cli, struct bole_snapshot *snapshot,
                  const struct selection *chosen, const char *path)
{
	char hidden[4096];

	if (strcmp(path, "-") == 0)
		return write_bundle(cli, snapshot, chosen, stdout, path);
	struct stat there;
	if (stat(path, &there) == 0 && !S_ISREG(there.st_mode)) {
		bole_cli_say("%s: is no regular file: write to - and redirect", path);
		return BOLE_EXIT_FAILED;
	}
	int len = snprintf(hidden, sizeof hidden, "%s.new", path);
	FILE *file = len > 0 && (size_t)len < sizeof hidden ? fopen(hidden, "wb") : NULL;
	if (file == NULL) {
		bole_cli_say("%s: cannot be written: %s", path, strerror(errno));
		return BOLE_EXIT_FAILED;
	}
	int code = write_bundle(cli, snapshot, chosen, file, path);
	if (fclose(file) != 0 && code == BOLE_EXIT_OK)
		code = bole_cli_fail(path, BOLE_E_IO);
	if (code == BOLE_EXIT_OK && rename(hidden, path) != 0)
		code = bole_cli_fail(path, BOLE_E_IO);
	if (code != BOLE_EXIT_OK)
		remove(hidden);
	return code;
}

static int run_create(struct bole_cli *cli, const struct bole_cli_args *args)
{
	struct bole_cli_snapshot from;

	int code = bole_cli_snapshot_open(cli, args->at[1], &from);
	struct selection *chosen = calloc(1, sizeof *chosen);
	if (code == BOLE_EXIT_OK && chosen == NULL)
		code = bole_cli_fail(args->at[2], BOLE_E_NO_MEMORY);
	if (code == BOLE_EXIT_OK && chosen != NULL)
		code = select_refs(from.snapshot, args->at + 3, (size_t)(args->count - 3), chosen);
	if (code == BOLE_EXIT_OK)
		code = create(cli, from.snapshot, chosen, args->at[2]);
	free(chosen);
	return bole_cli_snapshot_close(&from, code);
}

/* -- unbundle -- */

static enum bole_status file_read(struct bole_reader *self, void *dst, size_t cap, size_t *got)
{
	FILE *file = ((struct bole_cli_file_reader *)self)->file;

	*got = fread(dst, 1, cap, file);
	if (*got > 0)
		return BOLE_OK;
	return ferror(file) ? BOLE_E_IO : BOLE_END;
}

void bole_cli_file_reader_init(struct bole_cli_file_reader *r, FILE *file)
{
	*r = (struct bole_cli_file_reader){{file_read}, file};
}

struct unbundling {
	struct bole_cli *cli;
	struct bole_cli_progress progress;
	bool verify;
	FILE *refs; /* in JSON, until it is known that there is no error; else NULL */
	uint64_t count;
};

static void show_ref(void *ctx, struct bole_bytes name, const struct bole_oid *oid)
{
	struct unbundling *u = ctx;
	char hex[BOLE_OID_HEX_MAX + 1];

	bole_oid_format(oid, hex);
	if (u->refs != NULL) {
		fprintf(u->refs, "%s{\"name\":", u->count++ == 0 ? "" : ",");
		bole_cli_json(u->refs, name);
		fprintf(u->refs, ",\"oid\":\"%s\"}", hex);
	} else if (u->verify) {
		printf("%s ", hex);
		bole_cli_plain(stdout, name);
		putchar('\n');
	}
}

static void show_unbundling(void *ctx, const char *phase, uint64_t done, uint64_t total)
{
	bole_cli_progress_show(&((struct unbundling *)ctx)->progress, phase, done, total);
}

int bole_cli_unbundle(struct bole_cli *cli, struct bole_store *store, const char *repo, FILE *file,
                      const char *path, bool verify)
{
	struct bole_cli_file_reader reader = {{file_read}, file};
	struct unbundling u = {.cli = cli, .verify = verify};
	struct bole_unbundle_report report;
	struct bole_unbundle_options options = {.repo = repo,
	                                        .verify = verify,
	                                        .reference = show_ref,
	                                        .progress = show_unbundling,
	                                        .ctx = &u};
	char *refs = NULL;
	size_t refs_len = 0;

	bool list = verify && cli->json;
	if (list && (u.refs = open_memstream(&refs, &refs_len)) == NULL)
		return bole_cli_fail(path, BOLE_E_NO_MEMORY);
	bole_cli_progress_init(&u.progress, cli->platform);
	enum bole_status rc = bole_bundle_take(cli->platform, cli->platform->alloc, store,
	                                       &reader.reader, &options, &report);
	bole_cli_progress_end(&u.progress);
	if (list && fclose(u.refs) != 0 && rc == BOLE_OK)
		rc = BOLE_E_NO_MEMORY;
	if (list && rc == BOLE_OK)
		printf("{\"objects\":%llu,\"refs\":[%s]}\n", (unsigned long long)report.objects,
		       refs);
	free(refs);
	if (rc != BOLE_OK)
		return bole_cli_fail_why(path, report.error, rc);
	if (list)
		return BOLE_EXIT_OK;
	const struct bole_cli_figure figures[] = {{"objects", report.objects},
	                                          {"references", report.refs}};
	bole_cli_figures(cli, figures, verify ? 1 : 2);
	return BOLE_EXIT_OK;
}

static int run_unbundle(struct bole_cli *cli, const struct bole_cli_args *args, bool verify)
{
	const char *path = args->at[2];
	struct bole_cli_store store;
	struct bole_cli_spec spec;

	FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
	if (file == NULL) {
		bole_cli_say("%s: %s", path, strerror(errno));
		return BOLE_EXIT_NOT_FOUND;
	}
	int code = bole_cli_spec_parse(args->at[1], &spec);
	if (code == BOLE_EXIT_OK)
		code = bole_cli_store_open(cli, &spec, BOLE_CLI_WRITE, &store);
	if (code == BOLE_EXIT_OK) {
		code = bole_cli_unbundle(cli, store.store, spec.repo, file, path, verify);
		int closed = bole_cli_store_close(&store);
		code = code == BOLE_EXIT_OK ? closed : code;
	}
	if (file != stdin)
		fclose(file);
	return code;
}

static int run(struct bole_cli *cli, int argc, char **argv)
{
	struct bole_cli_args args;

	int code = bole_cli_args(argc, argv, help, NULL, 0, 3, BOLE_CLI_ARGS_MAX, &args);
	if (code != BOLE_EXIT_OK)
		return code == BOLE_CLI_HELP_SHOWN ? BOLE_EXIT_OK : code;
	if (strcmp(args.at[0], "create") == 0)
		return run_create(cli, &args);
	if (args.count == 3 && strcmp(args.at[0], "unbundle") == 0)
		return run_unbundle(cli, &args, false);
	if (args.count == 3 && strcmp(args.at[0], "verify") == 0)
		return run_unbundle(cli, &args, true);
	bole_cli_say("bundle create, unbundle or verify; see: bole bundle --help");
	return BOLE_EXIT_USAGE;
}

const struct bole_command bole_command_bundle = {
        .name = "bundle",
        .summary = "bundle create|unbundle|verify STORE#REPO FILE  repositories as single files",
        .run = run,
};
