//! Diff, commit, conflict and discard.

use crate::{ask, changes, discard, drafted, drafts, policy, project, tree};
use anyhow::{Result, ensure};
use behaviour::{Place, finish};
use serde_json::json;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

behaviour::for_each_profile! {
    nothing_reaches_the_original_before_a_commit_and_all_of_it_then
    a_draft_that_is_not_kept_says_how_much_went_with_it
    parts_are_committed_one_after_the_other
    an_original_that_changed_is_a_conflict_and_nothing_is_applied
    a_touched_original_is_no_conflict
    kinds_of_entries_change_into_each_other
    a_discarded_draft_is_gone
    a_commit_that_was_cut_short_is_completed
    the_record_holds_every_step
    what_an_original_hides_stays_with_it
}

const WORK: &str = "
open('src/one.txt', 'a').write('more\\n')
open('src/new.txt', 'w').write('new\\n')
os.mkdir('src/fresh'); open('src/fresh/a', 'w').write('a')
os.remove('src/two.txt')
os.remove('docs/doc.md'); os.rmdir('docs')
os.remove('link'); os.symlink('src/new.txt', 'link')";

fn nothing_reaches_the_original_before_a_commit_and_all_of_it_then(place: &Place) -> Result<()> {
    let original = project(place)?;
    let before = tree(&original)?;
    let id = drafted(place, &[], WORK)?;
    ensure!(tree(&original)? == before, "the original changed before the commit");
    let found = changes(place, &id)?;
    let expected = [
        "deleted /work/docs",
        "deleted /work/docs/doc.md",
        "changed /work/link",
        "added /work/src/fresh",
        "added /work/src/fresh/a",
        "added /work/src/new.txt",
        "changed /work/src/one.txt",
        "deleted /work/src/two.txt",
    ];
    ensure!(found == expected, "{found:?}");
    ensure!(tree(&original)? == before, "diff changed the original");
    let (code, answer) = ask(place, "commit", &[&id])?;
    ensure!(code == 0 && answer["committed"]["changes"] == 8, "{code} {answer}");
    ensure!(fs::read_to_string(original.join("src/one.txt"))? == "one\nmore\n");
    ensure!(fs::read_to_string(original.join("src/fresh/a"))? == "a");
    ensure!(fs::read_link(original.join("link"))?.as_os_str() == "src/new.txt");
    ensure!(!original.join("docs").exists() && !original.join("src/two.txt").exists());
    for (path, entry) in tree(&original)? {
        ensure!(fs::symlink_metadata(&path)?.uid() == place.uid(), "{path:?} belongs to another: {entry}");
        ensure!(!path.to_string_lossy().contains(".casemate-"), "{path:?} was left");
    }
    // A draft that was committed as a whole is no more.
    ensure!(ask(place, "diff", &[&id])?.0 == 68);
    place.verify()
}

fn a_draft_that_is_not_kept_says_how_much_went_with_it(place: &Place) -> Result<()> {
    let original = project(place)?;
    let before = tree(&original)?;
    let zone = format!("{}:/work", original.display());
    let mut command = place.casemate()?;
    command.args(["run", "--state"]).arg(place.state()).args(["--draft", &zone, "--", "sh", "-c"]);
    let ended = finish(command.arg("echo x > /work/src/x; rm /work/src/one.txt"))?;
    ensure!(ended.code() == 0, "{}", ended.err());
    ensure!(ended.err().contains("2 paths changed in the draft /work are gone"), "{}", ended.err());
    ensure!(ended.err().contains("--keep"), "{}", ended.err());
    ensure!(tree(&original)? == before);
    let quiet = finish(place.run()?.args(["--draft", &zone, "--", "cat", "/work/src/one.txt"]))?;
    ensure!(quiet.out() == "one\n" && quiet.report()?["drafts"][0]["changes"] == 0, "{}", quiet.err());
    Ok(())
}

fn parts_are_committed_one_after_the_other(place: &Place) -> Result<()> {
    let original = project(place)?;
    let id = drafted(place, &[], WORK)?;
    let before = tree(&original)?;
    for wrong in ["/work/nothing", "src/fres", "/other", "../project", "src/../src", "src//new.txt", ""] {
        let (code, answer) = ask(place, "commit", &[&id, wrong])?;
        ensure!(code == 64, "{wrong:?}: {code} {answer}");
    }
    ensure!(tree(&original)? == before);
    // A new directory comes with the first file in it that is committed.
    let (code, answer) = ask(place, "commit", &[&id, "/work/src/fresh/a", "docs/"])?;
    ensure!(code == 0 && answer["committed"]["changes"] == 4, "{code} {answer}");
    ensure!(answer["committed"]["remaining"] == 4, "{answer}");
    ensure!(original.join("src/fresh/a").exists() && !original.join("docs").exists());
    ensure!(fs::read_to_string(original.join("src/one.txt"))? == "one\n");
    let (code, answer) = ask(place, "commit", &[&id, "src"])?;
    ensure!(code == 0 && answer["committed"]["changes"] == 3, "{code} {answer}");
    ensure!(changes(place, &id)? == ["changed /work/link"]);
    let (code, _) = ask(place, "commit", &[&id])?;
    ensure!(code == 0 && ask(place, "diff", &[&id])?.0 == 68);
    Ok(())
}

fn an_original_that_changed_is_a_conflict_and_nothing_is_applied(place: &Place) -> Result<()> {
    let original = project(place)?;
    let id = drafted(place, &[], WORK)?;
    // Changed, vanished, appeared where the draft adds, another kind, appeared where it removes.
    fs::write(original.join("src/one.txt"), "ONE\n")?;
    fs::remove_file(original.join("src/two.txt"))?;
    fs::write(original.join("src/new.txt"), "mine\n")?;
    fs::remove_file(original.join("link"))?;
    fs::create_dir(original.join("link"))?;
    fs::write(original.join("docs/other.md"), "mine\n")?;
    let before = tree(&original)?;
    let (code, answer) = ask(place, "commit", &[&id])?;
    let paths: Vec<&str> = answer["conflicts"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|conflict| conflict["path"].as_str())
        .collect();
    let expected =
        ["/work/docs/other.md", "/work/link", "/work/src/new.txt", "/work/src/one.txt", "/work/src/two.txt"];
    ensure!(code == 1 && paths == expected, "{code} {answer}");
    ensure!(tree(&original)? == before, "a commit with conflicts changed something");
    // What has none can be committed by itself.
    let (code, answer) = ask(place, "commit", &[&id, "src/fresh"])?;
    ensure!(code == 0, "{code} {answer}");
    ensure!(fs::read_to_string(original.join("src/one.txt"))? == "ONE\n");
    // A directory on the way that became a link to elsewhere.
    let outside = place.directory("outside")?;
    fs::rename(original.join("src"), original.join("away"))?;
    std::os::unix::fs::symlink(&outside, original.join("src"))?;
    let (code, answer) = ask(place, "commit", &[&id, "src"])?;
    ensure!(code == 1, "{code} {answer}");
    ensure!(fs::read_dir(&outside)?.next().is_none(), "something was written through the link");
    // Another directory in the place of the whole.
    fs::rename(&original, place.path("moved"))?;
    place.directory("project")?;
    let (code, answer) = ask(place, "commit", &[&id])?;
    ensure!(code == 66, "{code} {answer}");
    discard(place, &id)
}

fn a_touched_original_is_no_conflict(place: &Place) -> Result<()> {
    let original = project(place)?;
    let id = drafted(place, &[], WORK)?;
    let text = fs::read(original.join("src/one.txt"))?;
    fs::remove_file(original.join("src/one.txt"))?;
    fs::write(original.join("src/one.txt"), text)?;
    place.own(&original.join("src/one.txt"))?;
    let (code, answer) = ask(place, "commit", &[&id, "src/one.txt"])?;
    ensure!(code == 0, "{code} {answer}");
    discard(place, &id)
}

fn kinds_of_entries_change_into_each_other(place: &Place) -> Result<()> {
    let original = project(place)?;
    let id = drafted(
        place,
        &[],
        "
import shutil
shutil.rmtree('docs'); open('docs', 'w').write('a file now')
os.remove('src/one.txt'); os.makedirs('src/one.txt/sub'); open('src/one.txt/sub/f', 'w').write('f')
os.remove('src/two.txt'); os.symlink('one.txt', 'src/two.txt')
shutil.rmtree('src/deep'); os.mkdir('src/deep'); open('src/deep/other', 'w').write('o')
os.chmod('run.sh', 0o644)
# The same bytes as before are no change.
t = open('.envrc').read(); os.remove('.envrc'); open('.envrc', 'w').write(t)",
    )?;
    let expected = [
        "type /work/docs",
        "deleted /work/docs/doc.md",
        "mode /work/run.sh",
        "deleted /work/src/deep/file",
        "added /work/src/deep/other",
        "type /work/src/one.txt",
        "added /work/src/one.txt/sub",
        "added /work/src/one.txt/sub/f",
        "type /work/src/two.txt",
    ];
    let found = changes(place, &id)?;
    ensure!(found == expected, "{found:?}");
    let (code, answer) = ask(place, "commit", &[&id])?;
    ensure!(code == 0, "{code} {answer}");
    ensure!(fs::read_to_string(original.join("docs"))? == "a file now");
    ensure!(fs::read_to_string(original.join("src/one.txt/sub/f"))? == "f");
    ensure!(fs::read_link(original.join("src/two.txt"))?.as_os_str() == "one.txt");
    ensure!(original.join("src/deep/other").exists() && !original.join("src/deep/file").exists());
    ensure!(fs::metadata(original.join("run.sh"))?.permissions().mode() & 0o777 == 0o644);
    ensure!(!tree(&original)?.keys().any(|path| path.to_string_lossy().contains(".casemate-")));
    Ok(())
}

fn a_discarded_draft_is_gone(place: &Place) -> Result<()> {
    let original = project(place)?;
    let before = tree(&original)?;
    let id = drafted(place, &[], WORK)?;
    let (_, list) = ask(place, "diff", &[])?;
    ensure!(list[0]["sandbox"] == id.as_str() && list[0]["changes"] == 8, "{list}");
    let (code, answer) = ask(place, "discard", &[&id])?;
    ensure!(code == 0 && answer["discarded"] == 8, "{code} {answer}");
    for word in ["diff", "commit", "discard"] {
        ensure!(ask(place, word, &[&id])?.0 == 68, "{word}");
    }
    ensure!(ask(place, "diff", &[])?.1 == json!([]));
    ensure!(tree(&original)? == before);
    ensure!(fs::read_dir(place.state().join("drafts"))?.next().is_none(), "something is left of it");
    Ok(())
}

/// Kills commits in every moment, and commits again: in the end all of it is there, and before it all or nothing.
fn a_commit_that_was_cut_short_is_completed(place: &Place) -> Result<()> {
    let original = project(place)?;
    for round in 0..12_u64 {
        let program = format!(
            "
for n in range(300):
    open(f'src/f{{n}}', 'w').write('{round}')
os.remove('src/two.txt') if {round} % 2 == 0 else open('src/two.txt', 'w').write('{round}')"
        );
        let id = drafted(place, &[], &program)?;
        let mut command = place.casemate()?;
        command.args(["commit", "--json", "--state"]).arg(place.state()).arg(&id);
        let mut child = command.stdout(std::process::Stdio::null()).spawn()?;
        std::thread::sleep(std::time::Duration::from_millis(round * 4));
        let _ = child.kill();
        child.wait()?;
        // Nothing is left to commit if it was done in time.
        let (code, answer) = ask(place, "commit", &[&id])?;
        ensure!(code == 0 || code == 68, "round {round}: {code} {answer}");
        for n in 0..300 {
            let text = fs::read_to_string(original.join(format!("src/f{n}")))?;
            ensure!(text == round.to_string(), "round {round}, file {n}: {text}");
        }
        ensure!(original.join("src/two.txt").exists() != (round % 2 == 0), "round {round}");
        let left: Vec<_> = tree(&original)?
            .into_keys()
            .filter(|path| path.to_string_lossy().contains(".casemate-"))
            .collect();
        ensure!(left.is_empty(), "round {round}: {left:?}");
        if code == 0 {
            ensure!(ask(place, "commit", &[&id])?.0 == 68, "round {round}: something is left to commit");
        }
    }
    place.verify()
}

fn the_record_holds_every_step(place: &Place) -> Result<()> {
    let original = project(place)?;
    let id = drafted(place, &[], WORK)?;
    fs::write(original.join("src/new.txt"), "mine\n")?;
    ask(place, "commit", &[&id])?;
    ask(place, "commit", &[&id, "src/fresh"])?;
    ask(place, "discard", &[&id])?;
    let events: Vec<String> = place
        .records()?
        .iter()
        .filter_map(|record| {
            record["event"].as_str().filter(|event| event.starts_with("draft.")).map(str::to_owned)
        })
        .collect();
    let expected =
        ["draft.open", "draft.end", "draft.refused", "draft.commit", "draft.committed", "draft.discard"];
    ensure!(events == expected, "{events:?}");
    let commit = &place.records_of("draft.commit")?[0];
    ensure!(commit["uid"] == place.uid() && commit["changes"] == 2, "{commit}");
    ensure!(commit["paths"] == json!(["added /work/src/fresh", "added /work/src/fresh/a"]), "{commit}");
    let open = &place.records_of("draft.open")?[0];
    ensure!(open["manifest"].as_str().is_some_and(|hash| hash.starts_with("sha256:")), "{open}");
    place.verify()
}

fn what_an_original_hides_stays_with_it(place: &Place) -> Result<()> {
    let original = project(place)?;
    fs::set_permissions(original.join("src/two.txt"), fs::Permissions::from_mode(0o640))?;
    let policy = policy(place, "executables = true")?;
    let id = drafted(
        place,
        &["--policy", &policy],
        "open('src/two.txt', 'a').write('x'); os.chmod('src/two.txt', 0o777); os.chmod('src/one.txt', 0o666)",
    )?;
    // Of a mode, the executable bit alone is carried.
    ensure!(changes(place, &id)? == ["changed /work/src/two.txt"]);
    ensure!(ask(place, "commit", &[&id])?.0 == 0);
    ensure!(fs::metadata(original.join("src/two.txt"))?.permissions().mode() & 0o7777 == 0o750);
    let refused = drafts(place, &["--draft", "/proc:/p"], "")?;
    ensure!(refused.code() == 66, "{}", refused.err());
    Ok(())
}
