/* SPDX-License-Identifier: MIT */
/*
 * The log. log_open() in the main thread before there are others; log_write()
 * in any thread. The state is the process's: there is one stderr.
 */
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#define LINE_BYTES 1024

static struct {
	enum log_level level;
	int fd;
} sink = { .level = LOG_WARN, .fd = STDERR_FILENO };

int log_open(enum log_level level, const char *path)
{
	int fd = STDERR_FILENO;

	if (path) {
		fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC |
				O_NOCTTY, 0666);
		if (fd < 0)
			return -errno;
	}
	if (sink.fd != STDERR_FILENO)
		close(sink.fd);
	sink.level = level;
	sink.fd = fd;
	return 0;
}

/* On a terminal that a guest's console has made raw \n is only a line feed. */
static const char *line_end(void)
{
	struct termios t;

	if (!tcgetattr(sink.fd, &t) && !(t.c_oflag & OPOST))
		return "\r\n";
	return "\n";
}

void log_write(enum log_level level, const char *fmt, ...)
{
	static const char *const names[] = {
		[LOG_ERROR] = "error",
		[LOG_WARN] = "warning",
		[LOG_INFO] = "info",
		[LOG_DEBUG] = "debug",
	};
	char line[LINE_BYTES];
	int saved_errno = errno;
	const size_t room = sizeof(line) - sizeof("\r\n");
	size_t start, len;
	va_list ap;

	if (level > sink.level)
		return;
	start = (size_t)snprintf(line, room, "mote: %s: ", names[level]);
	va_start(ap, fmt);
	vsnprintf(line + start, room - start, fmt, ap);
	va_end(ap);
	/* One line a message, and nothing that a terminal would obey. */
	len = strlen(line);
	for (size_t i = start; i < len; i++)
		if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
			line[i] = ' ';
	strcpy(line + len, line_end());
	len += strlen(line + len);
	/* One system call: lines of several threads do not mix. Nobody to tell
	 * when it fails. */
	if (write(sink.fd, line, len) < 0)
		errno = 0;
	errno = saved_errno;
}
