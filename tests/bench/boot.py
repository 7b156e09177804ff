#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""
The boot benchmark (`make bench`): mote, qemu -M microvm and kvmtool start the same kernels and initrds. Prints how long after its
exec each lets the guest run and has its init running, what memory it takes beyond the guest's, and how that compares with
what mote aims at. In the test host time is counted in instructions; on hardware it is time.

usage: boot.py [--runs N] [--kernels NAME,…] [--params TEXT]
"""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import memory
import monitors
import tracing

TOP = Path(__file__).resolve().parents[2]
EMULATED = "MOTE_TEST_HOST" in os.environ
FORMATS = {"generic": "xz", "cloud": "lz4", "6.12": "zstd"}
RAM_BYTES = monitors.MEMORY_MIB << 20
RUN_SECONDS = 40

# exec → init at most this many times the peer's; then a cold cache, against kvmtool; all with 1 vCPU.
RATIO_AIMS = {"generic": {"kvmtool": 0.35, "qemu microvm": 0.25}, "cloud": {"kvmtool": 0.9, "qemu microvm": 0.5}}
COLD_AIM = 1.0
ENTRY_AIM_NS = 10_000_000
MEMORY_AIM_KIB = 2048


class Failed(Exception):
    """A run that should have worked did not."""


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


def alive():
    """A sign of life after each run, which tests/bench/bench waits for."""
    print(".", end="", file=sys.stderr, flush=True)


class Store:
    """All figures so far, in $OUT: found again by the next test host when this one stands still."""

    def __init__(self):
        self.path = Path(os.environ["OUT"], "boot.json") if "OUT" in os.environ else None
        self.figures = {"emulated": EMULATED, "boots": {}, "memory": {}}
        if self.path and self.path.exists():
            self.figures = json.loads(self.path.read_text())

    def get(self, group, label, measure):
        """What there is, or else what measure() gives."""
        if label not in group:
            group[label] = measure()
            self.save()
        return group[label]

    def save(self):
        if self.path:
            with open(self.path, "w") as file:
                json.dump(self.figures, file, indent=1)
                file.flush()
                os.fsync(file.fileno())


def library_paths(program):
    """What a dynamically linked program is linked with, the loader included."""
    listed = subprocess.run(["ldd", program], capture_output=True, text=True)
    return re.findall(r"(/\S+) \(0x", listed.stdout) if listed.returncode == 0 else []


def build_root(stage, monitor_list):
    """
    A root directory in memory with nothing but the monitors and what they need, each at its own path. The test host's real root is
    this machine's over 9p, where every open() is a round trip to the outside, and under -icount it is time that passes, as much as
    it likes, while the inside waits. Vanishes with the test host.
    """
    root = Path(tempfile.mkdtemp(prefix="mote-bench-root."))
    for monitor in monitor_list:
        for path in [monitor.program, *monitor.files(), *library_paths(monitor.program)]:
            target = root / str(path).lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    for path in ("/dev", "/proc", "/sys", stage):
        target = root / str(path).lstrip("/")
        target.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "--bind", path, target], check=True)
    return root


class Guest:
    """A kernel, its initrds, and the stage they are copied to."""

    def __init__(self, name, stage):
        self.name = name
        self.version = (TOP / f"build/kernels/{name}/version").read_text().strip()
        self.kernel = self.copy(f"build/kernels/{name}/vmlinuz", stage / f"{name}.vmlinuz")
        self.initrd = self.copy(f"build/guest/bench-{name}.cpio", stage / f"{name}.bench")
        self.idle_initrd = self.copy(f"build/guest/test-{name}.cpio", stage / f"{name}.idle")

    @staticmethod
    def copy(source, target):
        shutil.copyfile(TOP / source, target)
        return str(target)


class Bench:
    def __init__(self, stage, runs, params):
        self.stage = stage
        self.runs = runs
        self.params = params
        self.measure = shutil.copy(TOP / "build/bench/measure", stage / "measure")
        mote = shutil.copy(TOP / os.environ.get("MOTE", "build/mote"), stage / "mote")
        self.monitors, self.missing = monitors.find(mote, stage / "cache")
        self.disk = stage / "disk"
        with open(self.disk, "wb") as disk:
            disk.truncate(16 << 20)
        self.root = build_root(stage, self.monitors) if EMULATED else "/"
        self.entry_problem = tracing.prepare()

    def once(self, monitor, what, command):
        monitor.prepare()
        done = subprocess.run([self.measure, self.root, *what, str(RUN_SECONDS), *command], stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode:
            raise Failed(f"{monitor.label}: {' '.join(command)}: {done.stderr.strip()}")
        alive()
        return int(done.stdout)

    def boot(self, guest, monitor):
        """
        Times of all runs, in ns: until init, until the first guest instruction, and what the monitor's threads ran of the latter:
        the rest waits for the host's kernel. None: cannot be seen here.
        """
        command = monitor.command(guest.kernel, guest.initrd, self.params)
        began = time.monotonic()
        init = [self.once(monitor, ("marker", "MOTE-INIT"), command) for _ in range(self.runs + 1)][1:]
        entry = work = None
        if not self.entry_problem:
            entry = [self.once(monitor, ("entry",), command) for _ in range(self.runs)]
            work = [self.once(monitor, ("work",), command) for _ in range(self.runs)]
        say(f"{guest.name}: {monitor.label}: init after {statistics.median(init) / 1e6:.1f} ms"
            + (f", first instruction after {statistics.median(entry) / 1e6:.1f} ms" if entry else "")
            + f" ({time.monotonic() - began:.0f} s)")
        return {"init_ns": init, "entry_ns": entry, "work_ns": work}

    def memory(self, guest, monitor):
        """
        KiB beyond the guest's of a VM whose guest has found its disk and idles. The worst run counts: where the kernel puts
        mappings decides whether some of them get huge pages.
        """
        command = monitor.command(guest.kernel, guest.idle_initrd, "mote.test=hang", str(self.disk))
        if EMULATED:
            command = ["chroot", str(self.root), *command]
        found = []
        for _ in range(self.runs):
            try:
                found.append(memory.measure(command, b"MOTE-READY", RAM_BYTES, RUN_SECONDS, 2))
            except memory.Unmeasured as error:
                raise Failed(f"{monitor.label}: memory: {error}") from error
            alive()
        totals, mappings = max(found, key=lambda one: one[0]["Rss"])
        rss = [one[0]["Rss"] for one in found]
        say(f"{guest.name}: {monitor.label}: {min(rss)} to {max(rss)} KiB beyond the guest's")
        largest = [{"name": m.name, "KiB": m.kib["Rss"]} for m in mappings[:12]]
        return {"rss": rss, "totals": totals, "largest": largest}


def median(result, what):
    return statistics.median(result[what]) if result and result[what] else None


def ms(ns):
    return "-" if ns is None else f"{ns / 1e6:.1f} ms"


def ratio(ns, peer_ns):
    return "-" if not ns or not peer_ns else f"{ns / peer_ns:.3f}"


def print_boots(guest, boots):
    peers = {name: median(boots.get(name), "init_ns") for name in ("kvmtool", "qemu microvm")}
    print(f"\n{guest.name} ({FORMATS.get(guest.name, '?')}), {guest.version}")
    print(f"  {'after exec':20}{'first instruction':>20}{'executed':>12}{'init':>14}{'/ kvmtool':>12}{'/ qemu':>12}")
    for label, result in boots.items():
        init = median(result, "init_ns")
        print(f"  {label:20}{ms(median(result, 'entry_ns')):>20}{ms(median(result, 'work_ns')):>12}{ms(init):>14}"
              f"{ratio(init, peers['kvmtool']):>12}{ratio(init, peers['qemu microvm']):>12}")


def print_memory(guest, used):
    print(f"\nresident beyond the guest's, KiB ({guest.name}, a disk, no net, idle; the worst run, and the best)")
    print(f"  {'':20}{'Rss':>10}{'Pss':>10}{'private':>10}{'best Rss':>12}")
    for label, result in used.items():
        totals = result["totals"]
        print(f"  {label:20}{totals['Rss']:>10}{totals['Pss']:>10}{totals['Private']:>10}{min(result['rss']):>12}")


def boot_aims(name, boots):
    """(what, value or None, limit, how to print both)"""
    warm, cold = boots["mote, warm cache"], boots["mote, cold cache"]

    def over(result, peer):
        peer_ns = median(boots.get(peer), "init_ns")
        return median(result, "init_ns") / peer_ns if peer_ns else None

    for peer, limit in RATIO_AIMS.get(name, {}).items():
        yield f"{name}: exec to init, warm, / {peer}", over(warm, peer), limit, "{:.3f}"
    yield f"{name}: exec to init, cold, / kvmtool", over(cold, "kvmtool"), COLD_AIM, "{:.3f}"
    # Under -icount a millisecond that passes is a million instructions, whether the processor had something to execute or waited.
    for what, key in (("passed", "entry_ns"), ("executed", "work_ns")):
        value = median(warm, key)
        yield (f"{name}: million instructions {what} to the first, warm", value / 1e6 if value and EMULATED else None,
               ENTRY_AIM_NS / 1e6, "{:.2f}")


def print_aims(boots, used):
    aims = [aim for name, results in boots.items() for aim in boot_aims(name, results)]
    mote = used.get("mote, warm cache")
    aims.append(("MiB resident beyond the guest's, worst run", mote["totals"]["Rss"] / 1024 if mote else None, MEMORY_AIM_KIB / 1024, "{:.2f}"))
    print("\naims")
    for what, value, limit, form in aims:
        verdict = "-" if value is None else "met" if value <= limit else "missed"
        shown = "not measured" if value is None else form.format(value)
        print(f"  {verdict:8}{what:58}{shown:>12}   at most {limit:g}")


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3, metavar="N", help="measured runs of each kind (default 3)")
    parser.add_argument("--kernels", default="generic,cloud", metavar="NAME,…", help="which kernels (default generic,cloud)")
    parser.add_argument("--params", default="", metavar="TEXT", help="more kernel parameters, the same for all monitors")
    return parser.parse_args()


def run(args, stage):
    os.environ["HOME"] = str(stage)  # kvmtool keeps its state there
    bench = Bench(stage, args.runs, args.params)
    guests = [Guest(name, stage) for name in args.kernels.split(",")]
    store = Store()
    boots, used = store.figures["boots"], store.figures["memory"]
    for guest in guests:
        for monitor in bench.monitors:
            store.get(boots.setdefault(guest.name, {}), monitor.label, lambda: bench.boot(guest, monitor))
    for monitor in bench.monitors:
        if monitor.label != "mote, cold cache":  # the same as a warm one once the guest runs
            store.get(used, monitor.label, lambda: bench.memory(guests[0], monitor))

    print(f"\n1 vCPU, {monitors.MEMORY_MIB} MiB, quiet console on stdout; medians of {args.runs} after a warm-up")
    print("first instruction: until then; executed: what the monitor's own threads ran of that; init: until it speaks")
    print("in the test host, with -icount: 1 ms is 1 million instructions" if EMULATED else
          "on this machine's own KVM, in real time: instructions are not counted")
    if args.params:
        print(f"kernel parameters for all: {args.params}")
    for line in bench.missing + ([f"first instruction: {bench.entry_problem}"] if bench.entry_problem else []):
        print(line)
    for guest in guests:
        print_boots(guest, boots[guest.name])
    print_memory(guests[0], used)
    print_aims(boots, used)


def main():
    args = parse_args()
    try:
        with tempfile.TemporaryDirectory(prefix="mote-bench.") as stage:
            run(args, Path(stage))
    except Failed as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
