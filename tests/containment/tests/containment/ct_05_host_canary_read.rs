//! CT-05: no byte of the host's files comes out, whatever is tried. Not errors count, but secrets.

use anyhow::{Context, Result};
use containment::ground::guest;
use containment::{Ground, Held, Profile};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

containment::proofs!(ct_05::host_canary_read, mutants: &["show-var"]);

const CANARIES: usize = 40;
/// Where a host keeps what is nobody else's business.
const PLACES: &[&str] = &[
    "/root",
    "/home",
    "/var",
    "/var/lib",
    "/var/log",
    "/var/tmp",
    "/var/cache",
    "/run",
    "/etc",
    "/opt",
    "/srv",
    "/mnt",
    "/tmp",
    "/dev/shm",
];

/// Files with secrets; they go when the value goes.
struct Canaries {
    planted: Vec<(PathBuf, String)>,
}

impl Canaries {
    fn plant(ground: &Ground) -> Result<Canaries> {
        let mut canaries = Canaries { planted: Vec::new() };
        let own = [ground.path("state"), ground.path("neighbour")];
        fs::create_dir_all(&own[1])?;
        let root = rustix::process::geteuid().is_root();
        let hosts = PLACES.iter().map(PathBuf::from).filter(|place| place.is_dir());
        let places: Vec<PathBuf> = hosts
            .filter(|place| {
                root || ["/tmp", "/var/tmp", "/dev/shm"].iter().any(|free| place == Path::new(free))
            })
            .chain(own)
            .collect();
        for number in 0..CANARIES {
            let path = places[number % places.len()]
                .join(format!(".casemate-canary-{}-{number}", std::process::id()));
            let mut bytes = [0; 16];
            std::io::Read::read_exact(&mut fs::File::open("/dev/urandom")?, &mut bytes)?;
            let secret: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            fs::write(&path, format!("secret-{secret}"))
                .with_context(|| format!("could not plant {}", path.display()))?;
            canaries.planted.push((path.clone(), secret));
            // Everybody may read it, so that nothing but walls is in the way.
            fs::set_permissions(&path, Permissions::from_mode(0o644))?;
            ground.give(&path)?;
        }
        Ok(canaries)
    }

    fn words<'a>(&'a self, verb: &'a str) -> Vec<&'a str> {
        let paths = self.planted.iter().map(|(path, _)| path.to_str().unwrap_or_default());
        std::iter::once(verb).chain(paths).collect()
    }
}

impl Drop for Canaries {
    fn drop(&mut self) {
        for (path, _) in &self.planted {
            let _ = fs::remove_file(path);
        }
    }
}

fn control(ground: &Ground) -> Result<Vec<String>> {
    let canaries = Canaries::plant(ground)?;
    let found = ground.probe_outside(&canaries.words("read"))?;
    let mut failed = Vec::new();
    for (path, secret) in &canaries.planted {
        let name = path.to_string_lossy();
        // What of it an ordinary user cannot reach even outside is tried all the same.
        let hidden = path.starts_with("/root")
            || (ground.profile() == Profile::UserAfterSetup && path.starts_with("/var/lib"));
        let reachable = ground.profile() == Profile::Root || !hidden;
        if reachable && found.get(&*name).is_none_or(|text| !text.contains(secret)) {
            failed.push(format!("{name}: {:?}", found.get(&*name)));
        }
    }
    Ok(failed)
}

fn findings(ground: &Ground, mutant: Option<&str>) -> Result<Vec<String>> {
    let canaries = Canaries::plant(ground)?;
    let neighbour =
        Held::start(ground.inside(None).read(&ground.path("neighbour"), "/neighbour").command(&["threads"]))?;
    let mut found = look(&canaries, &ground.inside(mutant))?;
    if ground.profile().own_block() && guest().is_none() {
        found.extend(
            look(&canaries, &ground.inside(mutant).as_root())?
                .into_iter()
                .map(|line| format!("root: {line}")),
        );
    }
    drop(neighbour);
    Ok(found)
}

fn look(canaries: &Canaries, inside: &containment::Inside<'_>) -> Result<Vec<String>> {
    let facts = inside.facts(&canaries.words("canaries"))?;
    anyhow::ensure!(facts.len() > CANARIES * 6, "the probe tried only {} ways", facts.len());
    let mut found = Vec::new();
    for (way, outcome) in &facts {
        if canaries.planted.iter().any(|(_, secret)| outcome.contains(secret) || way.contains(secret)) {
            found.push(format!("{way}: a secret came out"));
        }
        if way.starts_with("mount ") && outcome == "ok" {
            found.push(format!("{way}: {outcome}"));
        }
    }
    Ok(found)
}
