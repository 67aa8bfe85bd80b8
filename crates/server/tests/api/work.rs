//! The everyday work: commands and files.

use crate::client::{Made, Server, events, framed};
use serde_json::json;

pub(crate) fn add(add: &mut impl FnMut(&'static str, fn(&Server))) {
    add("a_command_runs_and_its_streams_and_status_come_back", commands);
    add("a_command_that_outlives_its_time_is_killed", deadline);
    add("a_stream_ends_at_its_time_though_its_command_never_pauses", limit);
    add("a_silent_stream_says_that_it_lives", keepalive);
    add("files_come_back_as_they_were_sent", files);
    add("a_form_writes_its_files", forms);
    add("a_signed_address_opens_one_file", signed);
    add("a_refused_user_is_named", users);
    add("a_long_directory_is_listed_whole", lists);
    add("a_time_that_nobody_asked_for_is_one_that_is_allowed", times);
}

fn start(
    made: &Made,
    server: &Server,
    message: &serde_json::Value,
    headers: &[(&str, &str)],
) -> crate::client::Answer {
    let headers = [made.with(&[("content-type", "application/connect+json")]), headers.to_vec()].concat();
    server.ask("POST", "/process.Process/Start", &headers, &framed(message))
}

fn shell(script: &str) -> serde_json::Value {
    json!({"process": {"cmd": "/bin/sh", "args": ["-c", script]}, "stdin": false})
}

fn commands(server: &Server) {
    let made = server.create();
    let (events_, last) = events(&start(&made, server, &shell("echo out; echo err >&2; exit 3"), &[]));
    assert!(events_[0]["event"]["start"]["pid"].is_u64(), "{events_:?}");
    let seen = |stream: &str| {
        events_.iter().filter_map(|event| event["event"]["data"][stream].as_str()).collect::<String>()
    };
    assert_eq!((seen("stdout").as_str(), seen("stderr").as_str()), ("b3V0Cg==", "ZXJyCg=="));
    let end = &events_.last().unwrap()["event"]["end"];
    assert_eq!(
        end,
        &json!({"exitCode": 3, "exited": true, "status": "exit status 3", "error": "exit status 3"})
    );
    assert_eq!(last, json!({}));
    let (_, last) =
        events(&start(&made, server, &json!({"process": {"cmd": "/bin/sh", "cwd": "/nowhere"}}), &[]));
    assert_eq!(last["error"]["code"], "invalid_argument");
    assert_eq!(last["error"]["message"], "cwd '/nowhere' does not exist");
    server.kill(&made);
}

fn deadline(server: &Server) {
    let made = server.create();
    let begun = std::time::Instant::now();
    let (_, last) = events(&start(&made, server, &shell("exec sleep 60"), &[("connect-timeout-ms", "300")]));
    assert_eq!(last["error"]["code"], "deadline_exceeded");
    assert!(begun.elapsed() < std::time::Duration::from_secs(20));
    let answer = server.ask(
        "POST",
        "/process.Process/List",
        &made.with(&[("content-type", "application/json")]),
        b"{}",
    );
    assert_eq!(answer.json(), json!({"processes": []}));
    server.kill(&made);
}

fn limit(server: &Server) {
    let made = server.create();
    let headers = made.with(&[("content-type", "application/connect+json")]);
    let tagged =
        json!({"process": {"cmd": "/usr/bin/timeout", "args": ["5", "cat", "/dev/zero"]}, "tag": "t"});
    let mut first = server.connect();
    first.send("POST", "/process.Process/Start", &headers, &framed(&tagged));
    let unary = made.with(&[("content-type", "application/json")]);
    let running = || server.ask("POST", "/process.Process/List", &unary, b"{}").json()["processes"].clone();
    let begun = std::time::Instant::now();
    while running() == json!([]) {
        assert!(begun.elapsed() < std::time::Duration::from_secs(20));
    }
    drop(first);
    let limited = [headers, vec![("connect-timeout-ms", "300")]].concat();
    let asked = framed(&json!({"process": {"tag": "t"}}));
    let (events_, last) = events(&server.ask("POST", "/process.Process/Connect", &limited, &asked));
    assert!(events_.len() > 1, "{events_:?}");
    assert_eq!(last["error"]["code"], "deadline_exceeded");
    assert_ne!(running(), json!([]));
    server.kill(&made);
}

fn keepalive(server: &Server) {
    let made = server.create();
    let (events_, _) =
        events(&start(&made, server, &shell("sleep 2.5"), &[("keepalive-ping-interval", "1")]));
    let alive = events_.iter().filter(|event| event["event"]["keepalive"].is_object()).count();
    assert!((1..=3).contains(&alive), "{events_:?}");
    server.kill(&made);
}

fn files(server: &Server) {
    let made = server.create();
    let octets = ("content-type", "application/octet-stream");
    for size in [0, 1, 65_537, 3_000_000] {
        let content: Vec<u8> = (0..size).map(|n: u32| (n % 251) as u8).collect();
        let answer = server.ask("POST", "/files?path=a%20b.txt", &made.with(&[octets]), &content);
        assert_eq!(answer.json(), json!([{"name": "a b.txt", "type": "file", "path": "/home/user/a b.txt"}]));
        let answer = server.ask("GET", "/files?path=~/a%20b.txt", &made.headers(), b"");
        assert_eq!((answer.status, answer.header("content-length")), (200, Some(size.to_string().as_str())));
        assert_eq!(answer.header("content-disposition"), Some("inline; filename*=UTF-8''a%20b.txt"));
        assert!(answer.body == content, "of {size} bytes");
    }
    // The kernel's own files say to be empty.
    let answer = server.ask("GET", "/files?path=/proc/sys/kernel/random/boot_id", &made.headers(), b"");
    assert_eq!((answer.status, answer.body.len()), (200, 37));
    for (path, status) in [("/nowhere", 404), ("/tmp", 400), ("", 400)] {
        let answer = server.ask("GET", &format!("/files?path={path}"), &made.headers(), b"");
        assert_eq!((answer.status, &answer.json()["code"]), (status, &status.into()), "{path}: {answer:?}");
    }
    let packed = [octets, ("content-encoding", "gzip")];
    // printf hello | gzip -n
    let gzip = b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xcbH\xcd\xc9\xc9\x07\0\x86\xa6\x106\x05\0\0\0";
    assert_eq!(server.ask("POST", "/files?path=/tmp/p", &made.with(&packed), gzip).status, 200);
    assert_eq!(server.ask("GET", "/files?path=/tmp/p", &made.headers(), b"").body, b"hello");
    assert_eq!(server.ask("POST", "/files?path=/tmp/q", &made.with(&packed), &gzip[..20]).status, 400);
    let metadata = [octets, ("x-metadata-a", "b")];
    assert_eq!(server.ask("POST", "/files?path=/tmp/p", &made.with(&metadata), b"x").status, 400);
    server.kill(&made);
}

fn forms(server: &Server) {
    let made = server.create();
    let kind = ("content-type", "multipart/form-data; boundary=XX");
    let form = b"--XX\r\ncontent-disposition: form-data; name=\"file\"; filename=\"/tmp/one\"\r\n\r\n1\r\n--XX\r\ncontent-disposition: form-data; name=\"file\"; filename=\"two\"\r\n\r\n22\r\n--XX--\r\n";
    let answer = server.ask("POST", "/files", &made.with(&[kind]), form);
    let wanted = json!([
        {"name": "one", "type": "file", "path": "/tmp/one"}, {"name": "two", "type": "file", "path": "/home/user/two"}
    ]);
    assert_eq!((answer.status, answer.json()), (200, wanted));
    assert_eq!(server.ask("GET", "/files?path=two", &made.headers(), b"").body, b"22");
    let one = b"--XX\r\ncontent-disposition: form-data; name=\"file\"\r\n\r\ntext\r\n--XX--\r\n";
    assert_eq!(server.ask("POST", "/files?path=/tmp/three", &made.with(&[kind]), one).status, 200);
    assert_eq!(server.ask("GET", "/files?path=/tmp/three", &made.headers(), b"").body, b"text");
    assert_eq!(server.ask("POST", "/files?path=/tmp/three", &made.with(&[kind]), form).status, 400);
    assert_eq!(server.ask("POST", "/files", &made.with(&[kind]), one).status, 400);
    assert_eq!(server.ask("POST", "/files?path=/tmp/f", &made.with(&[kind]), &one[..60]).status, 400);
    server.kill(&made);
}

fn signed(server: &Server) {
    use base64::Engine;
    use sha2::Digest;
    let (made, other) = (server.create(), server.create());
    let octets = ("content-type", "application/octet-stream");
    for made in [&made, &other] {
        assert_eq!(
            server.ask("POST", "/files?path=/tmp/s", &made.with(&[octets]), made.id.as_bytes()).status,
            200
        );
    }
    let sign = |text: &str| {
        let hash = sha2::Sha256::digest(format!("{text}:{}", made.token));
        base64::engine::general_purpose::STANDARD_NO_PAD.encode(hash).replace('+', "%2B").replace('/', "%2F")
    };
    let read = sign("/tmp/s:read:");
    let answer = server.ask("GET", &format!("/files?path=/tmp/s&signature=v1_{read}"), &[], b"");
    assert_eq!((answer.status, answer.body), (200, made.id.clone().into_bytes()));
    for bad in [
        format!("path=/tmp/t&signature=v1_{read}"),
        "path=/tmp/s&signature=v1_x".to_owned(),
        "path=/tmp/s".to_owned(),
    ] {
        assert_eq!(server.ask("GET", &format!("/files?{bad}"), &[], b"").status, 401, "{bad}");
    }
    let at = format!("/files?path=/tmp/s&signature=v1_{read}");
    assert_eq!(server.ask("POST", &at, &[octets], b"x").status, 401);
    let expired = sha2::Sha256::digest(format!("/tmp/s:read::{}:1", made.token));
    let expired = base64::engine::general_purpose::STANDARD_NO_PAD
        .encode(expired)
        .replace('+', "%2B")
        .replace('/', "%2F");
    let answer = server.ask(
        "GET",
        &format!("/files?path=/tmp/s&signature_expiration=1&signature=v1_{expired}"),
        &[],
        b"",
    );
    assert_eq!(answer.body, br#"{"code":401,"message":"signature is already expired"}"#);
    server.kill(&made);
    assert_eq!(server.ask("GET", &at, &[], b"").status, 401);
    server.kill(&other);
}

fn users(server: &Server) {
    let made = server.create();
    let headers = made.with(&[("content-type", "application/json"), ("authorization", "Basic bm9ib2R5Og==")]);
    let answer = server.ask("POST", "/filesystem.Filesystem/Stat", &headers, br#"{"path":"/"}"#);
    assert_eq!(
        (answer.status, answer.json()),
        (401, json!({"code": "unauthenticated", "message": "invalid username: 'nobody'"}))
    );
    let answer = server.ask("GET", "/files?path=/x&username=nobody", &made.headers(), b"");
    assert_eq!(
        (answer.status, answer.json()),
        (401, json!({"code": 401, "message": "invalid username: 'nobody'"}))
    );
    server.kill(&made);
}

fn lists(server: &Server) {
    let made = server.create();
    let script = "mkdir /tmp/d && cd /tmp/d && i=0; while [ $i -lt 600 ]; do : > f$i; i=$((i+1)); done";
    events(&start(&made, server, &shell(script), &[]));
    let list = |path: &str| {
        let headers = made.with(&[("content-type", "application/json")]);
        server
            .ask(
                "POST",
                "/filesystem.Filesystem/ListDir",
                &headers,
                json!({"path": path}).to_string().as_bytes(),
            )
            .json()
    };
    let mut names: Vec<String> = (0..600).map(|n| format!("f{n}")).collect();
    names.sort();
    let listed = list("/tmp/d");
    let listed: Vec<&str> =
        listed["entries"].as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap()).collect();
    assert_eq!(listed, names);
    events(&start(&made, server, &shell("mkdir /tmp/e"), &[]));
    assert_eq!(list("/tmp/e"), json!({"entries": []}));
    assert_eq!(list("/nowhere")["code"], "not_found");
    server.kill(&made);
}

fn times(server: &Server) {
    let made = server.create();
    let ask =
        |path: &str, body: &str| server.control("POST", &format!("{path}/{}/connect", made.id), body).status;
    assert_eq!(ask("/v2/sandboxes", ""), 200);
    assert_eq!(ask("/v2/sandboxes", r#"{"timeout":60,"memory":false}"#), 200);
    assert_eq!(ask("/v2/sandboxes", r#"{"timeout":86400}"#), 400);
    assert_eq!(ask("/sandboxes", "{}"), 400);
    assert_eq!(ask("/sandboxes", "[60]"), 400);
    server.kill(&made);
}
