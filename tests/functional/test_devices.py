# SPDX-License-Identifier: MIT
"""The devices of a VM as Linux finds them."""

import hashlib
import os
import subprocess

import pytest

from conftest import KERNELS


def image(path, mib=8, seed=b"mote"):
    """A file of pseudo-random bytes."""
    blocks, block = [], seed
    for _ in range(mib * 1024 * 1024 // 4096):
        block = hashlib.sha512(block).digest()
        blocks.append(block * 64)
    path.write_bytes(b"".join(blocks))
    return path


def md5(data):
    return hashlib.md5(data).hexdigest()


@pytest.mark.parametrize("params", ("", "pci=nomsi"), ids=("msix", "intx"))
@pytest.mark.parametrize("name", KERNELS)
def test_disk_is_read_and_written(guest, tmp_path, name, params):
    disk = image(tmp_path / "disk")
    before = disk.read_bytes()
    out, _ = guest("md5sum /dev/vda; dd if=/dev/zero of=/dev/vda bs=4096 seek=10 count=3 conv=fsync 2>/dev/null;"
                   "grep -c . /proc/interrupts", "-d", disk, kernel_name=name, params=params)
    assert out.split()[0] == md5(before)
    expected = before[:40960] + bytes(3 * 4096) + before[53248:]
    assert disk.read_bytes() == expected


def test_disks_are_in_order_with_their_serials(guest, tmp_path):
    for i in range(4):
        (tmp_path / f"d{i}").write_bytes(bytes([65 + i]) * 1048576)
    out, _ = guest("for d in vda vdb vdc vdd; do head -c1 /dev/$d; echo \" $(cat /sys/block/$d/serial) $(cat /sys/block/$d/ro)\"; done",
                   "-d", tmp_path / "d0", "-d", f"{tmp_path / 'd1'},id=second", "-d", f"{tmp_path / 'd2'},serial=THIRD,ro",
                   "-d", f"{tmp_path / 'd3'},queues=2")
    assert out.splitlines() == ["A disk0 0", "B second 0", "C THIRD 1", "D disk2 0"]


def test_readonly_disk_refuses_writes(guest, tmp_path):
    disk = image(tmp_path / "disk", 1)
    before = disk.read_bytes()
    guest("! dd if=/dev/zero of=/dev/vda bs=4096 count=1 conv=fsync 2>/dev/null", "-d", f"{disk},readonly=on")
    assert disk.read_bytes() == before


def test_file_system_on_a_disk(guest, tmp_path):
    disk = tmp_path / "disk"
    disk.touch()
    os.truncate(disk, 64 << 20)
    subprocess.run(["/sbin/mke2fs", "-q", "-t", "ext4", disk], check=True)
    out, _ = guest("modprobe ext4; mount -t ext4 /dev/vda /mnt && dd if=/dev/urandom of=/mnt/f bs=1M count=20 2>/dev/null && "
                   "md5sum </mnt/f && umount /mnt", "-d", disk, kernel_name="generic")
    found = subprocess.run(["/sbin/debugfs", "-R", "cat /f", disk], capture_output=True, check=True).stdout
    assert out.split()[0] == md5(found) and len(found) == 20 << 20
    subprocess.run(["/sbin/e2fsck", "-fn", disk], check=True, capture_output=True)


def test_discard_makes_a_hole(guest, tmp_path):
    disk = image(tmp_path / "disk", 8)
    guest("blkdiscard /dev/vda", "-d", disk)
    assert os.stat(disk).st_blocks == 0
    assert disk.read_bytes() == bytes(8 << 20)


def test_rng_gives_entropy(guest):
    out, _ = guest("cat /sys/class/misc/hw_random/rng_available; dd if=/dev/hwrng bs=512 count=4 2>/dev/null | md5sum;"
                   "dd if=/dev/hwrng bs=512 count=4 2>/dev/null | md5sum")
    lines = out.splitlines()
    assert "virtio_rng.0" in lines[0]
    assert lines[1] != lines[2]


def test_rng_source_file(guest, tmp_path):
    source = tmp_path / "source"
    source.write_bytes(b"0123456789abcdef" * 65536)
    out, _ = guest("dd if=/dev/hwrng bs=64 count=1 2>/dev/null", "--rng", f"source={source}")
    assert set(out.strip()) <= set("0123456789abcdef") and len(out.strip()) >= 32


def test_many_disks_on_one_vcpu(guest, tmp_path):
    """More than its interrupt vectors allow: the rest share lines."""
    arguments = []
    for i in range(120):
        path = tmp_path / f"d{i:03}"
        path.write_bytes(b"%03d" % i + bytes(4093))
        arguments += ["-d", str(path)]
    out, _ = guest("for d in /sys/block/vd*; do dd if=/dev/${d##*/} bs=3 count=1 2>/dev/null; echo; done | sort | uniq | wc -l",
                   *arguments, kernel_name="generic")
    assert out.split()[-1] == "120"


def test_rtc_shows_host_time(guest):
    out, _ = guest("hwclock -u -r -f /dev/rtc0 >/dev/null; date -u +%s; cat /sys/class/rtc/rtc0/since_epoch")
    system, rtc = (int(line) for line in out.split())
    assert abs(system - rtc) <= 2
    assert abs(rtc - int(subprocess.run(["date", "+%s"], capture_output=True, check=True).stdout)) < 120
