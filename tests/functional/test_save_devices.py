# SPDX-License-Identifier: MIT
"""Saving a VM that has one of everything, much of it added while it ran, and is busy with it."""

import os
import re
import socket
import subprocess
import threading
import time

import pytest

from netns import Namespace
from qmp import Session
from test_hotplug import Guest, disk_at, image
from test_memory import MIB, meminfo, until
from test_net import HOST, md5, static
from test_vsock import connect, echo

STREAM = 24 << 20


class Restored(Guest):
    """The same guest at the same shell in another mote."""

    def __init__(self, mote, guest, saved, path, *args, **kwargs):
        self.vm = mote("restore", saved, "--monitor", path, *args, **kwargs)
        self.monitor = Session(path)
        self.count = guest.count + 100
        # What was printed before it was restored need not have been read.
        self.sh("true")


@pytest.fixture
def namespace():
    for module in ("tun", "vhost_net", "af_packet"):
        subprocess.run(["/sbin/modprobe", "-q", module])
    ns = Namespace()
    yield ns
    ns.close()


def echoing(path):
    """A stream to the guest's vsock-tool, which is told what to do with it."""
    stream = connect(path, 5000)
    stream.sendall(b"E")
    return stream


class Echoes(threading.Thread):
    """A stream that is hardly idle, until it ends: what comes back is what was sent."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.stream, self.rounds, self.good = echoing(path), 0, True
        self.start()

    def run(self):
        while self.good:
            data = os.urandom(20000)
            time.sleep(0.1)  # there is other load, and one processor
            try:
                self.stream.sendall(data)
                at = 0
                while at < len(data):
                    more = self.stream.recv(65536)
                    if not more:
                        return
                    self.good &= data[at:at + len(more)] == more
                    at += len(more)
            except OSError:
                return
            self.rounds += 1


def block(address):
    """A shell word: the name of the disk at that address."""
    return disk_at(re.match(r"(?:0000:)?([0-9a-f]+:[0-9a-f]+)", address)[1])


def added(g, tmp_path):
    """What comes while the guest runs, and where it is."""
    m = g.monitor
    gone = m.command("disk-add", path=str(image(tmp_path / "gone")))
    assert gone["lun"] == 1
    where = m.command("disk-add", path=str(image(tmp_path / "hot")), controller=2, lun=5)
    assert (where["controller"], where["lun"]) == (2, 5)
    gone, where = block(gone["pci"]), block(where["pci"])
    g.wait_for(f"[ -b /dev/{gone} ] && [ -b /dev/{where} ]")
    m.command("disk-remove", path=str(tmp_path / "gone"))
    m.command("pmem-add", path=str(image(tmp_path / "pmem")), slot=3)
    m.command("cpu-add", count=1)
    assert m.command("memory-set", size="512M", timeout_ms=120000)["plugged"] == 512 * MIB
    m.command("object-add", qom_type="memory-backend-ram", id="mem9", size=128 * MIB)
    m.command("device_add", driver="pc-dimm", id="dimm9", memdev="mem9")
    g.sh(f"echo hot-added | dd of=/dev/{where} conv=fsync 2>/dev/null")
    return where


BUSY = f"""
(n=0; while [ ! -e /tmp/stop ]; do n=$((n+1)); dd if=/tmp/random of=/dev/vda bs=64k oflag=direct 2>/dev/null;
    cmp -n 2097152 /tmp/random /dev/vda || echo BAD; echo $n >/tmp/disk-rounds; done >/tmp/disk-bad 2>&1 &)
(n=0; while [ ! -e /tmp/stop ]; do n=$((n+1)); cp /tmp/random /mnt/load && sync && cmp /tmp/random /mnt/load || echo BAD;
    echo $n >/tmp/9p-rounds; done >/tmp/9p-bad 2>&1 &)
({{ nc {HOST} 7002 </dev/null | md5sum >/tmp/received; touch /tmp/net-done; }} &)
"""


def rounds(g):
    """Of the two loops; none when one has not begun, or is just about to say."""
    done = [int(word) for word in g.sh("cat /tmp/disk-rounds /tmp/9p-rounds 2>/dev/null; true").split()]
    return done if len(done) == 2 else []


def test_everything_is_there_again(run, mote, tmp_path, namespace):
    namespace.tap("tap0", f"{HOST}/24")
    namespace.peer("serve", HOST, str(STREAM))
    shared, vsock = tmp_path / "shared", tmp_path / "agent"
    shared.mkdir()
    g = Guest(run, tmp_path / "m", "-c", "2,max=4", "-m", "320,max=1G", "--balloon", "--rng", "-d", image(tmp_path / "boot"),
              "--9p", f"{shared},tag=shared", "--vsock", f"cid=42,path={vsock}", "-n", "tap=tap0,vhost=on",
              kernel_name="generic", preexec_fn=namespace.enter)
    g.sh("modprobe -a virtio_mem virtio_balloon virtio_pmem nd_pmem vmw_vsock_virtio_transport 9p 9pnet_virtio")
    g.sh("mkdir -p /mnt; mount -t 9p -o trans=virtio,version=9p2000.L,msize=131072 shared /mnt")
    g.sh(static() + "(vsock-tool serve vsock:4294967295:5000 >/dev/null 2>&1 &) ; sleep 1")
    where = added(g, tmp_path)
    until(lambda: meminfo(g, "MemTotal") > 560, "the memory is not online")
    total = meminfo(g, "MemTotal")
    g.sh("mount -o remount,size=90% /tmp; dd if=/dev/urandom of=/tmp/random bs=1M count=2 2>/dev/null;"
         " for i in $(seq 120); do cat /tmp/random; echo $i; done >/tmp/large; md5sum </tmp/large >/tmp/large.md5", timeout=300)
    g.sh("exec 7>/mnt/open; echo before >&7; echo persistent | dd of=/dev/pmem0 conv=fsync 2>/dev/null")
    stream = echoing(vsock)
    echo(stream, b"before")
    devices, memory = g.monitor.command("query-pci"), g.monitor.command("query-memory-devices")
    assert len(memory) == 2
    cpus = {cpu["cpu-index"] for cpu in g.monitor.command("query-cpus-fast")}
    g.sh(BUSY)
    echoes = Echoes(vsock)
    until(lambda: min(rounds(g), default=0) > 0 and echoes.rounds > 0, "no load")
    before = rounds(g)
    g.monitor.command("stop")
    g.monitor.command("save", directory=str(tmp_path / "saved"))
    g.monitor.command("quit")
    assert g.vm.wait() == 0
    assert stream.recv(1) == b""
    echoes.join(60)
    assert echoes.good and not echoes.is_alive()

    agent = tmp_path / "other-agent"
    h = Restored(mote, g, tmp_path / "saved", tmp_path / "m2", "--vsock", f"cid=42,path={agent}", preexec_fn=namespace.enter)
    assert h.monitor.command("query-pci") == devices
    assert h.monitor.command("query-memory-devices") == memory
    assert {cpu["cpu-index"] for cpu in h.monitor.command("query-cpus-fast")} == cpus
    # Streams are new ones, at once; the TCP one goes on.
    echo(echoing(agent), b"after" * 1000)
    until(lambda: all(now > then + 1 for now, then in zip(rounds(h) or before, before)), "the load does not go on")
    until(lambda: "done" in h.sh("[ ! -e /tmp/net-done ] || echo done"), "the stream does not go on")
    assert md5(STREAM) in h.sh("cat /tmp/received")
    h.sh("touch /tmp/stop; sleep 1; cat /tmp/disk-bad /tmp/9p-bad; [ ! -s /tmp/disk-bad ] && [ ! -s /tmp/9p-bad ]")
    h.sh("md5sum </tmp/large | cmp - /tmp/large.md5", timeout=300)
    assert meminfo(h, "MemTotal") == total
    h.sh("echo after >&7")
    assert (shared / "open").read_bytes() == b"before\nafter\n"
    assert "hot-added" in h.sh(f"head -n 1 /dev/{where}")
    assert "persistent" in h.sh("head -n 1 /dev/pmem0")
    assert h.monitor.reply("disk-add", path=str(tmp_path / "hot"))["error"]["class"] == "AlreadyAttached"

    # It comes and goes as before; what is changed is saved as a diff of that.
    h.monitor.command("disk-remove", controller=2, lun=5)
    assert h.monitor.command("memory-set", size="768M", timeout_ms=120000)["plugged"] == 768 * MIB
    until(lambda: meminfo(h, "MemTotal") > total + 100, "no more memory")
    total = meminfo(h, "MemTotal")
    h.monitor.command("stop")
    h.monitor.command("save", directory=str(tmp_path / "between"), type="diff", base=str(tmp_path / "saved"))
    # From here on it is by logs, the host's kernel's too, that is known what changes. A stream goes on after a mere pause.
    h.monitor.command("cont")
    echoes = Echoes(agent)
    until(lambda: echoes.rounds > 0, "no echoes")
    h.monitor.command("stop")
    h.monitor.command("cont")
    done = echoes.rounds
    until(lambda: echoes.rounds > done + 1, "the echoes do not go on")
    echoes.stream.shutdown(socket.SHUT_RDWR)
    echoes.join(60)
    assert echoes.good
    h.sh(f"nc {HOST} 7002 </dev/null >/tmp/stream", timeout=300)
    h.monitor.command("stop")
    h.monitor.command("save", directory=str(tmp_path / "diff"), type="diff", base=str(tmp_path / "between"))
    assert (tmp_path / "diff" / "memory").stat().st_blocks * 512 < 120 << 20
    h.monitor.command("quit")
    assert h.vm.wait() == 0
    i = Restored(mote, h, tmp_path / "diff", tmp_path / "m3", "--memory", "copy", preexec_fn=namespace.enter)
    assert meminfo(i, "MemTotal") == total
    assert md5(STREAM) in i.sh("md5sum </tmp/stream; md5sum </tmp/large | cmp - /tmp/large.md5; ping -c 3 -W 5 " + HOST, timeout=300)
    echo(echoing(agent), b"again")
    start = len(i.vm.out)
    i.monitor.command("system_reset")
    i.vm.expect("MOTE-READY", start=start)
    i.monitor.command("quit")
    assert i.vm.wait() == 0
