//! Which connections may stay. Many idle ones never keep a new one out: the one that was idle longest makes room.

use crate::bounds::PEER_CONNECTIONS_MAX;
use crate::connection::Phase;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

/// The connections of one listener.
#[derive(Debug, Clone)]
pub(crate) struct Admission {
    most: usize,
    /// Protects both numbers and list; never held while anything waits.
    open: Arc<Mutex<Open>>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    connections: HashMap<u64, (Arc<Phase>, Option<IpAddr>)>,
    by_peer: HashMap<IpAddr, usize>,
}

/// The place of one connection: until it is dropped.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub phase: Arc<Phase>,
    number: u64,
    peer: Option<IpAddr>,
    open: Arc<Mutex<Open>>,
}

/// What is to be done with a connection when as many are open as may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decision {
    Admit,
    Evict(u64),
    Refuse,
}

/// Decides by numbers alone. `idle` are those in whose place another may come, and since when each is idle.
fn decide(open: usize, of_peer: usize, most: usize, idle: impl Iterator<Item = (u64, Instant)>) -> Decision {
    if of_peer >= PEER_CONNECTIONS_MAX {
        return Decision::Refuse;
    }
    if open < most {
        return Decision::Admit;
    }
    match idle.min_by_key(|(_, since)| *since) {
        Some((number, _)) => Decision::Evict(number),
        None => Decision::Refuse,
    }
}

impl Admission {
    pub(crate) fn new(most: usize) -> Admission {
        Admission { most, open: Arc::default() }
    }

    /// Gives a new connection a place, or none. Addresses of this machine are not told apart: they are all its users'.
    pub(crate) fn admit(&self, peer: Option<IpAddr>) -> Option<Admitted> {
        let peer = peer.map(|peer| peer.to_canonical()).filter(|peer| !peer.is_loopback());
        let mut open = lock(&self.open);
        let of_peer = peer.and_then(|peer| open.by_peer.get(&peer).copied()).unwrap_or(0);
        let idle = open.connections.iter();
        let idle = idle.filter_map(|(number, (phase, _))| Some((*number, phase.idle_since()?)));
        match decide(open.connections.len(), of_peer, self.most, idle) {
            Decision::Refuse => return None,
            Decision::Admit => {}
            Decision::Evict(number) => {
                // It leaves the list at once, so that nobody is evicted twice; its task ends as soon as it runs.
                if let Some((phase, peer)) = open.connections.remove(&number) {
                    open.leave(peer);
                    phase.evicted.notify_one();
                }
            }
        }
        let (number, phase) = (open.next, Arc::new(Phase::new()));
        open.next += 1;
        open.connections.insert(number, (phase.clone(), peer));
        if let Some(peer) = peer {
            *open.by_peer.entry(peer).or_default() += 1;
        }
        Some(Admitted { phase, number, peer, open: self.open.clone() })
    }
}

impl Open {
    fn leave(&mut self, peer: Option<IpAddr>) {
        let Some(peer) = peer else { return };
        if let Some(count) = self.by_peer.get_mut(&peer) {
            *count -= 1;
            if *count == 0 {
                self.by_peer.remove(&peer);
            }
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut open = lock(&self.open);
        if open.connections.remove(&self.number).is_some() {
            open.leave(self.peer);
        }
    }
}

fn lock(open: &Mutex<Open>) -> MutexGuard<'_, Open> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn idle_connections_make_room_the_longest_idle_first_and_busy_ones_do_not() {
        let now = Instant::now();
        let idle = [(1, now), (2, now - Duration::from_secs(5)), (3, now)];
        assert_eq!(decide(9, 0, 10, idle.into_iter()), Decision::Admit);
        assert_eq!(decide(10, 0, 10, idle.into_iter()), Decision::Evict(2));
        assert_eq!(decide(10, 0, 10, std::iter::empty()), Decision::Refuse);
        assert_eq!(decide(0, PEER_CONNECTIONS_MAX, 10, std::iter::empty()), Decision::Refuse);
    }

    #[test]
    fn the_count_of_a_peer_is_that_of_its_open_connections() {
        let admission = Admission::new(2);
        let peer = Some("192.0.2.1".parse().unwrap());
        let first = admission.admit(peer).unwrap();
        let second = admission.admit(peer).unwrap();
        // Both are idle, so a third takes the place of the first, whose own end then changes nothing.
        let third = admission.admit(peer).unwrap();
        assert_eq!(lock(&admission.open).by_peer.values().copied().collect::<Vec<_>>(), [2]);
        drop(first);
        let (_one, _two) = (second.phase.begin(), third.phase.begin());
        assert!(admission.admit(None).is_none());
        drop((second, third));
        assert!(lock(&admission.open).by_peer.is_empty());
        assert!(admission.admit(Some("::1".parse().unwrap())).is_some());
        assert!(lock(&admission.open).connections.is_empty());
    }
}
