# SPDX-License-Identifier: MIT
"""Diff saves: small, exact, in chains that restore and merge; a save does not hold the monitor up."""

import os
import subprocess

import pytest

from conftest import MOTE, script
from qmp import Session
from test_save_crash import COUNTER, check

# Changes some memory and some of a disk each round, and checks all there is.
WORK = """
dd if=/dev/urandom of=/tmp/data bs=1M count=24 2>/dev/null
n=0
while true; do
    n=$((n+1))
    dd if=/dev/urandom of=/tmp/data bs=4k count=16 seek=$((n * 64 % 6000)) conv=notrunc 2>/dev/null
    sum=$(md5sum </tmp/data)
    dd if=/tmp/data of=/dev/vda bs=64k count=8 oflag=direct conv=notrunc 2>/dev/null
    echo 3 >/proc/sys/vm/drop_caches
    head -c 524288 /tmp/data | md5sum >/tmp/a
    dd if=/dev/vda bs=64k count=8 iflag=direct 2>/dev/null | md5sum >/tmp/b
    cmp -s /tmp/a /tmp/b && [ "$sum" = "$(md5sum </tmp/data)" ] && echo "count $n good" || echo "count $n BAD"
done
"""


def allocated(path):
    return path.stat().st_blocks * 512


def refused(*args):
    done = subprocess.run([MOTE, *map(str, args)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2, (args, done.stderr)
    return done.stderr


def goes_on(vm, last, socket):
    vm.expect(rf"count {last + 3} good")
    assert b"BAD" not in vm.out and f"count {last + 1} good".encode() in vm.out, vm.transcript()
    Session(socket).command("quit")
    assert vm.wait(60) == 0, vm.transcript()


@pytest.fixture
def disk(tmp_path):
    path = tmp_path / "disk"
    path.write_bytes(bytes(2 << 20))
    return path


def test_a_chain_of_diffs_restores_and_merges(run, mote, tmp_path, disk):
    vm = run("-c", "2", "-m", "192", "-d", disk, "--monitor", tmp_path / "m", params=script(WORK))
    vm.expect("count 2 good")
    s, saves, last = Session(tmp_path / "m"), [], 2
    for n in range(5):
        s.command("stop")
        path = tmp_path / f"save{n}"
        if n:
            assert s.reply("save", directory=str(path), type="diff")["error"]["class"] == "MissingParameter"
            s.command("save", directory=str(path), type="diff", base=str(saves[-1]))
            assert allocated(path / "memory") < 60 << 20
        else:
            s.command("save", directory=str(path))
            assert allocated(path / "memory") > 60 << 20
        saves.append(path)
        last = int(vm.out.split(b"count ")[-1].split()[0])
        if n == 4:
            break
        s.command("cont")
        vm.expect(f"count {last + 2} good")
    # One that is made of two at once; and nothing has changed since the last.
    s.command("save", directory=str(tmp_path / "two"), type="diff", base=str(saves[2]))
    s.command("save", directory=str(tmp_path / "none"), type="diff", base=str(saves[4]))
    assert allocated(tmp_path / "none" / "memory") < 1 << 20
    assert "itself" in s.reply("save", directory=str(saves[4]), type="diff", base=str(saves[4]))["error"]["desc"]
    s.command("quit")
    assert vm.wait(60) == 0
    image = disk.read_bytes()
    merged = tmp_path / "merged"
    assert "not what" in refused("merge", saves[0], saves[2], saves[4], merged)
    assert "not replaced" in refused("merge", saves[0], saves[1], saves[2])
    subprocess.run([MOTE, "merge", *map(str, saves), str(merged)], check=True, timeout=120)

    # All of them together have moved; the merged one needs nobody.
    moved = tmp_path / "moved"
    moved.mkdir()
    for path in (*saves, tmp_path / "two", tmp_path / "none"):
        path.rename(moved / path.name)
    for number, (path, mode) in enumerate(((moved / "save4", "map"), (moved / "save4", "copy"), (moved / "two", "fault"),
                                           (moved / "none", "copy"), (merged, "copy"))):
        disk.write_bytes(image)
        clone = mote("restore", path, "--memory", mode, "--monitor", tmp_path / f"c{number}")
        goes_on(clone, last, tmp_path / f"c{number}")


def test_a_clone_saves_what_it_has_changed(run, mote, tmp_path, disk):
    vm = run("-m", "192", "-d", disk, "--monitor", tmp_path / "m", params=script(WORK))
    vm.expect("count 2 good")
    s = Session(tmp_path / "m")
    s.command("stop")
    s.command("save", directory=str(tmp_path / "base"))
    s.command("quit")
    assert vm.wait(60) == 0
    clone = mote("restore", tmp_path / "base", "--monitor", tmp_path / "c")
    clone.expect("count 4 good")
    s = Session(tmp_path / "c")
    s.command("stop")
    s.command("save", directory=str(tmp_path / "diff"), type="diff", base=str(tmp_path / "base"))
    size = allocated(tmp_path / "diff" / "memory")
    assert 1 << 20 < size < 60 << 20
    last = int(clone.out.split(b"count ")[-1].split()[0])

    # Others are served while it is saved, and what would change the VM is not.
    other = Session(tmp_path / "c")
    s.send(b'{"execute": "save", "id": "long", "arguments": {"directory": "%s"}}\n' % bytes(tmp_path / "full"))
    assert other.command("query-status") == {"running": False, "status": "save-vm"}
    for command in ("cont", "system_reset"):
        reply = other.reply(command)
        assert reply["error"]["class"] == "InvalidState" and "save-vm" in reply["error"]["desc"]
    assert s.answer() == {"return": {}, "id": "long"}

    # The end of the VM does not wait for a save, and leaves nothing of it.
    s.send(b'{"execute": "save", "id": "late", "arguments": {"directory": "%s"}}\n' % bytes(tmp_path / "late"))
    other.command("query-status")
    other.command("quit")
    assert clone.wait(60) == 0
    assert not (tmp_path / ".late.saving").exists()
    image = disk.read_bytes()
    for number, name in enumerate(("diff", "full")):
        disk.write_bytes(image)
        again = mote("restore", tmp_path / name, "--monitor", tmp_path / f"d{number}")
        goes_on(again, last, tmp_path / f"d{number}")


def test_what_was_added_is_added_again(mote, payload, tmp_path):
    """To a guest that does not care: vCPUs, memory, DIMMs and a disk, some of it after the first save, some gone by the last."""
    mib = 1 << 20
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(mib))
    vm = mote("run", "-k", payload(COUNTER), "-m", "34,max=1G", "-c", "1,max=4", "--balloon", "--exit-port", "--monitor", tmp_path / "m")
    vm.expect(r"\.\.\.")
    s = Session(tmp_path / "m")

    def add(name):
        s.command("object-add", qom_type="memory-backend-ram", id=f"mem-{name}", size=128 * mib)
        s.command("device_add", driver="pc-dimm", id=name, memdev=f"mem-{name}")

    s.command("cpu-add", count=2)
    add("first")
    s.command("memory-set", size="512M", timeout_ms=10)
    s.command("disk-add", path=str(disk), controller=2, lun=5)
    s.command("stop")
    s.command("save", directory=str(tmp_path / "full"))
    s.command("cont")
    add("second")
    s.command("stop")
    s.command("save", directory=str(tmp_path / "diff"), type="diff", base=str(tmp_path / "full"))
    assert allocated(tmp_path / "diff" / "memory") < 40 * mib

    def all_there(session):
        return ([cpu["cpu-index"] for cpu in session.command("query-cpus-fast")], session.command("query-memory-devices"),
                session.command("query-pci"), session.reply("disk-add", path=str(disk))["error"]["desc"])

    there = all_there(s)
    assert len(there[0]) == 3 and "disk-2-5" in there[3]
    s.command("quit")
    assert vm.wait(60) == 0
    for number, mode in enumerate(("map", "copy")):
        clone = mote("restore", tmp_path / "diff", "--memory", mode, "--monitor", tmp_path / f"c{number}")
        clone.expect(r"\.\.\.")
        s = Session(tmp_path / f"c{number}")
        assert all_there(s) == there
        s.command("disk-remove", controller=2, lun=5, force=True, timeout_ms=1)
        s.command("stop")
        again = tmp_path / f"again{number}"
        s.command("save", directory=str(again), type="diff", base=str(tmp_path / "diff"))
        s.command("quit")
        assert clone.wait(60) == 0
        check(mote, tmp_path, again)
        clone = mote("restore", again, "--monitor", tmp_path / f"d{number}")
        s = Session(tmp_path / f"d{number}")
        start = len(clone.out)
        s.command("system_reset")
        clone.expect(r"\.\.\.", start=start)
        s.command("quit")
        assert clone.wait(60) == 0
