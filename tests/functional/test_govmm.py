# SPDX-License-Identifier: MIT
"""
What Kata Containers' runtime says to QEMU, word for word as its Go client (govmm, qmp.go) does: one command at a time, without an id;
numbers and switches as it writes them; device_del ends with its event.
"""

import array
import json
import os
import socket
import subprocess

from netns import Namespace
from test_hotplug import Guest, disk_at, held, image, in_guest, in_query


class Govmm:
    """The client: what it writes, and when it thinks that a command is done."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(120)
        self.socket.connect(str(path))
        self.file = self.socket.makefile("rb")
        greeting = json.loads(self.file.readline())
        assert greeting["QMP"]["version"]["qemu"]["major"] >= 5
        self.execute("qmp_capabilities")

    def execute(self, name, arguments=None, fd=None, until=None):
        """until: (event, key, value), which may come before the answer or after it."""
        message = {"execute": name}
        if arguments is not None:
            message["arguments"] = arguments
        data = json.dumps(message).encode() + b"\n"
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))] if fd is not None else []
        self.socket.sendmsg([data], rights)
        result = None
        while result is None or until:
            line = json.loads(self.file.readline())
            if "event" in line:
                if until and line["event"] == until[0] and (not until[1] or line["data"].get(until[1]) == until[2]):
                    until = None
            else:
                assert "return" in line, (message, line)
                result = line
        return result["return"]

    def blockdev_add(self, driver, name, path, cache=None, **more):
        arguments = {"driver": "raw", "read-only": False, "file": {"driver": driver, "filename": str(path), "aio": "threads"},
                     "node-name": name, **more}
        if cache:
            arguments["cache"] = {"direct": cache[0], "no-flush": cache[1]}
        self.execute("blockdev-add", arguments)

    def device_del(self, name):
        self.execute("device_del", {"id": name}, until=("DEVICE_DELETED", "device", name))

    def getfd(self, name, fd):
        self.execute("getfd", {"fdname": name}, fd=fd)
        os.close(fd)

    def refused(self, name, arguments, word):
        self.socket.sendall(json.dumps({"execute": name, "arguments": arguments}).encode() + b"\n")
        while True:
            line = json.loads(self.file.readline())
            if "event" not in line:
                break
        assert word in line["error"]["desc"] and all(isinstance(value, str) for value in line["error"].values()), line


def before(monitor):
    """QEMU's command line has it, with Kata."""
    monitor.command("device_add", driver="virtio-serial-pci", id="serial0", raw={"max_ports": 2}, romfile="", bus="pcie.0")


def blocks(g, q, tmp_path):
    image(tmp_path / "a", content=b"plain\n")
    q.blockdev_add("file", "drive-a", tmp_path / "a", discard="unmap")
    q.execute("device_add", {"id": "virtio-drive-a", "driver": "virtio-blk-pci", "drive": "drive-a", "bus": "pcie.1", "share-rw": True,
                             "discard": True, "romfile": ""})
    q.blockdev_add("file", "drive-b", image(tmp_path / "b"), cache=(False, True))
    q.execute("device_add", {"id": "virtio-drive-b", "driver": "virtio-blk-pci", "drive": "drive-b", "addr": "0a", "bus": "pcie.1",
                             "num-queues": 2, "romfile": "", "disable-modern": True, "iothread": "iothread0",
                             "logical_block_size": 512, "physical_block_size": 4096})
    loop = subprocess.run(["/sbin/losetup", "-f", "--show", image(tmp_path / "c")], check=True, capture_output=True, text=True).stdout.strip()
    try:
        q.blockdev_add("host_device", "drive-c", loop, cache=(False, False))
        q.execute("device_add", {"id": "virtio-drive-c", "driver": "virtio-blk-pci", "drive": "drive-c", "addr": "", "romfile": ""})
        g.wait_for(f"[ -b /dev/{disk_at('01:00')} ] && [ -b /dev/{disk_at('01:0a')} ] && [ $(ls -d /sys/block/vd* | wc -l) = 3 ]")
        assert g.sh(f"head -n 1 /dev/{disk_at('01:00')}") == "plain\n"
        for name in "abc":
            q.device_del(f"virtio-drive-{name}")
            q.execute("blockdev-del", {"node-name": f"drive-{name}"})
    finally:
        subprocess.run(["/sbin/losetup", "-d", loop], check=True)


def networks(g, q, net):
    for name, vhost in (("one", False), ("two", True)):
        for i, fd in enumerate(net.tap_fds("tap0", 2)):
            q.getfd(f"fd{i}", fd)
        arguments = {"type": "tap", "id": f"net-{name}", "fds": "fd0:fd1"}
        if vhost:
            for i in range(2):
                q.getfd(f"vhostfd{i}", os.open("/dev/vhost-net", os.O_RDWR))
            arguments.update({"vhost": True, "vhostfds": "vhostfd0:vhostfd1"})
        q.execute("netdev_add", arguments)
        q.execute("device_add", {"id": f"virtio-net-{name}", "driver": "virtio-net-pci", "romfile": "", "bus": "pcie.2", "addr": "05",
                                 "mac": "02:00:00:00:00:42", "netdev": f"net-{name}", "mq": True, "vectors": 6})
        g.wait_for("[ -e /sys/bus/pci/devices/0000:02:05.0/virtio*/net/eth0/queues/rx-1 ]")
        g.sh("ip addr add 10.77.0.2/24 dev eth0; ip link set eth0 up; ping -q -c2 -i 0.2 -W5 10.77.0.1 >/dev/null")
        q.device_del(f"virtio-net-{name}")
        q.execute("netdev_del", {"id": f"net-{name}"})
    q.execute("netdev_add", {"type": "tap", "id": "net-3", "ifname": "tap0", "downscript": "no", "script": "no", "queues": 2})
    q.execute("netdev_del", {"id": "net-3"})


def test_the_words_of_katas_client(run, tmp_path):
    for module in ("tun", "vhost_net", "vhost_vsock", "af_packet", "loop"):
        subprocess.run(["/sbin/modprobe", "-q", module])
    net = Namespace()
    try:
        net.tap("tap0", "10.77.0.1/24", queues=2)
        g = Guest(run, tmp_path / "monitor", "-c", "2", "-m", "512M,max=2G,slots=2", "--balloon", before=before, preexec_fn=net.enter)
        g.sh("modprobe virtio_net")
        q = Govmm(tmp_path / "monitor")
        q.execute("query-qmp-schema")
        q.execute("stop")
        q.execute("cont")
        assert q.execute("query-status") == {"status": "running", "running": True}
        blocks(g, q, tmp_path)
        networks(g, q, net)
        # The threads for disks and the books of the first round stay.
        was = held(g.pid())
        blocks(g, q, tmp_path)
        q.getfd("vsock", os.open("/dev/vhost-vsock", os.O_RDWR))
        q.execute("device_add", {"driver": "vhost-vsock-pci", "id": "vsock-1", "guest-cid": "77", "vhostfd": "vsock", "addr": "06",
                                 "bus": "pcie.1", "romfile": "", "disable-modern": True})
        g.wait_for("[ -e /sys/bus/pci/devices/0000:01:06.0 ]")
        q.device_del("vsock-1")
        # The agent's channel.
        q.execute("chardev-add", {"id": "charch0", "backend": {"type": "socket", "data": {
            "server": True, "wait": False, "addr": {"type": "unix", "data": {"path": str(tmp_path / "agent")}}}}})
        q.execute("device_add", {"driver": "virtserialport", "id": "channel0", "name": "agent.channel.0", "chardev": "charch0"})
        g.wait_for("grep -q agent.channel.0 /sys/class/virtio-ports/*/name")
        q.device_del("channel0")
        q.execute("chardev-remove", {"id": "charch0"})
        assert held(g.pid()) == was and in_guest(g) == in_query(g)
        # Memory and the rest.
        q.execute("balloon", {"value": 256 << 20})
        q.execute("object-add", {"qom-type": "memory-backend-ram", "id": "mem1", "size": 128 << 20})
        q.execute("device_add", {"driver": "pc-dimm", "id": "dimmmem1", "memdev": "mem1"})
        q.execute("qom-set", {"path": "memory0", "property": "requested-size", "value": 64 << 20})
        assert q.execute("qom-get", {"path": "memory0", "property": "requested-size"}) == 64 << 20
        assert all(isinstance(cpu["thread_id"], int) for cpu in q.execute("query-cpus"))
        assert all(isinstance(cpu["props"]["core-id"], int) for cpu in q.execute("query-hotpluggable-cpus"))
        q.execute("object-add", {"qom-type": "memory-backend-file", "id": "nvdimmbackmem0", "mem-path": str(tmp_path / "a"),
                                 "size": 4 << 20, "share": True, "pmem": True})
        q.refused("device_add", {"driver": "nvdimm", "id": "nvdimm0", "memdev": "nvdimmbackmem0"}, "nvdimm")
        q.execute("object-del", {"id": "nvdimmbackmem0"})
        q.refused("device_add", {"driver": "vfio-pci", "id": "v", "host": "0000:01:00.0", "romfile": ""}, "vfio-pci")
        assert "status" not in q.execute("query-migrate")
        q.execute("migrate-set-capabilities", {"capabilities": [{"capability": "x-ignore-shared", "state": True}]})
        q.execute("system_powerdown", until=("POWERDOWN", "", ""))
        assert g.vm.wait() == 0
    finally:
        net.close()
