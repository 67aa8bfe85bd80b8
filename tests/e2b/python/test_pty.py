"""Terminals."""

import threading
import time

import pytest
from e2b import CommandExitException, NotFoundException, PtySize, SandboxException, TimeoutException

from face import Awaited

quick = pytest.mark.quick
both = pytest.mark.quick(both=True)
SIZE = PtySize(rows=30, cols=100)


class Terminal:
    """A terminal of either half of the SDK, with all it showed."""

    def __init__(self, sandbox, **options):
        self.sandbox = sandbox
        self.shown = bytearray()
        self.ended = None
        options = {"size": SIZE, "timeout": 60, **options}
        if isinstance(sandbox, Awaited):
            self.handle = sandbox.pty.create(on_data=self.shown.extend, **options)
        else:
            self.handle = sandbox.pty.create(**options)
        self.pid = self.handle.pid
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        try:
            if isinstance(self.sandbox, Awaited):
                self.ended = self.handle.wait()
            else:
                self.ended = self.handle.wait(on_pty=self.shown.extend)
        except Exception as error:
            self.ended = error

    def type(self, text):
        self.sandbox.pty.send_stdin(self.pid, text.encode())

    def until(self, text, seconds=10):
        end = time.monotonic() + seconds
        while text.encode() not in self.shown:
            assert time.monotonic() < end, bytes(self.shown)
            time.sleep(0.02)

    def end(self, seconds=10):
        self.reader.join(seconds)
        assert not self.reader.is_alive(), bytes(self.shown)
        return self.ended


@both
def test_what_is_typed_is_run_and_shown(sandbox):
    terminal = Terminal(sandbox)
    terminal.type("echo $((40 + 2))-ok\n")
    terminal.until("42-ok")
    terminal.type("exit\n")
    assert terminal.end().exit_code == 0


@quick
def test_a_terminal_has_the_size_it_is_given_and_later_another(sandbox):
    terminal = Terminal(sandbox)
    terminal.type("echo size $(stty size)\n")
    terminal.until("size 30 100")
    sandbox.pty.resize(terminal.pid, PtySize(rows=11, cols=77))
    terminal.type("echo size $(stty size)\n")
    terminal.until("size 11 77")
    assert sandbox.pty.kill(terminal.pid) is True


def test_a_shell_in_a_terminal_is_a_login_shell_at_home_with_a_terminal(sandbox):
    terminal = Terminal(sandbox)
    terminal.type("shopt -q login_shell && echo login-$((1+1)); echo at:$PWD:$TERM:$LANG; tty\n")
    terminal.until("login-2")
    terminal.until("at:/home/user:xterm-256color:C.UTF-8")
    terminal.until("/dev/pts/")
    assert sandbox.pty.kill(terminal.pid) is True


def test_a_terminal_takes_variables_and_a_place(sandbox):
    terminal = Terminal(sandbox, envs={"A": "b c"}, cwd="/tmp")
    terminal.type("echo [$A:$PWD]\n")
    terminal.until("[b c:/tmp]")
    assert sandbox.pty.kill(terminal.pid) is True


def test_a_kill_ends_a_terminal(sandbox):
    terminal = Terminal(sandbox)
    assert sandbox.pty.kill(terminal.pid) is True
    ended = terminal.end()
    assert type(ended) is CommandExitException and ended.exit_code == -1
    assert sandbox.pty.kill(terminal.pid) is False


def test_an_interrupt_that_is_typed_interrupts(sandbox):
    terminal = Terminal(sandbox)
    terminal.type("sleep 60; echo status $?\n")
    time.sleep(0.5)
    terminal.type("\x03")
    terminal.type("echo back-$((2+3))\n")
    terminal.until("back-5")
    assert sandbox.pty.kill(terminal.pid) is True


def test_the_end_that_is_typed_ends_the_shell(sandbox):
    terminal = Terminal(sandbox)
    terminal.type("true\n")
    time.sleep(0.3)
    terminal.type("\x04")
    assert terminal.end().exit_code == 0


def test_a_shell_in_a_terminal_ends_with_its_code(sandbox):
    terminal = Terminal(sandbox)
    terminal.type("exit 6\n")
    ended = terminal.end()
    assert type(ended) is CommandExitException
    assert (ended.exit_code, ended.error) == (6, "exit status 6")


def test_letters_of_many_bytes_pass(sandbox):
    terminal = Terminal(sandbox)
    terminal.type("printf '<%s>' größe🦀\n")
    terminal.until("<größe🦀>")
    assert sandbox.pty.kill(terminal.pid) is True


def test_a_terminal_is_listed(sandbox):
    terminal = Terminal(sandbox)
    [process] = sandbox.commands.list()
    assert (process.pid, process.cmd, process.args) == (terminal.pid, "/bin/bash", ["-i", "-l"])
    assert sandbox.pty.kill(terminal.pid) is True


def test_a_terminal_lives_on_when_nobody_looks(sandbox):
    shown = bytearray()
    options = {"on_data": shown.extend} if isinstance(sandbox, Awaited) else {}
    first = sandbox.pty.create(size=SIZE, **options)
    sandbox.pty.send_stdin(first.pid, b"X=kept\n")
    time.sleep(0.3)
    first.disconnect()
    again = sandbox.pty.connect(first.pid, **options)
    sandbox.pty.send_stdin(first.pid, b"echo is:$X; exit\n")
    result = again.wait() if options else again.wait(on_pty=shown.extend)
    assert result.exit_code == 0
    assert b"is:kept" in shown


def test_a_terminal_past_its_time_is_ended(sandbox, eventually):
    terminal = Terminal(sandbox, timeout=1)
    assert type(terminal.end()) is TimeoutException
    eventually(lambda: sandbox.commands.list() == [])


def test_input_of_the_wrong_kind_is_refused(sandbox, refused):
    terminal = Terminal(sandbox)
    with refused(SandboxException):
        sandbox.commands.send_stdin(terminal.pid, "x")
    with refused(SandboxException):
        sandbox.commands.close_stdin(terminal.pid)
    assert sandbox.pty.kill(terminal.pid) is True
    handle = sandbox.commands.run("cat", background=True, stdin=True)
    with refused(SandboxException):
        sandbox.pty.send_stdin(handle.pid, b"x")
    with refused(SandboxException):
        sandbox.pty.resize(handle.pid, SIZE)
    assert handle.kill() is True


def test_what_never_ran_has_no_terminal(sandbox, refused):
    with refused(NotFoundException):
        sandbox.pty.resize(4_000_000, SIZE)
    with refused(NotFoundException):
        sandbox.pty.send_stdin(4_000_000, b"x")
    assert sandbox.pty.kill(4_000_000) is False


def test_much_that_is_shown_comes_whole(sandbox):
    terminal = Terminal(sandbox)
    terminal.type("stty -opost -echo; seq 20000; echo fin-$((3+4)); exit\n")
    assert terminal.end(30).exit_code == 0
    wanted = "".join(f"{number}\n" for number in range(1, 20001)).encode()
    assert wanted in terminal.shown and b"fin-7" in terminal.shown


def test_two_terminals_are_apart(sandbox):
    first, second = Terminal(sandbox), Terminal(sandbox)
    first.type("echo only-$((1+0))\n")
    first.until("only-1")
    second.type("echo other-$((2+0))\n")
    second.until("other-2")
    assert b"only-1" not in second.shown
    assert sandbox.pty.kill(first.pid) is True and sandbox.pty.kill(second.pid) is True
