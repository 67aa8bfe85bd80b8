//! Writes the tables of `docs/reference/policy.md` anew: `cargo run -p policy --example reference`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/policy.md");
    let document = std::fs::read_to_string(path)?;
    let written = policy::with_tables(&document).ok_or("a table is of no noun, or one is missing")?;
    Ok(std::fs::write(path, written)?)
}
