//! Who may have made a change: what ran in the sandbox at the time that the kernel gave to it.

use super::manifest::Time;
use serde::{Deserialize, Serialize};

/// So many candidates are named; of more it is said that there are more.
const NAMED_MAX: usize = 32;
/// So many that began before a change are looked at.
const LOOKED_AT_MAX: usize = 1000;

/// Something that ran while a draft was open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Act {
    /// What it was.
    pub what: What,
    /// Before this, in nanoseconds since 1970, no change of it can be dated.
    pub start_ns: i128,
    /// When nothing of it could change a file any more; none if that is not known.
    pub end_ns: Option<i128>,
}

/// What changes files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    /// A command.
    Command {
        /// Its number in the sandbox.
        exec: u32,
        /// The command and its arguments, quoted.
        argv: String,
    },
    /// Work on a file through the API.
    Operation {
        /// The number of its record.
        record: u64,
        /// What was done and to which path, quoted.
        done: String,
    },
}

/// Who changed something.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Attribution {
    /// The commands that may have changed it last, by number.
    pub commands: Vec<u32>,
    /// The work through the API that may have, by the number of its record.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub operations: Vec<u64>,
    /// Whether there are more than are named.
    #[serde(skip_serializing_if = "is_false")]
    pub more: bool,
    /// Whether there is no doubt.
    pub certain: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde calls it with")]
fn is_false(more: &bool) -> bool {
    !*more
}

/// All that ran, in an order in which it is found by time.
pub(super) struct Candidates<'a> {
    acts: Vec<&'a Act>,
    /// Up to each of them, when the last of those before and itself had ended; the end of time where one has not.
    ended_ns: Vec<i128>,
}

impl<'a> Candidates<'a> {
    pub(super) fn of(acts: &'a [Act]) -> Candidates<'a> {
        let mut acts: Vec<&Act> = acts.iter().collect();
        acts.sort_by_key(|act| act.start_ns);
        let latest = acts.iter().scan(i128::MIN, |latest, act| {
            *latest = (*latest).max(act.end_ns.unwrap_or(i128::MAX));
            Some(*latest)
        });
        let ended_ns = latest.collect();
        Candidates { acts, ended_ns }
    }

    /// Who may have made a change that the kernel dated `at`; anybody, where it has no date.
    pub(super) fn at(&self, at: Option<Time>) -> Attribution {
        let at = at.map(ns);
        let begun = match at {
            Some(at) => self.acts.partition_point(|act| act.start_ns <= at),
            None => self.acts.len(),
        };
        let mut found = Vec::new();
        let mut more = false;
        for (looked_at, number) in (0..begun).rev().enumerate() {
            if at.is_some_and(|at| self.ended_ns[number] < at) {
                break;
            }
            if found.len() == NAMED_MAX || looked_at == LOOKED_AT_MAX {
                more = true;
                break;
            }
            let act = self.acts[number];
            if act.end_ns.zip(at).is_none_or(|(end, at)| at <= end) {
                found.push(&act.what);
            }
        }
        let mut attribution = Attribution { more, certain: found.len() == 1 && !more, ..Default::default() };
        for what in found.into_iter().rev() {
            match what {
                What::Command { exec, .. } => attribution.commands.push(*exec),
                What::Operation { record, .. } => attribution.operations.push(*record),
            }
        }
        attribution
    }
}

fn ns((seconds, nanoseconds): Time) -> i128 {
    i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(exec: u32, start_ms: i128, end_ms: Option<i128>) -> Act {
        let ns = |ms: i128| ms * 1_000_000;
        let what = What::Command { exec, argv: String::new() };
        Act { what, start_ns: ns(start_ms), end_ns: end_ms.map(ns) }
    }

    fn at(acts: &[Act], ms: i64) -> (Vec<u32>, bool) {
        let time = (ms / 1000, (ms % 1000) as u32 * 1_000_000);
        let found = Candidates::of(acts).at(Some(time));
        assert!(!found.more);
        (found.commands, found.certain)
    }

    #[test]
    fn a_change_is_the_commands_that_ran_at_its_time() {
        let acts = [
            command(1, 1000, Some(2000)),
            command(2, 3000, Some(4000)),
            command(3, 3500, Some(5000)),
            // It left a process behind.
            command(4, 9000, None),
        ];
        assert_eq!(at(&acts, 1500), (vec![1], true));
        assert_eq!(at(&acts, 999), (vec![], false));
        assert_eq!(at(&acts, 3200), (vec![2], true));
        assert_eq!(at(&acts, 3500), (vec![2, 3], false));
        assert_eq!(at(&acts, 4500), (vec![3], true));
        assert_eq!(at(&acts, 5001), (vec![], false));
        assert_eq!(at(&acts, 99_000), (vec![4], true));
        assert_eq!(Candidates::of(&acts).at(None).commands, [1, 2, 3, 4]);
    }

    #[test]
    fn work_through_the_api_is_a_candidate_like_a_command() {
        let what = What::Operation { record: 7, done: "write /work/a".to_owned() };
        let acts = [
            Act { what, start_ns: 1_000_000_000, end_ns: Some(2_000_000_000) },
            command(1, 1800, Some(3000)),
        ];
        let candidates = Candidates::of(&acts);
        let alone = Attribution { operations: vec![7], certain: true, ..Default::default() };
        assert_eq!(candidates.at(Some((1, 500_000_000))), alone);
        let both = Attribution { operations: vec![7], commands: vec![1], ..Default::default() };
        assert_eq!(candidates.at(Some((1, 900_000_000))), both);
    }

    #[test]
    fn of_many_candidates_the_last_are_named_and_never_is_one_certain_for_that() {
        let acts: Vec<Act> = (0..100).map(|number| command(number, number.into(), None)).collect();
        let found = Candidates::of(&acts).at(Some((50, 0)));
        assert_eq!((found.commands, found.more, found.certain), ((68..100).collect(), true, false));
        // One that began long ago and may still run is behind many that have ended.
        let ended = |number: u32| command(number, number.into(), Some(i128::from(number) + 1));
        let acts: Vec<Act> = [command(0, 0, None)].into_iter().chain((1..5000).map(ended)).collect();
        let found = Candidates::of(&acts).at(Some((60, 0)));
        assert_eq!((found.commands, found.more, found.certain), (vec![], true, false));
    }
}
