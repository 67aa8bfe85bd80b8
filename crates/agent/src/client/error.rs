//! Why an agent could not be asked or heard.

use crate::protocol::{ANSWER_BYTES_MAX, INWARD_BYTES_MAX, OUTWARD_BYTES_MAX};
use rustix::io::Errno;

/// Why an agent could not be asked or heard.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The agent ended, and with it everything in its sandbox; or, if it has a door, it let go of this socket.
    #[error("the agent is gone")]
    Gone,
    /// So much waits to be sent that no more is taken. Nothing of the request was sent; the connection still stands.
    #[error("{0} bytes of requests wait for the agent already")]
    Busy(usize),
    /// A frame without a body, or with too long a one. Poisons.
    #[error("the agent announced a reply of {0} bytes; expected 1 to {OUTWARD_BYTES_MAX}")]
    Announced(usize),
    /// A frame that is no reply. Poisons.
    #[error("the agent sent a frame that is no reply")]
    NotAReply,
    /// A reply to nothing that was asked. Poisons.
    #[error("the agent sent a reply about id {0} that answers nothing asked")]
    Unasked(u32),
    /// The list of commands in another place than the first on a socket that came by the door. Poisons.
    #[error("the agent introduced itself where it should not, or not where it should")]
    Introduction,
    /// An earlier error made everything after it meaningless.
    #[error("the connection to the agent is no longer in step")]
    Poisoned,
    /// A request too long to send.
    #[error("the request has {0} bytes; the most is {INWARD_BYTES_MAX}")]
    TooLong(usize),
    /// An id that still awaits a reply.
    #[error("the request's id {0} is in use")]
    IdInUse(u32),
    /// Not as many descriptors as the request names.
    #[error("the request passes {passed} descriptors but {given} were given")]
    Descriptors {
        /// How many it names: at most [`crate::protocol::DESCRIPTORS_MAX`].
        passed: usize,
        /// How many were given.
        given: usize,
    },
    /// A number outside 1 to 64.
    #[error("{0} is not a signal")]
    NotASignal(i32),
    /// The kernel refused to send or to receive.
    #[error("{call}: {errno}")]
    Socket {
        /// The system call.
        call: &'static str,
        /// Why.
        errno: Errno,
    },
}

/// What is wrong with what work on files answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// A frame without a body, or with too long a one.
    #[error("the agent announced an answer of {0} bytes; expected 1 to {ANSWER_BYTES_MAX}")]
    Announced(usize),
    /// A frame that is no answer, or one that says what no kernel says.
    #[error("the agent sent a frame that is no answer")]
    NotAnAnswer,
    /// An answer to something else, or after the last one.
    #[error("the agent sent an answer to nothing asked")]
    Unasked,
    /// More of a file than was asked for or announced.
    #[error("the agent sent more of a file than was due")]
    TooMuch,
    /// The answers ended before the last one, or in the middle of a file.
    #[error("the agent's answer is not whole")]
    Short,
}
