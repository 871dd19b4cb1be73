/* SPDX-License-Identifier: ISC */
/* What the embedding program says of a push (bole/hooks.h). */
#include <stdio.h>

#include "base/bytes.h"
#include "base/check.h"
#include "git/object/object.h"
#include "git/push/push.h"

/* The view that hooks get: info comes first, so that its callbacks find the push. */
struct hook_call {
	struct bole_push_info info;
	struct bole_push *p;
	struct bole_push_ref *refs;
	size_t ref_cap;
	size_t *rows; /* refs[i] is of commands[rows[i]] */
	bool before;  /* the commit */
};

static void on_say(struct bole_push_info *info, const char *text)
{
	struct hook_call *call = (struct hook_call *)info;
	char shown[400];
	char line[420];

	snprintf(line, sizeof line, "%s\n",
	         bole_printable(shown, sizeof shown, bole_bytes_z(text)));
	bole_sideband_say(&call->p->s->band, line);
}

static enum bole_status on_read(struct bole_push_info *info, const struct bole_oid *oid,
                                uint8_t *type, struct bole_bytes *out)
{
	struct hook_call *call = (struct hook_call *)info;
	struct bole_object_reader *reader;

	BOLE_TRY(bole_session_reader(call->p->s, info->view, &reader));
	return bole_object_read(reader, oid, type, out);
}

static void call_close(struct hook_call *call)
{
	struct bole_alloc *alloc = call->p->s->svc->alloc;

	bole_alloc_free(alloc, call->refs, call->refs == NULL ? 0 : call->ref_cap,
	                sizeof *call->refs);
	bole_alloc_free(alloc, call->rows, call->rows == NULL ? 0 : call->ref_cap,
	                sizeof *call->rows);
}

static enum bole_status call_open(struct hook_call *call, struct bole_push *p,
                                  struct bole_snapshot *view, bool before)
{
	struct bole_service *svc = p->s->svc;

	*call = (struct hook_call){.p = p, .before = before, .ref_cap = p->count};
	call->refs = bole_alloc_zeroed(svc->alloc, p->count, sizeof *call->refs);
	call->rows = bole_alloc_array(svc->alloc, p->count, sizeof *call->rows);
	if (call->refs == NULL || call->rows == NULL) {
		call_close(call);
		return BOLE_E_NO_MEMORY;
	}
	struct bole_push_info *info = &call->info;
	info->platform = svc->platform;
	info->repo = svc->repo;
	info->peer = svc->peer;
	info->user = p->policy->user;
	info->view = view;
	info->refs = call->refs;
	info->name_prefix = bole_ref_view_space(&p->s->refs);
	info->options = p->options;
	info->option_count = p->option_count;
	info->cert = p->signed_push ? &p->cert : NULL;
	info->say = on_say;
	info->read = on_read;
	for (size_t i = 0; i < p->count; i++) {
		const struct bole_command *c = &p->commands[i];

		if (before && c->error != NULL)
			continue;
		call->rows[info->ref_count] = i;
		call->refs[info->ref_count++] = (struct bole_push_ref){
		        .name = c->proc ? c->target : c->name,
		        .old_oid = c->old_oid,
		        .new_oid = c->new_oid,
		        .error = c->error,
		};
	}
	return BOLE_OK;
}

/* The words for the ng line: printable, one line, and there as long as the push. */
static const char *words(struct bole_push *p, const char *usual, char message[])
{
	message[BOLE_HOOK_MESSAGE_MAX - 1] = '\0';
	if (message[0] == '\0')
		return usual;
	char *copy = bole_arena_alloc(&p->text, BOLE_HOOK_MESSAGE_MAX, 1);
	if (copy == NULL)
		return usual;
	return bole_printable(copy, BOLE_HOOK_MESSAGE_MAX, bole_bytes_z(message));
}

static bool wants_proc(const struct bole_hooks *hooks, const struct bole_command *c)
{
	return hooks->proc_receive != NULL && hooks->proc_prefix != NULL &&
	       bole_bytes_start(c->name, bole_bytes_z(hooks->proc_prefix));
}

/* The reference that is to be set instead, with the value it has. */
static enum bole_status rewrite(struct bole_push *p, struct bole_command *c,
                                const struct bole_push_rewrite *r)
{
	struct bole_bytes name = bole_bytes_z(r->name);
	struct bole_entry entry;
	struct bole_ref ref;

	if (!bole_ref_name_valid(name) || !bole_bytes_start(name, bole_bytes_z("refs/"))) {
		c->error = "proc-receive hook named no reference";
		return BOLE_OK;
	}
	enum bole_status rc = bole_odb_find(p->tx->view, &r->new_oid, &entry);
	if (rc == BOLE_E_NOT_FOUND) {
		c->error = "missing necessary objects";
		return BOLE_OK;
	}
	BOLE_TRY(rc);
	struct bole_bytes stored;
	BOLE_TRY(bole_push_name(p, name, &name, &stored));
	if (stored.len > BOLE_REF_NAME_MAX) {
		c->error = "proc-receive hook named no reference";
		return BOLE_OK;
	}
	rc = bole_ref_get(p->tx->view, stored, &ref);
	if (rc != BOLE_OK && rc != BOLE_E_NOT_FOUND)
		return rc;
	if (rc == BOLE_OK && ref.symbolic) {
		c->error = "is a symbolic reference";
		return BOLE_OK;
	}
	c->old_oid = rc == BOLE_OK ? ref.oid : (struct bole_oid){.algo = r->new_oid.algo};
	c->new_oid = r->new_oid;
	c->has_peeled = false;
	c->target = name;
	c->stored = stored;
	c->forced = r->forced;
	c->proc = true;
	return BOLE_OK;
}

static enum bole_status ask_proc(struct hook_call *call, size_t i, bool *usual)
{
	struct bole_push *p = call->p;
	const struct bole_hooks *hooks = p->policy->hooks;
	struct bole_command *c = &p->commands[call->rows[i]];
	struct bole_push_rewrite *r = bole_alloc_zeroed(p->s->svc->alloc, 1, sizeof *r);
	char message[BOLE_HOOK_MESSAGE_MAX] = "";
	enum bole_status rc = BOLE_OK;

	if (r == NULL)
		return BOLE_E_NO_MEMORY;
	r->new_oid = c->new_oid;
	if (hooks->proc_receive(hooks->ctx, &call->info, i, r, message) != BOLE_OK)
		c->error = words(p, "proc-receive hook declined", message);
	else if (memchr(r->name, 0, sizeof r->name) == NULL)
		c->error = "proc-receive hook named no reference";
	else if (r->name[0] == '\0')
		*usual = true;
	else
		rc = rewrite(p, c, r);
	bole_alloc_free(p->s->svc->alloc, r, 1, sizeof *r);
	return rc;
}

static enum bole_status ask_each(struct hook_call *call)
{
	struct bole_push *p = call->p;
	const struct bole_hooks *hooks = p->policy->hooks;

	for (size_t i = 0; i < call->info.ref_count; i++) {
		struct bole_command *c = &p->commands[call->rows[i]];
		char message[BOLE_HOOK_MESSAGE_MAX] = "";
		bool usual = !wants_proc(hooks, c);

		BOLE_TRY(bole_session_tick(p->s));
		if (!usual)
			BOLE_TRY(ask_proc(call, i, &usual));
		if (usual && hooks->update != NULL &&
		    hooks->update(hooks->ctx, &call->info, i, message) != BOLE_OK)
			c->error = words(p, "hook declined", message);
		call->refs[i].error = c->error;
	}
	return BOLE_OK;
}

enum bole_status bole_push_ask_hooks(struct bole_push *p)
{
	const struct bole_hooks *hooks = p->policy->hooks;
	char message[BOLE_HOOK_MESSAGE_MAX] = "";
	struct hook_call call;
	enum bole_status rc = BOLE_OK;

	if (hooks == NULL ||
	    (hooks->pre_receive == NULL && hooks->update == NULL && hooks->proc_receive == NULL))
		return BOLE_OK;
	BOLE_TRY(call_open(&call, p, p->tx->view, true));
	if (call.info.ref_count > 0 && hooks->pre_receive != NULL &&
	    hooks->pre_receive(hooks->ctx, &call.info, message) != BOLE_OK)
		bole_push_fail_all(p, words(p, "pre-receive hook declined", message));
	else
		rc = ask_each(&call);
	call_close(&call);
	return rc;
}

void bole_push_tell_hooks(struct bole_push *p)
{
	const struct bole_hooks *hooks = p->policy->hooks;
	struct bole_service *svc = p->s->svc;
	struct bole_snapshot *view = NULL;
	struct hook_call call;

	if (hooks == NULL || hooks->post_receive == NULL)
		return;
	if (bole_snapshot_open(svc->store, svc->repo.id, &view) == BOLE_OK &&
	    call_open(&call, p, view, false) == BOLE_OK) {
		hooks->post_receive(hooks->ctx, &call.info);
		bole_session_drop_reader(p->s);
		call_close(&call);
	} else {
		bole_log(svc->platform, BOLE_LOG_ERROR,
		         "git: %s: post-receive hook not called: no memory", svc->repo.name);
	}
	bole_snapshot_close(view);
}
