"""What the pages say in numbers is what the source says."""

import os
import re

import pytest

from conftest import TOP


def read(*path):
    with open(os.path.join(TOP, *path), encoding="utf-8") as file:
        return file.read()


def sources(*folders):
    for folder in folders:
        for place, _, names in os.walk(os.path.join(TOP, folder)):
            for name in names:
                if name.endswith((".c", ".h")):
                    yield read(place, name)


def rules(text, macro):
    """The rules that an X macro lists."""
    return re.findall(r"^    RULE\(", text[text.index(f"#define {macro}("):], re.MULTILINE)


def test_the_pages_count_the_rules_as_the_simulation_does():
    """`sim --mutations` breaks each of them in turn."""
    core = len(rules(read("src", "core", "rules.h"), "CORE_RULES"))
    around = len(rules(read("tests", "sim", "world.h"), "WORLD_RULES"))
    told = re.search(r"`sim --mutations`: (\d+) rules of the core and (\d+) of the world", read("ARCHITECTURE.md"))
    assert (int(told[1]), int(told[2])) == (core, around)
    assert re.search(r"(\d+) rules carry what is promised", read("README.md"))[1] == str(core + around)


LIMITS = [limit for name in sorted(os.listdir(os.path.join(TOP, "include", "baton")))
          for limit in re.findall(r"^#define (BATON_\w+_(?:MAX|KEPT))\b", read("include", "baton", name), re.MULTILINE)]


@pytest.mark.parametrize("limit", LIMITS)
def test_a_limit_of_the_public_headers_is_kept(limit):
    """One that nothing in the library compares with is none. (That it is right is for the tests of what it limits.)"""
    assert any(re.search(rf"(?<!#define )\b{limit}\b", source) for source in sources("src", "include"))


PROTOCOLS_PAGE = read("docs", "protocols.md")
PATHS = sorted(set(re.findall(r"`((?:src|tests|scripts|include)/[\w./-]+)`", PROTOCOLS_PAGE)))
NAMES = sorted(set(re.findall(r"(?:`(?:struct )?|\b(?=TELL_))(\w+_\w+)\b", PROTOCOLS_PAGE)))


@pytest.mark.parametrize("path", PATHS)
def test_a_path_of_the_page_on_protocols_is_there(path):
    assert os.path.exists(os.path.join(TOP, path))


@pytest.mark.parametrize("name", NAMES)
def test_a_name_of_the_page_on_protocols_is_one_of_the_source(name):
    assert any(re.search(rf"\b{name}\b", source) for source in sources("src/core", "tests/sim"))
