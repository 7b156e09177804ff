# SPDX-License-Identifier: MIT
"""Network devices of a running guest: what is counted, what is changed, and networks that are slow to take what it sends."""

import hashlib
import itertools
import os
import socket
import stat
import struct
import subprocess
import threading
import time
from pathlib import Path

import pytest

from conftest import script
from netns import Namespace
from netpeer import MAC, answer, checksum
from qmp import Session
from test_hotplug import Guest
from test_vsock import ECHO, connect, echo

VHOST_BYTES = 1 << 20
MODULES = ("tun", "vhost_net", "macvtap", "veth", "bridge", "sch_tbf", "af_packet")


@pytest.fixture
def namespace():
    for module in MODULES:
        subprocess.run(["/sbin/modprobe", "-q", module])
    made = []

    def make():
        made.append(Namespace())
        return made[-1]

    yield make
    for each in made:
        each.close()


class StreamPeer(threading.Thread):
    """
    What speaks frames behind their length: answers ARP, and keeps what else it got by its protocol, with the checksums looked at. It can
    be told to read no more.
    """

    def __init__(self, path):
        super().__init__(daemon=True)
        self.listener = socket.create_server(str(path), family=socket.AF_UNIX)
        self.reading = threading.Event()
        self.reading.set()
        self.got = {1: [], 17: []}
        self.bad = 0
        self.start()

    def run(self):
        self.client = self.listener.accept()[0]
        stream = self.client.makefile("rb")
        while head := stream.read(4):
            self.reading.wait()
            frame = stream.read(struct.unpack(">I", head)[0])
            if frame[12:14] == b"\x08\x00":
                self.ip(frame[14:])
            elif reply := answer(frame):
                self.send(reply)

    def send(self, frame):
        self.client.sendall(struct.pack(">I", len(frame)) + frame)

    def ip(self, packet):
        """Nobody but the guest computes checksums on this way."""
        kind, body = packet[9], packet[20:struct.unpack(">H", packet[2:4])[0]]
        pseudo = packet[12:20] + struct.pack(">HH", 17, len(body)) if kind == 17 else b""
        self.bad += checksum(packet[:20]) != 0 or checksum(pseudo + body) != 0
        self.got[kind].append(body)

    def send_udp(self, to_mac, source, to, port, data, spoil=0):
        addresses = socket.inet_aton(source) + socket.inet_aton(to)
        head = struct.pack(">HHH", 7, port, 8 + len(data))
        total = checksum(addresses + struct.pack(">HH", 17, 8 + len(data)) + head + b"\0\0" + data)
        udp = head + struct.pack(">H", total ^ spoil) + data
        ip = bytearray(struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0) + addresses)
        ip[10:12] = struct.pack(">H", checksum(bytes(ip)))
        self.send(to_mac + MAC + b"\x08\x00" + bytes(ip) + udp)

    def echo_requests(self):
        """Who sent them, and their sequence numbers."""
        return [struct.unpack(">HH", body[4:8]) for body in self.got[1] if body[0] == 8]


def io_seconds(pid):
    """What the thread that moves the packets has used of a processor."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        if (task / "comm").read_text() == "mote-io\n":
            return int((task / "schedstat").read_text().split()[0]) / 1e9
    raise AssertionError("no thread mote-io")


def counters(g, nic):
    return next(each for each in g.monitor.command("stats", types=["nic"])["nic"] if each["id"] == nic)


def guest_counters(g, device):
    names = "rx_packets rx_bytes tx_packets tx_bytes".split()
    return [int(word) for word in g.sh(f"cd /sys/class/net/{device}/statistics; cat {' '.join(names)}; cd /").split()]


def check_counters(g, nic, device):
    """Both sides have counted the same; the guest's driver is told of what it sent a little later."""
    for _ in range(20):
        mine = counters(g, nic)
        mine = [mine[f"{way}-{what}"] for way in ("received", "sent") for what in ("packets", "bytes")]
        theirs = guest_counters(g, device)
        if mine == theirs:
            return mine
        time.sleep(0.2)
    raise AssertionError(f"{nic}: {mine}, the guest has {theirs}")


def eventually(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def link_and_counters(g, net):
    """What is sent and received is counted, packet by packet; what comes while the cable is out is dropped, and that is counted, too."""
    g.sh("ip addr add 10.77.0.2/24 dev eth0; ip addr add 10.77.1.2/24 dev eth0; ip link set eth0 up")
    g.sh("ping -q -c 20 -i 0.02 -s 1200 10.77.0.1 >/dev/null && ping -q -c 2 -s 30000 10.77.0.1 >/dev/null")
    before = check_counters(g, "front", "eth0")
    assert before[0] >= 22 + 40 and before[1] > 20 * 1242 + 60000 and before[3] > 20 * 1242 + 60000
    counted = counters(g, "front")
    assert not any(counted[f"{way}-{what}"] for way in ("received", "sent") for what in ("errors", "drops"))
    g.monitor.command("set_link", {"name": "front", "up": False})
    g.wait_for("[ $(cat /sys/class/net/eth0/carrier) = 0 ]")
    before = counters(g, "front")
    net.ip("neigh replace 10.77.0.2 lladdr 02:00:00:00:00:01 dev tap0")
    net.run("/usr/bin/python3", "-c", "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
            "for _ in range(5): s.sendto(b'lost', ('10.77.0.2', 9))")
    dropped = counters(g, "front")
    assert dropped["link"] == "down" and dropped["received-drops"] >= before["received-drops"] + 5
    assert dropped["received-packets"] == before["received-packets"]
    g.monitor.command("set_link", {"name": "front", "up": True})
    g.wait_for("[ $(cat /sys/class/net/eth0/carrier) = 1 ]")
    g.sh("ping -q -c 1 -W 5 10.77.0.1 >/dev/null")
    check_counters(g, "front", "eth0")


def another_network(g, net):
    """The guest tells it where its addresses are, and goes on as if nothing was."""
    net.run("/sbin/sysctl", "-q", "-w", "net.ipv4.conf.tap1.arp_accept=1")
    g.monitor.command("nic-update", id="front", backend="tap=tap1")
    eventually(lambda: "02:00:00:00:00:01" in net.run("/sbin/ip", "neigh", "show", "10.77.1.2", "dev", "tap1"), 20)
    g.sh("ping -q -c 3 -i 0.1 -W 5 10.77.1.1 >/dev/null")
    g.sh("! ping -q -c 1 -W 1 10.77.0.1 >/dev/null")
    check_counters(g, "front", "eth0")


def plug(g, nic, backend, **more):
    """One more NIC, eth1 in the guest."""
    pci = g.monitor.command("nic-add", id=nic, backend=backend, **more)["pci"]
    g.wait_for(f"[ -e /sys/bus/pci/devices/{pci}/virtio*/net/eth1 ]")


def macvtap(g, net, far):
    """Its descriptor, handed over: no name of it is ever used."""
    net.ip(f"link add vc type veth peer name vd netns {far.name}")
    far.ip("addr add 10.81.0.1/24 dev vd")
    far.ip("link set vd up")
    net.ip("link set vc up")
    net.ip("link add link vc name mv0 type macvtap mode bridge")
    net.ip("link set mv0 address 02:00:00:00:00:09 up")
    number = net.in_sysfs("mv0/ifindex")
    major, minor = net.in_sysfs(f"mv0/tap{number}/dev").split(":")
    node = Path("/dev/mote-test-macvtap")
    os.mknod(node, 0o600 | stat.S_IFCHR, os.makedev(int(major), int(minor)))
    try:
        g.monitor.getfd("mv", os.open(node, os.O_RDWR))
    finally:
        node.unlink()
    plug(g, "mv", "fd=mv", mac="02:00:00:00:00:09")
    g.sh("ip addr add 10.81.0.2/24 dev eth1; ip link set eth1 up; ping -q -c 3 -i 0.1 -W 5 10.81.0.1 >/dev/null")
    g.sh("ping -q -c 1 -s 20000 -W 5 10.81.0.1 >/dev/null")
    check_counters(g, "mv", "eth1")
    g.monitor.command("nic-remove", id="mv")


def full_tap(g, net, far):
    """What is behind the interface is slow: the guest's sender is held up, nothing is lost."""
    pings, fragments = 150, 6
    for command in ("link add br0 type bridge", "link set tap2 master br0", "link set br0 up",
                    f"link add va type veth peer name vb netns {far.name}", "link set va master br0 up"):
        net.ip(command)
    far.ip("addr add 10.80.0.1/24 dev vb")
    far.ip("link set vb up")
    net.run("/sbin/tc", *"qdisc add dev va root tbf rate 2mbit burst 16k limit 4m".split())

    def arrived():
        names, values = [line.split() for line in far.run("/bin/cat", "/proc/net/snmp").splitlines() if line.startswith("Icmp:")]
        return int(values[names.index("InEchos")])

    plug(g, "full", "tap=tap2")
    g.sh("ip addr add 10.80.0.2/24 dev eth1; ip link set eth1 up; ping -q -c 1 -W 5 10.80.0.1 >/dev/null")
    before, used, sent = arrived(), io_seconds(g.pid()), counters(g, "full")["sent-packets"]
    # No socket has more than its send buffer takes.
    g.sh(f"for i in 1 2 3 4 5; do (ping -q -c {pings // 5} -i 0.0002 -s 8000 10.80.0.1 >/dev/null 2>&1 </dev/null &); done")
    seen = []

    def all_taken():
        seen.append(counters(g, "full")["sent-packets"] - sent)
        return seen[-1] >= pings * fragments

    eventually(all_taken)
    # It stood still, for at least a third of a second.
    assert max((len(list(same)) for n, same in itertools.groupby(seen) if n), default=0) > 3, seen
    eventually(lambda: arrived() - before == pings)
    # And was woken for what became free, not all the time.
    assert io_seconds(g.pid()) - used < 1.5
    counted = counters(g, "full")
    assert counted["sent-drops"] == counted["sent-errors"] == 0
    assert "dropped 0" in net.run("/sbin/tc", "-s", "qdisc", "show", "dev", "va")
    g.monitor.command("nic-remove", id="full")


def slow_stream(g, path):
    """A peer that does not read holds the guest's sender up, and costs nothing; then all is there, in order."""
    pings = 400
    peer = StreamPeer(path)
    plug(g, "slow", f"unix={path}", mac="02:00:00:00:00:02")
    g.sh("ip addr add 10.79.0.2/24 dev eth1; ip link set eth1 up; ping -q -c 1 -W 1 10.79.0.1 >/dev/null; :")
    eventually(peer.echo_requests)
    del peer.got[1][:]
    peer.reading.clear()
    # No socket has more than its send buffer takes.
    g.sh(f"for i in 1 2 3 4; do (ping -q -c {pings // 4} -i 0.0002 -s 1000 10.79.0.1 >/dev/null 2>&1 </dev/null &); done")
    time.sleep(2)
    used, stuck = io_seconds(g.pid()), counters(g, "slow")["sent-packets"]
    time.sleep(1.5)
    assert counters(g, "slow")["sent-packets"] == stuck < pings
    assert io_seconds(g.pid()) - used < 0.1
    g.sh("ping -q -c 2 -i 0.1 -W 5 10.77.1.1 >/dev/null")
    peer.reading.set()
    eventually(lambda: len(peer.echo_requests()) >= pings, 30)
    for sender in {sender for sender, _ in peer.echo_requests()}:
        assert [number for who, number in peer.echo_requests() if who == sender] == list(range(pings // 4))
    counted = counters(g, "slow")
    assert counted["sent-drops"] == counted["sent-errors"] == 0
    # Both ways checksums are the guest's business here: it answers that nobody listens, where the datagram is right.
    del peer.got[1][:]
    for spoil, port in ((0x1234, 7777), (0, 7778)):
        peer.send_udp(bytes.fromhex("020000000002"), "10.79.0.1", "10.79.0.2", port, b"some text", spoil)
    eventually(lambda: peer.got[1])
    time.sleep(0.3)
    assert [struct.unpack(">H", body[30:32])[0] for body in peer.got[1] if body[:2] == b"\x03\x03"] == [7778]
    g.sh("timeout 1 tftp -g -r x -l /tmp/y 10.79.0.1 >/dev/null 2>&1; :")
    assert peer.got[17] and not peer.bad
    check_counters(g, "slow", "eth1")


def test_a_running_guest(run, namespace, tmp_path):
    net, far = namespace(), namespace()
    net.tap("tap0", "10.77.0.1/24")
    net.tap("tap1", "10.77.1.1/24")
    net.ip("tuntap add dev tap2 mode tap vnet_hdr")
    net.ip("link set tap2 up")
    g = Guest(run, tmp_path / "monitor", "-n", "tap=tap0,id=front,mac=02:00:00:00:00:01", preexec_fn=net.enter)
    g.sh("modprobe virtio_net; for i in all default; do echo 1 >/proc/sys/net/ipv6/conf/$i/disable_ipv6; done")
    link_and_counters(g, net)
    another_network(g, net)
    # Linux' own choice, fq_codel, drops what has had to wait.
    g.sh("echo pfifo_fast >/proc/sys/net/core/default_qdisc")
    macvtap(g, net, far)
    full_tap(g, net, far)
    slow_stream(g, tmp_path / "peer")
    g.monitor.command("quit")
    assert g.vm.wait() == 0


def test_vhost_learns_of_memory(run, namespace, tmp_path):
    """More regions than the kernel's table takes, of which those that matter are in it; and memory, or another tap, that comes while it
    works."""
    net = namespace()
    net.tap("tap0", "10.77.0.1/24")
    net.tap("tap1", "10.77.1.1/24")
    net.peer("serve", "10.77.0.1", str(VHOST_BYTES))
    more, *files = [tmp_path / f"p{i}" for i in range(71)]
    for file in (more, *files):
        file.touch()
        os.truncate(file, 2 << 20)
    pmem = [word for file in files for word in ("--pmem", file)]
    g = Guest(run, tmp_path / "monitor", "-m", "256M,max=1G", "--pmem-max", "128", *pmem, "-n", "tap=tap0,vhost=on",
              preexec_fn=net.enter)
    g.sh("modprobe virtio_net; modprobe -q virtio_mem; ip addr add 10.77.0.2/24 dev eth0; ip addr add 10.77.1.2/24 dev eth0;"
         "ip link set eth0 up; ping -q -c 2 -i 0.1 -W 5 10.77.0.1 >/dev/null")
    g.sh("echo online_kernel >/sys/devices/system/memory/auto_online_blocks; :")
    assert g.monitor.command("memory-set", size="768M", timeout_ms=60000)["plugged"] == 768 << 20
    # What the kernel takes for packets is now the memory above 4 GiB.
    g.sh("grep -q Normal /proc/buddyinfo")
    g.sh("ping -q -c 3 -i 0.1 -s 8000 -W 5 10.77.0.1 >/dev/null")
    # The shell's input is not for nc.
    g.sh(f"[ $(nc -w 20 10.77.0.1 7002 </dev/null | wc -c) = {VHOST_BYTES} ]")
    g.sh(f"[ \"$(dd if=/dev/zero bs=64k count={VHOST_BYTES >> 16} 2>/dev/null | nc -w 20 10.77.0.1 7001 | head -c32)\" = "
         f"{hashlib.md5(bytes(VHOST_BYTES)).hexdigest()} ]")
    counted = g.monitor.command("stats", types=["nic"])["nic"][0]
    assert counted["vhost"] and counted["sent-packets"] is None
    # A region more, the cable, and another interface.
    g.monitor.command("pmem-add", path=str(more))
    g.sh("ping -q -c 1 -W 5 10.77.0.1 >/dev/null")
    g.monitor.command("nic-update", id="net0", link="down")
    g.wait_for("[ $(cat /sys/class/net/eth0/carrier) = 0 ]")
    g.monitor.command("nic-update", id="net0", backend="tap=tap1", link="up")
    g.wait_for("[ $(cat /sys/class/net/eth0/carrier) = 1 ]")
    g.sh("ping -q -c 2 -i 0.1 -s 8000 -W 5 10.77.1.1 >/dev/null")
    g.monitor.command("quit")
    assert g.vm.wait() == 0


RESTORED = f"""
modprobe vmw_vsock_virtio_transport
ip addr add 10.77.0.2/24 dev eth0; ip addr add 10.77.1.2/24 dev eth0; ip link set eth0 up
ping -q -c 1 -W 5 10.77.0.1 >/dev/null && echo before
vsock-tool serve vsock:4294967295:{ECHO} >/dev/null 2>&1 &
vsock-tool receive vsock:2:6000 1000 >/tmp/r 2>&1
echo "over: $(cat /tmp/r)"
ping -q -c 1 -W 5 10.77.1.1 >/dev/null && echo after
sleep 1000
"""


def test_after_a_restore(run, mote, namespace, tmp_path):
    """The network is told where the guest is now, its streams end, and who listens in it is reached at once."""
    net = namespace()
    net.tap("tap0", "10.77.0.1/24")
    net.tap("tap1", "10.77.1.1/24")
    net.run("/sbin/sysctl", "-q", "-w", "net.ipv4.conf.tap1.arp_accept=1")
    host = socket.create_server(f"{tmp_path}/v_6000", family=socket.AF_UNIX)
    host.settimeout(120)
    vm = run("-m", "192", "-n", "tap=tap0,id=front,mac=02:00:00:00:00:01", "--vsock", f"cid=3,path={tmp_path}/v", "--monitor",
             tmp_path / "m", params=script(RESTORED), preexec_fn=net.enter)
    vm.expect("^before")
    held = host.accept()[0]
    assert held.recv(1) == b"G"
    streams = []
    eventually(lambda: streams.append(connect(tmp_path / "v", ECHO)) or streams[-1])
    streams[-1].sendall(b"E")
    echo(streams[-1], b"before")
    monitor = Session(tmp_path / "m")
    monitor.command("stop")
    monitor.command("save", directory=str(tmp_path / "saved"))
    monitor.command("quit")
    assert vm.wait() == 0 and held.recv(1) == b""

    clone = mote("restore", tmp_path / "saved", "--monitor", tmp_path / "m2", "--net", "id=front,tap=tap1", "--vsock",
                 f"cid=3,path={tmp_path}/w", preexec_fn=net.enter)
    # Whoever is there before the guest hears that its streams are gone is not one of them. Until its state is loaded there is nobody.
    eventually((tmp_path / "w").exists)
    eventually(lambda: streams.append(connect(tmp_path / "w", ECHO)) or streams[-1])
    with streams[-1] as s:
        s.sendall(b"E")
        echo(s, b"anew")
    monitor = Session(tmp_path / "m2")
    eventually(lambda: "02:00:00:00:00:01" in net.run("/sbin/ip", "neigh", "show", "10.77.1.2", "dev", "tap1"), 20)
    clone.expect("^over: .*reset")
    clone.expect("^after")
    monitor.command("quit")
    assert clone.wait() == 0
