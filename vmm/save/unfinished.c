/* SPDX-License-Identifier: MIT */
/* Memory of saves that died. Threads: see unfinished.h. */
#include "save/unfinished.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "save/files.h"
#include "save/state_file.h"

/* Of the sections "save" and "memory" what comes first. docs/SNAPSHOT.md */
static void clear(const struct state_view *v)
{
	const struct state_section *save = state_view_find(v, "save", 0);
	const struct state_section *memory = state_view_find(v, "memory", 0);
	char name[PATH_MAX], suffix[2 * SAVE_FILES_ID_BYTES + 2] = ".";
	uint8_t id[SAVE_FILES_ID_BYTES];
	struct state_reader r;
	size_t len;

	if (!save || !memory)
		return;
	state_reader_init(&r, save->data, save->len_bytes);
	state_get_bytes(&r, id, sizeof(id));
	if (state_reader_error(&r))
		return;
	state_reader_init(&r, memory->data, memory->len_bytes);
	state_get_string(&r, name, sizeof(name));
	if (state_reader_error(&r))
		return;
	for (size_t i = 0; i < sizeof(id); i++)
		sprintf(suffix + 1 + 2 * i, "%02x", id[i]);
	len = strlen(name);
	/* In the directory it goes with that; a template's has no such name. */
	if (name[0] == '/' && len > strlen(suffix) &&
	    !strcmp(name + len - strlen(suffix), suffix))
		unlink(name);
}

void save_unfinished_clear(int dir_fd, const char *state)
{
	int fd = openat(dir_fd, state, O_RDONLY | O_NOFOLLOW | O_NONBLOCK |
			O_CLOEXEC);
	struct state_view view;
	uint8_t *data = NULL;
	struct error e;
	struct stat st;
	size_t len;

	if (fd < 0)
		return;
	/* What others say is to be removed is not. */
	if (!fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_size > 0 &&
	    st.st_size <= STATE_MAX_BYTES && st.st_uid == geteuid()) {
		len = (size_t)st.st_size;
		data = malloc(len);
		if (data && pread(fd, data, len, 0) == (ssize_t)len &&
		    !state_view_init(&view, data, len, &e)) {
			clear(&view);
			state_view_deinit(&view);
		}
	}
	free(data);
	close(fd);
}
