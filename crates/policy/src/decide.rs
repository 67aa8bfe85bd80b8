//! Decides. The only place where a [`Permit`] is made.

use crate::Policy;
use model::{Code, Decision, FileOp, quote};

/// The rule that allows a command while the language has no rules about tools.
const EXEC_RULE: &str = "exec (no [[tools]] rule)";
/// The rule that lets a client touch files inside: the walls decide which there are, and the kernel what the user may.
const FILE_RULE: &str = "files (as the user may inside)";

/// A command that somebody wants to run inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecRequest {
    /// The program and its arguments.
    pub argv: Vec<Vec<u8>>,
    /// The working directory inside, absolute.
    pub cwd: Vec<u8>,
    /// The whole environment, as names and values.
    pub env: Vec<(Vec<u8>, Vec<u8>)>,
    /// As whom.
    pub user: User,
    /// The terminal that it gets, if any.
    pub terminal: Option<Terminal>,
}

/// A user inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum User {
    /// The ordinary one.
    User,
    /// Root, inside only.
    Root,
}

/// Work on a file inside that a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRequest {
    /// What is to be done.
    pub op: FileOp,
    /// To which file, absolute.
    pub path: Vec<u8>,
    /// Where it is to be moved to.
    pub to: Option<Vec<u8>>,
    /// With whose rights.
    pub user: User,
}

/// The size of a terminal, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terminal {
    /// Height.
    pub rows: u16,
    /// Width.
    pub columns: u16,
}

/// The proof that a policy allows `T`. What acts takes a permit, so that nothing acts undecided.
///
/// Only this crate makes one, and one is good for one act:
///
/// ```compile_fail,E0451
/// use policy::{ExecRequest, Permit};
/// fn forge(request: ExecRequest) -> Permit<ExecRequest> {
///     let decision = model::Decision { verdict: "allow", rule: String::new() };
///     Permit { request, decision }
/// }
/// ```
///
/// ```compile_fail,E0599
/// fn twice(permit: policy::Permit<policy::ExecRequest>) -> policy::Permit<policy::ExecRequest> {
///     permit.clone()
/// }
/// ```
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Permit<T> {
    request: T,
    decision: Decision,
}

impl<T> Permit<T> {
    /// What is allowed.
    pub fn request(&self) -> &T {
        &self.request
    }

    /// What allowed it, for the record.
    pub fn decision(&self) -> &Decision {
        &self.decision
    }

    /// Uses the permit up.
    pub fn into_request(self) -> T {
        self.request
    }
}

/// A request that the policy does not allow. Its rule is `root`, or `request` for what no policy could allow.
pub type Denied = model::Denial;

impl Policy {
    /// Decides whether a command may run.
    ///
    /// # Errors
    /// By the rule `request`: an empty command, a NUL byte, a working directory that is not absolute, a
    /// variable without a name. By the rule `root`: root inside, unless the policy says `root = true`.
    pub fn exec(&self, request: &ExecRequest) -> Result<Permit<ExecRequest>, Denied> {
        if let Some(mend) = malformed(request) {
            return Err(Denied::new(Code::Request, "request", asked(request), mend));
        }
        if request.user == User::Root && !self.root {
            let mend = "run it as the ordinary user, or write `root = true` in the policy";
            let denied = Denied::new(Code::Root, "root", asked(request), mend);
            return Err(denied.nearest("the same as the ordinary user"));
        }
        let decision = Decision { verdict: "allow", rule: EXEC_RULE.to_owned() };
        Ok(Permit { request: request.clone(), decision })
    }

    /// Decides whether a file inside may be touched. What the user may do with it is the kernel's to say.
    ///
    /// # Errors
    /// By the rule `request`: a path that is not absolute, a NUL byte. By the rule `root`: as root inside, unless the
    /// policy says `root = true`.
    pub fn file(&self, request: FileRequest) -> Result<Permit<FileRequest>, Denied> {
        let FileRequest { op, path, to, user } = &request;
        let asked = || format!("{op} `{}` as {}", quote(path), person(*user));
        let malformed = |path: &Vec<u8>| !path.starts_with(b"/") || path.contains(&0);
        if malformed(path) || to.as_ref().is_some_and(malformed) {
            return Err(Denied::new(
                Code::Request,
                "request",
                asked(),
                "give absolute paths without NUL bytes",
            ));
        }
        if *user == User::Root && !self.root {
            let mend = "do it as the ordinary user, or write `root = true` in the policy";
            let denied = Denied::new(Code::Root, "root", asked(), mend);
            return Err(denied.nearest("the same as the ordinary user"));
        }
        let decision = Decision { verdict: "allow", rule: FILE_RULE.to_owned() };
        Ok(Permit { request, decision })
    }
}

/// What the kernel could not even be asked for: the mend, if so.
fn malformed(request: &ExecRequest) -> Option<&'static str> {
    let ExecRequest { argv, cwd, env, .. } = request;
    let nul = |bytes: &[u8]| bytes.contains(&0);
    if argv.first().is_none_or(Vec::is_empty) {
        Some("name a program to run")
    } else if argv.iter().any(|word| nul(word)) || env.iter().any(|(k, v)| nul(k) || nul(v)) || nul(cwd) {
        Some("leave out NUL bytes")
    } else if !cwd.starts_with(b"/") {
        Some("give the working directory as an absolute path inside")
    } else if env.iter().any(|(name, _)| name.is_empty() || name.contains(&b'=')) {
        Some("give every variable a name without `=`")
    } else {
        None
    }
}

fn asked(request: &ExecRequest) -> String {
    const BYTES_MAX: usize = 200;
    let mut command = request.argv.iter().map(quote).collect::<Vec<_>>().join(" ");
    if command.len() > BYTES_MAX {
        command.truncate(command.floor_char_boundary(BYTES_MAX));
        command.push('…');
    }
    format!("run `{command}` as {}", person(request.user))
}

fn person(user: User) -> &'static str {
    match user {
        User::User => "the ordinary user",
        User::Root => "root",
    }
}
