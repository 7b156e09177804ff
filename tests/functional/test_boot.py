# SPDX-License-Identifier: MIT
"""Kernels of all kinds, with all the CPUs and memory they were promised."""

import os
import re
import subprocess

import pytest

from conftest import KERNELS, TOP, initrd, kernel, script
from images import PAYLOADS, repack, without_payload_header


def version(name):
    return (TOP / f"build/kernels/{name}/version").read_text().strip()


@pytest.mark.parametrize("cpus", (1, 4))
@pytest.mark.parametrize("name", KERNELS)
def test_bzimage_boots(guest, name, cpus):
    out, vm = guest("uname -r; nproc; cat /proc/cmdline", "-c", cpus, kernel_name=name)
    release, processors, cmdline = out.splitlines()[-3:]
    assert release == version(name)
    assert int(processors) == cpus
    assert cmdline.startswith("console=ttyS0 panic=1 reboot=panic_warm quiet ")
    assert vm.reason() == "mote: the guest powered off"


@pytest.mark.parametrize("name", KERNELS)
def test_extracted_vmlinux_boots(guest, vmlinux, name):
    out, _ = guest("uname -r", kernel_name=name, image=vmlinux(name))
    assert out.strip().endswith(version(name))


@pytest.mark.parametrize("payload", PAYLOADS)
def test_every_payload_format_boots(guest, vmlinux, tmp_path, payload):
    image = repack(kernel("cloud"), vmlinux("cloud"), payload, tmp_path)
    out, _ = guest("uname -r", image=image)
    assert out.strip().endswith(version("cloud"))


def test_unknown_payload_boots_by_the_kernels_own_decompressor(guest, tmp_path):
    image = without_payload_header(kernel("cloud"), tmp_path)
    out, _ = guest("uname -r", image=image)
    assert out.strip().endswith(version("cloud"))


@pytest.mark.parametrize("gib", (3, 4, 8))
def test_all_memory_is_there(guest, gib):
    out, _ = guest("awk '/MemTotal/ {print $2}' /proc/meminfo; grep 'System RAM' /proc/iomem", "-m", f"{gib}G")
    total = int(out.splitlines()[0]) / 1024 / 1024
    assert gib - 0.25 < total <= gib
    assert ("100000000-" in out) == (gib > 3)


def test_memory_above_the_hole_holds_what_is_written(guest):
    free = "awk '/zone +Normal/ {on = 1} on && /nr_free_pages/ {print $2; exit}' /proc/zoneinfo"
    out, _ = guest(f"mount -t tmpfs -o size=800M t /mnt; {free}; yes mote | head -c 200000000 >/mnt/f; {free}; md5sum </mnt/f",
                   "-m", "4G")
    before, after, *checksum = out.split()
    assert int(before) - int(after) > 30000  # pages of the zone that begins at 4 GiB
    expected = subprocess.run("yes mote | head -c 200000000 | md5sum", shell=True, capture_output=True, text=True, check=True)
    assert checksum == expected.stdout.split()


def test_topology_is_what_was_asked_for(guest):
    out, _ = guest("cd /sys/devices/system/cpu; cat cpu*/topology/core_cpus_list cpu*/topology/physical_package_id",
                   "-c", "8,threads=2,cores=2,sockets=2")
    lines = out.split()
    assert lines[:8] == ["0-1", "0-1", "2-3", "2-3", "4-5", "4-5", "6-7", "6-7"]
    assert lines[8:] == ["0", "0", "0", "0", "1", "1", "1", "1"]


@pytest.mark.parametrize("cpus", (12, pytest.param(64, marks=pytest.mark.long)))
def test_many_cpus_run(guest, cpus):
    out, _ = guest("nproc", "-c", cpus, "-m", "1G", kernel_name="6.12", timeout=900)
    assert out.split()[-1] == str(cpus)


def test_cpu_feature_can_be_taken_away(guest):
    out, _ = guest("grep -m1 flags /proc/cpuinfo", "--cpu", "host,-aes,-avx2")
    flags = out.split()
    assert "sse2" in flags and "aes" not in flags and "avx2" not in flags


def test_initrds_are_concatenated(guest, tmp_path):
    tree = tmp_path / "more"
    tree.mkdir()
    (tree / "second").write_text("from the second\n")
    more = tmp_path / "more.cpio"
    with open(more, "wb") as out:
        subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], input=b"second\n", stdout=out, cwd=tree, check=True)
    os.truncate(more, os.path.getsize(more) // 4 * 4)
    out, _ = guest("cat /second", "-i", more)
    assert "from the second" in out


def rootfs(path):
    """An ext4 image with a busybox whose init says hello and powers off."""
    tree = path / "tree"
    for name in ("bin", "sbin", "proc", "sys", "dev", "run", "tmp"):
        (tree / name).mkdir(parents=True)
    busybox = subprocess.run("command -v busybox", shell=True, capture_output=True, text=True, check=True).stdout.strip()
    subprocess.run(["cp", busybox, tree / "bin/busybox"], check=True)
    init = tree / "sbin/init"
    init.write_text("#!/bin/busybox sh\n"
                    "/bin/busybox grep ' / ' /proc/mounts\n"
                    "/bin/busybox echo written > /proof\n"
                    "echo ROOTFS-INIT\n"
                    "/bin/busybox sync; /bin/busybox poweroff -f\n")
    init.chmod(0o755)
    image = path / "root.img"
    subprocess.run(["/sbin/mke2fs", "-q", "-t", "ext4", "-d", tree, image, "32M"], check=True)
    return image


def test_rootfs_image_is_the_root(run, tmp_path):
    image = rootfs(tmp_path)
    before = image.read_bytes()
    vm = run("--rootfs", f"{image},ro", kernel_name="generic")
    assert vm.wait() == 0, vm.transcript()
    assert re.search(rb"/dev/(vda|root) / ext4 ro", vm.out), vm.transcript()
    assert image.read_bytes() == before
    vm = run("--rootfs", f"{image},type=disk", kernel_name="generic")
    assert vm.wait() == 0, vm.transcript()
    assert b"ROOTFS-INIT" in vm.out
    assert re.search(rb"/dev/(vda|root) / ext4 rw", vm.out), vm.transcript()
    proof = subprocess.run(["/sbin/debugfs", "-R", "cat /proof", image], capture_output=True, text=True, check=True)
    assert proof.stdout == "written\n"


def test_second_boot_takes_the_kernel_from_the_cache(run, tmp_path):
    cache = tmp_path / "cache"
    options = ("--kernel-cache", cache, "--log", "info")
    first = run(*options, params="mote.test=poweroff")
    assert first.wait() == 0
    assert b"kernel cache: miss" in first.err
    entries = sorted(entry.name for entry in cache.iterdir())
    assert entries
    second = run(*options, params="mote.test=poweroff")
    assert second.wait() == 0
    assert b"kernel cache: hit" in second.err
    assert sorted(entry.name for entry in cache.iterdir()) == entries


def test_cache_off_makes_no_directory(run, tmp_path):
    vm = run("--kernel-cache", "off", params="mote.test=poweroff", env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)})
    assert vm.wait() == 0
    assert not list(tmp_path.iterdir())


def test_two_motes_with_one_cold_cache(run, tmp_path):
    both = [run("--kernel-cache", tmp_path / "cache", params="mote.test=poweroff") for _ in range(2)]
    assert [vm.wait() for vm in both] == [0, 0]
