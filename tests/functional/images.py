# SPDX-License-Identifier: MIT
"""Kernel images made from other kernel images, as the kernel's own build would (x86 boot.rst, 1.1)."""

import os
import struct
import subprocess

# Name → the command of arch/x86/boot/compressed/Makefile, which reads stdin.
PAYLOADS = {
    "gzip": ["gzip", "-n", "-1"],
    "bzip2": ["bzip2", "-1"],
    "lzma": ["xz", "--format=lzma", "-0"],
    "xz": ["xz", "--check=crc32", "--x86", "--lzma2=preset=0"],
    "lz4": ["lz4", "-l", "-1"],
    "zstd": ["zstd", "-1"],
    "lzo": ["lzop", "-1"],
}

SETUP_SECTS, SYSSIZE, PAYLOAD_OFFSET, PAYLOAD_LENGTH = 0x1F1, 0x1F4, 0x248, 0x24C


UNPACKERS = {b"\xfd7zXZ": ["xz", "-dc"], b"\x02\x21\x4c\x18": ["lz4", "-dc"], b"\x28\xb5\x2f\xfd": ["zstd", "-dc"]}


def unpack(bzimage, path):
    """The ELF inside a bzImage; the last word of the payload is its size."""
    with open(bzimage, "rb") as f:
        image = f.read()
    offset, length = struct.unpack_from("<II", image, PAYLOAD_OFFSET)
    start = (image[SETUP_SECTS] + 1) * 512 + offset
    payload = image[start : start + length - 4]
    command = next(command for magic, command in UNPACKERS.items() if payload.startswith(magic))
    with open(path, "wb") as f:
        subprocess.run(command, input=payload, stdout=f, check=True)


def repack(bzimage, vmlinux, payload, directory):
    """The bzImage with its payload compressed another way; mote never runs what is around it."""
    with open(bzimage, "rb") as f:
        image = bytearray(f.read())
    start = (image[SETUP_SECTS] + 1) * 512
    (offset,) = struct.unpack_from("<I", image, PAYLOAD_OFFSET)
    with open(vmlinux, "rb") as f:
        packed = subprocess.run(PAYLOADS[payload], stdin=f, capture_output=True, check=True).stdout
    size = struct.pack("<I", os.path.getsize(vmlinux))  # which the build appends
    image = image[: start + offset] + packed + size
    image += bytes(-len(image) % 16)
    struct.pack_into("<I", image, PAYLOAD_LENGTH, len(packed) + len(size))
    struct.pack_into("<I", image, SYSSIZE, (len(image) - start) // 16)
    path = directory / f"bzImage.{payload}"
    path.write_bytes(image)
    return str(path)


def without_payload_header(bzimage, directory):
    """An image that does not say where its payload is: only its own code can unpack it."""
    with open(bzimage, "rb") as f:
        image = bytearray(f.read())
    struct.pack_into("<II", image, PAYLOAD_OFFSET, 0, 0)
    path = directory / "bzImage.opaque"
    path.write_bytes(image)
    return str(path)
