# SPDX-License-Identifier: MIT
"""A guest that does its worst: it may break itself, but not mote, and mote keeps listening to its user."""

import resource
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from qmp import Session

SOURCE = Path(__file__).with_name("hostile.c")


@pytest.fixture
def hostile(tmp_path):
    """Builds the guest of hostile.c."""

    def build(seed, turns, cpus=1, resets=0, eject=0, loud=0):
        image = tmp_path / f"hostile-{seed}"
        numbers = [f"-DSEED={seed}u", f"-DTURNS={turns}u", f"-DCPUS={cpus}u", f"-DRESETS={resets}u", f"-DEJECT={eject}",
                   f"-DLOUD={loud}u"]
        layout = ["-Ttext=0x100000", "--section-start=.note.Xen=0x180000", "--build-id=none", "-n", "-znoexecstack", "-estart"]
        subprocess.run(["gcc", "-m32", "-O1", "-Wall", "-ffreestanding", "-fno-pic", "-fno-stack-protector", "-mgeneral-regs-only",
                        "-nostdlib", "-static", "-no-pie", *numbers, *[f"-Wl,{option}" for option in layout], "-o", image, SOURCE],
                       check=True, capture_output=True)
        return image

    return build


def echo(path, kind=socket.SOCK_STREAM):
    """Sends everybody who connects what they send."""
    listener = socket.socket(socket.AF_UNIX, kind)
    listener.bind(str(path))
    listener.listen()

    def serve(client):
        try:
            while data := client.recv(1 << 16):
                client.sendall(data)
        except OSError:
            pass
        client.close()

    def accept():
        while True:
            try:
                client = listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=serve, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener


def chat(path):
    """Programs at the other end of a port, which may go at any time, and leave things unread."""
    while True:
        time.sleep(0.02)
        try:
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(0.05)
                client.connect(str(path))
                for _ in range(4):
                    client.sendall(bytes(5000))
                    client.recv(5000)
        except OSError:
            if not path.parent.exists():
                return


def add_ports(monitor, tmp_path):
    """As far as they are not there: the guest may have thrown the device out, and its ports with it."""
    monitor.reply("device_add", driver="virtio-serial-pci", id="serial", raw={"max_ports": 2})
    for name, driver in (("con", "virtconsole"), ("port", "virtserialport")):
        monitor.reply("chardev-add", id=name, backend={"type": "socket", "data": {
            "addr": {"type": "unix", "data": {"path": str(tmp_path / name)}}}})
        monitor.reply("device_add", driver=driver, id=name, chardev=name)


def call(path):
    """Host programs that want something of the guest, of which some do not wait for it."""
    while True:
        try:
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(path))
                client.sendall(b"CONNECT 5\n" + bytes(5000))
                client.settimeout(0.05)
                client.recv(5000)
        except TimeoutError:
            pass
        except OSError:
            return


@pytest.fixture
def start(mote, tmp_path):
    """Starts it with one of each device, and somebody at the other end."""
    listeners = [echo(tmp_path / "net"), echo(tmp_path / "vsock_1"), echo(tmp_path / "vsock_2"),
                 echo(tmp_path / "vsock_3", socket.SOCK_SEQPACKET)]

    def run(image, *args, cpus=1, **kwargs):
        for name in ("a", "b"):
            with open(tmp_path / name, "wb") as disk:
                disk.truncate(1 << 20)
        for name in ("c", "c2"):
            with open(tmp_path / name, "wb") as pmem:
                pmem.truncate(3 << 20)
        (tmp_path / "share").mkdir()
        (tmp_path / "share/a").write_bytes(bytes(10000))
        vm = mote("run", "-k", image, "-m", "64M", "-c", cpus, "--exit-port", "--serial", f"file={tmp_path}/serial", "--console",
                  f"unix={tmp_path}/console", "-d", tmp_path / "a", "-d", f"{tmp_path}/b,queues=4", "--pmem", tmp_path / "c",
                  "--pmem", f"{tmp_path}/c2,ro", "--net", f"unix={tmp_path}/net", "--vsock", f"cid=3,path={tmp_path}/vsock",
                  "--9p", f"{tmp_path}/share,tag=share", *args, **kwargs)
        for _ in range(100):
            if (tmp_path / "vsock").exists():
                break
            time.sleep(0.1)
        threading.Thread(target=call, args=(tmp_path / "vsock",), daemon=True).start()
        return vm

    yield run
    for listener in listeners:
        listener.close()


@pytest.mark.parametrize("seed,cpus", ((1, 1), (3, 3)))
def test_garbage_does_not_reach_the_host(hostile, start, seed, cpus):
    vm = start(hostile(seed, 10000 // cpus, cpus), cpus=cpus)
    assert vm.wait(120) == 64, vm.transcript()


def test_limit_of_files_ends_no_vm(hostile, start, tmp_path):
    """Nothing is written behind it, and the rest goes on."""
    limit = 16 << 10
    vm = start(hostile(2, 2000, loud=17000), preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    assert vm.wait(120) == 64, vm.transcript()
    assert (tmp_path / "serial").stat().st_size == limit


def test_resets_with_everything_in_flight(hostile, start):
    vm = start(hostile(4, 200, cpus=2, resets=6), cpus=2)
    assert vm.wait(120) == 64, vm.transcript()


def test_monitor_answers_whatever_the_guest_does(hostile, start, tmp_path):
    """Pauses, resets, devices that come and go, and the end, in the middle of it all."""
    vm = start(hostile(5, 0xffffffff, cpus=2, eject=1), "--monitor", tmp_path / "monitor", "--paused", cpus=2)
    monitor = Session(tmp_path / "monitor")
    add_ports(monitor, tmp_path)
    for name in ("con", "port"):
        threading.Thread(target=chat, args=(tmp_path / name,), daemon=True).start()
    monitor.command("cont")
    end = time.monotonic() + 10
    while time.monotonic() < end:
        for name in ("stop", "query-status", "cont", "system_powerdown", "system_reset"):
            monitor.command(name)
            # Where there is room: the guest may have thrown them out, or not.
            monitor.reply("pmem-add", path=str(tmp_path / "c"), id="p")
            monitor.reply("disk-add", path=str(tmp_path / "a"), id="d")
            time.sleep(0.1)
        monitor.reply("device_del", id="port")
        add_ports(monitor, tmp_path)
        monitor.reply("pmem-remove", id="p", timeout_ms=0, force=True)
        monitor.reply("disk-remove", id="d", timeout_ms=0, force=True)
    monitor.command("quit")
    assert vm.wait(60) == 0, vm.transcript()
