//! Builds the programs that stand inside: alone, in a target directory of its own, because it is built with other flags and features
//! than everything else. The agent's path is `CASEMATE_AGENT` to this crate, and `DEP_CASEMATE_AGENT_PROGRAM` to the build
//! script of a crate that uses this one; that of `casemate-why` is `DEP_CASEMATE_AGENT_WHY` there.

use std::path::PathBuf;
use std::process::Command;

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// It is loaded where it is linked to. There is nothing to gain from another place for each start: what takes it over
/// is inside already, and stack and heap lie elsewhere each time.
const RUSTFLAGS: &str = "-C target-feature=+crt-static -C relocation-model=static -C force-unwind-tables=no";

/// No C library and nothing of it; and as the script lays it out.
const LINK_ARGUMENTS: [&str; 3] =
    ["-nostartfiles", "-nostdlib", "-Wl,--no-eh-frame-hdr,--build-id=none,-z,max-page-size=4096"];
const LAYOUT: &str = "src/sys/image.ld";

fn main() {
    if std::env::var_os("CARGO_FEATURE_INSIDE").is_some() {
        for argument in LINK_ARGUMENTS {
            println!("cargo::rustc-link-arg-bins={argument}");
        }
        // Cargo runs this where the crate is.
        let layout = std::path::absolute(LAYOUT).expect("the crate has a path");
        println!("cargo::rustc-link-arg-bins=-Wl,-T,{}", layout.display());
    } else {
        let programs = build();
        let program = programs.join("casemate-agent");
        println!("cargo::rustc-env=CASEMATE_AGENT={}", program.display());
        println!("cargo::metadata=program={}", program.display());
        println!("cargo::metadata=why={}", programs.join("casemate-why").display());
    }
    for watched in ["src", "Cargo.toml", "../../Cargo.lock"] {
        println!("cargo::rerun-if-changed={watched}");
    }
}

fn build() -> PathBuf {
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let target = out.join("agent");
    #[allow(clippy::disallowed_methods, reason = "a build script starts the compiler")]
    let status = Command::new(std::env::var_os("CARGO").expect("cargo sets CARGO"))
        .args([
            "build",
            "--release",
            "--package",
            "agent",
            "--bin",
            "casemate-agent",
            "--bin",
            "casemate-why",
            "--target",
            TARGET,
        ])
        .args(["--no-default-features", "--features", "inside"])
        .arg("--target-dir")
        .arg(&target)
        .args(["--config", "profile.release.panic='abort'", "--config", "profile.release.opt-level='s'"])
        .args(["--config", "profile.release.lto='fat'", "--config", "profile.release.codegen-units=1"])
        // What cargo and clippy set for this build is not meant for that one.
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env_remove("RUSTC_WRAPPER")
        .env("RUSTFLAGS", RUSTFLAGS)
        .status()
        .expect("cargo can be started");
    assert!(status.success(), "the agent could not be built: {status}");
    target.join(TARGET).join("release")
}
