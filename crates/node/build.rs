//! Builds the agent that travels inside this crate: one static program, in a target directory of its own, because
//! it is built with other flags than the rest.

use std::path::{Path, PathBuf};

const TARGET: &str = "x86_64-unknown-linux-gnu";

fn main() {
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for watched in ["crates/agent", "crates/model", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={}", workspace.join(watched).display());
    }
    let target = out.join("agent");
    #[allow(clippy::disallowed_methods, reason = "a build script starts the compiler")]
    let status = std::process::Command::new(std::env::var_os("CARGO").expect("cargo sets CARGO"))
        .current_dir(&workspace)
        .args(["build", "--release", "--package", "agent", "--bin", "casemate-agent", "--target", TARGET])
        .arg("--target-dir")
        .arg(&target)
        .args(["--config", "profile.release.panic='abort'", "--config", "profile.release.opt-level='s'"])
        .args(["--config", "profile.release.lto='fat'", "--config", "profile.release.codegen-units=1"])
        // What cargo and clippy set for this build is not meant for that one.
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env_remove("RUSTC_WRAPPER")
        .env("RUSTFLAGS", "-C target-feature=+crt-static -C relocation-model=static")
        .status()
        .expect("cargo can be started");
    assert!(status.success(), "the agent could not be built: {status}");
    let program = target.join(TARGET).join("release/casemate-agent");
    println!("cargo::rustc-env=CASEMATE_AGENT={}", program.display());
}
