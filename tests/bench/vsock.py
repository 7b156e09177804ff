#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""
The vsock benchmark (`make bench`): round trips and throughput between a guest and a host program, by mote's Unix sockets and by the
host kernel's vhost-vsock, one after the other in one run. The same program measures both, on the host's side.

usage: vsock.py [--bytes N] [--trips N] [--runs N]
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests/functional"))
import memory  # noqa: E402
import monitors  # noqa: E402
from conftest import script  # noqa: E402

PORT = 5000
SERVER = f"modprobe vmw_vsock_virtio_transport; (sleep 2; echo SERV''ING) & vsock-tool serve vsock:4294967295:{PORT}"
RUN_SECONDS = 200
TRIP_AIM = 1.3  # times vhost-vsock's, at most
RECEIVE_AIM = 1.0  # times vhost-vsock's, at least


def last_words(guest):
    """What may explain that it does not answer."""
    os.set_blocking(guest.stdout.fileno(), False)
    said = (guest.stdout.read() or b"").decode(errors="replace")
    return f"{'the monitor runs' if guest.poll() is None else f'the monitor has ended, {guest.returncode}'}; the guest said: {said[-4000:]}"


def measure(label, options, address, command, args, tool):
    """Medians: ns of a round trip, bytes a second to the guest and from it."""
    guest = subprocess.Popen(command + options, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        try:
            memory.read_until(guest.stdout, b"SERVING", RUN_SECONDS)
        except memory.Unmeasured as error:
            guest.kill()
            sys.exit(f"bench: {label}: {error}: {guest.stderr.read().decode(errors='replace')[-500:]}")

        def run(*words):
            found = []
            for _ in range(args.runs + 1):  # the first warms up
                done = subprocess.run([tool, words[0], address, *map(str, words[1:])], capture_output=True, text=True, timeout=RUN_SECONDS)
                if done.returncode:
                    sys.exit(f"bench: {label}: {words[0]}: {done.stderr}{last_words(guest)}")
                found.append(int(done.stdout))
                print(".", end="", file=sys.stderr, flush=True)  # a sign of life, which tests/bench/bench waits for
            return statistics.median(found[1:])

        return {"trip_ns": run("rtt", args.trips), "send": run("send", args.bytes), "receive": run("receive", args.bytes)}
    finally:
        guest.kill()
        guest.wait()
        guest.stdout.close()
        guest.stderr.close()


def verdict(what, value, limit, met):
    print(f"  {'met' if met else 'missed':8}{what:58}{value:>8.2f}   {limit}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bytes", type=int, default=32 << 20, metavar="N", help="sent and received (default 32 MiB)")
    parser.add_argument("--trips", type=int, default=1000, metavar="N", help="round trips of a byte (default 1000)")
    parser.add_argument("--runs", type=int, default=3, metavar="N", help="of each, after one that warms up (default 3)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mote-bench.") as name:
        stage = Path(name)
        tool = shutil.copy(TOP / "build/guest/vsock-tool", stage / "vsock-tool")
        mote = shutil.copy(TOP / os.environ.get("MOTE", "build/mote"), stage / "mote")
        kernel = shutil.copy(TOP / "build/kernels/cloud/vmlinuz", stage / "kernel")
        initrd = shutil.copy(TOP / "build/guest/test-cloud.cpio", stage / "initrd")
        command = monitors.Mote(mote, stage / "cache", "warm").command(str(kernel), str(initrd), script(SERVER))
        kept = Path(os.environ["OUT"], "vsock.json") if "OUT" in os.environ else None
        # What an earlier test host found before it stood still.
        figures = json.loads(kept.read_text()) if kept and kept.exists() else {}
        for label, options, address in (
                ("Unix socket", f"cid=3,path={stage}/v", f"mote:{stage}/v:{PORT}"),
                ("vhost-vsock", "cid=4,vhost=on", f"vsock:4:{PORT}")):
            figures[label] = figures.get(label) or measure(label, ["--vsock", options], address, command, args, tool)
            if kept:
                kept.write_text(json.dumps(figures, indent=1))
    print(f"\nvsock, 1 vCPU; {args.bytes >> 20} MiB each way, a byte there and back; medians of {args.runs}")
    print(f"  {'':16}{'round trip':>14}{'to the guest':>16}{'from the guest':>16}")
    for label, f in figures.items():
        print(f"  {label:16}{f['trip_ns'] / 1000:>11.1f} us{f['send'] / 1e6:>11.1f} MB/s{f['receive'] / 1e6:>11.1f} MB/s")
    ours, kernel = figures["Unix socket"], figures["vhost-vsock"]
    print("\naims")
    trip = ours["trip_ns"] / kernel["trip_ns"]
    verdict("round trip by Unix socket / vhost-vsock", trip, f"at most {TRIP_AIM}", trip <= TRIP_AIM)
    for what, key in (("to the guest", "send"), ("from the guest", "receive")):
        ratio = ours[key] / kernel[key]
        verdict(f"throughput {what} by Unix socket / vhost-vsock", ratio, f"more than {RECEIVE_AIM}", ratio > RECEIVE_AIM)
    return 0


if __name__ == "__main__":
    sys.exit(main())
