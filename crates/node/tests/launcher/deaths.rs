//! Deaths of server, launcher and keeper, in any order.

use crate::agents::{reply, run, start};
use crate::in_both_profiles;
use crate::place::{Place, Server, Who, boot_ns, eventually, is_over, keeper_of, kill_process};
use agent::{Agent, End, Reply};
use model::{Lease, SandboxId, Then};
use node::launcher::protocol::{Order, Reason, Report};
use rustix::fd::AsFd;
use std::io::{Read, Write};
use std::time::Duration;

in_both_profiles! {
    a_second_server_is_refused
    a_new_server_finds_everything
    without_a_server_a_lease_ends_it_and_the_keeper_records_that
    a_deadline_needs_no_server
    a_launcher_that_is_killed_takes_all_along_and_they_are_recorded_as_abandoned
    a_keeper_that_is_killed_is_replaced
    launcher_and_keeper_killed_together_leave_nothing_that_the_next_does_not_sweep
    an_end_that_the_server_recorded_is_not_recorded_again
}

fn a_second_server_is_refused(place: &Place) {
    let server = place.server();
    let second = place.client();
    second.send(&Order::Serve, &[]).unwrap();
    let (answer, _) = second.receive_within(crate::place::PATIENCE).unwrap().unwrap();
    assert_eq!(answer, Report::Busy);
    drop(server);
    place.server();
}

fn all_told(server: &Server<'_>) -> Vec<(Report, Vec<rustix::fd::OwnedFd>)> {
    let mut told = Vec::new();
    loop {
        match server.hear() {
            (Report::AllTold, _) => return told,
            one => told.push(one),
        }
    }
}

fn a_new_server_finds_everything(place: &Place) {
    let server = place.server();
    let (id, built) = server.sandbox();
    let mut agent = Agent::over(built.control);
    let output = start(&mut agent, 7, "mkfifo /tmp/go; echo before; read line < /tmp/go; echo after $line");
    let note = b"what it runs".to_vec();
    server.say_with(&Order::Keep { id, exec: 7, note: note.clone() }, &[output.as_fd()]);
    server.say_with(&Order::Keep { id, exec: 8, note: note.clone() }, &[output.as_fd()]);
    server.say(&Order::Drop { id, exec: 8 });
    let at_ns = boot_ns() + 3_600_000_000_000;
    server.say(&Order::Deadline { id, at_boot_ns: Some(at_ns) });
    // The launcher has read all of it when it answers.
    server.say(&Order::List);
    server.hear_of(|report| matches!(report, Report::AllTold).then_some(()));
    drop((server, agent, output));

    let server = place.server();
    let mut told = all_told(&server);
    let (held, mut descriptors) = told.pop().unwrap();
    assert_eq!(held, Report::Held { id, exec: 7, note });
    let mut output = std::fs::File::from(descriptors.pop().unwrap());
    let (have, mut descriptors) = told.pop().unwrap();
    assert!(told.is_empty(), "{told:?}");
    let Report::Have { id: of, note, standing: Some(_), deadline_boot_ns, next_command: 9, ended: None } =
        have
    else {
        panic!("{have:?}")
    };
    assert_eq!((of, note, deadline_boot_ns), (id, format!("note of {id}").into_bytes(), Some(at_ns)));
    assert_eq!(descriptors.len(), 4);
    // The command that ran is the one that runs, and the agent says so on its new socket.
    let mut agent = Agent::adopt(descriptors.remove(1));
    let Reply::Here { commands } = reply(&mut agent) else { panic!("it did not say what there is") };
    assert_eq!(commands.iter().map(|known| (known.id, known.end)).collect::<Vec<_>>(), [(7, None)]);
    assert_eq!(run(&mut agent, 9, "echo on > /tmp/go; echo done").0, "done\n");
    let mut text = String::new();
    output.read_to_string(&mut text).unwrap();
    assert_eq!(text, "before\nafter on\n");
    assert_eq!(server.end(id).reason, Reason::Killed);
}

fn without_a_server_a_lease_ends_it_and_the_keeper_records_that(place: &Place) {
    let server = place.server();
    let lease = Lease { after_ms: 200, then: Then::End };
    let id = server.create_with("", |creation| creation.lease = lease);
    let built = server.built(id);
    let kept = server.create_with("", |creation| creation.lease = Lease { after_ms: 1, then: Then::Keep });
    let other = server.built(kept);
    std::thread::sleep(Duration::from_millis(400));
    assert!(!is_over(&built.first, Duration::ZERO), "a lease begins without a server");
    drop(server);
    assert!(is_over(&built.first, Duration::from_secs(5)));
    assert!(place.end_on_record(id).contains("\"lease\""));
    assert!(!is_over(&other.first, Duration::ZERO));
    let server = place.server();
    // What is on record is not told of again.
    let ids = |told: Vec<(Report, _)>| -> Vec<SandboxId> {
        told.into_iter()
            .filter_map(|(report, _)| if let Report::Have { id, .. } = report { Some(id) } else { None })
            .collect()
    };
    assert_eq!(ids(all_told(&server)), [kept]);
    server.end(kept);
}

fn a_deadline_needs_no_server(place: &Place) {
    let server = place.server();
    let id = server.create_with("", |creation| creation.deadline_boot_ns = Some(boot_ns() + 400_000_000));
    let built = server.built(id);
    drop(server);
    assert!(is_over(&built.first, Duration::from_secs(5)));
    assert!(place.end_on_record(id).contains("\"timeout\""));
}

fn a_launcher_that_is_killed_takes_all_along_and_they_are_recorded_as_abandoned(place: &Place) {
    let launcher = place.launcher();
    let server = place.server();
    let standing: Vec<_> = (0..4).map(|_| server.sandbox()).collect();
    // And some that are being built.
    let building: Vec<SandboxId> = (0..4).map(|_| server.create()).collect();
    kill_process(launcher);
    for (id, built) in &standing {
        assert!(is_over(&built.first, Duration::from_secs(5)));
        assert!(place.end_on_record(*id).contains("\"abandoned\""));
    }
    // What it said before its death may still come; then the connection is closed.
    while let Ok(said) = server.client.receive_within(Duration::from_secs(5)) {
        assert!(said.is_some(), "the connection is not closed");
    }
    assert!(eventually(|| place.left().is_empty()), "{:#?}", place.left());
    // Nobody's end is recorded twice.
    for id in standing.iter().map(|(id, _)| id).chain(&building) {
        assert!(place.records(&["sandbox.end", id.as_str()]).len() <= 1);
    }
    // The next one begins with nothing.
    let server = place.server();
    assert!(all_told(&server).is_empty());
}

fn a_keeper_that_is_killed_is_replaced(place: &Place) {
    let launcher = place.launcher();
    let server = place.server();
    let (first, _) = server.sandbox();
    let (second, _built) = server.sandbox();
    let keeper = keeper_of(launcher);
    kill_process(keeper);
    assert!(eventually(|| {
        std::fs::read_to_string(format!("/proc/{launcher}/task/{launcher}/children")).is_ok_and(|children| {
            children.split_whitespace().any(|pid| {
                pid != keeper.to_string()
                    && std::fs::read_to_string(format!("/proc/{pid}/comm"))
                        .is_ok_and(|comm| comm.starts_with("casemate-keeper"))
            })
        })
    }));
    // The sandboxes never noticed, and are cleaned up by the new one: also when the launcher dies next.
    assert_eq!(server.end(first).reason, Reason::Killed);
    let (third, _) = server.sandbox();
    kill_process(launcher);
    for id in [second, third] {
        assert!(place.end_on_record(id).contains("\"abandoned\""));
    }
    assert!(eventually(|| place.left().is_empty()), "{:#?}", place.left());
}

fn launcher_and_keeper_killed_together_leave_nothing_that_the_next_does_not_sweep(place: &Place) {
    let launcher = place.launcher();
    let server = place.server();
    let (_, built) = server.sandbox();
    server.create();
    let keeper = keeper_of(launcher);
    kill_process(keeper);
    kill_process(launcher);
    assert!(is_over(&built.first, Duration::from_secs(5)));
    let server = place.server();
    assert!(all_told(&server).is_empty());
    drop(server);
    assert!(
        eventually(|| place.left().iter().all(|left| left.starts_with("process"))),
        "{:#?}",
        place.left()
    );
}

fn an_end_that_the_server_recorded_is_not_recorded_again(place: &Place) {
    struct Silent;
    impl model::Clock for Silent {
        fn now(&self) -> model::Moment {
            model::Moment { wall_ns: 1, boot_ns: 1 }
        }
    }
    let server = place.server();
    let (recorded, _) = server.sandbox();
    let (unrecorded, _) = server.sandbox();
    for id in [recorded, unrecorded] {
        server.say(&Order::Kill { id });
        server.ended(id);
    }
    let mut ledger = ledger::Ledger::open(&place.state(), Box::new(Silent)).unwrap();
    let usage = model::Usage::default();
    let reason = model::EndReason::Killed;
    ledger.observe(model::Event::End { sandbox: recorded, reason, usage, denials: 0 }).unwrap();
    ledger.seal().unwrap();
    // It dies before it can say so.
    drop(server);
    place.end_on_record(unrecorded);
    assert_eq!(place.records(&["sandbox.end", recorded.as_str()]).len(), 1);
    let server = place.server();
    assert!(all_told(&server).is_empty());
}

#[test]
fn a_server_that_stands_still_holds_nothing_up() {
    Place::with(Who::Root, |place| {
        let server = place.server();
        let ids: Vec<SandboxId> = (0..3).map(|_| server.sandbox().0).collect();
        // From here on the server reads nothing. Its sandboxes refuse calls, and end, all the same.
        let victims: Vec<SandboxId> = (0..60).map(|_| server.create()).collect();
        let other = place.client();
        other.send(&Order::StopAll, &[]).unwrap();
        let (answer, _) = other.receive_within(crate::place::PATIENCE).unwrap().unwrap();
        let Report::Stopped { ended } = answer else { panic!("{answer:?}") };
        assert!(ended >= 3, "{ended}");
        // What was ordered before is told in the end, to a server that reads again.
        for id in ids {
            assert_eq!(server.ended(id).reason, Reason::Stopped);
            server.say(&Order::Forget { id });
        }
        for id in victims {
            let ended = server.hear_of(|report| match report {
                Report::Ended { id: of, .. } if *of == id => Some(true),
                Report::Built { id: of, .. } if *of == id => Some(false),
                _ => None,
            });
            if !ended.0 {
                server.say(&Order::Kill { id });
                server.ended(id);
            }
            server.say(&Order::Forget { id });
        }
    });
}

#[test]
fn an_agent_answers_after_its_server_died_in_the_middle_of_a_command() {
    Place::with(Who::User, |place| {
        let server = place.server();
        let (id, built) = server.sandbox();
        let mut agent = Agent::over(built.control);
        let (read, write) = std::io::pipe().unwrap();
        let mut exec = crate::agents::shell(1, "cat > /tmp/file; wc -c < /tmp/file");
        exec.stdio = [agent::Stdio::Passed(0), agent::Stdio::Null, agent::Stdio::Null];
        agent.exec(exec, vec![read.into()]).unwrap();
        assert!(matches!(reply(&mut agent), Reply::Started { .. }));
        std::fs::File::from(rustix::fd::OwnedFd::from(write)).write_all(b"12345").unwrap();
        drop((server, agent));
        let server = place.server();
        let told = all_told(&server);
        let (_, mut descriptors) = told.into_iter().next().unwrap();
        let mut agent = Agent::adopt(descriptors.remove(1));
        let Reply::Here { commands } = reply(&mut agent) else { panic!("it did not say what there is") };
        assert_eq!(commands.len(), 1);
        if commands[0].end.is_none() {
            assert!(matches!(reply(&mut agent), Reply::Ended { id: 1, end: End::Exited(0), .. }));
        }
        agent.forget(1).unwrap();
        assert_eq!(run(&mut agent, 2, "cat /tmp/file").0, "12345");
        server.end(id);
    });
}

/// Where the machine has cgroup v2. Elsewhere it is refused, by name.
#[test]
fn a_lease_freezes_it_until_there_is_a_server_again() {
    Place::with(Who::Root, |place| {
        use jail::cgroup::Home;
        let home = Home::find(jail::ids::Profile::Root).expect("a home for cgroups");
        let server = place.server();
        let lease = Lease { after_ms: 100, then: Then::Freeze };
        let id = server.create_with("", |creation| creation.lease = lease);
        if !home.is_v2() {
            let (refusal, _) = server.hear_of(|report| match report {
                Report::Refused { id: of, refusal } if *of == id => Some(refusal.clone()),
                _ => None,
            });
            assert!(refusal.what.contains("cgroup v2"), "{refusal:?}");
            return server.say(&Order::Forget { id });
        }
        let built = server.built(id);
        let events = home.directories()[0].join(id.as_str()).join("cgroup.events");
        let is_frozen = || std::fs::read_to_string(&events).is_ok_and(|text| text.contains("frozen 1"));
        assert!(!is_frozen());
        drop((server, built));
        assert!(eventually(is_frozen));
        let server = place.server();
        let (_, mut descriptors) = all_told(&server).into_iter().next().unwrap();
        assert!(eventually(|| !is_frozen()));
        let mut agent = Agent::adopt(descriptors.remove(1));
        assert!(matches!(reply(&mut agent), Reply::Here { .. }));
        assert_eq!(run(&mut agent, 1, "echo on").0, "on\n");
        // One that stands still can be ended, too.
        drop((server, agent));
        assert!(eventually(is_frozen));
        let client = place.client();
        client.send(&Order::StopAll, &[]).unwrap();
        assert_eq!(
            client.receive_within(crate::place::PATIENCE).unwrap().unwrap().0,
            Report::Stopped { ended: 1 }
        );
    });
}

/// Server, launcher and keeper die in every order, each after a moment of its own, while sandboxes are made and ended.
#[test]
fn nothing_leaks_in_any_order_of_deaths() {
    Place::with(Who::Root, |place| {
        let mut seed = boot_ns();
        let mut draw = |most: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % most
        };
        for round in 0..24 {
            let launcher = place.launcher();
            let server = place.server();
            let keeper = keeper_of(launcher);
            let (standing, built) = server.sandbox();
            let mut ids = vec![standing];
            ids.extend((0..draw(6)).map(|_| server.create()));
            if round % 2 == 0 {
                server.say(&Order::Kill { id: standing });
            }
            let mut dying: Vec<&str> = vec!["server", "launcher", "keeper"];
            dying.swap(0, draw(3) as usize);
            dying.swap(1, 1 + draw(2) as usize);
            dying.truncate(1 + draw(3) as usize);
            let mut server = Some(server);
            for who in &dying {
                std::thread::sleep(Duration::from_micros(draw(6000)));
                match *who {
                    "server" => drop(server.take()),
                    "launcher" => kill_process(launcher),
                    _ => kill_process(keeper),
                }
            }
            drop(server);
            // Whoever comes next finds what lives, and nothing else is left. What lives is ended.
            let client = place.client();
            client.send(&Order::StopAll, &[]).unwrap();
            let (answer, _) = client.receive_within(crate::place::PATIENCE).unwrap().unwrap();
            assert!(matches!(answer, Report::Stopped { .. }), "{answer:?}");
            assert!(is_over(&built.first, Duration::from_secs(5)), "round {round}, {dying:?}");
            let clean = eventually(|| place.left().iter().all(|left| left.starts_with("process")));
            assert!(clean, "round {round}, {dying:?}: {:#?}", place.left());
            if !(dying.contains(&"launcher") && dying.contains(&"keeper")) {
                place.end_on_record(standing);
            }
            for id in ids {
                let ends = place.records(&["sandbox.end", id.as_str()]);
                assert!(ends.len() <= 1, "round {round}, {dying:?}: {ends:#?}");
            }
        }
    });
}
