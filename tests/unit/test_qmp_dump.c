/* SPDX-License-Identifier: MIT */
/* WITH: qmp_fixture */
/* dump-guest-memory and what tells about it, over a fake VM. */
#include "qmp_fixture.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static void expect_refusal(struct client *c, const char *args,
			   const char *class, const char *text)
{
	char line[300];

	snprintf(line, sizeof(line), "{\"execute\":\"dump-guest-memory\","
		 "\"arguments\":{%s}}", args);
	client_send(c, line);
	client_expect_error(c, class, text);
}

static void test_dump_what_is_not_supported_is_named(void **state)
{
	struct client c = client_ready(*state);
	struct qmp *q = *state;

	expect_refusal(&c, "\"paging\":true,\"protocol\":\"file:x\"",
		       "NotSupported", "paging");
	expect_refusal(&c, "\"paging\":false,\"protocol\":\"file:x\","
		       "\"format\":\"kdump-zlib\"", "NotSupported",
		       "kdump-zlib");
	expect_refusal(&c, "\"paging\":false,\"protocol\":\"file:x\","
		       "\"format\":\"tar\"", "GenericError", "'tar'");
	expect_refusal(&c, "\"paging\":false,\"protocol\":\"tcp:x\"",
		       "GenericError", "Invalid parameter 'protocol'");
	expect_refusal(&c, "\"paging\":false,\"protocol\":\"fd:none\"",
		       "GenericError", "none");
	expect_refusal(&c, "\"paging\":false,\"protocol\":\"file:x\","
		       "\"begin\":0", "GenericError",
		       "Parameter 'length' is missing");
	expect_refusal(&c, "\"paging\":false,\"protocol\":\"file:x\","
		       "\"length\":1", "GenericError",
		       "Parameter 'begin' is missing");
	expect_refusal(&c, "\"protocol\":\"file:x\"", "GenericError",
		       "'paging' is missing");
	assert_int_equal(q->vm.dump.state, VM_DUMP_NONE);
	q->vm.fail = "dump-guest-memory";
	expect_refusal(&c, "\"paging\":false,\"protocol\":\"file:x\"",
		       "InvalidState", "refused");
	client_close(&c);
}

static void test_dump_reply_comes_at_its_end(void **state)
{
	struct client c = client_ready(*state), other = client_ready(*state);
	struct qmp *q = *state;

	client_exchange(&c, "{\"execute\":\"query-dump\"}",
			"{\"return\":{\"status\":\"none\",\"completed\":0,"
			"\"total\":0}}");
	client_send(&c, "{\"execute\":\"dump-guest-memory\",\"id\":1,"
		    "\"arguments\":{\"paging\":false,\"protocol\":\"file:x\","
		    "\"begin\":4096,\"length\":8192}}");
	qmp_settle(q);
	assert_true(client_is_quiet(&c));
	assert_int_equal(q->vm.dump_begin, 4096);
	assert_int_equal(q->vm.dump_bytes, 8192);
	/* Others are served meanwhile. */
	client_exchange(&other, "{\"execute\":\"query-dump\"}",
			"{\"return\":{\"status\":\"active\","
			"\"completed\":4096,\"total\":8192}}");
	q->vm.dump.completed = 8192;
	q->vm.dump.state = VM_DUMP_COMPLETED;
	fake_vm_event(&q->vm, VM_EVENT_DUMP_COMPLETED, false, NULL);
	client_expect(&c, "{\"event\":\"DUMP_COMPLETED\",\"data\":{\"result\":"
		      "{\"status\":\"completed\",\"completed\":8192,"
		      "\"total\":8192}}}");
	client_expect(&c, "{\"return\":{},\"id\":1}");
	client_close(&other);
	client_close(&c);
}

static void test_dump_that_fails_is_the_replys_error(void **state)
{
	struct client c = client_ready(*state);
	struct qmp *q = *state;

	client_exchange(&c, "{\"execute\":\"dump-guest-memory\",\"arguments\":"
			"{\"paging\":false,\"protocol\":\"file:x\","
			"\"detach\":true,\"format\":\"elf\"}}",
			"{\"return\":{}}");
	client_send(&c, "{\"execute\":\"dump-guest-memory\",\"arguments\":"
		    "{\"paging\":false,\"protocol\":\"file:x\"}}");
	qmp_settle(q);
	q->vm.dump.state = VM_DUMP_FAILED;
	error_set(&q->vm.dump.error, -5, "dump: the disk is full");
	fake_vm_event(&q->vm, VM_EVENT_DUMP_COMPLETED, false, NULL);
	client_expect(&c, "{\"event\":\"DUMP_COMPLETED\",\"data\":{\"result\":"
		      "{\"status\":\"failed\",\"completed\":4096,"
		      "\"total\":8192},\"error\":\"dump: the disk is full\"}}");
	client_expect_error(&c, "GenericError", "the disk is full");
	client_close(&c);
}

static void test_dump_fd_is_the_one_that_was_kept(void **state)
{
	struct client c = client_ready(*state);
	int fd = open("/dev/null", O_WRONLY);

	client_send_fds(&c, "{\"execute\":\"getfd\",\"arguments\":{\"fdname\":"
			"\"core\"}}", &fd, 1);
	client_expect(&c, "{\"return\":{}}");
	client_exchange(&c, "{\"execute\":\"dump-guest-memory\",\"arguments\":"
			"{\"paging\":false,\"protocol\":\"fd:core\","
			"\"detach\":true}}", "{\"return\":{}}");
	/* It is used up. */
	expect_refusal(&c, "\"paging\":false,\"protocol\":\"fd:core\"",
		       "GenericError", "core");
	client_exchange(&c, "{\"execute\":"
			"\"query-dump-guest-memory-capability\"}",
			"{\"return\":{\"formats\":[\"elf\"]}}");
	close(fd);
	client_close(&c);
}

/* What nobody could wait for is not begun. */
static void test_dump_of_a_client_that_waits_too_often_is_refused(void **state)
{
	struct client c = client_ready(*state);
	struct qmp *q = *state;

	for (unsigned int i = 0; i < 64; i++)
		client_send(&c, "{\"execute\":\"wait\"}");
	qmp_settle(q);
	expect_refusal(&c, "\"paging\":false,\"protocol\":\"file:x\"",
		       "GenericError", "at most 64 times");
	assert_int_equal(q->vm.dump.state, VM_DUMP_NONE);
	client_exchange(&c, "{\"execute\":\"dump-guest-memory\",\"arguments\":"
			"{\"paging\":false,\"protocol\":\"file:x\","
			"\"detach\":true}}", "{\"return\":{}}");
	client_close(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, qmp_setup, qmp_teardown)
		TEST(test_dump_what_is_not_supported_is_named),
		TEST(test_dump_reply_comes_at_its_end),
		TEST(test_dump_that_fails_is_the_replys_error),
		TEST(test_dump_fd_is_the_one_that_was_kept),
		TEST(test_dump_of_a_client_that_waits_too_often_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
