# SPDX-License-Identifier: MIT
"""What a client added while the VM ran - ports, a virtio-mem, a DIMM - is there after a restore, and in another process."""

import socket

from qmp import Session
from test_dimms import add as add_dimm
from test_hotplug import Guest
from test_memory import MIB, meminfo, until
from test_migrate import ended, state
from test_ports import PORT, add_port, add_socket, connect
from test_save_devices import Restored

MEM = {"driver": "virtio-mem-pci", "id": "mem1", "memdev": "room1", "bus": "pcie.0", "addr": "1e"}
SERIAL = {"driver": "virtio-serial-pci", "id": "serial0", "raw": {"max_ports": 4}, "bus": "pcie.0", "addr": "1d"}


def add_devices(m, path):
    """What comes before the start, or before it comes in."""
    m.command("device_add", **SERIAL)
    add_socket(m, "agent", path)
    add_port(m, "agent", "agent")


def add_mem(m):
    m.command("object-add", qom_type="memory-backend-ram", id="room1", size=512 * MIB)
    m.command("device_add", **MEM)


def talks(g, path, word):
    """Both ways, to the program that has had the port open all along."""
    host = connect(path)
    host.send(f"{word}\n".encode())
    assert host.recv(100) == f"{word} comes back\n".encode()
    return host


def memory_is_whole(g):
    g.sh("for i in $(seq 1 6); do cmp /tmp/random /tmp/copy$i || exit 1; done", timeout=300)


def test_what_was_added_is_there_again(run, mote, tmp_path):
    options = ["-m", "192,max=1216M,slots=3", "-c", "2,max=3"]
    g = Guest(run, tmp_path / "m1", *options, before=lambda m: add_devices(m, tmp_path / "agent1"))
    m = g.monitor
    g.sh("modprobe virtio_mem")
    total = meminfo(g, "MemTotal")
    add_mem(m)
    g.wait_for("[ -e /sys/bus/pci/devices/0000:00:1e.0/virtio*/driver ]")
    m.command("qom-set", path="mem1", property="requested-size", value=128 * MIB)
    add_dimm(g, "dimm0", 128 * MIB)
    until(lambda: meminfo(g, "MemTotal") > total + 240, "the memory is not online")
    g.sh("mount -o remount,size=90% /tmp; dd if=/dev/urandom of=/tmp/random bs=1M count=24 2>/dev/null;"
         " for i in $(seq 1 6); do cp /tmp/random /tmp/copy$i; done", timeout=300)
    g.wait_for("grep -q org.agent /sys/class/virtio-ports/*/name")
    # Without anybody at the other end there is nothing to read.
    g.sh(f"( while :; do read x && echo $x comes back || sleep 0.1; done <>{PORT % 'agent'} >&0 2>/dev/null & )")
    talks(g, tmp_path / "agent1", "hello").close()
    # One of the two that it started with is gone.
    m.command("cpu-remove")
    until(lambda: len(m.command("query-cpus-fast")) == 1, "the vCPU stays")

    m.command("stop")
    m.command("save", directory=str(tmp_path / "saved"))
    # Its socket is the other one's.
    vm = mote("restore", tmp_path / "saved", "--serial", "null")
    assert vm.wait(60) == 1
    assert "--chardev 'agent'" in vm.reason() and "another process listens there" in vm.reason()
    r = Restored(mote, g, tmp_path / "saved", tmp_path / "m2", "--chardev", f"id=agent,path={tmp_path}/agent2")
    m.command("quit")
    assert g.vm.wait(60) == 0
    memory_is_whole(r)
    host = talks(r, tmp_path / "agent2", "again")
    r.monitor.command("qom-set", path="mem1", property="requested-size", value=256 * MIB)
    until(lambda: meminfo(r, "MemTotal") > total + 368, "the memory is not online")
    assert {d["data"]["id"] for d in r.monitor.command("query-memory-devices")} == {"dimm0", "memory0", "mem1"}
    r.sh("cp /tmp/random /tmp/copy1")

    # To another process, which has to have the same; what was added to its memory is made there.
    vm = run("--serial", "null", "--console", "stdio", "--monitor", tmp_path / "m3", *options, "--incoming", "defer")
    t = Session(tmp_path / "m3")
    # What a process that died has left.
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(tmp_path / "move"))
    stale.close()

    def move():
        t.command("migrate-incoming", uri=f"unix:{tmp_path}/move")
        r.monitor.command("migrate", uri=f"unix:{tmp_path}/move")
        return ended(t, "completed", "failed").get("error-desc")

    assert "serial" in move()
    assert ended(r.monitor, "failed", "completed")["status"] == "failed"
    assert state(r.monitor) == "running"
    t.command("device_add", **SERIAL)
    add_mem(t)
    assert "org.agent" in move()
    ended(r.monitor, "failed", "completed")
    assert {d["data"]["id"] for d in t.command("query-memory-devices")} == {"memory0", "mem1"}
    add_socket(t, "agent", tmp_path / "agent3")
    add_port(t, "agent", "agent")
    assert move() is None
    assert ended(r.monitor, "completed", "failed")["status"] == "completed"
    r.monitor.command("quit")
    assert r.vm.wait(60) == 0
    assert host.recv(1) == b""

    last = Restored.__new__(Restored)
    last.vm, last.monitor, last.count = vm, t, r.count + 100
    last.sh("true")
    assert len(t.command("query-cpus-fast")) == 1
    memory_is_whole(last)
    talks(last, tmp_path / "agent3", "moved")
    t.command("cpu-add", count=1)
    last.wait_for("[ -e /sys/devices/system/cpu/cpu1/online ]")
    last.delete("agent")
    t.command("quit")
    assert vm.wait(60) == 0
