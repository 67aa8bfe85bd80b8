//! Messages that are none, and clients that may not say what they say.

use crate::place::{PATIENCE, Place, Who, draw_id};
use node::launcher::Client;
use node::launcher::protocol::{DESCRIPTORS_MAX, NOTE_BYTES_MAX, Order, Report};
use rustix::fd::AsFd;
use rustix::net::SendFlags;

#[test]
fn malformed_messages_harm_nobody_but_their_sender() {
    Place::with(Who::User, |place| {
        let server = place.server();
        let (id, _built) = server.sandbox();
        let long = vec![b'x'; 200 << 10];
        let half = postcard::to_stdvec(&Order::Kill { id }).unwrap();
        let mut behind = half.clone();
        behind.push(0);
        let wrong_id = [9, 21, b'/'];
        for bytes in [&[255; 40][..], &[2], &half[..half.len() - 1], &behind, &wrong_id, &[7; 4096]] {
            let client = place.client();
            rustix::net::send(&client, bytes, SendFlags::NOSIGNAL).unwrap();
            let answer = client.receive_within(PATIENCE);
            assert!(answer.is_err(), "{answer:?} to {bytes:?}");
        }
        // One that no launcher would take whole.
        let client = place.client();
        if rustix::net::send(&client, &long, SendFlags::NOSIGNAL).is_ok() {
            assert!(client.receive_within(PATIENCE).is_err());
        }
        // Orders of a server, from somebody who is none.
        for order in [Order::Kill { id }, Order::Forget { id }, Order::Drop { id, exec: 1 }] {
            let client = place.client();
            client.send(&order, &[]).unwrap();
            assert!(client.receive_within(PATIENCE).is_err(), "{order:?}");
        }
        // Descriptors that nobody asked for.
        let client = place.client();
        let some = std::io::stdin();
        client.send(&Order::List, &[some.as_fd(); DESCRIPTORS_MAX]).unwrap();
        let have = client.receive_within(PATIENCE).unwrap().unwrap();
        assert!(matches!(have.0, Report::Have { id: of, .. } if of == id), "{have:?}");
        assert!(have.1.is_empty(), "a list brings no descriptors");
        // The sandbox and the server are as they were.
        server.say(&Order::List);
        server.hear_of(|report| match report {
            Report::Have { id: of, standing: Some(_), ended: None, .. } if *of == id => Some(()),
            _ => None,
        });
        server.end(id);
    });
}

#[test]
fn orders_about_what_is_not_there_are_answered_or_passed_over() {
    Place::with(Who::User, |place| {
        let server = place.server();
        let (id, none) = (server.sandbox().0, draw_id());
        for order in [
            Order::Kill { id: none },
            Order::Forget { id: none },
            Order::Deadline { id: none, at_boot_ns: Some(0) },
            Order::Drop { id, exec: 1 },
            Order::Forget { id },
        ] {
            server.say(&order);
        }
        server.say(&Order::Keep { id, exec: 1, note: vec![0; NOTE_BYTES_MAX + 1] });
        server.say(&Order::Keep { id: none, exec: 1, note: Vec::new() });
        for _ in 0..2 {
            server.hear_of(|report| matches!(report, Report::NotKept { .. }).then_some(()));
        }
        // The sandbox is still there, and its note the one that it came with.
        server.say(&Order::List);
        let (note, _) = server.hear_of(|report| match report {
            Report::Have { id: of, note, .. } if *of == id => Some(note.clone()),
            _ => None,
        });
        assert_eq!(note, format!("note of {id}").into_bytes());
        server.end(id);
    });
}

#[test]
fn there_are_as_many_clients_as_there_may_be() {
    Place::with(Who::User, |place| {
        let first = place.client();
        let mut clients: Vec<Client> = Vec::new();
        for _ in 0..40 {
            clients.extend(Client::connect(&place.state()));
        }
        assert_eq!(clients.len(), 15);
        drop(first);
        crate::place::within("a place is free", || Client::connect(&place.state()).ok());
    });
}
