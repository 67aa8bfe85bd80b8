//! What a document says that cannot all be meant: secrets that are not there, questions about nothing, examples that its
//! own rules contradict.

use crate::Rejected;
use crate::engine::Engine;
use crate::form::{AskWhen, Document, Example};
use crate::problem::Report;

impl Document {
    /// Refuses what contradicts itself. `own_asks` of its questions are its own, the others an outer document's.
    pub(crate) fn refuse_contradictions(&self, own_asks: usize, report: &mut Report) {
        // What a document with other mistakes says is not known, and would only confuse.
        if !report.is_empty() {
            return;
        }
        for (place, rule) in self.net.iter().enumerate() {
            let Some(secret) = &rule.secret else { continue };
            if !self.secrets.iter().any(|known| known.name == *secret) {
                let span = self.read.place(&format!("net[{place}].secret"));
                let message = format!("there is no secret `{secret}`");
                report.refuse(span, message, format!("add `[secrets.{secret}]` with `from` and `header`"));
            }
        }
        for secret in &self.secrets {
            if !self.net.iter().any(|rule| rule.secret.as_ref() == Some(&secret.name)) {
                let span = self.read.place(&format!("secrets.{}", secret.name));
                let message = format!("no rule puts the secret `{}` in", secret.name);
                report.refuse(
                    span,
                    message,
                    format!("remove it, or write `secret = \"{}\"` in a rule", secret.name),
                );
            }
        }
        for (place, ask) in self.ask.iter().enumerate().take(own_asks) {
            let message = match &ask.when {
                AskWhen::Tool { name, .. } => {
                    let is_there = self.tools.iter().flatten().any(|tool| tool.name == *name);
                    (!is_there).then(|| format!("there is no tool `{name}` to ask about"))
                }
                AskWhen::Net { .. } => {
                    self.net.is_empty().then(|| "there is no network to ask about".to_owned())
                }
            };
            if let Some(message) = message {
                let span = self.read.place(&format!("ask[{place}]"));
                report.refuse(span, message, "remove the question, or add the rule that it narrows");
            }
        }
        if report.is_empty() {
            self.refuse_contradicted_examples(|_| true, report);
        }
    }

    /// Checks again what its examples deny, once it has from a document around it what it left out.
    ///
    /// # Errors
    /// The examples whose acts are allowed now.
    pub fn keeps_denying(&self) -> Result<(), Rejected> {
        let mut report = Report::default();
        self.refuse_contradicted_examples(|example| !example.allowed, &mut report);
        match report.is_empty() {
            true => Ok(()),
            false => Err(report.rejected(&self.read.text, &self.read.origin)),
        }
    }

    fn refuse_contradicted_examples(&self, which: fn(&Example) -> bool, report: &mut Report) {
        // What a `cedar` block forbids only the engine knows; without one, nothing of it is needed.
        let engine = (!self.forbids.is_empty() && !self.examples.is_empty()).then(|| Engine::new(self));
        for (place, example) in self.examples.iter().enumerate().filter(|(_, example)| which(example)) {
            let Example { act, allowed, .. } = example;
            let (answer, rule) =
                engine.as_ref().map_or_else(|| self.allows_plainly(act), |engine| engine.allows(act));
            if answer == *allowed {
                continue;
            }
            let said = if answer { "allowed" } else { "denied" };
            let message =
                format!("the policy contradicts its example: `{act}` is {said} by the rule `{rule}`");
            let span = self.read.place(&format!("examples[{place}]"));
            report.refuse(
                span,
                message,
                "change the rule or the example; `casemate policy explain` tells more",
            );
        }
    }
}
