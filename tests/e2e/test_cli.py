"""The frame of the command line: help, options, output, and that completions and man pages tell the same."""

import os
import re
import shutil
import subprocess

import pytest

from conftest import BATON, TOP

COMMANDS = ["run", "elect", "lock", "once", "gate", "fence", "status", "watch", "history", "transfer", "hold",
            "release", "version", "help"]
ALONE = {"version", "help"}  # told in baton(1)


def options_of(world, command):
    """The long options that `baton COMMAND --help` lists."""
    told = world.run(command, "--help")
    assert told.code == 0, told
    names = re.findall(r"^  (?:-\w, |    )(.*?)(?:  |$)", told.out, re.MULTILINE)
    return re.findall(r"--([a-z-]+)", " ".join(names))


def test_help_lists_every_command(world):
    told = world.run("--help")
    assert told.code == 0
    assert re.findall(r"^  ([a-z]+)  +\S", told.out, re.MULTILINE) == COMMANDS
    assert world.run("help").out == told.out
    assert world.run("-h").out == told.out


def test_without_a_command_the_help_is_an_error(world):
    told = world.run()
    assert told.code == 64
    assert told.out == ""
    assert told.err == world.run("--help").out


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command(world, command):
    told = world.run("help", command)
    assert told.code == 0 and told.err == ""
    assert told.out.startswith(f"Usage: baton {command}")
    assert told.out == world.run(command, "--help").out == world.run(command, "-h").out
    assert max(map(len, told.lines)) <= 100


def test_version(world):
    told = world.run("--version")
    assert told.code == 0 and re.fullmatch(r"baton \d+\.\d+\.\d+\n", told.out)
    assert world.run("version").out == told.out


@pytest.mark.parametrize("args, message", [
    (["frobnicate"], "baton: unknown command 'frobnicate'; see baton --help\n"),
    (["--frobnicate"], "baton: unknown option '--frobnicate'; see baton --help\n"),
    (["help", "frobnicate"], "baton: unknown command 'frobnicate'; see baton --help\n"),
    (["stauts"], "baton: unknown command 'stauts' (did you mean status?); see baton --help\n"),
    (["help", "lok"], "baton: unknown command 'lok' (did you mean lock?); see baton --help\n"),
    (["--versoin"], "baton: unknown option '--versoin' (did you mean --version?); see baton --help\n"),
    (["status", "--jsno"], "baton status: unknown option '--jsno' (did you mean --json?); see baton status --help\n"),
    (["status", "--timeout=1"],
     "baton status: unknown option '--timeout' (did you mean --engine-timeout?); see baton status --help\n"),
    (["status", "-json"], "baton status: unknown option '-j' (did you mean --json?); see baton status --help\n"),
    (["lock", "--noblock", "x", "true"],
     "baton lock: unknown option '--noblock' (did you mean --nonblock?); see baton lock --help\n"),
    (["status", "--foo"], "baton status: unknown option '--foo'; see baton status --help\n"),
    (["status", "--foo=bar"], "baton status: unknown option '--foo'; see baton status --help\n"),
    (["status", "-x"], "baton status: unknown option '-x'; see baton status --help\n"),
    (["status", "--json=yes"], "baton status: the option '--json' takes no value; see baton status --help\n"),
    (["status", "--url"], "baton status: the option '--url' needs a value; see baton status --help\n"),
    (["lock", "--s", "db"], "baton lock: ambiguous option '--s': --shared, --slots, --slack; see baton lock --help\n"),
    (["status", "a", "b"], "baton status: 'b' is one argument too many; see baton status --help\n"),
    (["transfer"], "baton transfer: NAME is missing; see baton transfer --help\n"),
    (["history"], "baton history: NAME is missing; see baton history --help\n"),
    (["hold"], "baton hold: NAME is missing; see baton hold --help\n"),
    (["release"], "baton release: NAME is missing; see baton release --help\n"),
    (["fence"], "baton fence: VERB and URL are missing; see baton fence --help\n"),
    (["fence", "status"], "baton fence: missing: URL; it is baton fence status URL; see baton fence --help\n"),
    (["status", "--engine-timeout", "soon"], "baton status: --engine-timeout: 'soon' is no duration; write it like "
     "500ms, 10s, 1.5m, 2h or 30d; see baton status --help\n"),
    (["status", "--engine-timeout", "0"], "baton status: --engine-timeout: 0 is too short, the least is 1ms; see "
     "baton status --help\n"),
    (["status", "--engine-timeout", "10000h"], "baton status: --engine-timeout: 10000h is too long, the most is "
     "4294967295ms; see baton status --help\n"),
    (["hold", "--why", "x" * 201, "db"], "baton hold: --why is too long: 201 bytes, at most 200 are allowed; see baton "
     "hold --help\n"),
])
def test_a_wrong_word_is_named(world, args, message):
    told = world.run(*args)
    assert (told.code, told.out, told.err) == (64, "", message)
    assert os.listdir(world.state) == []  # nothing was touched


def test_options_may_follow_the_name(world):
    told = world.run("status", "db", "--url", "nonsense:x")
    assert told.code != 64 or "argument too many" not in told.err
    assert "nonsense" in told.err


def test_after_two_dashes_come_operands(world):
    told = world.run("status", "--", "--json")
    assert told.err.startswith("baton status: the name '--json' is not legal")


def test_a_full_disk_under_the_output_is_told(world):
    with open("/dev/full", "w", encoding="utf-8") as full:
        told = world.run("--help", stdout=full)
    assert told.code == 74
    assert told.err == "baton: the output could not be written: No space left on device\n"


def test_a_full_disk_under_a_watch_ends_it(led):
    with open("/dev/full", "w", encoding="utf-8") as full:
        told = led.run("watch", "db", stdout=full)
    assert told.code == 74
    assert told.err == "baton: the output could not be written: No space left on device\n"


def test_a_reader_that_goes_away_ends_a_watch_quietly(led):
    told = led.run_command(["bash", "-c", f"{BATON} watch db | head -1; echo ${{PIPESTATUS[*]}}"])
    assert told.err == ""
    assert len(told.lines) == 2 and told.lines[1] in ("0 0", "141 0")


def test_a_reader_that_goes_away_is_no_error_where_the_signal_is_ignored(led):
    told = led.run_command(["bash", "-c", f"trap '' PIPE; {BATON} watch db | head -1; echo ${{PIPESTATUS[*]}}"])
    assert told.err == ""
    assert told.lines[-1] == "0 0"


def test_colour_is_for_terminals_only_and_not_with_no_color(led):
    script = ["script", "--quiet", "--return", "--command", f"{BATON} status db", "/dev/null"]
    assert "\033" not in led.run("status", "db", env={"TERM": "xterm"}).out
    assert "\033[1malpha\033[0m" in led.run_command(script, env={"TERM": "xterm"}).out
    assert "\033" not in led.run_command(script, env={"TERM": "xterm", "NO_COLOR": "1"}).out
    assert "\033" not in led.run_command(script, env={"TERM": "dumb"}).out


# ---- man pages and completions ----

@pytest.mark.parametrize("command", COMMANDS)
def test_the_man_page_has_exactly_the_options_of_the_help(world, command):
    if command in ALONE:
        assert options_of(world, command) == ["help"]
        return
    with open(os.path.join(TOP, "man", f"baton-{command}.1"), encoding="utf-8") as file:
        page = file.read()
    told = re.findall(r"(?:Fl|,) -([a-z-]+)", " ".join(re.findall(r"^\.It Fl .*", page, re.MULTILINE)))
    assert sorted(told) == sorted(options_of(world, command))
    synopsis = page[:page.index(".Sh DESCRIPTION")]
    for option in set(options_of(world, command)) - {"help"}:
        assert re.search(rf"^\.?.*(Fl|\|) -{option}\b", synopsis, re.MULTILINE), option


def test_the_first_man_page_names_every_command_and_exit_code(world):
    with open(os.path.join(TOP, "man", "baton.1"), encoding="utf-8") as file:
        page = file.read()
    assert re.findall(r"^\.It Cm ([a-z]+)", page, re.MULTILINE) == COMMANDS
    with open(os.path.join(TOP, "src", "cli", "output.c"), encoding="utf-8") as file:
        names = set(re.findall(r"return (EX_[A-Z]+);", file.read()))
    with open("/usr/include/sysexits.h", encoding="utf-8") as file:
        numbers = dict(re.findall(r"#define (EX_[A-Z]+)\s+(\d+)", file.read()))
    for name in names - {"EX_OK"}:
        assert re.search(rf"^\.It {numbers[name]}$", page, re.MULTILINE), name


def complete_bash(world, *words):
    script = f"""
        source {TOP}/completions/baton.bash
        COMP_WORDS=("$@")
        COMP_CWORD=$(($# - 1))
        _baton
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    told = world.run_command(["bash", "--norc", "-c", script, "bash", BATON, *words])
    assert told.err == "", told
    return sorted(filter(None, told.lines))


def complete_fish(world, line):
    folder = os.path.dirname(BATON)
    script = f"set -gx PATH {folder} $PATH; source {TOP}/completions/baton.fish; complete -C '{line}'"
    told = world.run_command(["fish", "--no-config", "-c", script])
    assert told.err == "", told
    return sorted(each.split("\t")[0] for each in told.lines)


def complete_zsh(world, line):
    """What a real interactive zsh offers, on a terminal of its own."""
    os.makedirs(f"{world.folder}/zsh", exist_ok=True)
    shutil.copy(f"{TOP}/tests/e2e/complete.zsh", f"{world.folder}/zsh/.zshrc")
    hits = f"{world.folder}/zsh/hits"
    open(hits, "w", encoding="utf-8").close()
    env = {"ZDOTDIR": f"{world.folder}/zsh", "COMPLETIONS": f"{TOP}/completions", "HITS": hits, "TERM": "dumb",
           "PATH": os.path.dirname(BATON) + ":" + world.env["PATH"]}
    script = f"""
        zmodload zsh/zpty
        zpty z zsh -i
        zpty -r -m z told '*READY*'
        zpty -w -n z $'{line}\\C-T'
        zpty -r -m z told '*DONE*'
        zpty -d z
    """
    told = world.run_command(["zsh", "-f", "-c", script], env=env)
    assert told.code == 0 and told.err == "", told
    with open(hits, encoding="utf-8") as file:
        return sorted(set(file.read().split("\n")) - {""})


@pytest.mark.parametrize("command", COMMANDS)
def test_bash_completes_exactly_the_options_of_the_help(world, command):
    assert complete_bash(world, command, "--") == sorted("--" + each for each in options_of(world, command))


@pytest.mark.parametrize("command", COMMANDS)
def test_fish_completes_exactly_the_options_of_the_help(world, command):
    assert complete_fish(world, f"baton {command} --") == sorted("--" + each for each in options_of(world, command))


@pytest.mark.parametrize("command", COMMANDS)
def test_zsh_completes_exactly_the_options_of_the_help(world, command):
    assert complete_zsh(world, f"baton {command} --") == sorted("--" + each for each in options_of(world, command))


def test_every_shell_completes_the_commands(world):
    both = sorted([*COMMANDS, "--help", "--version"])
    assert complete_bash(world, "") == both
    assert complete_fish(world, "baton ") == sorted(COMMANDS)
    assert complete_zsh(world, "baton ") == sorted(COMMANDS)


def test_completion_knows_the_elections(led):
    assert complete_bash(led, "transfer", "") == ["db"]
    assert complete_bash(led, "run", "--restart", "") == ["always", "never", "on-failure"]
    assert complete_fish(led, "baton history ") == ["db"]


def test_completion_gives_way_to_the_command(world):
    assert "ls" in complete_bash(world, "run", "db", "--", "l")
    assert not [each for each in complete_bash(world, "run", "db", "--", "--") if each == "--restart"]


@pytest.mark.parametrize("folder", ["completions", "systemd"])
def test_nothing_installed_names_this_machine(folder):
    for name in os.listdir(os.path.join(TOP, folder)):
        with open(os.path.join(TOP, folder, name), encoding="utf-8") as file:
            assert TOP not in file.read()


def test_the_unit_is_one_that_systemd_takes(tmp_path):
    with open(os.path.join(TOP, "systemd", "baton@.service.in"), encoding="utf-8") as file:
        text = file.read().replace("@bindir@/baton", "/bin/true")
    for name, unit, good in (("good", text, True), ("bad", text.replace("KillMode=mixed", "KillMode=kindly"), False)):
        path = tmp_path / f"{name}@x.service"
        path.write_text(unit)
        told = subprocess.run(["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(path)],
                              capture_output=True, text=True, check=False)
        assert (told.stderr == "") == good, told
