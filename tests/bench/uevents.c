/* SPDX-License-Identifier: MIT */
/*
 * In the guest of tests/bench/monitor.py: says on its standard output what the
 * kernel says of each new disk or pmem device, as soon as it is said: a line
 * "NEW name".
 */
#include <linux/netlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int main(void)
{
	struct sockaddr_nl addr = { .nl_family = AF_NETLINK, .nl_groups = 1 };
	int fd = socket(AF_NETLINK, SOCK_DGRAM, NETLINK_KOBJECT_UEVENT);
	char message[4096], line[64];

	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)))
		return 1;
	if (write(STDOUT_FILENO, "LISTENING\n", 10) < 0)
		return 1;
	for (;;) {
		ssize_t n = recv(fd, message, sizeof(message) - 1, 0);
		const char *name;
		int len;

		if (n <= 0)
			continue;
		message[n] = '\0';
		name = strrchr(message, '/');
		if (strncmp(message, "add@", 4) || !name ||
		    !strstr(message, "/block/"))
			continue;
		len = snprintf(line, sizeof(line), "NEW %s\n", name + 1);
		if (write(STDOUT_FILENO, line, (size_t)len) < 0)
			return 1;
	}
}
