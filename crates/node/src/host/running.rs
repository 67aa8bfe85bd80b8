//! One command that runs: its input, its output and who listens.

use super::command::{CommandEnd, CommandInfo, Input, Output, OutputPiece, Stdin, TerminalSize};
use super::room::lock;
use super::{Error, pipes};
use bytes::Bytes;
use rustix::fd::OwnedFd;
use std::io;
use std::sync::Mutex;
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, watch};

/// The most bytes of one piece of output.
const PIECE_BYTES_MAX: usize = 32 << 10;
/// Pieces of output that wait for one listener; one that is slower holds the command up.
const QUEUED_PIECES_MAX: usize = 16;
/// The most listeners of one command.
const LISTENERS_MAX: usize = 64;
/// How often, once nothing more is waited for, a pipe may turn out to hold more: what it held at the end fits in so many
/// pieces.
const AFTER_END_MAX: u32 = 64;
/// How long one listener of several may hold up the others before it is left behind.
const PATIENCE: Duration = Duration::from_secs(10);

/// A command from its start to the last piece of its output.
#[derive(Debug)]
pub(super) struct Running {
    /// Its number in the sandbox.
    pub exec: u32,
    /// What it is, with its pid inside.
    pub info: CommandInfo,
    kind: Stdin,
    /// The writing end of its standard input, or its terminal.
    input: tokio::sync::Mutex<Option<AsyncFd<OwnedFd>>>,
    /// Its terminal, for its size.
    terminal: Mutex<Option<OwnedFd>>,
    /// Who listens; none once the last piece was given out.
    listeners: Mutex<Vec<mpsc::Sender<OutputPiece>>>,
    /// Its end, once all of its output was given out.
    last: watch::Sender<Option<CommandEnd>>,
    /// What the agent, or the end of the sandbox, said of its end.
    end: watch::Sender<Option<CommandEnd>>,
    /// Whether what its descendants still write is not waited for.
    cut: watch::Sender<bool>,
}

/// What a command's streams are on this side.
#[derive(Debug, Default)]
pub(super) struct Streams {
    pub input: Option<OwnedFd>,
    pub stdout: Option<OwnedFd>,
    pub stderr: Option<OwnedFd>,
    pub terminal: Option<OwnedFd>,
}

impl Running {
    pub(super) fn new(
        exec: u32,
        info: CommandInfo,
        kind: Stdin,
        input: Option<OwnedFd>,
        terminal: Option<OwnedFd>,
    ) -> io::Result<Running> {
        let input = input.map(pipes::watch).transpose()?;
        Ok(Running {
            exec,
            info,
            kind,
            input: tokio::sync::Mutex::new(input),
            terminal: Mutex::new(terminal),
            listeners: Mutex::new(Vec::new()),
            last: watch::Sender::new(None),
            end: watch::Sender::new(None),
            cut: watch::Sender::new(false),
        })
    }

    /// Listens from now on.
    pub(super) fn listen(&self) -> Result<Output, Error> {
        let (tell, pieces) = mpsc::channel(QUEUED_PIECES_MAX);
        let mut listeners = lock(&self.listeners);
        listeners.retain(|listener| !listener.is_closed());
        if listeners.len() >= LISTENERS_MAX {
            return Err(Error::Full { limit: "listeners of a command", most: LISTENERS_MAX });
        }
        // Under the same lock as the last word: whoever comes after it finds a closed channel, and the end.
        if self.last.borrow().is_none() {
            listeners.push(tell);
        }
        Ok(Output::over(pieces, self.last.subscribe()))
    }

    /// Says that it has ended. The first word counts.
    pub(super) fn ended(&self, end: CommandEnd) {
        self.end.send_if_modified(|known| {
            let first = known.is_none();
            known.get_or_insert(end);
            first
        });
    }

    /// Whether it has ended, though output may still come.
    pub(super) fn has_ended(&self) -> bool {
        self.end.borrow().is_some()
    }

    /// Waits until it has ended.
    pub(super) async fn until_ended(&self) {
        let _ = self.end.subscribe().wait_for(Option::is_some).await;
    }

    /// From its end on, waits for no more output.
    pub(super) fn cut(&self) {
        self.cut.send_replace(true);
    }

    pub(super) async fn write(&self, input: Input) -> Result<(), Error> {
        let bytes = match (input, self.kind) {
            (Input::Stdin(bytes), Stdin::Null | Stdin::Pipe)
            | (Input::Terminal(bytes), Stdin::Terminal(_)) => bytes,
            (Input::Stdin(_), Stdin::Terminal(_)) => {
                return Err(Error::WrongInput("has a terminal: send `pty`"));
            }
            (Input::Terminal(_), _) => return Err(Error::WrongInput("has no terminal: send `stdin`")),
        };
        let guard = self.input.lock().await;
        let input = guard.as_ref().ok_or(Error::InputClosed)?;
        tokio::select! {
            written = pipes::write_all(input, &bytes) => written.map_err(|_| Error::InputClosed),
            () = self.until_ended() => Err(Error::InputClosed),
        }
    }

    /// Closes this side's end of its standard input; says whether it was open.
    pub(super) async fn close_input(&self) -> Result<bool, Error> {
        match self.kind {
            Stdin::Terminal(_) => Err(Error::WrongInput("has a terminal: send Ctrl-D (4) instead")),
            Stdin::Null | Stdin::Pipe => Ok(self.input.lock().await.take().is_some()),
        }
    }

    pub(super) fn resize(&self, size: TerminalSize) -> Result<(), Error> {
        let terminal = lock(&self.terminal);
        let terminal = terminal.as_ref().ok_or(Error::WrongInput("has no terminal"))?;
        set_size(terminal, size).map_err(|_| Error::InputClosed)
    }

    /// Passes its output on until the last piece. Where nobody listens it is read all the same, so that the command goes
    /// on.
    pub(super) async fn relay(&self, sources: Sources) {
        let Sources { mut first, mut second, terminal } = sources;
        let (mut end, mut cut) = (self.end.subscribe(), self.cut.subscribe());
        let mut after = 0;
        while first.is_open() || second.is_open() {
            tokio::select! {
                piece = first.next() => if let Some(bytes) = piece {
                    self.tell(if terminal { OutputPiece::Terminal(bytes) } else { OutputPiece::Stdout(bytes) }).await;
                },
                piece = second.next() => if let Some(bytes) = piece {
                    self.tell(OutputPiece::Stderr(bytes)).await;
                },
                // What is in the pipes by now still comes out above; what is written for ever does not.
                () = over(&mut end, &mut cut) => {
                    after += 1;
                    if after > AFTER_END_MAX || !first.has_more() && !second.has_more() { break }
                }
            }
        }
        let last = match end.wait_for(Option::is_some).await {
            Ok(end) => end.unwrap_or(CommandEnd::SandboxGone),
            Err(_) => CommandEnd::SandboxGone,
        };
        let mut listeners = lock(&self.listeners);
        self.last.send_replace(Some(last));
        listeners.clear();
    }

    async fn tell(&self, piece: OutputPiece) {
        let listeners = lock(&self.listeners).clone();
        let alone = listeners.len() == 1;
        let mut left = Vec::new();
        for listener in listeners {
            let told = if alone {
                listener.send(piece.clone()).await.is_ok()
            } else {
                listener.send_timeout(piece.clone(), PATIENCE).await.is_ok()
            };
            if !told {
                left.push(listener);
            }
        }
        if !left.is_empty() {
            lock(&self.listeners).retain(|listener| !left.iter().any(|gone| gone.same_channel(listener)));
        }
    }

    /// Lets go of its input and its terminal.
    pub(super) async fn shut(&self) {
        self.input.lock().await.take();
        lock(&self.terminal).take();
    }
}

/// Waits until the command has ended and no more output is waited for.
async fn over(end: &mut watch::Receiver<Option<CommandEnd>>, cut: &mut watch::Receiver<bool>) {
    let ended = end.wait_for(Option::is_some).await.map(|end| *end);
    match ended {
        Ok(Some(CommandEnd::Deadline | CommandEnd::SandboxGone)) | Err(_) => {}
        Ok(_) => drop(cut.wait_for(|cut| *cut).await),
    }
}

pub(super) fn set_size(terminal: &OwnedFd, size: TerminalSize) -> io::Result<()> {
    let size =
        rustix::termios::Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    Ok(rustix::termios::tcsetwinsize(terminal, size)?)
}

/// One stream that comes out of a command.
struct Source(Option<(AsyncFd<OwnedFd>, Vec<u8>)>);

/// The streams that come out of a command: two, or the one of its terminal.
pub(super) struct Sources {
    first: Source,
    second: Source,
    terminal: bool,
}

impl Sources {
    pub(super) fn open(streams: Streams) -> io::Result<Sources> {
        let terminal = streams.terminal.is_some();
        let first = Source::open(streams.stdout.or(streams.terminal))?;
        Ok(Sources { first, second: Source::open(streams.stderr)?, terminal })
    }
}

impl Source {
    fn open(fd: Option<OwnedFd>) -> io::Result<Source> {
        let watched = fd.map(pipes::watch).transpose()?;
        Ok(Source(watched.map(|fd| (fd, vec![0; PIECE_BYTES_MAX]))))
    }

    fn is_open(&self) -> bool {
        self.0.is_some()
    }

    /// Whether something can be read from it at once.
    fn has_more(&self) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let Some((fd, _)) = &self.0 else { return false };
        let mut fds = [PollFd::new(fd.get_ref(), PollFlags::IN)];
        let _ = poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
        fds[0].revents().contains(PollFlags::IN)
    }

    /// The next bytes; none at its end. Waits for ever when it has ended.
    async fn next(&mut self) -> Option<Bytes> {
        let Some((fd, buffer)) = &mut self.0 else { return std::future::pending().await };
        match pipes::read(fd, buffer).await {
            Ok(count @ 1..) => Some(Bytes::copy_from_slice(&buffer[..count])),
            _ => {
                self.0 = None;
                None
            }
        }
    }
}
