#!/usr/bin/python3
"""A server for test_gate.py: answers each line with its own word in front; at the end of the input, says "end WORD".

    server.py ADDRESS [WORD]        (WORD: else $BATON_TERM)

ADDRESS is a port of 127.0.0.1, [::1]:PORT, or the path of a Unix socket. Prints "serves WORD" when it listens.
"""

import os
import socket
import socketserver
import sys


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(self.server.word + b" " + line)
        self.wfile.write(b"end " + self.server.word + b"\n")


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 1000


def main():
    address, word = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else os.environ["BATON_TERM"]
    if address.startswith("/"):
        Server.address_family, place = socket.AF_UNIX, address
        if os.path.exists(address):
            os.unlink(address)
    elif address.startswith("[::1]:"):
        Server.address_family, place = socket.AF_INET6, ("::1", int(address[6:]))
    else:
        place = ("127.0.0.1", int(address))
    with Server(place, Handler) as server:
        server.word = word.encode()
        print(f"serves {word}", flush=True)
        server.serve_forever()


main()
