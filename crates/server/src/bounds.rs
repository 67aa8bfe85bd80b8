//! Every bound of the server, with its number. `docs/SPECIFICATION.md` lists them all.

use std::time::Duration;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Connections of one listener. One more takes the place of the one that has been idle longest; if none is idle it is refused.
pub const CONNECTIONS_MAX: usize = 4096;
/// Connections of one address that is not this machine's own.
pub const PEER_CONNECTIONS_MAX: usize = 512;
/// Header lines of one request.
pub const HEADERS_MAX: usize = 100;
/// Bytes of one request's target and header lines.
pub const HEADER_BYTES_MAX: usize = 64 * KIB;
/// What one connection reads ahead of its request.
pub const READ_AHEAD_BYTES: usize = 512 * KIB;
/// From the first byte of a request to the end of its headers; also a TLS handshake.
pub const HEADER_TIME: Duration = Duration::from_secs(10);
/// A kept connection on which nothing happens. Longer than the 300 s for which the Python SDK keeps one.
pub const IDLE_TIME: Duration = Duration::from_secs(330);
/// Between two pieces of a request's body.
pub const BODY_IDLE_TIME: Duration = Duration::from_secs(60);
/// The whole of a body that is one message.
pub const MESSAGE_TIME: Duration = Duration::from_secs(60);
/// What is still read of a request's body when the answer is known without it; behind a longer one the connection closes.
pub const DRAIN_BYTES_MAX: u64 = 64 << 10;
/// How long that may take.
pub const DRAIN_TIME: Duration = Duration::from_secs(1);
/// What is read of a connection that closes, so that its client can read the answer.
pub const LINGER_BYTES_MAX: u64 = 64 << 20;
/// How long that may take.
pub const LINGER_TIME: Duration = Duration::from_secs(2);
/// The whole of an upload.
pub const UPLOAD_TIME: Duration = Duration::from_secs(3600);
/// A client that takes nothing of an answer for so long loses its connection.
pub const STALL_TIME: Duration = Duration::from_secs(120);
/// What answers in progress get when the server is told to end.
pub const PARTING_TIME: Duration = Duration::from_secs(2);

/// The body of a control request.
pub const CONTROL_BYTES_MAX: usize = 256 * KIB;
/// The body of a stream's request: one message.
pub const STREAM_REQUEST_BYTES_MAX: usize = MIB;
/// Arguments of one command; variables of one command.
pub const WORDS_MAX: usize = 4096;
/// Directory listings in progress of one sandbox; more wait.
pub const LISTS_PER_SANDBOX_MAX: usize = 2;
/// Entries of a listing that are written at one time.
pub const LIST_ENTRIES_STEP: usize = 256;
/// The body of a unary call, and one frame.
pub const MESSAGE_BYTES_MAX: usize = 4 * MIB;
/// The body of an upload, and what it unpacks to.
pub const UPLOAD_BYTES_MAX: u64 = 16 << 30;
/// Nesting of a JSON text.
pub const JSON_DEPTH_MAX: usize = 32;
/// Output in one event of a stream.
pub const EVENT_BYTES_MAX: usize = 32 * KIB;
/// Compressed bytes unpacked in one step, which bounds what the step can yield to a thousand times as much.
pub const UNPACK_BYTES_STEP: usize = 2 * KIB;
/// Parts of one form.
pub const PARTS_MAX: usize = 1000;
/// The header lines of one part.
pub const PART_HEADER_BYTES_MAX: usize = 8 * KIB;
/// What may precede the first part of a form.
pub const PREAMBLE_BYTES_MAX: usize = 4 * KIB;
/// A form's boundary (RFC 2046).
pub const BOUNDARY_BYTES_MAX: usize = 70;

/// A path inside.
pub const PATH_BYTES_MAX: usize = 4096;
/// Levels of one directory listing.
pub const LIST_DEPTH_MAX: u32 = 64;
/// A command's tag.
pub const TAG_BYTES_MAX: usize = 256;
/// Metadata of one sandbox: names and values, and [`PAIR_BYTES`] for each pair.
pub const METADATA_BYTES_MAX: usize = 16 * KIB;
/// Variables of one sandbox, counted in the same way. Both together are part of the note that the launcher keeps.
pub const ENV_BYTES_MAX: usize = 20 * KIB;
/// What a pair costs beside its text.
pub const PAIR_BYTES: usize = 4;
/// Life of a sandbox from its start, if its policy does not say less.
pub const LIFE_TIME: Duration = Duration::from_secs(24 * 3600);
/// Requests in progress of one sandbox's data plane, streams included.
pub const REQUESTS_PER_SANDBOX_MAX: usize = 512;
/// Streams in progress of one sandbox.
pub const STREAMS_PER_SANDBOX_MAX: usize = 256;
/// Seconds without output after which a stream says that it lives, unless its client asks for another number.
pub const KEEPALIVE_TIME: Duration = Duration::from_secs(90);
/// Sandboxes in one page of a list.
pub const PAGE_MAX: usize = 100;

#[cfg(test)]
mod tests;
