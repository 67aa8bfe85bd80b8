//! Runs inside (and, to show that it works, outside): tries what must fail, and prints what came of it as JSON.

use containment::Facts;
use std::process::ExitCode;

mod calls;
mod canaries;
mod devices;
mod namespaces;
mod own;
mod privileges;
mod sockets;
mod terminal;
mod walk;
mod writes;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let Some(facts) = answer(&words) else {
        eprintln!("probe: nothing to do for {words:?}");
        return ExitCode::from(64);
    };
    // A reader that is gone wants nothing any more.
    let _ = serde_json::to_writer(std::io::stdout(), &facts);
    ExitCode::SUCCESS
}

fn answer(words: &[&str]) -> Option<Facts> {
    Some(match words {
        ["matrix", most] => calls::matrix(most.parse().ok()?),
        ["foreign", most] => calls::foreign(most.parse().ok()?),
        ["real", numbers @ ..] => calls::real(numbers),
        ["threads"] => own::threads(),
        ["descriptors"] => own::descriptors(),
        ["exe", pid, runtime] => own::exe(pid, runtime),
        ["search", reversed, trees @ ..] => canaries::search(reversed, trees),
        ["read", paths @ ..] => canaries::read(paths),
        ["canaries", paths @ ..] => canaries::reach(paths),
        ["writes", zone] => writes::all(zone),
        ["walk", trees @ ..] => walk::writable(trees),
        ["readable", tree] => walk::readable(tree),
        ["devices"] => devices::all(),
        ["namespaces"] => namespaces::all(),
        ["io_uring"] => calls::io_uring(),
        ["identity"] => privileges::identity(),
        ["privileges", zone] => privileges::gain(zone),
        ["terminal"] => terminal::inject(),
        ["sockets"] => sockets::all(),
        ["visibility"] => own::visibility(),
        _ => return None,
    })
}
