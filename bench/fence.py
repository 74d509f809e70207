"""bench/fence.py: what the guard of a PostgreSQL table costs: single-row inserts by pgbench into a guarded table and
into one that is not, in turns, with 1 and with 8 clients. A server of its own, with its data on the same disk.

Prints what is asked of it ("kept", "MISSED").
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(TOP, "tests", "postgresql"))
from server import Server, program  # noqa: E402 pylint: disable=wrong-import-position


def inserts(server, script, clients, seconds):
    """A second."""
    done = subprocess.run([program("pgbench"), "-n", "-f", script, "-c", str(clients), "-j", "2", "-T", str(seconds)],
                          env={**os.environ, **server.env, "PGOPTIONS": "-c baton.term=7"}, capture_output=True,
                          text=True, timeout=600, check=True)
    return float(re.search(r"^tps = ([\d.]+)", done.stdout, re.MULTILINE)[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="baton-bench-") as folder, Server() as server:
        server.psql(file=os.path.join(TOP, "fence", "postgresql.sql"))
        scripts = {}
        for table in ("guarded", "plain"):
            server.psql(f"CREATE TABLE {table} (id bigserial PRIMARY KEY, text text)")
            scripts[table] = os.path.join(folder, table + ".sql")
            with open(scripts[table], "w", encoding="ascii") as file:
                file.write(f"INSERT INTO {table} (text) VALUES ('a row of some length, as rows are');\n")
        server.psql("SELECT baton.guard('guarded', 'bench')")
        for clients in (1, 8):
            rates = {table: [] for table in scripts}
            for _ in range(options.rounds):
                for table, script in scripts.items():
                    rates[table].append(inserts(server, script, clients, options.seconds))
            guarded, plain = (sorted(rate)[len(rate) // 2] for rate in rates.values())
            print(f"{clients} client(s): {guarded:.0f} guarded, {plain:.0f} plain inserts a second: "
                  f"{guarded / plain:.2f}  {'kept' if guarded >= 0.8 * plain else 'MISSED'}", flush=True)


if __name__ == "__main__":
    main()
