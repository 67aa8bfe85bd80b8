//! Connections of a launcher: what is read from them, and what is still to be told.

use super::process::{Launcher, Watched};
use super::protocol::{CLIENTS_MAX, MESSAGE_BYTES_MAX, Order, PROTOCOL, Report};
use super::sandbox::{Life, Recorder};
use super::wire;
use model::SandboxId;
use rustix::event::{PollFlags, epoll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::SocketFlags;
use std::collections::VecDeque;
use std::io;
use std::time::Duration;

/// Reports that wait for a client; with more than these its orders wait too.
const OUTBOX_MAX: usize = 1024;
/// Orders of one client that are read in one turn.
const ORDERS_PER_TURN: usize = 32;

/// A client.
pub(super) struct Connection {
    pub socket: OwnedFd,
    outbox: VecDeque<Telling>,
    interest: epoll::EventFlags,
}

/// Something to be told. What can be found again when it is sent is named only, so that a client that does not read costs
/// next to nothing.
pub(super) enum Telling {
    Plain(Box<Report>),
    /// A place on the disk of a sandbox.
    Disk(SandboxId, OwnedFd),
    /// A sandbox that there is.
    Have(u32),
    /// What is held for a command.
    Held(u32, u32),
    /// What became of an order to build a sandbox, or how it ended.
    Outcome(u32),
    /// A refused call, by its place.
    Denied(u32, usize),
}

impl Connection {
    /// Whether it was told all that there was to tell.
    pub(super) fn is_told(&self) -> bool {
        self.outbox.is_empty()
    }
}

impl Telling {
    pub(super) fn plain(report: Report) -> Telling {
        Telling::Plain(Box::new(report))
    }
}

impl Launcher {
    /// Takes up new connections.
    pub(super) fn accept(&mut self) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        loop {
            let socket = match rustix::net::accept_with(&self.listener, flags) {
                Ok(socket) => socket,
                Err(Errno::INTR | Errno::CONNABORTED) => continue,
                Err(Errno::WOULDBLOCK) => return,
                // There is no descriptor for it, or no memory.
                Err(_) => return self.shut(),
            };
            let own = rustix::process::geteuid();
            let is_ours = rustix::net::sockopt::socket_peercred(&socket).is_ok_and(|peer| peer.uid == own);
            if !is_ours || self.clients.len() >= CLIENTS_MAX {
                continue;
            }
            let key = self.next_key();
            self.watch(key, Watched::Client, &socket);
            let connection = Connection { socket, outbox: VecDeque::new(), interest: epoll::EventFlags::IN };
            self.clients.insert(key, connection);
            let launcher_pid = rustix::process::getpid().as_raw_nonzero().get();
            self.tell(key, Telling::plain(Report::Hello { protocol: PROTOCOL, launcher_pid }));
        }
    }

    /// Tells a client something, as soon as it listens.
    pub(super) fn tell(&mut self, client: u32, telling: Telling) {
        if let Some(connection) = self.clients.get_mut(&client) {
            connection.outbox.push_back(telling);
            if connection.outbox.len() == 1 {
                self.flush(client);
            }
        }
    }

    /// Tells the server something, if there is one.
    pub(super) fn tell_server(&mut self, telling: Telling) {
        if let Some(server) = self.server {
            self.tell(server, telling);
        }
    }

    /// Sends what can be sent.
    pub(super) fn flush(&mut self, client: u32) {
        loop {
            let Some(connection) = self.clients.get_mut(&client) else { return };
            let Some(telling) = connection.outbox.pop_front() else { break };
            match self.send(client, &telling) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.put_back(client, telling);
                    break;
                }
                // Too many descriptors of this user are on their way: waiting for the socket would not wait.
                Err(error) if error.raw_os_error() == Some(Errno::TOOMANYREFS.raw_os_error()) => {
                    self.put_back(client, telling);
                    self.retry_soon();
                    return self.listen_to(client, epoll::EventFlags::empty());
                }
                Err(_) => return self.disconnect(client),
            }
        }
        let is_told = self.clients.get(&client).is_none_or(Connection::is_told);
        self.listen_to(client, if is_told { epoll::EventFlags::empty() } else { epoll::EventFlags::OUT });
    }

    /// Waits for a client's orders, unless too much waits for it; and for `beside`.
    fn listen_to(&mut self, client: u32, beside: epoll::EventFlags) {
        let Some(connection) = self.clients.get(&client) else { return };
        let has_room = connection.outbox.len() <= OUTBOX_MAX;
        let orders = if has_room { epoll::EventFlags::IN } else { epoll::EventFlags::empty() };
        self.set_interest(client, orders | beside);
    }

    fn put_back(&mut self, client: u32, telling: Telling) {
        if let Some(connection) = self.clients.get_mut(&client) {
            connection.outbox.push_front(telling);
        }
    }

    fn set_interest(&mut self, client: u32, interest: epoll::EventFlags) {
        if let Some(connection) = self.clients.get_mut(&client)
            && connection.interest != interest
        {
            connection.interest = interest;
            let data = epoll::EventData::new_u64(Watched::Client.token(client));
            let _ = epoll::modify(&self.epoll, &connection.socket, data, interest);
        }
    }

    /// Sends one thing, if it still is one.
    fn send(&mut self, client: u32, telling: &Telling) -> io::Result<()> {
        let Some(connection) = self.clients.get(&client) else { return Ok(()) };
        let socket = connection.socket.as_fd();
        let is_server = self.server == Some(client);
        match telling {
            Telling::Plain(report) => wire::send(socket, report.as_ref(), &[]),
            Telling::Disk(id, disk) => wire::send(socket, &Report::Disk { id: *id }, &[disk.as_fd()]),
            Telling::Have(key) => {
                let Some(sandbox) = self.sandboxes.get_mut(key) else { return Ok(()) };
                let report = sandbox.have();
                match &mut sandbox.life {
                    Life::Alive(alive) if is_server && sandbox.standing.is_some() => {
                        // On a socket that comes by the door the agent says first what there is.
                        alive.control = None;
                        if alive.fresh.is_none() {
                            alive.fresh = alive.connect().ok();
                        }
                        wire::send(socket, &report, &alive.descriptors(alive.fresh.as_ref()))?;
                        alive.fresh = None;
                        Ok(())
                    }
                    _ => wire::send(socket, &report, &[]),
                }
            }
            Telling::Outcome(key) => {
                let Some(sandbox) = self.sandboxes.get_mut(key) else { return Ok(()) };
                let Some(report) = sandbox.outcome() else { return Ok(()) };
                match &mut sandbox.life {
                    // One that a server was told of since it stands.
                    Life::Alive(alive) if alive.control.is_none() => Ok(()),
                    Life::Alive(alive) => {
                        wire::send(socket, &report, &alive.descriptors(alive.control.as_ref()))?;
                        alive.control = None;
                        Ok(())
                    }
                    Life::Ended(_) => wire::send(socket, &report, &[]),
                }
            }
            Telling::Held(key, exec) => {
                let Some(sandbox) = self.sandboxes.get(key) else { return Ok(()) };
                let Some(held) = sandbox.held.get(exec) else { return Ok(()) };
                let report = Report::Held { id: sandbox.id, exec: *exec, note: held.note.clone() };
                let fds: Vec<BorrowedFd<'_>> = held.descriptors.iter().map(|fd| fd.as_fd()).collect();
                wire::send(socket, &report, &fds)
            }
            Telling::Denied(key, place) => {
                let Some(sandbox) = self.sandboxes.get_mut(key) else { return Ok(()) };
                let Some(denied) = sandbox.denied.get(*place) else { return Ok(()) };
                let count = sandbox.denials();
                wire::send(socket, &Report::Denied { id: sandbox.id, denied: denied.clone(), count }, &[])?;
                sandbox.denied_told = sandbox.denied_told.max(place + 1);
                Ok(())
            }
        }
    }

    /// Reads orders, a few at a time.
    pub(super) fn hear(&mut self, client: u32) {
        // Taken out while it is used; it is as good as new afterwards.
        let mut room = std::mem::take(&mut self.room);
        room.resize(MESSAGE_BYTES_MAX, 0);
        for _ in 0..ORDERS_PER_TURN {
            let Some(connection) = self.clients.get(&client) else { break };
            if connection.outbox.len() > OUTBOX_MAX {
                // Its orders wait, and do not wake us meanwhile.
                self.flush(client);
                break;
            }
            match wire::receive::<Order>(connection.socket.as_fd(), &mut room) {
                Ok(packet) => {
                    let is_dear = matches!(packet.message, Order::Create { .. });
                    self.obey(client, packet);
                    if is_dear {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Gone, or not one of ours.
                Err(_) => {
                    self.disconnect(client);
                    break;
                }
            }
        }
        self.room = room;
    }

    /// Lets go of a client. With the server every sandbox's lease begins.
    pub(super) fn disconnect(&mut self, client: u32) {
        let Some(connection) = self.clients.remove(&client) else { return };
        let _ = epoll::delete(&self.epoll, &connection.socket);
        self.stops.retain(|stop| stop.client != client);
        if self.server == Some(client) {
            self.server = None;
            self.without_server();
        }
    }

    /// Makes a client the server, and tells it everything.
    pub(super) fn serve(&mut self, client: u32) {
        if let Some(server) = self.server.filter(|server| *server != client) {
            // One that was killed may not have been noticed yet.
            let is_gone = self
                .clients
                .get(&server)
                .is_none_or(|server| wire::wait(&server.socket, PollFlags::RDHUP, Duration::ZERO));
            if !is_gone {
                return self.tell(client, Telling::plain(Report::Busy));
            }
            self.disconnect(server);
        }
        self.server = Some(client);
        self.with_server();
        self.tell(client, Telling::plain(Report::Welcome));
        let mut tellings = Vec::new();
        // What the keeper records is no server's business any more.
        let ours = |recorder| recorder == Recorder::Server;
        for (key, sandbox) in self.sandboxes.iter().filter(|(_, sandbox)| ours(sandbox.recorder)) {
            tellings.push(Telling::Have(*key));
            tellings.extend(sandbox.held.keys().map(|exec| Telling::Held(*key, *exec)));
            tellings.extend(
                (sandbox.denied_told..sandbox.denied.len()).map(|place| Telling::Denied(*key, place)),
            );
        }
        for telling in tellings {
            self.tell(client, telling);
        }
        self.tell(client, Telling::plain(Report::AllTold));
    }

    /// Tells a client of everything, without descriptors.
    pub(super) fn list(&mut self, client: u32) {
        let keys: Vec<u32> = self.sandboxes.keys().copied().collect();
        for key in keys {
            self.tell(client, Telling::Have(key));
        }
        self.tell(client, Telling::plain(Report::AllTold));
    }
}
