"""A real PostgreSQL for tests and benchmarks: a server of its own, in a folder of its own, reached by a Unix socket
there. It is a child of this process, is ended by its pid, and ends with this process, whatever ends that. (It refuses
to run as root: then it runs as `postgres`.)"""

import glob
import os
import pwd
import shutil
import subprocess
import tempfile
import threading

LIMIT_S = 60
READY = "database system is ready to accept connections"


def program(name):
    """Debian keeps them beside the path."""
    found = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"))
    if found:
        return found[-1]
    return shutil.which(name) or name


class Server:
    def __init__(self):
        self.folder = self.process = None
        self.log = []
        self.as_user, self.user = [], pwd.getpwuid(os.geteuid()).pw_name
        if os.geteuid() == 0:
            owner = pwd.getpwnam("postgres")
            self.as_user = [f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}", "--init-groups"]
            self.user = "postgres"

    @property
    def env(self):
        """For libpq: how to reach it."""
        return {"PGHOST": self.folder, "PGUSER": self.user, "PGDATABASE": "postgres", "PGPORT": "5432"}

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def start(self):
        # Not below $TMPDIR: `postgres` must be able to get there, and a socket's path is short.
        self.folder = tempfile.mkdtemp(prefix="baton-pg-", dir="/tmp")
        if self.as_user:
            shutil.chown(self.folder, self.user, self.user)
        data = os.path.join(self.folder, "data")
        subprocess.run(["setpriv", *self.as_user, program("initdb"), "-D", data, "--no-sync", "-A", "trust", "-E",
                        "UTF8", "--no-locale"], check=True, capture_output=True, timeout=LIMIT_S, cwd="/")
        # It is ended in close.
        # pylint: disable-next=consider-using-with
        self.process = subprocess.Popen(
            ["setpriv", *self.as_user, "--pdeathsig", "QUIT", program("postgres"), "-D", data, "-k", self.folder, "-c",
             "listen_addresses=", "-c", "max_connections=50"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True, cwd="/")
        told = threading.Event()
        threading.Thread(target=self._read, args=(told,), daemon=True).start()
        if not told.wait(LIMIT_S) or not any(READY in line for line in self.log):
            raise RuntimeError("PostgreSQL is not up: " + "".join(self.log[-20:]))

    def _read(self, told):
        """`told`: it has said that it is ready, or has ended."""
        for line in self.process.stderr:
            self.log.append(line)
            if READY in line:
                told.set()
        told.set()
        self.process.stderr.close()

    def close(self):
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(LIMIT_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)

    def psql(self, *statements, options="", check=True, file=None, database="postgres"):
        """What psql says, unaligned; each statement by itself, or all in one transaction if there is a BEGIN. `check`
        false: the process, which may have failed."""
        command = ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=verbose"]
        for statement in statements:
            command += ["-c", statement]
        if file:
            command += ["-f", file]
        done = subprocess.run(command, capture_output=True, text=True,
                              env={**os.environ, **self.env, "PGDATABASE": database, "PGOPTIONS": options},
                              timeout=LIMIT_S, check=False)
        if check and done.returncode != 0:
            raise RuntimeError(done.stderr)
        return done.stdout.strip() if check else done
