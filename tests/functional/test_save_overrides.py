# SPDX-License-Identifier: MIT
"""What a VM that is restored has of its own: every option of mote restore, and what it says where there is nothing to be had."""

import json
import os
import shutil
import socket

import pytest

from qmp import Session
from test_save_damage import WAITER

GENERATION_ID = 0xE0200  # vmm/layout_x86.h
UUID = "11111111-2222-3333-4444-555555555555"


def image(path):
    path.write_bytes(bytes(2 << 20))
    return path


def listener(path):
    s = socket.socket(socket.AF_UNIX)
    s.bind(str(path))
    s.listen()
    s.settimeout(30)
    return s


def generation_id(saved):
    with open(saved / "memory", "rb") as f:
        f.seek(GENERATION_ID)
        return f.read(16)


def opened(vm):
    """The files that it has open."""
    where = f"/proc/{vm.process.pid}/fd"
    return {os.readlink(f"{where}/{fd}") for fd in os.listdir(where)}


@pytest.fixture
def saved(mote, payload, tmp_path):
    """A VM that had one of everything, and printed a dot."""
    (tmp_path / "share").mkdir()
    wire = listener(tmp_path / "wire")
    vm = mote("run", "-k", payload(WAITER), "-m", "16", "--id", "first", "-d", image(tmp_path / "disk"), "--rootfs", image(tmp_path / "root"),
              "--pmem", image(tmp_path / "pmem"), "-n", f"unix={tmp_path / 'wire'}", "--vsock", f"cid=3,path={tmp_path / 'agent'}",
              "--9p", f"{tmp_path / 'share'},tag=srv", "--monitor", tmp_path / "m", "--exit-report", tmp_path / "report")
    vm.expect(r"\.")
    s = Session(tmp_path / "m")
    s.command("stop")
    s.command("save", directory=str(tmp_path / "saved"))
    uuid, mac = s.command("query-uuid"), s.command("properties", types=["nic"])["nic"][0]["mac"]
    s.command("quit")
    assert vm.wait(60) == 0
    wire.close()
    os.unlink(tmp_path / "report")
    return tmp_path / "saved", uuid, mac


def test_a_clone_has_what_it_is_given(mote, tmp_path, saved):
    directory, uuid, mac = saved
    own = tmp_path / "own"
    own.mkdir()
    for name in ("disk", "root", "pmem"):
        shutil.copy(tmp_path / name, own)
    (own / "share").mkdir()
    wire = listener(own / "wire")
    # None of the first one's is there any more: whatever is asked for by its old name would not be found.
    for name in ("disk", "root", "pmem", "share", "wire"):
        os.rename(tmp_path / name, tmp_path / f"{name}-away")
    options = ["--id", "clone", "--disk", f"id=disk0,path={own / 'disk'}", "--disk", f"{own / 'root'},id=rootfs",
               "--pmem", f"id=pmem0,path={own / 'pmem'}", "--net", f"id=net0,unix={own / 'wire'}", "--vsock", f"cid=4,path={own / 'agent'}",
               "--9p", f"tag=srv,path={own / 'share'}", "--serial", f"file={own / 'serial'}"]
    generations = [generation_id(directory)]
    for mode, more in (("map", []), ("copy", ["--uuid", UUID]), ("fault", ["--paused"])):
        vm = mote("restore", directory, "--memory", mode, *options, *more, "--monitor", own / "m", "--exit-report", own / "report")
        s = Session(own / "m")
        assert s.command("query-name") == {"name": "clone"}
        assert s.command("query-uuid") == ({"UUID": UUID} if "--uuid" in more else uuid)
        assert s.command("query-status")["status"] == ("paused" if "--paused" in more else "running")
        properties = s.command("properties")
        assert properties["nic"][0]["mac"] == mac
        assert {str(own / name) for name in ("disk", "root", "pmem", "share", "serial")} <= opened(vm), opened(vm)
        wire.accept()[0].close()
        agent = socket.socket(socket.AF_UNIX)
        agent.connect(str(own / "agent"))
        agent.close()
        assert not (own / "report").exists()
        # It is a VM like any other: it can be saved, with what it has now.
        s.reply("stop")
        s.command("save", directory=str(own / "again"))
        config = json.loads((own / "again" / "config.json").read_text())
        assert config["id"] == "clone" and config["vsock"] == {"cid": 4, "path": str(own / "agent")} and config["disks"][0]["path"] == str(own / "disk")
        generations.append(generation_id(own / "again"))
        s.command("quit")
        assert vm.wait(60) == 0 and not vm.out, vm.transcript()
        report = json.loads((own / "report").read_text())
        assert report["kind"] == "quit" and report["code"] == 0
        os.unlink(own / "report")
        assert not (own / "agent").exists() and not (own / "m").exists()
    assert len(set(generations)) == 4 and bytes(16) not in generations

    # The monitor's socket can be an inherited one.
    with listener(own / "given") as given:
        vm = mote("restore", directory, *options, "--monitor", f"fd={given.fileno()}", pass_fds=[given.fileno()])
        s = Session(own / "given")
        assert s.command("query-name") == {"name": "clone"}
        s.command("quit")
        assert vm.wait(60) == 0

    # What is not given is as it was, and so is not there; a half-made VM leaves nothing behind.
    for gone, path in (("disk0", "disk"), ("rootfs", "root"), ("pmem0", "pmem"), ("net0", "wire"), ("srv", "share")):
        rest = [words for words in zip(options[2::2], options[3::2]) if gone not in words[1]]
        refused_or_failed(mote, [directory, *sum(map(list, rest), []), "--monitor", own / "m"], str(tmp_path / path))
        assert not (own / "m").exists() and not (own / "agent").exists()
    wire.close()


def refused_or_failed(mote, words, says):
    vm = mote("restore", *words)
    assert vm.wait(60) in (1, 2), vm.transcript()
    assert says in vm.reason(), vm.transcript()


def test_what_was_not_saved_cannot_be_given(mote, payload, tmp_path):
    vm = mote("run", "-k", payload(WAITER), "-m", "16", "-d", image(tmp_path / "disk"), "--monitor", tmp_path / "m")
    vm.expect(r"\.")
    s = Session(tmp_path / "m")
    s.command("stop")
    s.command("save", directory=str(tmp_path / "saved"))
    s.command("quit")
    assert vm.wait(60) == 0
    (tmp_path / "share").mkdir()
    for words, says in ((["--vsock", f"cid=3,path={tmp_path / 'v'}"], "vsock"), (["--console", "null"], "console"),
                        (["--net", f"unix={tmp_path / 'w'},id=net0"], "'net0'"), (["--pmem", f"{tmp_path / 'disk'},id=pmem0"], "pmem0"),
                        (["--9p", f"{tmp_path / 'share'},tag=x"], "'x'"), (["--disk", f"id=disk0,path={tmp_path / 'none'}"], str(tmp_path / "none")),
                        (["--disk", f"id=disk0,path={tmp_path / 'disk'},ro"], "readonly"), (["-m", "512M"], "'512M'"), (["-c", "2"], "--cpus"),
                        (["--uuid", "1"], "--uuid"), (["--serial", f"unix={tmp_path / 'no/such'}"], "no/such"),
                        (["--monitor", tmp_path / "no/such"], "no/such"), (["--memory", "lazy"], "'lazy'")):
        vm = mote("restore", tmp_path / "saved", *words)
        assert vm.wait(60) == 2 and not vm.out, (words, vm.transcript())
        assert says in vm.reason(), (words, vm.transcript())
        assert sorted(os.listdir(tmp_path)) == sorted(["disk", "payload1", "payload1.S", "saved", "share"])
