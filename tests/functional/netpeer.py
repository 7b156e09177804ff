# SPDX-License-Identifier: MIT
"""
The other side of a guest's network, for tests. Prints "ready".

    serve ADDRESS BYTES   for any number of clients at once: TCP port 7001 takes a stream, to its end or BYTES, and answers with its MD5; 7002 sends BYTES of a fixed
                          pattern and closes;
                          UDP port 69 serves the same pattern by TFTP
    frames SOCKET         listens on the Unix socket for one client that sends frames behind their length; answers ARP and ICMP
                          echo requests for any address
"""

import hashlib
import os
import socket
import struct
import sys
import threading


def pattern(count):
    block = b"".join(hashlib.sha512(b"%d" % i).digest() for i in range(1024))
    return (block * (count // len(block) + 1))[:count]


def swallow(client, data):
    digest = hashlib.md5()
    left = len(data)
    while left and (got := client.recv(min(left, 1 << 16))):
        digest.update(got)
        left -= len(got)
    client.sendall(digest.hexdigest().encode() + b"\n")
    client.close()


def feed(client, data):
    client.sendall(data)
    client.close()


def accept(listener, target, data):
    while True:
        threading.Thread(target=target, args=(listener.accept()[0], data), daemon=True).start()


def tftp(family, address, data):
    requests = socket.socket(family, socket.SOCK_DGRAM)
    requests.bind((address, 69))
    while True:
        request, client = requests.recvfrom(2048)
        answers = socket.socket(family, socket.SOCK_DGRAM)
        answers.bind((address, 0))
        answers.connect(client)
        answers.settimeout(5)
        try:
            if b"blksize" in request:  # RFC 2348
                size = int(request.lower().split(b"blksize\0")[1].split(b"\0")[0])
                answers.send(struct.pack(">H", 6) + b"blksize\0%d\0" % size)
                answers.recv(2048)
            else:
                size = 512
            for number in range(len(data) // size + 1):
                answers.send(struct.pack(">HH", 3, (number + 1) & 0xFFFF) + data[number * size : (number + 1) * size])
                answers.recv(2048)
        except OSError:
            pass
        answers.close()


def serve(address, count):
    data = pattern(int(count))
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for port, target in ((7001, swallow), (7002, feed)):
        listener = socket.create_server((address, port), family=family, backlog=16)
        threading.Thread(target=accept, args=(listener, target, data), daemon=True).start()
    threading.Thread(target=tftp, args=(family, address, data[: 256 << 10]), daemon=True).start()
    print("ready", flush=True)
    threading.Event().wait()


def checksum(data):
    total = sum(struct.unpack(f">{len(data) // 2}H", data[: len(data) & ~1])) + (data[-1] << 8 if len(data) & 1 else 0)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


MAC = bytes.fromhex("0200000000aa")


def answer(frame):
    """The frame that answers this one, or None."""
    kind, body = frame[12:14], frame[14:]
    if kind == b"\x08\x06" and body[6:8] == b"\0\1":
        return frame[6:12] + MAC + kind + body[:6] + b"\0\2" + MAC + body[24:28] + body[8:18]
    if kind == b"\x08\x00" and body[9] == 1:
        header = (body[0] & 15) * 4
        icmp = bytearray(body[header : struct.unpack(">H", body[2:4])[0]])
        if icmp[0] == 8:
            icmp[0:4] = b"\0\0\0\0"
            icmp[2:4] = struct.pack(">H", checksum(bytes(icmp)))
            return frame[6:12] + MAC + kind + body[:12] + body[16:20] + body[12:16] + body[20:header] + bytes(icmp)
    return None


def frames(path):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(1)
    print("ready", flush=True)
    client = listener.accept()[0].makefile("rwb")
    while head := client.read(4):
        reply = answer(client.read(struct.unpack(">I", head)[0]))
        if reply:
            # In two parts, so that a length and its frame do not always come together.
            client.write(struct.pack(">I", len(reply)) + reply[:5])
            client.flush()
            client.write(reply[5:])
            client.flush()


if __name__ == "__main__":
    {"serve": serve, "frames": frames}[sys.argv[1]](*sys.argv[2:])
