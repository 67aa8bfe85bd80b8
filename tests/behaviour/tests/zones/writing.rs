//! What comes out.

use crate::{left_behind, writes};
use anyhow::{Context, Result, ensure};
use behaviour::{Bytes, Place, digest, finish};
use std::fs::{self, File, Permissions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

behaviour::for_each_profile! {
    files_come_out_with_their_bytes_and_whether_they_are_executable
    files_come_out_as_the_callers_own
    a_missing_target_is_made
    files_that_exist_are_replaced_whole
    other_files_are_left_alone
    directories_are_merged
    what_is_closed_to_its_owner_comes_out
    a_large_file_comes_out_whole
    ten_thousand_files_come_out
    a_deep_tree_comes_out_and_a_deeper_one_is_named
    what_was_written_comes_out_however_the_command_ended
    nothing_comes_out_before_the_end
    the_record_says_what_came_out
    two_zones_come_out_to_two_places
}

fn files_come_out_with_their_bytes_and_whether_they_are_executable(place: &Place) -> Result<()> {
    let program = "
open('bytes', 'wb').write(bytes(range(256)) * 1000)
open('empty', 'w')
open('run', 'w').write('#!/bin/sh\\n'); os.chmod('run', 0o755)
open('set', 'w').write('x'); os.chmod('set', 0o6755)
os.makedirs('a/b/c'); open('a/b/c/deep', 'w').write('deep')
os.mkdir('nothing')
";
    let ended = writes(place, &[], program)?;
    assert_eq!(ended.code(), 0, "{}", ended.err());
    assert_eq!(left_behind(&ended)?, [""; 0]);
    let target = place.path("target");
    let every: Vec<u8> = (0..=255).cycle().take(256_000).collect();
    ensure!(fs::read(target.join("bytes"))? == every);
    assert_eq!(fs::read(target.join("empty"))?, b"");
    assert_eq!(fs::read(target.join("a/b/c/deep"))?, b"deep");
    ensure!(target.join("nothing").is_dir());
    let mode = |name: &str| Ok::<_, std::io::Error>(fs::metadata(target.join(name))?.permissions().mode());
    ensure!(mode("run")? & 0o111 != 0 && mode("bytes")? & 0o111 == 0);
    ensure!(mode("set")? & 0o7000 == 0, "a set-user-id bit came out: {:o}", mode("set")?);
    Ok(())
}

fn files_come_out_as_the_callers_own(place: &Place) -> Result<()> {
    place.directory("target")?;
    let zone = format!("{}:/output", place.path("target").display());
    let mut command = place.program("sh");
    command.args(["-c", "umask 027; exec \"$@\"", "sh"]).arg(Place::binary()?);
    command.arg("run").arg("--state").arg(place.state()).args(["--write", &zone]);
    let script = "umask 0; cd /output; mkdir d; touch d/file run; chmod 777 run d; chmod 666 d/file";
    let ended = finish(command.args(["--", "sh", "-c", script]))?;
    assert_eq!(ended.code(), 0, "{}", ended.err());
    for (name, mode) in [("d", 0o750), ("d/file", 0o640), ("run", 0o750)] {
        let metadata = fs::metadata(place.path("target").join(name))?;
        assert_eq!((metadata.uid(), metadata.gid()), (place.uid(), place.uid()), "{name}");
        assert_eq!(metadata.mode() & 0o7777, mode, "{name}");
    }
    Ok(())
}

fn a_missing_target_is_made(place: &Place) -> Result<()> {
    let zone = format!("{}:/output", place.path("new").display());
    let ended = place.shell(&["--write", &zone], "echo x >/output/file")?;
    assert_eq!(ended.code(), 0, "{}", ended.err());
    assert_eq!(fs::read_to_string(place.path("new/file"))?, "x\n");
    assert_eq!(fs::metadata(place.path("new"))?.uid(), place.uid());
    Ok(())
}

fn files_that_exist_are_replaced_whole(place: &Place) -> Result<()> {
    place.directory("target")?;
    let path = place.file("target/file", "the old text, which is longer")?;
    fs::set_permissions(&path, Permissions::from_mode(0o444))?;
    fs::hard_link(&path, place.path("elsewhere"))?;
    let mut reader = File::open(&path)?;
    let ended = writes(place, &[], "open('file', 'w').write('new')")?;
    assert_eq!((ended.code(), left_behind(&ended)?.len()), (0, 0), "{}", ended.err());
    assert_eq!(fs::read_to_string(&path)?, "new");
    // Who has it open goes on with the old one, and so does who has it by another name.
    let mut old = String::new();
    reader.read_to_string(&mut old)?;
    assert_eq!(old, "the old text, which is longer");
    assert_eq!(fs::read_to_string(place.path("elsewhere"))?, old);
    Ok(())
}

fn other_files_are_left_alone(place: &Place) -> Result<()> {
    place.directory("target")?;
    place.directory("target/d")?;
    let mut before = Vec::new();
    for name in ["target/one", "target/d/two", "target/.hidden"] {
        let path = place.file(name, name)?;
        let metadata = fs::metadata(&path)?;
        before.push((path, metadata.ino(), metadata.mtime_nsec(), metadata.mode()));
    }
    let ended = writes(place, &[], "os.mkdir('d'); open('d/three', 'w').write('3')\nprint(os.listdir('.'))")?;
    // The zone begins empty, whatever is in its target.
    assert_eq!((ended.code(), ended.out().as_str()), (0, "['d']\n"), "{}", ended.err());
    for (path, inode, changed, mode) in before {
        let metadata = fs::metadata(&path)?;
        assert_eq!(
            (metadata.ino(), metadata.mtime_nsec(), metadata.mode()),
            (inode, changed, mode),
            "{path:?}"
        );
        ensure!(place.path(&fs::read_to_string(&path)?) == path);
    }
    assert_eq!(fs::read_to_string(place.path("target/d/three"))?, "3");
    Ok(())
}

fn directories_are_merged(place: &Place) -> Result<()> {
    for turn in 0..3 {
        let program = format!(
            "os.makedirs('a/b'); open('a/b/{turn}', 'w').write('{turn}'); open('a/last', 'w').write('{turn}')"
        );
        let ended = writes(place, &[], &program)?;
        assert_eq!((ended.code(), left_behind(&ended)?.len()), (0, 0), "{}", ended.err());
    }
    for turn in 0..3 {
        assert_eq!(fs::read_to_string(place.path(&format!("target/a/b/{turn}")))?, turn.to_string());
    }
    assert_eq!(fs::read_to_string(place.path("target/a/last"))?, "2");
    Ok(())
}

fn what_is_closed_to_its_owner_comes_out(place: &Place) -> Result<()> {
    let program = "
os.makedirs('closed/inner')
open('closed/inner/file', 'w').write('inside'); open('file', 'w').write('outside')
os.chmod('closed/inner/file', 0); os.chmod('file', 0); os.chmod('closed/inner', 0); os.chmod('closed', 0)
os.chmod('.', 0)
";
    let ended = writes(place, &[], program)?;
    assert_eq!(ended.code(), 0, "{}", ended.err());
    assert_eq!(left_behind(&ended)?, [""; 0]);
    assert_eq!(fs::read_to_string(place.path("target/closed/inner/file"))?, "inside");
    assert_eq!(fs::read_to_string(place.path("target/file"))?, "outside");
    Ok(())
}

fn a_large_file_comes_out_whole(place: &Place) -> Result<()> {
    const LENGTH: u64 = (24 << 20) + 7;
    place.directory("target")?;
    let zone = format!("{}:/output", place.path("target").display());
    let mut command = place.run()?;
    command.args(["--write", &zone, "--", "sh", "-c", "cat >/output/large"]);
    let mut bytes = Vec::new();
    Bytes::new(LENGTH).read_to_end(&mut bytes)?;
    let ended = behaviour::give(&mut command, &bytes)?;
    assert_eq!(ended.code(), 0, "{}", ended.err());
    assert_eq!(digest(File::open(place.path("target/large"))?)?, digest(Bytes::new(LENGTH))?);
    Ok(())
}

fn ten_thousand_files_come_out(place: &Place) -> Result<()> {
    let program = "
for n in range(10000):
    if n % 100 == 0: os.mkdir(f'd{n // 100}')
    open(f'd{n // 100}/f{n}', 'w').write(f'{n}')
";
    let ended = writes(place, &[], program)?;
    assert_eq!((ended.code(), left_behind(&ended)?.len()), (0, 0), "{}", ended.err());
    for n in 0..10_000 {
        let path = place.path(&format!("target/d{}/f{n}", n / 100));
        ensure!(fs::read_to_string(&path).with_context(|| format!("{path:?}"))? == n.to_string());
    }
    let records = place.records_of("zone.handed_out")?;
    assert_eq!(
        (&records[0]["files"], records[0]["refused"].as_array().map(Vec::len)),
        (&10_000.into(), Some(0))
    );
    Ok(())
}

fn a_deep_tree_comes_out_and_a_deeper_one_is_named(place: &Place) -> Result<()> {
    let program = "
def deep(name, depth):
    for _ in range(depth): os.mkdir(name); os.chdir(name)
    open('end', 'w').write(name); os.chdir('/output')
deep('x', 100); deep('y', 1500); open('after', 'w').write('still')
";
    let ended = writes(place, &[], program)?;
    assert_eq!(ended.code(), 0, "{}", ended.err());
    let end = place.path("target").join(["x"; 100].join("/")).join("end");
    assert_eq!(fs::read_to_string(end)?, "x");
    assert_eq!(fs::read_to_string(place.path("target/after"))?, "still");
    let left = left_behind(&ended)?;
    ensure!(
        left.len() == 1 && left[0].starts_with("/output: y/y/") && left[0].ends_with("too deep"),
        "{left:?}"
    );
    Ok(())
}

fn what_was_written_comes_out_however_the_command_ended(place: &Place) -> Result<()> {
    let policy = place.policy("[compute]\nwall = \"400ms\"")?;
    let policy = policy.to_string_lossy();
    for (number, (end, status)) in [
        ("sys.exit(5)", 5),
        ("os.kill(os.getpid(), 9)", 137),
        ("import time; time.sleep(60)", 124),
        ("os.execv('/no/such', ['x'])", 1),
    ]
    .into_iter()
    .enumerate()
    {
        let program = format!("open('f{number}', 'w').write('so far'); {end}");
        let ended = writes(place, &["--policy", &policy], &program)?;
        assert_eq!(ended.code(), status, "{}", ended.err());
        assert_eq!(fs::read_to_string(place.path(&format!("target/f{number}")))?, "so far", "{end}");
    }
    // What never began writes nothing.
    let zone = format!("{}:/output", place.path("target").display());
    let ended = finish(place.run()?.args(["--write", &zone, "--", "no-such"]))?;
    assert_eq!(ended.code(), 127);
    assert_eq!(fs::read_dir(place.path("target"))?.count(), 4);
    Ok(())
}

fn nothing_comes_out_before_the_end(place: &Place) -> Result<()> {
    use std::io::BufRead;
    use std::process::Stdio;
    place.directory("target")?;
    let zone = format!("{}:/output", place.path("target").display());
    let mut command = place.run()?;
    command.args(["--write", &zone, "--", "sh", "-c", "echo x >/output/file; echo written; read end"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut line = String::new();
    std::io::BufReader::new(child.stdout.take().context("no pipe")?).read_line(&mut line)?;
    assert_eq!(line, "written\n");
    assert_eq!(fs::read_dir(place.path("target"))?.count(), 0);
    // The directory is the one that was named, even if the name now leads elsewhere.
    place.directory("elsewhere")?;
    fs::rename(place.path("target"), place.path("moved"))?;
    std::os::unix::fs::symlink(place.path("elsewhere"), place.path("target"))?;
    drop(child.stdin.take());
    let ended = behaviour::collect(child)?;
    ensure!(ended.code() == 1, "{}: {}", ended.code(), ended.err());
    assert_eq!(fs::read_to_string(place.path("moved/file"))?, "x\n");
    assert_eq!(fs::read_dir(place.path("elsewhere"))?.count(), 0);
    Ok(())
}

fn the_record_says_what_came_out(place: &Place) -> Result<()> {
    let ended = writes(place, &[], "open('f', 'w').write('12345'); os.symlink('f', 'l')")?;
    let report = ended.report()?;
    let records = place.records()?;
    let named: Vec<&str> = records
        .iter()
        .filter(|record| record["sandbox"] == report["sandbox"])
        .filter_map(|record| record["event"].as_str())
        .collect();
    let wanted = [
        "sandbox.start",
        "exec.start",
        "sandbox.ready",
        "exec.end",
        "zone.handout",
        "zone.handed_out",
        "sandbox.end",
    ];
    assert_eq!(named, wanted);
    let out = place.records_of("zone.handed_out")?;
    assert_eq!(
        (&out[0]["at"], &out[0]["files"], &out[0]["bytes"], &out[0]["refused"]),
        (&"/output".into(), &1.into(), &5.into(), &serde_json::json!(["l: a symbolic link"]))
    );
    let to = place.path("target").canonicalize()?;
    assert_eq!(place.records_of("zone.handout")?[0]["to"], to.to_string_lossy().as_ref());
    place.verify()
}

fn two_zones_come_out_to_two_places(place: &Place) -> Result<()> {
    let (one, two) = (place.directory("one")?, place.directory("two")?);
    let (one, two) = (format!("{}:/output/1", one.display()), format!("{}:/home/user/2", two.display()));
    let script = "echo first >/output/1/file; echo second >/home/user/2/file; echo lost >/home/user/file";
    let ended = place.shell(&["--write", &one, "--write", &two], script)?;
    assert_eq!(ended.code(), 0, "{}", ended.err());
    assert_eq!(fs::read_to_string(place.path("one/file"))?, "first\n");
    assert_eq!(fs::read_to_string(place.path("two/file"))?, "second\n");
    assert_eq!(fs::read_dir(place.path("two"))?.count(), 1);
    Ok(())
}
