/* SPDX-License-Identifier: MIT */
/* Which rooms of virtio-mem devices a section has. Any thread. */
#include <errno.h>

#include "snapshot_internal.h"

static void get(struct saved_mem *m, struct state_reader *r)
{
	state_get_string(r, m->memdev, sizeof(m->memdev));
	m->base = state_get_u64(r);
	m->bytes = state_get_u64(r);
	m->open = state_get_u64(r);
}

/* A room without its device would be in the way of the next one. */
static uint32_t count_devices(const struct saved_vm *s)
{
	uint32_t n = 0;

	for (size_t i = 0; i < s->device_count; i++)
		n += s->devices[i].type == DEVICE_MEM;
	return n;
}

int saved_mems_read(struct saved_vm *s, bool stream, struct error *e)
{
	const struct state_section *section =
		state_view_find(&s->view, TAG_MEMS, 0);
	struct state_reader r;
	uint32_t count;
	int ret;

	if (!section)
		return 0;
	state_reader_init(&r, section->data, section->len_bytes);
	count = state_get_u32(&r);
	for (uint32_t n = 0; n < count && n < VM_MEMS_MAX; n++)
		get(&s->mems[n], &r);
	ret = state_reader_finish(&r);
	/* How much of the first one is open is said twice. */
	if (!ret && (!count || count > VM_MEMS_MAX ||
		     count != count_devices(s) ||
		     (!stream && s->mems[0].open != s->hot_bytes)))
		ret = -EPROTO;
	if (ret)
		return saved_vm_section_error(s, TAG_MEMS, 0,
					      error_errno(e, ret, "malformed"),
					      e);
	s->mem_count = count;
	return 0;
}
