# SPDX-License-Identifier: MIT
"""Saves of every format version that there has been can be restored (tests/golden)."""

import gzip
import os
import shutil
import subprocess

import pytest

from conftest import MOTE, TOP

GOLDEN = sorted((TOP / "tests/golden").glob("v*"))


@pytest.mark.parametrize("version", GOLDEN, ids=lambda path: path.name)
def test_a_golden_save_goes_on(tmp_path, version):
    saved = tmp_path / "saved"
    saved.mkdir()
    for name in ("state", "config.json"):
        shutil.copy(version / name, saved)
    (saved / "memory").write_bytes(gzip.decompress((version / "memory.gz").read_bytes()))
    for mode in ("copy", "map"):
        done = subprocess.run([MOTE, "restore", saved, "--memory", mode], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        if "MOTE_TEST_HOST" in os.environ:
            assert done.returncode == 64 + 42, done.stderr
        else:
            # Another CPU than that of the test host need not do: then that is what is named, and nothing else.
            assert done.returncode == 64 + 42 or "CPU" in done.stderr, done.stderr
