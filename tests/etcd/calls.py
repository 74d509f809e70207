"""The gRPC calls that a client makes over one connection, read from what it sends: HTTP/2 (RFC 9113) with its headers
(RFC 7541), which libnghttp2 decodes; libcurl needs it, so it is there."""

import ctypes

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADERS, PADDED, PRIORITY, END_HEADERS = 0x1, 0x8, 0x20, 0x4
FINAL, EMIT = 0x1, 0x2
LITERAL_PATH = 0x04  # a literal field without indexing, whose name is the fourth of the static table

nghttp2 = ctypes.CDLL("libnghttp2.so.14")
nghttp2.nghttp2_hd_inflate_hd2.restype = ctypes.c_ssize_t


class Field(ctypes.Structure):
    _fields_ = [("name", ctypes.POINTER(ctypes.c_char)), ("value", ctypes.POINTER(ctypes.c_char)),
                ("name_length", ctypes.c_size_t), ("value_length", ctypes.c_size_t), ("flags", ctypes.c_uint8)]


class Calls:
    """`instead`: the path to send instead of each that begins with a certain text; None: all as they are. `made` is
    called with each path that the client has sent, and whether a token came with it."""

    def __init__(self, instead, made):
        self.instead, self.made = instead or {}, made
        self.rest, self.begun = b"", False
        self.inflater = ctypes.c_void_p()
        assert nghttp2.nghttp2_hd_inflate_new(ctypes.byref(self.inflater)) == 0

    def __del__(self):
        nghttp2.nghttp2_hd_inflate_del(self.inflater)

    def feed(self, data):
        """What to send on for what the client has sent: whole frames, the others later."""
        data, out = self.rest + data, b""
        if not self.begun and len(data) >= len(PREFACE):
            assert data.startswith(PREFACE), data[:24]
            self.begun, out, data = True, PREFACE, data[len(PREFACE):]
        while self.begun and len(data) >= 9 and len(data) >= (size := 9 + int.from_bytes(data[:3], "big")):
            out += self._headers(data[:size]) if data[3] == HEADERS else data[:size]
            data = data[size:]
        self.rest = data
        return out

    def _headers(self, frame):
        flags, payload = frame[4], frame[9:]
        assert flags & END_HEADERS and not flags & PADDED, frame
        head, block = (payload[:5], payload[5:]) if flags & PRIORITY else (b"", payload)
        out, path, has_token = b"", None, False
        for raw, name, value in self._fields(block):
            if name == b":path":
                assert raw[0] & 0xf0 == 0, raw  # it changes no table
                path = value.decode()
                other = next((self.instead[begin] for begin in self.instead if path.startswith(begin)), None)
                if other is not None:
                    raw = bytes([LITERAL_PATH, len(other)]) + other.encode()
            has_token = has_token or name == b"token"
            out += raw
        if path is not None:
            self.made(path, has_token)
        payload = head + out
        return len(payload).to_bytes(3, "big") + frame[3:9] + payload

    def _fields(self, block):
        """Each: as it was sent, its name, its value."""
        field, flags = Field(), ctypes.c_int(0)
        while not flags.value & FINAL:
            used = nghttp2.nghttp2_hd_inflate_hd2(self.inflater, ctypes.byref(field), ctypes.byref(flags), block,
                                                  ctypes.c_size_t(len(block)), 1)
            assert used >= 0, used
            if flags.value & EMIT:
                yield block[:used], field.name[:field.name_length], field.value[:field.value_length]
            block = block[used:]
        nghttp2.nghttp2_hd_inflate_end_headers(self.inflater)
