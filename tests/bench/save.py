#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""
The benchmark of saved VMs (`make bench-save`): how long a guest is paused while it is saved in full, as a diff after it wrote so many MiB,
and as a template; how long after its exec a clone lets the guest run, and the guest answers on vsock; what memory a clone takes. Against
QEMU's migration to a file and back. All files are in memory. In the test host time is counted in instructions.

usage: save.py [--sizes MIB,…] [--runs N]
"""

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests/functional"))
import memory  # noqa: E402
import tracing  # noqa: E402
from conftest import script  # noqa: E402
from qmp import Session  # noqa: E402

PORT = 5000
DIRTY_MIB = (8, 32)
# Writes as many MiB as each line of its input says.
SERVER = f"""modprobe vmw_vsock_virtio_transport
vsock-tool serve vsock:4294967295:{PORT} &
head -c 1048576 /dev/urandom >/tmp/some
sleep 2
echo SERV''ING
while read n; do
	for i in $(seq $n); do cat /tmp/some; done >/tmp/all
	echo DIRT''IED
done
sleep 100000"""
QEMU_GUEST = "(sleep 2; echo SERV''ING) & sleep 100000"
RUN_SECONDS = 240
QEMU_STARTS = 2
WORK_AIM = 5_000_000  # ns or instructions of host work until the first guest instruction
FLAT_AIM = 1.2  # times that at the smallest size
DIFF_AIM = 1.2  # times as long at most, or as short, for each MiB more of few as of many
PRIVATE_AIM_KIB = 3072
EMULATED = "MOTE_TEST_HOST" in os.environ


def alive():
    """A sign of life, which tests/bench/bench waits for."""
    print(".", end="", file=sys.stderr, flush=True)


def milliseconds(since):
    return (time.monotonic_ns() - since) / 1e6


class Started:
    """A monitor process; ended with it."""

    def __init__(self, *command):
        self.process = subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE)

    def until(self, marker):
        memory.read_until(self.process.stdout, marker, RUN_SECONDS)

    def write(self, line):
        self.process.stdin.write(b"%d\n" % line)
        self.process.stdin.flush()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            stream.close()


def answered(path, since):
    """Milliseconds until the guest's echo server has answered."""
    while True:
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(60)
            try:
                s.connect(str(path))
                s.sendall(b"CONNECT %d\n" % PORT)
                if s.recv(64).startswith(b"OK"):
                    s.sendall(b"Ex")
                    if s.recv(1):
                        return milliseconds(since)
            except OSError:
                pass
        if milliseconds(since) > RUN_SECONDS * 1000:
            raise memory.Unmeasured("no answer on vsock")
        time.sleep(0.0005)


def paused(session, **arguments):
    """Milliseconds from stop to the end of cont, but for a template, which does not run again."""
    since = time.monotonic_ns()
    session.command("stop")
    session.command("save", **arguments)
    if arguments["type"] != "template":
        session.command("cont")
    return milliseconds(since)


def allocated_mib(path):
    return path.stat().st_blocks / 2048


def diffs(stage, vm, session):
    """One over the other: of an idle guest, then of one that has written."""
    found = {}
    base = stage / "full"
    for name, mib in (("idle", 0), *((f"{mib} MiB written", mib) for mib in DIRTY_MIB)):
        directory = stage / f"diff{mib or ''}"
        if mib:
            vm.write(mib)
            vm.until(b"DIRTIED")
        else:
            time.sleep(1)
        found[f"diff, {name}: pause ms"] = paused(session, directory=str(directory), type="diff", base=str(base))
        found[f"diff, {name}: MiB"] = allocated_mib(directory / "memory")
        base = directory
        alive()
    return found


def saves(stage, mote, mib):
    """Makes the saves that clones come from; pauses and sizes."""
    found = {}
    options = ["run", "-k", stage / "kernel", "-i", stage / "initrd", "-p", f"quiet {script(SERVER)}", "--kernel-cache", stage / "cache",
               "--vsock", f"cid=3,path={stage}/v", "--monitor", stage / "m"]
    with Started(mote, *options, "-m", mib) as vm:
        vm.until(b"SERVING")
        session = Session(stage / "m")
        since = time.monotonic_ns()
        session.command("stop")
        session.command("cont")
        found["stop and cont ms"] = milliseconds(since)
        found["full: pause ms"] = paused(session, directory=str(stage / "full"), type="full")
        found["full: MiB"] = allocated_mib(stage / "full/memory")
        alive()
        found.update(diffs(stage, vm, session))
    with Started(mote, *options, "-m", f"{mib},path={stage}/ram,share=on") as vm:
        vm.until(b"SERVING")
        found["template: save ms"] = paused(Session(stage / "m"), directory=str(stage / "template"), type="template")
        alive()
    return found


def until_entry(stage, kind, *command):
    """Nanoseconds after its exec that KVM first enters the guest; kind work: that its threads ran until then."""
    done = subprocess.run([TOP / "build/bench/measure", "/", kind, "60", *map(str, command)], capture_output=True, text=True)
    if done.returncode:
        raise memory.Unmeasured(done.stderr.strip()[-300:])
    alive()
    return int(done.stdout)


def clones(stage, mote, runs):
    found = {}
    for name, mode in (("full", "map"), ("full", "copy"), ("full", "fault"), ("diff", "map"), ("template", "map")):
        label = f"{name}, {mode}"
        command = [mote, "restore", stage / name, "--memory", mode, "--vsock", f"cid=3,path={stage}/c"]
        for kind in ("entry", "work"):
            found[f"{label}: {kind} ms"] = statistics.median(until_entry(stage, kind, *command) for _ in range(runs)) / 1e6
        times = []
        for _ in range(runs):
            since = time.monotonic_ns()
            with Started(*command):
                times.append(answered(stage / "c", since))
            alive()
        found[f"{label}: answer ms"] = statistics.median(times)
    with Started(mote, "restore", stage / "full", "--paused", "--monitor", stage / "c1", "--vsock", f"cid=3,path={stage}/v1"), \
            Started(mote, "restore", stage / "full", "--paused", "--monitor", stage / "c2", "--vsock", f"cid=3,path={stage}/v2") as second:
        for path in ("c1", "c2"):
            assert Session(stage / path).command("query-status")["status"] == "paused"
        mappings = memory.parse_smaps(Path(f"/proc/{second.process.pid}/smaps").read_text())
        found["2nd clone: private KiB"] = sum(m.kib["Private_Clean"] + m.kib["Private_Dirty"] for m in mappings)
    alive()
    return found


def until(status, *ends):
    """Waits for one of them, and says so: QEMU may take longer than the bench waits for a sign of life."""
    since = told = time.monotonic_ns()
    while (now := status()) not in ends:
        if now == "failed" or milliseconds(since) > RUN_SECONDS * 1000:
            raise memory.Unmeasured(f"migration: {now}")
        if milliseconds(told) > 500:
            told = time.monotonic_ns()
            alive()
        time.sleep(0.001)


def qemu(stage, mib):
    """To a file and back; milliseconds. A pc, as microvm cannot be migrated everywhere."""
    program = shutil.which("qemu-system-x86_64")
    if not program:
        raise memory.Unmeasured("not on PATH")
    found = {}
    command = [program, "-M", "q35,accel=kvm", "-cpu", "host", "-m", mib, "-nodefaults", "-no-user-config", "-nographic", "-serial", "stdio",
               "-kernel", stage / "kernel", "-initrd", stage / "initrd", "-append", f"console=ttyS0 quiet {script(QEMU_GUEST)}"]
    with Started(*command, "-qmp", f"unix:{stage}/q,server=on,wait=off") as vm:
        vm.until(b"SERVING")
        session = Session(stage / "q")
        since = time.monotonic_ns()
        session.command("stop")
        session.command("migrate-set-parameters", max_bandwidth=1 << 40)
        session.command("migrate", uri=f"exec:cat >{stage}/qemu")
        until(lambda: session.command("query-migrate")["status"], "completed")
        found["qemu: save ms"] = milliseconds(since)
    alive()
    since = time.monotonic_ns()
    with Started(*command, "-qmp", f"unix:{stage}/q2,server=on,wait=off", "-incoming", f"exec:cat {stage}/qemu"):
        session = Session(stage / "q2")
        until(lambda: session.command("query-status")["status"] != "inmigrate", True)
        session.command("cont")
        found["qemu: exec to running ms"] = milliseconds(since)
    alive()
    return found


def prepare():
    """tracefs, by which the first guest instruction is seen, and a QEMU with more RAM than the host has."""
    problem = tracing.prepare()
    if problem:
        sys.exit(f"bench: {problem}")
    if EMULATED:
        Path("/proc/sys/vm/overcommit_memory").write_text("1")


class Store:
    """All figures so far, in $OUT: found again by the next test host when this one stands still."""

    def __init__(self):
        self.path = Path(os.environ["OUT"], "save.json") if "OUT" in os.environ else None
        self.figures, self.qemu_starts = json.loads(self.path.read_text()) if self.path and self.path.exists() else ({}, {})

    def keep(self):
        if self.path:
            self.path.write_text(json.dumps([self.figures, self.qemu_starts], indent=1))


def measure(store, mib, runs):
    with tempfile.TemporaryDirectory(prefix="mote-bench.") as name:
        stage = Path(name)
        mote = shutil.copy(TOP / os.environ.get("MOTE", "build/mote"), stage / "mote")
        shutil.copy(TOP / "build/kernels/cloud/vmlinuz", stage / "kernel")
        shutil.copy(TOP / "build/guest/test-cloud.cpio", stage / "initrd")
        if mib not in store.figures:
            found = saves(stage, mote, mib)
            found.update(clones(stage, mote, runs))
            store.figures[mib] = found
            store.keep()
            for path in ("full", *stage.glob("diff*"), "template"):
                shutil.rmtree(stage / path)
            (stage / "ram").unlink()
        while "qemu: save ms" not in store.figures[mib] and store.qemu_starts.get(mib, 0) < QEMU_STARTS:
            store.qemu_starts[mib] = store.qemu_starts.get(mib, 0) + 1
            store.keep()
            try:
                store.figures[mib].update(qemu(stage, mib))
            except (memory.Unmeasured, AssertionError, OSError) as error:
                print(f"bench: qemu, {mib} MiB: {error}", file=sys.stderr)
            store.keep()


def slope(found, less, more):
    """Milliseconds that a diff takes for each MiB by which it is larger."""
    return ((found[f"diff, {more}: pause ms"] - found[f"diff, {less}: pause ms"])
            / (found[f"diff, {more}: MiB"] - found[f"diff, {less}: MiB"]))


def verdict(what, value, limit, met):
    print(f"  {'met' if met else 'missed':8}{what:58}{value:>10.2f}   {limit}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="256,2048,8192", metavar="MIB,…", help="of the guests' memory (default 256,2048,8192)")
    parser.add_argument("--runs", type=int, default=3, metavar="N", help="clones of each kind (default 3)")
    args = parser.parse_args()
    prepare()
    store = Store()
    for mib in args.sizes.split(","):
        measure(store, mib, args.runs)
    figures = store.figures
    sizes = list(figures)
    print("\nsaved VMs, cloud kernel, 1 vCPU, files in memory" + "".join(f"{mib + ' MiB':>12}" for mib in sizes))
    for row in dict.fromkeys(row for mib in sizes for row in figures[mib]):
        print(f"  {row:47}" + "".join(f"{figures[mib].get(row, float('nan')):>12.2f}" for mib in sizes))
    print("\naims")
    first = figures[sizes[0]]
    for mib in sizes:
        work = figures[mib]["full, map: work ms"] * 1e6
        verdict(f"host work until the first instruction, {mib} MiB, map", work / 1e6, "at most 5 million", work <= WORK_AIM)
        flat = work / 1e6 / first["full, map: work ms"]
        verdict(f"the same, times that at {sizes[0]} MiB", flat, f"at most {FLAT_AIM}", flat <= FLAT_AIM)
        few, many = (slope(figures[mib], *step) for step in pairwise(("idle", *(f"{n} MiB written" for n in DIRTY_MIB))))
        verdict(f"diff, {mib} MiB: ms for each MiB more, few / many", few / many, f"{1 / DIFF_AIM:.2f} to {DIFF_AIM}",
                1 / DIFF_AIM <= few / many <= DIFF_AIM)
    private = first["2nd clone: private KiB"]
    verdict(f"private memory of a paused clone, {sizes[0]} MiB, KiB", private, f"at most {PRIVATE_AIM_KIB}", private <= PRIVATE_AIM_KIB)
    return 0


if __name__ == "__main__":
    sys.exit(main())
