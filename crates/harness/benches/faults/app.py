"""Answers with what it was asked, some of it in the head and much of it in the body. Each kind of sabotage that has to come
from within a daemon is a path.
"""

import ctypes
import os
import random
import socket
import stat
import time


def application(environ, start_response):
    mark = environ["QUERY_STRING"]
    sabotage = SABOTAGE.get(environ["PATH_INFO"])
    if sabotage:
        sabotage()
    if environ["PATH_INFO"] == "/say":
        print("said", mark, file=environ["wsgi.errors"])
    body = environ["wsgi.input"].read() + (mark + "\n").encode() * (int(mark, 16) % 700 + 1)
    start_response("200 OK", [("Content-Type", "text/plain"), ("X-Mark", mark), ("Content-Length", str(len(body)))])
    for begin in range(0, len(body), 4096):
        yield body[begin:begin + 4096]


def segfault():
    ctypes.string_at(0)


def leave():
    os._exit(3)


def scribble():
    """Fills the status page, which the daemon shares with the server, with random bytes."""
    for line in open("/proc/self/maps"):
        if "memfd" in line and "rw-s" in line:
            begin, end = (int(part, 16) for part in line.split()[0].split("-"))
            ctypes.memmove(begin, random.randbytes(end - begin), end - begin)


def garble():
    """Writes garbage of several kinds into every connection of the process."""
    kinds = [
        random.randbytes(random.randrange(1, 4000)),
        b"\x01\x12\xff\xff\xff\xff",
        b"\x01\x12\x05\x00\x00\x00\xc8",
        b"\x01\x13\x00\x00\x01\x00" + bytes(100),
        b"\x02\x16\x01\x00\x00\x00\x00",
    ]
    for name in os.listdir("/proc/self/fd"):
        number = int(name)
        try:
            if number > 2 and stat.S_ISSOCK(os.fstat(number).st_mode):
                copy = socket.socket(fileno=os.dup(number))
                with copy:
                    if not copy.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) and copy.type == socket.SOCK_STREAM:
                        copy.send(random.choice(kinds), socket.MSG_DONTWAIT)
        except OSError:
            pass


def hog():
    """Takes native memory until there is no more, and ends as native code does that cannot go on without."""
    library = ctypes.CDLL(None)
    library.malloc.restype = ctypes.c_void_p
    library.malloc.argtypes = [ctypes.c_size_t]
    for _ in range(LIMIT // BLOCK):
        if not library.malloc(BLOCK):
            library.abort()
    raise RuntimeError("there is no limit")


def glut():
    """Takes memory until Python has no more, and keeps it for a while."""
    hoard = []
    try:
        for size in BLOCK, 4096, 64:
            try:
                for _ in range(LIMIT // size):
                    hoard.append(bytes(size))
                raise RuntimeError("there is no limit")
            except MemoryError:
                pass
        raise MemoryError
    finally:
        time.sleep(0.1)


# More than the process may have.
LIMIT = 1 << 32
BLOCK = 1 << 20
SABOTAGE = {"/segfault": segfault, "/exit": leave, "/page": scribble, "/frames": garble, "/hog": hog, "/glut": glut}
