# SPDX-License-Identifier: MIT
"""The virtual machine monitors that the benchmark compares, each with the options that a user after a fast boot would give it."""

import os
import shutil
from pathlib import Path

MEMORY_MIB = 512
QEMU_FIRMWARE = ("/usr/share/qemu", "/usr/share/seabios")


class Monitor:
    """What to run for a guest with this kernel, initrd and, perhaps, disk."""

    def __init__(self, label, program):
        self.label = label
        self.program = str(program)

    def prepare(self):
        """Before each run."""

    def files(self):
        """What it opens besides its libraries and what its command line names."""
        return []


class Mote(Monitor):
    def __init__(self, program, cache, state):
        super().__init__(f"mote, {'cache off' if state == 'off' else state + ' cache'}", program)
        self.cache = Path(cache)
        self.state = state

    def prepare(self):
        if self.state == "cold":
            shutil.rmtree(self.cache, ignore_errors=True)

    def command(self, kernel, initrd, params, disk=None):
        cache = "off" if self.state == "off" else self.cache
        return [self.program, "run", "-k", kernel, "-i", initrd, "-c", "1", "-m", str(MEMORY_MIB), "-p", f"quiet {params}",
                "--kernel-cache", str(cache)] + (["-d", disk] if disk else [])


class Kvmtool(Monitor):
    def __init__(self, program):
        super().__init__("kvmtool", program)

    def command(self, kernel, initrd, params, disk=None):
        # root= keeps it from adding one of its own for a disk.
        return [self.program, "run", "-k", kernel, "-i", initrd, "-c", "1", "-m", str(MEMORY_MIB), "-p", f"quiet root= {params}",
                "-n", "mode=none", "--console", "serial"] + (["-d", disk] if disk else [])


class QemuMicrovm(Monitor):
    """
    As its manual has it for speed, but with a PIC and an RTC: without the one Linux takes most of a second, or several, to find a
    timer, without the other as long to give up on the clock. A disk is on PCI, as the others have it.
    """

    def __init__(self, program):
        super().__init__("qemu microvm", program)

    def files(self):
        return [file for path in QEMU_FIRMWARE for file in Path(path).glob("*.[br][io][nm]")]

    def command(self, kernel, initrd, params, disk=None):
        machine = "microvm,accel=kvm,x-option-roms=off,pit=off,pic=on,rtc=on,acpi=on"
        command = [self.program, "-M", machine + (",pcie=on" if disk else ""), "-cpu", "host", "-smp", "1", "-m", str(MEMORY_MIB),
                   "-nodefaults", "-no-user-config", "-nographic", "-serial", "stdio", "-no-reboot", "-kernel", kernel,
                   "-initrd", initrd, "-append", f"console=ttyS0 reboot=t panic=-1 quiet {params}"]
        if disk:
            command += ["-drive", f"file={disk},format=raw,if=none,id=disk", "-device", "virtio-blk-pci,drive=disk"]
        return command


def find(mote, cache):
    """All that are installed, and a line about each that is not."""
    found = [Mote(mote, cache, state) for state in ("warm", "cold", "off")]
    missing = []
    for kind, name, program in ((Kvmtool, "kvmtool", "lkvm"), (QemuMicrovm, "qemu", "qemu-system-x86_64")):
        path = shutil.which(program)
        if path:
            found.append(kind(os.path.realpath(path)))
        else:
            missing.append(f"{name}: no {program} on PATH: not measured, its ratios left out")
    return found, missing
