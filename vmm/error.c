/* SPDX-License-Identifier: MIT */
/* Error texts. Any thread; no shared state. */
#include "error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void fill(struct error *e, enum error_class class, const char *fmt,
		 va_list ap)
{
	e->class = class;
	vsnprintf(e->text, sizeof(e->text), fmt, ap);
}

int error_class_set(struct error *e, enum error_class class, int ret,
		    const char *fmt, ...)
{
	va_list ap;

	if (e) {
		va_start(ap, fmt);
		fill(e, class, fmt, ap);
		va_end(ap);
	}
	return ret;
}

int error_set(struct error *e, int ret, const char *fmt, ...)
{
	va_list ap;

	if (e) {
		va_start(ap, fmt);
		fill(e, ERROR_GENERIC, fmt, ap);
		va_end(ap);
	}
	return ret;
}

int error_config(struct error *e, int ret, const char *fmt, ...)
{
	va_list ap;

	if (e) {
		va_start(ap, fmt);
		fill(e, ERROR_INVALID_CONFIG, fmt, ap);
		va_end(ap);
	}
	return ret;
}

int error_errno(struct error *e, int ret, const char *fmt, ...)
{
	va_list ap;
	size_t used;

	if (!e)
		return ret;
	va_start(ap, fmt);
	fill(e, ERROR_GENERIC, fmt, ap);
	va_end(ap);
	used = strlen(e->text);
	snprintf(e->text + used, sizeof(e->text) - used, ": %s",
		 strerror(-ret));
	return ret;
}

int error_prefix(struct error *e, int ret, const char *fmt, ...)
{
	char old[ERROR_TEXT_BYTES];
	va_list ap;
	size_t used;

	if (!e)
		return ret;
	memcpy(old, e->text, sizeof(old));
	va_start(ap, fmt);
	fill(e, e->class, fmt, ap);
	va_end(ap);
	used = strlen(e->text);
	snprintf(e->text + used, sizeof(e->text) - used, ": %s", old);
	return ret;
}

int error_of_named(struct error *e, int ret)
{
	static const int reasons[] = {
		ENOENT, ENOTDIR, EISDIR, EACCES, EPERM, EROFS, ELOOP, EEXIST,
		ENAMETOOLONG, ENXIO, ENODEV, EINVAL,
	};

	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		if (e && e->class == ERROR_GENERIC && ret == -reasons[i])
			e->class = ERROR_INVALID_CONFIG;
	return ret;
}

void error_say(const char *text)
{
	char line[1024];

	snprintf(line, sizeof(line), "%s", text);
	for (char *p = line; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
	fprintf(stderr, "mote: %s\n", line);
}

const char *error_class_name(enum error_class class)
{
	static const char *const names[] = {
		[ERROR_GENERIC] = "GenericError",
		[ERROR_ALREADY_ATTACHED] = "AlreadyAttached",
		[ERROR_NOT_ATTACHED] = "NotAttached",
		[ERROR_NO_AVAILABLE_LOCATION] = "NoAvailableLocation",
		[ERROR_TOO_MANY_ATTACHMENTS] = "TooManyAttachments",
		[ERROR_NO_CONTROLLER] = "NoController",
		[ERROR_MISSING_PARAMETER] = "MissingParameter",
		[ERROR_ALREADY_SET] = "AlreadySet",
		[ERROR_INVALID_STATE] = "InvalidState",
		[ERROR_NOT_SUPPORTED] = "NotSupported",
		[ERROR_UNSUPPORTED_GUEST_OS] = "UnsupportedGuestOS",
		[ERROR_UNKNOWN_GUEST_OS] = "UnknownGuestOS",
		[ERROR_INVALID_CONFIG] = "InvalidConfig",
		[ERROR_COMMAND_NOT_FOUND] = "CommandNotFound",
		[ERROR_DEVICE_NOT_FOUND] = "DeviceNotFound",
		[ERROR_DEVICE_NOT_ACTIVE] = "DeviceNotActive",
	};

	return names[class];
}
