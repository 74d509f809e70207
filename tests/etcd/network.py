"""Networks of their own for some of the processes of a test: a namespace with a wire to everybody else, which can be
cut both ways or one way. Only root may have them, and not everywhere: see why_not."""

import os
import subprocess


def ip(*args):
    subprocess.run(["ip", *args], check=True, capture_output=True, timeout=20)


class Network:
    """An address for etcd, and for each of `count` a network namespace with a wire to it. Whoever cuts it takes the way
    away from who sends: what was sent before arrives, what is sent after is lost, and nobody is told."""

    made = 0  # a namespace's wire is there for a moment after it: names are not used again

    def __init__(self, count):
        Network.made += 1
        self.second = 128 + os.getpid() % 100  # two runs on one machine do not meet
        self.etcd = f"10.{self.second}.0.1"
        self.wires = [f"b{os.getpid()}-{Network.made}-{number}" for number in range(count)]
        self.names = [f"baton{wire}" for wire in self.wires]

    def far(self, number):
        return f"10.{self.second}.{number + 1}.2"

    def __enter__(self):
        try:
            ip("addr", "add", f"{self.etcd}/32", "dev", "lo")
            for number, (name, wire) in enumerate(zip(self.names, self.wires)):
                near = f"10.{self.second}.{number + 1}.1"
                ip("netns", "add", name)
                ip("link", "add", wire, "type", "veth", "peer", "name", "wire", "netns", name)
                ip("addr", "add", f"{near}/30", "dev", wire)
                ip("link", "set", wire, "up")
                ip("-n", name, "addr", "add", f"{self.far(number)}/30", "dev", "wire")
                ip("-n", name, "link", "set", "wire", "up")
                ip("-n", name, "link", "set", "lo", "up")
                ip("-n", name, "route", "add", "default", "via", near)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for command in [("addr", "del", f"{self.etcd}/32", "dev", "lo"),
                        *[("netns", "del", name) for name in self.names]]:
            try:
                ip(*command)
            except (OSError, subprocess.SubprocessError):
                pass

    def inside(self, number):
        return ("ip", "netns", "exec", self.names[number])

    def cut(self, number, towards_etcd, from_etcd):
        if towards_etcd:
            ip("-n", self.names[number], "route", "add", "blackhole", f"{self.etcd}/32")
        if from_etcd:
            ip("route", "add", "blackhole", f"{self.far(number)}/32")

    def mend(self, number, towards_etcd, from_etcd):
        if towards_etcd:
            ip("-n", self.names[number], "route", "del", "blackhole", f"{self.etcd}/32")
        if from_etcd:
            ip("route", "del", "blackhole", f"{self.far(number)}/32")


def why_not():
    """Why there can be no such networks here; None: there can."""
    if os.geteuid() != 0:
        return "not root"
    try:
        with Network(1):
            return None
    except FileNotFoundError:
        return "no ip(8)"
    except subprocess.CalledProcessError as error:
        return error.stderr.decode("utf-8", "replace").strip().split("\n")[0] or "ip(8) fails"
