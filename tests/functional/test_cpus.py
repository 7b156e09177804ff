# SPDX-License-Identifier: MIT
"""vCPUs that come and go while a stock kernel runs."""

import os
import re
import subprocess

import pytest

from qmp import Session
from test_hotplug import Guest


@pytest.fixture
def boot(run, tmp_path):
    def start(*args, **kwargs):
        return Guest(run, tmp_path / "monitor", *args, **kwargs)

    return start


def threads(pid):
    return sorted(name for name in (open(f"/proc/{pid}/task/{t}/comm").read().strip() for t in os.listdir(f"/proc/{pid}/task"))
                  if name.startswith("vcpu"))


def online(g):
    return int(re.search(r"=(\d+)=", g.sh("echo =$(grep -c ^processor /proc/cpuinfo)="))[1])


def bring_up(g, count):
    """A new processor is the guest's to use, under a number of the guest's own."""
    g.wait_for("for f in /sys/devices/system/cpu/cpu[0-9]*/online; do [ $(cat $f) = 1 ] || echo 1 > $f; done;"
               f" [ $(grep -c ^processor /proc/cpuinfo) = {count} ]")


def cpu_time(g, index):
    return next(cpu["time-ns"] for cpu in g.monitor.command("stats", types=["cpu"])["cpu"] if cpu["index"] == index)


def test_cpus_come_and_go(boot):
    g = boot("-c", "1,max=4")
    assert online(g) == 1
    assert len(g.monitor.command("query-cpus-fast")) == 1

    # As govmm does: a place from query-hotpluggable-cpus that has no path.
    free = [cpu for cpu in g.monitor.command("query-hotpluggable-cpus") if "qom-path" not in cpu]
    assert len(free) == 3
    place = max(free, key=lambda cpu: cpu["props"]["core-id"])
    properties = {key: str(value) for key, value in place["props"].items()}
    g.monitor.command("device_add", driver=place["type"], id="cpu-three", **properties)
    bring_up(g, 2)
    assert threads(g.pid()) == ["vcpu 0", "vcpu 3"]
    assert {cpu["cpu-index"] for cpu in g.monitor.command("query-cpus-fast")} == {0, 3}
    assert cpu_time(g, 3) > 0

    # The rest by count; a pause of all of them.
    assert g.monitor.command("cpu-add", count=2) == {"count": 4}
    assert g.monitor.reply("cpu-add")["error"]["class"] == "NoAvailableLocation"
    bring_up(g, 4)
    g.monitor.command("stop")
    g.monitor.command("cont")

    # Out again; what is out does not run, and comes back.
    g.delete("cpu-three")
    assert g.monitor.command("cpu-remove", count=1) == {}
    assert online(g) == 2
    assert len(g.monitor.command("query-cpus-fast")) == 2
    g.monitor.command("cpu-add")
    bring_up(g, 3)
    assert g.monitor.reply("device_del", id="cpu0")["error"]["class"] == "NotSupported"

    # A reset starts with those that are there.
    start = len(g.vm.out)
    g.monitor.command("system_reset")
    g.vm.expect("MOTE-READY", start=start)
    g.sh("stty -echo")
    assert online(g) == 3
    g.monitor.command("quit")
    assert g.vm.wait() == 0


def test_limits_of_a_cgroup(run, tmp_path, payload):
    hierarchy = tmp_path / "cgroup"
    hierarchy.mkdir()
    subprocess.run(["mount", "-t", "cgroup2", "none", hierarchy], check=True)
    group = hierarchy / "mote-test"
    try:
        (hierarchy / "cgroup.subtree_control").write_text("+cpu")
        group.mkdir()
        run("--paused", "--monitor", tmp_path / "monitor", "--serial", "null", image=payload("hlt"))
        monitor = Session(tmp_path / "monitor")
        monitor.command("cpu-limits", limit=150, weight=77, cgroup=str(group))
        assert (group / "cpu.max").read_text() == "150000 100000\n"
        assert (group / "cpu.weight").read_text() == "77\n"
        monitor.command("cpu-limits", limit=0, cgroup=str(group))
        assert (group / "cpu.max").read_text() == "max 100000\n"
        assert (group / "cpu.weight").read_text() == "77\n"
        # The top of a hierarchy has no limits.
        assert "cpu.max" in monitor.reply("cpu-limits", limit=5, cgroup=str(hierarchy))["error"]["desc"]
    finally:
        if group.exists():
            group.rmdir()
        subprocess.run(["umount", hierarchy], check=True)
