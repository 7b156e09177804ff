# SPDX-License-Identifier: MIT
"""DIMMs that come and go while a stock kernel runs, and what it says of them and of vCPUs."""

import pytest

from qmp import Session
from test_cpus import bring_up
from test_hotplug import Guest, held, image
from test_memory import MIB, meminfo, until


@pytest.fixture
def boot(run, tmp_path):
    def start(*args, **kwargs):
        return Guest(run, tmp_path / "monitor", *args, **kwargs)

    return start


def reported(g, **expected):
    """The next such report; others are kept, but those of something that has only begun."""
    others = []
    while True:
        event = g.monitor.event("ACPI_DEVICE_OST")
        info = event["data"]["info"]
        if info["status"] in (0x80, 0x84):
            continue
        if info == {**info, **expected}:
            g.monitor.events += others
            return info
        others.append(event)


def add(g, name, size, kind="ram", **more):
    """As govmm does it."""
    g.monitor.command("object-add", qom_type=f"memory-backend-{kind}", id=f"mem-{name}", size=size, **more)
    g.monitor.command("device_add", driver="pc-dimm", id=name, memdev=f"mem-{name}")


def online(g, how):
    g.sh(f"echo {how} > /sys/devices/system/memory/auto_online_blocks")


def test_dimms_come_and_go(boot):
    """One after the other in one guest, since it is its start that takes time."""
    g = boot("-m", "512,max=1536M,slots=3")
    total = meminfo(g, "MemTotal")
    # So that Linux can always empty them again.
    online(g, "online_movable")
    before = None
    for kind, more in (("ram", {}), ("memfd", {"share": True}), ("file", {"mem_path": "/dev/shm", "share": "on"})):
        add(g, "dimm", 256 * MIB, kind, **more)
        info = reported(g, device="dimm", slot="0", source=1, status=0)
        assert info["slot-type"] == "DIMM"
        until(lambda: meminfo(g, "MemTotal") > total + 240, "the memory is not online")
        assert g.monitor.command("query-memory-size-summary") == {"base-memory": 512 * MIB, "plugged-memory": 256 * MIB}
        assert "in use" in g.monitor.reply("object-del", id="mem-dimm")["error"]["desc"]
        # More than the guest had: some of it is there.
        g.sh("mount -o remount,size=90% /tmp; dd if=/dev/zero of=/tmp/file bs=1M count=450 2>/dev/null; rm /tmp/file", timeout=300)
        g.delete("dimm")
        assert abs(meminfo(g, "MemTotal") - total) < 8
        g.monitor.command("object-del", id="mem-dimm")
        assert before in (None, held(g.pid()))
        before = held(g.pid())

    # What is wrong changes nothing.
    for size, wrong in ((200 * MIB, "InvalidConfig"), (2048 * MIB, "NoAvailableLocation")):
        g.monitor.command("object-add", qom_type="memory-backend-ram", id="mem-bad", size=size)
        assert g.monitor.reply("device_add", driver="pc-dimm", id="bad", memdev="mem-bad")["error"]["class"] == wrong
        g.monitor.command("object-del", id="mem-bad")
    assert g.monitor.command("query-memory-size-summary")["plugged-memory"] == 0

    # By size: without a driver for virtio-mem it is a DIMM, which goes again.
    assert g.monitor.command("memory-set", size="768M", timeout_ms=60000) == {"requested": 768 * MIB, "plugged": 768 * MIB}
    until(lambda: meminfo(g, "MemTotal") > total + 240, "the memory is not online")
    assert [d["type"] for d in g.monitor.command("query-memory-devices")] == ["dimm", "virtio-mem"]
    assert g.monitor.command("memory-set", size="512M", timeout_ms=60000) == {"requested": 512 * MIB, "plugged": 512 * MIB}

    # With the kernel's own memory inside it is not let go: an event, twice, and it works on.
    online(g, "online_kernel")
    add(g, "busy", 128 * MIB)
    until(lambda: meminfo(g, "MemTotal") > total + 120, "the memory is not online")
    # Of the zones Linux prefers the one that is this DIMM alone.
    g.sh("modprobe brd rd_nr=1 rd_size=65536; dd if=/dev/zero of=/dev/ram0 oflag=direct bs=1M count=64 2>/dev/null", timeout=300)
    for _ in range(2):
        g.monitor.command("device_del", id="busy")
        assert reported(g, device="busy", source=3)["status"]
        assert g.monitor.event("DEVICE_UNPLUG_GUEST_ERROR")["data"] == {"device": "busy", "path": "/machine/peripheral/busy"}
    g.sh("dd if=/dev/ram0 of=/dev/null iflag=direct bs=1M count=64 2>/dev/null")
    add(g, "other", 128 * MIB)
    until(lambda: meminfo(g, "MemTotal") > total + 240, "the memory is not online")

    # A reset finds those that are there, but for what was to go.
    g.monitor.command("stop")
    g.monitor.command("device_del", id="other")
    start = len(g.vm.out)
    g.monitor.command("system_reset")
    g.deleted("other")
    g.monitor.command("cont")
    g.vm.expect("MOTE-READY", start=start)
    g.sh("stty -echo; PS1=")
    assert [d["data"]["id"] for d in g.monitor.command("query-memory-devices")] == ["busy", "memory0"]
    until(lambda: meminfo(g, "MemTotal") > total + 120, "the memory is not online")
    g.monitor.command("quit")
    assert g.vm.wait() == 0


def test_devices_for_memory_come(boot):
    """A virtio-mem of the client's own, as Kata's has it, and a balloon, while the guest runs."""
    g = boot("-m", "512,max=1536M", "-c", "1,max=2")
    g.sh("modprobe virtio_mem; modprobe virtio_balloon")
    total = meminfo(g, "MemTotal")
    g.monitor.command("object-add", qom_type="memory-backend-ram", id="virtiomem", size=1024 * MIB)
    g.monitor.command("device_add", driver="virtio-mem-pci", id="virtiomem0", memdev="virtiomem", bus="pcie.0", addr="1e")
    g.wait_for("[ -e /sys/bus/pci/devices/0000:00:1e.0/virtio*/driver ]")
    g.monitor.command("qom-set", path="/machine/peripheral/virtiomem0", property="requested-size", value=256 * MIB)
    until(lambda: g.monitor.command("qom-get", path="virtiomem0", property="size") == 256 * MIB, "nothing is plugged")
    until(lambda: meminfo(g, "MemTotal") > total + 240, "the memory is not online")
    assert g.monitor.event("MEMORY_DEVICE_SIZE_CHANGE")["data"]["id"] == "virtiomem0"
    # All together stay within max=.
    assert g.monitor.reply("qom-set", path="memory0", property="requested-size", value=800 * MIB)["error"]["class"] == "InvalidConfig"
    g.monitor.command("qom-set", path="memory0", property="requested-size", value=128 * MIB)
    until(lambda: g.monitor.command("query-memory-size-summary")["plugged-memory"] == 384 * MIB, "nothing is plugged")
    g.sh("mount -o remount,size=90% /tmp; dd if=/dev/zero of=/tmp/file bs=1M count=550 2>/dev/null; rm /tmp/file", timeout=300)
    g.monitor.command("qom-set", path="virtiomem0", property="requested-size", value=0)
    until(lambda: g.monitor.command("qom-get", path="virtiomem0", property="size") < 128 * MIB, "nothing is unplugged")

    g.monitor.command("device_add", driver="virtio-balloon-pci", id="b", bus="pcie.1")
    g.wait_for("[ -e /sys/bus/pci/devices/0000:01:00.0/virtio*/driver ]")
    g.monitor.command("balloon", value=384 * MIB)
    until(lambda: g.monitor.command("query-balloon")["actual"] == 384 * MIB, "it does not inflate")

    def stats():
        return g.monitor.command("qom-get", path="/machine/peripheral/b", property="guest-stats")

    until(lambda: stats()["last-update"] and abs(stats()["stats"]["stat-total-memory"] // MIB - meminfo(g, "MemTotal")) < 8,
          "what it tells is not what it has")
    # Of vCPUs the guest reports as well.
    g.monitor.command("cpu-add")
    assert reported(g, device="cpu1")["slot-type"] == "CPU"
    g.monitor.command("cpu-remove")
    g.monitor.command("quit")
    assert g.vm.wait() == 0


def test_before_the_start(run, tmp_path):
    """What has come by then is there from the start."""
    path = tmp_path / "monitor"
    vm = run("-m", "512,max=1G", "-c", "1,max=3", "--paused", "--serial", "null", "--console", "stdio", "--monitor", path,
             params="mote.test=shell")
    monitor = Session(path)
    assert monitor.command("memory-set", size="768M") == {"requested": 768 * MIB, "plugged": 768 * MIB}
    monitor.command("object-add", qom_type="memory-backend-ram", id="m", size=128 * MIB)
    for name in ("gone", "stays"):
        monitor.command("device_add", driver="pc-dimm", id=name, memdev="m", slot=5)
        if name == "gone":
            monitor.command("device_del", id=name)
            assert monitor.event("DEVICE_DELETED")["data"]["device"] == name
    assert monitor.command("cpu-add", count=2) == {"count": 3}
    assert monitor.command("cpu-remove") == {}
    monitor.command("cont")
    vm.expect("MOTE-READY")
    vm.send("echo =$(grep -c ^processor /proc/cpuinfo)=$(grep MemTotal /proc/meminfo | tr -dc 0-9)=\n")
    match = vm.expect(r"=(\d+)=(\d+)=")
    assert int(match[1]) == 2
    assert 768 + 40 < int(match[2]) >> 10 <= 768 + 128
    # The guest says nothing of what it found.
    assert not [event for event in monitor.events if event["event"] == "ACPI_DEVICE_OST"]
    monitor.command("quit")
    assert vm.wait() == 0


def many(boot, tmp_path, turns):
    """DIMMs and vCPUs come and go while a disk is busy."""
    disk = image(tmp_path / "disk", 64)
    g = boot("-m", "512,max=1536M,slots=3", "-c", "1,max=3", "-d", disk)
    online(g, "online_movable")
    g.sh("(while dd if=/dev/vda of=/dev/null iflag=direct bs=64k 2>/dev/null; do :; done; echo READER-FAILED) &")
    before = None
    for turn in range(turns):
        add(g, "dimm", (1 + turn % 3) * 128 * MIB)
        g.monitor.command("cpu-add", count=2)
        reported(g, device="dimm", source=1, status=0)
        reported(g, device="cpu2", source=1, status=0)
        if turn % 10 == 0:
            bring_up(g, 3)
        g.delete("dimm")
        g.monitor.command("object-del", id="mem-dimm")
        g.monitor.command("cpu-remove", count=2, timeout_ms=120000)
        # The first time is what stays: KVM cannot take vCPUs back.
        before = before or held(g.pid())
        assert held(g.pid()) == before, turn
        g.monitor.events.clear()
    assert b"READER-FAILED" not in g.vm.out
    g.monitor.command("quit")
    assert g.vm.wait() == 0


@pytest.mark.long
def test_nothing_stays_of_many(boot, tmp_path):
    many(boot, tmp_path, 200)
