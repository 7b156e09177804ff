# SPDX-License-Identifier: MIT
"""Functional tests: mote as a user meets it, with stock Debian kernels, on real KVM (on this machine or in the test host)."""

import base64
import itertools
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import images

TOP = Path(__file__).resolve().parents[2]
MOTE = TOP / os.environ.get("MOTE", "build/mote")
KERNELS = ("generic", "cloud", "6.12")

# A guest in an emulated test host is some thirty times slower than on hardware.
BOOT_SECONDS = int(os.environ.get("MOTE_TEST_SECONDS", "180"))


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="run the soaks too")


def pytest_collection_modifyitems(config, items):
    """Soaks are not part of the run at all without --long: nothing is reported as if it had been looked at."""
    if config.getoption("--long"):
        return
    soaks = [item for item in items if item.get_closest_marker("long")]
    if soaks:
        items[:] = [item for item in items if item not in soaks]
        config.hook.pytest_deselected(items=soaks)


def pytest_configure(config):
    config.addinivalue_line("markers", "long: a soak, run by make check-long")


def kernel(name):
    return str(TOP / f"build/kernels/{name}/vmlinuz")


def initrd(name):
    return str(TOP / f"build/guest/test-{name}.cpio")


def script(text):
    """The command line word that makes guest/test-init run a shell script."""
    return "mote.test=cmd:" + base64.b64encode(text.encode()).decode()


class Mote:
    """One mote process. What it prints is read all the time and kept."""

    def __init__(self, *args, terminal=False, stdin=subprocess.PIPE, **popen):
        self.terminal = None
        self.out = b""
        self.err = b""
        self.changed = threading.Condition()
        self.open_streams = 2
        streams = dict(stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if terminal:
            self.terminal, slave = pty.openpty()
            streams = dict(stdin=slave, stdout=slave, stderr=subprocess.PIPE)
        self.process = subprocess.Popen([str(MOTE), *map(str, args)], **streams, **popen)
        if terminal:
            os.close(slave)
        self.readers = [
            threading.Thread(target=self._read, args=(self.terminal or self.process.stdout.fileno(), "out"), daemon=True),
            threading.Thread(target=self._read, args=(self.process.stderr.fileno(), "err"), daemon=True),
        ]
        for reader in self.readers:
            reader.start()

    def _read(self, fd, name):
        while True:
            try:
                data = os.read(fd, 65536)
            except OSError:  # a terminal whose other side is gone
                data = b""
            with self.changed:
                setattr(self, name, getattr(self, name) + data)
                if not data:
                    self.open_streams -= 1
                self.changed.notify_all()
            if not data:
                return

    def send(self, data):
        if isinstance(data, str):
            data = data.encode()
        fd = self.terminal or self.process.stdin.fileno()
        try:
            while data:
                data = data[os.write(fd, data):]
        except BrokenPipeError:
            self.process.wait(10)
            raise AssertionError(f"mote has ended ({self.process.returncode}):\n{self.transcript()}") from None

    def expect(self, pattern, timeout=BOOT_SECONDS, stream="out", start=0):
        """Waits until what was printed matches; returns the match."""
        deadline = time.monotonic() + timeout
        regex = re.compile(pattern.encode(), re.M)
        with self.changed:
            while True:
                match = regex.search(getattr(self, stream), start)
                if match:
                    return match
                left = deadline - time.monotonic()
                if left <= 0 or not self.open_streams:
                    raise AssertionError(f"no {pattern!r} in {stream}:\n{self.transcript()}")
                self.changed.wait(left)

    def wait(self, timeout=BOOT_SECONDS):
        """The exit status, when all output has been read."""
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"mote does not end:\n{self.transcript()}") from None
        for reader in self.readers[0 if not self.terminal else 1:]:
            reader.join(10)
        return status

    def transcript(self):
        return (self.out[-4000:] + b"\n--- stderr ---\n" + self.err[-2000:]).decode(errors="replace")

    def reason(self):
        """The last line on stderr."""
        lines = self.err.decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for reader in self.readers:
            reader.join(1)
        for fd in (self.process.stdin, self.process.stdout, self.process.stderr):
            if fd:
                fd.close()
        if self.terminal:
            os.close(self.terminal)


@pytest.fixture(autouse=True, scope="session")
def environment(tmp_path_factory):
    """One kernel cache for the whole run, so that only the first boot of a kernel unpacks it."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))
    for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS"):
        os.environ.setdefault(name, "abort_on_error=1:halt_on_error=1")


@pytest.fixture
def mote():
    """Starts mote processes; all are gone after the test."""
    started = []

    def start(*args, **kwargs):
        started.append(Mote(*args, **kwargs))
        return started[-1]

    yield start
    for process in started:
        process.close()


@pytest.fixture
def run(mote):
    """mote run with a kernel, its test initramfs and words for the kernel command line."""

    def start(*args, kernel_name="cloud", image=None, params="", **kwargs):
        return mote("run", "-k", image or kernel(kernel_name), "-i", initrd(kernel_name), "-p", f"quiet {params}", *args,
                    **kwargs)

    return start


@pytest.fixture
def guest(run):
    """Runs a shell script in a guest; returns what it printed and the process. The script must succeed."""

    def execute(text, *args, **kwargs):
        timeout = kwargs.pop("timeout", BOOT_SECONDS)
        vm = run(*args, params=script(text) + " " + kwargs.pop("params", ""), stdin=subprocess.DEVNULL, **kwargs)
        status = vm.wait(timeout)
        match = re.search(rb"MOTE-READY\r?\n(.*?)MOTE-STATUS (\d+)", vm.out, re.S)
        assert match, vm.transcript()
        assert match.group(2) == b"0", vm.transcript()
        assert status == 0, vm.transcript()
        return match.group(1).decode(errors="replace").replace("\r\n", "\n"), vm

    return execute


@pytest.fixture(scope="session")
def vmlinux(tmp_path_factory):
    """The ELF inside a distribution's kernel image, by name."""
    made = {}

    def path(name):
        if name not in made:
            made[name] = tmp_path_factory.mktemp("vmlinux") / name
            images.unpack(kernel(name), made[name])
        return str(made[name])

    return path


@pytest.fixture
def ctl():
    """One monitor command by mote ctl; its result."""

    def command(socket, *words):
        done = subprocess.run([MOTE, "ctl", socket, *map(str, words)], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout.strip() else None

    return command


def assemble(image, code):
    """Makes a bare-metal kernel: 32-bit code, entered through its PVH note."""
    source = image.with_suffix(".S")
    source.write_text(f"""
        .section .note.Xen, "a", @note
        .long 4, 4, 18          /* XEN_ELFNOTE_PHYS32_ENTRY */
        .asciz "Xen"
        .long start
        .text
        .code32
        .globl start
        start: {code}
    """)
    subprocess.run(["gcc", "-m32", "-nostdlib", "-static", "-no-pie", "-Wl,--build-id=none", "-Wl,-Ttext=0x100000",
                    "-Wl,--section-start=.note.Xen=0x180000", "-Wl,-n", "-Wl,-z,noexecstack", "-Wl,-estart", "-o", image, source],
                   check=True, capture_output=True)
    return str(image)


@pytest.fixture
def payload(tmp_path):
    """assemble(), with a name for each."""
    count = itertools.count(1)
    return lambda code: assemble(tmp_path / f"payload{next(count)}", code)
