# SPDX-License-Identifier: MIT
"""Templates by a state file of their own, as runtimes have them, what is saved of their clones, and saves in the way of restores."""

import os
import shutil
import subprocess
import threading
import time

import pytest

from conftest import MOTE
from qmp import Session
from test_save_crash import COUNTER, check
from test_save_damage import refused


@pytest.fixture
def begin(mote, payload, tmp_path):
    """A VM that counts in memory, and tells what is not as it was."""

    def start(memory="32"):
        vm = mote("run", "-k", payload(COUNTER), "-m", memory, "--exit-port", "--monitor", tmp_path / "m")
        vm.expect(r"\.\.\.")
        return vm, Session(tmp_path / "m")

    return start


def go_on(mote, saved, monitor, mode):
    clone = mote("restore", saved, "--memory", mode, "--paused", "--monitor", monitor)
    s = Session(monitor)
    assert not clone.out and s.command("query-status")["status"] == "paused"
    s.command("cont")
    clone.expect(r"\.\.\.", timeout=60)
    return clone, s


def test_a_template_and_what_comes_of_it(mote, begin, tmp_path):
    ram, state = tmp_path / "ram", tmp_path / "state"
    vm, s = begin(f"32,path={ram},share=on")
    s.command("stop")
    s.command("save", state_path=str(state), type="template")
    content = ram.read_bytes()
    for number, mode in enumerate(("map", "copy", "fault")):
        clone, c = go_on(mote, state, tmp_path / f"c{number}", mode)
        if mode == "map":
            # What a clone saves is its own, whole or as what it has changed.
            c.command("stop")
            diff, full = tmp_path / "diff", tmp_path / "full"
            c.command("save", directory=str(diff), type="diff", base=str(state))
            c.command("save", directory=str(full))
            assert c.reply("save", directory=str(tmp_path / "none"), type="template")["error"]["class"] == "InvalidState"
        c.command("quit")
        assert clone.wait(60) == 0
    check(mote, tmp_path, full)
    clone, c = go_on(mote, diff, tmp_path / "d", "fault")
    c.command("quit")
    assert clone.wait(60) == 0
    subprocess.run([MOTE, "merge", state, diff, tmp_path / "merged"], check=True, timeout=60)
    for command in ("cont", "system_reset"):
        assert s.reply(command)["error"]["class"] == "InvalidState"
    # The template itself can still be saved, and quits; its memory is as it was.
    s.command("save", directory=str(tmp_path / "whole"))
    s.command("quit")
    assert vm.wait(60) == 0
    assert ram.read_bytes() == content
    os.truncate(ram, 16 << 20)
    refused(state, str(ram), "truncated")
    ram.unlink()
    refused(state, str(ram), "No such file")
    for saved in ("merged", "whole"):
        check(mote, tmp_path, tmp_path / saved)


@pytest.mark.long
def test_saves_and_restores_of_one_place(mote, begin, tmp_path):
    """Whoever restores while others save there gets one of the two saves, and keeps it when all has gone."""
    vm, s = begin()
    place = tmp_path / "place"
    s.command("stop")
    s.command("save", directory=str(place))
    done, saves = threading.Event(), 0

    def save_again():
        nonlocal saves
        while not done.is_set():
            s.command("cont")
            time.sleep(0.05)
            s.command("stop")
            s.command("save", directory=str(place))
            saves += 1

    saver = threading.Thread(target=save_again)
    saver.start()
    try:
        for number in range(4):
            clone, c = go_on(mote, place, tmp_path / f"c{number}", ("map", "fault")[number % 2])
            c.command("quit")
            assert clone.wait(60) == 0
    finally:
        done.set()
        saver.join(60)
    assert saves > 3
    clones = [mote("restore", place, "--memory", mode, "--paused", "--monitor", tmp_path / mode) for mode in ("map", "fault")]
    sessions = [Session(tmp_path / mode) for mode in ("map", "fault")]
    s.command("save", directory=str(place))
    shutil.rmtree(place)
    for clone, c in zip(clones, sessions):
        c.command("cont")
        clone.expect(r"\.\.\.", timeout=60)
        c.command("stop")
        c.command("save", directory=str(place))
        c.command("quit")
        assert clone.wait(60) == 0
        check(mote, tmp_path, place)
    s.command("quit")
    assert vm.wait(60) == 0


def test_a_vm_that_was_reset_is_saved(mote, payload, tmp_path):
    vm = mote("run", "-k", payload(COUNTER), "-m", "32", "--exit-port", "--paused", "--monitor", tmp_path / "m")
    s = Session(tmp_path / "m")
    error = s.reply("save", directory=str(tmp_path / "reset"))["error"]
    assert error["class"] == "InvalidState" and "prelaunch" in error["desc"]
    s.command("cont")
    vm.expect(r"\.\.\.")
    s.command("stop")
    s.command("system_reset")
    s.command("save", directory=str(tmp_path / "reset"))
    s.command("quit")
    assert vm.wait(60) == 0
    clone, c = go_on(mote, tmp_path / "reset", tmp_path / "c", "map")
    c.command("quit")
    assert clone.wait(60) == 0
