# SPDX-License-Identifier: MIT
"""Clients that ask for everything at once and leave when they like: saves, streams and dumps over devices that come and go."""

import json
import os
import random
import socket
import threading
import time

import pytest

from qmp import Session

COUNTER = "mov $0x400000, %edi; 1: incl (%edi); add $4096, %edi; cmp $0x1000000, %edi; jb 1b; 2: pause; jmp 2b"
DISKS = (1 << 20, 2 << 20, 1 << 20)


def command(rnd, top):
    """Any one; most are refused, as something else is under way."""
    def some(name):
        return f"{name}{rnd.randrange(3)}"

    def path(name):
        return str(top / some(name))

    def add(driver, kind, /, **properties):
        return "device_add", {"driver": driver, "id": some(kind), **properties}

    backend = {"type": "socket", "data": {"addr": {"type": "unix", "data": {"path": path("char")}}, "server": True, "wait": False}}
    return rnd.choice([
        ("stop", {}), ("cont", {}), ("stop", {}), ("cont", {}), ("system_reset", {}), ("system_powerdown", {}),
        ("save", {"directory": path("save")}), ("save", {"directory": path("save"), "type": "diff", "base": path("save")}),
        ("save", {"state-path": path("state")}), ("save", {"directory": path("save"), "memory-path": path("memory")}),
        ("migrate", {"uri": "file:" + path("stream")}), ("migrate", {"uri": "exec:sleep 1"}), ("migrate", {"uri": "exec:cat >/dev/null"}),
        ("migrate_cancel", {}), ("migrate-incoming", {"uri": "file:" + path("stream")}), ("query-migrate", {}), ("query-dump", {}),
        ("dump-guest-memory", {"paging": False, "protocol": "file:" + path("core"), "detach": bool(rnd.randrange(2))}),
        ("object-add", {"qom-type": "memory-backend-ram", "id": some("ram"), "size": 128 << 20}), ("object-del", {"id": some("ram")}),
        add("pc-dimm", "dimm", memdev=some("ram")), add("virtio-mem-pci", "mem", memdev=some("ram")), add("virtio-rng-pci", "rng"),
        add("virtio-serial-pci", "bus"), add("virtserialport", "port", chardev=some("char"), name=some("name")),
        ("device_del", {"id": some(rnd.choice(["dimm", "rng", "bus", "port"]))}),
        ("chardev-add", {"id": some("char"), "backend": backend}), ("chardev-remove", {"id": some("char")}),
        ("disk-add", {"path": path("disk")}), ("disk-remove", {"path": path("disk"), "force": True, "timeout-ms": rnd.choice([0, 50])}),
        ("disk-update", {"id": "disk0", "path": path("disk")}), ("disk-update", {"id": "disk0", "size": rnd.choice(DISKS)}),
        ("pmem-add", {"path": path("pmem")}), ("pmem-remove", {"path": path("pmem"), "force": True}),
        ("nic-add", {"id": some("nic"), "backend": f"unix={top}/net"}), ("nic-update", {"id": some("nic"), "backend": f"unix={top}/net"}),
        ("nic-remove", {"id": some("nic"), "force": True}), ("set_link", {"name": some("nic"), "up": bool(rnd.randrange(2))}),
        ("share-add", {"path": str(top), "tag": some("tag")}), ("share-remove", {"path": str(top), "force": True}),
        ("balloon", {"value": rnd.choice([16, 64]) << 20}), ("memory-set", {"size": f"{rnd.choice([32, 64, 192, 320])}M", "timeout-ms": 20}),
        ("cpu-add", {"count": 1}), ("cpu-remove", {"count": 1, "force": True}), ("stats", {}), ("query-pci", {}), ("query-block", {}),
        ("vsock-service-set", {"port": rnd.randrange(5), "path": path("service")}), ("vsock-service-remove", {"port": rnd.randrange(5)}),
        ("wait", {"timeout-ms": 10}), ("save", {"directory": "x" * 100000}), ("migrate", {"uri": "exec:" + "y" * 200000}),
    ])


def client(seed, top, stop, sent):
    """Several commands in a row; some replies are read."""
    rnd = random.Random(seed)
    while not stop.is_set():
        try:
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(20)
                s.connect(str(top / "m"))
                s.sendall(b'{"execute": "qmp_capabilities"}')
                for _ in range(rnd.randrange(1, 8)):
                    for _ in range(rnd.randrange(1, 7)):
                        name, arguments = command(rnd, top)
                        s.sendall(json.dumps({"execute": name, "arguments": arguments}).encode())
                        sent.append(name)
                    if rnd.random() < 0.3:
                        break
                    s.settimeout(0.3)
                    end = time.monotonic() + 0.5
                    while time.monotonic() < end and s.recv(65536):
                        pass
                    s.settimeout(20)
                if rnd.random() < 0.1:
                    s.sendall(rnd.choice([b"[" * 100000, b'{"execute": "' + b"z" * 1000000]))
        except OSError:
            time.sleep(0.05)


def crowd(vm, seed, top, seconds):
    """Three of them, until the VM ends; mote answers one who is patient all the while."""
    stop, sent = threading.Event(), []
    threads = [threading.Thread(target=client, args=(f"{seed}-{n}", top, stop, sent)) for n in range(3)]
    patient = Session(top / "m")
    for thread in threads:
        thread.start()
    slowest, end = 0, time.monotonic() + seconds
    try:
        while time.monotonic() < end:
            begun = time.monotonic()
            patient.command("query-version")
            slowest = max(slowest, time.monotonic() - begun)
            patient.events.clear()
            time.sleep(0.1)
        patient.send(b'{"execute": "quit"}\n')
        while patient.file.readline():
            pass
        status = vm.wait(60)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert status == 0, vm.transcript()
    assert len(sent) > 3 * seconds and "save" in sent, sent
    assert b"Sanitizer" not in vm.err and b"runtime error" not in vm.err, vm.err.decode()
    return slowest


@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.long) for n in range(1, 6))])
def test_clients_that_ask_for_everything_at_once_end_no_vm(mote, payload, tmp_path, seed):
    for n, size in enumerate(DISKS):
        (tmp_path / f"disk{n}").touch()
        os.truncate(tmp_path / f"disk{n}", size)
        (tmp_path / f"pmem{n}").touch()
        os.truncate(tmp_path / f"pmem{n}", 2 << 20)
    peer = socket.socket(socket.AF_UNIX)
    peer.bind(str(tmp_path / "net"))
    peer.listen(100)
    options = ["-k", payload(COUNTER), "-m", "64,max=1G,slots=4", "-c", "1,max=3", "-d", tmp_path / "disk0", "--balloon",
               "--vsock", f"cid=3,path={tmp_path}/v", "--9p", f"path={tmp_path},tag=t", "--net", f"unix={tmp_path}/net,id=nic0",
               "--serial", "null", "--console", "null", "--kernel-cache", "off", "--monitor", tmp_path / "m"]
    assert crowd(mote("run", *options), seed, tmp_path, 10) < 20
    if any((tmp_path / f"stream{n}").exists() for n in range(3)):
        crowd(mote("run", *options, "--incoming", "defer"), seed, tmp_path, 5)
    # Whatever is there is whole: it is restored, but for disks that have another size by now.
    for n in range(3):
        saved = tmp_path / f"save{n}"
        if not saved.exists():
            continue
        vm = mote("restore", saved, "--memory", ("map", "copy", "fault")[(seed + n) % 3], "--monitor", tmp_path / "m")
        while not (tmp_path / "m").exists() and vm.process.poll() is None:
            time.sleep(0.05)
        if vm.process.poll() is None:
            crowd(vm, seed, tmp_path, 5)
        else:
            assert vm.wait() == 2, vm.transcript()
            assert "sectors" in vm.reason() or "bytes" in vm.reason() or "base" in vm.reason() or "slot" in vm.reason(), vm.reason()
