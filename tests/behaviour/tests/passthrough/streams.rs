//! Standard input, output and error.

use anyhow::{Context, Result, ensure};
use behaviour::{Bytes, PATIENCE, Peak, Place, Who, collect, digest, finish, give, signal, wait, within};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// What the program may need while bytes flow through it: far less than what flows.
const PEAK_KIB_MAX: u64 = 32 << 10;

behaviour::for_each_profile! {
    every_byte_comes_out_as_it_went_in
    output_and_error_stay_apart
    a_pipe_of_64_mib_flows_without_growth
    input_that_ends_at_once_ends_inside
    input_comes_from_a_file_at_its_position
    input_and_output_may_be_sockets
    output_is_appended_to_a_file
    output_goes_to_a_file_at_its_position
    output_and_error_to_one_pipe_lose_nothing
    a_reader_who_leaves_ends_the_writer_by_sigpipe
    a_reader_who_leaves_does_not_end_who_writes_no_more
    a_command_that_reads_nothing_does_not_hang
    a_slow_reader_slows_the_writer_and_gets_all
    a_command_that_closes_its_output_is_not_waited_for_by_the_reader
    a_command_that_closes_its_input_stops_the_writer
    a_background_process_that_holds_the_output_does_not_delay_the_end
    what_was_written_last_before_the_end_arrives
}

fn every_byte_comes_out_as_it_went_in(place: &Place) -> Result<()> {
    let mut input: Vec<u8> = (0..=255).cycle().take(1 << 16).collect();
    input.extend(b"\n\n\r\0\xff no newline at the end");
    let ended = give(place.run()?.args(["--", "cat"]), &input)?;
    assert_eq!(ended.code(), 0, "{}", ended.err());
    ensure!(ended.stdout == input, "{} bytes came out of {}", ended.stdout.len(), input.len());
    Ok(())
}

fn output_and_error_stay_apart(place: &Place) -> Result<()> {
    let script = "i=0; while [ $i -lt 200 ]; do echo out $i; echo err $i >&2; i=$((i+1)); done";
    let ended = place.shell(&[], script)?;
    let lines = |word: &str| (0..200).map(|i| format!("{word} {i}\n")).collect::<String>();
    assert_eq!(ended.out(), lines("out"));
    ensure!(ended.err().starts_with(&lines("err")), "{}", ended.err());
    assert_eq!(ended.err().lines().count(), 201);
    Ok(())
}

fn a_pipe_of_64_mib_flows_without_growth(place: &Place) -> Result<()> {
    flow(place, 64 << 20)
}

#[test]
#[ignore = "long: 1 GiB in and out"]
fn a_pipe_of_1_gib_flows_without_growth() -> Result<()> {
    Place::with("a_pipe_of_1_gib_flows_without_growth", Who::Root, |place| flow(place, 1 << 30))
}

#[test]
#[ignore = "long: 1 GiB in and out"]
fn a_pipe_of_1_gib_flows_without_growth_as_user() -> Result<()> {
    Place::with("a_pipe_of_1_gib_flows_without_growth_as_user", Who::User, |place| flow(place, 1 << 30))
}

fn flow(place: &Place, length: u64) -> Result<()> {
    let mut command = place.run()?;
    command.args(["--", "cat"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let peak = Peak::of(child.id());
    let (mut stdin, stdout) =
        (child.stdin.take().context("no pipe")?, child.stdout.take().context("no pipe")?);
    let writer = std::thread::spawn(move || std::io::copy(&mut Bytes::new(length), &mut stdin));
    let came = digest(stdout)?;
    let peak = peak.kib()?;
    let ended = collect(child)?;
    writer.join().map_err(|_| anyhow::anyhow!("the writer panicked"))??;
    assert_eq!(ended.code(), 0, "{}", ended.err());
    assert_eq!(came, digest(Bytes::new(length))?);
    ensure!(peak < PEAK_KIB_MAX, "{peak} KiB");
    Ok(())
}

fn input_that_ends_at_once_ends_inside(place: &Place) -> Result<()> {
    // finish gives /dev/null, give a pipe that is closed.
    for ended in
        [finish(place.run()?.args(["--", "wc", "-c"]))?, give(place.run()?.args(["--", "wc", "-c"]), b"")?]
    {
        assert_eq!((ended.code(), ended.out().trim()), (0, "0"), "{}", ended.err());
    }
    Ok(())
}

fn input_comes_from_a_file_at_its_position(place: &Place) -> Result<()> {
    let path = place.file("input", "skipped line\nsecond\nthird\n")?;
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(13))?;
    let mut command = place.run()?;
    command.args(["--", "cat"]).stdin(file).stdout(Stdio::piped()).stderr(Stdio::piped());
    let ended = collect(command.spawn()?)?;
    assert_eq!((ended.code(), ended.out().as_str()), (0, "second\nthird\n"), "{}", ended.err());
    Ok(())
}

fn input_and_output_may_be_sockets(place: &Place) -> Result<()> {
    let (mut ours, theirs) = UnixStream::pair()?;
    let end = || Ok::<_, std::io::Error>(Stdio::from(std::os::fd::OwnedFd::from(theirs.try_clone()?)));
    let mut command = place.run()?;
    command.args(["--", "cat"]).stdin(end()?).stdout(end()?).stderr(Stdio::piped());
    let child = command.spawn()?;
    drop((command, theirs));
    ours.write_all(b"through a socket")?;
    ours.shutdown(std::net::Shutdown::Write)?;
    let mut text = String::new();
    ours.read_to_string(&mut text)?;
    let ended = collect(child)?;
    assert_eq!((ended.code(), text.as_str()), (0, "through a socket"), "{}", ended.err());
    Ok(())
}

fn output_is_appended_to_a_file(place: &Place) -> Result<()> {
    let path = place.file("log", "before\n")?;
    for word in ["first", "second"] {
        let mut command = place.run()?;
        let file = File::options().append(true).open(&path)?;
        command.args(["--", "echo", word]).stdin(Stdio::null()).stdout(file).stderr(Stdio::piped());
        let ended = collect(command.spawn()?)?;
        assert_eq!(ended.code(), 0, "{}", ended.err());
    }
    assert_eq!(std::fs::read_to_string(path)?, "before\nfirst\nsecond\n");
    Ok(())
}

fn output_goes_to_a_file_at_its_position(place: &Place) -> Result<()> {
    let path = place.file("out", "12345678")?;
    let mut file = File::options().write(true).open(&path)?;
    file.seek(SeekFrom::Start(4))?;
    let mut command = place.run()?;
    command.args(["--", "printf", "ab"]).stdin(Stdio::null()).stdout(file.try_clone()?);
    let ended = collect(command.stderr(Stdio::piped()).spawn()?)?;
    assert_eq!(ended.code(), 0, "{}", ended.err());
    file.write_all(b"c")?;
    // As after a program of our own: the position is shared and has moved.
    assert_eq!(std::fs::read_to_string(path)?, "1234abc8");
    Ok(())
}

fn output_and_error_to_one_pipe_lose_nothing(place: &Place) -> Result<()> {
    let script = "i=0; while [ $i -lt 500 ]; do echo line; echo line >&2; i=$((i+1)); done";
    let casemate = Place::binary()?;
    let mut command = place.program("/bin/sh");
    command.args(["-c", "exec \"$0\" run --state \"$1\" -- sh -c \"$2\" 2>&1"]);
    let ended = finish(command.arg(casemate).arg(place.state()).arg(script))?;
    assert_eq!((ended.code(), ended.out()), (0, "line\n".repeat(1000)));
    Ok(())
}

fn a_reader_who_leaves_ends_the_writer_by_sigpipe(place: &Place) -> Result<()> {
    let mut command = place.run()?;
    command.args(["--", "yes"]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().context("no pipe")?).read_line(&mut line)?;
    assert_eq!(line, "y\n");
    let ended = collect(child)?;
    assert_eq!(ended.code(), 128 + 13, "{}", ended.err());
    assert_eq!(ended.report()?["reason"], "finished");
    Ok(())
}

fn a_reader_who_leaves_does_not_end_who_writes_no_more(place: &Place) -> Result<()> {
    let mut command = place.run()?;
    command.args(["--", "sh", "-c", "echo first; cat; exit 5"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().context("no pipe")?).read_line(&mut line)?;
    // The reader is gone; now the command's input ends, and it goes on to its own end.
    drop(child.stdin.take());
    let ended = collect(child)?;
    assert_eq!((line.as_str(), ended.code()), ("first\n", 5), "{}", ended.err());
    Ok(())
}

fn a_command_that_reads_nothing_does_not_hang(place: &Place) -> Result<()> {
    let ended = give(place.run()?.args(["--", "sh", "-c", "exit 4"]), &vec![b'x'; 8 << 20])?;
    assert_eq!(ended.code(), 4, "{}", ended.err());
    // Input that never comes is not waited for either.
    let mut command = place.run()?;
    command.args(["--", "true"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn()?;
    let stdin = child.stdin.take();
    ensure!(wait(&mut child, PATIENCE)?.success());
    drop(stdin);
    Ok(())
}

fn a_slow_reader_slows_the_writer_and_gets_all(place: &Place) -> Result<()> {
    const LENGTH: u64 = 24 << 20;
    let mut command = place.run()?;
    command.args(["--", "head", "-c", &LENGTH.to_string(), "/dev/zero"]).stdin(Stdio::null());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let peak = Peak::of(child.id());
    let mut stdout = child.stdout.take().context("no pipe")?;
    let stuck = || Ok::<_, anyhow::Error>(rustix::io::ioctl_fionread(&stdout)?);
    let mut last = 0;
    within(PATIENCE, "the pipe is full", || {
        let now = stuck()?;
        let full = now > 0 && now == last;
        last = now;
        Ok(full.then_some(()))
    })?;
    ensure!(last < LENGTH / 4, "{last} bytes wait in a pipe");
    ensure!(child.try_wait()?.is_none(), "the writer ended before its reader had read");
    let mut slow = [0; 512];
    for _ in 0..2000 {
        stdout.read_exact(&mut slow)?;
    }
    let (length, _) = digest(stdout)?;
    let peak = peak.kib()?;
    let ended = collect(child)?;
    assert_eq!((ended.code(), length), (0, LENGTH - 512 * 2000), "{}", ended.err());
    ensure!(peak < PEAK_KIB_MAX, "{peak} KiB");
    Ok(())
}

fn a_command_that_closes_its_output_is_not_waited_for_by_the_reader(place: &Place) -> Result<()> {
    let mut command = place.run()?;
    command.args(["--", "sh", "-c", "echo last; exec >&-; cat >&2; exit 6"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut stdout = child.stdout.take().context("no pipe")?;
    let mut text = [0; 5];
    stdout.read_exact(&mut text)?;
    assert_eq!(&text, b"last\n");
    // The end of the output is seen while the command still lives; without Casemate it would be.
    let time = Timespec { tv_sec: PATIENCE.as_secs() as i64 / 12, tv_nsec: 0 };
    let seen = poll(&mut [PollFd::new(&stdout, PollFlags::IN)], Some(&time))?;
    drop(child.stdin.take());
    let ended = collect(child)?;
    assert_eq!(ended.code(), 6, "{}", ended.err());
    ensure!(seen == 1, "the end of the output was seen only when the command ended");
    Ok(())
}

fn a_command_that_closes_its_input_stops_the_writer(place: &Place) -> Result<()> {
    let mut command = place.run()?;
    command.args(["--", "sh", "-c", "exec <&-; echo closed; exec sleep 600"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().context("no pipe")?);
    stdout.read_line(&mut line)?;
    assert_eq!(line, "closed\n");
    let mut stdin = child.stdin.take().context("no pipe")?;
    let (say, said) = std::sync::mpsc::channel();
    let writer = std::thread::spawn(move || {
        let stopped = std::io::copy(&mut Bytes::new(64 << 20), &mut stdin).map_err(|error| error.kind());
        let _ = say.send(stopped);
    });
    // Without Casemate the writer gets SIGPIPE, or EPIPE, while the command lives on.
    let stopped = said.recv_timeout(PATIENCE / 12);
    signal(&child, Signal::TERM)?;
    let ended = collect(child)?;
    writer.join().map_err(|_| anyhow::anyhow!("the writer panicked"))?;
    assert_eq!(ended.code(), 143, "{}", ended.err());
    assert_eq!(stopped, Ok(Err(std::io::ErrorKind::BrokenPipe)));
    Ok(())
}

fn a_background_process_that_holds_the_output_does_not_delay_the_end(place: &Place) -> Result<()> {
    let begun = Instant::now();
    for script in [
        "sleep 600 & echo done; exit 8",
        "(setsid sh -c 'trap \"\" HUP TERM; sleep 600' &); echo done; exit 8",
    ] {
        let ended = place.shell(&[], script)?;
        assert_eq!((ended.code(), ended.out().as_str()), (8, "done\n"), "{}", ended.err());
    }
    ensure!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    Ok(())
}

fn what_was_written_last_before_the_end_arrives(place: &Place) -> Result<()> {
    let script = "head -c 900000 /dev/zero; head -c 900000 /dev/zero >&2; kill -KILL $$";
    for _ in 0..5 {
        let ended = place.shell(&[], script)?;
        assert_eq!((ended.code(), ended.stdout.len()), (137, 900_000));
        ensure!(ended.stderr.starts_with(&vec![0; 900_000]), "{} bytes of error", ended.stderr.len());
    }
    Ok(())
}
