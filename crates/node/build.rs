//! Passes on where the programs are that travel inside this crate. The agent's own build script has built them.

fn main() {
    let program =
        std::env::var("DEP_CASEMATE_AGENT_PROGRAM").expect("the crate `agent` says where its program is");
    let why = std::env::var("DEP_CASEMATE_AGENT_WHY").expect("the crate `agent` says where its program is");
    println!("cargo::rustc-env=CASEMATE_WHY={why}");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-env=CASEMATE_AGENT={program}");
}
