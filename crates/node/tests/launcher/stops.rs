//! The end of everything.

use crate::agents::start;
use crate::in_both_profiles;
use crate::place::{PATIENCE, Place, Who, launcher_ends};
use agent::Agent;
use node::launcher::Client;
use node::launcher::protocol::{Order, Reason, Report};
use std::time::{Duration, Instant};

in_both_profiles! {
    everything_ends_with_the_server_alive
    everything_ends_without_a_server_and_is_on_record
    a_launcher_that_nobody_needs_ends_itself
    with_everything_ended_a_launcher_that_nobody_needs_ends_at_once
}

fn stopped(client: &Client) -> u32 {
    match client.receive_within(PATIENCE).unwrap().unwrap().0 {
        Report::Stopped { ended } => ended,
        other => panic!("{other:?}"),
    }
}

fn everything_ends_with_the_server_alive(place: &Place) {
    let server = place.server();
    let all: Vec<_> = (0..64).map(|_| server.sandbox()).collect();
    let mut agents: Vec<Agent> = Vec::new();
    let mut ids = Vec::new();
    for (id, built) in all {
        let mut agent = Agent::over(built.control);
        start(&mut agent, 1, "for i in $(seq 10); do sleep 1000 & done; wait");
        agents.push(agent);
        ids.push(id);
    }
    let client = place.client();
    let begun = Instant::now();
    client.send(&Order::StopAll, &[]).unwrap();
    assert_eq!(stopped(&client), 64);
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
    // What everybody saw is on record, once; asked again there is nothing to tell of.
    client.send(&Order::StopAll, &[]).unwrap();
    assert_eq!(stopped(&client), 0);
    let records = place.records(&["\"stop.all\""]);
    assert_eq!(records.len(), 1, "{records:?}");
    assert!(records[0].contains("\"sandboxes\":64"), "{records:?}");
    for id in ids {
        assert_eq!(server.ended(id).reason, Reason::Stopped);
        server.say(&Order::Forget { id });
    }
}

fn everything_ends_without_a_server_and_is_on_record(place: &Place) {
    let server = place.server();
    let all: Vec<_> = (0..64).map(|_| server.sandbox()).collect();
    drop(server);
    let client = place.client();
    client.send(&Order::StopAll, &[]).unwrap();
    assert_eq!(stopped(&client), 64);
    assert_eq!(place.records(&["\"stop.all\""]).len(), 1);
    // By the time that it says so all of it is on record, and nothing is left.
    for (id, _) in &all {
        let records = place.records(&["sandbox.end", id.as_str()]);
        assert_eq!(records.len(), 1);
        assert!(records[0].contains("stop-all"), "{records:?}");
    }
    assert!(place.left().iter().all(|left| left.starts_with("process")), "{:#?}", place.left());
    assert!(ledger::verify(&place.state(), None).unwrap().problems.is_empty());
}

fn a_launcher_that_nobody_needs_ends_itself(place: &Place) {
    let launcher = place.launcher();
    assert!(launcher_ends(launcher, PATIENCE));
    // And there is a next one.
    assert_ne!(place.launcher(), launcher);
}

/// Sooner than one does that waits whether somebody comes.
const AT_ONCE: Duration = Duration::from_secs(5);

fn with_everything_ended_a_launcher_that_nobody_needs_ends_at_once(place: &Place) {
    let launcher = place.launcher();
    let server = place.server();
    let (id, _) = server.sandbox();
    // Somebody else is there.
    let client = place.client();
    client.send(&Order::StopAll, &[]).unwrap();
    assert_eq!(stopped(&client), 1);
    server.ended(id);
    server.say(&Order::Forget { id });
    assert!(!launcher_ends(launcher, Duration::from_millis(200)));
    drop(client);
    drop(server);
    let client = Client::connect(&place.state()).unwrap();
    // The server may be noticed to be gone after we are.
    let ended = crate::place::eventually(|| {
        if client.send(&Order::StopAll, &[]).is_ok() {
            let _ = client.receive_within(PATIENCE);
        }
        launcher_ends(launcher, Duration::from_millis(100))
    });
    assert!(ended);
    // A client that has it ended, and nobody else.
    let launcher = place.launcher();
    let client = Client::connect(&place.state()).unwrap();
    client.send(&Order::StopAll, &[]).unwrap();
    assert_eq!(stopped(&client), 0);
    assert!(launcher_ends(launcher, AT_ONCE));
    assert!(place.records(&["\"stop.all\""]).len() == 1, "nothing was ended the second time");
}

#[test]
fn a_launcher_that_ends_leaves_the_socket_of_another_alone() {
    Place::with(Who::User, |place| {
        let first = place.launcher();
        let client = Client::connect(&place.state()).unwrap();
        // Somebody clears away what looks old.
        std::fs::remove_dir_all(place.state().join("run")).unwrap();
        std::fs::remove_dir_all(place.state().join("lock")).unwrap();
        let second = place.launcher();
        assert_ne!(first, second);
        client.send(&Order::StopAll, &[]).unwrap();
        assert_eq!(stopped(&client), 0);
        assert!(launcher_ends(first, AT_ONCE));
        assert_eq!(Client::connect(&place.state()).unwrap().launcher_pid(), second);
    });
}
