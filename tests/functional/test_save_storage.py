# SPDX-License-Identifier: MIT
"""Disks, persistent memory and shares that came, went and were placed before a save are as they were after it."""

import os

from qmp import Session

SPIN = "1: jmp 1b"


def image(path, mib=2):
    path.touch()
    os.truncate(path, mib << 20)
    return str(path)


def test_storage_is_restored_as_it_was_placed(mote, payload, tmp_path):
    vm = mote("run", "-k", payload(SPIN), "-m", "64", "--monitor", tmp_path / "m", "--paused", "--pmem", image(tmp_path / "gone"),
              "--pmem", image(tmp_path / "kept", 4), "-d", f"{image(tmp_path / 'root')},id=container-rootfs-0123456789")
    m = Session(tmp_path / "m")
    m.command("pmem-add", path=image(tmp_path / "placed"), slot=17, id="placed")
    m.command("pmem-remove", id="pmem0")
    m.command("disk-add", path=image(tmp_path / "hot"), id="virtio-drive-0123456789abcdef", queues=20, controller=3, lun=63)
    (tmp_path / "share").mkdir()
    for refs in 1, 2, 3:
        assert m.command("share-add", path=str(tmp_path / "share"))["refs"] == refs
    m.command("cont")
    m.command("stop")
    m.command("save", directory=str(tmp_path / "saved"))
    devices, disks = m.command("query-pci"), m.command("properties", types=["disk"])
    m.command("quit")
    assert vm.wait() == 0

    vm = mote("restore", tmp_path / "saved", "--monitor", tmp_path / "m2", "--paused")
    m = Session(tmp_path / "m2")
    assert m.command("query-pci") == devices
    assert m.command("share-remove", path=str(tmp_path / "share"))["refs"] == 2
    # The paths of a save are absolute, as these are.
    assert m.command("properties", types=["disk"]) == disks
    for slot, id_ in ((17, "placed"), (1, "pmem1")):
        error = m.reply("pmem-add", path=image(tmp_path / "other"), slot=slot)["error"]
        assert error["class"] == "AlreadyAttached"
        m.command("pmem-remove", slot=slot, id=id_, timeout_ms=0, force=True)
    assert m.command("pmem-add", path=image(tmp_path / "other"))["slot"] == 0
    m.command("quit")
    assert vm.wait() == 0
