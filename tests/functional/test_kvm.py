# SPDX-License-Identifier: MIT
"""The C tests that need a real KVM (tests/functional/kvm_*.c)."""

import subprocess

import pytest

from conftest import TOP

PROGRAMS = sorted(path.stem for path in (TOP / "tests/functional").glob("kvm_*.c"))


@pytest.mark.parametrize("name", PROGRAMS)
def test_on_real_kvm(name):
    done = subprocess.run([TOP / "build/functional" / name], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
