use crate::harness::{Inside, command};
use agent::{End, Exec, Reply, Stage, Stdio, Terminal};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

const FLAGS: OpenptFlags = OpenptFlags::RDWR.union(OpenptFlags::NOCTTY).union(OpenptFlags::CLOEXEC);

fn open_terminal() -> (OwnedFd, OwnedFd, String) {
    let master = openpt(FLAGS).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, vec![]).unwrap().into_string().unwrap();
    let slave = ioctl_tiocgptpeer(&master, FLAGS).unwrap();
    (master, slave, name)
}

fn resize(master: &OwnedFd, rows: u16, columns: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(master, size).unwrap();
}

fn on_terminal(script: &str) -> Exec {
    Exec {
        stdio: [Stdio::Terminal; 3],
        terminal: Some(Terminal::Sandbox),
        ..command(&["/bin/sh", "-c", script])
    }
}

fn read_until(master: &OwnedFd, mark: &str) -> String {
    let mut text = String::new();
    while !text.contains(mark) {
        let mut bytes = [0; 1024];
        let count = rustix::io::read(master, &mut bytes).unwrap();
        text.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
    }
    text.replace("\r\n", "\n")
}

#[test]
fn a_terminal_is_the_commands_own_and_follows_its_size() {
    let (master, slave, name) = open_terminal();
    let mut inside = Inside::with_terminal(slave);
    resize(&master, 24, 80);
    let script = "tty; test -t 0 && test -t 2 && echo isatty; stty size; read line; stty size; echo $line >/dev/tty; echo done";
    inside.exec(on_terminal(script), &[]).unwrap();
    inside.started(1);
    assert_eq!(read_until(&master, "80\r\n"), format!("{name}\nisatty\n24 80\n"));
    resize(&master, 50, 132);
    rustix::io::write(&master, b"typed\n").unwrap();
    assert_eq!(read_until(&master, "done\r\n"), "typed\n50 132\ntyped\ndone\n");
    assert_eq!(inside.reply(), Reply::Ended { id: 1, end: End::Exited(0), deadline: false });
}

#[test]
fn a_terminal_serves_one_session_at_a_time_and_then_the_next() {
    let (master, slave, _) = open_terminal();
    let mut inside = Inside::with_terminal(slave);
    inside.exec(on_terminal("echo up; read line; echo $line"), &[]).unwrap();
    inside.started(1);
    read_until(&master, "up\r\n");
    let refused = Reply::NotStarted { id: 2, errno: Errno::PERM.raw_os_error(), stage: Stage::Descriptors };
    assert_eq!(inside.first_reply(Exec { id: 2, ..on_terminal("true") }), refused);
    // The interrupt character of the terminal reaches the session that has it.
    rustix::io::write(&master, b"\x03").unwrap();
    assert_eq!(inside.reply(), Reply::Ended { id: 1, end: End::Signaled(2), deadline: false });
    inside.exec(Exec { id: 3, ..on_terminal("echo again") }, &[]).unwrap();
    inside.started(3);
    assert_eq!(inside.reply(), Reply::Ended { id: 3, end: End::Exited(0), deadline: false });
    read_until(&master, "again\r\n");
}

#[test]
fn each_command_may_have_a_terminal_of_its_own() {
    let mut inside = Inside::start();
    let terminals: Vec<_> = (0..3).map(|_| open_terminal()).collect();
    for (id, (_, slave, _)) in (1..).zip(&terminals) {
        let (stdio, terminal) = ([Stdio::Passed(0); 3], Some(Terminal::Passed(0)));
        let script =
            "tty; read line; echo got $line >/dev/tty; trap 'echo interrupted' INT; kill -INT 0; echo end";
        let exec = Exec { id, stdio, terminal, ..command(&["/bin/sh", "-c", script]) };
        inside.exec(exec, &[slave.as_fd()]).unwrap();
        inside.started(id);
    }
    for (master, slave, name) in &terminals {
        assert_eq!(read_until(master, "\n"), format!("{name}\n"));
        rustix::io::write(master, name.as_bytes()).unwrap();
        rustix::io::write(master, b"\n").unwrap();
        assert_eq!(read_until(master, "end\r\n"), format!("{name}\ngot {name}\ninterrupted\nend\n"));
        assert!(matches!(inside.reply(), Reply::Ended { end: End::Exited(0), .. }));
        // Nobody inside holds it any more: with ours gone the terminal hangs up.
        let _ = slave;
    }
    for (master, slave, _) in terminals {
        drop(slave);
        assert_eq!(rustix::io::read(&master, &mut [0; 16]), Err(Errno::IO));
    }
}

#[test]
fn a_terminal_that_hangs_up_ends_its_session() {
    let (master, slave, _) = open_terminal();
    let mut inside = Inside::start();
    let (stdio, terminal) = ([Stdio::Passed(0); 3], Some(Terminal::Passed(0)));
    let exec = Exec { stdio, terminal, ..command(&["/bin/sleep", "600"]) };
    inside.exec(exec, &[slave.as_fd()]).unwrap();
    inside.started(1);
    drop((slave, master));
    assert_eq!(inside.reply(), Reply::Ended { id: 1, end: End::Signaled(1), deadline: false });
}

#[test]
fn what_is_no_terminal_becomes_nobodys_controlling_terminal() {
    let mut inside = Inside::start();
    let (read, _write) = std::io::pipe().unwrap();
    let exec = Exec { terminal: Some(Terminal::Passed(0)), ..command(&["/bin/true"]) };
    inside.exec(exec, &[read.as_fd()]).unwrap();
    let errno = Errno::NOTTY.raw_os_error();
    assert_eq!(inside.reply(), Reply::NotStarted { id: 1, errno, stage: Stage::Descriptors });
}
