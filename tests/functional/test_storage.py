# SPDX-License-Identifier: MIT
"""Disks under load, under errors and at the end: what was written is there, what cannot be written is said."""

import base64
import ctypes
import gzip
import hashlib
import mmap
import os
import re
import signal
import struct
import subprocess
import time
from pathlib import Path

import pytest

from conftest import MOTE, TOP, kernel, script

DISK_IO = str(TOP / "build/guest/disk-io.cpio")
MIB = 1 << 20
ENGINES = ("io_uring", "threads")


def without_io_uring():
    """For preexec_fn: io_uring_setup() is refused from here on, as container runtimes do."""
    BPF_LD_W_ABS, BPF_JEQ, BPF_RET = 0x20, 0x15, 0x06
    ALLOW, EPERM = 0x7FFF0000, 0x00050001
    code = b"".join(struct.pack("HBBI", *line) for line in (
        (BPF_LD_W_ABS, 0, 0, 0), (BPF_JEQ, 0, 1, 425), (BPF_RET, 0, 0, EPERM), (BPF_RET, 0, 0, ALLOW)))
    code = ctypes.create_string_buffer(code, len(code))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0):
        raise OSError(ctypes.get_errno(), "seccomp")


def threads(vm):
    tasks = Path(f"/proc/{vm.process.pid}/task").glob("*/comm")
    return [task.read_text().strip() for task in tasks]


def rings(vm):
    fds = Path(f"/proc/{vm.process.pid}/fd").iterdir()
    return sum("[io_uring]" in os.readlink(fd) for fd in fds)


def sparse(path, size):
    with open(path, "wb") as file:
        file.truncate(size)
    return path


def vhd_footer(size, kind=2):
    footer = bytearray(struct.pack(">8sIIQI4sI4sQQIII16sB427x", b"conectix", 2, 0x10000, 2**64 - 1, 0, b"mote", 0x10000, b"Wi2k",
                                   size, size, 0, kind, 0, b"0123456789abcdef", 0))
    struct.pack_into(">I", footer, 64, ~sum(footer) & 0xFFFFFFFF)
    return bytes(footer)


def vhd(path, size, kind=2):
    with open(sparse(path, size), "ab") as file:
        file.write(vhd_footer(size, kind))
    return path


def md5(path, size):
    with open(path, "rb") as file:
        return hashlib.md5(file.read(size)).hexdigest()


@pytest.fixture
def mounted(tmp_path):
    """Mounts file systems for the test, which needs root."""
    points = []

    def mount(*words):
        point = tmp_path / f"mnt{len(points)}"
        point.mkdir()
        subprocess.run(["mount", *words, point], check=True)
        points.append(point)
        return point

    yield mount
    for point in points:
        subprocess.run(["umount", "-l", point], check=True)  # a failed test's mote still has files there


def small_ext4(path, size, mounted):
    """A file system on a loop device, which has direct I/O where tmpfs has none."""
    sparse(path, size)
    subprocess.run(["/sbin/mke2fs", "-q", "-t", "ext4", "-b", "4096", "-O", "^has_journal", "-m", "0", path], check=True)
    return mounted("-o", "loop", path)


def dmsetup(*words, table=None):
    done = subprocess.run(["dmsetup", "--noudevrules", "--noudevsync", *words], input=table, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def mapped():
    """Makes block devices of device mapper tables; gives the kernel's own node, as there may be no udev."""
    names = []
    subprocess.run(["modprobe", "dm-mod"], check=True)

    def create(name, table):
        dmsetup("create", name, table=table)
        names.append(name)
        return "/dev/dm-" + dmsetup("info", "-c", "--noheadings", "-o", "minor", name)

    yield create
    for name in names:
        dmsetup("remove", "--force", "--deferred", name)


@pytest.fixture
def failing_device(mapped):
    """A host block device of 4 MiB whose second half fails all I/O."""
    return mapped("mote-failing", "0 4096 zero\n4096 4096 error\n")


@pytest.fixture
def loop_device():
    """Makes loop devices of files."""
    devices = []

    def create(path, *words):
        done = subprocess.run(["losetup", "--find", "--show", *words, path], check=True, capture_output=True, text=True)
        devices.append(done.stdout.strip())
        return devices[-1]

    yield create
    for device in reversed(devices):
        subprocess.run(["losetup", "--detach", device], check=True)


class LosesWrites:
    """A host block device that can be made to lose all writes, as a power failure would those that nobody flushed."""

    NAME = "mote-losing"

    def __init__(self, mapped, below):
        self.below = below
        self.sectors = int(Path(f"/sys/block/{os.path.basename(below)}/size").read_text())
        self.node = mapped(self.NAME, f"0 {self.sectors} linear {below} 0")

    def lose(self):
        subprocess.run(["modprobe", "dm-flakey"], check=True)
        dmsetup("suspend", "--noflush", "--nolockfs", self.NAME)  # either would write what is to be lost
        dmsetup("load", self.NAME, table=f"0 {self.sectors} flakey {self.below} 0 0 3600 1 drop_writes")
        dmsetup("resume", self.NAME)


@pytest.fixture
def no_writeback():
    """The page cache keeps what is written to it until it is told otherwise."""
    setting = Path("/proc/sys/vm/dirty_writeback_centisecs")
    before = setting.read_text()
    setting.write_text("360000")  # an hour; 0 would have what is dirty written at once
    yield
    setting.write_text(before)


def open_flags(vm, path):
    """Of each of the process's descriptors of that file."""
    proc = Path(f"/proc/{vm.process.pid}")
    return [int(re.search(r"^flags:\s+(\d+)", (proc / "fdinfo" / fd.name).read_text(), re.M).group(1), 8)
            for fd in (proc / "fd").iterdir() if os.readlink(fd) == str(path)]


def is_cached(path, offset, length):
    """Whether the page cache has any of that range."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
    libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    there = ctypes.create_string_buffer(length // 4096)
    with open(path, "rb") as file:
        address = libc.mmap(None, length, mmap.PROT_READ, mmap.MAP_SHARED, file.fileno(), offset)
        assert address != ctypes.c_void_p(-1).value and libc.mincore(address, length, there) == 0
        libc.munmap(address, length)
    return any(page & 1 for page in there.raw[: length // 4096])


def read_at(path, offset, length):
    with open(path, "rb") as file:
        file.seek(offset)
        return file.read(length)


CHECKED = ("vda", "vdb", "vdc", "vdd", "vdi")

LOAD = """
dmesg -n 1  # errors are wanted, and not in the middle of a line
for d in vda vdb vdc vdd vde vdf vdg vdh vdi vdj; do
    echo "$d $(cat /sys/block/$d/serial) $(cat /sys/block/$d/ro) $(ls /sys/block/$d/mq | wc -l) $(cat /sys/block/$d/size)" \
         "$(cat /sys/block/$d/queue/logical_block_size) $(cat /sys/block/$d/queue/physical_block_size)"
    echo "CAN $d $(cd /sys/block/$d/queue; echo $(cat discard_max_bytes write_zeroes_max_bytes write_cache))"
done
disk-io check /dev/vda 1 32 && disk-io check /dev/vdb 2 64 & a=$!
disk-io check /dev/vdc 3 64 && disk-io check /dev/vdd 4 16 & b=$!
wait $a && wait $b && echo "CHECKS PASSED"
blkdiscard -o 1048576 -l 1048576 /dev/vda && echo "DISCARD $?"
dd if=/dev/vda of=/dev/vdi bs=1M count=3 oflag=direct 2>/dev/null && dd if=/dev/vdi of=/dev/vdi bs=1M seek=3 count=1 iflag=direct \
    oflag=direct 2>/dev/null && blkdiscard -o 2097152 -l 1048576 /dev/vdi && echo "LARGE SECTORS $?"
for d in vda vdb vdc vdd vdi; do echo "MD5 $d $(md5sum </dev/$d)"; done
for d in vda vdb vdc vdd vdi; do echo "STAT $d $(cat /sys/block/$d/stat)"; done
echo "READABLE $(disk-io read /dev/vdf 4096)"
echo "DEVICE $(disk-io read /dev/vdh 0) $(disk-io read /dev/vdh 4096) $(disk-io write /dev/vdh 8191) $(disk-io write /dev/vdh 4095)"
echo PAUSE; read line
echo "RESIZED $(cat /sys/block/vda/size)"
echo "BEYOND $(disk-io read /dev/vdf 4096)"
echo "BEFORE $(disk-io read /dev/vdf 0)"
dd if=/dev/zero of=/dev/vde bs=64k oflag=direct 2>&1 | grep -c 'error' | sed 's/^/FULL /'
echo "AFTER $(disk-io read /dev/vde 0) $(disk-io write /dev/vde 0)"
dd if=/bin/busybox of=/dev/vdg bs=4096 count=1 conv=fsync 2>/dev/null; echo "READONLY $?"
disk-io write /dev/vdb 100; disk-io write /dev/vdc 100; sync
dd if=/bin/busybox of=/dev/vdj bs=4096 count=1 conv=fsync 2>/dev/null && echo "FLUSHED $(disk-io write /dev/vdj 100)"
echo "SYNCED"; read line
"""


def packed(text):
    """A short script that runs a long one: a kernel command line has 2047 bytes."""
    return f"echo {base64.b64encode(gzip.compress(text.encode())).decode()} | base64 -d | gunzip >/tmp/load && . /tmp/load"


def found(vm, word):
    """What follows the word on its line, all of it."""
    return vm.expect(rf"{word} ([^\r\n]*)\r?\n").group(1).decode()


def counted_by_guest(said, name):
    """Documentation/block/stat.rst: requests and sectors that were read, written and discarded, and flushes."""
    stat = [int(word) for word in re.search(rf"STAT {name} (.*)", said).group(1).split()]
    # To Linux a flush is also a write, of nothing.
    return [stat[0], stat[2] * 512, stat[4] - stat[15], stat[6] * 512, stat[11], stat[13] * 512, stat[15]]


def counted(stats):
    return [stats[name] for name in ("rd_operations", "rd_bytes", "wr_operations", "wr_bytes", "unmap_operations", "unmap_bytes",
                                     "flush_operations")]


@pytest.mark.parametrize("engine", ENGINES)
def test_disks_under_load_and_errors(run, ctl, mounted, failing_device, loop_device, mapped, no_writeback, tmp_path, engine):
    """One boot for all of it: they take long in an emulated host."""
    ext4 = small_ext4(tmp_path / "ext4", 16 * MIB, mounted)
    full = mounted("-t", "tmpfs", "-o", "size=1M", "none")
    sectors = loop_device(sparse(tmp_path / "sectors", 4 * MIB), "--sector-size", "4096", "--direct-io=off")
    Path(f"/sys/block/{os.path.basename(sectors)}/queue/max_sectors_kb").write_text("64")
    losing = LosesWrites(mapped, loop_device(sparse(tmp_path / "durable", MIB)))
    paths = {
        "vda": sparse(tmp_path / "raw", 4 * MIB),
        "vdb": sparse(tmp_path / "four", 4 * MIB),
        "vdc": sparse(ext4 / "direct", 4 * MIB),
        "vdd": vhd(tmp_path / "fixed.vhd", 3 * MIB),
        "vde": sparse(full / "full", 8 * MIB),
        "vdf": sparse(mounted("-t", "ramfs", "none") / "short", 4 * MIB),
        "vdg": sparse(tmp_path / "readonly", MIB),
        "vdh": failing_device,
        "vdi": sectors,
        "vdj": losing.node,
    }
    options = {"vdb": ",queues=4", "vdc": ",queues=4,direct=on,serial=DIRECT", "vdd": ",id=vhd", "vdf": ",flush=off", "vdg": ",ro",
               "vdi": ",direct=on"}
    os.chmod(paths["vdg"], 0o444)
    monitor = tmp_path / "monitor"
    words = [word for name, path in paths.items() for word in ("-d", f"{path}{options.get(name, '')}")]
    vm = run("-i", DISK_IO, "-c", "2", "--monitor", monitor, *words, params=script(packed(LOAD)),
             preexec_fn=without_io_uring if engine == "threads" else None)

    vm.expect("PAUSE")
    said = vm.out.decode().replace("\r\n", "\n")
    assert re.findall(r"^(vd. .*)$", said, re.M) == [
        "vda disk0 0 1 8192 512 4096", "vdb disk1 0 2 8192 512 4096", "vdc DIRECT 0 2 8192 512 4096", "vdd vhd 0 1 6144 512 4096",
        "vde disk3 0 1 16384 512 4096", "vdf disk4 0 1 8192 512 4096", "vdg disk5 1 1 2048 512 4096",
        "vdh disk6 0 1 8192 512 512", "vdi disk7 0 1 8192 4096 4096", "vdj disk8 0 1 2048 512 512"]
    # No discards where the file cannot have holes; no flushes where they were not wanted.
    assert re.findall(r"^CAN (vd[afhi]) (\d+) (\d+) (.*)$", said, re.M) == [
        ("vda", str(1 << 30), str(1 << 30), "write back"), ("vdf", "0", "0", "write through"),
        ("vdh", "0", str(1 << 30), "write back"), ("vdi", str(1 << 30), str(1 << 30), "write back")]
    assert "CHECKS PASSED" in said, vm.transcript()
    if engine == "threads":
        assert rings(vm) == 0 and "mote-disk" in threads(vm)
    else:
        assert rings(vm) >= 10 and "mote-disk" not in threads(vm)
    assert {"mote-io", "mote-io1"} <= set(threads(vm))
    assert "DISCARD 0" in said and "LARGE SECTORS 0" in said
    for name in ("vda", "vdc", "vdi"):
        direct = [bool(flags & os.O_DIRECT) for flags in open_flags(vm, paths[name])]
        assert sorted(direct) == ([False] if name == "vda" else [False, True]), name
    assert not is_cached(sectors, MIB, MIB), "direct I/O through the page cache"
    for name in CHECKED:
        size = 3 * MIB if name == "vdd" else 4 * MIB
        assert re.search(rf"MD5 {name} (\w+)", said).group(1) == md5(paths[name], size), name
    with open(paths["vda"], "rb") as file:
        file.seek(MIB)
        assert file.read(MIB) == bytes(MIB)
    assert paths["vdd"].read_bytes()[3 * MIB:] == vhd_footer(3 * MIB)
    assert os.stat(paths["vda"]).st_blocks * 512 <= 3 * MIB
    assert read_at(tmp_path / "sectors", 2 * MIB, MIB) == bytes(MIB)
    assert read_at(tmp_path / "sectors", 3 * MIB, MIB) == read_at(tmp_path / "sectors", 0, MIB) == read_at(paths["vda"], 0, MIB)
    assert os.stat(tmp_path / "sectors").st_blocks * 512 == 3 * MIB
    counters = {disk["qdev"].split("/")[3]: disk["stats"] for disk in ctl(monitor, "query-blockstats")}
    for disk, name in (("disk0", "vda"), ("disk1", "vdb"), ("disk2", "vdc"), ("vhd", "vdd"), ("disk7", "vdi")):
        assert counted(counters[disk]) == counted_by_guest(said, name), name
    assert [counters["disk6"][name] for name in ("failed_rd_operations", "failed_wr_operations", "wr_operations")] == [1, 1, 1]
    assert "READABLE ok" in said
    assert "DEVICE ok Input/output error Input/output error ok" in said

    os.truncate(paths["vdf"], 4096 * 512)
    ctl(monitor, "block_resize", "device=disk0", f"size={6 * MIB}")
    assert os.stat(paths["vda"]).st_size == 6 * MIB
    vm.send("\n")
    assert found(vm, "RESIZED") == str(6 * MIB // 512)
    assert found(vm, "BEYOND") == "Input/output error"
    assert found(vm, "BEFORE") == "ok"
    # Out of space for one request; the next that needs none is fine.
    assert found(vm, "FULL") == "1"
    assert found(vm, "AFTER") == "ok ok"
    assert found(vm, "READONLY") == "1" and paths["vdg"].read_bytes() == bytes(MIB)
    vm.expect("SYNCED")
    assert "FLUSHED ok" in vm.out.decode() and read_at(losing.node, 100 * 512, 512) == b"\x5a" * 512
    losing.lose()
    vm.process.send_signal(signal.SIGKILL)
    assert vm.wait() == -signal.SIGKILL
    for name in ("vdb", "vdc"):
        assert read_at(paths[name], 100 * 512, 512) == b"\x5a" * 512
    # What was flushed is there; what was only written is not, so that it was the flush.
    assert read_at(tmp_path / "durable", 0, 4) == b"\x7fELF"
    assert read_at(tmp_path / "durable", 100 * 512, 512) == bytes(512)


def refused(*words):
    done = subprocess.run([MOTE, "run", "-k", kernel("cloud"), "--serial", "null", *map(str, words)], capture_output=True, text=True,
                          timeout=60, stdin=subprocess.DEVNULL)
    return done.returncode, done.stderr


def test_one_writer_or_many_readers(mote, tmp_path):
    disk = sparse(tmp_path / "disk", MIB)
    held = lambda *more: mote("run", "-k", kernel("cloud"), "--paused", "--serial", "null", "--monitor", tmp_path / f"m{len(more)}",
                              "-d", disk if not more else f"{disk},readonly=on")
    first = held()
    while not (tmp_path / "m0").exists():
        assert first.process.poll() is None, first.transcript()
        time.sleep(0.1)
    for options in ("", ",readonly=on"):
        status, said = refused("-d", f"{disk}{options}")
        assert status == 1 and str(disk) in said and "in use" in said
    first.close()
    reader = held("a")
    while not (tmp_path / "m1").exists():
        assert reader.process.poll() is None, reader.transcript()
        time.sleep(0.1)
    status, said = refused("-d", disk)
    assert status == 1 and "in use" in said
    second = held("a", "b")
    while not (tmp_path / "m2").exists():
        assert second.process.poll() is None, second.transcript()
        time.sleep(0.1)


def test_unsuitable_images_are_refused_by_name(mounted, tmp_path):
    dynamic = vhd(tmp_path / "dynamic.vhd", MIB, kind=3)
    damaged = vhd(tmp_path / "damaged.vhd", MIB)
    os.truncate(damaged, MIB + 511)
    raw = sparse(tmp_path / "named.vhd", MIB)
    tmpfs = mounted("-t", "tmpfs", "none")
    nodirect = sparse(tmpfs / "disk", MIB)
    for words, says in ((f"{dynamic}", "dynamic"), (f"{damaged}", "VHD"), (f"{raw}", "not a VHD"),
                        (f"{raw},format=qcow2", "qcow2"), (f"{nodirect},direct=on", "direct")):
        status, said = refused("-d", words)
        assert status == 2 and says in said and "Traceback" not in said, (words, said)
        if "=qcow2" not in words:
            assert words.split(",")[0] in said
