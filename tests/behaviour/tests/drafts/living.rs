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
    each_change_names_who_made_it_or_who_may_have
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

    /// One request, and the whole answer.
    fn ask(&self, head: &str, body: &str) -> Result<String> {
        let mut stream = TcpStream::connect(&self.listen)?;
        write!(stream, "{head}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// Makes a sandbox, or gives what the server said.
    fn create(&self) -> Result<std::result::Result<String, String>> {
        Ok(self.made()?.map(|(id, _)| id))
    }

    /// The same with the token that opens its data plane.
    fn made(&self) -> Result<std::result::Result<(String, String), String>> {
        let body = r#"{"templateID":"base","timeout":300}"#;
        let head = format!(
            "POST /sandboxes HTTP/1.1\r\nHost: x\r\nX-API-Key: {}\r\nContent-Type: application/json",
            self.key
        );
        let answer = self.ask(&head, body)?;
        let body = answer.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
        let parsed: Option<Value> = serde_json::from_str(body).ok();
        let word = |name: &str| Some(parsed.as_ref()?[name].as_str()?.to_owned());
        Ok(word("sandboxID").zip(word("envdAccessToken")).ok_or(answer))
    }

    /// Writes a file through the data plane, as a client of the API does.
    fn upload(&self, id: &str, token: &str, path: &str, bytes: &str) -> Result<()> {
        let body = format!(
            "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n{bytes}\r\n--x--\r\n"
        );
        let head = format!(
            "POST /files?path={path}&username=user HTTP/1.1\r\nHost: x\r\nX-Access-Token: {token}\r\n\
             E2b-Sandbox-Id: {id}\r\nE2b-Sandbox-Port: 49983\r\n\
             Content-Type: multipart/form-data; boundary=x"
        );
        let answer = self.ask(&head, &body)?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        Ok(())
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

fn each_change_names_who_made_it_or_who_may_have(place: &Place) -> Result<()> {
    project(place)?;
    Server::with(place, |server| names_who_made_it(place, server))?;
    place.verify()
}

fn names_who_made_it(place: &Place, server: &Server) -> Result<()> {
    let (id, token) = server.made()?.map_err(anyhow::Error::msg)?;
    let run = |script: &str| exec(place, &id, script);
    // Commands one after the other, and work through the API between them.
    run("echo 1 > /work/first; rm /work/docs/doc.md")?;
    server.upload(&id, &token, "/work/uploaded", "bytes")?;
    run("echo 2 > /work/second; cat /work/uploaded")?;
    // Two at one time.
    let mut long = place.casemate()?;
    long.args(["exec", "--no-terminal", "--state"]).arg(place.state()).arg(&id);
    long.args([
        "--",
        "sh",
        "-c",
        "until [ -e /work/go ]; do sleep 0.01; done; sleep 0.1; echo 3 > /work/third",
    ]);
    let mut long = long.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
    within(Duration::from_secs(30), "the third command is on record", || {
        Ok((place.records_of("exec.start")?.len() == 3).then_some(()))
    })?;
    run("echo 4 > /work/fourth; touch /work/go")?;
    behaviour::wait(&mut long, Duration::from_secs(30))?;
    run("echo 5 > /work/fifth")?;
    // One leaves a process behind, which is at work while the next one runs.
    run("(setsid sh -c 'sleep 0.3; echo 6 > /work/sixth' > /dev/null 2>&1 &)")?;
    run("until [ -e /work/sixth ]; do sleep 0.01; done; sleep 0.1; echo 7 > /work/seventh")?;
    run("echo 8 > /work/eighth")?;

    let (_, answer) = ask(place, "diff", &[&id])?;
    let list = answer["changes"].as_array().context("no changes")?;
    let written = &place.records_of("file")?;
    let uploaded =
        written.iter().find(|record| record["op"] == "write").context("no record of the upload")?;
    let sequence = uploaded["seq"].as_u64().context("no number")?;
    let expected: [(&str, &[u64], bool); 10] = [
        ("docs/doc.md", &[1], true),
        ("eighth", &[8], true),
        ("fifth", &[5], true),
        ("first", &[1], true),
        ("fourth", &[3, 4], false),
        ("go", &[3, 4], false),
        ("second", &[2], true),
        ("seventh", &[6, 7], false),
        ("sixth", &[6, 7], false),
        ("third", &[3], false),
    ];
    for (path, commands, certain) in expected {
        let path = format!("/work/{path}");
        let change = list.iter().find(|change| change["path"] == *path).context(path.clone())?;
        let by = &change["by"];
        let named: Vec<u64> =
            by["commands"].as_array().into_iter().flatten().filter_map(Value::as_u64).collect();
        // Whether the fourth had ended when the third wrote depends on who was faster.
        let fits = if path == "/work/third" { named.contains(&3) } else { named == commands };
        let is_certain = by["certain"] == certain || path == "/work/third";
        ensure!(fits && is_certain && by["operations"].is_null(), "{change}");
    }
    let by =
        |path: &str| list.iter().find(|change| change["path"] == *path).map(|change| change["by"].clone());
    let alone = serde_json::json!({"commands": [], "operations": [sequence], "certain": true});
    ensure!(by("/work/uploaded") == Some(alone), "{:?}", by("/work/uploaded"));
    ensure!(answer["operations"] == serde_json::json!([[sequence, "write /work/uploaded"]]), "{answer}");
    let text = finish(place.casemate()?.args(["diff", "--stat", "--state"]).arg(place.state()).arg(&id))?;
    let said = format!("by write /work/uploaded (record {sequence})");
    ensure!(text.out().contains(&said) && text.out().contains("by one of #6, #7"), "{}", text.out());
    Ok(())
}
