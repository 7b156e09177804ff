# SPDX-License-Identifier: MIT
"""dump-guest-memory: a core file of the guest."""

import os
import re
import struct
import subprocess

from conftest import script
from qmp import Session

MARK = b"a mark in the memory: %d"

WORK = f"""
mark=$(printf '{MARK.decode()}' 4711)
n=0
while true; do n=$((n+1)); echo "count $n"; sleep 0.2; done
"""


class Core:
    """What the file's headers say."""

    def __init__(self, path):
        self.data = path.read_bytes()
        assert self.data[:6] == b"\x7fELF\x02\x01"
        kind, machine, _, _, phoff, _, _, _, size, count = struct.unpack_from("<HHIQQQIHHH", self.data, 16)
        assert (kind, machine, size) == (4, 62, 56)
        headers = [struct.unpack_from("<IIQQQQQQ", self.data, phoff + i * size) for i in range(count)]
        assert [h[0] for h in headers] == [4] + [1] * (count - 1)
        self.loads = [(h[4], h[5]) for h in headers[1:]]
        self.notes = []
        at, end = headers[0][2], headers[0][2] + headers[0][5]
        while at < end:
            namesz, descsz, kind = struct.unpack_from("<III", self.data, at)
            name = self.data[at + 12:at + 12 + namesz - 1].decode()
            at += 12 + (namesz + 3) // 4 * 4
            self.notes.append((name, kind, self.data[at:at + descsz]))
            at += (descsz + 3) // 4 * 4


def gdb_registers(path):
    done = subprocess.run(["gdb", "-nx", "-batch", "-ex", "info threads", "-ex", "thread 1", "-ex", "info registers", "-c", path],
                          capture_output=True, text=True, timeout=120)
    assert "rip" in done.stdout, done.stdout + done.stderr
    return done.stdout, dict(re.findall(r"^(\w+)\s+(0x[0-9a-f]+)", done.stdout, re.M))


def test_a_dump_is_a_core_that_gdb_opens(run, tmp_path):
    core = tmp_path / "core"
    vm = run("-m", "160", "-c", "2", "--monitor", tmp_path / "m", params=script(WORK))
    vm.expect("count 2")
    s = Session(tmp_path / "m")
    assert s.reply("dump-guest-memory", paging=False, protocol=f"file:{tmp_path}/none/x")["error"]["class"] == "GenericError"

    # A running VM is paused meanwhile, and goes on.
    assert s.command("dump-guest-memory", paging=False, protocol=f"file:{core}") == {}
    assert [e["event"] for e in s.events] == ["STOP", "RESUME", "DUMP_COMPLETED"]
    result = s.events[2]["data"]["result"]
    assert result == {"status": "completed", "completed": 160 << 20, "total": 160 << 20}
    assert core.stat().st_blocks * 512 < 140 << 20
    c = Core(core)
    assert c.loads == [(0, 160 << 20)]
    assert [(name, kind, len(desc)) for name, kind, desc in c.notes] == [("CORE", 1, 336), ("QEMU", 0, 440)] * 2
    assert MARK % 4711 in c.data
    threads, registers = gdb_registers(core)
    assert "Thread" in threads or "LWP 2" in threads, threads
    rip, = struct.unpack_from("<Q", c.notes[0][2], 112 + 16 * 8)
    assert int(registers["rip"], 16) == rip
    vm.expect("count 4", start=len(vm.out))

    # What cannot be is known before a file is emptied.
    size = core.stat().st_size
    assert "no guest memory" in s.reply("dump-guest-memory", paging=False, protocol=f"file:{core}", begin=1 << 40, length=4096)["error"]["desc"]
    assert core.stat().st_size == size

    # A part, to a descriptor, without waiting; a paused VM stays paused.
    s.command("stop")
    s.events.clear()
    s.getfd("out", os.open(tmp_path / "part", os.O_CREAT | os.O_RDWR))
    assert s.command("dump-guest-memory", paging=False, protocol="fd:out", detach=True, begin=1 << 20, length=1 << 20) == {}
    s.event("DUMP_COMPLETED")
    assert s.command("query-dump") == {"status": "completed", "completed": 1 << 20, "total": 1 << 20}
    assert s.command("query-status")["status"] == "paused"
    assert Core(tmp_path / "part").loads == [(1 << 20, 1 << 20)]

    # A file that takes nothing is the command's error.
    full = s.reply("dump-guest-memory", paging=False, protocol="file:/dev/full")["error"]
    assert "No space" in full["desc"]
    assert s.command("query-dump")["status"] == "failed"
    s.command("quit")
    assert vm.wait(60) == 0
