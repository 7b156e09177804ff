#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""
The 9P benchmark: mote, QEMU (passthrough) and, when lkvm is on PATH, kvmtool share the same directory with the same guest, which has no
cache: a find over 10,000 files, 5,000 stats, 64 MiB written and read, 2,000 files made and removed; in the test host a tenth of all
that, where times, the guest's, count instructions under -icount.

usage: p9.py [--runs N] [--msize BYTES] [--divisor N]
"""

import argparse
import base64
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
ROWS = ("find", "stat", "write", "read", "create", "unlink")
FILES = 10000
DIVISOR = 10 if "MOTE_TEST_HOST" in os.environ else 1
RUN_SECONDS = 150
SCRIPT = """modprobe -a 9p 9pnet_virtio
mount -t 9p -o trans=virtio,version=9p2000.L,cache=none,msize={msize} s /mnt && /mnt/p9_load bench /mnt {divisor}
"""


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


class Stage:
    """What all share: a kernel, an initrd, the program that works; a fresh directory for each run."""

    def __init__(self, directory, msize, divisor):
        self.directory = directory
        self.files = FILES // divisor
        self.kernel = self.copy("build/kernels/generic/vmlinuz")
        self.initrd = self.copy("build/guest/test-generic.cpio")
        self.load = directory / "p9_load"
        subprocess.run(["gcc", "-O1", "-static", "-o", self.load, TOP / "tests/functional/p9_load.c"], check=True)
        self.script = SCRIPT.format(msize=msize, divisor=divisor)

    def params(self, end=""):
        return f"quiet mote.test=cmd:{base64.b64encode((self.script + end).encode()).decode()}"

    def copy(self, path):
        return shutil.copy(TOP / path, self.directory)

    def share(self):
        path = self.directory / "share"
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        shutil.copy(self.load, path)
        subprocess.run([self.load, "tree", path, str(self.files)], check=True)
        return path


def mote(program, stage, share):
    return [program, "run", "-k", stage.kernel, "-i", stage.initrd, "-m", "512", "-p", stage.params("reboot -f"), "--kernel-cache", stage.directory / "cache",
            "--on-reboot", "exit", "--9p", f"{share},tag=s"]


def qemu(program, stage, share):
    return [program, "-M", "microvm,accel=kvm,x-option-roms=off,pit=off,pic=on,rtc=on,acpi=on,pcie=on", "-cpu", "host", "-m", "512", "-nodefaults",
            "-no-user-config", "-nographic", "-serial", "stdio", "-no-reboot", "-kernel", stage.kernel, "-initrd", stage.initrd,
            "-append", f"console=ttyS0 reboot=t panic=-1 {stage.params()}",
            "-virtfs", f"local,path={share},mount_tag=s,security_model=passthrough,multidevs=remap"]


def kvmtool(program, stage, share):
    """It does not end when its guest powers off."""
    return [program, "run", "-k", stage.kernel, "-i", stage.initrd, "-c", "1", "-m", "512", "-p", f"root= {stage.params('reboot -f')}", "-n", "mode=none",
            "--console", "serial", "--9p", f"{share},s"]


def once(command):
    """Seconds by row."""
    rows, out = {}, []
    with subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        timer = threading.Timer(RUN_SECONDS, process.kill)
        timer.start()
        for line in process.stdout:
            out.append(line)
            words = line.decode(errors="replace").split()
            if len(words) == 3 and words[0] == "ROW":
                rows[words[1]] = int(words[2]) / 1e9
                print(".", end="", file=sys.stderr, flush=True)  # a sign of life, which tests/bench/bench waits for
        timer.cancel()
    if set(rows) != set(ROWS):
        raise RuntimeError(f"{command[0]}: {b''.join(out)[-2000:]!r}")
    return rows


def measure(name, build, program, stage, runs):
    found = []
    for _ in range(runs):
        found.append(once(build(program, stage, stage.share())))
    say(f"{name}: " + ", ".join(f"{row} {found[-1][row]:.3f} s" for row in ROWS))
    return {row: statistics.median(one[row] for one in found) for row in ROWS}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1, metavar="N")
    parser.add_argument("--msize", type=int, default=512000, metavar="BYTES")
    parser.add_argument("--divisor", type=int, default=DIVISOR, metavar="N", help="1/N of the work")
    args = parser.parse_args()
    os.environ["HOME"] = tempfile.mkdtemp(prefix="p9-home.")
    with tempfile.TemporaryDirectory(prefix="p9-bench.") as directory:
        stage = Stage(Path(directory), args.msize, args.divisor)
        peers = [("mote", mote, stage.copy(os.environ.get("MOTE", "build/mote")))]
        for name, build, program in (("qemu", qemu, "qemu-system-x86_64"), ("kvmtool", kvmtool, "lkvm")):
            path = shutil.which(program)
            if path:
                peers.append((name, build, path))
            else:
                say(f"{name}: no {program} on PATH: not measured")
        kept = Path(os.environ["OUT"], "p9.json") if "OUT" in os.environ else None
        # What an earlier test host found before it stood still.
        results = json.loads(kept.read_text()) if kept and kept.exists() else {}
        for name, build, program in peers:
            results[name] = results.get(name) or measure(name, build, program, stage, args.runs)
            if kept:
                kept.write_text(json.dumps(results, indent=1))
    print(f"\n9p, cache=none, msize={args.msize}, 1/{args.divisor} of the work, ms" + "".join(f"{name:>12}" for name in results) +
          "".join(f"{name + ' / mote':>16}" for name in results if name != "mote"))
    for row in ROWS:
        print(f"  {row:34}" + "".join(f"{one[row] * 1000:12.1f}" for one in results.values()) +
              "".join(f"{one[row] / results['mote'][row]:16.2f}" for name, one in results.items() if name != "mote"))


if __name__ == "__main__":
    main()
