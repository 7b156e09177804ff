#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""
The monitor's benchmark: how long until query-status, stop and cont are answered, and from disk-add (QEMU: blockdev-add and device_add) until
the guest's kernel tells its user space of the disk; mote's also for the last of many, which should cost what the first did. QEMU's machine
is pc, the one of its kinds that adds PCI devices through ACPI, too. Under -icount times count instructions, 1 ns each.

usage: monitor.py [--disks N] [--replies N]
"""

import argparse
import base64
import json
import os
import selectors
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
BOOT_SECONDS = 400
WAIT_SECONDS = 60
QEMU_DISKS = 16
LISTEN = "mount -t devtmpfs none /dev; /uevents"


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


class Vm:
    """A guest that prints a line for each new disk, and its monitor."""

    def __init__(self, command, path):
        self.process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT)
        self.out = b""
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.process.stdout, selectors.EVENT_READ)
        self.socket = socket.socket(socket.AF_UNIX)
        for _ in range(400):
            try:
                self.socket.connect(str(path))
                break
            except OSError:
                time.sleep(0.05)
        self.socket.settimeout(WAIT_SECONDS)
        self.lines = self.socket.makefile("rb")
        self.lines.readline()
        self.command("qmp_capabilities")

    def command(self, name, **arguments):
        """Seconds until the answer."""
        message = {"execute": name}
        if arguments:
            message["arguments"] = arguments
        data = json.dumps(message).encode() + b"\n"
        start = time.perf_counter()
        self.socket.sendall(data)
        line = self.lines.readline()
        while line.startswith(b'{"timestamp"') or b'"event"' in line:
            line = self.lines.readline()
        seconds = time.perf_counter() - start
        if b'"return"' not in line:
            raise RuntimeError(f"{name}: {line!r}")
        return seconds

    def expect(self, text, seconds):
        deadline = time.monotonic() + seconds
        while text not in self.out:
            left = deadline - time.monotonic()
            if left <= 0 or not self.selector.select(left):
                raise RuntimeError(f"no {text!r}: {self.out[-1500:]!r}")
            data = os.read(self.process.stdout.fileno(), 65536)
            if not data:
                raise RuntimeError(f"it has ended: {self.out[-1500:]!r}")
            self.out += data
        self.out = self.out[self.out.index(text) + len(text):]

    def close(self):
        self.process.kill()
        self.process.wait()


class Stage:
    """What both share: a kernel, an initrd with the listener, images."""

    def __init__(self, directory):
        self.directory = directory
        self.kernel = shutil.copy(TOP / "build/kernels/cloud/vmlinuz", directory)
        subprocess.run(["gcc", "-O1", "-static", "-o", directory / "uevents", TOP / "tests/bench/uevents.c"], check=True)
        extra = subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], input=b"uevents\n", cwd=directory, check=True, capture_output=True).stdout
        self.initrd = directory / "initrd"
        data = (TOP / "build/guest/test-cloud.cpio").read_bytes()
        self.initrd.write_bytes(data + bytes(-len(data) % 512) + extra)

    def image(self, n):
        path = self.directory / f"disk{n}"
        with open(path, "wb") as f:
            f.truncate(1 << 20)
        return str(path)


def mote(stage, program):
    path = stage.directory / "mote.sock"
    vm = Vm([program, "run", "-k", stage.kernel, "-i", stage.initrd, "-m", "512", "-p", f"quiet {script()}", "--kernel-cache",
             stage.directory / "cache", "--monitor", path], path)
    return vm, lambda n: vm.command("disk-add", path=stage.image(n))


def qemu(stage, program):
    path = stage.directory / "qemu.sock"
    vm = Vm([program, "-M", "pc,accel=kvm", "-cpu", "host", "-m", "512", "-nodefaults", "-no-user-config", "-nographic", "-serial", "stdio",
             "-kernel", stage.kernel, "-initrd", stage.initrd, "-append", f"console=ttyS0 quiet {script()}",
             "-qmp", f"unix:{path},server=on,wait=off"], path)

    def add(n):
        vm.command("blockdev-add", **{"driver": "raw", "node-name": f"n{n}", "file": {"driver": "file", "filename": stage.image(n)}})
        vm.command("device_add", driver="virtio-blk-pci", drive=f"n{n}", id=f"d{n}")

    return vm, add


def script():
    return "mote.test=cmd:" + base64.b64encode(LISTEN.encode()).decode()


def measure(name, build, program, stage, disks, replies):
    vm, add = build(stage, program)
    rows = {}
    try:
        vm.expect(b"LISTENING", BOOT_SECONDS)
        say(f"{name} is up")
        time.sleep(1)
        rows["query-status"] = statistics.median(vm.command("query-status") for _ in range(replies))
        pairs = [(vm.command("stop"), vm.command("cont")) for _ in range(replies)]
        rows["stop"] = statistics.median(pair[0] for pair in pairs)
        rows["cont"] = statistics.median(pair[1] for pair in pairs)
        times = []
        for n in range(disks):
            start = time.perf_counter()
            add(n)
            vm.expect(b"NEW vd", WAIT_SECONDS)
            times.append(time.perf_counter() - start)
        few = max(1, min(8, disks // 2))
        rows[f"disk-add to uevent, first {few}"] = statistics.median(times[:few])
        if disks > QEMU_DISKS:
            rows[f"disk-add to uevent, last {few} of {disks}"] = statistics.median(times[-few:])
        rows["disk-add to uevent, slowest"] = max(times)
    finally:
        vm.close()
    say(f"{name}: " + ", ".join(f"{row} {seconds * 1000:.3f} ms" for row, seconds in rows.items()))
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--disks", type=int, default=128, metavar="N")
    parser.add_argument("--replies", type=int, default=31, metavar="N")
    args = parser.parse_args()
    os.environ["HOME"] = tempfile.mkdtemp(prefix="monitor-home.")
    with tempfile.TemporaryDirectory(prefix="monitor-bench.") as directory:
        stage = Stage(Path(directory))
        program = shutil.copy(TOP / os.environ.get("MOTE", "build/mote"), directory)
        results = {"mote": measure("mote", mote, program, stage, args.disks, args.replies)}
        program = shutil.which("qemu-system-x86_64")
        if program:
            results["qemu"] = measure("qemu", qemu, program, stage, min(args.disks, QEMU_DISKS), args.replies)
        else:
            say("qemu: no qemu-system-x86_64 on PATH: not measured")
    print("\nmonitor, ms" + " " * 35 + "".join(f"{name:>12}" for name in results))
    for row in results["mote"]:
        print(f"  {row:44}" + "".join(f"{one[row] * 1000:12.3f}" if row in one else " " * 11 + "-" for one in results.values()))


if __name__ == "__main__":
    main()
