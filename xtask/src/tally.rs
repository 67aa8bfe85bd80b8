//! Counts tests: what passed, what failed, what was not run and why.

use std::fmt;

use anyhow::Result;

/// What the tests of the SDKs say of a long test that was not asked for.
const LEFT_FOR_ALL: &str = "left for --all";

/// What came of one part of the tests.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Tally {
    pub(crate) part: String,
    pub(crate) passed: u32,
    pub(crate) failed: u32,
    /// Not asked for: they are long, and there was no `--all`.
    pub(crate) left_for_all: u32,
    /// What could not be run here, each with its reason.
    pub(crate) not_run: Vec<String>,
    /// The part did not get as far as counting, or ended badly.
    pub(crate) broken: Option<String>,
}

impl Tally {
    /// Reads the summary of `cargo nextest run`.
    pub(crate) fn of_nextest(part: &str, log: &str) -> Self {
        let mut tally = Self { part: part.to_owned(), ..Self::default() };
        // `Summary [   9.1s] 30 tests run: 28 passed (1 slow), 1 failed, 1 timed out, 2 skipped`
        let summary = log.lines().map(str::trim).rfind(|line| line.starts_with("Summary ["));
        let Some((_, counts)) = summary.and_then(|line| line.split_once(']')) else {
            tally.broken = Some("it printed no summary".to_owned());
            return tally;
        };
        tally.passed = before(counts, " passed");
        tally.failed = before(counts, " test") - tally.passed;
        tally.left_for_all = before(counts, " skipped");
        tally
    }

    /// Reads the results of `cargo test --doc`.
    pub(crate) fn of_libtest(part: &str, log: &str) -> Self {
        let mut tally = Self { part: part.to_owned(), ..Self::default() };
        for line in log.lines().filter(|line| line.starts_with("test result:")) {
            tally.passed += before(line, " passed");
            tally.failed += before(line, " failed");
            tally.left_for_all += before(line, " ignored");
        }
        tally
    }

    /// Reads a report in JUnit's format. What is marked as left for all is long; anything else that was skipped could
    /// not be run here.
    pub(crate) fn of_junit(part: &str, report: &str) -> Self {
        let mut tally = Self { part: part.to_owned(), ..Self::default() };
        // In text and attributes `<` is escaped, so every tag is one.
        for case in report.split("<testcase").skip(1) {
            let case = case.split("</testcase>").next().unwrap_or(case);
            if case.contains("<failure") || case.contains("<error") {
                tally.failed += 1;
            } else if let Some((head, skipped)) = case.split_once("<skipped") {
                if skipped.contains(LEFT_FOR_ALL) {
                    tally.left_for_all += 1;
                } else {
                    let why = attribute(skipped, "message").unwrap_or("no reason given");
                    tally.not_run.push(format!("{}: {why}", attribute(head, "name").unwrap_or("a test")));
                }
            } else {
                tally.passed += 1;
            }
        }
        if tally.passed + tally.failed == 0 {
            tally.broken = Some("it ran no test".to_owned());
        }
        tally
    }

    /// A part that could not be run to its end is one that failed.
    pub(crate) fn of(part: &str, result: Result<Self>) -> Self {
        match result {
            Ok(tally) => Self { part: part.to_owned(), ..tally },
            Err(error) => {
                Self { part: part.to_owned(), broken: Some(format!("{error:#}")), ..Self::default() }
            }
        }
    }

    pub(crate) fn good(&self) -> bool {
        self.failed == 0 && self.broken.is_none()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { part, passed, failed, left_for_all, not_run, broken } = self;
        write!(f, "{part:<28} {passed:>6} {failed:>6} {left_for_all:>12} {:>7}", not_run.len())?;
        broken.iter().try_for_each(|why| write!(f, "  FAILED: {why}"))
    }
}

/// The number right before the first such word.
fn before(text: &str, word: &str) -> u32 {
    let Some((start, _)) = text.split_once(word) else { return 0 };
    start
        .rsplit(|letter: char| !letter.is_ascii_digit())
        .next()
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(0)
}

/// The value of the first attribute of this name.
fn attribute<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    let (_, value) = tag.split_once(&format!(" {name}=\""))?;
    value.split('"').next()
}

/// Shows all parts and what was not run. Returns whether all is good.
///
/// As root nothing may be left unrun.
pub(crate) fn report(tallies: &[Tally], root: bool) -> bool {
    println!("\n{:<28} {:>6} {:>6} {:>12} {:>7}", "", "passed", "failed", "left for all", "not run");
    tallies.iter().for_each(|tally| println!("{tally}"));
    let unrun: Vec<(&str, &String)> =
        tallies.iter().flat_map(|tally| tally.not_run.iter().map(|why| (tally.part.as_str(), why))).collect();
    unrun.iter().for_each(|(part, why)| println!("not run: {part}: {why}"));
    let sum = |count: fn(&Tally) -> u32| tallies.iter().map(count).sum::<u32>();
    let left = sum(|tally| tally.left_for_all);
    if left > 0 {
        println!("left for `cargo xtask test --all`: {left} long tests");
    }
    let good = tallies.iter().all(Tally::good) && (unrun.is_empty() || !root);
    println!(
        "{}: {} passed, {} failed, {} not run",
        if good { "ok" } else { "FAILED" },
        sum(|tally| tally.passed),
        sum(|tally| tally.failed),
        unrun.len()
    );
    good
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_timed_out_counts_as_failed() {
        let log =
            "x\n     Summary [   9.1s] 30 tests run: 28 passed (1 slow), 1 failed, 1 timed out, 2 skipped\n";
        let wanted = Tally { part: "p".into(), passed: 28, failed: 2, left_for_all: 2, ..Tally::default() };
        assert_eq!(Tally::of_nextest("p", log), wanted);
    }

    #[test]
    fn a_run_of_one_test_is_counted() {
        let log = "Summary [ 0.1s] 1 test run: 1 passed, 0 skipped";
        assert_eq!(Tally::of_nextest("p", log).passed, 1);
    }

    #[test]
    fn a_run_without_a_summary_is_no_success() {
        assert!(!Tally::of_nextest("p", "error: could not compile").good());
    }

    #[test]
    fn a_report_is_counted_by_its_cases() {
        let report = r#"<testsuites><testsuite name="pytest" tests="6">
            <testcase classname="a" name="good" time="0.1" />
            <testcase classname="a" name="bad"><failure message="&lt;testcase"> x </failure></testcase>
            <testcase classname="a" name="broken"><error message="y">z</error></testcase>
            <testcase classname="a" name="long"><skipped type="pytest.skip" message="left for --all">f.py</skipped></testcase>
            <testcase name="other"><skipped type="skipped" message="no such kernel"/></testcase>
            </testsuite></testsuites>"#;
        let wanted = Tally {
            part: "p".into(),
            passed: 1,
            failed: 2,
            left_for_all: 1,
            not_run: vec!["other: no such kernel".into()],
            broken: None,
        };
        assert_eq!(Tally::of_junit("p", report), wanted);
    }

    #[test]
    fn a_report_without_a_test_is_no_success() {
        assert!(!Tally::of_junit("p", "<testsuites></testsuites>").good());
    }

    #[test]
    fn all_crates_with_documentation_are_added_up() {
        let log = "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured\n\
                   test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured\n";
        let wanted = Tally { part: "p".into(), passed: 4, failed: 2, left_for_all: 1, ..Tally::default() };
        assert_eq!(Tally::of_libtest("p", log), wanted);
    }
}
