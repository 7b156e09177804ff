# SPDX-License-Identifier: MIT
"""A guest that does its worst: it may break itself, but not mote, and mote keeps listening to its user."""

import json
import socket
import subprocess
import time
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("hostile.c")


@pytest.fixture
def hostile(tmp_path):
    """Builds the guest of hostile.c."""

    def build(seed, turns, cpus=1, resets=0):
        image = tmp_path / f"hostile-{seed}"
        numbers = [f"-DSEED={seed}u", f"-DTURNS={turns}u", f"-DCPUS={cpus}u", f"-DRESETS={resets}u"]
        layout = ["-Ttext=0x100000", "--section-start=.note.Xen=0x180000", "--build-id=none", "-n", "-znoexecstack", "-estart"]
        subprocess.run(["gcc", "-m32", "-O1", "-Wall", "-ffreestanding", "-fno-pic", "-fno-stack-protector", "-mgeneral-regs-only",
                        "-nostdlib", "-static", "-no-pie", *numbers, *[f"-Wl,{option}" for option in layout], "-o", image, SOURCE],
                       check=True, capture_output=True)
        return image

    return build


@pytest.fixture
def start(mote, tmp_path):
    """Starts it with one of each device."""

    def run(image, *args, cpus=1):
        for name in ("a", "b"):
            with open(tmp_path / name, "wb") as disk:
                disk.truncate(1 << 20)
        for name in ("c", "c2"):
            with open(tmp_path / name, "wb") as pmem:
                pmem.truncate(3 << 20)
        return mote("run", "-k", image, "-m", "64M", "-c", cpus, "--exit-port", "--serial", f"file={tmp_path}/serial", "--console",
                    f"unix={tmp_path}/console", "-d", tmp_path / "a", "-d", f"{tmp_path}/b,queues=4", "--pmem", tmp_path / "c",
                    "--pmem", f"{tmp_path}/c2,ro", *args)

    return run


@pytest.mark.parametrize("seed,cpus", ((1, 1), (2, 1), (3, 3)))
def test_garbage_does_not_reach_the_host(hostile, start, seed, cpus):
    vm = start(hostile(seed, 10000 // cpus, cpus), cpus=cpus)
    assert vm.wait(120) == 64, vm.transcript()


def test_resets_with_everything_in_flight(hostile, start):
    vm = start(hostile(4, 200, cpus=2, resets=6), cpus=2)
    assert vm.wait(120) == 64, vm.transcript()


def test_monitor_answers_whatever_the_guest_does(hostile, start, tmp_path):
    """Pauses, resets and the end, in the middle of it all."""
    vm = start(hostile(5, 0xffffffff, cpus=2), "--monitor", tmp_path / "monitor", cpus=2)
    for _ in range(100):
        if (tmp_path / "monitor").exists():
            break
        time.sleep(0.1)
    monitor = socket.socket(socket.AF_UNIX)
    monitor.settimeout(30)
    monitor.connect(str(tmp_path / "monitor"))
    stream = monitor.makefile("rw")
    assert "QMP" in json.loads(stream.readline())

    def command(name):
        stream.write(json.dumps({"execute": name}) + "\n")
        stream.flush()
        while True:
            reply = json.loads(stream.readline())
            if "event" not in reply:
                return reply

    command("qmp_capabilities")
    end = time.monotonic() + 6
    while time.monotonic() < end:
        for name in ("stop", "query-status", "cont", "system_powerdown", "system_reset"):
            assert "return" in command(name), vm.transcript()
            time.sleep(0.05)
    assert "return" in command("quit")
    assert vm.wait(60) == 0, vm.transcript()
