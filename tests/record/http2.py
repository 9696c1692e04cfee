"""A client of HTTP/2 as small as it can be: one stream after another, header fields as literals, and of the answer the status alone.

Nothing is made good on the way: what stands in a field leaves as it is, so that proxies meet what a careless or hostile client would send.
"""

import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RESET, SETTINGS, PING, GOAWAY, WINDOW = 0, 1, 3, 4, 6, 7, 8
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITY = 1, 1, 4, 8, 32
# Statuses in the static table (RFC 7541, appendix A), and how digits are written by its Huffman code.
STATIC = {8: 200, 9: 204, 10: 206, 11: 304, 12: 400, 13: 404, 14: 500}
DIGITS = {(5, n): str(n) for n in range(3)} | {(6, 0b011001 + n): str(n + 3) for n in range(7)}


def frame(kind, flags, stream, payload):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def integer(n, bits, first=0):
    """A number with a prefix of so many bits."""
    most = (1 << bits) - 1
    if n < most:
        return bytes([first | n])
    out, n = [first | most], n - most
    while n >= 128:
        out.append(n % 128 | 128)
        n //= 128
    return bytes([*out, n])


def field(name, value):
    """A field as a literal that no table remembers."""
    return b"\x00" + b"".join(integer(len(part), 7) + part for part in (name.encode(), value.encode("latin-1")))


def status(block):
    """The status of a block of fields, which comes first; the tables that would remember it were refused."""
    at = 0
    while block[at] & 0xE0 == 0x20:  # The size of a table.
        at += 1
    if block[at] & 0x80:
        return STATIC[block[at] & 0x7F]
    # A literal whose name is one of the `:status` of the table: four bits of its number, or six.
    bits = 6 if block[at] & 0x40 else 4
    assert 8 <= block[at] & ((1 << bits) - 1) <= 14, block[:8].hex()
    length, packed = block[at + 1] & 0x7F, block[at + 1] & 0x80
    text = block[at + 2 : at + 2 + length]
    if not packed:
        return int(text)
    out, code, size = "", 0, 0
    for bit in "".join(f"{byte:08b}" for byte in text):
        code, size = code * 2 + int(bit), size + 1
        if (size, code) in DIGITS:
            out, code, size = out + DIGITS[size, code], 0, 0
    return int(out)


class Connection:
    """A connection on which one request follows another."""

    def __init__(self, stream):
        self.stream, self.next, self.seen = stream, 1, b""
        # No table, no push, room for every answer.
        settings = struct.pack(">HIHIHI", 1, 0, 2, 0, 4, 1 << 20)
        stream.sendall(PREFACE + frame(SETTINGS, 0, 0, settings) + frame(WINDOW, 0, 0, struct.pack(">I", 1 << 28)))

    def send(self, fields, body, is_whole):
        """Begins a request; its number."""
        number, self.next = self.next, self.next + 2
        block = b"".join(field(name, value) for name, value in fields)
        ends = END_STREAM if is_whole and not body else 0
        out = frame(HEADERS, END_HEADERS | ends, number, block)
        if body:
            out += frame(DATA, END_STREAM if is_whole else 0, number, body)
        self.stream.sendall(out)
        return number

    def read(self, number):
        """The status of the answer; 0 where the stream was reset. Raises where the connection ends."""
        told = 0
        while True:
            kind, flags, stream, payload = self.frame()
            if kind == SETTINGS and not flags & ACK:
                self.stream.sendall(frame(SETTINGS, ACK, 0, b""))
            elif kind == PING and not flags & ACK:
                self.stream.sendall(frame(PING, ACK, 0, payload))
            elif kind == GOAWAY:
                raise ConnectionResetError("the connection is given up")
            elif stream != number:
                continue
            elif kind == RESET:
                return told
            elif kind == HEADERS:
                payload = payload[1 : len(payload) - payload[0]] if flags & PADDED else payload
                told = told or status(payload[5:] if flags & PRIORITY else payload)
            if kind in (HEADERS, DATA) and flags & END_STREAM:
                return told

    def frame(self):
        head = self.take(9)
        length, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
        return kind, flags, int.from_bytes(head[5:], "big") & 0x7FFFFFFF, self.take(length)

    def take(self, length):
        while len(self.seen) < length:
            more = self.stream.recv(65536)
            if not more:
                raise ConnectionResetError("the connection ended")
            self.seen += more
        out, self.seen = self.seen[:length], self.seen[length:]
        return out
