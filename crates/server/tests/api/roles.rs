//! What a key's roles open. The matrix is made from the table that the router is made from.

use crate::client::{Answer, Server};
use crate::matrix::{body, path};
use model::{Quota, Reach, Right, Role};
use server::e2b::{RouteInfo, all_routes};
use std::sync::atomic::{AtomicUsize, Ordering};

pub(crate) fn add(add: &mut impl FnMut(&'static str, fn(&Server))) {
    add("a_route_opens_for_the_roles_that_carry_its_right", a_route_opens_for_its_roles);
    add("an_operator_sees_and_ends_every_sandbox_and_works_in_none", operators);
    add("an_auditor_sees_every_sandbox_and_changes_nothing", auditors);
    add("what_a_role_does_not_carry_is_refused_and_on_record", refusals);
    add("a_key_has_no_more_sandboxes_than_it_may_however_many_ask_at_once", at_once);
    add("the_sums_of_a_key_are_bounded", sums);
    add("a_key_makes_sandboxes_no_faster_than_it_may", too_fast);
}

const RIGHTS: [Right; 7] =
    [Right::Create, Right::Use, Right::See, Right::End, Right::Approve, Right::Widen, Right::Audit];

fn right(route: &RouteInfo) -> Right {
    RIGHTS.into_iter().find(|right| right.as_str() == route.right).unwrap()
}

fn ask(server: &Server, route: &RouteInfo, key: &str, id: &str) -> Answer {
    server.ask(route.method, &path(route, id), &[("x-api-key", key)], body(route))
}

fn denial(answer: &Answer) -> serde_json::Value {
    answer.json()["denial"].clone()
}

fn a_route_opens_for_its_roles(server: &Server) {
    // Somebody else's, and not the creator's whose key is tried.
    let (mut opened, mut closed) = (0, 0);
    for route in all_routes().filter(|route| !route.in_sandbox && route.auth != "open") {
        for (role, key) in Role::ALL.into_iter().zip(&server.role_keys) {
            let made = server.create();
            let answer = ask(server, &route, key, &made.id);
            let case = format!("{role} {route:?}: {answer:?}");
            let names_sandbox = route.path.contains("/sandboxes/{id}");
            match role.reach(right(&route)) {
                None => {
                    assert_eq!(
                        (answer.status, denial(&answer)["code"].as_str()),
                        (403, Some("role")),
                        "{case}"
                    );
                    assert_eq!(answer.json()["code"], 403, "{case}");
                    closed += 1;
                }
                Some(Reach::Own) if names_sandbox => assert_eq!(answer.status, 404, "{case}"),
                Some(_) => {
                    assert!(![401, 403, 404].contains(&answer.status), "{case}");
                    opened += 1;
                }
            }
            // It is there still, unless who may end all ended it.
            let there = server.control("GET", &format!("/sandboxes/{}", made.id), "").status;
            let ended = route.right == "end" && role == Role::Operator;
            assert_eq!(there, if ended { 404 } else { 200 }, "{case}");
            if !ended {
                server.kill(&made);
            }
            if answer.status == 201 {
                let id = answer.json()["sandboxID"].as_str().unwrap().to_owned();
                server.ask("DELETE", &format!("/sandboxes/{id}"), &[("x-api-key", key)], b"");
            }
        }
    }
    assert!(opened > 30 && closed > 60, "{opened} {closed}");
}

fn key(server: &Server, role: Role) -> &str {
    &server.role_keys[role as usize]
}

fn operators(server: &Server) {
    let made = server.create();
    let key = [("x-api-key", key(server, Role::Operator))];
    let listed = server.ask("GET", "/v2/sandboxes", &key, b"").json();
    assert!(listed.as_array().unwrap().iter().any(|one| one["sandboxID"] == made.id.as_str()), "{listed}");
    let path = format!("/sandboxes/{}", made.id);
    let detail = server.ask("GET", &path, &key, b"");
    assert_eq!(detail.status, 200, "{detail:?}");
    // Nothing that it is told opens the sandbox.
    assert!(!String::from_utf8_lossy(&detail.body).contains(&made.token), "{detail:?}");
    for path in [format!("{path}/connect"), format!("{path}/timeout")] {
        let answer = server.ask("POST", &path, &key, br#"{"timeout":60}"#);
        assert_eq!((answer.status, denial(&answer)["rule"].as_str()), (403, Some("role.use")), "{answer:?}");
    }
    assert_eq!(server.ask("DELETE", &path, &key, b"").status, 204);
    assert_eq!(server.control("GET", &path, "").status, 404);
}

fn auditors(server: &Server) {
    let made = server.create();
    let key = [("x-api-key", key(server, Role::Auditor))];
    let path = format!("/sandboxes/{}", made.id);
    let detail = server.ask("GET", &path, &key, b"");
    assert_eq!(detail.status, 200, "{detail:?}");
    assert!(!String::from_utf8_lossy(&detail.body).contains(&made.token), "{detail:?}");
    let answer = server.ask("DELETE", &path, &key, b"");
    assert_eq!((answer.status, denial(&answer)["rule"].as_str()), (403, Some("role.end")), "{answer:?}");
    let answer = server.ask("POST", "/v2/sandboxes", &key, br#"{"templateID":"base"}"#);
    assert_eq!((answer.status, denial(&answer)["rule"].as_str()), (403, Some("role.create")), "{answer:?}");
    server.kill(&made);
}

fn refusals(server: &Server) {
    let key = [("x-api-key", key(server, Role::Approver))];
    let answer = server.ask("POST", "/v2/sandboxes", &key, br#"{"templateID":"base"}"#);
    let said = denial(&answer);
    assert_eq!(answer.status, 403, "{answer:?}");
    assert!(said["asked"].as_str().unwrap().starts_with("POST /v2/sandboxes with the key k"), "{said}");
    assert_eq!(said["how_to_ask"], "ask with a key that is creator: `casemate key create --role`");
    // An observation is written a moment later, and at the latest before what is caused next.
    let made = server.create();
    let records = server.records();
    let recorded = records.iter().any(|record| {
        record["event"] == "denial" && record["asked"] == said["asked"] && record["key"].is_string()
    });
    assert!(recorded, "{said}");
    server.kill(&made);
}

const CREATE: &[u8] = br#"{"templateID":"base"}"#;

fn at_once(server: &Server) {
    let key = server.key_with(Quota { sandboxes: Some(3), ..Quota::NONE });
    let (made, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let ids = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| {
                let answer = server.ask("POST", "/v2/sandboxes", &[("x-api-key", &key)], CREATE);
                match answer.status {
                    201 => {
                        made.fetch_add(1, Ordering::Relaxed);
                        ids.lock().unwrap().push(answer.json()["sandboxID"].as_str().unwrap().to_owned());
                    }
                    429 => {
                        refused.fetch_add(1, Ordering::Relaxed);
                        assert_eq!(denial(&answer)["rule"], "quota.sandboxes", "{answer:?}");
                        assert_eq!(denial(&answer)["nearest_allowed"], "3 at one time");
                        assert!(!answer.headers.iter().any(|(name, _)| name == "retry-after"), "{answer:?}");
                    }
                    _ => panic!("{answer:?}"),
                }
            });
        }
    });
    assert_eq!((made.into_inner(), refused.into_inner()), (3, 9));
    let ids = ids.into_inner().unwrap();
    let headers = [("x-api-key", key.as_str())];
    assert_eq!(server.ask("DELETE", &format!("/sandboxes/{}", ids[0]), &headers, b"").status, 204);
    let again = server.ask("POST", "/v2/sandboxes", &headers, CREATE);
    assert_eq!(again.status, 201, "{again:?}");
    let last = again.json()["sandboxID"].as_str().unwrap().to_owned();
    for id in ids[1..].iter().chain([&last]) {
        server.ask("DELETE", &format!("/sandboxes/{id}"), &headers, b"");
    }
}

fn sums(server: &Server) {
    let text = policy::shipped("default").unwrap();
    let limits = policy::Policy::parse(text.as_bytes(), "default").unwrap().limits();
    let cpus = Quota { cpu_milli: Some(u64::from(limits.cpu_milli) * 2 - 1), ..Quota::NONE };
    let memory = Quota { memory_bytes: Some(limits.memory_bytes * 2 - 1), ..Quota::NONE };
    for (quota, rule) in [(cpus, "quota.cpus"), (memory, "quota.memory")] {
        let key = server.key_with(quota);
        let made = server.create_for(&key);
        let answer = server.ask("POST", "/sandboxes", &[("x-api-key", &key)], CREATE);
        assert_eq!((answer.status, answer.json()["code"].as_u64()), (429, Some(429)), "{answer:?}");
        assert_eq!((&denial(&answer)["code"], &denial(&answer)["rule"]), (&"quota".into(), &rule.into()));
        server.ask("DELETE", &format!("/sandboxes/{}", made.id), &[("x-api-key", &key)], b"");
    }
}

fn too_fast(server: &Server) {
    let key = server.key_with(Quota { creates_per_second_milli: Some(1), ..Quota::NONE });
    let made = server.create_for(&key);
    let answer = server.ask("POST", "/v2/sandboxes", &[("x-api-key", &key)], CREATE);
    assert_eq!(answer.status, 429, "{answer:?}");
    assert_eq!(denial(&answer)["rule"], "quota.creates-per-second");
    let wait = answer.headers.iter().find(|(name, _)| name == "retry-after").unwrap();
    assert!((1..=1000).contains(&wait.1.parse::<u32>().unwrap()), "{wait:?}");
    server.ask("DELETE", &format!("/sandboxes/{}", made.id), &[("x-api-key", &key)], b"");
}
