# SPDX-License-Identifier: MIT
"""Whatever is wrong with a save is named, with exit status 2, before the guest runs; also when all checksums are right."""

import json
import os
import shutil
import struct
import subprocess
import time

import pytest

from conftest import MOTE
from qmp import Session

TABLE = []
for number in range(256):
    for _ in range(8):
        number = number >> 1 ^ (0x82F63B78 if number & 1 else 0)
    TABLE.append(number)

# As test_save_crash.py's, but it only waits.
WAITER = "mov $'.', %al; mov $0x3f8, %dx; out %al, %dx; 1: pause; jmp 1b"


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


class State:
    """A state file that can be changed; docs/SNAPSHOT.md."""

    def __init__(self, data):
        self.data = bytearray(data)

    def sections(self):
        """(tag, instance, number): (offset, bytes)"""
        found = {}
        for n in range(struct.unpack_from("<I", self.data, 16)[0]):
            tag, instance, _, offset, size = struct.unpack_from("<16sIIQQ", self.data, 40 + 48 * n)
            found[tag.rstrip(b"\0").decode(), instance, n] = offset, size
        return found

    def section(self, wanted):
        return next(place for (tag, _, _), place in self.sections().items() if tag == wanted)

    def sealed(self):
        """With all checksums right."""
        for (_, _, n), (offset, size) in self.sections().items():
            struct.pack_into("<I", self.data, 40 + 48 * n + 20, crc32c(self.data[offset:offset + size]))
        struct.pack_into("<I", self.data, 32, crc32c(self.data[40:40 + 48 * len(self.sections())]))
        struct.pack_into("<I", self.data, 36, crc32c(self.data[:36]))
        return self.data


@pytest.fixture
def saves(mote, payload, tmp_path):
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(1 << 20))
    vm = mote("run", "-k", payload(WAITER), "-m", "16", "-c", "2", "-d", disk, "--monitor", tmp_path / "m")
    vm.expect(r"\.")
    s = Session(tmp_path / "m")
    s.command("stop")
    s.command("save", directory=str(tmp_path / "full"))
    s.command("save", directory=str(tmp_path / "diff"), type="diff", base=str(tmp_path / "full"))
    s.command("quit")
    assert vm.wait(60) == 0
    return tmp_path


def refused(saved, *says, modes=("map", "copy", "fault")):
    for mode in modes:
        done = subprocess.run([MOTE, "restore", saved, "--memory", mode], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        assert done.returncode == 2 and not done.stdout, (mode, says, done)
        assert all(word in done.stderr for word in says), (mode, says, done.stderr)


def test_every_section_that_is_damaged_is_named(saves):
    for name in ("full", "diff"):
        path = saves / name / "state"
        good = path.read_bytes()
        for (tag, instance, _), (offset, size) in State(good).sections().items():
            for at in {offset, offset + size // 2, offset + size - 1}:
                path.write_bytes(good[:at] + bytes([good[at] ^ 0x40]) + good[at + 1:])
                refused(saves / name, f"section '{tag}'", "checksum", modes=("map",))
        for at, word in ((0, "not a saved VM"), (8, "version"), (12, "architecture"), (16, "header"), (24, "header"), (33, "header"), (41, "table")):
            path.write_bytes(good[:at] + bytes([good[at] ^ 0x40]) + good[at + 1:])
            refused(saves / name, word)
        for size in (0, 39, 40, len(good) // 2, len(good) - 1):
            path.write_bytes(good[:size])
            refused(saves / name, "header")
        path.write_bytes(good + b"\0")
        refused(saves / name, "header")
        path.write_bytes(good)
    # The diff's base is looked at as well.
    base = saves / "full" / "state"
    good = base.read_bytes()
    base.write_bytes(good[:-1])
    refused(saves / "diff", "full/state", "truncated")
    base.write_bytes(good)
    os.rename(saves / "full", saves / "gone")
    refused(saves / "diff", "its base is not there")


def test_files_that_do_not_fit_are_named(saves):
    full, disk = saves / "full", saves / "disk"
    memory = (full / "memory").read_bytes()
    os.truncate(full / "memory", 8 << 20)
    refused(full, "memory", "truncated")
    os.truncate(full / "memory", 17 << 20)
    refused(full, "memory")
    os.unlink(full / "memory")
    refused(full, "memory", "No such file")
    # One byte where a page is, one where none is.
    page = next(n for n in range(0, len(memory), 4096) if any(memory[n:n + 4096]))
    hole = next(n for n in range(0, len(memory), 4096) if not any(memory[n:n + 4096]))
    for at in (page, hole + 77):
        (full / "memory").write_bytes(memory[:at] + bytes([memory[at] ^ 1]) + memory[at + 1:])
        refused(full, "memory", "checksum", modes=("copy",))
    (full / "memory").write_bytes(memory)
    config = (full / "config.json").read_bytes()
    (full / "config.json").write_bytes(config.replace(b"16M", b"32M"))
    refused(full, "config.json")
    (full / "config.json").write_bytes(config)
    os.truncate(disk, 2 << 20)
    refused(full, "disk0")
    os.unlink(disk)
    refused(full, str(disk))


def test_a_page_that_cannot_be_read_ends_the_vm(mote, saves):
    """With --memory fault the file is looked at when the guest wants it; what is made up would be worse than the end."""
    vm = mote("restore", saves / "full", "--memory", "fault", "--paused", "--monitor", saves / "f", "--exit-report", saves / "report")
    s = Session(saves / "f")
    os.truncate(saves / "full" / "memory", 0)
    # Who only wants to read it is told, and the VM stays.
    assert "cannot be read" in s.reply("save", directory=str(saves / "new"))["error"]["desc"]
    assert "cannot be read" in s.reply("dump-guest-memory", paging=False, protocol=f"file:{saves}/core")["error"]["desc"]
    s.command("migrate", uri=f"file:{saves}/stream")
    for _ in range(600):
        info = s.command("query-migrate")
        if info["status"] in ("failed", "completed"):
            break
        time.sleep(0.1)
    assert info["status"] == "failed" and "cannot be read" in info["error-desc"]
    assert s.command("query-status")["status"] == "paused"
    assert not {"new", "core", "stream"} & set(os.listdir(saves))
    s.command("cont")
    assert vm.wait(60) == 4 and not vm.out, vm.transcript()
    assert "memory cannot be read" in vm.reason(), vm.transcript()
    assert json.loads((saves / "report").read_text())["code"] == 4


def test_what_is_impossible_is_named_with_all_checksums_right(saves):
    full = saves / "full"
    good = (full / "state").read_bytes()

    def changed(tag, at, form, value):
        state = State(good)
        struct.pack_into(form, state.data, state.section(tag)[0] + at, value)
        (full / "state").write_bytes(state.sealed())

    # Features that this CPU has not: all of leaf 7's second word.
    state = State(good)
    offset, size = state.section("cpu")
    count = struct.unpack_from("<I", good, offset + 8)[0]
    entries = [(offset + 12 + 28 * n, struct.unpack_from("<7I", good, offset + 12 + 28 * n)) for n in range(count)]
    at, _ = next((at, entry) for at, entry in entries if entry[:2] == (1, 0))
    struct.pack_into("<I", state.data, at + 20, 0xFFFFFFFF)
    (full / "state").write_bytes(state.sealed())
    refused(full, "CPU lacks", modes=("map",))
    # Another vendor.
    at, _ = next((at, entry) for at, entry in entries if entry[0] == 0)
    state = State(good)
    struct.pack_into("<I", state.data, at + 16, 0x12345678)
    (full / "state").write_bytes(state.sealed())
    refused(full, "vendor", modes=("map",))
    changed("cpu", 8, "<I", 0xFFFFFFFF)
    refused(full, "section 'cpu'", modes=("map",))
    # A memory map of another length, of no kind, with more room than there is.
    at = 4 + len("memory")
    for where, form, value in ((8, "<B", 3), (8, "<B", 2), (9, "<Q", 1 << 50), (9, "<Q", 8 << 20), (17, "<I", 0xFFFFFFFF), (0, "<Q", 128 << 20)):
        changed("memory", at + where, form, value)
        refused(full, "section '", modes=("map",))
    changed("device", 0, "<I", 0xFFFFFFFF)
    refused(full, "section 'device'", modes=("map",))
    changed("dimms", 0, "<I", 1)
    refused(full, "section 'dimms'", modes=("map",))
    changed("board", 0, "<B", 0)
    refused(full, "section 'board'", modes=("map",))
    for tag in ("vcpu", "machine", "board", "device"):
        state = State(good)
        (_, _, n), (_, size) = next(item for item in state.sections().items() if item[0][0] == tag)
        struct.pack_into("<16s", state.data, 40 + 48 * n, b"other")
        (full / "state").write_bytes(state.sealed())
        refused(full, "section '", modes=("map",))
    (full / "state").write_bytes(good)
    done = subprocess.run([MOTE, "restore", full, "--print-config"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    shutil.rmtree(full)


def flip(path):
    """A bit of the first page that there is."""
    with open(path, "r+b") as f:
        f.seek(os.lseek(f.fileno(), 0, os.SEEK_DATA))
        at = f.tell()
        byte = f.read(1)
        f.seek(at)
        f.write(bytes([byte[0] ^ 1]))


def test_what_is_wrong_in_a_chain_is_named(mote, payload, tmp_path):
    vm = mote("run", "-k", payload("1: incl 0x400000; jmp 1b"), "-m", "16", "--monitor", tmp_path / "m")
    s = Session(tmp_path / "m")
    saves = [tmp_path / f"save{n}" for n in range(5)]
    for n, saved in enumerate(saves):
        s.command("cont")
        time.sleep(0.3)  # so that the guest does something
        s.command("stop")
        s.command("save", directory=str(saved), **({"type": "diff", "base": str(saves[n - 1])} if n else {}))
    unknown = s.reply("save", directory=str(tmp_path / "x"), type="diff", base=str(tmp_path / "none"))
    assert unknown["error"]["class"] == "InvalidConfig" and "none" in unknown["error"]["desc"]
    s.command("quit")
    assert vm.wait(60) == 0
    other = mote("restore", saves[0], "--paused", "--monitor", tmp_path / "m2")
    s = Session(tmp_path / "m2")
    foreign = s.reply("save", directory=str(tmp_path / "x"), type="diff", base=str(saves[2]))
    assert foreign["error"]["class"] == "InvalidConfig" and "not one of" in foreign["error"]["desc"]
    s.command("quit")
    assert other.wait(60) == 0

    os.rename(saves[2], tmp_path / "away")
    refused(saves[4], "save2", "not there")
    shutil.copytree(saves[1], saves[2])
    refused(saves[4], "save2", "another save")
    shutil.rmtree(saves[2])
    os.rename(tmp_path / "away", saves[2])
    for n, modes in ((3, ("map", "copy")), (0, ("copy",))):
        flip(saves[n] / "memory")
        refused(saves[4], f"save{n}", "section 'memory'", "checksum", modes=modes)
        done = subprocess.run([MOTE, "merge", saves[4], tmp_path / "out"], capture_output=True, text=True, timeout=60)
        assert done.returncode == 2 and f"save{n}" in done.stderr, done.stderr
        assert not (tmp_path / "out").exists()
        flip(saves[n] / "memory")
    subprocess.run([MOTE, "merge", saves[4], tmp_path / "out"], check=True, timeout=60)


def test_a_chain_has_an_end(mote, payload, tmp_path):
    """What could not be restored is not saved; and the longest there is can be made one."""
    vm = mote("run", "-k", payload("1: incl 0x400000; jmp 1b"), "-m", "16", "--monitor", tmp_path / "m")
    s = Session(tmp_path / "m")
    s.command("stop")
    s.command("save", directory=str(tmp_path / "0"))
    for n in range(1, 64):
        s.command("cont")
        s.command("stop")
        s.command("save", directory=str(tmp_path / str(n)), type="diff", base=str(tmp_path / str(n - 1)))
    error = s.reply("save", directory=str(tmp_path / "64"), type="diff", base=str(tmp_path / "63"))["error"]
    assert error["class"] == "InvalidConfig" and "64" in error["desc"]
    assert not (tmp_path / "64").exists()
    s.command("quit")
    assert vm.wait(60) == 0
    subprocess.run([MOTE, "merge", tmp_path / "63", tmp_path / "all"], check=True, timeout=60)
    for saved in ("63", "all"):
        vm = mote("restore", tmp_path / saved, "--memory", "copy", "--monitor", tmp_path / "c")
        Session(tmp_path / "c").command("quit")
        assert vm.wait(60) == 0
