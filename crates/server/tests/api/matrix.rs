//! Who may use which route. The matrix is made from the table that the router is made from.

use crate::client::{Answer, Made, Server};
use server::e2b::{RouteInfo, all_routes};

const NOBODY: &str = "i00000000000000000000";

pub(crate) fn add(add: &mut impl FnMut(&'static str, fn(&Server))) {
    add("every_route_has_a_row", every_route_has_a_row);
    add("a_sandbox_of_another_key_is_not_there", a_sandbox_of_another_key_is_not_there);
    add("without_its_key_or_token_no_route_opens", without_its_key_or_token_no_route_opens);
    add("the_operator_sees_every_sandbox", the_operator_sees_every_sandbox);
    add("a_list_shows_one_keys_own", a_list_shows_one_keys_own);
}

/// The routes and what each asks for, as somebody decided. A new route fails here until it is decided for it, too.
const ROWS: &str = include_str!("matrix.txt");

fn row(route: &RouteInfo) -> String {
    let side = if route.in_sandbox { "sandbox" } else { "control" };
    let state = if route.implemented { "works" } else { "refused" };
    format!(
        "{side} {} {}: {}, {}, {}, {state}",
        route.method, route.path, route.auth, route.right, route.speaks
    )
}

fn every_route_has_a_row(_: &Server) {
    let rows: Vec<String> = all_routes().map(|route| row(&route)).collect();
    assert_eq!(rows.join("\n"), ROWS.trim_end());
}

pub(crate) fn path(route: &RouteInfo, id: &str) -> String {
    route.path.replace("{id}", id).replace("{*path}", "dir").replace(['{', '}'], "")
}

/// A body that the route would read.
pub(crate) fn body(route: &RouteInfo) -> &'static [u8] {
    match (route.speaks, route.path) {
        ("stream", _) => b"\0\0\0\0\x02{}",
        (_, "/files") => b"x",
        _ => br#"{"timeout":60}"#,
    }
}

fn kind(route: &RouteInfo) -> &'static str {
    match (route.speaks, route.path) {
        ("stream", _) => "application/connect+json",
        (_, "/files") => "application/octet-stream",
        _ => "application/json",
    }
}

/// What the answer says, without the id that was asked for.
fn said(answer: &Answer, id: &str) -> (u16, String) {
    (answer.status, String::from_utf8_lossy(&answer.body).replace(id, "ID"))
}

fn control(server: &Server, route: &RouteInfo, key: Option<&str>, id: &str) -> Answer {
    let headers: Vec<(&str, &str)> = key.map(|key| ("x-api-key", key)).into_iter().collect();
    server.ask(route.method, &path(route, id), &headers, body(route))
}

fn inside(server: &Server, route: &RouteInfo, made: &Made, token: Option<&str>) -> Answer {
    let mut headers = vec![
        ("e2b-sandbox-id", made.id.as_str()),
        ("e2b-sandbox-port", "49983"),
        ("content-type", kind(route)),
    ];
    headers.extend(token.map(|token| ("x-access-token", token)));
    server.ask(route.method, route.path, &headers, body(route))
}

fn a_sandbox_of_another_key_is_not_there(server: &Server) {
    let (mine, theirs) = (server.create(), server.create_for(&server.other_key));
    let mut tried = 0;
    for route in all_routes() {
        if route.in_sandbox {
            if route.auth == "open" {
                continue;
            }
            // The right to one sandbox is none to another, and says as little as no right at all.
            let answer = inside(server, &route, &mine, Some(&theirs.token));
            let nonsense = inside(server, &route, &mine, Some("0000000000000000000000000000000000000000"));
            assert_eq!(answer.status, 401, "{route:?}: {answer:?}");
            assert_eq!(said(&answer, &mine.id), said(&nonsense, &mine.id), "{route:?}");
        } else if route.path.contains("/sandboxes/{id}") && !route.path.starts_with("/events") {
            let answer = control(server, &route, Some(&server.other_key), &mine.id);
            let never = control(server, &route, Some(&server.other_key), NOBODY);
            assert_eq!(answer.status, 404, "{route:?}: {answer:?}");
            assert_eq!(said(&answer, &mine.id), said(&never, NOBODY), "{route:?}");
            assert_eq!(answer.json()["code"], 404, "{route:?}");
        } else {
            continue;
        }
        tried += 1;
    }
    assert!(tried > 30, "{tried}");
    // Nothing of all that reached it.
    assert_eq!(server.control("GET", &format!("/sandboxes/{}", mine.id), "").status, 200);
    server.kill(&mine);
}

fn without_its_key_or_token_no_route_opens(server: &Server) {
    let made = server.create();
    for route in all_routes() {
        if route.in_sandbox {
            let wanted = if route.auth == "open" { 204 } else { 401 };
            for token in [None, Some(""), Some("wrong"), Some(server.key.as_str())] {
                let answer = inside(server, &route, &made, token);
                assert_eq!(answer.status, wanted, "{route:?}: {answer:?}");
            }
            let mut gone = made.clone();
            gone.id = NOBODY.to_owned();
            let answer = inside(server, &route, &gone, Some(&made.token));
            assert_eq!(
                (answer.status, &answer.json()["message"]),
                (502, &"The sandbox was not found".into()),
                "{route:?}"
            );
        } else {
            let wanted = if route.auth == "open" { 200 } else { 401 };
            for key in [
                None,
                Some(""),
                Some("e2b_0000000000000000000000000000000000000000"),
                Some(made.token.as_str()),
            ] {
                let answer = control(server, &route, key, &made.id);
                assert_eq!(answer.status, wanted, "{route:?}: {answer:?}");
                if wanted == 401 {
                    assert_eq!(answer.json()["code"], 401, "{route:?}");
                }
            }
        }
    }
    server.kill(&made);
}

fn the_operator_sees_every_sandbox(server: &Server) {
    let made = [server.create(), server.create_for(&server.other_key)];
    let stream = std::os::unix::net::UnixStream::connect(server.local()).unwrap();
    let mut operator = crate::client::Connection::over(stream);
    let listed = operator.ask("GET", "/v2/sandboxes", &[], b"").json();
    for made in &made {
        assert!(
            listed.as_array().unwrap().iter().any(|one| one["sandboxID"] == made.id.as_str()),
            "{listed}"
        );
        let headers = [("e2b-sandbox-id", made.id.as_str()), ("e2b-sandbox-port", "49983")];
        let headers = [&headers[..], &[("content-type", "application/json")]].concat();
        assert_eq!(operator.ask("POST", "/process.Process/List", &headers, b"{}").status, 200);
        assert_eq!(operator.ask("DELETE", &format!("/sandboxes/{}", made.id), &[], b"").status, 204);
    }
    // But a sandbox is somebody's, also when the operator asks for it.
    assert_eq!(operator.ask("POST", "/v2/sandboxes", &[], br#"{"templateID":"base"}"#).status, 401);
}

fn a_list_shows_one_keys_own(server: &Server) {
    let made = server.create();
    for path in ["/sandboxes", "/v2/sandboxes"] {
        let listed = |key: &str| server.ask("GET", path, &[("x-api-key", key)], b"").json();
        let has = |key: &str| {
            listed(key).as_array().unwrap().iter().any(|one| one["sandboxID"] == made.id.as_str())
        };
        assert!(has(&server.key) && !has(&server.other_key));
    }
    server.kill(&made);
}
