# SPDX-License-Identifier: MIT
"""Consoles: the user's terminal, sockets, files, slow and absent readers."""

import fcntl
import hashlib
import os
import re
import signal
import socket
import struct
import subprocess
import termios
import time

import pytest

from conftest import MOTE, initrd, kernel, script


def connect(path):
    for _ in range(100):
        try:
            s = socket.socket(socket.AF_UNIX)
            s.connect(str(path))
            return s
        except OSError:
            s.close()
            time.sleep(0.1)
    raise AssertionError(f"nobody listens on {path}")


def read_until(s, pattern, timeout=180):
    data = b""
    s.settimeout(timeout)
    while not re.search(pattern, data):
        more = s.recv(65536)
        assert more, data
        data += more
    return data


def test_shell_on_the_terminal(run):
    vm = run(terminal=True, params="mote.test=shell")
    vm.expect("MOTE-READY")
    vm.expect(r"# ")
    vm.send("echo $((6*7)) > /tmp/x; cat /tmp/x\n")
    vm.expect(r"^42\r?$")
    vm.send("exit\n")
    assert vm.wait() == 0, vm.transcript()


def test_ctrl_c_goes_to_the_guest(run):
    vm = run(terminal=True, params="mote.test=shell")
    vm.expect(r"# ")
    vm.send("sleep 1000\n")
    time.sleep(1)
    vm.send(b"\x03")
    vm.send("echo status $?\n")
    vm.expect(r"status 130")
    vm.send(b"\x01x")
    assert vm.wait() == 0


def test_escape_keys(run):
    vm = run(terminal=True, params="mote.test=shell")
    vm.expect(r"# ")
    vm.send(b"\x01h")
    vm.expect(r"Ctrl-a x", stream="err")
    vm.send(b"\x01s")
    vm.expect(r"running", stream="err")
    vm.send("stty -echo raw; dd bs=1 count=1 2>/dev/null | hexdump -e '\"<%02x>\"'; stty sane\n")
    time.sleep(2)
    vm.send(b"\x01\x01")
    vm.expect(r"<01>|<0*1>")
    vm.send(b"\x01x")
    assert vm.wait() == 0
    assert "Ctrl-a x" in vm.reason()


@pytest.mark.parametrize("end", ("key", "SIGTERM", "SIGKILL-free crash"))
def test_terminal_is_restored(payload, mote, end):
    image = payload("1: hlt; jmp 1b")
    vm = mote("run", "-k", image, terminal=True)
    for _ in range(100):
        if not termios.tcgetattr(vm.terminal)[3] & termios.ICANON:
            break
        time.sleep(0.05)
    else:
        raise AssertionError("the terminal did not become raw")
    # What it was is what a fresh pty is: canonical, echoing.
    if end == "key":
        vm.send(b"\x01x")
    else:
        vm.process.send_signal(signal.SIGTERM if end == "SIGTERM" else signal.SIGSEGV)
    status = vm.process.wait(60)
    assert status == (0 if end != "SIGKILL-free crash" else -signal.SIGSEGV)
    after = termios.tcgetattr(vm.terminal)
    assert after[3] & termios.ICANON and after[3] & termios.ECHO
    assert after[1] & termios.OPOST


def test_window_size_reaches_the_guest(run):
    vm = run("--serial", "null", "--console", "stdio", terminal=True, params="mote.test=shell")
    fcntl.ioctl(vm.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 101, 0, 0))
    vm.process.send_signal(signal.SIGWINCH)
    vm.expect(r"# ")
    vm.send("stty size\n")
    vm.expect(r"33 101")
    fcntl.ioctl(vm.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 44, 122, 0, 0))
    vm.process.send_signal(signal.SIGWINCH)
    time.sleep(2)
    vm.send("stty size\n")
    vm.expect(r"44 122")
    vm.send(b"\x01x")
    assert vm.wait() == 0


@pytest.mark.parametrize("device", (("--serial", "stdio"), ("--serial", "null", "--console", "stdio")), ids=("serial", "virtio"))
def test_paste_of_100_kb_loses_nothing(run, device):
    text = b"".join(b"%05d the quick brown fox jumps over the lazy dog\n" % i for i in range(2100))
    assert len(text) > 100000
    vm = run(*device, terminal=True, params="mote.test=shell")
    vm.expect(r"# ")
    vm.send("stty -echo; echo go; cat >/tmp/paste; stty echo; md5sum /tmp/paste\n")
    vm.expect(r"^go\r?$")
    time.sleep(1)
    vm.send(text)
    vm.send(b"\x04")
    vm.expect(hashlib.md5(text).hexdigest())
    vm.send(b"\x01x")
    assert vm.wait() == 0


@pytest.mark.parametrize("device", (("--serial", "stdio"), ("--serial", "null", "--console", "stdio")), ids=("serial", "virtio"))
def test_slow_reader_of_a_pipe_gets_everything(device):
    """The guest waits; nothing is lost, and the vCPU is not stuck meanwhile."""
    arguments = [str(MOTE), "run", "-k", kernel("cloud"), "-i", initrd("cloud"), *device,
                 "-p", "quiet " + script("seq 1 12500; echo END")]
    vm = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, pipesize=4096)
    out = b""
    while True:
        data = os.read(vm.stdout.fileno(), 4096)
        if not data:
            break
        out += data
        time.sleep(0.05)
    assert vm.wait() == 0
    numbers = [int(n) for n in re.findall(rb"^(\d+)\r?$", out, re.M)]
    assert numbers == list(range(1, 12501))


def test_serial_file_has_all_output(run, tmp_path):
    log = tmp_path / "serial.log"
    vm = run("--serial", f"file={log}", params=script("seq 1 5000; echo END"))
    assert vm.wait() == 0
    text = log.read_text()
    assert "MOTE-READY" in text
    assert [int(n) for n in re.findall(r"^(\d+)$", text, re.M)] == list(range(1, 5001))


def test_unix_serial_is_two_way_and_reconnectable(run, tmp_path):
    path = tmp_path / "console"
    vm = run("--serial", f"unix={path}", params="mote.test=shell")
    first = connect(path)
    read_until(first, rb"# ")
    first.sendall(b"echo one-$((1+1))\n")
    read_until(first, rb"one-2")
    first.close()
    second = connect(path)
    second.sendall(b"echo two-$((2+2))\n")
    read_until(second, rb"two-4")
    second.sendall(b"exit\n")
    assert vm.wait() == 0, vm.transcript()
    assert not path.exists()
    second.close()


def test_absent_reader_never_stalls_the_guest(run, tmp_path):
    """More than mote keeps, into a socket that nobody reads: the guest goes on and powers off."""
    vm = run("--serial", f"unix={tmp_path / 'console'}", params=script("seq 1 11500"))
    assert vm.wait() == 0, vm.transcript()


def test_pty_is_announced_and_works(run):
    vm = run("--serial", "pty", params="mote.test=shell")
    path = vm.expect(r"(/dev/pts/\d+)", stream="err").group(1).decode()
    fd = os.open(path, os.O_RDWR | os.O_NOCTTY)
    data = b""
    deadline = time.monotonic() + 180
    while b"# " not in data and time.monotonic() < deadline:
        data += os.read(fd, 4096)
    os.write(fd, b"echo pty-$((3+3))\n")
    while b"pty-6" not in data and time.monotonic() < deadline:
        data += os.read(fd, 4096)
    assert b"pty-6" in data
    os.write(fd, b"exit\n")
    assert vm.wait() == 0, vm.transcript()
    os.close(fd)


def test_both_consoles_at_once(run, tmp_path):
    path = tmp_path / "hvc"
    vm = run("--console", f"unix={path}", params="mote.test=shell")
    vm.expect(r"# ")
    s = connect(path)
    vm.send("echo over-hvc-$((4+4)) >/dev/hvc0\n")
    read_until(s, rb"over-hvc-8")
    vm.send("head -n1 /dev/hvc0 &\n")
    time.sleep(1)
    s.sendall(b"back-to-the-guest\n")
    vm.expect(r"back-to-the-guest")
    vm.send("exit\n")
    assert vm.wait() == 0
    s.close()


def test_stdin_at_its_end_is_no_reason_to_stop(run):
    vm = run(stdin=subprocess.DEVNULL, params=script("sleep 2; echo STILL-THERE"))
    assert vm.wait() == 0
    assert b"STILL-THERE" in vm.out


def test_console_null_and_serial_null_are_quiet(run):
    vm = run("--serial", "null", params="mote.test=poweroff")
    assert vm.wait() == 0
    assert vm.out == b""
