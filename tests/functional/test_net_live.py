# SPDX-License-Identifier: MIT
"""Network devices of a running guest: what is counted, and what is changed."""

import socket
import subprocess
import time

import pytest

from conftest import script
from netns import Namespace
from qmp import Session
from test_hotplug import Guest
from test_vsock import ECHO, connect, echo


@pytest.fixture
def namespace():
    for module in ("tun", "af_packet"):
        subprocess.run(["/sbin/modprobe", "-q", module])
    made = []

    def make():
        made.append(Namespace())
        return made[-1]

    yield make
    for each in made:
        each.close()


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


def test_a_running_guest(run, namespace, tmp_path):
    net = namespace()
    net.tap("tap0", "10.77.0.1/24")
    net.tap("tap1", "10.77.1.1/24")
    g = Guest(run, tmp_path / "monitor", "-n", "tap=tap0,id=front,mac=02:00:00:00:00:01", preexec_fn=net.enter)
    g.sh("modprobe virtio_net; for i in all default; do echo 1 >/proc/sys/net/ipv6/conf/$i/disable_ipv6; done")
    link_and_counters(g, net)
    another_network(g, net)
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
    monitor = Session(tmp_path / "m")
    monitor.command("stop")
    monitor.command("save", directory=str(tmp_path / "saved"))
    monitor.command("quit")
    assert vm.wait() == 0 and held.recv(1) == b""

    clone = mote("restore", tmp_path / "saved", "--monitor", tmp_path / "m2", "--net", "id=front,tap=tap1", "--vsock",
                 f"cid=3,path={tmp_path}/w", preexec_fn=net.enter)
    monitor = Session(tmp_path / "m2")
    with connect(tmp_path / "w", ECHO) as s:
        s.sendall(b"E")
        echo(s, b"anew")
    eventually(lambda: "02:00:00:00:00:01" in net.run("/sbin/ip", "neigh", "show", "10.77.1.2", "dev", "tap1"), 20)
    clone.expect("^over: .*reset")
    clone.expect("^after")
    monitor.command("quit")
    assert clone.wait() == 0
