//! Terminals: what a person sees and types.

use anyhow::{Context, Result, ensure};
use behaviour::{PATIENCE, Place, Terminal, collect, find, signal, wait};
use rustix::process::Signal;
use std::process::{Child, Command};

behaviour::for_each_profile! {
    a_terminal_outside_is_a_terminal_inside
    bytes_pass_raw_both_ways
    lines_are_edited_and_echoed_as_ever
    a_screen_is_drawn_and_keys_are_answered
    a_pager_pages
    a_new_size_arrives_with_its_signal
    ctrl_c_ends_the_command
    ctrl_c_reaches_the_child_of_a_shell_only
    ctrl_d_ends_the_input
    ctrl_z_and_fg_work_in_a_shell
    the_modes_are_restored_at_the_end
    the_modes_are_restored_after_sigterm
    the_modes_are_restored_when_the_command_cannot_start
    a_terminal_that_hangs_up_ends_everything
    input_from_a_pipe_with_output_on_the_terminal
    output_to_a_pipe_with_input_from_the_terminal
    the_callers_terminal_cannot_be_reached
}

/// `casemate run` with the terminal as its own, before further options and the command.
fn on_terminal(place: &Place) -> Result<Command> {
    place.run_as(&["setsid", "--ctty"], &Place::binary()?)
}

fn start(place: &Place, terminal: &Terminal, command: &[&str]) -> Result<Child> {
    terminal.start(on_terminal(place)?.arg("--").args(command))
}

fn status(child: &mut Child) -> Result<i32> {
    Ok(wait(child, PATIENCE)?.code().unwrap_or(-1))
}

fn a_terminal_outside_is_a_terminal_inside(place: &Place) -> Result<()> {
    let mut terminal = Terminal::open(place.uid(), 24, 80)?;
    let script = "tty; tty <&1; tty <&2; stty size; echo $TERM; \
                  python3 -c 'import os; print([os.isatty(n) for n in range(3)])'; \
                  echo opened >/dev/tty; exit 12";
    let mut child = start(place, &terminal, &["/bin/sh", "-c", script])?;
    for line in ["/dev/pts/0\r\n"; 3] {
        terminal.expect(line)?;
    }
    terminal.expect("24 80\r\n")?;
    terminal.expect("xterm\r\n")?;
    terminal.expect("[True, True, True]\r\n")?;
    terminal.expect("opened\r\n")?;
    assert_eq!(status(&mut child)?, 12);
    Ok(())
}

fn bytes_pass_raw_both_ways(place: &Place) -> Result<()> {
    let mut terminal = Terminal::open(place.uid(), 24, 80)?;
    let program = "
import os, tty
tty.setraw(0)
os.write(1, b'go')
got = b''
while len(got) < 256: got += os.read(0, 256)
os.write(1, b'<' + got + b'>')
";
    let mut child = start(place, &terminal, &["python3", "-c", program])?;
    terminal.expect("go")?;
    let every: Vec<u8> = (0..=255).collect();
    terminal.send(&every)?;
    terminal.expect("<")?;
    let came = terminal.expect(&every)?;
    assert_eq!(came, b"");
    terminal.expect(">")?;
    assert_eq!(status(&mut child)?, 0);
    Ok(())
}

fn lines_are_edited_and_echoed_as_ever(place: &Place) -> Result<()> {
    let mut terminal = Terminal::open(place.uid(), 24, 80)?;
    let mut child =
        start(place, &terminal, &["/bin/sh", "-c", "echo go; read line; echo \"<$line>\"; exit 3"])?;
    terminal.expect("go\r\n")?;
    terminal.send(b"helloX\x7f\r")?;
    terminal.expect("helloX\x08 \x08\r\n")?;
    terminal.expect("<hello>\r\n")?;
    assert_eq!(status(&mut child)?, 3);
    Ok(())
}

const SCREEN: &str = "
import curses
def main(screen):
    while True:
        rows, columns = screen.getmaxyx()
        screen.erase()
        screen.border()
        screen.addstr(2, 3, f'size={rows}x{columns};')
        screen.refresh()
        key = screen.getch()
        if key == ord('q'): return
        screen.addstr(4, 3, f'key={key};')
        screen.refresh()
        if screen.getch() == ord('q'): return
curses.wrapper(main)
print('left')
";

fn a_screen_is_drawn_and_keys_are_answered(place: &Place) -> Result<()> {
    let mut terminal = Terminal::open(place.uid(), 30, 90)?;
    let mut child = start(place, &terminal, &["python3", "-c", SCREEN])?;
    terminal.expect("\x1b[?1049h")?;
    terminal.expect("size=30x90;")?;
    terminal.send(b"a")?;
    terminal.expect("key=97;")?;
    terminal.send(b"q")?;
    terminal.expect("\x1b[?1049l")?;
    terminal.expect("left\r\n")?;
    assert_eq!(status(&mut child)?, 0);
    Ok(())
}

fn a_pager_pages(place: &Place) -> Result<()> {
    // Debian has `more` everywhere; where the fuller ones are, they are tried too.
    for name in ["more", "less", "vi"] {
        if find(name).is_none() {
            ensure!(name != "more", "this machine has no pager");
            continue;
        }
        let mut terminal = Terminal::open(place.uid(), 10, 40)?;
        let script = format!("seq -f 'line %g.' 1 100 >/tmp/text; exec {name} /tmp/text");
        let mut child = start(place, &terminal, &["/bin/sh", "-c", &script])?;
        terminal.expect("line 5.").context(name)?;
        terminal.send(if name == "vi" { b"\x06" } else { b" " })?;
        terminal.expect("line 14.").context(name)?;
        terminal.send(if name == "vi" { b":q!\r" } else { b"q" })?;
        assert_eq!(status(&mut child)?, 0, "{name}");
    }
    Ok(())
}

fn a_new_size_arrives_with_its_signal(place: &Place) -> Result<()> {
    let mut terminal = Terminal::open(place.uid(), 24, 80)?;
    let program = "
import os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGWINCH])
while True:
    size = os.get_terminal_size()
    os.write(1, f'size={size.lines}x{size.columns};'.encode())
    if size.lines == 1: break
    signal.sigwait([signal.SIGWINCH])
";
    let mut child = start(place, &terminal, &["python3", "-c", program])?;
    terminal.expect("size=24x80;")?;
    for (rows, columns) in [(40, 120), (10, 50), (1, 1000)] {
        terminal.resize(rows, columns)?;
        terminal.expect(format!("size={rows}x{columns};"))?;
    }
    assert_eq!(status(&mut child)?, 0);
    Ok(())
}

fn ctrl_c_ends_the_command(place: &Place) -> Result<()> {
    let mut terminal = Terminal::open(place.uid(), 24, 80)?;
    let mut child = start(place, &terminal, &["/bin/sh", "-c", "echo go; exec sleep 600"])?;
    terminal.expect("go\r\n")?;
    terminal.send(b"\x03")?;
    assert_eq!(status(&mut child)?, 130);
    Ok(())
}

fn ctrl_c_reaches_the_child_of_a_shell_only(place: &Place) -> Result<()> {
    let mut terminal = Terminal::open(place.uid(), 24, 80)?;
    let mut child = start(place, &terminal, &["/bin/bash", "--norc", "-i"])?;
    terminal.expect("$ ")?;
    terminal.send(b"sh -c 'echo in$((1))ner; exec sleep 600'\r")?;
    terminal.expect("in1ner\r\n")?;
    terminal.send(b"\x03")?;
    terminal.expect("$ ")?;
    terminal.send(b"echo status=$?, alive=$((6*7))\r")?;
    terminal.expect("status=130, alive=42")?;
    terminal.send(b"exit 5\r")?;
    assert_eq!(status(&mut child)?, 5);
    Ok(())
}

fn ctrl_d_ends_the_input(place: &Place) -> Result<()> {
    let mut terminal = Terminal::open(place.uid(), 24, 80)?;
    let mut child = start(place, &terminal, &["/bin/sh", "-c", "echo go; wc -c; exit 2"])?;
    terminal.expect("go\r\n")?;
    terminal.send(b"four\r\x04")?;
    terminal.expect("5\r\n")?;
    assert_eq!(status(&mut child)?, 2);
    Ok(())
}

fn ctrl_z_and_fg_work_in_a_shell(place: &Place) -> Result<()> {
    let mut terminal = Terminal::open(place.uid(), 24, 80)?;
    let mut child = start(place, &terminal, &["/bin/bash", "--norc", "-i"])?;
    terminal.expect("$ ")?;
    terminal.send(b"sh -c 'echo in$((1))ner; read x; echo read-$x'\r")?;
    terminal.expect("in1ner\r\n")?;
    terminal.send(b"\x1a")?;
    terminal.expect("Stopped")?;
    terminal.expect("$ ")?;
    terminal.send(b"fg\r")?;
    // The shell names what it goes on with, and then the terminal is that program's.
    terminal.expect("read-$x'\r\n")?;
    terminal.send(b"word\r")?;
    terminal.expect("read-word\r\n")?;
    terminal.send(b"exit 6\r")?;
    assert_eq!(status(&mut child)?, 6);
    Ok(())
}

fn the_modes_are_restored_at_the_end(place: &Place) -> Result<()> {
    let mut terminal = Terminal::open(place.uid(), 24, 80)?;
    let before = terminal.modes()?;
    for script in ["stty raw -echo; echo go; exit 0", "stty -a >/dev/null; echo go; kill -SEGV $$"] {
        let mut child = start(place, &terminal, &["/bin/sh", "-c", script])?;
        terminal.expect("go")?;
        status(&mut child)?;
        assert_eq!(terminal.modes()?, before, "{script}");
    }
    Ok(())
}

fn the_modes_are_restored_after_sigterm(place: &Place) -> Result<()> {
    for number in [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT] {
        let mut terminal = Terminal::open(place.uid(), 24, 80)?;
        let before = terminal.modes()?;
        let mut child = start(place, &terminal, &["/bin/sh", "-c", "stty raw; echo go; exec sleep 600"])?;
        terminal.expect("go")?;
        ensure!(terminal.modes()? != before, "the terminal was never raw");
        signal(&child, number)?;
        assert_eq!(status(&mut child)?, 128 + number.as_raw());
        assert_eq!(terminal.modes()?, before);
    }
    Ok(())
}

fn the_modes_are_restored_when_the_command_cannot_start(place: &Place) -> Result<()> {
    let mut terminal = Terminal::open(place.uid(), 24, 80)?;
    let before = terminal.modes()?;
    let mut child = start(place, &terminal, &["no-such-program"])?;
    terminal.expect("no-such-program")?;
    assert_eq!(status(&mut child)?, 127);
    assert_eq!(terminal.modes()?, before);
    Ok(())
}

fn a_terminal_that_hangs_up_ends_everything(place: &Place) -> Result<()> {
    let mut terminal = Terminal::open(place.uid(), 24, 80)?;
    let script = "(setsid sleep 600 &); trap '' HUP; echo go; while :; do sleep 1; done";
    let mut child = start(place, &terminal, &["/bin/sh", "-c", script])?;
    terminal.expect("go\r\n")?;
    terminal.hang_up();
    assert_eq!(status(&mut child)?, 129);
    let ends = place.records_of("sandbox.end")?;
    assert_eq!(ends.last().map(|end| &end["reason"]), Some(&serde_json::json!({"stopped": 1})));
    Ok(())
}

fn input_from_a_pipe_with_output_on_the_terminal(place: &Place) -> Result<()> {
    let mut terminal = Terminal::open(place.uid(), 24, 80)?;
    let before = terminal.modes()?;
    let mut command = place.program("setsid");
    command.args(["--ctty", "/bin/sh", "-c"]);
    command.arg("printf 'one\\ntwo' | { \"$0\" run --state \"$1\" -- sh -c \"$2\"; echo \"status=$?\"; }");
    command.arg(Place::binary()?).arg(place.state());
    command.arg("test -t 0 || echo no-input-terminal; test -t 1 && echo output-terminal; wc -c; exit 9");
    let mut child = terminal.start(&mut command)?;
    terminal.expect("no-input-terminal\r\noutput-terminal\r\n7\r\n")?;
    terminal.expect("status=9\r\n")?;
    status(&mut child)?;
    assert_eq!(terminal.modes()?, before);
    Ok(())
}

fn output_to_a_pipe_with_input_from_the_terminal(place: &Place) -> Result<()> {
    let mut terminal = Terminal::open(place.uid(), 24, 80)?;
    let before = terminal.modes()?;
    let out = place.file("out", "")?;
    let mut command = place.program("setsid");
    command.args(["--ctty", "/bin/sh", "-c"]);
    command.arg("\"$0\" run --state \"$1\" -- sh -c \"$2\" >\"$3\"; echo \"status=$?\"");
    command.arg(Place::binary()?).arg(place.state());
    command.arg(
        "test -t 0 && test -t 2 && ! test -t 1 && echo go >&2; read x; printf 'a\\n%s\\n' \"$x\"; exit 7",
    );
    command.arg(&out);
    let mut child = terminal.start(&mut command)?;
    terminal.expect("go\r\n")?;
    terminal.send(b"typed\r")?;
    terminal.expect("typed\r\n")?;
    terminal.expect("status=7\r\n")?;
    status(&mut child)?;
    assert_eq!(std::fs::read_to_string(out)?, "a\ntyped\n");
    assert_eq!(terminal.modes()?, before);
    Ok(())
}

fn the_callers_terminal_cannot_be_reached(place: &Place) -> Result<()> {
    let mut terminal = Terminal::open(place.uid(), 24, 80)?;
    let outer = terminal.name()?;
    // By its name, by a descriptor above 2, and by typing into it (TIOCSTI).
    let program = format!(
        "
import os, fcntl, termios
found = [n for n in range(3, 100) if os.path.exists(f'/proc/self/fd/{{n}}') and os.isatty(n)]
same = os.path.exists({outer:?}) and {outer:?} != os.ttyname(0)
typed = 0
for letter in b'echo typed':
    try: fcntl.ioctl(0, termios.TIOCSTI, bytes([letter])); typed += 1
    except OSError: pass
print('result', found, same, typed)
"
    );
    let mut command = on_terminal(place)?;
    command.args(["--", "python3", "-c", &program]);
    let child = terminal.start(&mut command)?;
    terminal.expect("result [] False 0\r\n")?;
    let ended = collect(child)?;
    assert_eq!(ended.code(), 0);
    Ok(())
}
