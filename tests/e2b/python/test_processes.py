"""Commands in the background: handles, lists, input, signals, and those who come later."""

import base64
import time

import pytest
from e2b import CommandExitException, NotFoundException, SandboxException, TimeoutException

from raw import bash, events, is_connect_error, output

quick = pytest.mark.quick
both = pytest.mark.quick(both=True)
UNKNOWN_PID = 4_000_000


def running(sandbox):
    return [process.pid for process in sandbox.commands.list()]


@quick
def test_what_runs_is_listed_as_it_was_started(sandbox):
    assert sandbox.commands.list() == []
    handle = sandbox.commands.run("exec sleep 60", background=True, envs={"A": "b"}, cwd="/tmp")
    [process] = sandbox.commands.list()
    assert process.pid == handle.pid > 0
    assert (process.cmd, process.args) == ("/bin/bash", ["-l", "-c", "exec sleep 60"])
    assert (process.envs, process.cwd, process.tag) == ({"A": "b"}, "/tmp", None)
    assert handle.kill() is True


def test_waiting_gives_what_was_written_meanwhile(sandbox):
    handle = sandbox.commands.run("echo one; sleep 0.3; echo two; echo err >&2", background=True)
    result = handle.wait()
    assert (result.stdout, result.stderr, result.exit_code) == ("one\ntwo\n", "err\n", 0)


def test_waiting_for_a_failure_tells_of_it(sandbox):
    handle = sandbox.commands.run("echo some; exit 9", background=True)
    with pytest.raises(CommandExitException) as caught:
        handle.wait()
    assert (caught.value.exit_code, caught.value.stdout) == (9, "some\n")


@quick
def test_a_kill_is_done_when_it_is_answered(sandbox):
    handle = sandbox.commands.run("exec sleep 60", background=True)
    assert handle.kill() is True
    # Not even a zombie is left.
    assert sandbox.commands.run(f"kill -0 {handle.pid} 2>&1 || echo gone").stdout.endswith("gone\n")
    with pytest.raises(CommandExitException) as caught:
        handle.wait()
    assert (caught.value.exit_code, caught.value.error) == (-1, "signal: killed")
    assert handle.kill() is False


def test_what_never_ran_cannot_be_killed(sandbox):
    assert sandbox.commands.kill(UNKNOWN_PID) is False


def test_a_kill_ends_the_output_though_a_grandchild_holds_it(sandbox):
    handle = sandbox.commands.run("sleep 60 & echo started; wait", background=True)
    time.sleep(0.3)
    start = time.monotonic()
    assert handle.kill() is True
    with pytest.raises(CommandExitException) as caught:
        handle.wait()
    assert caught.value.stdout == "started\n"
    assert time.monotonic() - start < 5


def test_time_bounds_a_background_command_too(sandbox, refused, eventually):
    start = time.monotonic()
    handle = sandbox.commands.run("exec sleep 60", background=True, timeout=1)
    with refused(TimeoutException):
        handle.wait()
    assert 0.9 < time.monotonic() - start < 4
    eventually(lambda: running(sandbox) == [])


# Those who come later.


@both
def test_a_command_lives_on_when_nobody_listens(sandbox):
    script = "echo early; sleep 0.8; echo late; exit 4"
    handle = sandbox.commands.run(script, background=True)
    time.sleep(0.3)
    handle.disconnect()
    assert running(sandbox) == [handle.pid]
    again = sandbox.commands.connect(handle.pid)
    assert again.pid == handle.pid
    with pytest.raises(CommandExitException) as caught:
        again.wait()
    # What was written before is not told again.
    assert (caught.value.exit_code, caught.value.stdout) == (4, "late\n")


def test_two_listeners_hear_the_same(sandbox):
    first = sandbox.commands.run("sleep 0.5; echo both; exit 0", background=True)
    second = sandbox.commands.connect(first.pid)
    assert (first.wait().stdout, second.wait().stdout) == ("both\n", "both\n")


def test_another_connection_finds_the_command(sdk, sandbox):
    handle = sandbox.commands.run("sleep 0.8; echo found", background=True)
    elsewhere = sdk.connect(sandbox.sandbox_id)
    assert running(elsewhere) == [handle.pid]
    assert elsewhere.commands.connect(handle.pid).wait().stdout == "found\n"


def test_the_end_is_kept_for_those_who_come_late(sandbox, eventually):
    handle = sandbox.commands.run("exit 5", background=True)
    eventually(lambda: running(sandbox) == [])
    with pytest.raises(CommandExitException) as caught:
        sandbox.commands.connect(handle.pid).wait()
    assert caught.value.exit_code == 5


def test_what_never_ran_cannot_be_connected_to(sandbox, refused):
    with refused(NotFoundException, str(UNKNOWN_PID)):
        sandbox.commands.connect(UNKNOWN_PID)


# Input.


@both
def test_input_reaches_the_command_until_it_is_closed(sandbox):
    handle = sandbox.commands.run("cat; echo end", background=True, stdin=True)
    sandbox.commands.send_stdin(handle.pid, "first\n")
    handle.send_stdin("größe 🦀\n")
    handle.close_stdin()
    assert handle.wait().stdout == "first\ngröße 🦀\nend\n"


def test_input_may_be_any_bytes(sandbox):
    handle = sandbox.commands.run("od -An -v -tx1 | tr -d ' \\n'", background=True, stdin=True)
    sandbox.commands.send_stdin(handle.pid, bytes(range(256)))
    sandbox.commands.close_stdin(handle.pid)
    assert handle.wait().stdout == bytes(range(256)).hex()


def test_much_input_arrives_in_order(sandbox):
    handle = sandbox.commands.run("sha256sum", background=True, stdin=True)
    import hashlib

    whole = hashlib.sha256()
    for number in range(32):
        piece = f"{number:08d}".encode() * 4096
        whole.update(piece)
        sandbox.commands.send_stdin(handle.pid, piece)
    sandbox.commands.close_stdin(handle.pid)
    assert handle.wait().stdout.split()[0] == whole.hexdigest()


def test_a_dialogue_is_possible(sandbox):
    handle = sandbox.commands.run("read a; echo got $a; read b; echo then $b", background=True, stdin=True)
    sandbox.commands.send_stdin(handle.pid, "one\n")
    time.sleep(0.2)
    sandbox.commands.send_stdin(handle.pid, "two\n")
    assert handle.wait().stdout == "got one\nthen two\n"


def test_input_can_be_closed_twice(sandbox):
    handle = sandbox.commands.run("cat; sleep 0.5", background=True, stdin=True)
    sandbox.commands.close_stdin(handle.pid)
    sandbox.commands.close_stdin(handle.pid)
    assert handle.wait().exit_code == 0


@quick
def test_input_to_a_command_without_any_is_refused(sandbox, refused):
    handle = sandbox.commands.run("exec sleep 60", background=True)
    with refused(SandboxException, "stdin not enabled or closed"):
        sandbox.commands.send_stdin(handle.pid, "x")
    assert handle.kill() is True


def test_input_after_the_last_is_refused(sandbox, refused):
    handle = sandbox.commands.run("exec sleep 60", background=True, stdin=True)
    sandbox.commands.close_stdin(handle.pid)
    with refused(SandboxException, "stdin not enabled or closed"):
        sandbox.commands.send_stdin(handle.pid, "x")
    assert handle.kill() is True


def test_input_to_what_never_ran_is_refused(sandbox, refused):
    with refused(NotFoundException, str(UNKNOWN_PID)):
        sandbox.commands.send_stdin(UNKNOWN_PID, "x")
    with refused(NotFoundException, str(UNKNOWN_PID)):
        sandbox.commands.close_stdin(UNKNOWN_PID)


def test_a_command_that_does_not_read_holds_nobody_up(sandbox):
    handle = sandbox.commands.run("exec sleep 60", background=True, stdin=True)
    start = time.monotonic()
    # More than a pipe holds: it is refused or waited for, and never lost in silence.
    with pytest.raises(SandboxException):
        for _ in range(64):
            sandbox.commands.send_stdin(handle.pid, b"x" * 65536, request_timeout=3)
    assert time.monotonic() - start < 30
    assert sandbox.commands.run("echo fine").stdout == "fine\n"
    assert handle.kill() is True


def test_a_stream_of_input_is_refused_by_name(plain, refused):
    sandbox = plain.create()
    handle = sandbox.commands.run("cat", background=True, stdin=True)
    with refused(SandboxException, "StreamInput"):
        sandbox.commands.stream_input(handle.pid, ["a", "b"])
    assert handle.kill() is True


# Signals and tags, which no SDK sends.


def test_a_signal_reaches_the_command(one, raw):
    script = "trap 'echo caught; exit 7' TERM; echo ready; while :; do sleep 0.05; done"
    handle = one.commands.run(script, background=True)
    time.sleep(0.3)
    message = {"process": {"pid": handle.pid}, "signal": "SIGNAL_SIGTERM"}
    assert raw.unary(one, "process.Process/SendSignal", message).json() == {}
    with pytest.raises(CommandExitException) as caught:
        handle.wait()
    assert caught.value.exit_code == 7


def test_a_signal_may_be_a_number(one, raw):
    handle = one.commands.run("exec sleep 60", background=True)
    message = {"process": {"pid": handle.pid}, "signal": 15}
    assert raw.unary(one, "process.Process/SendSignal", message).status_code == 200
    with pytest.raises(CommandExitException) as caught:
        handle.wait()
    assert (caught.value.exit_code, caught.value.error) == (-1, "signal: terminated")


@pytest.mark.parametrize("signal", ["SIGNAL_UNSPECIFIED", "SIGNAL_SIGHUP", 0, 64])
def test_a_signal_that_is_none_is_refused(one, raw, signal):
    handle = one.commands.run("exec sleep 60", background=True)
    message = {"process": {"pid": handle.pid}, "signal": signal}
    assert is_connect_error(raw.unary(one, "process.Process/SendSignal", message), 400, "invalid_argument")
    assert handle.kill() is True


def test_a_tag_names_a_command(one, raw):
    with raw.opened(one, "process.Process/Start", bash("exec sleep 60", tag="mine")):
        [process] = raw.unary(one, "process.Process/List", {}).json()["processes"]
        assert process["tag"] == "mine"
        message = {"process": {"tag": "mine"}, "signal": "SIGNAL_SIGKILL"}
        assert raw.unary(one, "process.Process/SendSignal", message).json() == {}
        assert is_connect_error(raw.unary(one, "process.Process/SendSignal", message), 404, "not_found")


@quick
def test_a_stream_begins_with_the_pid_and_ends_with_the_end(one, raw):
    answer, stream = raw.stream(one, "process.Process/Start", bash("echo hi; echo no >&2"))
    assert answer.headers["content-type"] == "application/connect+json"
    told = events(stream)
    assert list(told[0]) == ["start"] and told[0]["start"]["pid"] > 0
    assert told[-1] == {"end": {"exited": True, "status": "exit status 0"}}
    assert (output(stream), output(stream, "stderr")) == (b"hi\n", b"no\n")
    assert stream[-1] == (2, {})


def test_the_end_of_a_failure_has_its_code(one, raw):
    _, stream = raw.stream(one, "process.Process/Start", bash("exit 3"))
    end = {"exitCode": 3, "exited": True, "status": "exit status 3", "error": "exit status 3"}
    assert events(stream)[-1] == {"end": end}


def test_the_end_by_a_signal_has_its_name(one, raw):
    _, stream = raw.stream(one, "process.Process/Start", bash("kill -9 $$"))
    end = events(stream)[-1]["end"]
    assert (end["exitCode"], end["status"], end["error"]) == (-1, "signal: killed", "signal: killed")
    assert not end.get("exited", False)


def test_every_byte_comes_through_unharmed(one, raw):
    script = 'for i in $(seq 0 255); do printf "\\\\x$(printf %02x $i)"; done'
    _, stream = raw.stream(one, "process.Process/Start", bash(script))
    assert output(stream) == bytes(range(256))


def test_input_that_is_not_spoken_of_is_a_pipe(one, raw):
    message = bash("cat")
    del message["stdin"]
    with raw.opened(one, "process.Process/Start", message) as answer:
        pieces = answer.iter_raw()
        next(pieces)
        [process] = raw.unary(one, "process.Process/List", {}).json()["processes"]
        selector = {"process": {"pid": process["pid"]}}
        text = {**selector, "input": {"stdin": base64.b64encode(b"piped").decode()}}
        assert raw.unary(one, "process.Process/SendInput", text).json() == {}
        assert raw.unary(one, "process.Process/CloseStdin", selector).json() == {}
        rest = b"".join(pieces)
    assert base64.b64encode(b"piped") in rest


def test_silence_is_broken_as_often_as_asked_for(one, raw):
    headers = {"Keepalive-Ping-Interval": "1"}
    _, stream = raw.stream(one, "process.Process/Start", bash("sleep 2.6"), headers=headers)
    keepalives = [message for flags, message in stream if "keepalive" in message.get("event", {})]
    assert 1 <= len(keepalives) <= 3


def test_a_program_may_be_started_without_a_shell(one, raw):
    message = {"process": {"cmd": "/bin/echo", "args": ["a  b", "$HOME"]}, "stdin": False}
    _, stream = raw.stream(one, "process.Process/Start", message)
    assert output(stream) == b"a  b $HOME\n"


def test_a_program_that_is_not_there_is_told_of_in_the_stream(one, raw):
    message = {"process": {"cmd": "/no/such/program"}, "stdin": False}
    answer, stream = raw.stream(one, "process.Process/Start", message)
    assert answer.status_code == 200
    assert "/no/such/program" in stream[-1][1]["error"]["message"]


def test_the_deadline_of_a_stream_kills_and_says_so(one, raw):
    start = time.monotonic()
    headers = {"Connect-Timeout-Ms": "800"}
    _, stream = raw.stream(one, "process.Process/Start", bash("echo x; exec sleep 60"), headers=headers)
    assert 0.7 < time.monotonic() - start < 4
    assert stream[-1][1]["error"]["code"] == "deadline_exceeded"
    assert output(stream) == b"x\n"
    assert raw.unary(one, "process.Process/List", {}).json().get("processes", []) == []
