//! Parts of the language that this version does not enforce. A document that uses one is understood, and refused by name
//! when it is to be used: a rule that is read and not kept would be worse than none.

use crate::form::{Document, Tier};
use crate::policy::Policy;
use crate::problem::{Rejected, Report};

/// A rule that this version does not enforce.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Unenforced {
    /// The rule, as a document writes it.
    pub rule: &'static str,
    /// Where the document says so, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub message: String,
    /// The mend.
    pub help: &'static str,
}

impl Document {
    /// Makes it what this version enforces.
    ///
    /// # Errors
    /// Every rule that this version understands and does not enforce, with its place and the mend.
    pub fn enforce(self) -> Result<Policy, Rejected> {
        let mut report = Report::default();
        self.refuse_unenforced(&mut report);
        match report.is_empty() {
            true => Ok(self.into_policy()),
            false => Err(report.rejected(&self.read.text, &self.read.origin)),
        }
    }

    /// The rules for which [`Document::enforce`] would refuse it.
    pub fn unenforced(&self) -> Vec<Unenforced> {
        let breaks =
            |key| self.read.text[..self.read.place(key).start].iter().filter(|b| **b == b'\n').count();
        let found = self.found().into_iter();
        found
            .map(|(key, rule, message, help)| Unenforced { rule, line: breaks(key) + 1, message, help })
            .collect()
    }

    pub(crate) fn refuse_unenforced(&self, report: &mut Report) {
        for (key, _, message, help) in self.found() {
            report.refuse(self.read.place(key), message, help);
        }
    }

    /// Each as its key, how it is written, the message and the mend.
    fn found(&self) -> Vec<(&'static str, &'static str, String, &'static str)> {
        let mut found = Vec::new();
        if self.tier != Tier::Native {
            let tier = if self.tier == Tier::Gvisor { "gvisor" } else { "microvm" };
            found.push((
                "tier",
                "tier",
                format!("this version does not build the tier `{tier}`; it builds native walls only"),
                "write `tier = \"native\"` if those walls will do for what runs inside",
            ));
        }
        for (key, form, is_there, mend) in [
            (
                "net",
                "[[net.allow]]",
                !self.net.is_empty(),
                "remove it: without it the sandbox reaches nothing outside itself",
            ),
            (
                "secrets",
                "[secrets]",
                !self.secrets.is_empty(),
                "remove it: nothing secret goes into the sandbox or comes near it",
            ),
            (
                "tools",
                "[[tools]]",
                self.tools.is_some(),
                "remove it, knowing that without it every command may run inside the walls",
            ),
            (
                "budget",
                "[budget]",
                self.budget != Default::default(),
                "remove it; the ceilings that this version keeps are those of [compute]",
            ),
            ("children", "[children]", self.children_max > 0, "remove it: a sandbox cannot make others"),
            (
                "ask",
                "[[ask]]",
                !self.ask.is_empty(),
                "remove it: nobody is asked, and what no rule allows is denied",
            ),
            (
                "cedar",
                "cedar policies about `use`",
                crate::engine::concern_limits(&self.forbids),
                "name the acts that it is about: `action in [Action::\"exec\", Action::\"read\", Action::\"write\"]`",
            ),
        ] {
            if is_there {
                found.push((key, form, format!("this version does not enforce `{form}`"), mend));
            }
        }
        found
    }

    /// What the policies of this version keep of it.
    pub(crate) fn into_policy(self) -> Policy {
        let Document {
            name, about, hash, root, require, landlock_min, limits, lease, files, forbids, ..
        } = self;
        let decided = Default::default();
        Policy { name, about, hash, root, require, landlock_min, limits, lease, files, forbids, decided }
    }
}
