//! Passes on where the agent is that travels inside this crate. The agent's own build script has built it.

fn main() {
    let program =
        std::env::var("DEP_CASEMATE_AGENT_PROGRAM").expect("the crate `agent` says where its program is");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-env=CASEMATE_AGENT={program}");
}
