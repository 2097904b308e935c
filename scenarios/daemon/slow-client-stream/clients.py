"""Reads a gigabyte slowly, stops reading, goes away; then reads it as fast as it comes. Prints by how many bytes the
private memory of the Apache child and of the daemon process grew meanwhile."""

import http.client
import json
import os
import socket
import sys
import threading
import time

port, parent = int(sys.argv[1]), int(sys.argv[2])


def text(pid, name):
    with open(f"/proc/{pid}/{name}") as file:
        return file.read()


def pids():
    """The child that serves and the daemon process."""
    mine = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if int(text(pid, "stat").rpartition(")")[2].split()[1]) == parent:
                mine[text(pid, "comm").strip()] = int(pid)
        except OSError:
            pass
    daemon = mine.pop("wsgi:d")
    mine.pop("wsgi:log", None)
    (child,) = mine.values()
    return child, daemon


def memory(pid):
    for line in text(pid, "status").splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise SystemExit("no such line")


class Peak(threading.Thread):
    """Looks at both again and again."""

    def __init__(self):
        super().__init__(daemon=True)
        self.pids = pids()
        self.before = [memory(pid) for pid in self.pids]
        self.most = list(self.before)
        self.done = threading.Event()
        self.start()

    def run(self):
        while not self.done.wait(0.01):
            self.most = [max(most, memory(pid)) for most, pid in zip(self.most, self.pids)]

    def growth(self):
        self.done.set()
        self.join()
        return [most - before for most, before in zip(self.most, self.before)]


def ask():
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
    client.settimeout(20)
    client.connect(("127.0.0.1", port))
    client.sendall(b"GET /large HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    return client


def produced():
    """How many bytes of the response the application has made."""
    with open("produced", "rb") as file:
        return int.from_bytes(file.read(8), "little")


result = {}
peak = Peak()
client = ask()
read = 0
# For a while as a slow line reads: some two megabytes per second.
end = time.monotonic() + 3
while time.monotonic() < end:
    read += len(client.recv(16384))
    time.sleep(0.008)
# Then not at all, until the application does not get on any more.
last, still = produced(), 0
while still < 10:
    time.sleep(0.1)
    now = produced()
    last, still = now, still + 1 if now == last else 0
result["stopped-after"] = last - read
result["child"], result["daemon"] = peak.growth()
client.close()
gone = time.monotonic()
other = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
other.request("GET", "/")
assert other.getresponse().read() == b"ok"
result["free"] = time.monotonic() - gone

peak = Peak()
client = ask()
client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
head = b""
while b"\r\n\r\n" not in head:
    head += client.recv(1)
buffer = bytearray(1 << 20)
whole = 0
while count := client.recv_into(buffer):
    # Nothing is missing and nothing in the wrong order.
    for at in (0, count // 2, count - 1):
        assert buffer[at] == (whole + at) % 256, "a byte is not where it belongs"
    whole += count
result["whole"] = whole
result["child-whole"], result["daemon-whole"] = peak.growth()
print(json.dumps(result))
