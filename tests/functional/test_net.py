# SPDX-License-Identifier: MIT
"""Network devices, from a stock kernel to a tap, a passt or a socket."""

import contextlib
import hashlib
import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from conftest import MOTE, kernel, initrd, script
from netns import Namespace
from netpeer import pattern

BYTES = 4 << 20
UDP_BYTES = 256 << 10  # netpeer.py's
PASST_BYTES = 256 << 10  # in segments of a few hundred bytes
HOST, GUEST = "10.77.0.1", "10.77.0.2"

# TCP both ways with checksums over the content, UDP by TFTP, a ping that has to be cut into fragments, or not with a large MTU.
TRANSFERS = """
dd if=/dev/urandom of=/tmp/out bs=1k count={kib} 2>/dev/null
test "$( ({{ cat /tmp/out; {hold}; }} | nc -w 20 {host} 7001) | head -c32)" = "$(md5sum </tmp/out | head -c32)" && echo sent
test "$(nc -w 20 {host} 7002 | md5sum | head -c32)" = {received} && echo received
tftp -g -r x -l /tmp/x {host} && test "$(md5sum </tmp/x | head -c32)" = {udp} && echo udp
"""
PING = "ping -q -c2 -s {ping} {host} >/dev/null && echo ping\n"
ALL = ["sent", "received", "udp", "ping"]


def md5(count):
    return hashlib.md5(pattern(count)).hexdigest()


def transfers(host=HOST, count=BYTES, hold="true"):
    return TRANSFERS.format(host=host, hold=hold, kib=count >> 10, received=md5(count), udp=md5(min(count, UDP_BYTES)))


def ping(size=8000):
    return PING.format(host=HOST, ping=size)


def static(device="eth0", address=GUEST):
    return f"ip addr add {address}/24 dev {device}; ip link set {device} up\n"


@pytest.fixture(scope="module", autouse=True)
def modules():
    for module in ("tun", "vhost_net", "veth", "af_packet"):
        subprocess.run(["/sbin/modprobe", "-q", module])


@pytest.fixture
def namespace():
    made = []

    def make():
        made.append(Namespace())
        return made[-1]

    yield make
    for each in made:
        each.close()


def offered(out):
    """The feature bits that the guest's driver took, from sysfs."""
    bits = re.search(r"^features ([01]+)$", out, re.M).group(1)
    return {i for i, bit in enumerate(bits) if bit == "1"}


# At once, and how many queues had a part in it.
PARALLEL = """
for i in 1 2 3 4; do
    (test "$(nc -w 60 {host} 7002 | md5sum | head -c32)" = {received} && echo parallel) &
    (test "$(nc -w 60 {host} 7001 </tmp/out | head -c32)" = "$(md5sum </tmp/out | head -c32)" && echo parallel) &
done
wait
echo queues $(awk '/virtio[0-9]+-input/ {{ for (i = 2; i < 6; i++) n += $i; if (n) used++; n = 0 }} END {{ print used }}' /proc/interrupts)
"""

FEATURES = "echo features $(cat /sys/class/net/eth0/device/features)\n"


def test_tap_with_four_queues_and_a_link_that_flaps(run, ctl, namespace, tmp_path):
    """Offloads, MTU, queues, transfers, eight of them at once; then the cable is pulled and put back."""
    net = namespace()
    net.tap("tap0", f"{HOST}/24", queues=4, mtu=9000)
    net.peer("serve", HOST, str(BYTES))
    socket = tmp_path / "monitor"
    vm = run("-n", "tap=tap0,queues=4,id=front,mac=02:00:00:00:00:07", "-c", "4", "--monitor", socket,
             params=script(static() + FEATURES + "cat /sys/class/net/eth0/mtu /sys/class/net/eth0/address\n"
                           "ls -d /sys/class/net/eth0/queues/rx-* | wc -l\n" + transfers() + ping(8900) +
                           PARALLEL.format(host=HOST, received=md5(BYTES)) +
                           "echo flap\n"
                           "until test $(cat /sys/class/net/eth0/carrier) = 0; do sleep 0.1; done\n"
                           "ping -q -c1 -W1 10.77.0.1 >/dev/null || echo down\n"
                           "until test $(cat /sys/class/net/eth0/carrier) = 1; do sleep 0.1; done\n"
                           "ping -q -c1 -W5 10.77.0.1 >/dev/null && echo up\n"),
             preexec_fn=net.enter)
    vm.expect("^flap")
    ctl(socket, "set_link", "name=front", "up=false")
    vm.expect("^down")
    ctl(socket, "set_link", "name=front", "up=true")
    vm.expect("MOTE-STATUS 0")
    assert vm.wait() == 0
    out = vm.out.decode().replace("\r", "")
    # CSUM, GUEST_CSUM, MTU, MAC, TSO both ways, MRG_RXBUF, STATUS, CTRL_VQ, MQ, EVENT_IDX
    assert {0, 1, 3, 5, 7, 8, 11, 12, 15, 16, 17, 22, 29} <= offered(out)
    assert "\n9000\n02:00:00:00:00:07\n4\n" in out
    assert [line for line in out.splitlines() if line in ALL + ["up"]] == ALL + ["up"]
    assert out.splitlines().count("parallel") == 8
    assert int(re.search(r"^queues (\d+)$", out, re.M).group(1)) >= 2


@pytest.mark.parametrize("params", ("", "pci=nomsi"), ids=("msix", "intx"))
def test_vhost(guest, namespace, params):
    """Descriptors of a runtime's, with two queues; or a tap that mote opens itself. Either way the kernel moves the packets."""
    net = namespace()
    queues = 1 if params else 2
    net.tap("tap0", f"{HOST}/24", queues=queues)
    net.peer("serve", HOST, str(BYTES))
    fds = [] if params else net.tap_fds("tap0", queues)
    backend = "fd=" + ":".join(map(str, fds)) if fds else "tap=tap0"
    out, vm = guest(static() + FEATURES + transfers() + ping(), "-n", f"{backend},vhost=on", "-c", "2", params=params, pass_fds=fds,
                    preexec_fn=net.enter)
    for fd in fds:
        os.close(fd)
    assert {0, 1, 7, 11, 15} <= offered(out)
    assert [line for line in out.splitlines() if line in ALL] == ALL


def test_passt_and_a_stream(guest, namespace, tmp_path):
    """Two NICs: a passt of mote's own, with DHCP and servers beyond it, by IPv4 and IPv6; and a socket that answers pings."""
    outside, inside = namespace(), namespace()
    outside.ip(f"link add veth0 type veth peer name veth1 netns {inside.name}")
    outside.ip("addr add 10.99.0.1/24 dev veth0")
    outside.ip("link set veth0 up")
    inside.ip("addr add 10.99.0.2/24 dev veth1")
    inside.ip("link set veth1 up")
    inside.ip("route add default via 10.99.0.1")
    # passt takes its gateway's address for the host's loopback. Debian 12's forgets a connection whose guest has closed its half:
    # this one holds it open until the answer is there. Nor may passt, as nobody, send a ping.
    outside.ip("addr add 10.98.0.1/32 dev lo")
    outside.peer("serve", "10.98.0.1", str(PASST_BYTES))
    outside.ip("addr add fd00:99::1/64 dev veth0 nodad")
    outside.ip("addr add fd00:98::1/128 dev lo nodad")
    inside.ip("addr add fd00:99::2/64 dev veth1 nodad")
    inside.ip("route add default via fd00:99::1")
    outside.peer("serve", "fd00:98::1", str(PASST_BYTES))
    outside.peer("frames", str(tmp_path / "frames"))
    out, vm = guest("""
        printf '#!/bin/sh\\nip addr add $ip/$mask dev $interface; ip route add default via $router dev $interface onlink\\n' >/tmp/dhcp
        sed -i 's/^ip addr.*/test "$1" = bound \\&\\& { & ; }/' /tmp/dhcp; chmod +x /tmp/dhcp
        ip link set eth0 up; udhcpc -q -n -i eth0 -s /tmp/dhcp >/dev/null 2>&1 && echo dhcp
        ip -4 -o addr show eth0 | awk '{print $4}'
        """ + static("eth1") + f"ping -q -c3 -s 1400 {HOST} >/dev/null && echo frames\n" + transfers("10.98.0.1", PASST_BYTES, "sleep 3") +
        "n=0; until ip -6 route | grep -q '^default' || [ $n = 100 ]; do n=$((n+1)); sleep 0.2; done; echo v6\n" +
        transfers("fd00:98::1", PASST_BYTES, "sleep 3"),
        "-n", "user", "-n", f"unix={tmp_path / 'frames'},id=frames", preexec_fn=inside.enter)
    assert out.split()[0] == "dhcp" and "10.99.0.2/24" in out
    assert [line for line in out.splitlines() if line in ["frames", "v6"] + ALL[:3]] == ["frames"] + ALL[:3] + ["v6"] + ALL[:3]
    # Nothing of it is left.
    names = []
    for comm in Path("/proc").glob("[0-9]*/comm"):
        with contextlib.suppress(OSError):
            names.append(comm.read_text().strip())
    assert "passt" not in names and "passt.avx2" not in names


def start(net, *args, **kwargs):
    """A mote that is to fail at once."""
    return subprocess.run([MOTE, "run", "-k", kernel("cloud"), "-i", initrd("cloud"), "--serial", "null", *args], preexec_fn=net.enter,
                          capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, **kwargs)


def test_what_cannot_be_is_said(namespace, tmp_path):
    net = namespace()
    # No default route: passt's own words.
    done = start(net, "-n", "user")
    assert done.returncode == 1 and "passt refuses: " in done.stderr and "interface" in done.stderr, done.stderr
    assert "syslog" not in done.stderr, done.stderr
    done = start(net, "-n", "user", env={"PATH": "/nowhere", "XDG_CACHE_HOME": os.environ["XDG_CACHE_HOME"]})
    assert done.returncode == 2 and "package passt" in done.stderr, done.stderr
    # A tap that was there before stays as it was, one that mote made goes.
    net.ip("tuntap add dev tap0 mode tap")
    for words, status, why in (
        ("tap=tap0,queues=2", 2, "tap0: not a tap interface with several queues"),
        ("tap=lo", 2, "lo: not a tap interface"),
        (f"unix={tmp_path / 'nobody'}", 2, "nobody: No such file"),
        ("fd=77", 2, "descriptor 77 is no tap"),
    ):
        done = start(net, "-n", "tap=made0", "-n", words)
        assert done.returncode == status and why in done.stderr, (words, done)
    links = json.loads(net.run("/sbin/ip", "-j", "link"))
    assert {link["ifname"] for link in links} >= {"tap0"} and "made0" not in {link["ifname"] for link in links}
    # Without the device node, vhost=on does not fall back.
    subprocess.run(["/bin/mount", "--bind", "/dev/null", "/dev/vhost-net"], check=True)
    try:
        done = start(net, "-n", "tap=tap0,vhost=on")
    finally:
        subprocess.run(["/bin/umount", "/dev/vhost-net"], check=True)
    assert done.returncode in (1, 2) and "vhost=on" in done.stderr, done.stderr
