"""Commands in the foreground: what they are given, what they write, how they end."""

import hashlib
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from e2b import (
    AuthenticationException,
    CommandExitException,
    InvalidArgumentException,
    SandboxException,
    TimeoutException,
)

quick = pytest.mark.quick
both = pytest.mark.quick(both=True)


@both
def test_what_a_command_writes_comes_back(sandbox):
    said = sandbox.commands.run("echo hello")
    assert (said.stdout, said.stderr, said.exit_code, said.error) == ("hello\n", "", 0, None)


def test_both_streams_are_kept_apart(sandbox):
    said = sandbox.commands.run("echo out; echo err >&2; echo out again")
    assert (said.stdout, said.stderr) == ("out\nout again\n", "err\n")


def test_a_command_may_say_nothing(sandbox):
    said = sandbox.commands.run("true")
    assert (said.stdout, said.stderr, said.exit_code) == ("", "", 0)


@both
def test_a_failure_is_told_with_all_it_left(sandbox):
    with pytest.raises(CommandExitException) as caught:
        sandbox.commands.run("echo before; echo why >&2; exit 3")
    failed = caught.value
    assert type(failed) is CommandExitException
    assert (failed.stdout, failed.stderr, failed.exit_code) == ("before\n", "why\n", 3)
    assert failed.error == "exit status 3"
    assert str(failed) == "Command exited with code 3 and error:\nwhy\n"


@pytest.mark.parametrize("code", [1, 2, 126, 127, 255])
def test_every_exit_code_comes_through(sandbox, code):
    with pytest.raises(CommandExitException) as caught:
        sandbox.commands.run(f"exit {code}")
    assert (caught.value.exit_code, caught.value.error) == (code, f"exit status {code}")


@pytest.mark.parametrize(("signal", "name"), [("KILL", "killed"), ("TERM", "terminated")])
def test_an_end_by_signal_is_told_apart(sandbox, signal, name):
    with pytest.raises(CommandExitException) as caught:
        sandbox.commands.run(f"echo first; kill -{signal} $$")
    assert (caught.value.exit_code, caught.value.error) == (-1, f"signal: {name}")
    assert caught.value.stdout == "first\n"


def test_a_command_that_is_not_there_is_told_by_the_shell(sandbox):
    with pytest.raises(CommandExitException) as caught:
        sandbox.commands.run("nosuchcommand")
    assert caught.value.exit_code == 127
    assert "nosuchcommand: command not found" in caught.value.stderr


# Bytes.


@quick
def test_a_letter_that_comes_in_pieces_is_one_letter(sandbox):
    crab = "\\xf0 \\x9f \\xa6 \\x80".split()
    pieces = "; sleep 0.15; ".join(f"printf '{byte}'" for byte in crab)
    assert sandbox.commands.run(f"printf a; {pieces}; printf z").stdout == "a🦀z"


def test_what_is_no_text_is_marked_as_such(sandbox):
    assert sandbox.commands.run("printf 'a\\xffb'").stdout == "a\ufffdb"
    assert sandbox.commands.run("printf 'cut\\xf0\\x9f'").stdout == "cut\ufffd"


def test_bytes_of_no_meaning_pass_unharmed(sandbox):
    said = sandbox.commands.run("printf '\\0\\001\\r\\n\\t\\033[31m\\177'")
    assert said.stdout == "\0\x01\r\n\t\x1b[31m\x7f"


@quick
def test_a_mebibyte_comes_back_whole(sandbox):
    said = sandbox.commands.run("head -c 1048576 /dev/zero | tr '\\0' x")
    assert said.stdout == "x" * 1048576


def test_fifty_mebibytes_come_back_whole(sandbox):
    line = "0123456789abcde\n"
    said = sandbox.commands.run(f"yes {line.strip()} | head -c {50 << 20}", timeout=80)
    assert len(said.stdout) == 50 << 20
    wanted = hashlib.sha256((line * ((50 << 20) // len(line))).encode()).hexdigest()
    assert hashlib.sha256(said.stdout.encode()).hexdigest() == wanted


def test_much_on_both_streams_at_once_is_not_mixed(sandbox):
    said = sandbox.commands.run("yes o | head -c 400000 & yes e | head -c 400000 >&2; wait")
    assert said.stdout == "o\n" * 200_000
    assert said.stderr == "e\n" * 200_000


def test_output_need_not_be_kept(sandbox):
    said = sandbox.commands.run("echo a; echo b >&2", retain_output=False)
    assert (said.stdout, said.stderr, said.exit_code) == (None, None, 0)


# As it comes.


@quick
def test_callbacks_get_the_pieces_in_order_as_they_come(sandbox):
    out, err, came = [], [], []

    def on_stdout(piece):
        out.append(piece)
        came.append(time.monotonic())

    said = sandbox.commands.run(
        "for n in 1 2 3; do echo $n; echo e$n >&2; sleep 0.3; done", on_stdout=on_stdout, on_stderr=err.append
    )
    assert out == ["1\n", "2\n", "3\n"]
    assert err == ["e1\n", "e2\n", "e3\n"]
    assert said.stdout == "1\n2\n3\n"
    # Held back until the end they would come at once.
    assert came[2] - came[0] > 0.4


# What a command is given.


@quick
def test_a_command_runs_as_the_user_at_home(sandbox):
    said = sandbox.commands.run("id -un; pwd; echo $HOME $USER $LOGNAME")
    assert said.stdout == "user\n/home/user\n/home/user user user\n"


def test_a_command_knows_that_it_is_in_a_sandbox(sandbox):
    said = sandbox.commands.run("echo $E2B_SANDBOX $E2B_SANDBOX_ID $E2B_TEMPLATE_ID").stdout.split()
    assert said[:2] == ["true", sandbox.sandbox_id]
    assert len(said) == 3


@quick
def test_variables_are_passed_as_they_are(sandbox):
    envs = {"A": "x y", "B": "q\"q'q", "C": "l\nl", "D": "a=b=c", "E": "größe 🦀", "F": "", "G": "$HOME `id`"}
    said = sandbox.commands.run("for n in A B C D E F G; do printf '%s\\0' \"${!n}\"; done", envs=envs)
    assert said.stdout == "".join(value + "\0" for value in envs.values())


def test_a_variable_of_a_command_is_not_left_to_the_next(sandbox):
    assert sandbox.commands.run("echo $ONLY", envs={"ONLY": "here"}).stdout == "here\n"
    assert sandbox.commands.run("echo -$ONLY-").stdout == "--\n"


def test_many_variables_fit(sandbox):
    envs = {f"VARIABLE_{number}": str(number) * 20 for number in range(500)}
    assert sandbox.commands.run("env | grep -c ^VARIABLE_", envs=envs).stdout == "500\n"


def test_the_host_has_no_variable_inside(sandbox):
    names = [line.split("=")[0] for line in sandbox.commands.run("env").stdout.splitlines()]
    assert not [name for name in names if name.startswith(("CARGO", "CASEMATE", "SSH", "E2B_API"))]


@quick
def test_a_command_runs_where_it_is_told(sandbox):
    sandbox.files.make_dir("work")
    for cwd, place in {"/tmp": "/tmp", "/": "/", "~/work": "/home/user/work", "work": "/home/user/work"}.items():
        assert sandbox.commands.run("pwd", cwd=cwd).stdout == place + "\n"


@quick
def test_a_place_that_is_not_there_is_refused(sandbox, refused):
    with refused(InvalidArgumentException, "cwd '/no/such/place' does not exist"):
        sandbox.commands.run("true", cwd="/no/such/place")


def test_a_place_that_is_a_file_is_refused(sandbox, refused):
    sandbox.files.write("file", "x")
    with refused(InvalidArgumentException, "/home/user/file"):
        sandbox.commands.run("true", cwd="/home/user/file")


def test_the_user_may_be_named(sandbox):
    assert sandbox.commands.run("id -un", user="user").stdout == "user\n"


def test_a_user_nobody_knows_is_refused(sandbox, refused):
    with refused(AuthenticationException, "invalid username: 'nosuchuser'"):
        sandbox.commands.run("true", user="nosuchuser")


@quick
def test_root_is_refused_where_the_policy_does_not_grant_it(sandbox, refused):
    with refused(SandboxException, "PERMISSION_DENIED", "root"):
        sandbox.commands.run("true", user="root")


@pytest.mark.rooted
def test_root_is_root_where_the_policy_grants_it(rooted):
    sandbox = rooted.create()
    said = sandbox.commands.run("id -u; pwd; echo $HOME $USER; echo x > /root/f && cat /root/f", user="root")
    assert said.stdout == "0\n/root\n/root root\nx\n"
    assert sandbox.commands.run("id -u").stdout == "1000\n"


# Its end of standard input.


def test_a_command_has_no_input_unless_asked_for(sandbox):
    assert sandbox.commands.run("cat; readlink /proc/self/fd/0", timeout=10).stdout == "/dev/null\n"


# Time.


@both
def test_a_command_past_its_time_is_ended_on_both_sides(sandbox, refused, eventually):
    start = time.monotonic()
    with refused(TimeoutException):
        sandbox.commands.run("exec sleep 61", timeout=1)
    assert 0.9 < time.monotonic() - start < 4
    eventually(lambda: sandbox.commands.list() == [])
    assert sandbox.commands.run("grep -l '^sleep' /proc/[0-9]*/comm || echo none").stdout == "none\n"


def test_what_was_written_before_its_time_was_over_came_through(sandbox, refused):
    pieces = []
    with refused(TimeoutException):
        sandbox.commands.run("echo early; exec sleep 61", timeout=1, on_stdout=pieces.append)
    assert pieces == ["early\n"]


def test_without_a_time_a_command_may_take_its_own(sandbox):
    assert sandbox.commands.run("sleep 2; echo done", timeout=0).stdout == "done\n"


# Size and number.


def test_a_long_command_line_fits(sandbox):
    text = "x" * 120_000
    assert sandbox.commands.run(f"printf %s {text} | wc -c").stdout.strip() == "120000"


def test_a_script_of_many_lines_runs_as_it_is_written(sandbox):
    script = "set -e\nfor i in 1 2; do\n  echo \"line $i\"\ndone\ncat <<'END'\n$HOME `id` \\\\ \"'\nEND\n"
    assert sandbox.commands.run(script).stdout == "line 1\nline 2\n$HOME `id` \\\\ \"'\n"


def test_commands_run_beside_each_other(one):
    start = time.monotonic()
    with ThreadPoolExecutor(10) as pool:
        said = list(pool.map(lambda n: one.commands.run(f"sleep 1; echo {n}").stdout, range(10)))
    assert said == [f"{number}\n" for number in range(10)]
    assert time.monotonic() - start < 6


def test_many_commands_leave_nothing_behind(one):
    for number in range(40):
        assert one.commands.run(f"echo {number}").stdout == f"{number}\n"
    assert one.commands.list() == []
    # The shell that looks, and what it starts.
    assert int(one.commands.run("ls -d /proc/[0-9]* | wc -l").stdout) <= 6


def test_a_command_ends_when_all_have_closed_its_output(sandbox):
    start = time.monotonic()
    assert sandbox.commands.run("(sleep 1; echo late) & echo now").stdout == "now\nlate\n"
    assert time.monotonic() - start >= 0.9


def test_python_runs(sandbox):
    assert sandbox.commands.run("python3 -c 'print(sum(range(10)))'").stdout == "45\n"


def test_too_many_processes_are_the_sandbox_s_own_trouble(small):
    sandbox = small.create()
    with pytest.raises(CommandExitException) as caught:
        sandbox.commands.run("for i in $(seq 200); do sleep 2 & done; exit 9")
    assert "fork" in caught.value.stderr
    assert sandbox.commands.run("echo fine").stdout == "fine\n"
