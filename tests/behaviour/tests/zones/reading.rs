//! What goes in.

use anyhow::{Result, ensure};
use behaviour::{Place, Who, finish, not_run};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

behaviour::for_each_profile! {
    a_read_zone_shows_what_is_closed_to_all_but_its_owner
    a_read_zone_cannot_be_written
    a_read_zone_shows_what_comes_later
    a_read_zone_with_another_file_system_beneath_is_refused
    several_zones_stand_side_by_side
    a_host_directory_with_colons_and_spaces_is_a_zone
    a_scratch_zone_is_written_and_vanishes
    relative_paths_of_a_policy_start_from_its_directory
    what_is_no_zone_is_not_there
}

fn closed(place: &Place) -> Result<String> {
    let zone = place.directory("zone")?;
    place.directory("zone/inner")?;
    place.file("zone/secret", "behind the owner's door\n")?;
    place.file("zone/inner/file", "deeper\n")?;
    for file in ["zone/secret", "zone/inner/file"] {
        fs::set_permissions(place.path(file), Permissions::from_mode(0o600))?;
    }
    for directory in ["zone/inner", "zone"] {
        fs::set_permissions(place.path(directory), Permissions::from_mode(0o700))?;
    }
    Ok(format!("{}:/input", zone.display()))
}

fn a_read_zone_shows_what_is_closed_to_all_but_its_owner(place: &Place) -> Result<()> {
    let zone = closed(place)?;
    let ended =
        place.shell(&["--read", &zone], "cat /input/secret /input/inner/file; ls -n /input | tail -1")?;
    assert_eq!(ended.code(), 0, "{}", ended.err());
    ensure!(ended.out().starts_with("behind the owner's door\ndeeper\n"), "{}", ended.out());
    // It belongs to the ordinary user inside.
    ensure!(ended.out().contains(" 1000 1000 "), "{}", ended.out());
    Ok(())
}

fn a_read_zone_cannot_be_written(place: &Place) -> Result<()> {
    let zone = closed(place)?;
    let script = "cd /input; for try in 'echo x >secret' 'echo x >>secret' 'echo x >new' 'rm -f secret' \
                  'mv secret other' 'mkdir new' 'ln secret hard' 'ln -s secret soft' 'chmod 777 secret' \
                  'touch secret' 'truncate -s 0 secret' 'chmod 777 .' 'mv inner /tmp/'; \
                  do sh -c \"$try\" 2>/dev/null && echo \"done: $try\"; done; exit 0";
    let ended = place.shell(&["--read", &zone], script)?;
    assert_eq!((ended.code(), ended.out().as_str()), (0, ""), "{}", ended.err());
    assert_eq!(fs::read_to_string(place.path("zone/secret"))?, "behind the owner's door\n");
    assert_eq!(fs::read_dir(place.path("zone"))?.count(), 2);
    assert_eq!(fs::metadata(place.path("zone"))?.permissions().mode() & 0o777, 0o700);
    Ok(())
}

fn a_read_zone_shows_what_comes_later(place: &Place) -> Result<()> {
    let zone = closed(place)?;
    let mut command = place.run()?;
    command.args(["--read", &zone, "--", "sh", "-c", "read word; cat /input/later"]);
    let mut child = command
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()?;
    place.file("zone/later", "made while it runs\n")?;
    if let Some(mut stdin) = child.stdin.take() {
        std::io::Write::write_all(&mut stdin, b"go\n")?;
    }
    let ended = behaviour::collect(child)?;
    assert_eq!((ended.code(), ended.out().as_str()), (0, "made while it runs\n"), "{}", ended.err());
    Ok(())
}

fn a_read_zone_with_another_file_system_beneath_is_refused(place: &Place) -> Result<()> {
    use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
    let zone = closed(place)?;
    let inner = place.path("zone/inner");
    if !rustix::process::geteuid().is_root() {
        return not_run(
            "a_read_zone_with_another_file_system_beneath_is_refused",
            "a mount, and we are not root",
        );
    }
    mount("tmpfs", &inner, "tmpfs", MountFlags::empty(), c"size=64k")?;
    let refused = place.shell(&["--read", &zone], "cat /input/inner/file");
    let beneath = place.shell(&["--read", &format!("{}:/input", inner.display())], "ls /input");
    unmount(&inner, UnmountFlags::DETACH)?;
    let refused = refused?;
    assert_eq!((refused.code(), refused.out().as_str()), (66, ""), "{}", refused.err());
    let told =
        format!("zone `/input`: another file system is mounted beneath the directory: `{}`", inner.display());
    ensure!(refused.err().contains(&told), "{}", refused.err());
    // What is mounted may be a zone itself.
    let beneath = beneath?;
    assert_eq!(beneath.code(), 0, "{}", beneath.err());
    Ok(())
}

fn several_zones_stand_side_by_side(place: &Place) -> Result<()> {
    let mut words = Vec::new();
    for n in 0..30 {
        let directory = place.directory(&format!("zone{n}"))?;
        place.file(&format!("zone{n}/name"), format!("{n}\n"))?;
        let at = if n % 2 == 0 { format!("/data/{n}/in") } else { format!("/home/user/in/{n}") };
        words.extend(["--read".to_owned(), format!("{}:{at}", directory.display())]);
    }
    let script = "cat /data/*/in/name /home/user/in/*/name | sort -n | tr '\\n' ' '";
    let ended = finish(place.run()?.args(words).args(["--", "sh", "-c", script]))?;
    let wanted: String = (0..30).map(|n| format!("{n} ")).collect();
    assert_eq!((ended.code(), ended.out()), (0, wanted), "{}", ended.err());
    Ok(())
}

fn a_host_directory_with_colons_and_spaces_is_a_zone(place: &Place) -> Result<()> {
    let directory = place.directory("a b:c: \u{e9}")?;
    place.file("a b:c: \u{e9}/file", "found\n")?;
    let ended = place.shell(&["--read", &format!("{}:/input", directory.display())], "cat /input/file")?;
    assert_eq!((ended.code(), ended.out().as_str()), (0, "found\n"), "{}", ended.err());
    Ok(())
}

fn a_scratch_zone_is_written_and_vanishes(place: &Place) -> Result<()> {
    let policy = place.policy("[[files]]\nat = \"/scratch\"\naccess = \"scratch\"")?;
    let policy = policy.to_string_lossy();
    let script = "ls -A /scratch; echo x >/scratch/file && mkdir /scratch/d && cat /scratch/file && \
                  printf '#!/bin/sh\\nexit 32\\n' >/scratch/run && chmod +x /scratch/run && exec /scratch/run";
    for _ in 0..2 {
        let ended = place.shell(&["--policy", &policy], script)?;
        assert_eq!((ended.code(), ended.out().as_str()), (32, "x\n"), "{}", ended.err());
    }
    Ok(())
}

fn relative_paths_of_a_policy_start_from_its_directory(place: &Place) -> Result<()> {
    place.directory("project")?;
    place.directory("project/data")?;
    place.file("project/data/file", "beside the policy\n")?;
    let files = "[[files]]\nat = \"/input\"\naccess = \"read\"\nfrom = \"./data\"\n\
                 [[files]]\nat = \"/output\"\naccess = \"write\"\nto = \"results\"\n";
    let policy = place.file("project/p.toml", format!("version = 1\nname = \"p\"\n{files}"))?;
    let ended =
        place.shell(&["--policy", &policy.to_string_lossy()], "cat /input/file | tee /output/copy")?;
    assert_eq!((ended.code(), ended.out().as_str()), (0, "beside the policy\n"), "{}", ended.err());
    assert_eq!(fs::read_to_string(place.path("project/results/copy"))?, "beside the policy\n");
    Ok(())
}

fn what_is_no_zone_is_not_there(place: &Place) -> Result<()> {
    place.file("outside", "not for them")?;
    let zone = closed(place)?;
    std::os::unix::fs::symlink(place.path("outside"), place.path("zone/link"))?;
    std::os::unix::fs::symlink("../outside", place.path("zone/climb"))?;
    let outside = place.path("outside");
    let script = format!("cat /input/link /input/climb {} /input/../outside; exit 33", outside.display());
    let ended = place.shell(&["--read", &zone], &script)?;
    assert_eq!((ended.code(), ended.out().as_str()), (33, ""));
    if place.who() == Who::Root {
        ensure!(!ended.err().contains("not for them"));
    }
    Ok(())
}
