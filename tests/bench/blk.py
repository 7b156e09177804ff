#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""
The disk benchmark (part of `make bench`): the same guest does the same I/O on the same host block device under mote, qemu (io_uring, an
iothread) and kvmtool. The device is a null_blk, which does nothing and is done at once: what is measured is the way there and
back. Prints I/O operations a second, and the monitor's CPU time for each, its guest's included.

In the test host, under -icount, a second is 10^9 instructions of the one processor that guest, monitor and kernel share.

usage: blk.py [--disk PATH] [--milliseconds N] [--monitors NAME,…]
"""

import argparse
import base64
import json
import os
import re
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import monitors

TOP = Path(__file__).resolve().parents[2]
EMULATED = "MOTE_TEST_HOST" in os.environ
BOOT_SECONDS = 240

# Operation, order, bytes, depth.
JOBS = [(op, "random", 4096, depth) for op in ("read", "write") for depth in (1, 8, 64)] + [
    (op, "sequential", 1 << 20, 4) for op in ("read", "write")]
# At least so many times a peer's operations, and no more CPU time for each.
AIMS = {("random", 64): {"kvmtool": 1.3, "qemu": 1.0}, ("sequential", 4): {"kvmtool": 1.0, "qemu": 1.0}}


class Failed(Exception):
    """A run that should have worked did not."""


class Mote(monitors.Mote):
    def __init__(self, program, cache):
        super().__init__(program, cache, "warm")
        self.label = "mote"

    def with_disk(self, kernel, initrd, params, disk):
        return self.command(kernel, initrd, params) + ["-d", f"{disk},direct=on"]


class Kvmtool(monitors.Kvmtool):
    def with_disk(self, kernel, initrd, params, disk):
        return self.command(kernel, initrd, params) + ["-d", f"{disk},direct"]


class Qemu(monitors.QemuMicrovm):
    def __init__(self, program):
        super().__init__(program)
        self.label = "qemu"

    def with_disk(self, kernel, initrd, params, disk):
        command = self.command(kernel, initrd, params)
        command[command.index("-M") + 1] += ",pcie=on"
        return command + ["-object", "iothread,id=io", "-drive", f"file={disk},format=raw,if=none,id=disk,aio=io_uring,cache.direct=on",
                          "-device", "virtio-blk-pci,drive=disk,iothread=io"]


def find(stage):
    mote = shutil.copy(TOP / os.environ.get("MOTE", "build/mote"), stage / "mote")
    found, missing = [Mote(mote, stage / "cache")], []
    for kind, label, program in ((Qemu, "qemu", "qemu-system-x86_64"), (Kvmtool, "kvmtool", "lkvm")):
        path = shutil.which(program)
        if path:
            found.append(kind(os.path.realpath(path)))
        else:
            missing.append(f"{label}: no {program} on PATH: not measured")
    return found, missing


def null_device():
    """A host block device that does nothing, its own for the benchmark."""
    if not Path("/dev/nullb0").exists():
        subprocess.run(["modprobe", "null_blk", "nr_devices=1", "gb=1", "queue_mode=2", "irqmode=1", "submit_queues=1"], check=True)
        time.sleep(1)
    return "/dev/nullb0"


def script(jobs, milliseconds):
    lines = ["echo madvise >/sys/kernel/mm/transparent_hugepage/enabled"]  # so that requests have as many segments under each
    for op, order, size, depth in jobs:
        lines += ["echo DISK-IO-BEGIN", f"disk-io rate /dev/vda {op} {order} {size} {depth} {milliseconds}"]
    lines.append("sleep 60")  # what it has used is read while it is there
    return "mote.test=cmd:" + base64.b64encode("\n".join(lines).encode()).decode()


def cpu_ns(pid):
    """All that its threads have run, guests included; io_uring's workers are among them."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            total += int((task / "schedstat").read_text().split()[0])
        except OSError:
            pass  # gone meanwhile
    return total


def lines_of(process, seconds):
    """What it prints, a line at a time."""
    deadline = time.monotonic() + seconds
    text = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while selector.select(max(0, deadline - time.monotonic())):
            data = os.read(process.stdout.fileno(), 65536)
            if not data:
                return
            text += data
            *whole, text = text.split(b"\n")
            yield from (line.decode(errors="replace").strip() for line in whole)


def measure(command, jobs, keep):
    """For each job, as it is done: operations, ns, CPU ns."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    jobs, said, before = list(jobs), [], 0
    try:
        for line in lines_of(process, BOOT_SECONDS):
            said = said[-20:] + [line]
            if "DISK-IO-BEGIN" in line:
                before = cpu_ns(process.pid)
            elif match := re.search(r"DISK-IO (\d+) (\d+)", line):
                keep(jobs.pop(0), (int(match[1]), int(match[2]), cpu_ns(process.pid) - before))
                print(".", end="", file=sys.stderr, flush=True)
            if not jobs:
                return
    finally:
        process.kill()
        process.wait()
    raise Failed("\n".join([" ".join(command)] + said))


def name(job):
    op, order, size, depth = job
    return f"{order} {op}, {size >> 10} KiB, depth {depth}"


def print_results(results):
    labels = list(results)
    print(f"\n{'operations a second':38}" + "".join(f"{label:>14}" for label in labels)
          + f"{'CPU us each':>16}" + "".join(f"{label:>12}" for label in labels[1:]))
    for job in JOBS:
        rows = [results[label][name(job)] for label in labels]
        cpu = [f"{spent / done / 1000:.2f}" for done, _, spent in rows]
        print(f"  {name(job):36}" + "".join(f"{done * 1e9 / ns:>14.0f}" for done, ns, _ in rows)
              + f"{cpu[0]:>16}" + "".join(f"{value:>12}" for value in cpu[1:]))


def print_aims(results):
    print("\naims")
    for job in JOBS:
        _, order, _, depth = job
        done, ns, spent = results["mote"][name(job)]
        for peer, least in AIMS.get((order, depth), {}).items():
            if peer not in results:
                continue
            peer_done, peer_ns, peer_spent = results[peer][name(job)]
            rate = (done / ns) / (peer_done / peer_ns)
            cost = (spent / done) / (peer_spent / peer_done)
            for value, limit, met, what in ((rate, f"at least {least:g}", rate >= least, "operations"), (cost, "at most 1", cost <= 1, "CPU each")):
                print(f"  {'met' if met else 'missed':8}{name(job) + ': ' + what + ' / ' + peer:58}{value:>8.2f}   {limit}")


def run(args, stage):
    os.environ["HOME"] = str(stage)  # kvmtool keeps its state there
    found, missing = find(stage)
    wanted = args.monitors.split(",") if args.monitors else [m.label for m in found]
    kernel = shutil.copy(TOP / "build/kernels/cloud/vmlinuz", stage / "vmlinuz")
    initrd = stage / "initrd"
    with open(initrd, "wb") as file:
        for part in ("test-cloud", "disk-io"):
            file.write((TOP / f"build/guest/{part}.cpio").read_bytes())
            file.write(bytes(-file.tell() % 4))
    disk = args.disk or null_device()
    kept = Path(os.environ["OUT"], "blk.json") if "OUT" in os.environ else None
    # What an earlier test host found before it stood still.
    results = json.loads(kept.read_text()) if kept and kept.exists() else {}

    def keep(label, job, figures):
        results.setdefault(label, {})[name(job)] = figures
        if kept:
            kept.write_text(json.dumps(results, indent=1))

    for monitor in found:
        jobs = [job for job in JOBS if name(job) not in results.get(monitor.label, {})]
        if monitor.label in wanted and jobs:
            monitor.prepare()
            measure(monitor.with_disk(str(kernel), str(initrd), script(jobs, args.milliseconds), disk), jobs,
                    lambda job, figures, label=monitor.label: keep(label, job, figures))
    print(f"\n1 vCPU, a disk on {disk}, direct I/O, one queue, {args.milliseconds} ms each; "
          + ("in the test host: a second is 10^9 instructions, of all together" if EMULATED else "in real time"))
    for line in missing:
        print(line)
    print_results(results)
    if "mote" in results:
        print_aims(results)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--disk", metavar="PATH", help="what to use instead of a null_blk; it is written to")
    parser.add_argument("--milliseconds", type=int, default=200, metavar="N", help="of each kind of I/O (default 200)")
    parser.add_argument("--monitors", metavar="NAME,…", help="only these: mote, qemu, kvmtool")
    try:
        with tempfile.TemporaryDirectory(prefix="mote-bench.") as stage:
            run(parser.parse_args(), Path(stage))
    except Failed as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
