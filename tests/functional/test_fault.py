# SPDX-License-Identifier: MIT
"""mote restore --memory fault: RAM that comes as it is touched."""

import os
import subprocess
import time

from conftest import MOTE, script
from qmp import Session
from test_save import WORK, counts, goes_on


def resident_kib(process):
    with open(f"/proc/{process.process.pid}/smaps_rollup") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("Rss:"))


def test_ram_comes_as_it_is_touched(run, mote, tmp_path):
    saved, again = tmp_path / "saved", tmp_path / "again"
    vm = run("-m", "256", "--monitor", tmp_path / "m", params=script(WORK.replace("dd if=/dev/vda", "true")))
    vm.expect("count 2 good")
    s = Session(tmp_path / "m")
    s.command("stop")
    s.command("save", directory=str(saved))
    s.command("quit")
    assert vm.wait(60) == 0
    before = vm.out
    data_kib = (saved / "memory").stat().st_blocks // 2

    # Paused, hardly anything is there; the first one's order is the second one's.
    first = mote("restore", saved, "--memory", "fault", "--monitor", tmp_path / "c0", "--paused")
    s = Session(tmp_path / "c0")
    time.sleep(1)
    assert resident_kib(first) < data_kib // 4
    s.command("cont")
    goes_on(first, before, tmp_path / "c0")
    order = saved / "state.pages"
    pages = (order.stat().st_size - 32) // 4
    assert 100 < pages * 4 < data_kib
    second = mote("restore", saved, "--memory", "fault", "--monitor", tmp_path / "c1", "--paused")
    s = Session(tmp_path / "c1")
    time.sleep(3)
    assert resident_kib(second) > pages * 3
    s.command("cont")
    second.expect(rf"count {counts(before)[-1] + 2} good")

    # A save of it has what has not been touched, too; a diff goes on by faults as well.
    s.command("stop")
    s.command("save", directory=str(again), type="diff", base=str(saved))
    s.command("quit")
    assert second.wait(60) == 0
    third = mote("restore", again, "--memory", "fault", "--monitor", tmp_path / "c2")
    goes_on(third, before + second.out, tmp_path / "c2")

    # Whatever is wrong with the order is no matter; a reset forgets all.
    order.write_bytes(b"MOTEPAGE" + os.urandom(5000))
    fourth = mote("restore", saved, "--memory", "fault", "--monitor", tmp_path / "c3", "--paused")
    s = Session(tmp_path / "c3")
    s.command("system_reset")
    s.command("cont")
    fourth.expect("count 1 good")
    # Nobody's file is the guest's memory any more.
    os.truncate(saved / "memory", 0)
    fourth.expect("count 2 good")
    s.command("quit")
    assert fourth.wait(60) == 0, fourth.transcript()
    done = subprocess.run([MOTE, "restore", str(saved), "--memory", "fault"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "memory" in done.stderr, done.stderr

    # Without the privilege it says what is missing.
    text = ("mount --bind /dev/null /dev/userfaultfd && exec setpriv --bounding-set -sys_ptrace --inh-caps -sys_ptrace "
            f"{MOTE} restore {again} --memory fault")
    os.truncate(saved / "memory", 256 << 20)
    done = subprocess.run(["unshare", "-m", "sh", "-c", text], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "CAP_SYS_PTRACE" in done.stderr, done.stderr
