//! A sandbox from its order to its end.

use crate::agents::run;
use crate::in_both_profiles;
use crate::place::{Place, Who, boot_ns, draw_id, is_over};
use agent::{Agent, End};
use model::{Lease, LimitHit, SandboxId, Then, Wall};
use node::launcher::protocol::{Order, Reason, RefusalKind, Report};
use std::time::{Duration, Instant};

in_both_profiles! {
    a_sandbox_is_built_runs_a_command_and_ends
    a_deadline_ends_it_and_can_be_moved
    its_wall_clock_limit_ends_it
    one_that_ends_by_itself_is_told_of
    refused_calls_are_told_of_once_each_and_counted
    terminals_are_opened_from_outside
    zones_that_cannot_be_used_are_refused
}

fn a_sandbox_is_built_runs_a_command_and_ends(place: &Place) {
    let server = place.server();
    let (id, built) = server.sandbox();
    assert!(built.standing.walls.has(Wall::Seccomp));
    assert_eq!(built.standing.profile, if place.who == Who::Root { "root" } else { "user" });
    assert!(built.standing.first_pid > 1);
    let mut agent = Agent::over(built.control);
    assert_eq!(run(&mut agent, 1, "id -u; pwd"), ("1000\n/\n".to_owned(), End::Exited(0)));
    let ended = server.end(id);
    assert_eq!(ended.reason, Reason::Killed);
    assert_eq!(ended.hits, []);
    assert!(is_over(built.first, Duration::ZERO), "it was told of before it was over");
    // Forgotten, it is not there any more.
    server.say(&Order::List);
    assert_eq!(server.hear().0, Report::AllTold);
}

fn a_deadline_ends_it_and_can_be_moved(place: &Place) {
    let server = place.server();
    let hour = 3_600_000_000_000;
    let late = server.create_with("", |creation| creation.deadline_boot_ns = Some(boot_ns() + 3 * hour));
    server.built(late);
    let soon = server.create_with("", |creation| creation.deadline_boot_ns = Some(boot_ns() + 300_000_000));
    let begun = Instant::now();
    assert_eq!(server.ended(soon).reason, Reason::Deadline);
    assert!(begun.elapsed() < Duration::from_secs(2));
    server.say(&Order::Deadline { id: late, at_boot_ns: Some(boot_ns()) });
    assert_eq!(server.ended(late).reason, Reason::Deadline);
    for id in [soon, late] {
        server.say(&Order::Forget { id });
    }
}

fn its_wall_clock_limit_ends_it(place: &Place) {
    let server = place.server();
    let id = server.create_with("[compute]\nwall = \"1s\"", |_| {});
    server.built(id);
    let ended = server.ended(id);
    assert_eq!(ended.reason, Reason::Limit(LimitHit::Wall));
    assert_eq!(ended.hits, [LimitHit::Wall]);
    assert!((1000..3000).contains(&ended.usage.wall_ms), "{:?}", ended.usage);
    server.say(&Order::Forget { id });
}

fn one_that_ends_by_itself_is_told_of(place: &Place) {
    let server = place.server();
    let (id, built) = server.sandbox();
    crate::place::kill_process(built.standing.first_pid);
    assert_eq!(server.ended(id).reason, Reason::ByItself);
    server.say(&Order::Forget { id });
}

fn refused_calls_are_told_of_once_each_and_counted(place: &Place) {
    let server = place.server();
    let (id, built) = server.sandbox();
    let mut agent = Agent::over(built.control);
    let script = "for i in 1 2 3; do unshare -n true; done 2>/dev/null; echo over";
    assert_eq!(run(&mut agent, 1, script).0, "over\n");
    let (denied, _) = server.hear_of(|report| match report {
        Report::Denied { id: of, denied, .. } if *of == id => Some(denied.clone()),
        _ => None,
    });
    assert_eq!(denied.rule, "seccomp.unshare");
    assert_eq!(server.end(id).denials, 3);
}

fn terminals_are_opened_from_outside(place: &Place) {
    use rustix::fd::AsFd;
    use std::io::Read;
    let server = place.server();
    let (id, built) = server.sandbox();
    let mut agent = Agent::over(built.control);
    for number in 1..=3 {
        let (master, slave) = jail::terminal::open(built.terminals.as_fd()).unwrap();
        let mut exec = crate::agents::shell(number, "tty; stat -c %u:%g $(tty); echo from-inside > $(tty)");
        exec.stdio = [agent::Stdio::Passed(0); 3];
        exec.terminal = Some(agent::Terminal::Passed(0));
        agent.exec(exec, vec![slave]).unwrap();
        crate::agents::reply(&mut agent);
        let ended = crate::agents::reply(&mut agent);
        assert!(matches!(ended, agent::Reply::Ended { end: End::Exited(0), .. }), "{ended:?}");
        let mut shown = Vec::new();
        // The slave is closed everywhere, so reading ends with an error.
        let _ = std::fs::File::from(master).read_to_end(&mut shown);
        let shown = String::from_utf8(shown).unwrap().replace("\r\n", "\n");
        assert!(shown.starts_with("/dev/pts/"), "{shown}");
        assert!(shown.ends_with("1000:1000\nfrom-inside\n"), "{shown}");
    }
    server.end(id);
}

fn refusal_of(server: &crate::place::Server<'_>, wanted: SandboxId) -> node::launcher::protocol::Refusal {
    server
        .hear_of(|report| match report {
            Report::Refused { id, refusal } if *id == wanted => Some(refusal.clone()),
            Report::Built { id, .. } if *id == wanted => panic!("it was built"),
            _ => None,
        })
        .0
}

fn zones_that_cannot_be_used_are_refused(place: &Place) {
    let server = place.server();
    let zone = "[[files]]\naccess = \"read\"\nfrom = \"missing\"\nat = \"/data\"";
    let id = server.create_with(zone, |_| {});
    let refusal = refusal_of(&server, id);
    assert_eq!(refusal.kind, RefusalKind::Zone);
    assert!(refusal.what.contains("/data"), "{refusal:?}");
    // It is kept until somebody has it on record.
    server.say(&Order::List);
    let (ended, _) = server.hear_of(|report| match report {
        Report::Have { id: of, ended, .. } if *of == id => Some(ended.clone()),
        _ => None,
    });
    assert_eq!(ended.unwrap().reason, Reason::Refused(refusal));
    server.say(&Order::Forget { id });

    std::fs::create_dir(place.path("out")).unwrap();
    let id = server.create_with("[[files]]\naccess = \"write\"\nto = \"out\"\nat = \"/out\"", |_| {});
    let refusal = refusal_of(&server, id);
    assert_eq!(refusal.kind, RefusalKind::Unsupported);
    assert!(refusal.what.contains("`/out`"), "{refusal:?}");
    server.say(&Order::Forget { id });
}

#[test]
fn walls_that_cannot_stand_are_refused_by_name() {
    Place::with(Who::User, |place| {
        let server = place.server();
        let id = server.create_with("[walls]\nlandlock = 0\nrequire = [\"memory-limit\"]", |_| {});
        let refusal = refusal_of(&server, id);
        assert_eq!(refusal.kind, RefusalKind::Missing);
        assert!(refusal.what.contains("memory-limit") && refusal.mend.is_some(), "{refusal:?}");
        server.say(&Order::Forget { id });
    });
}

#[test]
fn what_cannot_be_frozen_is_refused_by_name() {
    Place::with(Who::User, |place| {
        let server = place.server();
        let lease = Lease { after_ms: 1000, then: Then::Freeze };
        let id = server.create_with("", |creation| creation.lease = lease);
        let refusal = refusal_of(&server, id);
        assert_eq!(refusal.kind, RefusalKind::Unsupported);
        assert!(refusal.what.contains("frozen"), "{refusal:?}");
        server.say(&Order::Forget { id });
    });
}

#[test]
fn a_name_is_taken_once_and_a_policy_has_to_be_one() {
    Place::with(Who::User, |place| {
        let server = place.server();
        let (id, _built) = server.sandbox();
        server.create_with("", |creation| creation.id = id);
        assert_eq!(refusal_of(&server, id).kind, RefusalKind::Duplicate);
        let other = server.create_with("", |creation| creation.policy.push(0));
        assert_eq!(refusal_of(&server, other).kind, RefusalKind::Policy);
        let third = server.create_with("", |creation| creation.hash = "sha256:00".to_owned());
        assert_eq!(refusal_of(&server, third).kind, RefusalKind::Policy);
        // The first was not touched.
        assert_eq!(server.end(id).reason, Reason::Killed);
        server.say(&Order::Kill { id: draw_id() });
        for id in [other, third] {
            server.say(&Order::Forget { id });
        }
    });
}

#[test]
fn running_out_of_memory_ends_the_whole_sandbox() {
    Place::with(Who::Root, |place| {
        let server = place.server();
        let id = server.create_with("[compute]\nmemory = \"64MiB\"\ndisk = \"16MiB\"", |_| {});
        let mut agent = Agent::over(server.built(id).control);
        let script = "x=0123456789abcdef; while :; do x=$x$x; done";
        let _output = crate::agents::start(&mut agent, 1, script);
        let ended = server.ended(id);
        assert_eq!(ended.reason, Reason::Limit(LimitHit::Memory));
        assert!(ended.hits.contains(&LimitHit::Memory));
        server.say(&Order::Forget { id });
    });
}
