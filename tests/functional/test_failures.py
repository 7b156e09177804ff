# SPDX-License-Identifier: MIT
"""What cannot work is refused by name, with exit status 2, and leaves nothing behind."""

import json
import os
import socket
import struct
import subprocess

import pytest

from conftest import MOTE, initrd, kernel


def refused(*args, cwd=None, **kwargs):
    done = subprocess.run([MOTE, "run", *map(str, args)], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
                          cwd=cwd, **kwargs)
    return done


K = ("-k", kernel("cloud"), "-i", initrd("cloud"))


@pytest.mark.parametrize("args,named", [
    (("--dsik", "x"), ("--dsik", "--disk")),
    ((*K, "-d", "x,redonly=on"), ("redonly", "readonly")),
    ((*K, "-m", "12Q"), ("12Q",)),
    ((*K, "-m", "0"), ("memory",)),
    ((*K, "-c", "0"), ("cpus",)),
    ((*K, "-c", "256"), ("256",)),
    ((*K, "-c", "4,threads=3"), ("threads",)),
    ((*K, "-m", "1G", "-m", "2G"), ("--memory",)),
    ((*K, "--cpu", "host,+nosuchthing"), ("nosuchthing",)),
    ((*K, "--serial", "stdio", "--console", "stdio"), ("stdio",)),
    ((*K, "--serial", "telnet"), ("telnet",)),
    ((*K, "-d", "/nowhere/disk.img"), ("/nowhere/disk.img",)),
    ((*K, "--rootfs", "/nowhere/root.img"), ("/nowhere/root.img",)),
    ((*K, "--config", "/nowhere/config.json"), ("/nowhere/config.json",)),
    ((*K, "-p", "x" * 5000), ("5",)),
    (("-k", "/nowhere/vmlinuz"), ("/nowhere/vmlinuz",)),
    (("-k", "/etc/passwd"), ("/etc/passwd",)),
    (("-k", "/"), ("/",)),
    (("-k", kernel("cloud"), "-i", "/nowhere/initrd"), ("/nowhere/initrd",)),
    ((*K, "stray"), ("stray",)),
    ((*K, "--uuid", "123"), ("123",)),
    ((*K, "--on-panic", "dance"), ("dance",)),
    ((*K, "-m", "64M,hugepages=perhaps"), ("perhaps",)),
], ids=lambda value: None)
def test_bad_input_is_named(tmp_path, args, named):
    done = refused(*args, "--monitor", tmp_path / "monitor", "--exit-report", tmp_path / "report", cwd=tmp_path)
    assert done.returncode in (1, 2), done
    assert done.returncode == 2 or "/nowhere" in done.stderr, done
    assert done.stderr.startswith("mote: ") and done.stderr.count("\n") == 1, done.stderr
    for word in named:
        assert word in done.stderr
    assert done.stdout == ""
    assert not list(tmp_path.iterdir())


def test_truncated_kernels_are_refused_at_every_length(tmp_path):
    with open(kernel("cloud"), "rb") as f:
        image = f.read()
    for length in (0, 1, 0x1F1, 0x202, 0x263, 512, 0x4000, len(image) // 2, len(image) - 65536):
        (tmp_path / "k").write_bytes(image[:length])
        done = refused("-k", tmp_path / "k", "--kernel-cache", "off")
        assert done.returncode == 2, (length, done)
        assert str(tmp_path / "k") in done.stderr


def test_initrd_larger_than_memory_is_refused(tmp_path):
    big = tmp_path / "big"
    big.touch()
    os.truncate(big, 1 << 30)
    done = refused("-k", kernel("cloud"), "-i", big, "-m", "256M")
    assert done.returncode == 2 and str(big) in done.stderr or "initrd" in done.stderr, done


def test_late_failure_takes_back_what_was_made(tmp_path):
    """The serial socket is made before the disk is found missing."""
    (tmp_path / "sub").mkdir()
    done = refused(*K, "--serial", f"unix={tmp_path}/serial", "--console", f"unix={tmp_path}/hvc", "-d", "/nowhere/x",
                   "--monitor", tmp_path / "m")
    assert done.returncode != 0
    assert [entry.name for entry in tmp_path.iterdir()] == ["sub"]


def test_monitor_in_use_leaves_the_other_alone(tmp_path):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "m"))
    listener.listen()
    done = refused(*K, "--serial", f"unix={tmp_path}/serial", "--monitor", tmp_path / "m")
    assert done.returncode != 0 and str(tmp_path / "m") in done.stderr
    assert [entry.name for entry in tmp_path.iterdir()] == ["m"]
    listener.close()


def test_disk_in_use_is_refused_and_readers_share(mote, payload, tmp_path):
    image = tmp_path / "disk"
    image.touch()
    os.truncate(image, 1 << 20)
    idle = payload("1: hlt; jmp 1b")
    first = mote("run", "-k", idle, "-d", image, "--monitor", tmp_path / "m", "--serial", "null")
    while not (tmp_path / "m").exists():
        assert first.process.poll() is None
    done = refused("-k", idle, "-d", image, "--serial", "null")
    assert done.returncode != 0 and str(image) in done.stderr
    done = refused("-k", idle, "-d", f"{image},readonly=on", "--serial", "null")
    assert done.returncode != 0 and str(image) in done.stderr


def test_no_kvm_is_explained(tmp_path):
    """With /dev/kvm covered by an empty directory, in a mount namespace of the test's own. The report says it, too."""
    done = subprocess.run(["unshare", "-m", "sh", "-c",
                           'mount -t tmpfs none /dev && exec "$0" run -k "$1" --exit-report "$2"', MOTE, kernel("cloud"),
                           tmp_path / "report"],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1, done
    assert "/dev/kvm" in done.stderr
    said = json.loads((tmp_path / "report").read_text())
    assert (said["kind"], said["code"], said["started"]) == ("host-error", 1, None)
    assert done.stderr == f"mote: {said['reason']}\n"


def test_segment_outside_memory_is_named(tmp_path):
    """An ELF whose one segment wants to be loaded far above RAM."""
    ehdr = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 2, 62, 1, 1 << 50, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    phdr = struct.pack("<IIQQQQQQ", 1, 7, 4096, 1 << 50, 1 << 50, 16, 16, 4096)
    (tmp_path / "k").write_bytes((ehdr + phdr).ljust(4096, b"\0") + b"\xf4" * 16)
    done = refused("-k", tmp_path / "k")
    assert done.returncode == 2 and str(tmp_path / "k") in done.stderr, done
