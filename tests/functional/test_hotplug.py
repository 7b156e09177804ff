# SPDX-License-Identifier: MIT
"""Devices that come and go while a stock kernel runs: what the client says, what the guest sees, and that nothing stays behind."""

import os
import random
import re
import shutil
import subprocess

import pytest

from netns import Namespace
from qmp import Session


class Guest:
    """A VM with a shell on its console and a monitor; what before() does with that comes before the start."""

    def __init__(self, run, path, *args, before=None, **kwargs):
        paused = ["--paused"] if before else []
        self.vm = run("--serial", "null", "--console", "stdio", "--monitor", path, *paused, *args, params="mote.test=shell", **kwargs)
        self.monitor = Session(path)
        if before:
            before(self.monitor)
            self.monitor.command("cont")
        self.vm.expect("MOTE-READY")
        self.count = 0
        self.prepare()

    def prepare(self):
        """After each boot."""
        self.sh("stty -echo; PS1=; dmesg -n 1; echo 'wait_for() { n=0; until eval \"$1\"; do n=$((n+1)); [ $n -lt 300 ] || return 1;"
                " sleep 0.1; done; }' >/tmp/lib; . /tmp/lib")

    def sh(self, command, timeout=120):
        """What a command printed; it must succeed."""
        self.count += 1
        start = len(self.vm.out)
        self.vm.send(f"{command}\necho END-{self.count}-$?\n")
        match = self.vm.expect(rf"END-{self.count}-(\d+)\r?\n", timeout=timeout, start=start)
        text = self.vm.out[start:match.start()].decode(errors="replace").replace("\r", "")
        assert match.group(1) == b"0", f"{command}: {text}"
        return text

    def start(self, command, name):
        """Runs it behind the shell's back: one with a job of its own leaves when it is idle. done() waits for the end."""
        self.sh(f"rm -f /tmp/{name}.done; ( {{ {command}; : >/tmp/{name}.done; }} </dev/null & )")

    def done(self, name):
        self.wait_for(f"[ -e /tmp/{name}.done ]")

    def wait_for(self, condition):
        self.sh(f"wait_for '{condition}'")

    def pid(self):
        return self.vm.process.pid

    def add_disk(self, name, path, **arguments):
        self.monitor.command("blockdev-add", driver="raw", node_name=f"drive-{name}",
                             file={"driver": "file", "filename": str(path)})
        self.monitor.command("device_add", driver="virtio-blk-pci", drive=f"drive-{name}", id=name, romfile="", **arguments)

    def delete(self, name):
        self.monitor.command("device_del", id=name)
        self.deleted(name)

    def deleted(self, name):
        """Waits for that event; those of other devices are passed over."""
        while self.monitor.event("DEVICE_DELETED")["data"].get("device") != name:
            pass


@pytest.fixture
def boot(run, tmp_path):
    def start(*args, **kwargs):
        return Guest(run, tmp_path / "monitor", *args, **kwargs)

    return start


def image(path, megabytes=4, content=b""):
    with open(path, "wb") as f:
        f.write(content)
        f.truncate(megabytes << 20)
    return path


def in_guest(g):
    """The PCI addresses of what the guest sees."""
    return set(re.findall(r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.0", g.sh("ls /sys/bus/pci/devices")))


def in_query(g):
    """The same as query-pci has it."""
    return {f"0000:{bus['bus']:02x}:{device['slot']:02x}.{device['function']}"
            for bus in g.monitor.command("query-pci") for device in bus["devices"]}


def disk_at(address):
    """A shell word: the name of the disk in a PCI slot."""
    return f"$(ls /sys/bus/pci/devices/0000:{address}.0/virtio*/block)"


def held(pid):
    """What a leak would let grow."""
    with open(f"/proc/{pid}/maps") as f:
        maps = sum(1 for _ in f)
    return len(os.listdir(f"/proc/{pid}/fd")), maps


def test_disks_come_and_go(boot, tmp_path):
    """One after the other in one guest, since it is its start that takes time."""
    boot_disk = image(tmp_path / "boot")
    g = boot("-d", boot_disk, "-c", "2")

    # In a slot of the first bus; the guest writes, the host reads.
    g.add_disk("a", image(tmp_path / "a", content=b"from the host\n"), bus="pcie.0", addr="11")
    g.wait_for(f"[ -b /dev/{disk_at('00:11')} ]")
    assert "from the host" in g.sh(f"head -n 1 /dev/{disk_at('00:11')}")
    g.sh(f"echo from the guest | dd of=/dev/{disk_at('00:11')} conv=fsync 2>/dev/null")
    assert (tmp_path / "a").read_bytes().startswith(b"from the guest\n")
    g.delete("a")
    assert "00:11" not in " ".join(in_guest(g))
    g.monitor.command("blockdev-del", node_name="drive-a")

    # Another one at the same address, and one on a bus that was not there: its other slots work as well.
    g.add_disk("b", image(tmp_path / "b", 8), bus="pcie.0", addr="11")
    g.add_disk("c", image(tmp_path / "c"), bus="pcie.3", addr="1e")
    g.wait_for(f"[ -b /dev/{disk_at('00:11')} ] && [ -b /dev/{disk_at('03:1e')} ]")
    g.sh(f"[ $(cat /sys/block/{disk_at('00:11')}/size) = {8 << 11} ]")
    g.add_disk("d", image(tmp_path / "d", content=b"on a new bus\n"), bus="pcie.3")
    g.wait_for(f"[ -b /dev/{disk_at('03:00')} ]")
    assert "on a new bus" in g.sh(f"head -n 1 /dev/{disk_at('03:00')}")
    assert in_guest(g) == in_query(g)
    assert g.monitor.reply("device_add", driver="virtio-rng-pci", bus="pcie.3", addr="1e")["error"]["class"] == "AlreadyAttached"

    # Another size, and another image.
    g.monitor.command("block_resize", node_name="drive-b", size=16 << 20)
    g.wait_for(f"[ $(cat /sys/block/{disk_at('00:11')}/size) = {16 << 11} ]")
    g.monitor.command("disk-update", id="d", path=str(image(tmp_path / "other", 6, b"another image\n")))
    g.wait_for(f"[ $(cat /sys/block/{disk_at('03:00')}/size) = {6 << 11} ]")
    assert "another image" in g.sh(f"dd if=/dev/{disk_at('03:00')} iflag=direct bs=4k count=1 2>/dev/null | head -n 1")

    # Removed at once after it came to a bus that was not there: the guest may miss the request, and is reminded.
    for bus in (5, 6):
        g.monitor.command("device_add", driver="virtio-rng-pci", id="brief", bus=f"pcie.{bus}")
        g.delete("brief")
        g.monitor.command("device_add", driver="virtio-rng-pci", id=f"next{bus}", bus=f"pcie.{bus}")
        g.wait_for(f"[ -e /sys/bus/pci/devices/0000:0{bus}:00.0/driver ]")
    g.sh("sleep 3")
    assert in_guest(g) == in_query(g)
    g.delete("next5")
    g.delete("next6")

    # All of a bus goes and comes again.
    g.delete("c")
    g.delete("d")
    assert not any(address.startswith("0000:03") for address in in_guest(g))
    g.add_disk("e", tmp_path / "c", bus="pcie.3", addr="1e")
    g.wait_for(f"[ -b /dev/{disk_at('03:1e')} ]")

    # A disk of the command line, and one that is mounted and busy: it is detached, and the VM lives.
    g.monitor.command("disk-remove", path=str(boot_disk))
    subprocess.run(["/sbin/mke2fs", "-q", "-t", "ext4", image(tmp_path / "fs", 32)], check=True)
    added = g.monitor.command("disk-add", path=str(tmp_path / "fs"), serial="the-fs")
    assert (added["controller"], added["lun"], added["guest-name"]) == (0, 0, None)
    g.wait_for(f"[ -e /sys/bus/pci/devices/{added['pci']}/virtio*/block ]")
    g.sh(f"disk=$(ls /sys/bus/pci/devices/{added['pci']}/virtio*/block); [ $(cat /sys/block/$disk/serial) = the-fs ];"
         " modprobe ext4; mkdir -p /mnt; mount -t ext4 /dev/$disk /mnt; dd if=/dev/zero of=/mnt/file bs=64k count=64 2>/dev/null")
    g.start("while dd if=/dev/zero of=/mnt/file bs=64k count=64 conv=fsync 2>/dev/null; do :; done", "writer")
    under_load = g.monitor.command("disk-add", path=str(image(tmp_path / "load", content=b"under load\n")))
    g.wait_for(f"[ -e /sys/bus/pci/devices/{under_load['pci']}/virtio*/block ]")
    assert g.sh(f"head -n 1 /dev/$(ls /sys/bus/pci/devices/{under_load['pci']}/virtio*/block)") == "under load\n"
    g.monitor.command("disk-remove", id=under_load["id"])
    g.sh("[ ! -e /tmp/writer.done ]")
    g.monitor.command("disk-remove", id=added["id"])
    g.done("writer")
    assert added["pci"] not in in_guest(g)
    g.sh("umount -l /mnt")

    # The guest may let one go that it was not asked for.
    g.sh("echo 0 > /sys/bus/pci/slots/17/power")  # 00:11
    g.deleted("b")
    g.monitor.command("blockdev-del", node_name="drive-b")

    # A guest that is stopped lets nothing go: an error in time, then by force; and a reset is an answer, too.
    g.monitor.command("stop")
    error = g.monitor.reply("disk-remove", path=str(tmp_path / "c"), timeout_ms=100)["error"]
    assert "has not let 'e' go" in error["desc"]
    g.monitor.command("disk-remove", path=str(tmp_path / "c"), timeout_ms=100, force=True)
    g.monitor.command("device_add", driver="virtio-rng-pci", id="late", bus="pcie.7")
    g.monitor.command("cont")
    g.wait_for("[ -e /sys/bus/pci/devices/0000:07:00.0/driver ]")
    assert in_guest(g) == in_query(g) | {"0000:03:1e.0"}  # torn out: the guest's driver still has it
    g.monitor.command("stop")
    g.monitor.command("device_del", id="late")
    g.monitor.command("system_reset")
    g.deleted("late")
    assert "0000:07:00.0" not in in_query(g)
    g.monitor.command("quit")
    assert g.vm.wait() == 0


def test_pmem_comes_and_goes(boot, tmp_path):
    g = boot("-c", "2")
    g.sh("modprobe -a virtio_pmem nd_pmem")
    for turn in (b"one", b"two"):
        added = g.monitor.command("pmem-add", path=str(image(tmp_path / turn.decode(), content=turn)))
        assert added["slot"] == 0
        g.wait_for("[ -b /dev/pmem0 ]")
        assert g.sh("head -c 3 /dev/pmem0") == turn.decode()
        g.sh("printf THE | dd of=/dev/pmem0 conv=notrunc,fsync 2>/dev/null")
        assert (tmp_path / turn.decode()).read_bytes()[:3] == b"THE"
        g.monitor.command("pmem-remove", slot=0)
        g.wait_for("[ ! -e /dev/pmem0 ]")


def ping(g, host, count=3):
    g.sh(f"ping -q -c{count} -i 0.2 -W5 {host} >/dev/null")


def nic_up(g, pci):
    g.wait_for(f"[ -e /sys/bus/pci/devices/{pci}/virtio*/net/eth0 ]")
    g.sh("ip addr add 10.77.0.2/24 dev eth0; ip addr add 10.77.1.2/24 dev eth0; ip link set eth0 up")


def test_nics_come_and_go(boot):
    for module in ("tun", "vhost_net", "af_packet"):
        subprocess.run(["/sbin/modprobe", "-q", module])
    net = Namespace()
    try:
        net.tap("tap0", "10.77.0.1/24", queues=2)
        net.tap("tap1", "10.77.1.1/24")
        g = boot("-c", "2", preexec_fn=net.enter)
        g.sh("modprobe virtio_net")
        nics_of_descriptors(g, net)
        nics_by_name(g)
    finally:
        net.close()


def nics_of_descriptors(g, net):
    """As govmm does it, of the tap's queues and of vhost-net; and again with the same."""
    for i, fd in enumerate(net.tap_fds("tap0", 2)):
        g.monitor.getfd(f"fd{i}", fd)
        g.monitor.getfd(f"vhost{i}", os.open("/dev/vhost-net", os.O_RDWR))
    g.monitor.command("netdev_add", type="tap", id="net", fds="fd0:fd1", vhost=True, vhostfds="vhost0:vhost1")
    for _ in range(2):
        g.monitor.command("device_add", driver="virtio-net-pci", id="nic", netdev="net", mac="02:00:00:00:00:07", mq="on",
                          vectors=6, bus="pcie.2", addr="3", romfile="")
        nic_up(g, "0000:02:03.0")
        g.sh("[ $(cat /sys/class/net/eth0/address) = 02:00:00:00:00:07 ] && [ $(ls -d /sys/class/net/eth0/queues/rx-* | wc -l) = 2 ]")
        ping(g, "10.77.0.1")
        assert "in use" in g.monitor.reply("netdev_del", id="net")["error"]["desc"]
        g.delete("nic")
        g.wait_for("[ ! -e /sys/class/net/eth0 ]")
    g.monitor.command("netdev_del", id="net")


def nics_by_name(g):
    """The counters are the guest's; the cable is pulled; and it ends at another interface."""
    before = held(g.pid())
    nic = g.monitor.command("nic-add", backend="tap=tap0,queues=2")
    nic_up(g, nic["pci"])
    ping(g, "10.77.0.1", 20)
    counted = g.monitor.command("stats", types=["nic"])["nic"][0]
    bytes_, packets = map(int, g.sh("cat /sys/class/net/eth0/statistics/tx_bytes /sys/class/net/eth0/statistics/tx_packets").split())
    assert counted["mac"] == nic["mac"] and counted["link"] == "up"
    assert 20 <= counted["sent-packets"] <= packets <= counted["sent-packets"] + 5
    assert 20 * 98 <= counted["sent-bytes"] <= bytes_ and counted["received-packets"] >= 20
    g.monitor.command("nic-update", id=nic["id"], link="down")
    g.wait_for("[ $(cat /sys/class/net/eth0/carrier) = 0 ]")
    error = g.monitor.reply("nic-update", id=nic["id"], backend="tap=tap1")["error"]
    assert error["class"] in ("NotSupported", "InvalidConfig"), error
    g.monitor.command("nic-remove", id=nic["id"])
    assert held(g.pid()) == before

    nic = g.monitor.command("nic-add", id="again", backend="tap=tap0")
    nic_up(g, nic["pci"])
    ping(g, "10.77.0.1")
    g.monitor.command("nic-update", id="again", backend="tap=tap1", link="up")
    ping(g, "10.77.1.1")
    g.monitor.command("nic-remove", id="again")


def test_devices_before_the_start_are_there_from_the_start(run, tmp_path):
    path = tmp_path / "monitor"
    vm = run("--paused", "--serial", "null", "--console", "stdio", "--monitor", path, params="mote.test=shell")
    monitor = Session(path)
    monitor.command("disk-add", path=str(image(tmp_path / "a")))
    gone = monitor.command("disk-add", path=str(image(tmp_path / "b")))
    monitor.command("disk-remove", id=gone["id"])
    monitor.command("device_add", driver="virtio-rng-pci", id="r", bus="pcie.9", addr="1f")
    monitor.command("cont")
    vm.expect("MOTE-READY")
    vm.send("ls /sys/block /sys/bus/pci/devices; dmesg | grep -c 'Load.*SSDT'; echo DO''NE\n")
    vm.expect("^DONE")
    assert b"vda" in vm.out and b"vdb" not in vm.out
    assert b"0000:09:1f.0" in vm.out


def mount(g, tag):
    g.wait_for(f"mkdir -p /mnt/{tag} && mount -t 9p -o trans=virtio,version=9p2000.L,cache=none {tag} /mnt/{tag} 2>/dev/null")


def test_shares_come_and_go(boot, ctl, tmp_path):
    """Before the start and later; a mounted one stays until it is not; the host's directory may go first."""
    for name in ("early", "boot", "a", "gone", "ro"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    path = {name: str(tmp_path / name) for name in ("early", "boot", "a", "gone", "ro")}
    g = boot("--9p", f"{path['boot']},tag=boot", kernel_name="generic",
             before=lambda m: m.command("share-add", path=path["early"], tag="early"))
    m = g.monitor
    g.sh("modprobe -a 9p 9pnet_virtio")
    for tag in ("boot", "early"):
        mount(g, tag)
        assert g.sh(f"cat /mnt/{tag}/file") == tag
    before, _ = held(g.pid())

    for _ in range(2):
        assert m.command("share-add", path=path["a"]) == {"tag": "share0", "refs": 1}
        assert m.command("share-add", path=path["a"] + "/.") == {"tag": "share0", "refs": 2}
        assert m.reply("share-add", path=path["a"], readonly=True)["error"]["class"] == "AlreadyAttached"
        mount(g, "share0")
        g.sh("cat /mnt/share0/file; echo guest >/mnt/share0/new")
        assert (tmp_path / "a/new").read_text() == "guest\n"
        assert m.command("share-remove", path=path["a"]) == {"tag": "share0", "refs": 1}
        assert "share-share0" in m.reply("share-remove", path=path["a"], timeout_ms=500)["error"]["desc"]
        g.sh("rm /mnt/share0/new; umount /mnt/share0")
        assert m.command("share-remove", path=path["a"]) == {"tag": "share0", "refs": 0}
    assert m.reply("share-remove", path=path["a"])["error"]["class"] == "NotAttached"

    m.command("share-add", path=path["gone"], tag="gone")
    mount(g, "gone")
    shutil.rmtree(path["gone"])
    g.sh("! ls /mnt/gone/file 2>/dev/null && ! mkdir /mnt/gone/dir 2>/dev/null && ls /mnt/gone && umount /mnt/gone")
    assert m.command("share-remove", path=path["gone"]) == {"tag": "gone", "refs": 0}

    # Where the host's file system is taken away, the guest keeps what it has.
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", path["a"]], check=True)
    (tmp_path / "a/on-tmpfs").write_text("still here")
    m.command("share-add", path=path["a"], tag="fs")
    mount(g, "fs")
    subprocess.run(["umount", "-l", path["a"]], check=True)
    assert g.sh("cat /mnt/fs/on-tmpfs") == "still here"
    g.sh("echo x >/mnt/fs/new; cat /mnt/fs/new; ls /mnt/fs/..; umount /mnt/fs")
    assert m.command("share-remove", tag="fs") == {"tag": "fs", "refs": 0}
    assert (tmp_path / "a/file").exists() and not (tmp_path / "a/new").exists()

    ctl(tmp_path / "monitor", "device_add", "driver=virtio-9p-pci", "id=dev", f"path={path['ro']}", "mount_tag=ro", "readonly=on")
    mount(g, "ro")
    g.sh("cat /mnt/ro/file; ! touch /mnt/ro/new 2>/dev/null; umount /mnt/ro")
    g.delete("dev")
    assert held(g.pid())[0] == before

    g.sh("umount /mnt/boot")
    assert m.command("share-remove", tag="boot") == {"tag": "boot", "refs": 0}
    g.vm.send("poweroff -f\n")
    assert g.vm.wait() == 0


def add_and_remove(g, disk, times):
    for _ in range(times):
        added = g.monitor.command("disk-add", path=str(disk))
        g.monitor.command("device_add", driver="virtio-rng-pci", id="r", bus="pcie.2")
        g.wait_for(f"[ -e /sys/bus/pci/devices/{added['pci']}/virtio*/block ] &&"
                   " [ -e /sys/bus/pci/devices/0000:02:00.0/driver ]")
        g.monitor.command("disk-remove", id=added["id"])
        g.delete("r")


def no_leak(boot, tmp_path, times):
    g = boot("-c", "2")
    disk = image(tmp_path / "disk")
    add_and_remove(g, disk, 2)
    before = held(g.pid())
    add_and_remove(g, disk, times)
    assert held(g.pid()) == before


def test_nothing_stays_of_what_has_gone(boot, tmp_path):
    no_leak(boot, tmp_path, 8)


@pytest.mark.long
def test_nothing_stays_of_a_thousand(boot, tmp_path):
    no_leak(boot, tmp_path, 1000)


def settle(g, disks, pmems):
    g.sh(f"n=0; until [ $(ls -d /sys/block/vd* 2>/dev/null | wc -l) = {disks} ] && [ $(ls -d /sys/block/pmem* 2>/dev/null | wc -l) = {pmems} ];"
         " do n=$((n+1)); [ $n -lt 3000 ]; sleep 0.1; done", timeout=900)
    assert in_guest(g) == in_query(g)


def many(boot, tmp_path, count, pmems=0):
    """On one processor, whose interrupt vectors are used up at 88 disks: the others have INTx."""
    g = boot("-c", "1", "-m", "1G", "--rng", "off", "--pmem-max", max(1, pmems))
    if pmems:
        g.sh("modprobe -a virtio_pmem nd_pmem")
    added = [g.monitor.command("disk-add", path=str(image(tmp_path / str(i), 1, b"%d\n" % i))) for i in range(count)]
    added += [g.monitor.command("pmem-add", path=str(image(tmp_path / f"p{i}", 2, b"%d\n" % (count + i)))) for i in range(pmems)]
    assert len({one["pci"] for one in added}) == count + pmems
    settle(g, count, pmems)
    # Every one answers, whichever interrupt it has.
    text = g.sh("for d in /sys/block/vd* /sys/block/pmem*; do [ ! -e $d ] || head -n 1 /dev/${d##*/}; done", timeout=600)
    assert sorted(map(int, text.split())) == list(range(count + pmems))
    assert re.search(r"IO-APIC.*virtio", g.sh("cat /proc/interrupts"))
    for i in (0, count // 2, count - 1):
        g.monitor.command("disk-remove", id=added[i]["id"])
    again = g.monitor.command("disk-add", path=str(tmp_path / "0"))
    assert again["pci"] == added[0]["pci"]
    g.wait_for(f"[ -e /sys/bus/pci/devices/{again['pci']}/virtio*/block ]")
    assert g.sh(f"head -n 1 /dev/$(ls /sys/bus/pci/devices/{again['pci']}/virtio*/block)").strip() == "0"
    gone = {added[i]["id"] for i in (0, count // 2, count - 1)}
    return g, [one for one in added if one["id"] not in gone] + [again]


def test_more_disks_than_interrupt_vectors(boot, tmp_path):
    many(boot, tmp_path, 100)


@pytest.mark.long
def test_256_disks_and_128_pmem(boot, tmp_path):
    """Then all go, in any order and all at once, and others have their places."""
    g, there = many(boot, tmp_path, 256, 128)
    random.Random(1).shuffle(there)
    for one in there:
        g.monitor.command("device_del", id=one["id"])
    left = {one["id"] for one in there}
    while left:
        left.discard(g.monitor.event("DEVICE_DELETED")["data"]["device"])
    settle(g, 0, 0)
    for i in range(256):
        g.monitor.command("disk-add", path=str(tmp_path / str(i)))
    for i in range(128):
        g.monitor.command("pmem-add", path=str(tmp_path / f"p{i}"))
    settle(g, 256, 128)
