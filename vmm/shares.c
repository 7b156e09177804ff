/* SPDX-License-Identifier: MIT */
/* Counted shares. Main thread. */
#include "shares.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct entry {
	struct share share;	/* first: the caller's view */
	struct entry *next;
};

struct shares {
	struct entry *first;
};

int shares_create(struct shares **out)
{
	*out = calloc(1, sizeof(**out));
	return *out ? 0 : -ENOMEM;
}

static void destroy(struct entry *entry)
{
	free(entry->share.path);
	free(entry->share.tag);
	free(entry->share.allowed);
	free(entry);
}

void shares_destroy(struct shares *s)
{
	struct entry *next;

	if (!s)
		return;
	for (struct entry *entry = s->first; entry; entry = next) {
		next = entry->next;
		destroy(entry);
	}
	free(s);
}

static struct entry *by_path(struct shares *s, const char *path)
{
	struct entry *entry = s->first;

	while (entry && strcmp(entry->share.path, path))
		entry = entry->next;
	return entry;
}

static struct entry *by_tag(struct shares *s, const char *tag)
{
	struct entry *entry = s->first;

	while (entry && strcmp(entry->share.tag, tag))
		entry = entry->next;
	return entry;
}

static bool same_text(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

static int add_again(struct share *share, const char *tag, bool readonly,
		     const char *allowed, struct error *e)
{
	const char *differs = share->readonly != readonly ? "readonly" :
			      !same_text(share->allowed, allowed) ? "allowed" :
			      tag && strcmp(share->tag, tag) ? "tag" : NULL;

	if (differs)
		return error_class_set(e, ERROR_ALREADY_ATTACHED, -EEXIST,
				       "%s is shared as '%s' with another %s",
				       share->path, share->tag, differs);
	share->refs++;
	return 0;
}

static char *free_tag(struct shares *s)
{
	char text[32];

	for (unsigned int n = 0;; n++) {
		snprintf(text, sizeof(text), "share%u", n);
		if (!by_tag(s, text))
			return strdup(text);
	}
}

static int add_new(struct shares *s, char *path, const char *tag,
		   bool readonly, const char *allowed, struct entry **out,
		   struct error *e)
{
	struct entry *entry, **last = &s->first;

	if (tag && by_tag(s, tag)) {
		free(path);
		return error_class_set(e, ERROR_ALREADY_ATTACHED, -EEXIST,
				       "the tag '%s' is that of %s", tag,
				       by_tag(s, tag)->share.path);
	}
	entry = calloc(1, sizeof(*entry));
	if (!entry) {
		free(path);
		return error_set(e, -ENOMEM, "out of memory");
	}
	entry->share = (struct share){
		.path = path,
		.tag = tag ? strdup(tag) : free_tag(s),
		.readonly = readonly,
		.allowed = allowed ? strdup(allowed) : NULL,
		.refs = 1,
	};
	if (!entry->share.tag || (allowed && !entry->share.allowed)) {
		destroy(entry);
		return error_set(e, -ENOMEM, "out of memory");
	}
	while (*last)
		last = &(*last)->next;
	*last = entry;
	*out = entry;
	return 0;
}

int shares_add(struct shares *s, const char *path, const char *tag,
	       bool readonly, const char *allowed, struct share **out,
	       struct error *e)
{
	char *real = realpath(path, NULL);
	struct entry *entry;
	int ret;

	if (!real)
		return error_errno(e, -errno, "share %s", path);
	entry = by_path(s, real);
	if (entry) {
		free(real);
		ret = add_again(&entry->share, tag, readonly, allowed, e);
	} else {
		ret = add_new(s, real, tag, readonly, allowed, &entry, e);
	}
	if (!ret)
		*out = &entry->share;
	return ret;
}

int shares_find(struct shares *s, const char *path, const char *tag,
		struct share **out, struct error *e)
{
	char *real = path ? realpath(path, NULL) : NULL;
	/* A directory that is gone is found by what it was called. */
	struct entry *entry = path ? by_path(s, real ? real : path) :
				     by_tag(s, tag);

	free(real);
	if (!entry)
		return error_class_set(e, ERROR_NOT_ATTACHED, -ENOENT,
				       "%s is not shared", path ? path : tag);
	*out = &entry->share;
	return 0;
}

unsigned int shares_put(struct shares *s, struct share *share)
{
	struct entry **at = &s->first;

	if (--share->refs)
		return share->refs;
	while (&(*at)->share != share)
		at = &(*at)->next;
	*at = (*at)->next;
	destroy((struct entry *)share);
	return 0;
}
