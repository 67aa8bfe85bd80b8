//! Decides, by [`crate::engine`]. The only place where a [`Permit`] is made.

mod nearest;

use crate::engine::{
    Action, Nouns, Outcome, Specialised, encode_exec, encode_file, path_words, rules, specialise, zone_rules,
};
use crate::{FileRule, Policy};
use model::{Code, Decision, FileOp, quote};
use std::sync::OnceLock;

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

/// A request that the policy does not allow. Its rule is `request` for what no policy could allow.
pub type Denied = model::Denial;

/// What a policy says to each user and action, worked out when it is first needed, or by whoever wrote the cache.
///
/// It follows from the rest of the policy, so two policies are equal without it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Decided(OnceLock<Specialised>);

impl PartialEq for Decided {
    fn eq(&self, _: &Decided) -> bool {
        true
    }
}

impl Decided {
    pub(crate) fn known(specialised: Specialised) -> Decided {
        Decided(OnceLock::from(specialised))
    }

    /// Takes up the zones of `files` from `first` on.
    pub(crate) fn add_zones(&mut self, first: usize, files: &[FileRule]) {
        let Some(specialised) = self.0.get_mut() else { return };
        let added = files.iter().enumerate().skip(first);
        added.flat_map(|(place, zone)| zone_rules(place, zone)).for_each(|rule| specialised.add(&rule));
    }
}

impl Policy {
    /// What the rules say to each user and action.
    pub(crate) fn decided(&self) -> &Specialised {
        self.decided.0.get_or_init(|| {
            let nouns = Nouns {
                root: self.root,
                limits: &self.limits,
                files: &self.files,
                net: &[],
                tools: None,
                ask: &[],
                forbids: &self.forbids,
            };
            Specialised::new(specialise(&rules(nouns)))
        })
    }

    /// Decides whether a command may run.
    ///
    /// # Errors
    /// By the rule `request`: an empty command, a NUL byte, a working directory that is not absolute or steps up, a
    /// variable without a name. By the rule `root`: root inside, unless the policy says `root = true`. By the name of a
    /// `cedar` policy that forbids it; by `error` where such a policy cannot be worked out.
    pub fn exec(&self, request: &ExecRequest) -> Result<Permit<ExecRequest>, Denied> {
        if let Some(mend) = malformed(request) {
            return Err(Denied::new(Code::Request, "request", asked(request), mend));
        }
        let ExecRequest { argv, cwd, user, .. } = request;
        match self.decided().decide(*user, Action::Exec, |reads| encode_exec(argv, cwd, *user, reads)) {
            Outcome::Allow(rule) => {
                Ok(Permit { request: request.clone(), decision: Outcome::Allow(rule).decision() })
            }
            Outcome::Deny(rule) => Err(nearest::exec(rule, asked(request))),
        }
    }

    /// The permit for a command that the policy allows whatever its words are: nothing of Cedar's is touched. None: only
    /// [`Policy::exec`] can say.
    pub fn exec_at_once(&self, request: &ExecRequest) -> Option<Permit<ExecRequest>> {
        let rule = self.decided.0.get()?.always(request.user, Action::Exec)?;
        let decision = Outcome::Allow(rule.to_owned()).decision();
        malformed(request).is_none().then(|| Permit { request: request.clone(), decision })
    }

    /// Decides whether a file inside may be touched. What the user may do with it is then the kernel's to say.
    ///
    /// Reading, listing and describing read; all else writes, and moving writes in both places.
    ///
    /// # Errors
    /// By the rule `request`: a path that is not absolute or steps up, a NUL byte. By the rule `root`: as root inside,
    /// unless the policy says `root = true`. By `files` where no rule gives the path; by the name of what forbids it.
    pub fn file(&self, request: FileRequest) -> Result<Permit<FileRequest>, Denied> {
        let FileRequest { op, path, to, user } = &request;
        let asked = || format!("{op} `{}` as {}", quote(path), person(*user));
        let malformed = |path: &Vec<u8>| path.contains(&0) || path_words(path).is_none();
        if malformed(path) || to.as_ref().is_some_and(malformed) {
            let mend = "give absolute paths without NUL bytes and `..`";
            return Err(Denied::new(Code::Request, "request", asked(), mend));
        }
        let action = match op {
            FileOp::Read | FileOp::Stat | FileOp::List => Action::Read,
            FileOp::Write | FileOp::MakeDir | FileOp::Move | FileOp::Remove => Action::Write,
        };
        let mut rule = None;
        for path in std::iter::once(path).chain(to) {
            let encode = |reads| encode_file(action, path, *user, reads);
            match self.decided().decide(*user, action, encode) {
                Outcome::Allow(by) => rule = rule.or(Some(by)),
                Outcome::Deny(rule) => return Err(nearest::file(self, action, path, rule, asked())),
            }
        }
        let decision = Outcome::Allow(rule.unwrap_or_default()).decision();
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
    } else if path_words(cwd).is_none() {
        Some("give the working directory as an absolute path inside, without `..`")
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
