"""Clients (so many) whose requests are served and who do not read; how many others are served
meanwhile. In the end they read what is theirs."""

import http.client
import json
import socket
import sys

port, size, count = map(int, sys.argv[1:])


def slow():
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(20)
    client.connect(("127.0.0.1", port))
    client.sendall(b"GET /medium HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    # The response has begun: the application has had its turn, or has it now.
    assert client.recv(12) == b"HTTP/1.1 200"
    return client


def quick():
    other = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        other.request("GET", "/")
        return other.getresponse().read() == b"ok"
    except TimeoutError:
        return False
    finally:
        other.close()


clients = [slow() for _ in range(count)]
served = 0
# Who is not served at all is not asked again and again.
while served < 20 and quick():
    served += 1


def rest(client):
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    data = b"HTTP/1.1 200"
    while part := client.recv(1 << 16):
        data += part
    return len(data.partition(b"\r\n\r\n")[2]) == size


whole = sum(map(rest, clients))
print(json.dumps({"served": served, "whole": whole}))
