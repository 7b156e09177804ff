# SPDX-License-Identifier: MIT
"""9P shares as Linux's own client uses them, with Debian's generic kernel, which has it as modules."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from conftest import initrd, kernel, script

OPTIONS = "trans=virtio,version=9p2000.L,msize=512000"
MOUNT = f"""
modprobe -a 9p 9pnet_virtio
m() {{ mkdir -p /mnt/$1; mount -t 9p -o {OPTIONS},$2 $1 /mnt/$1 || exit 1; }}
"""
USER = 1000


@pytest.fixture
def disk(tmp_path):
    """A directory on ext4, which has user xattrs; in the test host /tmp is a tmpfs, which has none."""
    directory = tmp_path / "ext4"
    directory.mkdir()
    if os.geteuid():
        yield directory
        return
    with open(tmp_path / "image", "wb") as image:
        image.truncate(512 << 20)
    subprocess.run(["/sbin/mke2fs", "-q", "-t", "ext4", "-I", "256", tmp_path / "image"], check=True)
    subprocess.run(["mount", "-o", "loop", tmp_path / "image", directory], check=True)
    yield directory
    subprocess.run(["umount", "-l", directory], check=True)


def build(name, directory):
    """A static program for the guest, on the share."""
    source = Path(__file__).with_name(f"{name}.c")
    subprocess.run(["gcc", "-O1", "-static", "-o", directory / name, source], check=True)


def share(directory, tag, options=""):
    return ["--9p", f"{directory},tag={tag}{options}"]


def test_posix_calls_and_their_errors(guest, disk):
    """The whole table with each of the client's caches; then what reached the host."""
    arguments = []
    for tag in ("none", "loose", "mmap"):
        directory = disk / tag
        directory.mkdir()
        directory.chmod(0o777)
        (directory / "work").mkdir()
        (directory / "work").chmod(0o777)
        build("p9_posix", directory)
        arguments += share(directory, tag)
    out, _ = guest(MOUNT + "for c in none loose mmap; do m $c cache=$c; echo \"== $c\"; /mnt/$c/p9_posix /mnt/$c/work; done; true",
                   *arguments, kernel_name="generic")
    print(out)
    assert "FAIL" not in out
    assert len(re.findall(r"^\d{3,} checks, 0 failures$", out, re.M)) == 3
    work = disk / "none/work"
    assert (work / "a").read_text() == "onetwo"
    assert (work / "user").stat().st_uid == USER
    assert os.readlink(work / "dangling") == "made"


def test_unprivileged_posix_calls(mote, disk, tmp_path):
    """Owners, modes, devices and symlinks of the guest's, from a mote that may do nothing of the kind on the host."""
    if os.geteuid():
        pytest.fail("needs root, to become somebody else")
    os.chmod("/dev/kvm", 0o666)
    for directory in (tmp_path, *tmp_path.parents):
        if directory.is_relative_to("/tmp/pytest-of-root"):
            directory.chmod(0o755)
    build("p9_posix", disk)
    build("p9_load", disk)
    work = disk / "work"
    work.mkdir()
    os.chown(work, USER, USER)
    cache = disk / "cache"
    cache.mkdir()
    os.chown(cache, USER, USER)
    text = MOUNT + "m p cache=none; m s cache=none; /mnt/p/p9_posix /mnt/s; echo END"
    vm = mote("run", "-k", kernel("generic"), "-i", initrd("generic"), "-p", f"quiet {script(text)}", "--kernel-cache", cache,
              *share(disk, "p", ",readonly=on"), *share(work, "s"), stdin=subprocess.DEVNULL, user=USER, group=USER, extra_groups=[])
    assert vm.wait() == 0, vm.transcript()
    out = vm.out.decode(errors="replace")
    print(out)
    assert "FAIL" not in out and re.search(r"\d{3,} checks, 0 failures", out)
    assert (work / "a").read_text() == "onetwo"
    assert {path.lstat().st_uid for path in work.rglob("*")} == {USER}
    assert (work / "tof").is_file() and not (work / "tof").is_symlink()
    assert all(path.lstat().st_mode & 0o077 == 0 for path in work.rglob("*"))


READ_ONLY = """
refused() { if "$@" 2>/tmp/err || ! grep -q 'Read-only' /tmp/err; then echo "NOT REFUSED: $*"; cat /tmp/err; fi; }
for c in loose mmap none; do
m ro cache=$c
cd /mnt/ro
refused touch new
refused sh -c 'echo x > file'
refused sh -c 'echo x >> file'
refused truncate -s 0 file
refused mkdir new
refused mknod new p
refused ln file new
refused ln -s file new
refused mv file new
refused rm file
refused rmdir dir
refused chmod 600 file
refused chown 1 file
refused touch -d 2001-01-01 file
cat file dir/inner
cd /
[ $c = none ] || umount /mnt/ro || exit 1
done
cd /mnt/ro
# A symlink of the share is the guest's to follow: there is nothing in its own tree.
cat absolute 2>&1
cat up 2>&1
cat outdir/secret 2>&1
ls -a /mnt/ro/..
m some cache=none
cd /mnt/some
ls -1a
cat yes/inner
cat no 2>&1
touch no 2>&1
touch maybe && echo made
"""


def test_read_only_and_allowed(guest, tmp_path):
    """Nothing but what was given out is seen or changed."""
    ro, some = tmp_path / "ro", tmp_path / "some"
    (ro / "dir").mkdir(parents=True)
    (some / "yes").mkdir(parents=True)
    (tmp_path / "secret").write_text("SECRET\n")
    (ro / "file").write_text("content\n")
    (ro / "dir/inner").write_text("inner\n")
    (ro / "absolute").symlink_to(tmp_path / "secret")
    (ro / "up").symlink_to("../../../../../../.." + str(tmp_path / "secret"))
    (ro / "outdir").symlink_to(tmp_path)
    (some / "yes/inner").write_text("seen\n")
    (some / "no").write_text("SECRET\n")
    before = subprocess.run(["ls", "-lR", "--time-style=full-iso", ro], capture_output=True, text=True, check=True).stdout
    out, _ = guest(MOUNT + READ_ONLY, *share(ro, "ro", ",ro"), *share(some, "some", ",allowed=yes:maybe"), kernel_name="generic")
    print(out)
    assert "NOT REFUSED" not in out and "SECRET" not in out
    assert out.startswith("content\ninner\n" * 3) and out.count("No such file") == 4
    assert ".\n..\nyes\nseen\n" in out and "Permission denied" in out and out.endswith("made\n")
    assert before == subprocess.run(["ls", "-lR", "--time-style=full-iso", ro], capture_output=True, text=True, check=True).stdout
    assert (some / "no").read_text() == "SECRET\n" and (some / "maybe").exists()


def test_data_of_concurrent_writers_and_large_directories(guest, disk):
    """Every byte and every entry, with and without a cache; then the host's view of it."""
    build("p9_load", disk)
    for tag in ("none", "mmap"):
        (disk / tag).mkdir()
        subprocess.run([disk / "p9_load", "many", disk / tag], check=True)
    out, _ = guest(MOUNT + "m p cache=none; for c in none mmap; do m $c cache=$c; /mnt/p/p9_load verify /mnt/$c || exit 1; md5sum /mnt/$c/together; "
                   "done", *share(disk, "p", ",ro"), *share(disk / "none", "none"), *share(disk / "mmap", "mmap"), kernel_name="generic")
    assert out.count("verified") == 2
    for tag in ("none", "mmap"):
        assert len(list((disk / tag / "many").iterdir())) == 10000
        together = subprocess.run(["md5sum", disk / tag / "together"], capture_output=True, text=True, check=True).stdout
        assert together.split()[0] in out


def test_directory_that_goes_away_gives_errors(mote, run, tmp_path):
    """The host takes the directory from under a running guest: errors there, and mote goes on."""
    directory = tmp_path / "share"
    directory.mkdir()
    (directory / "file").write_text("x")
    text = MOUNT + "m s cache=none; exec 3</mnt/s/file; echo GO; read x; cat <&3; exec 3<&-; ls /mnt/s/file 2>&1; touch /mnt/s/new 2>&1; echo END"
    vm = run(*share(directory, "s"), params=script(text), kernel_name="generic")
    vm.expect("GO")
    shutil.rmtree(directory)
    vm.send("\n")
    vm.expect(r"x[\s\S]*No such file[\s\S]*No such file[\s\S]*END")
    assert vm.wait() == 0


ROOT = """
cd /mnt
git clone -q origin clone && cd clone && git -c user.name=a -c user.email=b commit -q --allow-empty -m x && git fsck --no-progress || exit 1
gcc -o hello hello.c && ./hello || exit 1
"""

STRESS = """
cd /mnt
fio --name=v --directory=/mnt --size=8m --rw=randrw --bs=4k-64k --verify=crc32c --numjobs=2 --group_reporting --minimal >/tmp/fio || { cat /tmp/fio; exit 1; }
stress-ng --temp-path /mnt --class filesystem --sequential 1 --timeout 3 --verify --metrics-brief >/tmp/stress 2>&1
status=$?
grep 'run completed' /tmp/stress
# 3, 4: a stressor found no resources here, as a /dev/loop, or is not made for this machine. What fails is 2.
case $status in 0|3|4) ;; *) cat /tmp/stress; exit 1 ;; esac
"""

INIT = """#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount -t tmpfs tmp /tmp; mkdir -p /dev/shm
touch /etc/written-to-the-tmpfs || exit 1
mount -t 9p -o trans=virtio,version=9p2000.L,cache=mmap,msize=512000 work /mnt && sh -x /mnt/script
echo "STATUS $?"
umount /mnt
echo o >/proc/sysrq-trigger
sleep 99
"""


def root_over_9p(run, disk, text):
    """This machine's own root, read-only, with a tmpfs over it; a script on a second share runs there."""
    work = disk / "work"
    work.mkdir(exist_ok=True)
    (work / "script").write_text(text)
    init = disk / "init"
    init.write_text(INIT)
    init.chmod(0o755)
    return run(*share("/", "root", ",readonly=on"), *share(work, "work"), "-m", "1G", kernel_name="generic",
               stdin=subprocess.DEVNULL, params=f"root=root rootfstype=9p overlay init={init}")


def test_read_only_root_and_a_compile(run, disk):
    origin = disk / "work/origin"
    origin.mkdir(parents=True)
    (origin / "hello.c").write_text('#include <stdio.h>\nint main(void) { puts("hello from the share"); }\n')
    for words in (["init", "-q"], ["add", "."], ["-c", "user.name=a", "-c", "user.email=b", "commit", "-q", "-m", "first"]):
        subprocess.run(["git", "-C", origin, *words], check=True, env={**os.environ, "HOME": str(disk)})
    vm = root_over_9p(run, disk, ROOT)
    vm.wait()
    assert b"hello from the share" in vm.out and b"STATUS 0" in vm.out, vm.transcript()
    assert (disk / "work/clone/hello").exists()
    assert not Path("/etc/written-to-the-tmpfs").exists()


@pytest.mark.long
def test_stress_ng_and_fio(run, disk):
    for program in ("fio", "stress-ng"):
        assert shutil.which(program), f"{program} is not installed"
    vm = root_over_9p(run, disk, STRESS)
    vm.wait(1500)
    assert b"STATUS 0" in vm.out and b"] successful run completed" in vm.out, vm.transcript()
