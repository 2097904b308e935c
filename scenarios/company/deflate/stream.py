"""Reads a compressed stream: the first block has to be there before the application sends the second one."""

import http.client
import sys
import zlib

port = int(sys.argv[1])
stream = http.client.HTTPConnection("localhost", port, timeout=20)
stream.request("GET", "/stream", headers={"Accept-Encoding": "gzip"})
answer = stream.getresponse()
unpack = zlib.decompressobj(31) if answer.headers["Content-Encoding"] == "gzip" else None
text = b""
while b"again\n" * 1 not in text or len(text) < 6200:
    data = answer.read1(100)
    text += unpack.decompress(data) if unpack else data
go = http.client.HTTPConnection("localhost", port, timeout=20)
go.request("GET", "/go")
go.getresponse().read()
data = answer.read()
text += unpack.decompress(data) + unpack.flush() if unpack else data
print(text.endswith(b"first"))
