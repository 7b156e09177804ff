/* SPDX-License-Identifier: MIT */
/*
 * The error contract of every set-up and monitor path: a function returns 0 or
 * -errno and, on failure, fills the struct error it was given. The text is one
 * line without a newline or a trailing full stop; it names the bad value. It is
 * printed once, by main.c as a line or by the monitor as JSON.
 *
 * Any thread; a struct error belongs to its caller. Data paths do not use it.
 */
#ifndef MOTE_ERROR_H
#define MOTE_ERROR_H

#include <stdarg.h>

/* Stable classes of the monitor's replies; see error_class_name(). */
enum error_class {
	ERROR_GENERIC,
	ERROR_ALREADY_ATTACHED,
	ERROR_NOT_ATTACHED,
	ERROR_NO_AVAILABLE_LOCATION,
	ERROR_TOO_MANY_ATTACHMENTS,
	ERROR_NO_CONTROLLER,
	ERROR_MISSING_PARAMETER,
	ERROR_ALREADY_SET,
	ERROR_INVALID_STATE,
	ERROR_NOT_SUPPORTED,
	ERROR_UNSUPPORTED_GUEST_OS,
	ERROR_UNKNOWN_GUEST_OS,
	ERROR_INVALID_CONFIG,	/* main.c turns this class into exit status 2 */
	ERROR_COMMAND_NOT_FOUND,
	ERROR_DEVICE_NOT_FOUND,	/* QEMU's, of device_del and the like */
	ERROR_DEVICE_NOT_ACTIVE,	/* QEMU's, of balloon */
};

#define ERROR_TEXT_BYTES 512

struct error {
	enum error_class class;
	char text[ERROR_TEXT_BYTES];
};

/*
 * Fills *e (NULL is allowed) and returns ret, which must be negative:
 *	return error_set(e, -EINVAL, "--cpus: %u is more than 255", n);
 * error_set() gives the class ERROR_GENERIC, error_config() ERROR_INVALID_CONFIG.
 */
int error_set(struct error *e, int ret, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
int error_config(struct error *e, int ret, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
int error_class_set(struct error *e, enum error_class class, int ret,
		    const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* As error_set(), with ": " and the message of errno value -ret appended. */
int error_errno(struct error *e, int ret, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Puts "prefix: " in front of the text that is there; returns ret. */
int error_prefix(struct error *e, int ret, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * What failed with ret was to open what the user named: when that is because
 * of what it is (not there, a directory, not ours …) and not for want of some
 * resource, or because somebody uses it, the class ERROR_GENERIC becomes
 * ERROR_INVALID_CONFIG. Returns ret.
 */
int error_of_named(struct error *e, int ret);

/* The text as a line of mote's on stderr. What is in it may come from anywhere:
 * control characters become '?'. */
void error_say(const char *text);

const char *error_class_name(enum error_class class);

#endif
