/* SPDX-License-Identifier: MIT */
/* LINK: vsock/vsock vsock/connection vsock/fill vsock/socket vsock/host */
/* LINK: vsock/service vsock/buffer char/listener loop error */
/* WITH: vsock_fixture */
/* What can be said about a port. */
#include "vsock_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* True: the guest's connection to the port is accepted. */
static bool guest_reaches(struct vf *f, uint32_t port)
{
	static uint32_t guest_port = 100;

	vf_send(f, VIRTIO_VSOCK_OP_REQUEST, guest_port++, port, 0, NULL, 0);
	assert_true(vf_fetch(f));
	assert_int_equal(f->host_port, port);
	return f->op == VIRTIO_VSOCK_OP_RESPONSE;
}

/* True: a host program's CONNECT gets as far as the guest. */
static bool guest_is_asked(struct vf *f, uint32_t port)
{
	char line[32];
	bool asked;
	int fd;

	snprintf(line, sizeof(line), "CONNECT %u\n", port);
	fd = vf_client(f, line);
	asked = vf_fetch(f);
	if (!asked)
		vf_expect_host(fd, "");
	close(fd);
	vf_settle(f);
	while (vf_fetch(f))
		;
	return asked;
}

static int set(struct vf *f, const struct vsock_service *s)
{
	struct error e;

	return vsock_service_set(f->v, s, &e);
}

static void test_service_path_of_its_own(void **state)
{
	struct vf *f = *state;
	char path[96];
	struct vsock_service s = { .port = 50, .path = path };
	int listener = vf_listen(f, 9, SOCK_STREAM);

	snprintf(path, sizeof(path), "%s_9", f->path);
	assert_false(guest_reaches(f, 50));
	assert_int_equal(set(f, &s), 0);
	assert_true(guest_reaches(f, 50));
	assert_true(guest_reaches(f, 9));
	vsock_service_remove(f->v, 50);
	assert_false(guest_reaches(f, 50));
	vsock_service_remove(f->v, 50);
	close(listener);
}

static void test_service_once_is_for_one_connection(void **state)
{
	struct vf *f = *state;
	struct vsock_service s = { .port = 9, .once = true };
	int listener;
	struct error e;

	assert_int_equal(vsock_listen(f->v, &s, &e), 0);
	/* One that fails does not count. */
	assert_false(guest_reaches(f, 9));
	listener = vf_listen(f, 9, SOCK_STREAM);
	assert_int_equal(vsock_listen(f->v, &s, &e), -EEXIST);
	assert_int_equal(e.class, ERROR_ALREADY_SET);
	assert_true(guest_reaches(f, 9));
	assert_false(guest_reaches(f, 9));
	assert_int_equal(vsock_listen(f->v, &s, &e), 0);
	assert_true(guest_reaches(f, 9));
	assert_false(guest_reaches(f, 9));
	vsock_service_remove(f->v, 9);
	assert_true(guest_reaches(f, 9));
	close(listener);
}

static void test_service_disabled_refuses_both_ways(void **state)
{
	struct vf *f = *state;
	struct vsock_service s = { .port = 9, .disabled = true };
	int listener = vf_listen(f, 9, SOCK_STREAM);

	assert_true(guest_reaches(f, 9));
	assert_true(guest_is_asked(f, 9));
	assert_int_equal(set(f, &s), 0);
	assert_false(guest_reaches(f, 9));
	assert_false(guest_is_asked(f, 9));
	assert_true(guest_is_asked(f, 10));
	/* It exists: the same again, disabled and empty, removes it. */
	assert_int_equal(set(f, &s), 0);
	assert_true(guest_reaches(f, 9));
	assert_true(guest_is_asked(f, 9));
	/* Not empty: an update. */
	s.path = "/nowhere";
	assert_int_equal(set(f, &s), 0);
	assert_int_equal(set(f, &s), 0);
	assert_false(guest_is_asked(f, 9));
	close(listener);
}

static void test_service_allows_uids_only(void **state)
{
	struct vf *f = *state;
	const uid_t others[] = { getuid() + 1, getuid() + 2 };
	const uid_t all[] = { getuid() + 1, getuid() };
	struct vsock_service s = { .port = 9, .uids = others, .uid_count = 2 };
	int listener = vf_listen(f, 9, SOCK_STREAM), fd;

	assert_int_equal(set(f, &s), 0);
	assert_false(guest_reaches(f, 9));
	assert_false(guest_is_asked(f, 9));
	fd = vf_accept(listener);
	vf_expect_host(fd, "");
	close(fd);
	s.uids = all;
	assert_int_equal(set(f, &s), 0);
	assert_true(guest_reaches(f, 9));
	assert_true(guest_is_asked(f, 9));
	close(listener);
}

static void test_service_mistakes_are_named(void **state)
{
	struct vf *f = *state;
	char longest[200];
	struct vsock_service s = { .port = 9, .path = longest };
	struct error e;

	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	assert_int_equal(vsock_service_set(f->v, &s, &e), -EINVAL);
	assert_non_null(strstr(e.text, "port 9: path"));
	s.path = "";
	assert_int_equal(vsock_service_set(f->v, &s, &e), -EINVAL);
	s.path = NULL;
	s.uid_count = VSOCK_MAX_UIDS + 1;
	assert_int_equal(vsock_service_set(f->v, &s, &e), -EINVAL);
	assert_non_null(strstr(e.text, "allow-uid"));
}

static void test_service_number_is_bounded(void **state)
{
	struct vf *f = *state;
	struct vsock_service s = { .path = "/x" };
	struct error e;

	for (; s.port < VSOCK_MAX_SERVICES; s.port++)
		assert_int_equal(vsock_service_set(f->v, &s, &e), 0);
	assert_int_equal(vsock_service_set(f->v, &s, &e), -ENOSPC);
	assert_int_equal(e.class, ERROR_TOO_MANY_ATTACHMENTS);
	s.port = 5;
	assert_int_equal(vsock_service_set(f->v, &s, &e), 0);
}

static void test_service_without_a_path_needs_one(void **state)
{
	struct vf *f = *state;
	struct vsock_params p = { .guest_cid = 3, .loop = f->loop };
	struct vsock_service s = { .port = 1 };
	struct vsock *v;
	struct error e;

	assert_int_equal(vsock_create(&v, &p, &e), 0);
	assert_int_equal(vsock_listen(v, &s, &e), -EINVAL);
	assert_int_equal(e.class, ERROR_MISSING_PARAMETER);
	s.path = "/x";
	assert_int_equal(vsock_listen(v, &s, &e), 0);
	vsock_destroy(v);
}

static void test_service_second_vsock_at_the_path_is_an_error(void **state)
{
	struct vf *f = *state;
	struct vsock_params p = { .guest_cid = 3, .loop = f->loop,
				  .path = f->path };
	struct vsock *v = NULL;
	struct error e;

	assert_int_equal(vsock_create(&v, &p, &e), -EADDRINUSE);
	assert_non_null(strstr(e.text, f->path));
	assert_int_equal(access(f->path, F_OK), 0);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, vf_setup, vf_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_service_path_of_its_own),
		CASE(test_service_once_is_for_one_connection),
		CASE(test_service_disabled_refuses_both_ways),
		CASE(test_service_allows_uids_only),
		CASE(test_service_mistakes_are_named),
		CASE(test_service_number_is_bounded),
		CASE(test_service_without_a_path_needs_one),
		CASE(test_service_second_vsock_at_the_path_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
