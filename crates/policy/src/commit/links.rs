//! Whether a symbolic link leads out of its zone.

use super::Tree;

/// As many as the kernel follows.
const HOPS_MAX: usize = 40;

/// Checks that the link at `path` to `target` stays in the zone, through every link on the way.
pub(super) fn stays(path: &[u8], target: &[u8], tree: &impl Tree) -> Result<(), &'static str> {
    let mut here: Vec<Vec<u8>> = names(path);
    here.pop();
    let mut left: Vec<Vec<u8>> = steps(target)?;
    left.reverse();
    let mut hops = 0;
    while let Some(name) = left.pop() {
        match name.as_slice() {
            b"." => continue,
            // Every directory so far is one, not a link to one: those were replaced by where they lead.
            b".." => {
                here.pop().ok_or("it leads out of the zone")?;
                continue;
            }
            _ => here.push(name),
        }
        let at = here.join(&b'/');
        if let Some(target) = tree.link(&at) {
            hops += 1;
            if hops > HOPS_MAX {
                return Err("it leads through too many links");
            }
            here.pop();
            left.extend(steps(&target)?.into_iter().rev());
        }
    }
    Ok(())
}

fn steps(target: &[u8]) -> Result<Vec<Vec<u8>>, &'static str> {
    match target {
        [] => Err("it is empty"),
        [b'/', ..] => Err("it is absolute"),
        _ => Ok(names(target)),
    }
}

fn names(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect()
}
