# SPDX-License-Identifier: MIT
"""The command line as somebody at a terminal, and somebody who writes scripts, meets it."""

import json
import os
import re
import socket
import subprocess
import time

import pytest

from conftest import MOTE

PORT = "mov $7, %al; out %al, $0xf4; 1: jmp 1b"
TALK = "mov $2000, %ecx; 1: mov $0x3f8, %dx; mov $'x, %al; out %al, %dx; loop 1b; " + PORT
SPIN = "1: jmp 1b"


def shell(command, *args, **kwargs):
    """A line of shell, in which $0 is mote and $1 and so on are args; (status, stdout, stderr)."""
    done = subprocess.run(["bash", "-c", command, str(MOTE), *map(str, args)], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=60, **kwargs)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("words", ["help", "--help", "-h"])
def test_help_is_the_overview(words):
    status, out, err = shell(f"$0 {words}")
    assert status == 0 and "mote run" in out and "mote ctl" in out and err == ""


@pytest.mark.parametrize("words", ["help run", "run --help", "run -h", "run -k x --help"])
def test_help_run_lists_the_options(words):
    status, out, err = shell(f"$0 {words}")
    assert status == 0 and "--kernel" in out and "Exit status" in out and err == ""


@pytest.mark.parametrize("words", ["help ctl", "ctl --help", "ctl -h"])
def test_help_ctl_tells_its_options(words):
    status, out, err = shell(f"$0 {words}")
    assert status == 0 and "--follow" in out and err == ""


@pytest.mark.parametrize("words", ["version", "--version", "-V"])
def test_version_is_one_line(words):
    status, out, err = shell(f"$0 {words}")
    assert status == 0 and out.startswith("mote ") and out.count("\n") == 1 and err == ""


@pytest.mark.parametrize("words,named", [
    ("", "mote run"),
    ("rnu", "did you mean 'run'"),
    ("-k bzImage", "did you mean 'run'"),
    ("restore /no/such/dir", "/no/such/dir"),
    ("restore", "no directory"),
    ("merge /no/such/dir out", "/no/such/dir"),
    ("merge", "DIR... OUT"),
    ("help rnu", "did you mean 'run'"),
    ("run -nographic", "'--serial'"),
    ("run -append x", "'--params'"),
    ("run $'-m512M\\n\\e[31m'", "512M??[31m"),
    ("$'r\\e[31m'", "'r?[31m'"),
    ("ctl $'/nowhere\\e[31m'", "/nowhere?[31m"),
])
def test_wrong_words_are_explained(words, named):
    status, out, err = shell(f"$0 {words}")
    assert status == 2 and named in err and out == ""


def test_output_that_does_not_arrive_is_a_failure():
    for words in ("version", "help run", "run -k x --print-config"):
        assert shell(f"$0 {words} >/dev/full")[0] == 1, words
        assert shell(f"$0 {words} >&-")[0] in (0, 1), words
        assert shell(f"$0 {words} | head -n 1; exit ${{PIPESTATUS[1]}}")[0] == 0, words


def test_print_config_is_taken_back(tmp_path):
    status, first, _ = shell("$0 run -k k -i a -m 1G -c 4,threads=2 -d x,,y,ro,id=z --monitor 'a,,b' --serial file=s -p q "
                             "--cpu host,-avx --rng off --print-config")
    assert status == 0
    (tmp_path / "c").write_text(first)
    assert shell("$0 run --config $1 --print-config", tmp_path / "c") == (0, first, "")
    assert shell("$0 run --print-config --config <(cat $1)", tmp_path / "c") == (0, first, "")


@pytest.mark.parametrize("option", [
    "-d DIR", "-d FILE", "-d /nowhere/disk", "-d /dev/null", "--rootfs DIR", "--serial file=DIR", "--serial file=/nowhere/x",
    "--console unix=FILE", "--monitor FILE", "--monitor DIR", "--monitor /nowhere/x", "--monitor fd=1", "--rng source=DIR",
    "-m 512M,path=/nowhere/x", "--exit-report /nowhere/x", "--exit-report DIR", "--log info,file=/nowhere/x",
    "--kernel-cache FILE", "-i DIR",
])
def test_what_cannot_be_used_is_named_with_status_2(tmp_path, payload, option):
    image = payload(PORT)
    (tmp_path / "DIR").mkdir()
    (tmp_path / "FILE").touch()
    before = sorted(tmp_path.rglob("*"))
    status, out, err = shell(f"$0 run -k $1 --exit-port {option}", image, cwd=tmp_path)
    name = option.split()[1].split("=")[-1]
    assert status == 2 and out == "", (status, err)
    assert err.startswith("mote: ") and err.count("\n") == 1, err
    assert name in err, err
    assert sorted(tmp_path.rglob("*")) == before


def test_memory_beyond_the_address_width_is_explained(payload):
    with open("/proc/cpuinfo", encoding="ascii") as f:
        bits = int(re.search(r"address sizes\s*: (\d+) bits physical", f.read()).group(1))
    image = payload(PORT)
    status, _, err = shell(f"$0 run -k $1 --exit-port -m {min(1 << bits >> 30, 8 << 10)}G", image)
    if bits <= 43:
        assert status == 2 and f"{bits} physical address bits" in err, err
    else:  # --memory itself ends before that
        assert status == 71 or "--memory" in err and "KVM_SET" not in err, err
    status, _, err = shell("$0 run -k $1 --exit-port -m 8193G", image)
    assert status == 2 and "to 8T" in err, err


def test_huge_pages_that_are_not_there_are_explained(payload):
    with open("/proc/sys/vm/nr_hugepages", encoding="ascii") as f:
        assert int(f.read()) < 1024, "this test is for hosts without 2 GiB of huge pages"
    for share in "off", "on":
        status, _, err = shell(f"$0 run -k $1 --exit-port -m 2G,hugepages=on,share={share}", payload(PORT))
        assert status == 1 and "huge pages" in err and err.count("\n") == 1


def test_default_kernel_is_found_and_said(tmp_path, payload):
    image = payload(PORT)
    (tmp_path / "bzImage").mkdir()
    os.link(image, tmp_path / "vmlinux")
    status, _, err = shell("$0 run --exit-port", cwd=tmp_path)
    assert status == 71
    assert err.splitlines() == ["mote: kernel vmlinux", "mote: the guest wrote 7 to the exit port"]


@pytest.mark.parametrize("redirection,output", [
    ("<&-", 2000), (">&-", 0), ("2>&-", 2000), ("<&- >&- 2>&-", 0), ("</dev/full", 2000), (">/dev/full", 0),
    ("2>/dev/full", 2000),
])
def test_closed_and_full_standard_streams_do_no_harm(payload, redirection, output):
    status, out, _ = shell(f"$0 run -k $1 --exit-port {redirection}", payload(TALK))
    assert status == 71 and out == "x" * output


def test_ctl_without_stdout_does_not_write_into_the_monitor(tmp_path):
    """What is closed must not become the monitor's socket."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "m"))
    server.listen()
    client = subprocess.Popen(["bash", "-c", "exec $0 ctl $1 query-name >&-", MOTE, tmp_path / "m"])
    connection, _ = server.accept()
    connection.sendall(b'{"QMP": {"version": {}, "capabilities": []}}\r\n')
    assert b"qmp_capabilities" in connection.recv(4096)
    connection.sendall(b'{"return": {}}\r\n')
    assert b"query-name" in connection.recv(4096)
    connection.sendall(b'{"return": {"name": "x"}}\r\n')
    assert connection.recv(4096) == b""
    assert client.wait(10) == 0
    connection.close()
    server.close()


def test_reader_that_leaves_does_not_end_the_vm(payload):
    status, out, err = shell("$0 run -k $1 --exit-port | head -c 3; exit ${PIPESTATUS[0]}", payload(TALK))
    assert (status, out) == (71, "xxx") and err.endswith("exit port\n")


def test_exit_report_on_stdout_follows_the_output(tmp_path, payload):
    log = tmp_path / "log"
    status, _, _ = shell("$0 run -k $1 --exit-port --exit-report /dev/stdout >$2", payload(TALK), log)
    assert status == 71
    text = log.read_text()
    assert text.startswith("x" * 2000)
    assert json.loads(text[2000:])["code"] == 71
    assert shell("$0 run -k $1 --exit-port --exit-report /dev/null", payload(PORT))[0] == 71
    assert os.path.exists("/dev/null") and not os.path.isfile("/dev/null")


def test_paused_for_ever_is_warned_of(payload):
    status, _, err = shell("timeout -s INT 10 $0 run -k $1 --paused", payload(PORT))
    assert status == 124
    lines = err.splitlines()
    assert len(lines) == 2 and "--paused without --monitor" in lines[0] and "signal 2" in lines[1]


def test_crash_says_so_on_stderr(mote, payload, tmp_path):
    vm = mote("run", "-k", payload(SPIN), "--monitor", tmp_path / "m")
    while not (tmp_path / "m").exists():
        assert vm.process.poll() is None
        time.sleep(0.05)
    vm.process.send_signal(11)
    assert vm.wait() == -11
    assert vm.reason() == "mote: ended by a fatal signal"


def test_stopped_and_continued_process_runs_on(mote, payload, tmp_path, ctl):
    vm = mote("run", "-k", payload(SPIN), "--monitor", tmp_path / "m")
    while not (tmp_path / "m").exists():
        assert vm.process.poll() is None
        time.sleep(0.05)
    vm.process.send_signal(19)
    time.sleep(0.5)
    vm.process.send_signal(18)
    assert ctl(tmp_path / "m", "query-status")["running"]
    ctl(tmp_path / "m", "quit")
    assert vm.wait() == 0


def test_kvmtool_command_line_carries_over(tmp_path, payload):
    (tmp_path / "disk").write_bytes(bytes(1 << 20))
    status, _, err = shell("$0 run -k $1 -m 256 -c 2 -p 'quiet a=b' -d disk,ro -n none --rng --exit-port", payload(PORT),
                           cwd=tmp_path)
    assert status == 71, err
