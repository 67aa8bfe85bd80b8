//! What comes out of a sandbox that means harm, and where it goes in a directory that was prepared for harm.

use crate::{left_behind, writes};
use anyhow::{Result, ensure};
use behaviour::{Place, finish};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::path::Path;

const MIB: u64 = 1 << 20;

behaviour::for_each_profile! {
    links_pipes_and_sockets_stay_behind_and_are_named
    hostile_names_come_out_and_steer_no_terminal
    what_is_left_behind_is_bounded_in_the_record
    a_link_in_the_target_is_replaced_and_not_followed
    a_linked_directory_in_the_target_is_not_entered
    other_things_in_the_target_are_not_opened
    a_half_written_file_of_somebody_else_is_not_followed
    a_sparse_file_takes_no_more_room_outside_than_inside
    hard_links_take_no_more_room_outside_than_inside
    the_zones_own_directory_cannot_be_swapped_for_a_link
}

fn links_pipes_and_sockets_stay_behind_and_are_named(place: &Place) -> Result<()> {
    let secret = place.file("secret", "of the host")?;
    let program = format!(
        "
import socket
os.symlink({secret:?}, 'absolute'); os.symlink('../secret', 'climbs'); os.symlink('/', 'root')
os.symlink('no', 'dangling'); os.symlink('.', 'loop')
os.mkfifo('pipe'); os.mkdir('d'); os.symlink('/etc/shadow', 'd/link')
s = socket.socket(socket.AF_UNIX); s.bind('socket')
try: os.mknod('device', 0o020666, os.makedev(1, 3)); print('device')
except OSError: pass
open('good', 'w').write('good'); open('d/good', 'w').write('good')
"
    );
    let ended = writes(place, &[], &program)?;
    assert_eq!((ended.code(), ended.out().as_str()), (0, ""), "{}", ended.err());
    let mut left = left_behind(&ended)?;
    left.sort();
    let link = |name: &str| format!("/output: {name}: a symbolic link");
    let other = |name: &str| format!("/output: {name}: neither a file nor a directory");
    let wanted = [
        link("absolute"),
        link("climbs"),
        link("d/link"),
        link("dangling"),
        link("loop"),
        other("pipe"),
        link("root"),
        other("socket"),
    ];
    assert_eq!(left, wanted);
    let mut names: Vec<_> =
        fs::read_dir(place.path("target"))?.flatten().map(|entry| entry.file_name()).collect();
    names.sort();
    assert_eq!(names, ["d", "good"]);
    assert_eq!(fs::read_dir(place.path("target/d"))?.count(), 1);
    // A person is told too.
    let mut command = place.casemate()?;
    let zone = format!("{}:/output", place.path("target").display());
    command.arg("run").arg("--state").arg(place.state()).args(["--write", &zone]);
    let told = finish(command.args(["--", "ln", "-s", "/etc/passwd", "/output/link"]))?;
    assert_eq!(
        (told.code(), told.err().as_str()),
        (0, "casemate: left behind: /output: link: a symbolic link\n")
    );
    Ok(())
}

fn hostile_names_come_out_and_steer_no_terminal(place: &Place) -> Result<()> {
    let program = "
os.chdir(b'/output')
names = [b'new\\nline', b'\\x1b[2Jescape', b'\\xff\\xfe', b' ', b'-rf', b'~', b'*', b'$(id)', b'a\\\\b', b'\\t',
         b'...', b'\\xe2\\x80\\xaetxt.exe', b'x' * 255, b'.casemate-1', b'\\x7f', b'con\"\\'`']
for name in names: open(name, 'wb').write(name)
os.symlink('x', b'\\x1b]0;title\\x07link\\nnext: line')
print(len(names))
";
    let ended = writes(place, &[], program)?;
    assert_eq!((ended.code(), ended.out().as_str()), (0, "16\n"), "{}", ended.err());
    let mut count = 0;
    for entry in fs::read_dir(place.path("target"))? {
        let entry = entry?;
        ensure!(fs::read(entry.path())? == entry.file_name().as_bytes(), "{:?}", entry.file_name());
        count += 1;
        // Ours, with a name that the search for leftovers would take for a half-written one.
        if entry.file_name() == ".casemate-1" {
            fs::remove_file(entry.path())?;
        }
    }
    assert_eq!(count, 16);
    let left = left_behind(&ended)?;
    ensure!(left.len() == 1 && left[0].contains("\\x1b") && !left[0].contains(char::is_control), "{left:?}");
    ensure!(ended.err().trim_end().lines().count() == 1, "{}", ended.err());
    let mut command = place.casemate()?;
    let zone = format!("{}:/output", place.path("target").display());
    command.arg("run").arg("--state").arg(place.state()).args(["--write", &zone, "--", "ln", "-s", "x"]);
    let told = finish(command.arg("/output/\x1b[2J\nforged: line\u{202e}"))?;
    ensure!(told.err().lines().count() == 1, "{}", told.err());
    ensure!(!told.err().trim_end().contains(|c: char| c.is_control() || c == '\u{202e}'), "{:?}", told.err());
    Ok(())
}

fn what_is_left_behind_is_bounded_in_the_record(place: &Place) -> Result<()> {
    let program = "
for n in range(3000): os.symlink('x', f'{n:0200}')
open('good', 'w').write('good')
";
    let ended = writes(place, &[], program)?;
    assert_eq!(ended.code(), 0, "{}", ended.err());
    let left = left_behind(&ended)?;
    assert_eq!((left.len(), left.last().map(String::as_str)), (101, Some("/output: and 2900 more")));
    assert_eq!(fs::read_to_string(place.path("target/good"))?, "good");
    assert_eq!(fs::read_dir(place.path("target"))?.count(), 1);
    place.verify()
}

fn a_link_in_the_target_is_replaced_and_not_followed(place: &Place) -> Result<()> {
    let outside = place.file("outside", "mine")?;
    place.directory("target")?;
    symlink(&outside, place.path("target/absolute"))?;
    symlink("../outside", place.path("target/relative"))?;
    symlink(place.path("made"), place.path("target/dangling"))?;
    symlink("loop", place.path("target/loop"))?;
    let program = "for name in ['absolute', 'relative', 'dangling', 'loop']: open(name, 'w').write('theirs')";
    let ended = writes(place, &[], program)?;
    assert_eq!((ended.code(), left_behind(&ended)?.len()), (0, 0), "{}", ended.err());
    assert_eq!(fs::read_to_string(&outside)?, "mine");
    ensure!(!place.path("made").exists(), "a dangling link was followed");
    for name in ["absolute", "relative", "dangling", "loop"] {
        let path = place.path("target").join(name);
        ensure!(fs::symlink_metadata(&path)?.is_file(), "{name} is still a link");
        assert_eq!(fs::read_to_string(path)?, "theirs");
    }
    Ok(())
}

fn a_linked_directory_in_the_target_is_not_entered(place: &Place) -> Result<()> {
    let outside = place.directory("outside")?;
    place.file("outside/file", "mine")?;
    place.directory("target")?;
    place.directory("target/real")?;
    symlink(&outside, place.path("target/absolute"))?;
    symlink("../outside", place.path("target/relative"))?;
    symlink("../../outside", place.path("target/real/inner"))?;
    let program = "
for name in ['absolute', 'relative', 'real/inner']: os.makedirs(name); open(name + '/file', 'w').write('theirs')
open('good', 'w').write('good')
";
    let ended = writes(place, &[], program)?;
    assert_eq!(ended.code(), 0, "{}", ended.err());
    let mut left = left_behind(&ended)?;
    left.sort();
    ensure!(left.len() == 3 && left.iter().all(|one| one.contains("on the host")), "{left:?}");
    assert_eq!(fs::read_to_string(place.path("outside/file"))?, "mine");
    assert_eq!(fs::read_dir(&outside)?.count(), 1);
    assert_eq!(fs::read_to_string(place.path("target/good"))?, "good");
    Ok(())
}

fn other_things_in_the_target_are_not_opened(place: &Place) -> Result<()> {
    place.directory("target")?;
    place.directory("target/directory")?;
    place.file("target/directory/kept", "kept")?;
    place.file("target/file", "a file")?;
    let fifo = place.path("target/pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o666.into(), 0)?;
    place.own(&fifo)?;
    let listener = std::os::unix::net::UnixListener::bind(place.path("target/socket"))?;
    place.own(&place.path("target/socket"))?;
    let program = "
open('pipe', 'w').write('x'); open('socket', 'w').write('x'); open('directory', 'w').write('x')
os.mkdir('file'); open('file/inner', 'w').write('x')
";
    let ended = writes(place, &[], program)?;
    drop(listener);
    assert_eq!(ended.code(), 0, "{}", ended.err());
    let mut left = left_behind(&ended)?;
    left.sort();
    // A file takes the place of a pipe; a directory and a file do not take each other's.
    ensure!(left.len() == 2 && left[0].contains("directory") && left[1].contains("file"), "{left:?}");
    assert_eq!(fs::read_to_string(place.path("target/directory/kept"))?, "kept");
    assert_eq!(fs::read_to_string(place.path("target/file"))?, "a file");
    ensure!(!fs::symlink_metadata(fifo)?.file_type().is_fifo(), "the pipe is still there");
    Ok(())
}

fn a_half_written_file_of_somebody_else_is_not_followed(place: &Place) -> Result<()> {
    let outside = place.file("outside", "mine")?;
    place.directory("target")?;
    // The process that copies is the one that we start, whose number is known before it copies.
    let zone = format!("{}:/output", place.path("target").display());
    let script = "ln -s \"$1\" \"$2/.casemate-$$\"; shift 2; exec \"$@\"";
    let mut command = place.program("sh");
    command.args(["-c", script, "sh"]).arg(&outside).arg(place.path("target")).arg(Place::binary()?);
    command.arg("run").arg("--json").arg("--state").arg(place.state()).args(["--write", &zone]);
    let ended = finish(command.args(["--", "sh", "-c", "echo theirs >/output/file"]))?;
    assert_eq!(ended.code(), 0, "{}", ended.err());
    assert_eq!(fs::read_to_string(&outside)?, "mine");
    let file = place.path("target/file");
    ensure!(!file.exists() || fs::symlink_metadata(&file)?.is_file(), "a link came out");
    ensure!(file.exists() || left_behind(&ended)?.len() == 1, "{}", ended.err());
    // Ours, if it was not cleared away.
    for entry in fs::read_dir(place.path("target"))?.flatten() {
        if entry.file_name().as_bytes().starts_with(b".casemate-") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Bytes on disk below a directory.
fn room(directory: &Path) -> Result<u64> {
    let mut total = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        total += metadata.blocks() * 512;
        if metadata.is_dir() {
            total += room(&entry.path())?;
        }
    }
    Ok(total)
}

/// The limit on the sandbox's disk bounds what its files take outside, however they are made.
fn no_more_room_than(place: &Place, bound: u64, program: &str) -> Result<()> {
    let policy = place.policy("[compute]\ndisk = \"8MiB\"")?;
    let ended = writes(place, &["--policy", &policy.to_string_lossy()], program)?;
    assert_eq!(ended.code(), 0, "{}", ended.err());
    // Delayed allocation: what was written counts when it is on disk.
    rustix::fs::sync();
    let room = room(&place.path("target"))?;
    ensure!(room <= bound, "a sandbox with 8 MiB of disk left {} MiB on the host's", room / MIB);
    Ok(())
}

fn a_sparse_file_takes_no_more_room_outside_than_inside(place: &Place) -> Result<()> {
    let program = "
f = open('sparse', 'w'); f.truncate(192 << 20); f.seek(100 << 20); f.write('here')
";
    no_more_room_than(place, 10 * MIB, program)?;
    let path = place.path("target/sparse");
    if path.exists() {
        let bytes = fs::read(path)?;
        ensure!(bytes.len() as u64 == 192 * MIB && &bytes[100 << 20..][..4] == b"here");
    }
    Ok(())
}

fn hard_links_take_no_more_room_outside_than_inside(place: &Place) -> Result<()> {
    let program = "
open('0', 'wb').write(b'x' * (6 << 20))
for n in range(1, 30): os.link('0', f'{n}')
";
    no_more_room_than(place, 10 * MIB, program)
}

fn the_zones_own_directory_cannot_be_swapped_for_a_link(place: &Place) -> Result<()> {
    let secret = place.directory("secret")?;
    place.file("secret/file", "of the host")?;
    let program = format!(
        "
for make in [lambda: os.rename('/output', '/tmp/moved'), lambda: os.rmdir('/output'),
             lambda: os.symlink({secret:?}, '/output'), lambda: os.rename('/tmp', '/output')]:
    try: make(); print('swapped')
    except OSError: pass
open('good', 'w').write('good')
"
    );
    let ended = writes(place, &[], &program)?;
    assert_eq!((ended.code(), ended.out().as_str()), (0, ""), "{}", ended.err());
    assert_eq!(fs::read_to_string(place.path("target/good"))?, "good");
    assert_eq!(fs::read_dir(place.path("target"))?.count(), 1);
    Ok(())
}
