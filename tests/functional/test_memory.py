# SPDX-License-Identifier: MIT
"""Memory that comes and goes while a stock kernel runs: what the client says, what the guest has, what the host pays."""

import re
import time

import pytest

from test_hotplug import Guest

MIB = 1 << 20


@pytest.fixture
def boot(run, tmp_path):
    def start(*args, **kwargs):
        return Guest(run, tmp_path / "monitor", *args, **kwargs)

    return start


def resident(pid):
    """MiB of the process that are in the host's memory."""
    with open(f"/proc/{pid}/status") as f:
        return next(int(line.split()[1]) >> 10 for line in f if line.startswith("VmRSS:"))


def meminfo(g, name):
    """MiB."""
    return int(re.search(rf"{name}: +(\d+) kB", g.sh(f"grep ^{name}: /proc/meminfo"))[1]) >> 10


def until(condition, what):
    for _ in range(600):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError(what)


def test_balloon(boot):
    g = boot("-m", "768", "--balloon", "deflate-on-oom=on,free-page-reporting=on")
    # Pages that were used and are free again: a file in memory. Reported as free, they leave the host.
    g.sh("dd if=/dev/zero of=/tmp/file bs=1M count=300 2>/dev/null")
    full = resident(g.pid())
    assert full >= 300
    g.sh("modprobe virtio_balloon; rm /tmp/file")
    until(lambda: resident(g.pid()) < full - 200, "free pages are not reported")

    # Into the balloon, and out of it.
    assert g.monitor.command("query-balloon") == {"actual": 768 * MIB}
    total = meminfo(g, "MemTotal")
    g.monitor.command("balloon", value=256 * MIB)
    until(lambda: g.monitor.command("query-balloon")["actual"] == 256 * MIB, "it does not inflate")
    assert g.monitor.event("BALLOON_CHANGE")["data"]["actual"] < 768 * MIB
    g.monitor.command("balloon", value=2048 * MIB)
    until(lambda: g.monitor.command("query-balloon")["actual"] == 768 * MIB, "it does not deflate")
    assert abs(meminfo(g, "MemTotal") - total) < 2

    # What it says is what the guest sees.
    def said():
        available = g.monitor.command("stats", types=["memory"])["memory"]["available"]
        return available and abs(available // MIB - meminfo(g, "MemAvailable")) < 32

    until(said, "the guest's available memory is not told")

    # Sooner than that a process is killed, the guest takes its memory back.
    g.monitor.command("balloon", value=160 * MIB)
    until(lambda: g.monitor.command("query-balloon")["actual"] < 220 * MIB, "it does not inflate")
    g.sh("dd if=/dev/zero of=/dev/null bs=300M count=1 2>/dev/null", timeout=300)
    g.monitor.command("quit")
    assert g.vm.wait() == 0


def test_virtio_mem(boot):
    """Up, down, with memory in use, over a reset, and together with the balloon."""
    g = boot("-m", "512,max=1536M", "--balloon")
    g.sh("modprobe virtio_mem; modprobe virtio_balloon")
    total = meminfo(g, "MemTotal")
    assert g.monitor.command("memory-set", size="1G", timeout_ms=120000) == {"requested": 1024 * MIB, "plugged": 1024 * MIB}
    assert g.monitor.event("MEMORY_DEVICE_SIZE_CHANGE")["data"]["id"] == "memory0"
    until(lambda: meminfo(g, "MemTotal") > total + 480, "the memory is not online")
    # It is there: more than the guest had.
    g.sh("mount -o remount,size=90% /tmp; dd if=/dev/zero of=/tmp/file bs=1M count=600 2>/dev/null", timeout=300)
    assert resident(g.pid()) > 600
    g.sh("rm /tmp/file")
    # As a client of QEMU has it. All is unplugged that can be, and the host has it back.
    g.monitor.command("qom-set", path="memory0", property="requested-size", value=0)
    until(lambda: g.monitor.command("qom-get", path="memory0", property="size") < 128 * MIB, "nothing is unplugged")
    assert resident(g.pid()) < 600
    # Below the RAM it is the balloon that takes.
    got = g.monitor.command("memory-set", size="384M", timeout_ms=60000)
    assert got["requested"] == 384 * MIB and got["plugged"] < 512 * MIB
    assert g.monitor.reply("memory-set", size="1538M")["error"]["class"] == "InvalidConfig"
    # A reset takes all away; the new kernel finds what it is asked to have.
    g.monitor.command("memory-set", size="1536M", timeout_ms=0)
    start = len(g.vm.out)
    g.monitor.command("system_reset")
    g.vm.expect("MOTE-READY", start=start)
    assert g.monitor.command("query-memory-size-summary") == {"base-memory": 512 * MIB, "plugged-memory": 0}
    g.sh("stty -echo; modprobe virtio_mem")
    until(lambda: g.monitor.command("query-memory-size-summary")["plugged-memory"] == 1024 * MIB, "nothing after a reset")
    g.monitor.command("quit")
    assert g.vm.wait() == 0
