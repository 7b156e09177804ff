/* SPDX-License-Identifier: MIT */
/* Which save it is, and where the one that it builds on is. Any thread. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "snapshot_internal.h"

void save_identity_put(const struct save_identity *s, struct state_writer *w)
{
	state_put_bytes(w, s->id, sizeof(s->id));
	state_put_bool(w, s->is_diff);
	if (!s->is_diff)
		return;
	state_put_bytes(w, s->base_id, sizeof(s->base_id));
	state_put_string(w, s->base_relative);
	state_put_string(w, s->base_absolute);
}

int save_identity_get(struct save_identity *s, struct state_reader *r)
{
	*s = (struct save_identity){ 0 };
	state_get_bytes(r, s->id, sizeof(s->id));
	s->is_diff = state_get_bool(r);
	if (s->is_diff) {
		state_get_bytes(r, s->base_id, sizeof(s->base_id));
		state_get_string(r, s->base_relative, sizeof(s->base_relative));
		state_get_string(r, s->base_absolute, sizeof(s->base_absolute));
	}
	if (state_reader_finish(r))
		return state_reader_finish(r);
	/* A save that were its own base would have no end. */
	if (s->is_diff && (!memcmp(s->id, s->base_id, sizeof(s->id)) ||
			   !s->base_relative[0] || s->base_absolute[0] != '/'))
		return -EPROTO;
	return 0;
}

/* The way from one absolute directory to a file. */
static int relative(const char *from, const char *to, char *out, size_t size)
{
	size_t same = 0, len = 0;

	for (size_t i = 0; from[i] == to[i] && to[i]; i++)
		if (to[i] == '/')
			same = i + 1;
	/* The whole of from is where to is below it. */
	if (!strncmp(from, to, strlen(from)) && to[strlen(from)] == '/')
		same = strlen(from) + 1;
	for (const char *p = from + same; same <= strlen(from) && p && *p;) {
		len += (size_t)snprintf(out + len, size - len, "../");
		if (len >= size)
			return -ENAMETOOLONG;
		p = strchr(p, '/');
		p = p ? p + 1 : NULL;
	}
	len += (size_t)snprintf(out + len, size - len, "%s", to + same);
	return len < size ? 0 : -ENAMETOOLONG;
}

/* The absolute path of what need not be there yet; its parent must. */
static char *real_path(const char *path)
{
	char *copy = strdup(path), *slash, *parent, *out = NULL;

	if (!copy)
		return NULL;
	for (size_t n = strlen(copy); n > 1 && copy[n - 1] == '/'; n--)
		copy[n - 1] = '\0';
	slash = strrchr(copy, '/');
	if (slash)
		*slash = '\0';
	parent = realpath(slash == copy ? "/" : slash ? copy : ".", NULL);
	if (parent && asprintf(&out, "%s/%s", strcmp(parent, "/") ? parent : "",
			       slash ? slash + 1 : copy) < 0)
		out = NULL;
	free(parent);
	free(copy);
	return out;
}

/* Where the diff's state file will be. */
static char *real_state(const char *directory, const char *state)
{
	char *dir, *out;

	if (state)
		return real_path(state);
	dir = real_path(directory);
	if (!dir || asprintf(&out, "%s/" STATE_NAME, dir) < 0)
		out = NULL;
	free(dir);
	return out;
}

int save_identity_place_base(struct save_identity *s, const char *base,
			     const char *directory, const char *state,
			     struct error *e)
{
	char *to = realpath(base, NULL), *from = real_state(directory, state);
	int ret = to && from ? 0 : error_errno(e, -errno, "%s", state ? state :
					       directory);

	if (!ret && !strcmp(to, from))
		ret = error_config(e, -EINVAL, "base: %s cannot be replaced by "
				   "a diff of itself", to);
	if (!ret)
		*strrchr(from, '/') = '\0';
	if (!ret && (strlen(to) >= sizeof(s->base_absolute) ||
		     relative(from, to, s->base_relative,
			      sizeof(s->base_relative))))
		ret = error_errno(e, -ENAMETOOLONG, "base");
	if (!ret)
		strcpy(s->base_absolute, to);
	free(to);
	free(from);
	return ret;
}
