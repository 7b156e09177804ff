# SPDX-License-Identifier: MIT
"""tracefs, by which build/bench/measure sees the first guest instruction."""

import os
import subprocess
from pathlib import Path

TRACEFS = Path("/sys/kernel/tracing")
EMULATED = "MOTE_TEST_HOST" in os.environ


def prepare():
    """Why the first guest instruction cannot be seen; None when it can."""
    if os.geteuid():
        return "tracefs needs root"
    if EMULATED and not (TRACEFS / "events").is_dir():
        subprocess.run(["mount", "-t", "tracefs", "tracefs", TRACEFS], check=True)
    return None if (TRACEFS / "events/kvm/kvm_entry").is_dir() else f"no {TRACEFS}/events/kvm/kvm_entry"
