"""A real FUSE file system with nothing in it: just enough of its protocol for a directory that statfs(2) calls FUSE.

The messages are those of linux/fuse.h; see also fuse(4). Needs root, for mount(2).
"""

import ctypes
import errno
import os
import stat
import struct
import threading

IN_HEADER = struct.Struct("<IIQQIIII")  # length, opcode, unique, node, uid, gid, pid, padding
OUT_HEADER = struct.Struct("<IiQ")  # length, error, unique
GETATTR, STATFS, INIT, OPENDIR, READDIR, RELEASEDIR, ACCESS, FORGET, DESTROY = 3, 17, 26, 27, 28, 29, 34, 2, 38
# struct fuse_attr of the only directory: inode, size, blocks, three times, their nanoseconds, mode, links, user, group,
# device, block size, flags.
ATTRIBUTES = struct.pack("<6Q10I", 1, 4096, 8, 0, 0, 0, 0, 0, 0, stat.S_IFDIR | 0o755, 2, 0, 0, 0, 4096, 0)


class FuseMount:
    """with FuseMount(folder): ... """

    def __init__(self, folder):
        self.folder = folder.encode()
        self.libc = ctypes.CDLL(None, use_errno=True)

    def __enter__(self):
        self.device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        options = f"fd={self.device},rootmode=40000,user_id=0,group_id=0".encode()
        if self.libc.mount(b"none", self.folder, b"fuse", 0, options) != 0:
            error = ctypes.get_errno()
            os.close(self.device)
            raise OSError(error, os.strerror(error))
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.libc.umount2(self.folder, 2)  # MNT_DETACH
        self.thread.join(10)
        os.close(self.device)

    def serve(self):
        """Answer until the kernel says that it is unmounted."""
        while True:
            try:
                request = os.read(self.device, 1 << 20)
            except OSError as error:
                if error.errno in (errno.EINTR, errno.ENOENT):
                    continue
                return  # ENODEV: unmounted
            _, opcode, unique, *_ = IN_HEADER.unpack_from(request)
            if opcode in (FORGET, DESTROY):
                if opcode == DESTROY:
                    return
                continue
            code, answer = self.answer(opcode)
            try:
                os.write(self.device, OUT_HEADER.pack(OUT_HEADER.size + len(answer), -code, unique) + answer)
            except OSError:
                return

    @staticmethod
    def answer(opcode):
        """errno and the body of the answer."""
        if opcode == INIT:
            return 0, struct.pack("<IIIIHHIIHHI", 7, 31, 0, 0, 0, 0, 4096, 1, 0, 0, 0) + bytes(28)
        if opcode == GETATTR:
            return 0, struct.pack("<QII", 60, 0, 0) + ATTRIBUTES
        if opcode == STATFS:
            return 0, struct.pack("<QQQQQIIII", 1000, 1000, 1000, 10, 10, 4096, 255, 4096, 0) + bytes(24)
        if opcode == OPENDIR:
            return 0, bytes(16)
        if opcode in (READDIR, RELEASEDIR, ACCESS):
            return 0, b""
        return errno.ENOSYS, b""
