//! Trees that were made to break what walks them, as originals and as drafts, and originals that change meanwhile.

use crate::{ask, discard, drafted, drafts, project, tree};
use anyhow::{Context, Result, ensure};
use behaviour::{Place, Who, finish};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::fs;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

behaviour::for_each_profile! {
    an_original_may_hold_anything_and_stays_what_it_is
    trees_of_4096_levels_are_refused_by_name
    many_entries_are_drafted_and_committed
    names_that_are_swapped_meanwhile_lead_nowhere_else
}

/// So often are names swapped.
const SWAPS: u64 = 100_000;

fn an_original_may_hold_anything_and_stays_what_it_is(place: &Place) -> Result<()> {
    let original = project(place)?;
    let script = "cd project && mkfifo fifo && ln src/one.txt hard && ln -s loop loop && ln -s / root && \
        ln -s /etc/shadow shadow && truncate -s 1T giant && mkdir closed && chmod 000 closed && \
        python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"socket\")'; \
        printf x > \"$(printf 'a\\nb\\033[2J')\"";
    let made = finish(place.program("sh").args(["-c", script]))?;
    ensure!(made.code() == 0, "{}", made.err());
    if place.who() == Who::Root {
        let made = finish(place.program("mknod").args(["project/device", "c", "1", "3"]))?;
        ensure!(made.code() == 0, "{}", made.err());
    }
    let names = || -> Result<Vec<_>> {
        let mut names: Vec<_> =
            fs::read_dir(&original)?.map(|entry| Ok(entry?.file_name())).collect::<Result<_>>()?;
        names.sort();
        Ok(names)
    };
    let before = names()?;
    let work = "
for name in ['fifo', 'socket', 'loop', 'root', 'shadow']:
    os.remove(name)
open('hard', 'w').write('mine')
os.truncate('src/one.txt', 0)
open([n for n in os.listdir('.') if n.startswith('a')][0], 'w').write('y')";
    let id = drafted(place, &[], work)?;
    ensure!(names()? == before, "the original changed");
    ensure!(fs::read_to_string(original.join("src/one.txt"))? == "one\n", "written through a hard link");
    let (code, answer) = ask(place, "commit", &[&id])?;
    ensure!(code == 0, "{code} {answer}");
    ensure!(fs::read_to_string(original.join("hard"))? == "mine");
    ensure!(fs::read_to_string(original.join("src/one.txt"))?.is_empty());
    ensure!(fs::metadata(original.join("giant"))?.len() == 1 << 40);
    ensure!(!original.join("fifo").exists() && fs::symlink_metadata(original.join("root")).is_err());
    Ok(())
}

const DEEP: &str = "import os
for n in range(4096):
    os.mkdir('d'); os.chdir('d')
open('f', 'w').write('x')";

fn trees_of_4096_levels_are_refused_by_name(place: &Place) -> Result<()> {
    let original = project(place)?;
    let before = tree(&original)?;
    let id = drafted(place, &[], DEEP)?;
    let (code, answer) = ask(place, "commit", &[&id])?;
    let by_depth = |refusal: &serde_json::Value| refusal["rule"] == "commit.depth";
    ensure!(code == 77 && answer["refused"].as_array().is_some_and(|all| all.iter().any(by_depth)), "{code}");
    ensure!(tree(&original)? == before);
    discard(place, &id)?;
    let deep = place.directory("project/levels")?;
    ensure!(finish(place.program("python3").args(["-c", DEEP]).current_dir(&deep))?.code() == 0);
    let refused = drafts(place, &[], "")?;
    ensure!(refused.code() == 66 && refused.err().contains("deeper than 128"), "{}", refused.err());
    // It is too deep for what cleans up after tests.
    let gone = finish(place.program("rm").args(["-rf", "project/levels"]))?;
    ensure!(gone.code() == 0, "{}", gone.err());
    Ok(())
}

fn many_entries_are_drafted_and_committed(place: &Place) -> Result<()> {
    entries(place, 9_000, Some(0))
}

#[test]
#[ignore = "makes 200,001 files on the host and as many inside: minutes"]
fn more_entries_than_the_bound_are_refused_by_name() -> Result<()> {
    fn test(place: &Place) -> Result<()> {
        entries(place, 200_001, None)
    }
    Place::with("more_entries_than_the_bound_are_refused_by_name", Who::Root, test)
}

/// Makes so many files in a draft, and so many in an original. `code` is what their commit is to end with; without one
/// both are too many.
fn entries(place: &Place, count: u32, code: Option<i32>) -> Result<()> {
    let original = project(place)?;
    let make = format!(
        "os.mkdir('many')\nfor n in range({count}):\n    os.close(os.open(f'many/{{n}}', os.O_CREAT | os.O_WRONLY, 0o644))"
    );
    let ended = drafts(place, &[], &make)?;
    let report = ended.report()?;
    let Some(code) = code else {
        let problem = report["drafts"][0]["problem"].as_str().unwrap_or_default();
        ensure!(problem.contains("more than 200000 entries have changed"), "{report}");
        let make = format!("import os\nos.chdir('project')\n{make}");
        ensure!(finish(place.program("python3").args(["-c", &make]))?.code() == 0);
        let refused = drafts(place, &[], "")?;
        ensure!(refused.code() == 66 && refused.err().contains("200000 entries"), "{}", refused.err());
        return Ok(());
    };
    let id = report["sandbox"].as_str().context("no sandbox")?;
    let (found, answer) = ask(place, "commit", &[id])?;
    ensure!(found == code, "{found} {answer}");
    ensure!(fs::read_dir(original.join("many"))?.count() == count as usize);
    Ok(())
}

/// What is tried while names are swapped: in both directories, as one of them may be a link that leads nowhere.
const SWAPPED: &str = "
for d in ('src', 'docs'):
    try:
        open(f'{d}/one.txt', 'w').write(sys.argv[0]); open(f'{d}/new', 'a').write('n'); os.remove(f'{d}/two.txt')
    except OSError: pass";

/// A directory and a link to elsewhere take turns under one name while commits go there.
fn names_that_are_swapped_meanwhile_lead_nowhere_else(place: &Place) -> Result<()> {
    let original = project(place)?;
    let outside = place.directory("outside")?;
    place.file("outside/one.txt", "theirs\n")?;
    place.file("outside/two.txt", "theirs\n")?;
    let before = tree(&outside)?;
    let (name, other) = (original.join("src"), original.join("docs"));
    fs::remove_dir_all(&other)?;
    symlink(&outside, &other)?;
    let (swaps, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let tried = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                if renameat_with(CWD, &name, CWD, &other, RenameFlags::EXCHANGE).is_ok() {
                    swaps.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        let tried = commit_while(place, &swaps);
        over.store(true, Ordering::Relaxed);
        tried
    });
    let (commits, conflicts) = tried?;
    ensure!(
        tree(&outside)? == before,
        "something outside changed ({commits} commits, {conflicts} conflicts)"
    );
    ensure!(conflicts > 0, "nothing was swapped in time ({commits} commits)");
    Ok(())
}

/// Drafts and commits until names were swapped often enough. Gives how many were applied and how many were not.
fn commit_while(place: &Place, swaps: &AtomicU64) -> Result<(u32, u32)> {
    let (mut commits, mut conflicts) = (0, 0);
    while swaps.load(Ordering::Relaxed) < SWAPS || commits + conflicts < 20 {
        let report = drafts(place, &[], SWAPPED)?.report()?;
        if report["drafts"][0]["kept"] != true {
            continue;
        }
        let id = report["sandbox"].as_str().context("no sandbox")?;
        // Over and over: some of these find the tree as it was.
        for _ in 0..8 {
            let (code, answer) = ask(place, "commit", &[id])?;
            match code {
                0 => commits += 1,
                1 => conflicts += 1,
                _ => anyhow::bail!("{code} {answer}"),
            }
            if code == 0 {
                break;
            }
        }
        if place.state().join("drafts").join(id).exists() {
            discard(place, id)?;
        }
    }
    Ok((commits, conflicts))
}
