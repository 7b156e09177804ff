# SPDX-License-Identifier: MIT
"""Persistent memory: files in the guest's address space, as Linux's virtio_pmem driver and ext4's dax find them."""

import os
import struct
import subprocess
import time

from conftest import BOOT_SECONDS, initrd, kernel, script
from test_devices import image, md5

MIB = 1 << 20

# Each from busybox only: what the guest sees of pmem device $1.
LOAD = "modprobe -a virtio_pmem nd_pmem; wait() { until [ -e /dev/pmem$1 ]; do usleep 50000; done; }; "


def vhd(path, data):
    """A fixed VHD."""
    footer = bytearray(512)
    footer[:8] = b"conectix"
    struct.pack_into(">IIQ", footer, 8, 2, 0x10000, 0xFFFFFFFFFFFFFFFF)
    struct.pack_into(">QQ", footer, 40, len(data), len(data))
    struct.pack_into(">I", footer, 60, 2)
    struct.pack_into(">I", footer, 64, ~sum(footer) & 0xFFFFFFFF)
    path.write_bytes(data + footer)
    return path


def test_regions_are_read_written_and_padded(guest, tmp_path):
    plain = image(tmp_path / "plain", 8)
    odd = tmp_path / "odd"
    odd.write_bytes(image(tmp_path / "tmp", 6, b"odd").read_bytes()[: 5 * MIB + 123])
    fixed = image(tmp_path / "fixed", 4, b"fixed")
    disk = vhd(tmp_path / "disk.vhd", image(tmp_path / "tmp", 3, b"vhd").read_bytes()[: 2 * MIB + 1024])
    before = [path.read_bytes() for path in (plain, odd, fixed, disk)]

    out, vm = guest(
        LOAD + "for i in 0 1 2 3; do wait $i; echo $(blockdev --getsize64 /dev/pmem$i) $(md5sum </dev/pmem$i); done;"
        "put() { printf %s $2 | dd of=/dev/pmem$1 bs=1 seek=$3 conv=notrunc,fsync 2>/dev/null; };"
        "put 0 hello 5000 && put 1 odd 5243000 && put 1 tail 6000000 && put 2 drop 100 && put 3 vhd 2098170 && put 3 end 2098600;"
        "echo 3 >/proc/sys/vm/drop_caches; dd if=/dev/pmem2 bs=4 skip=25 count=1 2>/dev/null | md5sum",
        "--pmem", plain, "--pmem", odd, "--pmem", f"{fixed},ro", "--pmem", disk)

    lines = [line for line in out.splitlines() if not line.startswith("[")]  # the kernel's, at times
    seen = [data + bytes(-len(data) % (2 * MIB)) for data in (*before[:3], before[3][:-512])]
    assert lines[:4] == [f"{len(data)} {md5(data)} -" for data in seen]
    assert lines[4].split()[0] == md5(before[2][100:104])
    assert plain.read_bytes() == before[0][:5000] + b"hello" + before[0][5005:]
    assert odd.read_bytes() == before[1][:5243000] + b"odd" + bytes(before[1][5243003:])
    assert fixed.read_bytes() == before[2]
    assert disk.read_bytes() == before[3][:2098170] + b"vhd" + before[3][2098173:]
    assert b"dropped: it is read-only" in vm.err and vm.err.count(b"dropped") <= 3, vm.transcript()


INIT = r"""
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/reboot.h>
#include <unistd.h>

int main(void)
{
	char line[256];
	FILE *mounts = fopen("/proc/mounts", "r");
	int fd = open("/data", O_RDWR);
	char *p = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	while (mounts && fgets(line, sizeof(line), mounts))
		if (!strncmp(line, "/dev/pmem", 9))
			printf("MOUNT %s", line);
	if (p == MAP_FAILED)
		puts("FAILED mmap");
	strcpy(p + 300000, "stored through a DAX mapping");
	printf("MSYNC %d\n", msync(p, 1 << 20, MS_SYNC));
	printf("OTHER %d\n", access("/dev/pmem1", F_OK));
	fflush(stdout);
	getchar();
	reboot(RB_POWER_OFF);
}
"""


def test_root_with_dax_and_a_mapping_that_is_synced(run, tmp_path):
    tree = tmp_path / "tree"
    (tree / "sbin").mkdir(parents=True)
    (tmp_path / "init.c").write_text(INIT)
    subprocess.run(["gcc", "-static", "-O1", "-o", tree / "sbin/init", tmp_path / "init.c"], check=True)
    (tree / "data").write_bytes(bytes(MIB))
    root = tmp_path / "root"
    root.touch()
    os.truncate(root, 64 * MIB)
    subprocess.run(["/sbin/mke2fs", "-q", "-t", "ext4", "-b", "4096", "-d", tree, root], check=True)
    other = image(tmp_path / "other", 2)

    vm = run("--rootfs", f"{root},type=pmem", "--pmem", other)
    mount = vm.expect(r"MOUNT (.*)\n").group(1).decode()
    assert mount.startswith("/dev/pmem0 / ext4 rw") and "dax" in mount, mount
    assert vm.expect(r"MSYNC (-?\d+)").group(1) == b"0"
    assert vm.expect(r"OTHER (-?\d+)").group(1) == b"0"
    # Synced is synced, whatever becomes of mote.
    vm.process.kill()
    vm.process.wait()
    subprocess.run(["/sbin/e2fsck", "-fp", root], capture_output=True, check=False)  # replays the journal
    data = subprocess.run(["/sbin/debugfs", "-R", "cat /data", root], capture_output=True, check=True).stdout
    assert data[300000:].startswith(b"stored through a DAX mapping\0")


def test_files_that_shrink_or_do_not_fit_do_not_end_the_vm(run, tmp_path):
    """What is lost reads as zeros and flushes of that device fail; what there is no room for waits for room."""
    good, small, sparse = image(tmp_path / "good", 2), image(tmp_path / "small", 4), tmp_path / "full/sparse"
    sparse.parent.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", sparse.parent], check=True)
    try:
        sparse.touch()
        os.truncate(sparse, 4 * MIB)
        vm = run("--pmem", good, "--pmem", small, "--pmem", sparse, params=script(
            LOAD + "wait 2; cat /dev/pmem1 | md5sum; echo SEEN; read x;"
            "dd if=/dev/pmem1 iflag=direct bs=1M | md5sum;"
            "flush() { dd if=/dev/zero of=/dev/pmem$1 bs=4096 seek=$2 count=1 conv=notrunc,fsync 2>/dev/null; echo flush$1 $?; };"
            "flush 0 0; flush 1 0; flush 1 512;"
            "yes | dd of=/dev/pmem2 bs=64k count=32 iflag=fullblock oflag=direct conv=notrunc,fsync 2>/dev/null; echo full $?"))
        vm.expect("SEEN")
        assert md5(small.read_bytes()).encode() in vm.out
        os.truncate(small, MIB)
        left = small.read_bytes() + bytes(3 * MIB)
        vm.send("\n")
        vm.expect(md5(left))
        flushes = [vm.expect(rf"flush{device} (\d)", start=start).group(1) for device, start in
                   ((0, 0), (1, vm.out.find(b"flush0")))]
        vm.expect(r"(?s)flush1 \d.*flush1 (\d)")
        deadline = time.monotonic() + BOOT_SECONDS
        while os.statvfs(sparse.parent).f_bfree:
            assert time.monotonic() < deadline, vm.transcript()
            time.sleep(0.1)
        time.sleep(0.5)
        subprocess.run(["mount", "-o", "remount,size=8m", sparse.parent], check=True)
        assert vm.expect(r"full (\d)").group(1) == b"0"
        assert vm.wait() == 0, vm.transcript()
        assert flushes == [b"0", b"1"], vm.transcript()
        assert vm.err.count(b"small: the file has become smaller") == 1, vm.transcript()
        assert b"sparse" not in vm.err, vm.transcript()
        assert os.stat(small).st_size == MIB
        assert sparse.read_bytes() == b"y\n" * MIB + bytes(2 * MIB)
    finally:
        vm.close()
        subprocess.run(["umount", sparse.parent], check=True)


def test_128_at_boot(guest, tmp_path):
    """As many as there can be, each in its own place."""
    arguments = ["--pmem-max", 128]
    for i in range(128):
        path = tmp_path / f"p{i:03}"
        path.write_bytes(b"%03d" % i)
        arguments += ["--pmem", f"{path},readonly={'on' if i % 2 else 'off'}"]
    out, _ = guest(LOAD + "wait 127; i=0; while [ $i -lt 128 ]; do head -c3 /dev/pmem$i; echo; i=$((i+1)); done", *arguments, timeout=400)
    assert out.split() == ["%03d" % i for i in range(128)]


def test_what_cannot_be_is_refused(mote, tmp_path):
    file, empty, huge = image(tmp_path / "file", 2), tmp_path / "empty", tmp_path / "huge"
    for path, size in ((empty, 0), (huge, 1 << 42)):
        path.touch()
        os.truncate(path, size)
    arguments = ("run", "-k", kernel("cloud"), "-i", initrd("cloud"), "--paused")
    for words, status, reason in (
            (("--pmem", empty), 2, "empty: empty"),
            (("--pmem", huge), 2, "huge: its 4194304 MiB do not fit the guest's physical address width"),
            (("--pmem", tmp_path), 2, "Is a directory"),
            (("--pmem", "/dev/null"), 2, "neither a file nor a block device"),
            (("--pmem", tmp_path / "none"), 2, "none: No such file"),
            (("--pmem", file, "--pmem", file), 1, "file: in use"),
            (("--pmem", file, "-d", file), 1, "file: in use"),
            (("--pmem", file, "--pmem-max-size", "1M"), 2, "more than --pmem-max-size"),
            (("--rootfs", f"{file},type=pmem", "--pmem", f"{empty},ro"), 2, "empty: empty")):
        vm = mote(*arguments, *words)
        assert vm.wait(60) == status, vm.transcript()
        assert reason in vm.reason(), vm.transcript()
    assert os.stat(file).st_size == 2 * MIB
