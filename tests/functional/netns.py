# SPDX-License-Identifier: MIT
"""Network namespaces for tests, and what runs in them."""

import ctypes
import fcntl
import itertools
import os
import struct
import subprocess
import sys
from pathlib import Path

IP = "/sbin/ip"
CLONE_NEWNET = 0x40000000
TUNSETIFF, IFF_TAP, IFF_NO_PI, IFF_VNET_HDR, IFF_MULTI_QUEUE = 0x400454CA, 0x2, 0x1000, 0x4000, 0x100
libc = ctypes.CDLL(None, use_errno=True)
numbers = itertools.count()


class Namespace:
    """A new one, with lo up. Gone with close(), and all its interfaces with it."""

    def __init__(self):
        self.name = f"mote-test-{os.getpid()}-{next(numbers)}"
        subprocess.run([IP, "netns", "add", self.name], check=True)
        self.started = []
        self.ip("link set lo up")

    def enter(self):
        """For subprocess's preexec_fn."""
        with open(f"/var/run/netns/{self.name}") as f:
            if libc.setns(f.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")

    def ip(self, command):
        subprocess.run([IP, "-n", self.name, *command.split()], check=True)

    def run(self, *command, **kwargs):
        return subprocess.run(command, preexec_fn=self.enter, check=True, capture_output=True, text=True, **kwargs).stdout

    def in_sysfs(self, name):
        """What a file of /sys/class/net says, as this namespace sees it."""
        script = f"mount -t sysfs sysfs /sys && cat /sys/class/net/{name}"
        return self.run("/usr/bin/unshare", "-m", "sh", "-c", script).strip()

    def start(self, *command):
        self.started.append(subprocess.Popen(command, preexec_fn=self.enter, stdout=subprocess.PIPE, text=True))
        return self.started[-1]

    def peer(self, *arguments):
        """netpeer.py; it listens when this returns."""
        process = self.start(sys.executable, Path(__file__).with_name("netpeer.py"), *arguments)
        assert process.stdout.readline() == "ready\n"
        return process

    def tap(self, name, address, queues=1, mtu=1500):
        many = " multi_queue" if queues > 1 else ""
        self.ip(f"tuntap add dev {name} mode tap vnet_hdr{many}")
        self.ip(f"addr add {address} dev {name}")
        self.ip(f"link set {name} mtu {mtu} up")

    def tap_fds(self, name, count):
        """Descriptors of queues of a tap interface, as a runtime hands them over."""
        here = os.open("/proc/self/ns/net", os.O_RDONLY)
        fds = []
        try:
            self.enter()
            for _ in range(count):
                fds.append(os.open("/dev/net/tun", os.O_RDWR))
                flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (IFF_MULTI_QUEUE if count > 1 else 0)
                fcntl.ioctl(fds[-1], TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
        finally:
            libc.setns(here, CLONE_NEWNET)
            os.close(here)
        return fds

    def close(self):
        for process in self.started:
            process.kill()
            process.wait()
            process.stdout.close()
        subprocess.run([IP, "netns", "del", self.name])
