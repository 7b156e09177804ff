# SPDX-License-Identifier: MIT
"""Saved and restored again and again; many clones at once; time that has passed meanwhile."""

import os
import time
import uuid

import pytest

from conftest import script
from qmp import Session
from test_hotplug import Guest
from test_save import WORK, counts, goes_on
from test_save_devices import Restored, echoing
from test_save_overrides import GENERATION_ID, listener
from test_vsock import echo

QUIET = WORK.replace("dd if=/dev/vda", "true")


@pytest.mark.parametrize("rounds, cpus", [(5, 4), pytest.param(50, 1, marks=pytest.mark.long), pytest.param(50, 2, marks=pytest.mark.long)])
def test_again_and_again(run, mote, tmp_path, rounds, cpus):
    """Full saves and diffs in turn, mapped and copied."""
    vm = run("-c", cpus, "-m", "160", "--monitor", tmp_path / "m0", params=script(QUIET))
    vm.expect("count 2 good")
    before, base = b"", None
    for n in range(rounds):
        s = Session(tmp_path / f"m{n}")
        s.command("stop")
        time.sleep(0.2)
        saved = tmp_path / f"save{n % 8}"
        if n % 4:
            s.command("save", directory=str(saved), type="diff", base=str(base))
        else:
            s.command("save", directory=str(saved))
        s.command("quit")
        assert vm.wait(60) == 0, vm.transcript()
        before += vm.out
        base = saved
        vm = mote("restore", saved, "--monitor", tmp_path / f"m{n + 1}", "--memory", "copy" if n % 3 == 2 else "map")
        vm.expect("count")
        last = counts(before)[-1]
        vm.expect(rf"count {last + 2} good")
        assert counts(before + vm.out) == list(range(1, counts(before + vm.out)[-1] + 1))
    goes_on(vm, before, tmp_path / f"m{rounds}")


def generation_id(vm, ram):
    """As the guest finds it: RAM is a mapping of that file."""
    with open(f"/proc/{vm.process.pid}/maps") as maps:
        start = next(int(line.split("-")[0], 16) for line in maps if line.rstrip().endswith(str(ram)))
    with open(f"/proc/{vm.process.pid}/mem", "rb") as memory:
        memory.seek(start + GENERATION_ID)
        return memory.read(16)


@pytest.mark.long
def test_twenty_clones_at_once(run, mote, tmp_path):
    """Each has a name, a UUID, a network, a vsock and a generation ID of its own; every other one waits for cont."""
    ram, served = tmp_path / "ram", "modprobe vmw_vsock_virtio_transport; vsock-tool serve vsock:4294967295:5000 >/dev/null 2>&1 &\n"
    wires = [listener(tmp_path / f"w{n}") for n in range(21)]
    vm = run("-m", f"128,path={ram},share=on", "--monitor", tmp_path / "m", "--vsock", f"cid=100,path={tmp_path / 'v20'}",
             "-n", f"unix={tmp_path / 'w20'}", params=script(served + QUIET))
    vm.expect("count 2 good")
    s = Session(tmp_path / "m")
    s.command("stop")
    s.command("save", directory=str(tmp_path / "template"), type="template")
    time.sleep(1)
    before, ids = vm.out, {generation_id(vm, ram)}
    uuids = [str(uuid.uuid4()) for n in range(20)]
    clones = [mote("restore", tmp_path / "template", "--monitor", tmp_path / f"t{n}", "--id", f"clone-{n}", "--uuid", uuids[n], "--vsock",
                   f"cid={200 + n},path={tmp_path / f'v{n}'}", "--net", f"id=net0,unix={tmp_path / f'w{n}'}", *["--paused"] * (n % 2))
              for n in range(20)]
    sessions = [Session(tmp_path / f"t{n}") for n in range(20)]
    for n in range(1, 20, 2):
        assert not clones[n].out
        sessions[n].command("cont")
    streams = []
    for n, clone in enumerate(clones):
        assert sessions[n].command("query-name") == {"name": f"clone-{n}"}
        assert sessions[n].command("query-uuid") == {"UUID": uuids[n]}
        wires[n].accept()[0].close()
        ids.add(generation_id(clone, ram))
        streams.append(echoing(tmp_path / f"v{n}"))
    assert len(ids) == 21
    for n, stream in enumerate(streams):
        echo(stream, b"clone %d" % n)
        stream.close()
    for n, clone in enumerate(clones):
        goes_on(clone, before, tmp_path / f"t{n}")
    s.command("quit")
    assert vm.wait(60) == 0
    for wire in wires:
        wire.close()


def set_clock(offset):
    time.clock_settime(time.CLOCK_REALTIME, time.time() + offset)


@pytest.mark.skipif("MOTE_TEST_HOST" not in os.environ, reason="sets the clock: only where that is nobody else's")
def test_an_hour_later(run, mote, tmp_path):
    """Timers go on where they were, the guest's clocks do not jump, the clock chip shows the time."""
    g = Guest(run, tmp_path / "m", "-c", "2", "-m", "160")
    g.sh("(sleep 15; cut -d. -f1 /proc/uptime >/tmp/woke) & taskset -p 2 $! >/dev/null 2>&1; true")

    def clocks(guest):
        return [int(word) for word in guest.sh("cut -d. -f1 /proc/uptime; date +%s; cat /sys/class/rtc/rtc0/since_epoch").split()]

    up, date, chip = clocks(g)
    assert abs(chip - time.time()) < 10
    g.monitor.command("stop")
    g.monitor.command("save", directory=str(tmp_path / "saved"))
    g.monitor.command("quit")
    assert g.vm.wait() == 0
    set_clock(3600)
    try:
        h = Restored(mote, g, tmp_path / "saved", tmp_path / "m2")
        later = clocks(h)
        assert up <= later[0] < up + 60 and date <= later[1] < date + 60
        assert abs(later[2] - time.time()) < 10 and later[2] > chip + 3500
        h.wait_for("[ -s /tmp/woke ]")
        assert up + 10 <= int(h.sh("cat /tmp/woke")) < up + 40
        h.monitor.command("quit")
        assert h.vm.wait() == 0
    finally:
        set_clock(-3600)
