# SPDX-License-Identifier: MIT
"""Memory that a virtual machine monitor takes beyond its guest's: what /proc/PID/smaps counts as resident outside guest RAM."""

import re
import selectors
import subprocess
import time
from pathlib import Path

HEAD = re.compile(r"([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ \S+\s*(.*)")
COUNT = re.compile(r"(Rss|Pss|Private_Clean|Private_Dirty):\s+(\d+) kB")


class Unmeasured(Exception):
    """The figure cannot be had."""


class Mapping:
    def __init__(self, start, end, name):
        self.start, self.end, self.name = start, end, name
        self.kib = dict.fromkeys(("Rss", "Pss", "Private_Clean", "Private_Dirty"), 0)


def parse_smaps(text):
    mappings = []
    for line in text.splitlines():
        if match := HEAD.match(line):
            mappings.append(Mapping(int(match[1], 16), int(match[2], 16), match[3]))
        elif match := COUNT.match(line):
            mappings[-1].kib[match[1]] += int(match[2])
    return mappings


def without_ram(mappings, ram_bytes):
    """
    Guest RAM is adjacent mappings (a kernel mapped from a cache splits it) that add up to exactly its size. Should several do,
    it is the one with most in it.
    """
    best = None
    for first, start in enumerate(mappings):
        end = start.start
        for last, mapping in enumerate(mappings[first:], first):
            if mapping.start != end or mapping.end - start.start > ram_bytes:
                break
            end = mapping.end
            if end - start.start == ram_bytes:
                resident = sum(m.kib["Rss"] for m in mappings[first:last + 1])
                if best is None or resident > best[0]:
                    best = (resident, first, last)
    if best is None:
        raise Unmeasured("no mappings add up to the guest's RAM")
    return mappings[:best[1]] + mappings[best[2] + 1:]


def processes(pid):
    """With all descendants."""
    found = [pid]
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in path.read_text().split():
            found += processes(int(child))
    return found


def resident_outside(pid, ram_bytes):
    """Totals in KiB, and the mappings that make them, largest first."""
    mappings = without_ram(parse_smaps(Path(f"/proc/{pid}/smaps").read_text()), ram_bytes)
    for child in processes(pid)[1:]:
        mappings += parse_smaps(Path(f"/proc/{child}/smaps").read_text())
    totals = {name: sum(m.kib[name] for m in mappings) for name in ("Rss", "Pss")}
    totals["Private"] = sum(m.kib["Private_Clean"] + m.kib["Private_Dirty"] for m in mappings)
    return totals, sorted(mappings, key=lambda m: -m.kib["Rss"])


def read_until(stream, marker, seconds):
    seen = b""
    deadline = time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while marker not in seen:
            if not selector.select(max(0, deadline - time.monotonic())):
                raise Unmeasured(f"no {marker.decode()} in time: {seen[-300:].decode(errors='replace')}")
            data = stream.read1()
            if not data:
                raise Unmeasured(f"ended before {marker.decode()}: {seen[-300:].decode(errors='replace')}")
            seen += data


def measure(command, marker, ram_bytes, seconds, idle_seconds):
    """Of a guest that has printed the marker and been idle for a while since; raises Unmeasured."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        read_until(process.stdout, marker, seconds)
        time.sleep(idle_seconds)
        return resident_outside(process.pid, ram_bytes)
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()
