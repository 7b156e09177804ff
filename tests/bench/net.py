#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""
The network benchmark (`make bench`): TCP from a guest to the host over a tap, sent, received, and there and back, under mote, QEMU and
kvmtool, moved by the monitor itself or by vhost-net. All in one run, one after the other, so that the figures can be compared.

usage: net.py [--bytes N] [--trips N] [--only TEXT]
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests/functional"))
import monitors  # noqa: E402
from conftest import script  # noqa: E402
from netns import Namespace  # noqa: E402

HOST, GUEST = "10.78.0.1", "10.78.0.2"
RUN_SECONDS = 60
# mote's user-space path against the others' of the same kind: at least so many times as fast.
AIMS = {"kvmtool": 1.5, "qemu": 1.0}


def make_initrd(path):
    """The tests' initramfs with one more program; a later archive goes on where the first ends."""
    stage = Path(tempfile.mkdtemp())
    (stage / "bin").mkdir()
    shutil.copy(TOP / "build/bench/netload", stage / "bin/netload")
    more = subprocess.run(["cpio", "--quiet", "-o", "-H", "newc"], cwd=stage, input=b"bin\nbin/netload\n", capture_output=True, check=True)
    base = (TOP / "build/guest/test-cloud.cpio").read_bytes()
    path.write_bytes(base + bytes(-len(base) % 4) + more.stdout)
    shutil.rmtree(stage)


def contenders(mote, stage):
    """(label, vhost, command of kernel, initrd, params), and a line about each that is not installed."""
    found, missing = [], []
    mine = monitors.Mote(mote, stage / "cache", "warm")
    for vhost in ("off", "on"):
        found.append((f"mote, vhost={vhost}", vhost, lambda *a, v=vhost: mine.command(*a) + ["-n", f"tap=tap0,vhost={v}"]))
    if path := shutil.which("qemu-system-x86_64"):
        qemu = monitors.QemuMicrovm(os.path.realpath(path))
        for vhost in ("off", "on"):
            found.append((f"qemu, vhost={vhost}", vhost, lambda *a, v=vhost: qemu.command(*a, disk="/dev/null")[:-4] + [
                "-netdev", f"tap,id=net0,ifname=tap0,script=no,downscript=no,vhost={v}", "-device", "virtio-net-pci,netdev=net0,romfile="]))
    else:
        missing.append("qemu: no qemu-system-x86_64 on PATH")
    if path := shutil.which("lkvm"):
        kvmtool = monitors.Kvmtool(path)
        found.append(("kvmtool, vhost=off", "off", lambda *a: [
            "mode=tap,tapif=tap0" if word == "mode=none" else word for word in kvmtool.command(*a)]))
    else:
        missing.append("kvmtool: no lkvm on PATH")
    return found, missing


def measure(command, args):
    """Megabytes a second each way and microseconds of a round trip; None when it did not work."""
    net = Namespace()
    try:
        net.tap("tap0", f"{HOST}/24")
        server = net.start(TOP / "build/bench/netload", "serve", HOST)
        assert server.stdout.readline() == "ready\n"
        # It is ended from here: kvmtool's guest, without ACPI, can halt but not power off.
        monitor = subprocess.Popen(["timeout", str(RUN_SECONDS), *command], preexec_fn=net.enter, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        out = ""
        with monitor:
            for line in monitor.stdout:
                out += line.decode(errors="replace")
                if b"MOTE-STATUS" in line:
                    monitor.terminate()
    finally:
        net.close()
    times = {kind: int(ns) for kind, ns in re.findall(r"^netload (\w+) \d+ (\d+)\r?$", out, re.M)}
    if set(times) != {"send", "receive", "trip"}:
        print(f"bench: {' '.join(map(str, command))}:\n{out[-3000:]}", file=sys.stderr)
        return None
    return {"send": args.bytes * 1000 / times["send"], "receive": args.bytes * 1000 / times["receive"],
            "trip": times["trip"] / args.trips / 1000}


def verdicts(figures):
    mine = figures.get("mote, vhost=off")
    for peer, aim in AIMS.items():
        theirs = figures.get(f"{peer}, vhost=off")
        for kind in ("send", "receive", "trip"):
            if mine and theirs:
                ratio = theirs[kind] / mine[kind] if kind == "trip" else mine[kind] / theirs[kind]
                yield f"{kind}: {ratio:.2f} times as fast as {peer}, vhost=off (aim: {aim:g}): {'met' if ratio >= aim else 'missed'}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bytes", type=int, default=64 << 20)
    parser.add_argument("--trips", type=int, default=2000)
    parser.add_argument("--only", default="")
    args = parser.parse_args()
    for module in ("tun", "vhost_net"):
        subprocess.run(["/sbin/modprobe", "-q", module])
    stage = Path(tempfile.mkdtemp(prefix="mote-bench-net."))
    make_initrd(stage / "initrd")
    kernel = shutil.copy(TOP / "build/kernels/cloud/vmlinuz", stage / "vmlinuz")
    mote = shutil.copy(TOP / os.environ.get("MOTE", "build/mote"), stage / "mote")
    # The first transfer is for the caches and TCP's own tuning.
    guest = script(f"ip addr add {GUEST}/24 dev eth0\nip link set eth0 up\n"
                   f"netload send {HOST} {args.bytes // 8} >/dev/null; netload receive {HOST} {args.bytes // 8} >/dev/null\n"
                   f"netload send {HOST} {args.bytes}; netload receive {HOST} {args.bytes}; netload trip {HOST} {args.trips}\n")
    kept = Path(os.environ["OUT"], "net.json") if "OUT" in os.environ else None
    # What an earlier test host found before it stood still.
    figures = json.loads(kept.read_text()) if kept and kept.exists() else {}
    found, missing = contenders(mote, stage)
    print(f"{'':20} {'send MB/s':>10} {'receive MB/s':>13} {'round trip us':>14}", flush=True)
    for label, _, command in found:
        if args.only in label:
            f = figures.get(label) or measure(command(kernel, str(stage / "initrd"), guest), args)
            if not f:
                missing.append(f"{label}: it failed")
                continue
            figures[label] = f
            print(".", end="", file=sys.stderr, flush=True)  # a sign of life, which tests/bench/bench waits for
            if kept:
                kept.write_text(json.dumps(figures, indent=1))
            print(f"{label:20} {f['send']:10.1f} {f['receive']:13.1f} {f['trip']:14.1f}", flush=True)
    for line in [*verdicts(figures), *(f"{line}: not measured" for line in missing)]:
        print(line)
    shutil.rmtree(stage)


if __name__ == "__main__":
    main()
