"""Independent of baton's code: what must hold of what the writers have logged (see writer.py).

X  no two of them live at one instant (by their stamps, and by a lock that each tries to take)
T  terms grow with time, and no term is given twice
F  the rows of the resource have terms that never go down, and nobody was fenced who was alone

A presence that somebody deletes, or a lease that somebody revokes, takes the place away without asking: the others may
lead as soon as they see it, and the one before is told at the same moment. No lease can keep these two apart, only the
fence does. So what X and F say of the two is let pass, if the earlier one is over within REMOVED_S of such a fault.
"""

import os
import sqlite3

REMOVED_S = 2


class Life:
    """One writer: its term, its instance, from its first stamp to its last, in ns of CLOCK_BOOTTIME."""

    def __init__(self, path):
        with open(path, encoding="ascii") as file:
            lines = file.read().splitlines(keepends=True)
        _, term, self.instance, alone = lines[0].split()
        self.term, self.alone = int(term), alone == "1"
        stamps = [int(line) for line in lines[1:] if line.endswith("\n") and line[0].isdigit()]
        self.fenced = any(line == "fenced\n" for line in lines)
        self.first, self.last = (stamps[0], stamps[-1]) if stamps else (None, None)

    def __repr__(self):
        return f"{self.instance} with term {self.term}, {self.first} to {self.last}"


def lives(folder):
    """In the order of their beginning. Those that were killed before their first stamp did nothing."""
    found = [Life(os.path.join(folder, name)) for name in os.listdir(folder)
             if name.startswith("log-") and os.path.getsize(os.path.join(folder, name)) > 0]
    return sorted((life for life in found if life.first is not None), key=lambda life: life.first)


def check(folder, removed=()):
    """What is wrong, in words. `removed`: when somebody took a place away by hand, in ns of CLOCK_BOOTTIME."""
    wrong = []
    seen = lives(folder)

    def is_taken_away(life):
        return any(life.first < at and life.last < at + REMOVED_S * 1e9 for at in removed)

    for before, life in zip([None, *seen], seen):
        if not life.alone and not (before is not None and is_taken_away(before)):
            wrong.append(f"X: another one lived when it began: {life}")
        if life.fenced and not is_taken_away(life):
            wrong.append(f"F: a leader was fenced: {life}")
    for before, after in zip(seen, seen[1:]):
        if after.first <= before.last and not is_taken_away(before):
            wrong.append(f"X: both live: {before}; {after}")
        if after.term < before.term or (after.term == before.term and after.instance != before.instance):
            wrong.append(f"T: the term does not grow: {before}; {after}")
    with sqlite3.connect(os.path.join(folder, "resource.db")) as resource:
        terms = [row[0] for row in resource.execute("select term from rows order by id")]
    if terms != sorted(terms):
        wrong.append("F: the resource has an older term after a newer one")
    return wrong
