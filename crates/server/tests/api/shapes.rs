//! What is refused, and in which shape.

use crate::client::{Server, events};
use server::e2b::all_routes;

pub(crate) fn add(add: &mut impl FnMut(&'static str, fn(&Server))) {
    add("what_is_not_implemented_is_refused_by_name", what_is_not_implemented_is_refused_by_name);
    add("fields_of_a_creation_are_refused_by_name", fields_of_a_creation_are_refused_by_name);
    add("what_is_no_route_is_not_found", what_is_no_route_is_not_found);
    add("a_request_is_addressed_by_headers_or_host_or_not_at_all", addressed);
    add("browsers_may_ask", browsers_may_ask);
    add("a_template_is_base_or_not_there", templates);
    add("a_denial_has_five_fields_in_every_shape", denials);
}

/// Root, which the policy does not grant, by way of each of the three shapes.
fn denials(server: &Server) {
    let made = server.create();
    let wanted = |asked: &str, how: &str| {
        serde_json::json!({
            "code": "root", "rule": "root", "asked": asked, "nearest_allowed": "the same as the ordinary user",
            "how_to_ask": format!("{how} it as the ordinary user, or write `root = true` in the policy"),
        })
    };
    let root = ("authorization", "Basic cm9vdDo=");
    let answer = server.ask("GET", "/files?path=/etc/passwd&username=root", &made.headers(), b"");
    assert_eq!((answer.status, &answer.json()["code"]), (403, &403.into()), "{answer:?}");
    assert_eq!(answer.json()["denial"], wanted("read `/etc/passwd` as root", "do"));

    let unary = made.with(&[("content-type", "application/json"), root]);
    let answer = server.ask("POST", "/filesystem.Filesystem/MakeDir", &unary, br#"{"path":"/tmp/a"}"#);
    let detail = &answer.json()["details"][0];
    assert_eq!((answer.status, &answer.json()["code"]), (403, &"permission_denied".into()), "{answer:?}");
    assert_eq!(detail["type"], "google.rpc.ErrorInfo");
    assert_eq!(detail["debug"], wanted("make-dir `/tmp/a` as root", "do"));

    let stream = made.with(&[("content-type", "application/connect+json"), root]);
    let message = server::e2b::frame::message(br#"{"process":{"cmd":"/bin/true"}}"#);
    let (_, last) = events(&server.ask("POST", "/process.Process/Start", &stream, &message));
    let error = &last["error"];
    assert_eq!(error["code"], "permission_denied", "{last}");
    assert_eq!(error["details"][0]["debug"], wanted("run `/bin/true` as root", "run"));

    // Who is inside is told as well: all three are there within a second, and the latest is the first.
    let end = std::time::Instant::now() + std::time::Duration::from_secs(1);
    let told = loop {
        let answer = server.ask("GET", "/files?path=/.casemate/denials", &made.headers(), b"");
        assert_eq!(answer.status, 200, "{answer:?}");
        let told = String::from_utf8(answer.body).unwrap();
        if told.contains("run `/bin/true` as root") || std::time::Instant::now() > end {
            break told;
        }
    };
    let place = |what: &str| told.find(&format!("  root: {what} as root\n    rule: root\n")).expect(&told);
    assert!(place("run `/bin/true`") < place("make-dir `/tmp/a`"), "{told}");
    assert!(place("make-dir `/tmp/a`") < place("read `/etc/passwd`"), "{told}");
    let message = server::e2b::frame::message(br#"{"process":{"cmd":"casemate-why"}}"#);
    let headers = made.with(&[("content-type", "application/connect+json")]);
    let (said, last) = events(&server.ask("POST", "/process.Process/Start", &headers, &message));
    assert!(last["error"].is_null() && format!("{said:?}").contains("exit status 0"), "{said:?} {last}");
    assert_eq!(server.ask("POST", "/files?path=/.casemate/denials", &headers, b"x").status / 100, 4);
    server.kill(&made);
}

fn what_is_not_implemented_is_refused_by_name(server: &Server) {
    let made = server.create();
    for route in all_routes().filter(|route| !route.implemented) {
        let path = route.path.replace("{id}", &made.id).replace("{*path}", "dir").replace(['{', '}'], "");
        let (answer, message) = match (route.in_sandbox, route.speaks) {
            (true, "stream") => {
                let headers = made.with(&[("content-type", "application/connect+json")]);
                let answer = server.ask(route.method, &path, &headers, b"\0\0\0\0\x02{}");
                let (_, last) = events(&answer);
                assert_eq!(
                    (answer.status, &last["error"]["code"]),
                    (200, &"unimplemented".into()),
                    "{route:?}"
                );
                (answer, last["error"]["message"].clone())
            }
            (true, speaks) => {
                let headers = made.with(&[("content-type", "application/json")]);
                let answer = server.ask(route.method, &path, &headers, b"{}");
                let code = answer.json()["code"].clone();
                assert_eq!(
                    code,
                    if speaks == "unary" { "unimplemented".into() } else { serde_json::json!(501) }
                );
                (answer.clone(), answer.json()["message"].clone())
            }
            (false, _) => {
                let answer = server.control(route.method, &path, "{}");
                assert_eq!(
                    (answer.status, &answer.json()["code"]),
                    (501, &501.into()),
                    "{route:?}: {answer:?}"
                );
                (answer.clone(), answer.json()["message"].clone())
            }
        };
        let message = message.as_str().unwrap_or_default();
        assert!(message.ends_with("is not implemented by this server"), "{route:?}: {answer:?}");
    }
    server.kill(&made);
}

fn fields_of_a_creation_are_refused_by_name(server: &Server) {
    let refused = [
        ("autoPause", "true"),
        ("autoPauseMemory", "true"),
        ("autoResume", r#"{"enabled":true}"#),
        ("network", r#"{"allowOut":["1.1.1.1"]}"#),
        ("mcp", "{}"),
        ("iam", r#"{"tokens":{}}"#),
        ("volumeMounts", r#"[{"name":"a","path":"/b"}]"#),
        ("somethingNew", "1"),
        ("timeout", r#""soon""#),
        ("metadata", r#"{"a":1}"#),
        ("envVars", r#"{"A=B":"c"}"#),
    ];
    for (field, value) in refused {
        for path in ["/sandboxes", "/v2/sandboxes"] {
            let answer =
                server.control("POST", path, &format!(r#"{{"templateID":"base","{field}":{value}}}"#));
            let said = answer.json();
            assert_eq!((answer.status, &said["code"]), (400, &400.into()), "{field}: {said}");
            assert!(said["message"].as_str().unwrap().contains(field), "{field}: {said}");
        }
    }
    for timeout in ["0", "-1", "86401", "9223372036854775807"] {
        let answer = server.control(
            "POST",
            "/v2/sandboxes",
            &format!(r#"{{"templateID":"base","timeout":{timeout}}}"#),
        );
        assert_eq!(answer.status, 400, "{timeout}: {answer:?}");
    }
    let key = [("x-api-key", server.key.as_str()), ("idempotency-key", "a")];
    let answer = server.ask("POST", "/v2/sandboxes", &key, br#"{"templateID":"base"}"#);
    assert_eq!(answer.status, 400, "{answer:?}");
    // What asks for nothing beyond what there is, is no reason to refuse.
    let body = r#"{"templateID":"base","timeout":60,"autoPause":false,"autoResume":{"enabled":false},"network":null,
        "secure":true,"allow_internet_access":false,"mcp":null,"metadata":{},"envVars":{},"volumeMounts":[]}"#;
    let answer = server.control("POST", "/sandboxes", body);
    assert_eq!(answer.status, 201, "{answer:?}");
    let id = answer.json()["sandboxID"].as_str().unwrap().to_owned();
    assert_eq!(server.control("DELETE", &format!("/sandboxes/{id}"), "").status, 204);
}

fn what_is_no_route_is_not_found(server: &Server) {
    let made = server.create();
    for path in ["/", "/nothing", "/sandboxes/", "/v2/sandboxes/x/y", "//sandboxes", "/sandboxes/../health"] {
        assert_eq!(server.control("GET", path, "").status, 404, "{path}");
    }
    for path in
        ["/init", "/freeze", "/unfreeze", "/collapse", "/fsfreeze", "/fsthaw", "/upgrade", "/sandboxes"]
    {
        assert_eq!(server.ask("POST", path, &made.headers(), b"{}").status, 404, "{path}");
    }
    let answer = server.control("PUT", "/v2/sandboxes", "{}");
    assert_eq!((answer.status, answer.header("allow")), (405, Some("POST, GET")), "{answer:?}");
    for (id, status) in
        [("nonexistingsandbox", 404), ("i-x", 404), ("UPPER", 400), ("a%2Fb", 400), ("%ff", 400)]
    {
        let answer = server.control("GET", &format!("/sandboxes/{id}"), "");
        assert_eq!((answer.status, &answer.json()["code"]), (status, &status.into()), "{id}: {answer:?}");
    }
    // Its id, with the name of a node as it was once written.
    assert_eq!(server.control("GET", &format!("/sandboxes/{}-6532622b", made.id), "").status, 200);
    server.kill(&made);
}

fn addressed(server: &Server) {
    let made = server.create();
    let host = format!("49983-{}.example.org", made.id);
    assert_eq!(server.ask("GET", "/health", &[("host", &host)], b"").status, 204);
    assert_eq!(server.ask("GET", "/health", &[], b"").status, 200);
    let id = ("e2b-sandbox-id", made.id.as_str());
    assert_eq!(server.ask("GET", "/health", &[id], b"").status, 400);
    assert_eq!(server.ask("GET", "/health", &[id, id, ("e2b-sandbox-port", "49983")], b"").status, 400);
    assert_eq!(server.ask("GET", "/health", &[id, ("e2b-sandbox-port", "0")], b"").status, 400);
    let answer = server.ask("GET", "/", &[id, ("e2b-sandbox-port", "8080")], b"");
    let said = answer.json();
    assert_eq!(
        (answer.status, &said["port"], answer.header("should-retry")),
        (502, &8080.into(), Some("false"))
    );
    assert_eq!(said["message"], "The sandbox is running but port is not open");
    server.kill(&made);
    let answer = server.ask("GET", "/health", &made.headers(), b"");
    let said = serde_json::json!({"sandboxId": made.id, "message": "The sandbox was not found", "code": 502});
    assert_eq!((answer.status, answer.json()), (502, said));
}

fn browsers_may_ask(server: &Server) {
    let headers = [("origin", "https://example.org"), ("access-control-request-headers", "x-api-key")];
    let answer = server.ask("OPTIONS", "/v2/sandboxes", &headers, b"");
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (204, Some("*")));
    assert_eq!(answer.header("access-control-allow-headers"), Some("x-api-key"));
    assert_eq!(server.ask("GET", "/sandboxes", &[], b"").header("access-control-allow-origin"), Some("*"));
}

fn templates(server: &Server) {
    let create = |name: &str| {
        server.control("POST", "/v2/sandboxes", &serde_json::json!({"templateID": name}).to_string())
    };
    assert_eq!(create("code-interpreter-v1").status, 404);
    for name in ["tiny", "tiny:default"] {
        let made = create(name);
        assert_eq!((made.status, &made.json()["templateID"]), (201, &"tiny".into()), "{made:?}");
        let path = format!("/sandboxes/{}", made.json()["sandboxID"].as_str().unwrap());
        // A tenth of the default's memory, and a minute's life: more is beyond it, by that rule.
        assert_eq!(server.control("GET", &path, "").json()["memoryMB"], 200);
        let answer = server.control("POST", &format!("{path}/timeout"), r#"{"timeout":61}"#);
        let denial = answer.json()["denial"].clone();
        assert_eq!(
            (answer.status, &denial["code"], &denial["rule"]),
            (400, &"ceiling".into(), &"compute.wall".into())
        );
        assert_eq!(server.control("DELETE", &path, "").status, 204);
    }
    let answer = server.control("POST", "/v2/sandboxes", r#"{"templateID":"tiny","timeout":61}"#);
    let denial = answer.json()["denial"].clone();
    assert_eq!(
        (answer.status, &denial["code"], &denial["nearest_allowed"]),
        (400, &"ceiling".into(), &"60 s".into())
    );
    assert_eq!(create("base:v1").status, 404);
    assert_eq!(create("").status, 400);
    assert_eq!(create("a b\u{1b}[2J").status, 400);
}
