"""Holds conversations with a server and compares its answers, byte for byte, with those that are written down.

    talk.py PORT MODULE MODE FILE...             compares; exit status 1 and a diff when something differs
    talk.py --record PORT MODULE MODE FILE       prints the file with what the server answers

A file is a list of conversations. Each begins with `== TITLE`; lines with `>` are sent (each ends in CR LF, text after
`>>` is sent without it, `\\xNN` is a byte, `@ NUMBER` stands for so many bytes), lines with `<` are what comes back. An answer under
`? MODULE MODE: REASON` (either may be `*`) takes the place of the plain one there: the list of known differences.
Answers are shown with sorted fields and without Date, Expires and httpd's own Server; bodies are decoded, httpd's own pages
are named by their titles, and other long bodies by length and hash. The last line tells what became of the connection.
"""

import difflib
import hashlib
import re
import socket
import sys

HIDDEN = {b"date", b"expires"}
SHOWN = 1000


class Conversation:
    def __init__(self, title):
        self.title, self.sent, self.answers, self.comments = title, [], {}, []
        self.reasons = {}

    def bytes(self, port):
        out = b""
        for line in self.sent:
            end = b"\r\n"
            if line.startswith(">@ "):
                out += b"x" * int(line[3:])
                continue
            if line.startswith(">>"):
                line, end = line[2:].removeprefix(" "), b""
            else:
                line = line[1:].removeprefix(" ")
            raw = line.replace("PORT", str(port)).encode()
            out += re.sub(rb"\\x([0-9a-f]{2})", lambda found: bytes([int(found[1], 16)]), raw) + end
        return out

    def expected(self, module, mode):
        for (for_module, for_mode), lines in self.answers.items():
            if for_module in (module, "*") and for_mode in (mode, "*") and (for_module, for_mode) != ("*", "*"):
                return lines
        return self.answers.get(("*", "*"), [])


def read(path):
    conversations, key = [], ("*", "*")
    with open(path, encoding="utf-8") as file:
        for line in file.read().splitlines():
            if line.startswith("== "):
                conversations.append(Conversation(line[3:]))
                key = ("*", "*")
            elif line.startswith(">"):
                conversations[-1].sent.append(line)
            elif line.startswith("?"):
                names, _, reason = line[1:].partition(":")
                key = tuple(names.split())
                conversations[-1].answers[key] = []
                conversations[-1].reasons[key] = reason.strip()
            elif line.startswith("<"):
                conversations[-1].answers.setdefault(key, []).append(line[1:].removeprefix(" "))
            elif line.startswith("#") and conversations:
                conversations[-1].comments.append(line)
    return conversations


class Gone(Exception):
    pass


class Stream:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=5)
        self.waiting = b""
        self.reset = False
        self.silent = False                        # it said nothing for so long that nobody waits any more

    def more(self):
        try:
            data = self.socket.recv(65536)
        except ConnectionResetError:
            data = b""
            self.reset = True
        except TimeoutError:
            data, self.silent = b"", True
        self.waiting += data
        return bool(data)

    def end(self):
        return "nothing for 5 seconds" if self.silent else "closed"

    def line(self):
        while b"\n" not in self.waiting:
            if not self.more():
                raise Gone(self.end())
        line, _, self.waiting = self.waiting.partition(b"\n")
        return line.removesuffix(b"\r")

    def exactly(self, count):
        while len(self.waiting) < count:
            if not self.more():
                data, self.waiting = self.waiting, b""
                return data, False
        data, self.waiting = self.waiting[:count], self.waiting[count:]
        return data, True

    def rest(self):
        while self.more():
            pass
        data, self.waiting = self.waiting, b""
        return data


def shown(data):
    text = "".join(chr(byte) if 32 <= byte < 127 or byte == 10 else f"\\x{byte:02x}" for byte in data)
    return text


def answer(stream, method, port):
    """One answer as lines; False when the connection cannot be used after it."""
    lines, status_line = [], stream.line()
    lines.append(shown(status_line))
    if not re.match(rb"HTTP/1\.[01] \d\d\d", status_line):
        raise Gone("no answer: " + lines[0])
    fields = []
    while line := stream.line():
        fields.append(line)
    named = {}
    for field in fields:
        name, _, value = field.partition(b":")
        named.setdefault(name.lower(), value.strip())
    for field in sorted(fields, key=lambda field: field.partition(b":")[0].lower()):
        name, _, value = field.partition(b":")
        if name.lower() in HIDDEN or (name.lower() == b"server" and value.startswith(b" Apache")):
            continue
        if name == b"Content-Length" and b"/byteranges" in named.get(b"content-type", b""):
            value = b" NUMBER"                     # the boundary is not always as long
            field = name + b":" + value
        lines.append(shown(field).replace(str(port), "PORT"))
    status = int(status_line.split()[1])
    if 100 <= status < 200 and status != 101:
        return lines, None
    complete, trailers, body = True, [], b""
    usable = named.get(b"connection", b"").lower() != b"close"
    if method == "HEAD" or status in (204, 304):
        pass
    elif named.get(b"transfer-encoding", b"").lower() == b"chunked":
        try:
            while size := int(stream.line().split(b";")[0], 16):
                data, whole = stream.exactly(size)
                body += data
                if not whole:
                    raise Gone(stream.end())
                stream.line()
            while trailer := stream.line():
                trailers.append("trailer " + shown(trailer))
        except (Gone, ValueError):
            complete = usable = False
    elif b"content-length" in named:
        body, complete = stream.exactly(int(named[b"content-length"]))
    else:
        body, usable = stream.rest(), False
        complete = not stream.reset
    lines.append("")
    body = re.sub(rb"(?s)<!DOCTYPE HTML PUBLIC .*?<title>(.*?)</title>.*?</html>\n", rb"(httpd's page: \1)\n", body)
    if len(body) > SHOWN:
        lines.append(f"({len(body)} bytes, {hashlib.sha256(body).hexdigest()[:16]})")
    elif body:
        lines += shown(body).replace(str(port), "PORT").split("\n")
    lines += trailers
    if stream.silent:
        lines.append(f"-- {stream.end()}")
        usable = False
    elif not complete:
        lines.append("-- reset" if stream.reset else "-- cut short")
        usable = False
    return lines, usable


def hold(conversation, port):
    data = conversation.bytes(port)
    methods = re.findall(r"(?m)^>+ ?([A-Za-z]+) \S+ HTTP/1\.[01]$|^>+ ?(GET) /\S*$", "\n".join(conversation.sent))
    methods = [first or second for first, second in methods]
    stream, lines = Stream(port), []
    try:
        stream.socket.sendall(data)
    except OSError:
        pass
    usable = True
    try:
        for method in methods:
            while True:                            # past interim answers
                got, usable = answer(stream, method, port)
                lines += got
                if usable is not None:
                    break
            if not usable:
                break
        if usable:
            # Only what is answered tells that the connection was kept.
            try:
                stream.socket.sendall(b"HEAD /kept HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                status = stream.line()
                while stream.line():
                    pass
                lines.append("-- kept" if status.startswith(b"HTTP/1.1 ") else "-- kept, then " + shown(status))
            except OSError:
                lines.append("-- closed")
        elif not lines or not lines[-1].startswith("--"):
            lines.append("-- closed")
    except Gone as gone:
        lines.append(f"-- {gone}")
    finally:
        stream.socket.close()
    boundary = re.search("boundary=([0-9a-f]+)", "\n".join(lines))
    return [line.rstrip().replace(boundary[1], "BOUNDARY") if boundary else line.rstrip() for line in lines]


def main(arguments):
    record = arguments[0] == "--record"
    port, module, mode, *paths = arguments[record:]
    failed = 0
    for path in paths:
        for conversation in read(path):
            got = hold(conversation, int(port))
            if record:
                print(f"== {conversation.title}")
                print(*conversation.comments, *conversation.sent, *(f"< {line}".rstrip() for line in got), sep="\n")
                print()
                continue
            expected = [line.rstrip() for line in conversation.expected(module, mode)]
            if got != expected:
                failed += 1
                print(f"{path}: {conversation.title}")
                print(*difflib.unified_diff(expected, got, "expected", f"{module}, {mode}", lineterm="", n=30), sep="\n")
    if not record:
        print(f"{failed} answers differ")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
