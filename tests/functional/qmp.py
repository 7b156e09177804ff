# SPDX-License-Identifier: MIT
"""A QMP client of the tests' own."""

import array
import json
import os
import socket
import time


class Session:
    """A QMP client: one JSON object a line."""

    def __init__(self, path, negotiate=True):
        for _ in range(1200):  # a kernel may have to be unpacked first
            try:
                self.socket = socket.socket(socket.AF_UNIX)
                self.socket.connect(str(path))
                break
            except OSError:
                self.socket.close()
                time.sleep(0.05)
        self.socket.settimeout(180)
        self.file = self.socket.makefile("rwb")
        self.events = []
        self.greeting = self.read()
        if negotiate:
            assert self.command("qmp_capabilities") == {}

    def read(self):
        line = self.file.readline()
        assert line.endswith(b"\r\n"), line
        return json.loads(line)

    def answer(self):
        """What is not an event; those are kept."""
        while True:
            answer = self.read()
            if "event" not in answer:
                return answer
            self.events.append(answer)

    def send(self, data):
        self.file.write(data)
        self.file.flush()

    def reply(self, name, raw=None, **arguments):
        """raw: arguments whose names are not words, or have an underscore of their own."""
        message = {"execute": name, "id": name}
        arguments = {key.replace("_", "-"): value for key, value in arguments.items()}
        arguments.update(raw or {})
        if arguments:
            message["arguments"] = arguments
        self.send(json.dumps(message).encode() + b"\n")
        answer = self.answer()
        assert answer.pop("id") == name
        return answer

    def command(self, name, raw=None, **arguments):
        answer = self.reply(name, raw, **arguments)
        assert "return" in answer, answer
        return answer["return"]

    def getfd(self, name, fd):
        """Hands a descriptor over, and closes it here."""
        message = json.dumps({"execute": "getfd", "id": "getfd", "arguments": {"fdname": name}}).encode() + b"\n"
        self.socket.sendmsg([message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))])
        os.close(fd)
        assert self.answer() == {"return": {}, "id": "getfd"}

    def event(self, name):
        for event in self.events:
            if event["event"] == name:
                self.events.remove(event)
                return event
        while True:
            answer = self.read()
            if answer.get("event") == name:
                return answer
            self.events.append(answer)
