//! The real server over a loopback socket, in front of a real node.
//!
//! `main` forks the launcher while it is single-threaded, then serves from a thread of its own. The test runner may start
//! one process for each test, or one for all.

#![allow(clippy::unwrap_used, reason = "these are tests, in a crate of their own without `#[test]`")]

mod abuse;
mod client;
mod matrix;
mod roles;
mod shapes;
mod slow;
mod work;

use client::Server;
use libtest_mimic::{Arguments, Trial};

fn main() -> std::process::ExitCode {
    let arguments = Arguments::from_args();
    let server: &'static Server = match arguments.list {
        true => Box::leak(Box::new(Server::none())),
        false => Box::leak(Box::new(Server::start())),
    };
    let mut trials = Vec::new();
    let mut add = |name: &'static str, test: fn(&Server)| {
        trials.push(Trial::test(name, move || {
            test(server);
            Ok(())
        }));
    };
    matrix::add(&mut add);
    roles::add(&mut add);
    shapes::add(&mut add);
    abuse::add(&mut add);
    slow::add(&mut add);
    work::add(&mut add);
    let conclusion = libtest_mimic::run(&arguments, trials);
    server.stop();
    conclusion.exit_code()
}
