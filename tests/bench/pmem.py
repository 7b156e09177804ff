#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""
The pmem benchmark (`make bench`): how fast a guest reads a file of an ext4 that is mounted with dax from a pmem device, against the
same file in a tmpfs, which is guest memory. The first reading of the pmem file is the one in which its pages are mapped. In the test host it
runs under -icount: what an emulated TLB and emulated VM exits cost in real time says nothing about real ones.

usage: pmem.py
"""

import base64
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
MOTE = TOP / os.environ.get("MOTE", "build/mote")
KERNEL = "cloud"
FILE_MIB = 64
PASSES = 32
AIM = 0.9  # of the speed of guest memory
SECONDS = 240

# Hundredths of a second are what the guest's shell can tell, hence several passes.
SCRIPT = f"""
now() {{ read up idle </proc/uptime; echo ${{up%.*}}${{up#*.}}; }}
read_it() {{ dd if=$1 of=/dev/null bs=256k 2>/dev/null; }}
measure() {{
	start=$(now)
	for pass in $(seq $3); do read_it $2; done
	echo "TIME $1 $3 $(($(now) - start))"
}}
modprobe -a virtio_pmem nd_pmem
until [ -e /dev/pmem0 ]; do usleep 50000; done
mount -t ext4 -o ro,dax /dev/pmem0 /mnt && measure first /mnt/file 1
cp /mnt/file /tmp/file && read_it /tmp/file && measure memory /tmp/file {PASSES} && measure pmem /mnt/file {PASSES}
"""


def image(directory):
    """An ext4 with one file of pseudo-random bytes."""
    (directory / "tree").mkdir()
    (directory / "tree/file").write_bytes(os.urandom(FILE_MIB << 20))
    path = directory / "image"
    path.touch()
    os.truncate(path, 2 * FILE_MIB << 20)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-b", "4096", "-d", directory / "tree", path], check=True,
                   env={**os.environ, "PATH": os.environ["PATH"] + ":/sbin:/usr/sbin"})
    return path


def run(directory):
    command = [MOTE, "run", "-k", TOP / f"build/kernels/{KERNEL}/vmlinuz", "-i", TOP / f"build/guest/test-{KERNEL}.cpio", "-m", "512M",
               "--kernel-cache", "off", "--pmem", f"{image(directory)},ro",
               "-p", "quiet mote.test=cmd:" + base64.b64encode(SCRIPT.encode()).decode()]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS)
    times = {what: int(passes) * FILE_MIB * 100 / max(int(time), 1)
             for what, passes, time in re.findall(r"TIME (\w+) (\d+) (\d+)", done.stdout)}
    if len(times) != 3:
        raise SystemExit(f"bench: the guest did not measure:\n{done.stdout[-2000:]}{done.stderr[-500:]}")
    return times


def main():
    with tempfile.TemporaryDirectory(prefix="mote-bench.") as directory:
        speed = run(Path(directory))
    print(f"\npmem: a guest reads a file of {FILE_MIB} MiB, {KERNEL} kernel, MiB/s"
          + (", in the test host: a second is 10^9 instructions" if "MOTE_TEST_HOST" in os.environ else ""))
    print(f"  {'guest memory (tmpfs)':28}{speed['memory']:10.0f}")
    print(f"  {'pmem, ext4 with dax':28}{speed['pmem']:10.0f}")
    print(f"  {'the same, the first time':28}{speed['first']:10.0f}")
    ratio = speed["pmem"] / speed["memory"]
    print(f"  {'met' if ratio >= AIM else 'missed':8}pmem reads / guest memory reads {ratio:.2f}   at least {AIM}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
