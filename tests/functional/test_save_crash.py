# SPDX-License-Identifier: MIT
"""Saves that do not come to their end: killed, or out of room. The old one is whole, and nothing of the new one stays for good."""

import os
import random
import signal
import subprocess
import time

import pytest

from qmp import Session

# Counts in memory, all over 24 MiB of it, and says so on the serial port now and then; tells a write that was lost.
COUNTER = """
    xor %ebp, %ebp
1:  inc %ebp
    mov $0x400000, %edi
2:  mov (%edi), %eax
    inc %eax
    cmp %ebp, %eax
    jne bad
    mov %eax, (%edi)
    add $4096, %edi
    cmp $0x1c00000, %edi
    jb 2b
    test $0x3, %ebp
    jnz 1b
    mov $'.', %al
    mov $0x3f8, %dx
    out %al, %dx
    jmp 1b
bad: mov $7, %al
    mov $0xf4, %dx
    out %al, %dx
    hlt
"""


def check(mote, tmp_path, saved, *args):
    """It goes on, and nothing of its memory is of another time."""
    clone = mote("restore", saved, "--memory", "copy", "--monitor", tmp_path / "check", *args)
    clone.expect(r"\.\.\.", timeout=60)
    Session(tmp_path / "check").command("quit")
    assert clone.wait(60) == 0, clone.transcript()


def save_and_kill(vm, session, delay, arguments):
    """Pauses it, begins to save, and kills it after a while."""
    text = ", ".join(f'"{name}": "{value}"' for name, value in arguments.items())
    session.command("stop")
    session.send(b'{"execute": "save", "arguments": {%s}}\n' % text.encode())
    time.sleep(delay)
    vm.process.send_signal(signal.SIGKILL)
    vm.wait(60)


def disk(path, mib, *options):
    with open(path, "wb") as f:
        f.truncate(mib << 20)
    subprocess.run(["/sbin/mke2fs", "-q", "-F", "-t", "ext4", *options, path], check=True)


KINDS = ("directory", "places", "diff")


@pytest.mark.parametrize("kind, rounds", [("directory", 4), ("places", 4)] + [pytest.param(kind, 40, marks=pytest.mark.long) for kind in KINDS])
def test_a_killed_save_leaves_the_old_one_whole(mote, payload, tmp_path, kind, rounds):
    image = payload(COUNTER)
    where = tmp_path / "where"
    where.mkdir()
    state = where / "vm"
    arguments = {"state-path": str(state), "memory-path": str(where / "ram")} if kind == "places" else {"directory": str(state)}

    def begin(saved=None):
        what = ["restore", saved] if saved else ["run", "-k", image, "-m", "32", "--exit-port"]
        vm = mote(*what, "--monitor", tmp_path / "m")
        vm.expect(r"\.\.\.")
        return vm, Session(tmp_path / "m")

    vm, session = begin()
    base = None
    if kind == "diff":
        # All are diffs of one save, by VMs that were restored from it.
        base = tmp_path / "base"
        arguments.update(type="diff", base=str(base))
        session.command("stop")
        session.command("save", directory=str(base))
        session.command("quit")
        assert vm.wait(60) == 0
        vm, session = begin(base)
    since = time.monotonic()
    session.command("stop")
    session.command("save", **arguments)
    took = time.monotonic() - since
    random.seed(os.environ.get("MOTE_SEED", "1"))
    for _ in range(rounds):
        session.command("cont")
        time.sleep(0.1)
        save_and_kill(vm, session, random.uniform(0, took * 1.2), arguments)
        check(mote, tmp_path, state)
        vm, session = begin(base)
    # The next save clears away what the dead have left.
    session.command("stop")
    session.command("save", **arguments)
    assert sorted(name.split(".")[0] for name in os.listdir(where)) == (["ram", "vm"] if kind == "places" else ["vm"])
    session.command("quit")
    assert vm.wait(60) == 0
    check(mote, tmp_path, state)


@pytest.mark.parametrize("kind", ("tmpfs", "ext4"))
def test_a_full_disk_leaves_the_old_save_whole(mote, payload, tmp_path, kind):
    small = tmp_path / "small"
    small.mkdir()
    # Room for one save, not for two.
    if kind == "tmpfs":
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "none", small], check=True)
    else:
        disk(tmp_path / "ext4", 48, "-m", "0", "-O", "^has_journal")
        subprocess.run(["mount", "-o", "loop", tmp_path / "ext4", small], check=True)
    try:
        vm = mote("run", "-k", payload(COUNTER), "-m", "32", "--exit-port", "--monitor", tmp_path / "m")
        vm.expect(r"\.\.\.")
        session = Session(tmp_path / "m")
        session.command("stop")
        session.command("save", directory=str(small / "vm"))
        before = {name: (small / "vm" / name).read_bytes() for name in os.listdir(small / "vm")}
        there = sorted(os.listdir(small))
        session.command("cont")
        vm.expect(r"\.\.\.", start=len(vm.out))
        session.command("stop")
        for arguments in ({"directory": small / "vm"}, {"directory": small / "new"},
                          {"state-path": small / "state", "memory-path": small / "ram"}):
            reply = session.reply("save", **{name: str(value) for name, value in arguments.items()})
            assert "No space left" in reply["error"]["desc"], reply
            assert sorted(os.listdir(small)) == there
            assert before == {name: (small / "vm" / name).read_bytes() for name in os.listdir(small / "vm")}
        # The VM is none the worse, and what has changed since is not lost for a diff.
        session.command("cont")
        vm.expect(r"\.\.\.", start=len(vm.out))
        session.command("stop")
        session.command("save", directory=str(tmp_path / "diff"), type="diff", base=str(small / "vm"))
        session.command("quit")
        assert vm.wait(60) == 0
        check(mote, tmp_path, tmp_path / "diff")
        check(mote, tmp_path, small / "vm")
    finally:
        subprocess.run(["umount", "-l", small], check=True)
