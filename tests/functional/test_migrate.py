# SPDX-License-Identifier: MIT
"""A VM goes to another process: migrate, migrate-incoming, and RAM that both share."""

import subprocess
import time

from conftest import script
from qmp import Session
from test_save import WORK, counts, goes_on

MEMORY_WORK = WORK.replace("dd if=/dev/vda", "true")
IGNORE = [{"capability": "x-ignore-shared", "state": True}]


def ended(s, *statuses):
    for _ in range(1200):
        info = s.command("query-migrate")
        if info.get("status") in statuses:
            return info
        time.sleep(0.1)
    raise AssertionError(info)


def state(s):
    return s.command("query-status")["status"]


def test_a_vm_goes_on_in_another_process(run, tmp_path):
    stream = tmp_path / "stream"
    options = ["-c", "2", "-m", "192", "--monitor"]
    vm = run(*options, tmp_path / "m", params=script(MEMORY_WORK))

    def another(name, *args):
        return run(*options, tmp_path / name, "--incoming", "defer", *args), Session(tmp_path / name)

    vm.expect("count 2 good")
    s = Session(tmp_path / "m")

    # What fails, or is cancelled, leaves it running.
    s.command("migrate", uri="exec:head -c 100000 >/dev/null; exit 3")
    assert "status 3" in ended(s, "failed")["error-desc"]
    s.command("migrate", uri="exec:sleep 4711 & wait")
    assert state(s) == "finish-migrate"
    assert s.reply("cont")["error"]["class"] == "InvalidState"
    s.command("migrate_cancel")
    ended(s, "cancelled")
    assert not subprocess.run(["pgrep", "-f", "sleep 4711"], capture_output=True).stdout
    assert state(s) == "running"
    vm.expect(rf"count {counts(vm.out)[-1] + 2} good")

    # Through a socket, to one that waits there.
    second, t = another("m2")
    assert state(t) == "inmigrate"
    t.command("migrate-incoming", uri=f"unix:{tmp_path}/s")
    s.events.clear()
    s.command("migrate", uri=f"unix:{tmp_path}/s")
    info = ended(s, "completed", "failed")
    assert info["status"] == "completed", info
    assert info["ram"]["total"] == 192 << 20 and info["ram"]["remaining"] == 0
    assert 10 << 20 < info["ram"]["transferred"] < 180 << 20
    assert state(s) == "postmigrate"
    told = [e["data"]["status"] for e in s.events if e["event"] == "MIGRATION"]
    assert told[0] == "setup" and told[-1] == "completed" and "active" in told
    assert ended(t, "completed", "failed")["status"] == "completed"
    second.expect(rf"count {counts(vm.out)[-1] + 2} good")
    s.command("quit")
    assert vm.wait(60) == 0
    before = vm.out

    # Paused, to a command; from there, and from a file, to two others.
    t.command("stop")
    t.command("migrate", uri=f"exec:cat >{stream}")
    assert ended(t, "completed", "failed")["status"] == "completed"
    damaged = tmp_path / "damaged"
    data = bytearray(stream.read_bytes())
    data[len(data) // 2] ^= 1
    damaged.write_bytes(data)
    third, u = another("m3")
    u.command("migrate-incoming", uri=f"file:{damaged}")
    assert "section 'memory'" in ended(u, "failed")["error-desc"]
    u.command("migrate-incoming", uri=f"exec:cat {stream}")
    assert ended(u, "completed", "failed")["status"] == "completed"
    # It was paused when it was sent.
    assert state(u) == "paused"
    u.command("cont")
    t.command("cont")
    for process, path, old in ((second, "m2", before), (third, "m3", before + second.out)):
        goes_on(process, old, tmp_path / path)

    other, u = another("m4", "-d", f"{damaged},ro")
    u.command("migrate-incoming", uri=f"file:{stream}")
    assert "rng" in ended(u, "failed")["error-desc"]
    assert state(u) == "inmigrate"
    u.command("quit")
    assert other.wait(60) == 0


def test_clones_of_a_template_as_kata_makes_them(run, tmp_path):
    ram, stream = tmp_path / "ram", tmp_path / "stream"
    vm = run("-m", f"128,path={ram},share=on", "--monitor", tmp_path / "m", params=script(MEMORY_WORK))
    vm.expect("count 2 good")
    s = Session(tmp_path / "m")
    s.command("stop")
    error = s.reply("migrate-set-capabilities", capabilities=[{"capability": "none", "state": True}])["error"]
    assert "none" in error["desc"]
    s.command("migrate-set-capabilities", capabilities=IGNORE)
    s.command("migrate", uri=f"exec:cat>{stream}")
    assert ended(s, "completed", "failed")["status"] == "completed"
    assert stream.stat().st_size < 1 << 20
    assert s.reply("cont")["error"]["class"] == "InvalidState"
    s.command("quit")
    assert vm.wait(60) == 0
    before = vm.out
    content = subprocess.run(["md5sum", ram], capture_output=True).stdout

    clones = [run("-m", f"128,path={ram}", "--monitor", tmp_path / f"c{n}", "--incoming", "defer", "--paused") for n in range(2)]
    for n, clone in enumerate(clones):
        c = Session(tmp_path / f"c{n}")
        c.command("migrate-set-capabilities", capabilities=IGNORE)
        c.command("migrate-incoming", uri=f"exec:cat {stream}")
        assert ended(c, "completed", "failed")["status"] == "completed"
        assert state(c) == "paused"
        c.command("cont")
    for n, clone in enumerate(clones):
        goes_on(clone, before, tmp_path / f"c{n}")
    assert content == subprocess.run(["md5sum", ram], capture_output=True).stdout
