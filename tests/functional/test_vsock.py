# SPDX-License-Identifier: MIT
"""Streams between guest and host: Unix sockets by mote's own device, AF_VSOCK by the kernel's."""

import filecmp
import os
import re
import resource
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from conftest import TOP, initrd, kernel

TOOL = TOP / "build/guest/vsock-tool"
ECHO, MANY = 5000, 1024


def tool(*words, timeout=180):
    done = subprocess.run([TOOL, *map(str, words)], capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def connect(path, port, timeout=60):
    """A stream to the guest's port; None: refused."""
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(timeout)
    s.connect(str(path))
    s.sendall(b"CONNECT %d\n" % port)
    line = b""
    while not line.endswith(b"\n"):
        byte = s.recv(1)
        if not byte:
            assert not line
            s.close()
            return None
        line += byte
    assert line.startswith(b"OK ") and int(line[3:]) > 0
    return s


def echo(s, data):
    s.sendall(data)
    got = b""
    while len(got) < len(data):
        more = s.recv(65536)
        assert more
        got += more
    assert got == data


def come_and_go(open_one, count=300):
    """Streams that end in one way or another as soon as they are there, each before the next: none is refused."""
    for i in range(count):
        s = open_one()
        assert s, f"stream {i} was refused"
        with s:
            if i % 4:
                s.sendall(b"E")
            if i % 4 > 1:
                echo(s, b"%d" % i)
            if i % 4 > 2:
                s.shutdown(socket.SHUT_WR)
                assert s.recv(1) == b""


def resident_mib(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"^VmRSS:\s+(\d+)", status, re.M).group(1)) >> 10


class Guest:
    """A guest at its shell prompt, with an echo server."""

    def __init__(self, run, *args):
        self.count = 0
        self.vm = run("--serial", "stdio", *args, params="mote.test=shell")
        self.serve()

    def serve(self, start=0):
        """As soon as the guest is up."""
        self.vm.expect(r"MOTE-READY[^#]*# ", start=start)
        self.do("modprobe vmw_vsock_virtio_transport")
        self.do(f"(vsock-tool serve vsock:4294967295:{ECHO} >/dev/null 2>&1 &); sleep 1")

    def do(self, command, timeout=180):
        """What it printed."""
        self.count += 1
        start = len(self.vm.out)
        self.vm.send(f"{command}; echo \"[$?]$((6*7)){self.count}\"\n")
        match = self.vm.expect(rf"\[(\d+)\]42{self.count}\r?$", timeout, start=start)
        assert match.group(1) == b"0", self.vm.transcript()
        return self.vm.out[start:match.start()].decode(errors="replace")


@pytest.fixture
def listeners():
    """Echoing host programs, by path; each is a thread that ends with its listener."""
    made = []

    def serve_one(s):
        with s:
            if s.type == socket.SOCK_STREAM:
                s.recv(1)  # vsock-tool's wish, which is E
            while data := s.recv(70000):
                s.sendall(data)

    def accept(listener):
        while True:
            try:
                s, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve_one, args=(s,), daemon=True).start()

    def start(path, kind=socket.SOCK_STREAM):
        listener = socket.socket(socket.AF_UNIX, kind)
        listener.bind(str(path))
        listener.listen(5)
        made.append(listener)
        threading.Thread(target=accept, args=(listener,), daemon=True).start()

    yield start
    for listener in made:
        listener.close()


def test_streams_by_unix_sockets(run, ctl, listeners, tmp_path):
    path, monitor = tmp_path / "v", tmp_path / "m"
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    vm = run("--paused", "--vsock", f"cid=3,path={path}", "--monitor", monitor, params="mote.test=shell")
    deadline = time.monotonic() + 60
    while not monitor.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    # No driver yet: refused, and not left hanging.
    assert connect(path, ECHO) is None
    ctl(monitor, "quit")
    vm.wait()
    assert not path.exists()

    guest = Guest(run, "--vsock", f"cid=3,path={path}", "--monitor", monitor)
    address = f"mote:{path}:{ECHO}"

    began = time.monotonic()
    assert connect(path, ECHO + 1) is None
    assert time.monotonic() - began < 5
    assert tool("echo", address, 64, 131072) == "0 streams of 64 failed"
    come_and_go(lambda: connect(path, ECHO))

    # The other way: sockets are looked up when the guest connects.
    assert "ECONNRESET at once" in guest.do("vsock-tool refused vsock:2:6000")
    listeners(f"{path}_6000")
    listeners(f"{path}_4294967294")
    listeners(f"{path}_6001", socket.SOCK_SEQPACKET)
    assert "0 streams of 64 failed" in guest.do("vsock-tool echo vsock:2:6000 64 131072")
    assert "0 streams of 1 failed" in guest.do("vsock-tool echo vsock:2:4294967294 1 100")
    assert "messages are whole" in guest.do("vsock-tool messages vsock:2:6001")
    assert "ECONNRESET at once" in guest.do("vsock-tool refused vsock:2:6001")

    # Those that do not read block nobody else, and what is kept for them is little.
    before = resident_mib(guest.vm.process.pid)
    stalled = [connect(path, ECHO) for _ in range(32)]
    for s in stalled:
        s.sendall(b"G")
    time.sleep(3)
    assert resident_mib(guest.vm.process.pid) - before < 40
    with connect(path, ECHO) as s:
        s.sendall(b"E")
        echo(s, b"through" * 1000)
        # Half-closed: what was sent comes back, then the end.
        s.sendall(b"last")
        s.shutdown(socket.SHUT_WR)
        assert s.recv(4, socket.MSG_WAITALL) == b"last" and s.recv(1) == b""
    for s in stalled:
        s.close()

    many = [connect(path, ECHO) for _ in range(MANY)]
    for s in many:
        s.sendall(b"E")
    for i, s in enumerate(many):
        echo(s, b"stream %d" % i)
    for s in many:
        s.close()

    # Services.
    ctl(monitor, "vsock-listen", "port=7000", f"path={path}_6000", "once=true")
    assert "0 streams" in guest.do("vsock-tool echo vsock:2:7000 1 10")
    assert "at once" in guest.do("vsock-tool refused vsock:2:7000")
    ctl(monitor, "vsock-service-set", "port=6000", f"allow-uid={os.getuid() + 1}")
    assert "at once" in guest.do("vsock-tool refused vsock:2:6000")
    ctl(monitor, "vsock-service-set", "port=6000", f"allow-uid={os.getuid()}")
    assert "0 streams" in guest.do("vsock-tool echo vsock:2:6000 1 10")
    ctl(monitor, "vsock-service-set", f"port={ECHO}", "disabled=true")
    assert connect(path, ECHO) is None
    for port in (6000, 6000, ECHO):
        ctl(monitor, "vsock-service-remove", f"port={port}")
    assert "0 streams" in guest.do("vsock-tool echo vsock:2:6000 1 10")

    # A pause delays; a reset ends.
    s = connect(path, ECHO)
    s.sendall(b"E")
    ctl(monitor, "stop")
    s.sendall(b"late")
    ctl(monitor, "cont")
    assert s.recv(4, socket.MSG_WAITALL) == b"late"
    start = len(guest.vm.out)
    ctl(monitor, "system_reset")
    assert s.recv(1) == b""
    guest.serve(start)
    with connect(path, ECHO) as s:
        s.sendall(b"E")
        echo(s, b"anew")
        ctl(monitor, "quit")
        assert s.recv(1) == b""
    assert guest.vm.wait() == 0
    assert not path.exists()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_streams_by_the_kernel(run, mote, ctl, tmp_path):
    monitor = tmp_path / "m"
    guest = Guest(run, "--vsock", "cid=77,vhost=on", "--monitor", monitor)
    with socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM) as s:
        s.settimeout(60)
        s.connect((77, ECHO))
        s.sendall(b"E")
        echo(s, b"by vhost")
        ctl(monitor, "stop")
        s.sendall(b"late")
        ctl(monitor, "cont")
        assert s.recv(4, socket.MSG_WAITALL) == b"late"
    assert tool("echo", f"vsock:77:{ECHO}", 8, 65536) == "0 streams of 8 failed"

    def open_one():
        s = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
        s.settimeout(60)
        s.connect((77, ECHO))
        return s

    come_and_go(open_one)
    # The CID is taken, and ports are not mote's.
    other = mote("run", "-k", kernel("cloud"), "-i", initrd("cloud"), "--vsock", "cid=77,vhost=on")
    assert other.wait() == 2 and "cid=77" in other.reason()
    done = subprocess.run([TOP / "build/mote", "ctl", monitor, "vsock-listen", "port=1"], capture_output=True, text=True)
    assert done.returncode == 1 and "vhost" in done.stderr
    with socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM) as s:
        s.settimeout(60)
        s.connect((77, ECHO))
        start = len(guest.vm.out)
        ctl(monitor, "system_reset")
        try:
            assert s.recv(1) == b""
        except ConnectionResetError:
            pass
    guest.serve(start)
    assert tool("echo", f"vsock:77:{ECHO}", 1, 1000) == "0 streams of 1 failed"

    # It is saved like any other; what the kernel has written since is in a diff, and not all of memory.
    def save(name, *arguments):
        ctl(monitor, "save", f"directory={tmp_path / name}", *arguments)
        return (tmp_path / name / "memory").stat().st_blocks

    ctl(monitor, "stop")
    whole = save("full")
    ctl(monitor, "cont")
    assert tool("echo", f"vsock:77:{ECHO}", 4, 262144) == "0 streams of 4 failed"
    ctl(monitor, "stop")
    assert save("diff", "type=diff", f"base={tmp_path}/full") < whole // 2
    save("again")
    subprocess.run([TOP / "build/mote", "merge", tmp_path / "full", tmp_path / "diff", tmp_path / "merged"], check=True)
    assert filecmp.cmp(tmp_path / "merged/memory", tmp_path / "again/memory", shallow=False)
    ctl(monitor, "quit")
    assert guest.vm.wait() == 0
    clone = mote("restore", tmp_path / "diff", "--monitor", monitor)
    for _ in range(600):
        if monitor.exists():
            break
        time.sleep(0.1)
    assert tool("echo", f"vsock:77:{ECHO}", 4, 65536) == "0 streams of 4 failed"
    ctl(monitor, "quit")
    assert clone.wait() == 0
