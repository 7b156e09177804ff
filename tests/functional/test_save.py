# SPDX-License-Identifier: MIT
"""Saving a VM, and new VMs from what was saved."""

import os
import re
import shutil
import subprocess
import time

import pytest

from conftest import MOTE, script
from qmp import Session

# Counts, and looks every time whether 8 MiB of memory and a disk are what they were.
WORK = """
dd if=/dev/urandom of=/tmp/data bs=1M count=8 2>/dev/null
sum() { md5sum </tmp/data; dd if=/dev/vda bs=64k count=16 iflag=direct 2>/dev/null | md5sum; }
want=$(sum)
n=0
while true; do
    n=$((n+1))
    [ "$(sum)" = "$want" ] && echo "count $n good" || echo "count $n BAD"
done
"""


def counts(output):
    """The numbers that were printed; all of them good."""
    found = re.findall(rb"count (\d+) (good|BAD)\r?\n", output)
    assert all(word == b"good" for _, word in found), output
    return [int(number) for number, _ in found]


@pytest.fixture
def disk(tmp_path):
    path = tmp_path / "disk"
    path.write_bytes(os.urandom(2 << 20))
    return path


def goes_on(vm, before, socket):
    """What the VM prints is, to the byte, the end of what was begun before the save; then it is ended."""
    vm.expect(rf"count {counts(before)[-1] + 3} good\r?\n")
    numbers = counts(before + vm.out)
    assert numbers == list(range(1, numbers[-1] + 1)), vm.transcript()
    Session(socket).command("quit")
    assert vm.wait(60) == 0, vm.transcript()


def refused(*args):
    done = subprocess.run([MOTE, "restore", *map(str, args)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2, (args, done.stderr)
    return done.stderr


def test_a_saved_vm_goes_on_as_if_nothing_had_been(run, mote, tmp_path, disk):
    saved = tmp_path / "saved"
    vm = run("-c", "2", "-m", "192", "-d", f"{disk},readonly=on", "--monitor", tmp_path / "m", params=script(WORK))
    vm.expect("count 2 good")
    s = Session(tmp_path / "m")
    assert s.reply("save", directory=str(saved))["error"]["class"] == "InvalidState"
    s.command("stop")
    assert s.command("save", directory=str(saved)) == {}
    assert s.command("query-status")["status"] == "paused"
    last = counts(vm.out)[-1]
    assert sorted(os.listdir(saved)) == ["config.json", "memory", "state"]
    assert (saved / "memory").stat().st_size == 192 << 20
    assert (saved / "memory").stat().st_blocks * 512 < 150 << 20

    # The original goes on, and a second save of it takes the first one's place.
    s.command("cont")
    vm.expect(rf"count {last + 2} good")
    s.command("stop")
    s.command("save", directory=str(saved), type="full")
    s.command("quit")
    assert vm.wait(60) == 0
    before = vm.out
    assert set(os.listdir(tmp_path)) <= {"disk", "m", "saved"}

    # Two at once by mapping, one with a disk of its own; the third checks all memory.
    other = tmp_path / "other"
    shutil.copy(disk, other)
    clones = [mote("restore", saved, "--monitor", tmp_path / "c0", "--id", "first"),
              mote("restore", saved, "--monitor", tmp_path / "c1", "--disk", f"id=disk0,path={other}", "--paused")]
    first, second = Session(tmp_path / "c0"), Session(tmp_path / "c1")
    assert first.command("query-name") == {"name": "first"}
    assert second.command("query-status")["status"] == "paused"
    assert not clones[1].out
    second.command("cont")
    for number, clone in enumerate(clones):
        goes_on(clone, before, tmp_path / f"c{number}")
    copied = mote("restore", saved, "--memory", "copy", "--monitor", tmp_path / "c2")
    goes_on(copied, before, tmp_path / "c2")

    # A clone can be saved, and a reset boots it anew.
    again = mote("restore", saved / "state", "--monitor", tmp_path / "c3", "--paused")
    s = Session(tmp_path / "c3")
    s.command("save", directory=str(tmp_path / "again"))
    s.command("system_reset")
    s.command("cont")
    again.expect("count 1 good")
    s.command("quit")
    assert again.wait(60) == 0, again.transcript()
    assert "diskX" in refused(tmp_path / "again", "--disk", "id=diskX,path=/nothing")
    damaged(saved, disk)


def test_clones_share_a_template(run, mote, tmp_path):
    ram, saved = tmp_path / "ram", tmp_path / "template"
    vm = run("-m", f"128,path={ram},share=on", "--monitor", tmp_path / "m", params=script(WORK.replace("dd if=/dev/vda", "true")))
    vm.expect("count 2 good")
    s = Session(tmp_path / "m")
    s.command("stop")
    error = s.reply("save", directory=str(saved), type="template", memory_path=str(tmp_path / "x"))["error"]
    assert error["class"] == "InvalidConfig" and "memory-path" in error["desc"]
    s.command("save", directory=str(saved), type="template")
    assert sorted(os.listdir(saved)) == ["config.json", "state"]
    for refusal in ("cont", "system_reset"):
        assert s.reply(refusal)["error"]["class"] == "InvalidState"
    time.sleep(1)
    before = vm.out
    content = ram.stat().st_mtime_ns, subprocess.run(["md5sum", ram], capture_output=True).stdout
    clones = [mote("restore", saved, "--monitor", tmp_path / f"t{n}", "--memory", "map" if n < 3 else "copy") for n in range(4)]
    for number, clone in enumerate(clones):
        goes_on(clone, before, tmp_path / f"t{number}")
    assert content == (ram.stat().st_mtime_ns, subprocess.run(["md5sum", ram], capture_output=True).stdout)
    s.command("quit")
    assert vm.wait(60) == 0


def test_clones_seed_their_random_numbers_anew(run, mote, tmp_path):
    """Each for itself: the guest is notified that it is another one now, and two of them do not have the same numbers."""
    text = """n=0; while true; do n=$((n+1)); echo "round $n: $(dmesg | grep -c 'virtual machine fork') $(head -c 16 /dev/urandom | md5sum)"
        sleep 1; done"""
    vm = run("-m", "256", "--monitor", tmp_path / "m", params=script(text), kernel_name="generic")
    vm.expect("round 1: 0")
    s = Session(tmp_path / "m")
    s.command("stop")
    s.command("save", directory=str(tmp_path / "saved"))
    s.command("quit")
    assert vm.wait(60) == 0
    clones = [mote("restore", tmp_path / "saved", "--monitor", tmp_path / f"c{n}") for n in range(2)]
    numbers = [clone.expect(r"round \d+: 1 ([0-9a-f]{32})").group(1) for clone in clones]
    assert numbers[0] != numbers[1]
    for n, clone in enumerate(clones):
        Session(tmp_path / f"c{n}").command("quit")
        assert clone.wait(60) == 0


def damaged(saved, disk):
    """Each thing that can be wrong is named, and nothing is started."""
    state = (saved / "state").read_bytes()
    for at in range(0, len(state), len(state) // 23):
        (saved / "state").write_bytes(state[:at] + bytes([state[at] ^ 0x10]) + state[at + 1:])
        assert "section" in refused(saved)
    (saved / "state").write_bytes(state[:-1])
    assert "truncated" in refused(saved)
    (saved / "state").write_bytes(state[:8] + b"\x63" + state[9:])
    assert "version 99" in refused(saved)
    (saved / "state").write_bytes(state[:12] + b"\xb7" + state[13:])
    assert "architecture" in refused(saved)
    (saved / "state").write_bytes(b"")
    refused(saved)
    (saved / "state").write_bytes(state)
    config = (saved / "config.json").read_bytes()
    (saved / "config.json").write_bytes(config.replace(b"192", b"256"))
    assert "config.json" in refused(saved)
    (saved / "config.json").write_bytes(config)
    os.truncate(disk, 1 << 20)
    assert "disk0" in refused(saved)
    os.unlink(disk)
    assert str(disk) in refused(saved)
    disk.write_bytes(bytes(2 << 20))
    with open(saved / "memory", "r+b") as f:
        f.seek(0x100000)
        f.write(b"damage")
    assert "memory" in refused(saved, "--memory", "copy")
    os.truncate(saved / "memory", 64 << 20)
    assert "memory" in refused(saved)
