//! Messages that come, and events that go.

use super::*;
use crate::e2b::frame::{Frames, Received};
use crate::e2b::json::read;
use proptest::prelude::*;

fn contents(frames: &[u8]) -> Vec<Value> {
    let mut found = Frames::default();
    found.push(frames);
    let messages = std::iter::from_fn(|| found.next_frame().unwrap());
    messages
        .map(|received| match received {
            Received::Message(content) => serde_json::from_slice(&content).unwrap(),
            Received::Last(_) => panic!("no last frame is expected"),
        })
        .collect()
}

#[test]
fn stdin_is_what_the_field_says_and_a_pipe_without_it() {
    let stdin = |text: &str| read::<Start>(text.as_bytes()).unwrap().understood().unwrap().stdin;
    assert_eq!(stdin(r#"{"process":{"cmd":"x"}}"#), Stdin::Pipe);
    assert_eq!(stdin(r#"{"process":{"cmd":"x"},"stdin":true}"#), Stdin::Pipe);
    assert_eq!(stdin(r#"{"process":{"cmd":"x"},"stdin":false}"#), Stdin::Null);
    let size = TerminalSize { rows: 24, columns: 80 };
    assert_eq!(
        stdin(r#"{"process":{"cmd":"x"},"pty":{"size":{"cols":80,"rows":"24"}}}"#),
        Stdin::Terminal(size)
    );
}

#[test]
fn a_list_is_no_object_however_deep_it_is() {
    let refused = |text: &str| {
        let text = text.as_bytes();
        let all = [read::<Start>(text).err(), read::<Update>(text).err(), read::<SendInput>(text).err()];
        all.into_iter().flatten().map(|failure| format!("{failure:?}")).collect::<Vec<_>>()
    };
    for (text, field, messages) in [
        (r#"{"process":["x"]}"#, "`process`", 3),
        (r#"{"process":[]}"#, "`process`", 3),
        (r#"{"input":["eA=="]}"#, "`input`", 1),
        (r#"{"pty":[]}"#, "`pty`", 2),
        (r#"{"pty":{"size":[80,24]}}"#, "`pty.size`", 2),
    ] {
        let refused = refused(text);
        assert_eq!(refused.len(), messages, "{text}: {refused:?}");
        assert!(refused.iter().all(|why| why.contains(field) && why.contains("an object")), "{refused:?}");
    }
    assert_eq!(refused(r#"{"process":null,"input":null,"pty":null}"#), [""; 0]);
    assert_eq!(refused(r#"{"process":{},"input":{},"pty":{"size":null}}"#), [""; 0]);
}

#[test]
fn what_names_no_process_is_refused() {
    for text in ["{}", r#"{"pid":1,"tag":"a"}"#, r#"{"pid":-1}"#, r#"{"pid":null}"#] {
        assert!(read::<Process>(text.as_bytes()).unwrap().selector().is_err(), "{text}");
    }
    assert_eq!(read::<Process>(br#"{"pid":7}"#).unwrap().selector(), Ok(Selector::Pid(7)));
    assert_eq!(read::<Process>(br#"{"tag":"a"}"#).unwrap().selector(), Ok(Selector::Tag("a".to_owned())));
}

#[test]
fn only_two_signals_are_in_the_protocol() {
    let signal = |text: &str| {
        let text = format!(r#"{{"process":{{"pid":1}},"signal":{text}}}"#);
        read::<SendSignal>(text.as_bytes()).and_then(SendSignal::understood).map(|(_, signal)| signal)
    };
    assert_eq!(signal(r#""SIGNAL_SIGTERM""#), Ok(15));
    assert_eq!(signal("9"), Ok(9));
    for bad in ["2", r#""SIGNAL_UNSPECIFIED""#, "null", r#""SIGHUP""#] {
        assert!(signal(bad).is_err(), "{bad}");
    }
}

#[test]
fn an_end_reads_as_e2b_writes_it() {
    let event = |end| contents(&super::end(end).unwrap())[0]["event"]["end"].clone();
    assert_eq!(event(CommandEnd::Exited(0)), json!({"exited": true, "status": "exit status 0"}));
    let words = "exit status 3";
    assert_eq!(
        event(CommandEnd::Exited(3)),
        json!({"exitCode": 3, "exited": true, "status": words, "error": words})
    );
    let words = "signal: killed";
    assert_eq!(event(CommandEnd::Signaled(9)), json!({"exitCode": -1, "status": words, "error": words}));
}

proptest! {
    #[test]
    fn output_comes_back_whole(bytes in proptest::collection::vec(any::<u8>(), 0..200), times in 1..500usize) {
        let output = bytes.repeat(times);
        let events = contents(&data(Stream::Stderr, output.clone().into()));
        let mut got = Vec::new();
        for event in &events {
            let part = STANDARD.decode(event["event"]["data"]["stderr"].as_str().unwrap()).unwrap();
            prop_assert!(part.len() <= EVENT_BYTES_MAX);
            got.extend(part);
        }
        prop_assert_eq!(got, output);
    }
}
