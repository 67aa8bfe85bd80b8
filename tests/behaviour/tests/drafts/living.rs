//! Drafts of sandboxes that a server keeps: shown and committed while they live, over the state directory alone.

use crate::{ask, changes, policy, project, tree};
use anyhow::{Context, Result, ensure};
use behaviour::{Place, finish, within};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::Duration;

behaviour::for_each_profile! {
    the_draft_of_a_living_sandbox_is_shown_and_committed
    a_draft_ends_with_its_sandbox
}

/// A server whose sandboxes have the project as a draft zone.
struct Server {
    child: Child,
    listen: String,
    key: String,
}

impl Server {
    fn start(place: &Place) -> Result<Server> {
        let policy = policy(place, "files = 100")?;
        let mut command = place.casemate()?;
        command.args(["serve", "--json", "--listen", "127.0.0.1:0", "--policy", &policy, "--state"]);
        command.arg(place.state()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("no output")?).read_line(&mut line)?;
        let said: Value = serde_json::from_str(&line).context("the server said no JSON")?;
        let word = |name: &str| said[name].as_str().map(str::to_owned).with_context(|| format!("no {name}"));
        Ok(Server { child, listen: word("listen")?, key: word("key")? })
    }

    /// Runs a test with one, and ends it whatever comes of that.
    fn with(place: &Place, test: impl FnOnce(&Server) -> Result<()>) -> Result<()> {
        let server = Server::start(place)?;
        let tested = test(&server);
        let stopped = server.stop(place);
        tested.and(stopped)
    }

    /// Makes a sandbox, or gives what the server said.
    fn create(&self) -> Result<std::result::Result<String, String>> {
        let mut stream = TcpStream::connect(&self.listen)?;
        let body = r#"{"templateID":"base","timeout":300}"#;
        write!(
            stream,
            "POST /sandboxes HTTP/1.1\r\nHost: x\r\nX-API-Key: {}\r\nContent-Type: application/json\r\n\
             Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
            self.key,
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let body = answer.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
        let parsed: Option<Value> = serde_json::from_str(body).ok();
        let id = parsed.as_ref().and_then(|value| value["sandboxID"].as_str()).map(str::to_owned);
        Ok(id.ok_or(answer))
    }

    /// Ends the server, then its sandboxes: the launcher then ends at once, too.
    fn stop(mut self, place: &Place) -> Result<()> {
        behaviour::signal(&self.child, rustix::process::Signal::TERM)?;
        behaviour::wait(&mut self.child, Duration::from_secs(30))?;
        let stopped = finish(place.casemate()?.args(["stop", "--all", "--state"]).arg(place.state()))?;
        ensure!(stopped.code() == 0, "{}", stopped.err());
        Ok(())
    }
}

fn exec(place: &Place, id: &str, script: &str) -> Result<String> {
    let mut command = place.casemate()?;
    command.args(["exec", "--no-terminal", "--state"]).arg(place.state()).arg(id);
    let done = finish(command.args(["--", "sh", "-c", script]))?;
    ensure!(done.code() == 0, "{script}: {} {}", done.code(), done.err());
    Ok(done.out())
}

fn the_draft_of_a_living_sandbox_is_shown_and_committed(place: &Place) -> Result<()> {
    project(place)?;
    Server::with(place, |server| shown_and_committed(place, server))?;
    place.verify()
}

fn shown_and_committed(place: &Place, server: &Server) -> Result<()> {
    let original = place.path("project");
    let before = tree(&original)?;
    let id = server.create()?.map_err(anyhow::Error::msg)?;
    let other = server.create()?.map_err(anyhow::Error::msg)?;
    ensure!(changes(place, &id)?.is_empty());
    exec(place, &id, "cd /work; echo more >> src/one.txt; rm src/two.txt; mkdir new; echo n > new/n")?;
    exec(place, &other, "echo other > /work/other")?;
    ensure!(tree(&original)? == before, "the original changed before a commit");
    let expected =
        ["added /work/new", "added /work/new/n", "changed /work/src/one.txt", "deleted /work/src/two.txt"];
    ensure!(changes(place, &id)? == expected, "{:?}", changes(place, &id)?);
    let (_, answer) = ask(place, "diff", &[&id])?;
    ensure!(answer["changes"][0]["by"]["commands"] == serde_json::json!([1]), "{answer}");
    let (_, list) = ask(place, "diff", &[])?;
    ensure!(list.as_array().is_some_and(|list| list.len() == 2 && list[0]["lives"] == true), "{list}");

    let (code, answer) = ask(place, "commit", &[&id, "src"])?;
    ensure!(code == 0 && answer["committed"]["changes"] == 2, "{code} {answer}");
    ensure!(fs::read_to_string(original.join("src/one.txt"))? == "one\nmore\n");
    ensure!(!original.join("src/two.txt").exists() && !original.join("new").exists());
    // What is committed is a change no more; what comes after is.
    ensure!(changes(place, &id)? == ["added /work/new", "added /work/new/n"]);
    exec(place, &id, "echo again >> /work/src/one.txt; echo x > /work/.git/hooks/pre-commit")?;
    let (code, answer) = ask(place, "commit", &[&id])?;
    ensure!(
        code == 77 && answer["refused"][0]["rule"] == "commit.protected (.git/hooks/pre-commit)",
        "{answer}"
    );
    let (code, answer) = ask(place, "commit", &[&id, "/work/src", "/work/new"])?;
    ensure!(code == 0, "{code} {answer}");
    ensure!(fs::read_to_string(original.join("src/one.txt"))? == "one\nmore\nagain\n");
    // The other sandbox has the file as it was, and a conflict where both changed it.
    exec(place, &other, "echo theirs >> /work/src/one.txt")?;
    let (code, answer) = ask(place, "commit", &[&other, "src"])?;
    ensure!(code == 1 && answer["conflicts"][0]["path"] == "/work/src/one.txt", "{code} {answer}");
    ensure!(ask(place, "commit", &[&other, "other"])?.0 == 0);
    // What it works on is not taken away under it: refused, with what to do, and nothing changes.
    exec(place, &id, "echo y > /work/kept")?;
    let (before, differs) = (tree(&original)?, changes(place, &id)?);
    let (code, answer) = ask(place, "discard", &[&id])?;
    let says = |field: &str, what: &str| answer[field].as_str().is_some_and(|text| text.contains(what));
    ensure!(
        code == 71 && says("error", "the sandbox lives") && says("help", "casemate kill"),
        "{code} {answer}"
    );
    ensure!(tree(&original)? == before && changes(place, &id)? == differs);
    ensure!(place.records_of("draft.discard")?.is_empty(), "a refused discard is on record as one");
    Ok(())
}

fn a_draft_ends_with_its_sandbox(place: &Place) -> Result<()> {
    project(place)?;
    Server::with(place, |server| ends_with_its_sandbox(place, server))
}

fn ends_with_its_sandbox(place: &Place, server: &Server) -> Result<()> {
    let original = place.path("project");
    let before = tree(&original)?;
    let id = server.create()?.map_err(anyhow::Error::msg)?;
    exec(place, &id, "echo x > /work/src/x")?;
    ensure!(changes(place, &id)? == ["added /work/src/x"]);
    ensure!(finish(place.casemate()?.args(["kill", "--state"]).arg(place.state()).arg(&id))?.code() == 0);
    within(Duration::from_secs(30), "the draft is gone", || {
        Ok((ask(place, "diff", &[&id])?.0 == 68).then_some(()))
    })?;
    for word in ["commit", "discard"] {
        ensure!(ask(place, word, &[&id])?.0 == 68);
    }
    ensure!(fs::read_dir(place.state().join("drafts"))?.next().is_none(), "something is left of it");
    // An original that cannot be drafted is no sandbox, and says so.
    fs::rename(&original, place.path("away"))?;
    let refused = server.create()?;
    ensure!(refused.as_ref().is_err_and(|said| said.contains("zone `/work`")), "{refused:?}");
    fs::rename(place.path("away"), &original)?;
    ensure!(tree(&original)? == before);
    Ok(())
}
