//! The solver, a program of its own: cvc5, or the wheel of the same name behind a small front end.
//!
//! It gets formulas and gives models; it never sees a file, and what it says is checked by the engine before anybody is told.

use cedar_policy_symcc::SmtLibScript;
use cedar_policy_symcc::solver::{Decision, DecisionWithModel, Solver, SolverError};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::pin::pin;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::task::{Context, Poll, Waker};

/// How long it may think about all questions of one command together, in seconds of processor time.
pub const CPU_SECONDS_MAX: u64 = 120;
/// Its address space.
pub const MEMORY_BYTES_MAX: u64 = 4 << 30;
/// The longest model that is read.
const MODEL_BYTES_MAX: u64 = 16 << 20;

/// What the wheel lacks.
const FRONT: &str = include_str!("front.py");

/// How to get a solver.
pub const HOW_TO_GET: &str = "python3 -m venv ~/.local/share/casemate/solver && \
     ~/.local/share/casemate/solver/bin/pip install cvc5   (or put a cvc5 1.2 or later on the PATH, or name it in CVC5)";

/// Where a solver may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A cvc5 executable.
    Program(PathBuf),
    /// An interpreter that has the wheel.
    Wheel(PathBuf),
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Found::Program(path) => write!(f, "{}", path.display()),
            Found::Wheel(path) => write!(f, "the cvc5 wheel of {}", path.display()),
        }
    }
}

/// The first solver that answers: the one that `CVC5` names, one on the `PATH`, the wheel in Casemate's own place, the
/// wheel of the system's interpreter.
pub fn find() -> Option<Found> {
    if let Some(named) = std::env::var_os("CVC5") {
        // Who names one means that one.
        return Some(Found::Program(named.into())).filter(answers);
    }
    let home = std::env::var_os("XDG_DATA_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/share")));
    let own = home.map(|home| home.join("casemate/solver/bin"));
    let path: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .filter(|p| p.is_absolute())
        .collect();
    let on_path = |name: &'static str| path.iter().map(move |directory| directory.join(name));
    let candidates = on_path("cvc5")
        .map(Found::Program)
        .chain(own.iter().map(|own| Found::Program(own.join("cvc5"))))
        .chain(own.iter().map(|own| Found::Wheel(own.join("python3"))))
        .chain(on_path("python3").map(Found::Wheel));
    let there = |found: &Found| match found {
        Found::Program(path) | Found::Wheel(path) => path.is_file(),
    };
    candidates.filter(there).find(answers)
}

/// Whether it answers a question whose answer is known.
fn answers(found: &Found) -> bool {
    let ask = |mut process: Process| {
        process.input.extend_from_slice(b"(set-logic ALL)\n(assert false)\n");
        matches!(process.ask(), Ok(Decision::Unsat))
    };
    Process::start(found).is_ok_and(ask)
}

/// A running solver.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// What was not sent yet.
    input: Vec<u8>,
    output: BufReader<ChildStdout>,
}

impl Process {
    pub(crate) fn start(found: &Found) -> std::io::Result<Process> {
        let (program, args): (&PathBuf, Vec<OsString>) = match found {
            Found::Program(path) => (path, ["--lang", "smt", "--incremental"].map(OsString::from).to_vec()),
            Found::Wheel(path) => (path, ["-c", FRONT].map(OsString::from).to_vec()),
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "the solver is a program of the user's, never a sandbox's"
        )]
        let mut command = Command::new(program);
        let mut child = command
            .args(args)
            // An interpreter looks for modules where it is started.
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let output = child.stdout.take().map(BufReader::new);
        let process = output.map(|output| Process { child, input: Vec::new(), output });
        let process = process.ok_or_else(|| std::io::Error::other("the solver has no standard output"))?;
        // It does nothing before it is asked something, so the limits stand in time.
        let pid = i32::try_from(process.child.id()).ok().and_then(Pid::from_raw);
        for (resource, most) in
            [(Resource::Cpu, CPU_SECONDS_MAX), (Resource::As, MEMORY_BYTES_MAX), (Resource::Core, 0)]
        {
            prlimit(pid, resource, Rlimit { current: Some(most), maximum: Some(most) })?;
        }
        Ok(process)
    }

    fn line(&mut self, text: &mut String) -> Result<usize, SolverError> {
        let length = (&mut self.output).take(MODEL_BYTES_MAX).read_line(text)?;
        if length == 0 {
            return Err(SolverError::Solver("it ended: out of time or memory".to_owned()));
        }
        Ok(length)
    }

    fn send(&mut self) -> Result<(), SolverError> {
        let stdin = self.child.stdin.as_mut();
        let stdin = stdin.ok_or_else(|| SolverError::Solver("it has no standard input".to_owned()))?;
        stdin.write_all(&self.input)?;
        stdin.flush()?;
        self.input.clear();
        Ok(())
    }

    fn ask(&mut self) -> Result<Decision, SolverError> {
        self.input.extend_from_slice(b"(check-sat)\n");
        self.send()?;
        let mut line = String::new();
        self.line(&mut line)?;
        match line.trim() {
            "sat" => Ok(Decision::Sat),
            "unsat" => Ok(Decision::Unsat),
            "unknown" => Ok(Decision::Unknown),
            other => Err(SolverError::UnrecognizedSolverOutput(other.chars().take(200).collect())),
        }
    }

    fn ask_for_model(&mut self) -> Result<DecisionWithModel, SolverError> {
        match self.ask()? {
            Decision::Unsat => Ok(DecisionWithModel::Unsat),
            Decision::Unknown => Ok(DecisionWithModel::Unknown),
            Decision::Sat => {
                self.input.extend_from_slice(b"(get-model)\n");
                self.send()?;
                let mut model = String::new();
                loop {
                    let length = self.line(&mut model)?;
                    if model.len() as u64 > MODEL_BYTES_MAX || model.starts_with("(error") {
                        return Err(SolverError::UnrecognizedSolverOutput(model.chars().take(200).collect()));
                    }
                    if model[model.len() - length..].trim() == ")" {
                        return Ok(DecisionWithModel::Sat { model });
                    }
                }
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Solver for Process {
    fn smtlib_input(&mut self) -> &mut (dyn tokio::io::AsyncWrite + Unpin + Send) {
        &mut self.input
    }

    async fn enable_models(&mut self) -> Result<(), SolverError> {
        self.smtlib_input().set_option("produce-models", "true").await.map_err(Into::into)
    }

    async fn check_sat(&mut self) -> Result<Decision, SolverError> {
        self.ask()
    }

    async fn check_sat_with_model(&mut self) -> Result<DecisionWithModel, SolverError> {
        self.ask_for_model()
    }
}

/// Runs what never waits: all that a [`Process`] does, it does at once.
pub(crate) fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}
