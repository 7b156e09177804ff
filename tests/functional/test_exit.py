# SPDX-License-Identifier: MIT
"""How a VM ends, and what mote says about it."""

import json
import os
import re
import signal
import time

import pytest

from conftest import KERNELS, kernel


def test_poweroff_is_status_0(run):
    vm = run(params="mote.test=poweroff")
    assert vm.wait() == 0, vm.transcript()
    assert vm.reason() == "mote: the guest powered off"


def test_reboot_exits_when_told_to(run):
    vm = run("--on-reboot", "exit", params="mote.test=reboot")
    assert vm.wait() == 0, vm.transcript()
    assert vm.reason() == "mote: the guest rebooted"


@pytest.mark.parametrize("name", ("cloud", "6.12"))
def test_reboot_boots_again(run, name):
    """By default the same process goes on, three times, with four CPUs each time."""
    vm = run("-c", "4", "--rng", kernel_name=name, params="mote.test=reboot")
    start = 0
    for _ in range(3):
        start = vm.expect(r"MOTE-READY", start=start).end()
    vm.process.send_signal(signal.SIGTERM)
    assert vm.wait() == 0, vm.transcript()


@pytest.mark.parametrize("way", ("acpi", "kbd", "pci"))
def test_each_way_to_reboot_is_a_reset(run, way):
    vm = run("--on-reboot", "exit", params=f"mote.test=reboot reboot={way}")
    assert vm.wait() == 0, vm.transcript()
    assert vm.reason() == "mote: the guest rebooted"


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("when", ("panic", "panic-early"))
def test_panic_is_status_3(run, name, when):
    """Also before the pvpanic driver is there, when the guest can only reset."""
    vm = run(kernel_name=name, params=f"mote.test={when}")
    assert vm.wait() == 3, vm.transcript()
    assert vm.reason() == "mote: the guest panicked"


def test_panic_in_the_kernels_own_boot_is_status_3(run):
    vm = run(params="init=/nowhere rdinit=/nowhere root=/dev/none")
    assert vm.wait() == 3, vm.transcript()


def test_on_panic_pause_keeps_the_vm(run, tmp_path, ctl):
    vm = run("--on-panic", "pause", "--monitor", tmp_path / "m", kernel_name="generic", params="mote.test=panic")
    vm.expect("MOTE-READY")
    vm.expect("Kernel panic")
    for _ in range(100):
        if ctl(tmp_path / "m", "query-status")["status"] == "guest-panicked":
            break
        time.sleep(0.1)
    assert ctl(tmp_path / "m", "query-status") == {"status": "guest-panicked", "running": False}
    ctl(tmp_path / "m", "quit")
    assert vm.wait() == 0, vm.transcript()


@pytest.mark.parametrize("params", ("mote.test=triple", "mote.test=reboot reboot=t"))
def test_triple_fault_is_status_4(run, params):
    vm = run(params=params)
    assert vm.wait() == 4, vm.transcript()
    assert re.fullmatch(r"mote: vCPU 0: triple fault", vm.reason())


@pytest.mark.parametrize("value,status", ((0, 64), (5, 69), (63, 127), (64, 64), (255, 127)))
def test_exit_port_gives_the_status(payload, mote, value, status):
    vm = mote("run", "-k", payload(f"mov ${value}, %al; outb %al, $0xf4; 1: hlt; jmp 1b"), "--exit-port", "--serial", "null")
    assert vm.wait(60) == status, vm.transcript()


def test_without_exit_port_the_write_is_ignored(payload, mote):
    vm = mote("run", "-k", payload("mov $5, %al; outb %al, $0xf4; mov $6, %al; mov $0xcf9, %dx; outb %al, %dx; 1: jmp 1b"),
              "--serial", "null", "--on-reboot", "exit")
    assert vm.wait(60) == 0, vm.transcript()


@pytest.mark.parametrize("number", (signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
def test_signal_is_quit(payload, mote, number):
    vm = mote("run", "-k", payload("1: hlt; jmp 1b"), "--serial", "null", "--log", "info")
    time.sleep(1)
    vm.process.send_signal(number)
    assert vm.wait(60) == 0, vm.transcript()
    assert f"signal {int(number)}" in vm.reason()


def test_signal_ends_a_start_too(mote, tmp_path):
    """While a pipe that nobody writes to is waited for, and while a kernel is decompressed."""
    os.mkfifo(tmp_path / "fifo")
    for image in tmp_path / "fifo", kernel("generic"):
        report = tmp_path / "report"
        vm = mote("run", "-k", image, "--kernel-cache", "off", "--serial", "null", "--exit-report", report)
        time.sleep(0.5)
        assert vm.process.poll() is None, vm.transcript()
        vm.process.send_signal(signal.SIGTERM)
        assert vm.wait(10) == 0, vm.transcript()
        assert vm.reason() == "mote: quit by signal 15 (Terminated)"
        said = json.loads(report.read_text())
        assert (said["kind"], said["code"], said["started"]) == ("quit", 0, None)
        report.unlink()


def test_signal_ends_an_allocation(mote, payload):
    """Of memory that takes longer, in an emulated host, than a signal may."""
    vm = mote("run", "-k", payload("1: hlt; jmp 1b"), "-m", "3G,prealloc=on", "--serial", "null")
    time.sleep(0.5)
    assert vm.process.poll() is None, vm.transcript()
    vm.process.send_signal(signal.SIGTERM)
    assert vm.wait(5) == 0, vm.transcript()
    assert vm.reason() == "mote: quit by signal 15 (Terminated)"


def test_exit_report_says_how_and_when(run, tmp_path):
    report = tmp_path / "report.json"
    vm = run("--exit-report", report, params="mote.test=poweroff")
    assert vm.wait() == 0
    said = json.loads(report.read_text())
    assert said["kind"] == "poweroff" and said["code"] == 0 and said["reason"] == "the guest powered off"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", said["started"])
    assert said["started"] < said["stopped"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.json"]


def test_kvm_internal_error_is_status_4(payload, mote):
    """An instruction in MMIO space, which KVM would have to emulate and cannot."""
    vm = mote("run", "-k", payload("mov $0xd0000000, %eax; jmp *%eax"), "--serial", "null")
    assert vm.wait(60) == 4, vm.transcript()
