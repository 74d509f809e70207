"""A real PostgreSQL for tests and benchmarks: a server of its own, in a folder of the caller's, reached by a Unix
socket there. It is a child of this process and is ended by its pid. (It refuses to run as root: then it runs as
`postgres`.)"""

import glob
import os
import pwd
import shutil
import subprocess
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
    def __init__(self, folder):
        self.folder = os.path.join(folder, "pg")
        os.mkdir(self.folder)
        self.as_user, self.user = [], pwd.getpwuid(os.geteuid()).pw_name
        if os.geteuid() == 0:
            owner = pwd.getpwnam("postgres")
            self.as_user = ["setpriv", f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}", "--init-groups"]
            self.user = "postgres"
            os.chown(self.folder, owner.pw_uid, owner.pw_gid)
            while folder != "/":  # it must be able to get there; pytest closes the topmost one at each start of its own
                if os.stat(folder).st_mode & 0o001 == 0:
                    os.chmod(folder, os.stat(folder).st_mode | 0o011)
                folder = os.path.dirname(folder)
        self.process = None

    @property
    def env(self):
        """For libpq: how to reach it."""
        return {"PGHOST": self.folder, "PGUSER": self.user, "PGDATABASE": "postgres", "PGPORT": "5432"}

    def __enter__(self):
        data = os.path.join(self.folder, "data")
        subprocess.run([*self.as_user, program("initdb"), "-D", data, "--no-sync", "-A", "trust", "-E", "UTF8",
                        "--no-locale"], check=True, capture_output=True, timeout=LIMIT_S, cwd="/")
        # It is ended in __exit__.
        # pylint: disable-next=consider-using-with
        self.process = subprocess.Popen(
            [*self.as_user, program("postgres"), "-D", data, "-k", self.folder, "-c", "listen_addresses=", "-c",
             "max_connections=50"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            text=True, cwd="/")
        ready, self.log = threading.Event(), []
        threading.Thread(target=self._read, args=(ready,), daemon=True).start()
        if not ready.wait(LIMIT_S):
            self.__exit__()
            raise RuntimeError("PostgreSQL is not up: " + "".join(self.log[-20:]))
        return self

    def _read(self, ready):
        for line in self.process.stderr:
            self.log.append(line)
            if READY in line:
                ready.set()

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stderr.close()

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
