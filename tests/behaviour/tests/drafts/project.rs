//! What an agent does all day: a git project of 2,000 files is edited, built, tested and committed in a draft.

use crate::{ask, discard, tree};
use anyhow::{Context, Result, ensure};
use behaviour::{Ended, Place, finish};
use std::fs;

behaviour::for_each_profile! {
    an_agent_works_on_a_project_and_a_person_takes_what_is_good
}

/// 2,000 modules of one function each, a test of every hundredth, and their history.
const MAKE: &str = "
set -e
python3 - <<'END'
import os
os.makedirs('project/tests')
open('project/tests/__init__.py', 'w').close()
for n in range(2000):
    d = f'project/pkg/p{n // 100:02}'
    os.makedirs(d, exist_ok=True)
    open(f'{d}/m{n:04}.py', 'w').write(f'# module {n}\\n\\ndef value():\\n    return {n}\\n')
for n in range(0, 2000, 100):
    text = f'import unittest\\nfrom pkg.p{n // 100:02}.m{n:04} import value\\n\\nclass T(unittest.TestCase):\\n' \\
        f'    def test(self):\\n        self.assertEqual(value(), {n})\\n'
    open(f'project/tests/test_{n:04}.py', 'w').write(text)
open('project/.gitignore', 'w').write('build/\\n')
END
cd project
git init -q -b main .
git config user.name person; git config user.email person@example.com
git add -A; git commit -q -m one";

const AGENT: &str = "
set -e
git checkout -q -b work
for n in $(seq -w 0 39); do
    sed -i \"s/# module.*/# module $n, better/\" pkg/p07/m07$n.py
done
git rm -q pkg/p19/m1999.py
mkdir pkg/extra
printf 'def value():\\n    return 7\\n' > pkg/extra/new.py
printf '#!/bin/sh\\necho owned\\n' > .git/hooks/post-checkout
chmod +x .git/hooks/post-checkout
PYTHONPYCACHEPREFIX=/work/build python3 -m compileall -q pkg
PYTHONPYCACHEPREFIX=/work/build python3 -m unittest discover -q -s tests -t .
git add -A
git -c user.name=agent -c user.email=agent@example.com commit -q -m better";

fn git(place: &Place, words: &str) -> Result<Ended> {
    let done = finish(place.program("sh").args(["-c", &format!("cd project && git {words}")]))?;
    ensure!(done.code() == 0, "git {words}: {}", done.err());
    Ok(done)
}

fn agent(place: &Place, script: &str) -> Result<String> {
    let zone = format!("{}:/work", place.path("project").display());
    let mut command = place.run()?;
    command.args(["--keep", "--draft", &zone, "--cwd", "/work", "--", "sh", "-c", script]);
    let ended = finish(&mut command)?;
    ensure!(ended.code() == 0, "the agent ended with {}: {}", ended.code(), ended.err());
    Ok(ended.report()?["sandbox"].as_str().context("no sandbox")?.to_owned())
}

fn an_agent_works_on_a_project_and_a_person_takes_what_is_good(place: &Place) -> Result<()> {
    let made = finish(place.program("sh").args(["-c", MAKE]))?;
    ensure!(made.code() == 0, "no project: {}", made.err());
    let original = place.path("project");
    let before = tree(&original)?;
    ensure!(before.len() > 2000);
    let id = agent(place, AGENT)?;
    ensure!(tree(&original)? == before, "the original changed before the commit");

    let shown = finish(place.casemate()?.args(["diff", "--state"]).arg(place.state()).arg(&id))?;
    for line in [
        "changed  /work/pkg/p07/m0712.py",
        "deleted  /work/pkg/p19/m1999.py",
        "added    /work/pkg/extra/new.py",
        "-# module 712\n+# module 12, better",
        "added    /work/.git/hooks/post-checkout",
    ] {
        ensure!(shown.out().contains(line), "no {line:?} in the diff");
    }
    // All of it would bring the hook.
    let (code, answer) = ask(place, "commit", &[&id])?;
    ensure!(code == 77, "{code} {answer}");
    ensure!(tree(&original)? == before, "a refused commit changed the original");
    // Parts of it, in two commits.
    let (code, answer) = ask(place, "commit", &[&id, "pkg/p07", "pkg/p19"])?;
    ensure!(code == 0 && answer["committed"]["changes"] == 41, "{code} {answer}");
    let rest = ["pkg", ".git/objects", ".git/refs", ".git/logs", ".git/HEAD", ".git/index"];
    let words: Vec<&str> = std::iter::once(id.as_str()).chain(rest).collect();
    let (code, answer) = ask(place, "commit", &words)?;
    ensure!(code == 0, "{code} {answer}");
    ensure!(git(place, "log -1 --format=%s")?.out().trim() == "better");
    ensure!(git(place, "status --porcelain")?.out().is_empty(), "the work tree is not what was committed");
    git(place, "fsck --strict")?;
    ensure!(!original.join(".git/hooks/post-checkout").exists() && !original.join("build").exists());
    discard(place, &id)?;

    // Two people at one file.
    let before = fs::read_to_string(original.join("pkg/p00/m0000.py"))?;
    let id = agent(place, "echo '# agent' >> pkg/p00/m0000.py; echo '# agent' >> pkg/p00/m0001.py")?;
    fs::write(original.join("pkg/p00/m0000.py"), format!("{before}# person\n"))?;
    let now = tree(&original)?;
    let (code, answer) = ask(place, "commit", &[&id])?;
    ensure!(code == 1 && answer["conflicts"][0]["path"] == "/work/pkg/p00/m0000.py", "{code} {answer}");
    ensure!(tree(&original)? == now, "a commit with a conflict changed the original");
    ensure!(ask(place, "commit", &[&id, "pkg/p00/m0001.py"])?.0 == 0);
    discard(place, &id)?;
    place.verify()
}
