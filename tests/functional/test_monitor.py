# SPDX-License-Identifier: MIT
"""The monitor socket as scripts and runtimes use it, and mote ctl."""

import json
import os
import signal
import socket
import subprocess
import threading
import time

import pytest

from conftest import MOTE
from qmp import Session


@pytest.fixture
def idle(payload, mote, tmp_path):
    """A VM whose guest does nothing, with a monitor."""

    def start(*args):
        path = tmp_path / "monitor"
        vm = mote("run", "-k", payload("1: hlt; jmp 1b"), "--serial", "null", "--monitor", path, *args)
        return vm, path

    return start


def test_greeting_is_qemus(idle):
    _, path = idle()
    greeting = Session(path, negotiate=False).greeting["QMP"]
    assert set(greeting) == {"version", "capabilities"}
    assert greeting["version"]["package"].startswith("mote ")
    assert greeting["version"]["qemu"]["major"] >= 5
    assert all(isinstance(greeting["version"]["qemu"][key], int) for key in ("major", "minor", "micro"))


def test_commands_wait_for_negotiation(idle):
    _, path = idle()
    s = Session(path, negotiate=False)
    assert s.reply("query-status")["error"]["class"] == "CommandNotFound"
    assert s.command("qmp_capabilities") == {}
    assert s.command("query-status")["status"] == "running"
    assert s.reply("qmp_capabilities")["error"]["class"] == "CommandNotFound"


def test_queries(idle):
    _, path = idle("--id", "sandbox-1", "--uuid", "12345678-1234-4321-8765-123456789abc", "-c", "2")
    s = Session(path)
    assert s.command("query-name") == {"name": "sandbox-1"}
    assert s.command("query-uuid") == {"UUID": "12345678-1234-4321-8765-123456789abc"}
    assert s.command("query-kvm") == {"enabled": True, "present": True}
    names = {entry["name"] for entry in s.command("query-commands")}
    assert {"stop", "cont", "quit", "query-status", "system_powerdown", "system_reset", "wait", "terminate"} <= names
    cpus = s.command("query-cpus-fast")
    assert [cpu["cpu-index"] for cpu in cpus] == [0, 1]
    for cpu in cpus:
        with open(f"/proc/{cpu['thread-id']}/comm") as f:
            assert f.read().strip() == f"vcpu {cpu['cpu-index']}"


def ticks(pid):
    """The process's CPU time in clock ticks."""
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def test_stop_stops_the_vcpu_and_cont_lets_it_go_on(mote, payload, tmp_path):
    vm = mote("run", "-k", payload("1: jmp 1b"), "--serial", "null", "--monitor", tmp_path / "m")
    s = Session(tmp_path / "m")
    assert s.command("stop") == {}
    s.event("STOP")
    assert s.command("query-status") == {"status": "paused", "running": False}
    before = ticks(vm.process.pid)
    time.sleep(2)
    assert ticks(vm.process.pid) - before < 20
    assert s.command("cont") == {}
    s.event("RESUME")
    before = ticks(vm.process.pid)
    time.sleep(2)
    assert ticks(vm.process.pid) - before > 50
    for _ in range(20):
        s.command("stop")
        s.command("cont")
    assert s.command("quit") == {}
    assert s.event("SHUTDOWN")["data"] == {"guest": False, "reason": "host-qmp-quit"}
    assert vm.wait(60) == 0


def test_paused_start_runs_nothing_until_cont(mote, payload, tmp_path):
    vm = mote("run", "-k", payload("mov $9, %al; outb %al, $0xf4; 1: hlt; jmp 1b"), "--exit-port", "--serial", "null", "--paused",
              "--monitor", tmp_path / "m")
    s = Session(tmp_path / "m")
    time.sleep(1)
    assert s.command("query-status") == {"status": "prelaunch", "running": False}
    s.command("cont")
    assert vm.wait(60) == 64 + 9


@pytest.mark.parametrize("name", ("generic", "cloud"))
def test_powerdown_powers_off(run, tmp_path, name):
    vm = run("--monitor", tmp_path / "m", kernel_name=name, params="mote.test=hang")
    vm.expect("MOTE-READY")
    s = Session(tmp_path / "m")
    assert s.command("system_powerdown") == {}
    s.event("POWERDOWN")
    assert s.event("SHUTDOWN")["data"] == {"guest": True, "reason": "guest-shutdown"}
    assert vm.wait() == 0, vm.transcript()


def test_pause_and_go_on_while_linux_runs(run, tmp_path):
    vm = run("-c", "2", "--monitor", tmp_path / "m", params="mote.test=shell", kernel_name="generic")
    vm.expect(r"# ")
    s = Session(tmp_path / "m")
    for i in range(5):
        s.command("stop")
        vm.send(f"echo number-$(({i}+100))\n")
        time.sleep(0.3)
        assert f"number-{i + 100}".encode() not in vm.out
        s.command("cont")
        vm.expect(f"number-{i + 100}")
    vm.send("exit\n")
    assert vm.wait() == 0


def test_reset_boots_again(run, tmp_path):
    vm = run("--monitor", tmp_path / "m", "-c", "2", params="mote.test=hang")
    first = vm.expect("MOTE-READY")
    s = Session(tmp_path / "m")
    assert s.command("system_reset") == {}
    assert s.event("RESET")["data"] == {"guest": False, "reason": "host-qmp-system-reset"}
    vm.expect("MOTE-READY", start=first.end())
    s.command("quit")
    assert vm.wait() == 0


def test_guest_reset_is_an_event(run, tmp_path):
    vm = run("--monitor", tmp_path / "m", params="mote.test=reboot")
    s = Session(tmp_path / "m")
    assert s.event("RESET")["data"] == {"guest": True, "reason": "guest-reset"}
    s.command("quit")
    assert vm.wait() == 0


def test_nmi_reaches_the_guest(run, tmp_path):
    vm = run("--monitor", tmp_path / "m", params="mote.test=shell", kernel_name="generic")
    vm.expect(r"# ")
    s = Session(tmp_path / "m")
    vm.send("grep NMI: /proc/interrupts; echo here\n")
    vm.expect("^here\r?$")
    s.command("inject-nmi")
    time.sleep(1)
    vm.send("dmesg | grep -i nmi\n")
    vm.expect("(?i)nmi received")
    s.command("quit")
    assert vm.wait() == 0


def test_panic_event_comes_before_shutdown(run, tmp_path):
    vm = run("--monitor", tmp_path / "m", kernel_name="generic", params="mote.test=panic")
    s = Session(tmp_path / "m")
    assert s.event("GUEST_PANICKED")["data"]["action"] == "poweroff"
    assert s.event("SHUTDOWN")["data"] == {"guest": True, "reason": "guest-panic"}
    assert vm.wait() == 3


def test_events_reach_all_sessions_and_errors_only_their_own(idle):
    _, path = idle()
    one, two = Session(path), Session(path)
    assert one.reply("stop", bogus=1)["error"]["class"] == "GenericError"
    assert "bogus" in one.reply("stop", bogus=1)["error"]["desc"]
    assert one.reply("no-such-command")["error"]["class"] == "CommandNotFound"
    one.command("stop")
    assert one.event("STOP")["timestamp"]["seconds"] > 0
    assert two.event("STOP")


def test_wait_has_many_waiters_and_time_outs(idle):
    vm, path = idle()
    waiters = [Session(path) for _ in range(3)]
    assert "error" in waiters[0].reply("wait", timeout_ms=200)
    for s in waiters:
        s.send(b'{"execute": "wait", "id": "w"}\n')
    killer = Session(path)
    killer.send(b'{"execute": "terminate", "id": "t"}\n')
    for s in waiters:
        while True:
            answer = s.read()
            if "event" not in answer:
                break
        assert answer["id"] == "w" and answer["return"]["kind"] == "terminated" and answer["return"]["code"] == 1
    assert vm.wait(60) == 1


def test_clients_that_leave_change_nothing(idle):
    vm, path = idle()
    for _ in range(50):
        s = Session(path)
        s.send(b'{"execute": "wait"')
        s.socket.close()
        s.file.close()
    assert Session(path).command("query-status")["running"] is True
    assert vm.process.poll() is None


def busy_client(path, number, rounds, failures, image):
    """Adds, looks, removes, pauses; every answer is its own."""
    try:
        s = Session(path)
        for i in range(rounds):
            s.command("device_add", driver="virtio-rng-pci", id=f"r{number}")
            assert s.command("query-pci")
            s.command("device_del", id=f"r{number}")
            added = s.command("disk-add", path=str(image), readonly=True)
            s.command("stop")
            s.command("query-block")
            s.command("cont")
            s.command("disk-remove", id=added["id"])
            while s.event("DEVICE_DELETED")["data"]["device"] != f"r{number}":
                pass
            assert s.command("query-status")["status"] in ("running", "paused")
    except Exception as e:  # pylint: disable=broad-except
        failures.append(repr(e))


def test_clients_at_once_while_the_guest_resets_itself(mote, payload, tmp_path):
    """Eight at work on a guest that starts and resets without end, others that die in the middle of a command."""
    image = tmp_path / "image"
    image.write_bytes(bytes(1 << 20))
    path = tmp_path / "m"
    vm = mote("run", "-k", payload("mov $6, %al; mov $0xcf9, %dx; outb %al, %dx; 1: hlt; jmp 1b"), "--serial", "null", "--monitor", path)
    watcher = Session(path)
    watcher.event("RESET")

    def held():
        """Not the threads for disks, which stay."""
        fds = f"/proc/{vm.process.pid}/fd"
        links = [os.readlink(f"{fds}/{fd}") for fd in os.listdir(fds)]
        return sum(link.startswith(("socket:", str(tmp_path))) for link in links), len(watcher.command("query-pci")[0]["devices"])

    before = held()
    failures = []
    clients = [threading.Thread(target=busy_client, args=(path, i, 3, failures, image)) for i in range(8)]
    for client in clients:
        client.start()
    while any(client.is_alive() for client in clients):
        dying = Session(path)
        dying.send(b'{"execute": "disk-remove", "arguments": {"path": "/nowhere"}}{"execute": "wait"}{"execute": "query-pc')
        dying.file.close()
        dying.socket.close()
        time.sleep(0.05)
    for client in clients:
        client.join()
    assert not failures
    # A waiter of the last command may still be there; what they had is not.
    for _ in range(100):
        if held() == before:
            break
        time.sleep(0.1)
    assert held() == before
    assert watcher.command("quit") == {}
    assert vm.wait(60) == 0


def test_client_that_does_not_read_stops_nobody(idle):
    vm, path = idle()
    deaf = Session(path)
    deaf.socket.setblocking(False)
    try:
        for _ in range(200000):
            deaf.socket.send(b'{"execute": "query-commands"}\n')
    except (BlockingIOError, BrokenPipeError, ConnectionResetError):
        pass
    assert Session(path).command("query-status")["running"] is True
    assert vm.process.poll() is None


def test_inherited_listening_socket(mote, payload, tmp_path):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "m"))
    listener.listen()
    fd = listener.fileno()
    os.set_inheritable(fd, True)
    vm = mote("run", "-k", payload("1: hlt; jmp 1b"), "--serial", "null", "--monitor", f"fd={fd}", pass_fds=(fd,))
    Session(tmp_path / "m").command("quit")
    assert vm.wait(60) == 0
    assert (tmp_path / "m").exists()  # what the caller made stays
    listener.close()


def test_socket_is_replaced_when_stale_and_refused_when_live(idle, mote, payload):
    vm, path = idle()
    Session(path)
    second = mote("run", "-k", payload("1: hlt; jmp 1b"), "--serial", "null", "--monitor", path)
    assert second.wait(60) != 0
    assert str(path) in second.reason()
    assert Session(path).command("query-status")["running"] is True
    vm.process.kill()
    vm.process.wait()
    assert path.exists()
    third = mote("run", "-k", payload("1: hlt; jmp 1b"), "--serial", "null", "--monitor", path)
    Session(path).command("quit")
    assert third.wait(60) == 0
    assert not path.exists()


def ctl_run(*words):
    return subprocess.run([MOTE, "ctl", *map(str, words)], capture_output=True, text=True, timeout=60)


def test_ctl_lists_runs_and_reports(idle):
    _, path = idle("--id", "x")
    Session(path)
    listing = ctl_run(path)
    assert listing.returncode == 0 and "query-status" in listing.stdout and "system_powerdown" in listing.stdout
    done = ctl_run(path, "query-name")
    assert done.returncode == 0 and json.loads(done.stdout) == {"name": "x"}
    wrong = ctl_run(path, "query-nmae")
    assert wrong.returncode == 1 and "query-name" in wrong.stderr
    argument = ctl_run(path, "stop", "foo=1")
    assert argument.returncode == 1 and "foo" in argument.stderr
    assert ctl_run(f"{path}.nowhere", "stop").returncode == 2


def test_ctl_follow_prints_events_until_the_end(idle):
    vm, path = idle()
    Session(path)
    follower = subprocess.Popen([MOTE, "ctl", path, "--follow"], stdout=subprocess.PIPE, text=True)
    time.sleep(1)
    assert ctl_run(path, "stop").returncode == 0
    assert ctl_run(path, "quit").returncode == 0
    out, _ = follower.communicate(timeout=60)
    assert follower.returncode == 0
    assert [json.loads(line)["event"] for line in out.splitlines()] == ["STOP", "SHUTDOWN"]
    assert vm.wait(60) == 0


def test_ctl_wait_gives_the_report(idle):
    vm, path = idle()
    Session(path)
    waiter = subprocess.Popen([MOTE, "ctl", path, "wait"], stdout=subprocess.PIPE, text=True)
    time.sleep(1)
    vm.process.send_signal(signal.SIGTERM)
    out, _ = waiter.communicate(timeout=60)
    assert waiter.returncode == 0
    assert json.loads(out)["kind"] == "quit"
