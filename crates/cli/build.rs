//! Builds the whole of `casemate` for the small program that users start, in a target directory of its own, and links both
//! statically.
//!
//! A start touches what lies near to what it needs, and has all of the program relocated: in a small program that is less.
//! What [`cli::at_once`] does not reach the linker leaves out, Cedar above all. Where nobody measures, in a debug build, the
//! program is the whole one.
//!
//! Statically: its start is on the way of every command that it runs, and with the dynamic linker it
//! takes half as long again.
//!
//! `-C target-feature=+crt-static` is meant for this, but it cannot be said of one program: without `--target` it holds
//! for procedural macros too, which cannot be built so. Here it is said to the linker alone. Where that is asked for a
//! shared library it finds a script of ours, which names the archives.

use std::path::PathBuf;
use std::process::Command;

const SHARED: [&str; 3] = ["libc.so", "libm.so", "libgcc_s.so"];
const ARCHIVES: [&str; 4] = ["libc.a", "libm.a", "libgcc.a", "libgcc_eh.a"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(apart)");
    let optimised = std::env::var("PROFILE").is_ok_and(|profile| profile == "release");
    if optimised && std::env::var_os("CARGO_FEATURE_WHOLE").is_none() {
        println!("cargo::rustc-cfg=apart");
        println!("cargo::rustc-env=CASEMATE_WHOLE={}", whole().display());
    }
    link();
}

/// Builds the whole program, as this one is built.
fn whole() -> PathBuf {
    let said = |name| std::env::var_os(name).unwrap_or_else(|| panic!("cargo sets {name}"));
    let (place, target) = (PathBuf::from(said("OUT_DIR")).join("whole"), said("TARGET"));
    #[allow(clippy::disallowed_methods, reason = "a build script starts the compiler")]
    let status = Command::new(said("CARGO"))
        .args(["build", "--release", "--package", "cli", "--bin", "casemate", "--features", "whole"])
        .arg("--target")
        .arg(&target)
        .arg("--target-dir")
        .arg(&place)
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .status()
        .expect("cargo can be started");
    assert!(status.success(), "the whole program could not be built: {status}");
    for entry in std::fs::read_dir("..").expect("the crates are beside this one").flatten() {
        for part in ["src", "Cargo.toml", "build.rs"] {
            let part = entry.path().join(part);
            if part.exists() {
                println!("cargo::rerun-if-changed={}", part.display());
            }
        }
    }
    println!("cargo::rerun-if-changed=../../Cargo.toml");
    println!("cargo::rerun-if-changed=../../Cargo.lock");
    place.join(target).join("release/casemate")
}

fn link() {
    // Flags that say how to link have the last word. Some distributions keep the archives in a package of their own.
    let said = std::env::var("CARGO_ENCODED_RUSTFLAGS").is_ok_and(|flags| flags.contains("crt-static"));
    let gnu = std::env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|env| env == "gnu");
    if said || !gnu || !ARCHIVES.iter().all(|archive| linker_has(archive)) {
        return;
    }
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let script = format!("GROUP({})\n", ARCHIVES.map(|archive| format!("-l:{archive}")).join(" "));
    for shared in SHARED {
        std::fs::write(out.join(shared), &script).expect("OUT_DIR can be written");
    }
    println!("cargo::rustc-link-arg-bin=casemate=-L{}", out.display());
    println!("cargo::rustc-link-arg-bin=casemate=-static-pie");
    // Each page of relocations is one that every start reads and copies: packed they take a tenth.
    println!("cargo::rustc-link-arg-bin=casemate=-Wl,-z,pack-relative-relocs");
}

/// Of a file that it does not find, a compiler driver repeats the name.
fn linker_has(file: &str) -> bool {
    let linker = std::env::var_os("RUSTC_LINKER").unwrap_or_else(|| "cc".into());
    #[allow(clippy::disallowed_methods, reason = "a build script asks the linker")]
    let answer = Command::new(linker).arg(format!("-print-file-name={file}")).output();
    answer.is_ok_and(|answer| answer.stdout.starts_with(b"/"))
}
