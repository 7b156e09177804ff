/* SPDX-License-Identifier: MIT */
/* Opening and checking what was saved, before anything is made. Main thread. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hot_memory.h"
#include "snapshot_internal.h"

/* Who saves to a place again and again takes longer for each. */
#define OPEN_TRIES 100

int saved_vm_section_error(const struct saved_vm *s, const char *tag,
			   uint32_t instance, int ret, struct error *e)
{
	/* Anything but a lack of the host's own is what the state says. */
	if (ret != -ENOMEM && ret != -EMFILE && ret != -ENFILE)
		e->class = ERROR_INVALID_CONFIG;
	if (!strcmp(tag, TAG_VCPU) || !strcmp(tag, TAG_DEVICE))
		return error_prefix(e, ret, "%s: section '%s' %u", s->path, tag,
				    instance);
	return error_prefix(e, ret, "%s: section '%s'", s->path, tag);
}

/* No two in one place: the second would be loaded over the first. */
static int check_place(const struct saved_vm *s, uint32_t i, struct error *e)
{
	const struct saved_device *d = &s->devices[i];

	for (uint32_t k = 0; k < i; k++)
		if (s->devices[k].bus == d->bus && s->devices[k].slot == d->slot)
			return error_config(e, -EPROTO, "'%s' and '%s' are in "
					    "one slot", s->devices[k].key,
					    d->key);
	return 0;
}

static int read_devices(struct saved_vm *s, struct error *e)
{
	s->device_count = state_view_count(&s->view, TAG_DEVICE);
	s->devices = calloc(s->device_count + 1, sizeof(*s->devices));
	if (!s->devices)
		return error_set(e, -ENOMEM, "out of memory");
	for (uint32_t i = 0; i < s->device_count; i++) {
		const struct state_section *section =
			state_view_find(&s->view, TAG_DEVICE, i);
		struct state_reader r;
		int ret;

		state_reader_init(&r, section->data, section->len_bytes);
		ret = saved_device_get(&s->devices[i], &r);
		ret = ret ? error_errno(e, ret, "which device it is") :
			    check_place(s, i, e);
		if (ret)
			return saved_vm_section_error(s, TAG_DEVICE, i, ret, e);
	}
	return 0;
}

/* ---- files ---------------------------------------------------------------- */

/* A client that names a FIFO does not hold up the VM. */
#define OPEN_FLAGS (O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)

/* kept, unless NULL: gets the file, open; -1: none. */
static int read_file(const char *path, uint8_t **data, size_t *len, int *kept,
		     struct error *e)
{
	int fd = open(path, OPEN_FLAGS), ret = 0;
	size_t used = 0;
	struct stat st;

	if (fd < 0 || fstat(fd, &st)) {
		ret = error_config(e, -errno, "%s: %s", path, strerror(errno));
	} else if (!S_ISREG(st.st_mode) || st.st_size > STATE_MAX_BYTES) {
		ret = error_config(e, -EINVAL, "%s: not a saved VM's", path);
	} else {
		*data = malloc((size_t)st.st_size + 1);
		if (!*data)
			ret = error_set(e, -ENOMEM, "out of memory");
	}
	while (!ret && used < (size_t)st.st_size) {
		ssize_t n = read(fd, *data + used, (size_t)st.st_size - used);

		if (n < 0)
			ret = error_errno(e, -errno, "%s", path);
		if (n <= 0)
			break;
		used += (size_t)n;
	}
	if (kept)
		*kept = fd;
	else if (fd >= 0)
		close(fd);
	*len = used;
	return ret;
}

/* Has another save got the place of the file that is open? */
static bool is_replaced(int fd, const char *path)
{
	struct stat mine, there;

	return fd >= 0 && !fstat(fd, &mine) && !stat(path, &there) &&
	       (mine.st_dev != there.st_dev || mine.st_ino != there.st_ino);
}

/* dir/name in *out, malloc()ed; of a state file, what is beside it. */
int saved_vm_beside(const struct saved_vm *s, const char *name, char **out)
{
	const char *slash = strrchr(s->path, '/');
	int len = slash ? (int)(slash - s->path) + 1 : 0;

	if (*name == '/')
		len = 0;
	return asprintf(out, "%.*s%s", len, s->path, name) < 0 ? -ENOMEM : 0;
}

/* The document beside the state is for people: it must say the same. */
static int check_document(const struct saved_vm *s, struct error *e)
{
	uint8_t *data = NULL;
	char *path;
	size_t len;
	int ret;

	if (saved_vm_beside(s, CONFIG_NAME, &path))
		return error_set(e, -ENOMEM, "out of memory");
	ret = read_file(path, &data, &len, NULL, e);
	if (!ret && (len != strlen(s->config) ||
		     memcmp(data, s->config, len)))
		ret = error_config(e, -EINVAL, "%s: not what section '%s' of %s "
				   "holds: it is damaged or was changed", path,
				   TAG_CONFIG, s->path);
	free(data);
	free(path);
	return ret;
}

/* ---- sections ------------------------------------------------------------- */

/* The first ones are those of a stream as well. */
#define STREAM_SECTIONS 5

static int check_sections(const struct saved_vm *s, bool stream,
			  struct error *e)
{
	static const char *const once[] = { TAG_CONFIG, TAG_CPU, TAG_MACHINE,
					    TAG_BOARD, TAG_DIMMS, TAG_SAVE,
					    TAG_MEMORY };
	const size_t count = stream ? STREAM_SECTIONS :
				      sizeof(once) / sizeof(once[0]);
	size_t known = count;

	for (size_t i = 0; i < count; i++)
		if (!state_view_find(&s->view, once[i], 0))
			return error_config(e, -ENOENT, "%s: section '%s': is "
					    "not there", s->path, once[i]);
	if (!state_view_find(&s->view, TAG_VCPU, 0))
		return error_config(e, -ENOENT, "%s: section '%s': is not "
				    "there", s->path, TAG_VCPU);
	for (size_t i = 0; i < s->view.count; i++)
		known += !strcmp(s->view.sections[i].tag, TAG_VCPU);
	known += state_view_find(&s->view, TAG_MEMS, 0) != NULL;
	known += state_view_find(&s->view, TAG_PORTS, 0) != NULL;
	known += state_view_count(&s->view, TAG_DEVICE);
	if (known == s->view.count)
		return 0;
	return error_config(e, -EINVAL, "%s: section 'table': sections that are "
			    "not known to this mote, or some are missing",
			    s->path);
}

static int read_config(struct saved_vm *s, struct error *e)
{
	const struct state_section *section =
		state_view_find(&s->view, TAG_CONFIG, 0);

	if (memchr(section->data, 0, section->len_bytes))
		return error_config(e, -EINVAL, "%s: section '%s': malformed",
				    s->path, TAG_CONFIG);
	s->config = strndup((const char *)section->data, section->len_bytes);
	return s->config ? 0 : error_set(e, -ENOMEM, "out of memory");
}

static int open_memory(struct saved_vm *s, const char *name, struct error *e)
{
	/* A template's RAM may be the beginning of a larger file. */
	uint64_t longest = s->map.kind == MEMORY_LIVE ? UINT64_MAX :
							s->map.len_bytes;
	struct stat st;
	char *path;
	int ret = 0;

	if (saved_vm_beside(s, name, &path))
		return error_set(e, -ENOMEM, "out of memory");
	s->memory_fd = open(path, OPEN_FLAGS);
	if (s->memory_fd < 0 || fstat(s->memory_fd, &st))
		ret = error_config(e, -errno, "%s: %s", path, strerror(errno));
	else if (!S_ISREG(st.st_mode) ||
		 (uint64_t)st.st_size < s->map.len_bytes ||
		 (uint64_t)st.st_size > longest)
		ret = error_config(e, -EINVAL, "%s: has %lld bytes, not the %llu "
				   "of section '%s': it is truncated or of "
				   "another VM", path, (long long)st.st_size,
				   (unsigned long long)s->map.len_bytes,
				   TAG_MEMORY);
	if (ret)
		free(path);
	else
		s->memory_path = path;
	return ret;
}

static int read_memory(struct saved_vm *s, struct error *e)
{
	const struct state_section *section =
		state_view_find(&s->view, TAG_MEMORY, 0);
	char name[PATH_MAX];
	struct state_reader r;
	int ret;

	state_reader_init(&r, section->data, section->len_bytes);
	state_get_string(&r, name, sizeof(name));
	s->hot_bytes = state_get_u64(&r);
	ret = memory_map_load(&s->map, &r);
	if (!ret)
		ret = state_reader_finish(&r);
	if (ret)
		return saved_vm_section_error(s, TAG_MEMORY, 0,
					      error_errno(e, ret, "malformed"),
					      e);
	return open_memory(s, name, e);
}

static int read_identity(struct saved_vm *s, struct error *e)
{
	const struct state_section *section =
		state_view_find(&s->view, TAG_SAVE, 0);
	struct state_reader r;
	int ret;

	state_reader_init(&r, section->data, section->len_bytes);
	ret = save_identity_get(&s->identity, &r);
	if (!ret)
		return 0;
	return saved_vm_section_error(s, TAG_SAVE, 0,
				      error_errno(e, ret, "malformed"), e);
}

/* ---- all of it ------------------------------------------------------------- */

/* All that is there beside the state. id: as saved_vm_open_at()'s. */
static int open_parts(struct saved_vm *s, bool directory, unsigned int depth,
		      const uint8_t *id, struct error *e)
{
	int ret = state_view_init(&s->view, s->data, s->len_bytes, e);

	if (ret)
		return error_prefix(e, ret, "%s", s->path);
	ret = check_sections(s, false, e);
	if (!ret)
		ret = read_identity(s, e);
	if (!ret && id && memcmp(s->identity.id, id, DIRTY_ID_BYTES))
		ret = SAVED_ANOTHER;
	if (!ret)
		ret = read_config(s, e);
	if (!ret && directory)
		ret = check_document(s, e);
	if (!ret)
		ret = read_devices(s, e);
	if (!ret)
		ret = read_memory(s, e);
	if (!ret)
		ret = saved_mems_read(s, false, e);
	return ret ? ret : saved_vm_open_base(s, depth, e);
}

/* again: a save to the same place came between, so this may be half of each. */
static int open_once(struct saved_vm **out, const char *path,
		     unsigned int depth, const uint8_t *id, bool *again,
		     struct error *e)
{
	struct saved_vm *s = calloc(1, sizeof(*s));
	struct stat st;
	bool directory = !stat(path, &st) && S_ISDIR(st.st_mode);
	int ret, fd;

	if (!s)
		return error_set(e, -ENOMEM, "out of memory");
	s->memory_fd = -1;
	if (asprintf(&s->path, "%s%s", path, directory ? "/" STATE_NAME : "") <
	    0) {
		free(s);
		return error_set(e, -ENOMEM, "out of memory");
	}
	ret = read_file(s->path, &s->data, &s->len_bytes, &fd, e);
	if (!ret)
		ret = open_parts(s, directory, depth, id, e);
	*again = is_replaced(fd, s->path);
	if (fd >= 0)
		close(fd);
	if (ret || *again)
		saved_vm_close(s);
	else
		*out = s;
	return ret;
}

int saved_vm_open_at(struct saved_vm **out, const char *path,
		     unsigned int depth, const uint8_t *id, struct error *e)
{
	bool again = false;

	for (unsigned int n = 0; n < OPEN_TRIES; n++) {
		int ret = open_once(out, path, depth, id, &again, e);

		if (!again)
			return ret;
	}
	return error_set(e, -EBUSY, "%s: is replaced by other saves all the "
			 "time", path);
}

int saved_vm_open(struct saved_vm **out, const char *path, struct error *e)
{
	return saved_vm_open_at(out, path, 0, NULL, e);
}

int saved_vm_from_state(struct saved_vm **out, const uint8_t *data,
			size_t len_bytes, struct error *e)
{
	struct saved_vm *s = calloc(1, sizeof(*s));
	int ret;

	if (!s)
		return error_set(e, -ENOMEM, "out of memory");
	s->memory_fd = -1;
	s->mode = RESTORE_COPY;
	s->path = strdup("stream");
	ret = s->path ? state_view_init(&s->view, data, len_bytes, e) :
			error_set(e, -ENOMEM, "out of memory");
	if (!ret)
		ret = check_sections(s, true, e);
	if (!ret)
		ret = read_config(s, e);
	if (!ret)
		ret = read_devices(s, e);
	if (!ret)
		ret = saved_mems_read(s, true, e);
	if (ret) {
		saved_vm_close(s);
		return ret;
	}
	*out = s;
	return 0;
}

void saved_vm_close(struct saved_vm *s)
{
	if (!s)
		return;
	saved_vm_close(s->base);
	if (s->memory_fd >= 0)
		close(s->memory_fd);
	memory_map_deinit(&s->map);
	state_view_deinit(&s->view);
	free(s->devices);
	free(s->memory_path);
	free(s->config);
	free(s->data);
	free(s->path);
	free(s);
}

const char *saved_vm_config(const struct saved_vm *s)
{
	return s->config;
}

/* vCPU 0 is always there, and where none can come or go, all are. */
int saved_vm_check_cpus(const struct saved_vm *s, const struct config_cpus *c,
			struct error *e)
{
	uint32_t count = 0;

	for (size_t i = 0; i < s->view.count; i++) {
		const struct state_section *section = &s->view.sections[i];

		if (strcmp(section->tag, TAG_VCPU))
			continue;
		if (section->instance >= c->max)
			return error_config(e, -EINVAL, "%s: section '%s' %u: "
					    "the VM has %u at most", s->path,
					    TAG_VCPU, section->instance,
					    c->max);
		count++;
	}
	if (c->max > c->count || count == c->count)
		return 0;
	return error_config(e, -EINVAL, "%s: section '%s': there are %u, the VM "
			    "has %u", s->path, TAG_VCPU, count, c->count);
}

/* What has been added to the RAM comes after it in the file: whether that is all
 * there, is seen when it has been made. */
static int check_memory(struct saved_vm *s, const struct config_memory *c,
			struct error *e)
{
	uint64_t len;

	if (c->path || c->share || c->prealloc || c->hugepages)
		return error_config(e, -EINVAL, "%s: section '%s': memory: has "
				    "more than sizes", s->path, TAG_CONFIG);
	saved_vm_lowest_file(s, &len);
	if (len >= c->size_bytes && s->map.len_bytes >= c->size_bytes &&
	    s->hot_bytes % HOT_MEMORY_ALIGN == 0 &&
	    s->hot_bytes <= hot_memory_room_bytes(c))
		return 0;
	return error_config(e, -EINVAL, "%s: section '%s': is not as large as "
			    "the VM's memory", s->path, TAG_MEMORY);
}

int saved_vm_use(struct saved_vm *s, enum restore_memory mode,
		 struct vm_config *c, struct error *e)
{
	uint64_t len;
	int ret = check_memory(s, &c->memory, e);

	if (!ret)
		ret = saved_vm_check_cpus(s, &c->cpus, e);
	if (ret)
		return ret;
	saved_device_place_pmems(s->devices, s->device_count, c);
	s->mode = mode;
	/* By its descriptor: the name may get another file at any time. */
	if (mode == RESTORE_MAP &&
	    asprintf(&c->memory.path, "/proc/self/fd/%d",
		     saved_vm_lowest_file(s, &len)) < 0) {
		c->memory.path = NULL;
		return error_set(e, -ENOMEM, "out of memory");
	}
	c->memory.saved = mode != RESTORE_COPY;
	return 0;
}
