# SPDX-License-Identifier: MIT
"""Ports between programs in the guest and on the host: virtio-serial, its chardevs, and readers that do not read."""

import socket
import time

from test_hotplug import Guest, held, in_guest, in_query


def connect(path):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(60)
    s.connect(str(path))
    return s


def add_socket(monitor, name, path):
    monitor.command("chardev-add", id=name, backend={"type": "socket", "data": {
        "addr": {"type": "unix", "data": {"path": str(path)}}, "server": True, "wait": False}})


def add_port(monitor, name, chardev, **arguments):
    monitor.command("device_add", driver="virtserialport", id=name, raw={"name": f"org.{name}"}, chardev=chardev, **arguments)


PORT = "/dev/$(cd /sys/class/virtio-ports; grep -l org.%s */name | cut -d/ -f1)"


def test_ports_come_and_go(run, tmp_path):
    """One there from the start, others later; each with a reader, without, and with one that does not read."""

    def before(monitor):
        monitor.command("device_add", driver="virtio-serial-pci", id="serial0", raw={"max_ports": 4}, romfile="")
        add_socket(monitor, "cold", tmp_path / "cold")
        add_port(monitor, "cold", "cold")

    g = Guest(run, tmp_path / "monitor", before=before)
    m = g.monitor
    g.wait_for("[ -e /sys/class/virtio-ports/vport*/name ] && grep -q org.cold /sys/class/virtio-ports/*/name")

    # Both ways; the guest's program and the host's come in either order.
    host = connect(tmp_path / "cold")
    g.start(f"head -n 1 <{PORT % 'cold'} >/tmp/got", "reader")
    assert m.event("VSERPORT_CHANGE")["data"] == {"id": "cold", "open": True}
    host.send(b"to the guest\n")
    g.wait_for('[ "$(cat /tmp/got)" = "to the guest" ]')
    g.sh(f"echo to the host >{PORT % 'cold'}")
    assert host.recv(100) == b"to the host\n"
    assert m.event("VSERPORT_CHANGE")["data"] == {"id": "cold", "open": False}

    # One that is added now, by a file; it is there after the write.
    m.command("chardev-add", id="file", backend={"type": "file", "data": {"out": str(tmp_path / "log")}})
    add_port(m, "file", "file", bus="serial0.0", nr="3")
    g.wait_for("grep -q org.file /sys/class/virtio-ports/*/name")
    g.sh(f"echo into the file >{PORT % 'file'}")
    for _ in range(100):
        if (tmp_path / "log").read_bytes() == b"into the file\n":
            break
        time.sleep(0.1)
    assert (tmp_path / "log").read_bytes() == b"into the file\n"
    assert "in use" in m.reply("device_add", driver="virtserialport", id="x", chardev="file")["error"]["desc"]
    assert "busy" in m.reply("chardev-remove", id="file")["error"]["desc"]
    assert "3" in m.reply("device_add", driver="virtserialport", id="x", chardev="file", nr=3)["error"]["desc"]
    assert "org.file" in m.reply("device_add", driver="virtserialport", id="x", chardev="file", raw={"name": "org.file"})["error"]["desc"]
    assert "pcie.0" in m.reply("device_add", driver="virtserialport", id="x", chardev="file", bus="pcie.0")["error"]["desc"]
    listed = {c["label"]: c for c in m.command("query-chardev")}
    assert listed["cold"]["frontend-open"] and not listed["cold"]["filename"].startswith("disconnected")
    assert set(listed) >= {"cold", "file", "serial0", "console0"}

    # A client that does not read: the writer waits, nothing is lost, the rest of the machine goes on.
    g.start(f"(dd if=/dev/zero bs=64k count=64 2>/dev/null; echo end) >{PORT % 'cold'}", "writer")
    time.sleep(3)
    g.sh("[ ! -e /tmp/writer.done ]")
    m.command("stop")
    m.command("cont")
    total, last = 0, b""
    while not last.endswith(b"end\n"):
        data = host.recv(65536)
        assert data
        total, last = total + len(data), data[-4:]
    assert total == 64 * 65536 + 4
    host.close()
    g.done("writer")

    # Nobody there: a write waits for a client to come, as behind QEMU's ports.
    g.start(f"echo patience >{PORT % 'cold'}", "patient")
    g.sh("sleep 1; [ ! -e /tmp/patient.done ]")
    host = connect(tmp_path / "cold")
    assert host.recv(100) == b"patience\n"

    # A console needs nobody; its number 0 is its own.
    m.command("chardev-add", id="con", backend={"type": "pty", "data": {}})
    m.command("device_add", driver="virtconsole", id="con", chardev="con")
    g.wait_for("[ -e /dev/hvc1 ]")
    g.sh("stty -F /dev/hvc1 raw; for i in $(seq 1 2000); do echo line $i; done >/dev/hvc1")

    # They go, with the guest's program at work, and come again.
    g.start(f"cat <{PORT % 'cold'} >/dev/null", "cat")
    g.sh("sleep 0.5; [ ! -e /tmp/cat.done ]")
    g.delete("cold")
    m.command("chardev-remove", id="cold")
    assert host.recv(1) == b"" and not (tmp_path / "cold").exists()
    g.wait_for("! grep -q org.cold /sys/class/virtio-ports/*/name")
    g.done("cat")
    g.delete("con")
    add_socket(m, "cold", tmp_path / "cold2")
    add_port(m, "cold", "cold")
    host = connect(tmp_path / "cold2")
    g.wait_for("grep -q org.cold /sys/class/virtio-ports/*/name")
    g.sh(f"echo again >{PORT % 'cold'}")
    assert host.recv(100) == b"again\n"

    # After a reset all that there is is told again. The device takes its ports along.
    m.command("system_reset")
    start = len(g.vm.out)
    g.vm.expect("MOTE-READY", start=start)
    g.prepare()
    g.wait_for("grep -q org.cold /sys/class/virtio-ports/*/name")
    g.wait_for("grep -q org.file /sys/class/virtio-ports/*/name")
    g.monitor.command("device_del", id="serial0")
    gone = {m.event("DEVICE_DELETED")["data"]["device"] for _ in range(3)}
    assert gone == {"serial0", "cold", "file"}
    for name in ("cold", "file", "con"):
        m.command("chardev-remove", id=name)
    assert in_guest(g) == in_query(g)


def test_ports_leave_nothing_behind(run, tmp_path):
    g = Guest(run, tmp_path / "monitor")
    m = g.monitor

    def once():
        m.command("device_add", driver="virtio-serial-pci", id="s", raw={"max_ports": "3"})
        for name in ("a", "b"):
            add_socket(m, name, tmp_path / name)
            add_port(m, name, name)
        g.wait_for("[ $(grep -l org /sys/class/virtio-ports/*/name | wc -l) = 2 ]")
        host = connect(tmp_path / "a")
        g.sh(f"echo x >{PORT % 'a'}")
        assert host.recv(10) == b"x\n"
        g.delete("b")
        g.delete("s")
        for name in ("a", "b"):
            m.command("chardev-remove", id=name)

    once()
    before = held(g.pid())
    for _ in range(3):
        once()
    assert held(g.pid()) == before
