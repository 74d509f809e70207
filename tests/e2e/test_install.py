"""`meson install`: everything is where it belongs, and a program can be built on it and run."""

import os
import re
import subprocess

import pytest

from conftest import TOP

BUILD = os.path.join(TOP, "build")

HEADERS = sorted(os.listdir(os.path.join(TOP, "include", "baton")))

PROGRAM = r"""
#include <stdio.h>
#include <string.h>
#include <poll.h>
#include <baton/baton.h>

int main(void)
{
    struct baton_options options;
    struct baton_error err;
    struct baton *b;
    struct baton_election *e;
    struct baton_event event;
    baton_options_init(&options);
    options.id = "program";
    if (baton_open(&options, &b, &err) < 0 || baton_stand(b, "installed", NULL, &e, &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    while (!baton_leads(e, NULL)) {
        struct pollfd ready = {.fd = baton_fd(b), .events = POLLIN};
        if (poll(&ready, 1, 10000) <= 0)
            return 2;
        while (baton_next(b, &event))
            printf("%s\n", baton_event_name(event.kind));
    }
    printf("%s leads\n", baton_id(b));
    baton_close(b);
    return 0;
}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """What an installation puts in place, below a folder."""
    folder = tmp_path_factory.mktemp("installed")
    done = subprocess.run(["meson", "install", "-C", BUILD, "--no-rebuild", "--destdir", str(folder)],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    # The prefix may be any; what is looked for is below it.
    [bin_folder] = [path for path, _, files in os.walk(folder) if "baton" in files and path.endswith("/bin")]
    return os.path.dirname(bin_folder)


def libdir(place):
    [found] = [path for path, _, files in os.walk(place) if "libbaton.so" in files]
    return found


def test_everything_is_there(place):
    found = {os.path.relpath(os.path.join(path, name), place) for path, _, files in os.walk(place) for name in files}
    lib = os.path.relpath(libdir(place), place)
    pages = {f"share/man/man{name[-1]}/{name}" for name in os.listdir(os.path.join(TOP, "man"))
             if name[-1].isdigit()}
    assert len(pages) >= 14
    expected = pages | {
        "bin/baton", f"{lib}/libbaton.so", f"{lib}/libbaton.so.0", f"{lib}/pkgconfig/libbaton.pc",
        *(f"include/baton/{name}" for name in HEADERS),
        f"{lib}/baton/libbaton-etcd.so", f"{lib}/baton/baton-guard",
        f"{lib}/baton/baton-fence-sqlite.so", f"{lib}/baton/baton-fence-postgresql.so",
        "share/baton/fence/postgresql.sql",
        "share/bash-completion/completions/baton", "share/zsh/site-functions/_baton",
        "share/fish/vendor_completions.d/baton.fish", "lib/systemd/system/baton@.service"}
    assert expected <= found, expected - found
    version = re.compile(re.escape(lib) + r"/libbaton\.so\.0\.\d+\.\d+")
    assert {name for name in found - expected if not version.fullmatch(name)} == set()


def test_the_library_shows_its_public_names_only(place):
    told = subprocess.run(["nm", "-D", "--defined-only", f"{libdir(place)}/libbaton.so"], capture_output=True,
                          text=True, check=True)
    names = {line.split()[2].split("@")[0] for line in told.stdout.splitlines() if line.split()[1] != "A"}
    public = set()
    for header in HEADERS:
        with open(os.path.join(TOP, "include", "baton", header), encoding="utf-8") as file:
            public |= set(re.findall(r"BATON_API [^;{]*?\b(baton_\w+)\(", file.read()))
    assert len(public) > 25
    assert names == public | {"baton_code_name"}


def test_the_installed_command_runs(place, world):
    told = world.run_command([f"{place}/bin/baton", "--version"])
    assert told.code == 0 and told.out == world.run("--version").out


def test_the_installed_command_finds_its_parts(place, world):
    told = world.run_command([f"{place}/bin/baton", "fence", "status", "postgresql://127.0.0.1:1/x"])
    assert told.code == 69 and "Connection refused" in told.err, told


def test_the_unit_names_the_installed_command(place):
    with open(f"{place}/lib/systemd/system/baton@.service", encoding="utf-8") as file:
        [command] = re.findall(r"^ExecStart=(\S+) run ", file.read(), re.MULTILINE)
    assert command.endswith("/bin/baton") and place.endswith(command[:-len("/bin/baton")])


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_a_program_is_built_with_pkg_config_and_leads(place, world, compiler):
    prefix = subprocess.run(["pkg-config", "--variable=prefix", f"{libdir(place)}/pkgconfig/libbaton.pc"],
                            capture_output=True, text=True, check=True).stdout.strip()
    flags = subprocess.run(["pkg-config", f"--define-variable=prefix={place}", "--cflags", "--libs", "libbaton"],
                           env={**os.environ, "PKG_CONFIG_PATH": f"{libdir(place)}/pkgconfig"}, capture_output=True,
                           text=True, check=True).stdout.split()
    assert f"-I{place}/include" in flags, (prefix, flags)
    source, program = f"{world.folder}/program.c", f"{world.folder}/program"
    with open(source, "w", encoding="utf-8") as file:
        file.write(PROGRAM)
    built = world.run_command([compiler, "-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-o", program, source,
                               *flags])
    assert built.code == 0, built
    told = world.run_command([program], env={"LD_LIBRARY_PATH": libdir(place)})
    assert told.code == 0 and told.lines[-1] == "program leads", told


@pytest.mark.parametrize("compiler", [["gcc", "-std=gnu99"], ["gcc", "-std=gnu11"], ["clang++", "-std=c++11"]],
                         ids=["c99", "c11", "c++"])
@pytest.mark.parametrize("header", HEADERS)
def test_a_header_needs_no_other_one_before_it(place, world, header, compiler):
    source = f"{world.folder}/alone.{'c' if compiler[0] == 'gcc' else 'cpp'}"
    with open(source, "w", encoding="utf-8") as file:
        file.write(f"#include <baton/{header}>\n#include <baton/{header}>\nint main(void) {{ return 0; }}\n")
    told = world.run_command([*compiler, "-fsyntax-only", "-Wall", "-Wextra", "-Wpedantic", "-Werror",
                              f"-I{place}/include", source])
    assert told.code == 0, told


@pytest.mark.parametrize("page", sorted(name for name in os.listdir(os.path.join(TOP, "man")) if name[-1].isdigit()))
def test_a_man_page_can_be_read(place, page):
    told = subprocess.run(["mandoc", "-T", "html", f"{place}/share/man/man{page[-1]}/{page}"], capture_output=True,
                          text=True, check=False)
    assert told.returncode == 0 and "SEE_ALSO" in told.stdout
