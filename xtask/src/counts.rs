//! Test counts, read from the test runners' own summary lines. Pure.

use std::fmt;
use std::ops::AddAssign;

/// How many tests passed, failed, and were skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub passed: u64,
    pub failed: u64,
    pub skipped: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// Which program runs the tests. Each is told apart from what its tests print: a failed test's output is shown, and
/// may hold another runner's summary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runner {
    /// `cargo test`: each test binary prints a result.
    Libtest,
    /// `cargo nextest run`: one summary at the end.
    Nextest,
}

/// Adds up a runner's output, line by line.
#[derive(Debug)]
pub struct Tally {
    runner: Runner,
    counts: Counts,
    summaries: u64,
    failed_binaries: u64,
    failed_results: u64,
}

impl Tally {
    pub fn new(runner: Runner) -> Tally {
        Tally { runner, counts: Counts::default(), summaries: 0, failed_binaries: 0, failed_results: 0 }
    }

    /// Takes one line of output.
    pub fn line(&mut self, line: &str) {
        let line = plain(line);
        match self.runner {
            Runner::Libtest => {
                if let Some(counts) = libtest(&line) {
                    self.counts += counts;
                    self.summaries += 1;
                    self.failed_results += u64::from(counts.failed > 0);
                }
                self.failed_binaries += u64::from(line.starts_with("error: test failed, to rerun pass"));
                self.failed_binaries += u64::from(line.starts_with("error: doctest failed, to rerun pass"));
            }
            Runner::Nextest => {
                if let Some(counts) = nextest(&line) {
                    self.counts = counts;
                    self.summaries = 1;
                }
            }
        }
    }

    /// Everything counted. A test binary that failed without printing a result has crashed: one failure.
    pub fn counts(&self) -> Counts {
        let crashed = self.failed_binaries.saturating_sub(self.failed_results);
        Counts { failed: self.counts.failed + crashed, ..self.counts }
    }

    /// Whether any summary was seen.
    pub fn seen(&self) -> bool {
        self.summaries > 0
    }
}

/// Reads a result line of libtest; `None` for any other line.
///
/// ```text
/// test result: ok. 27 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s
/// ```
fn libtest(line: &str) -> Option<Counts> {
    let (_, rest) = line.strip_prefix("test result:")?.split_once('.')?;
    Some(sum(rest.split(';')))
}

/// Reads nextest's summary line; `None` for any other line.
///
/// ```text
///      Summary [   1.2s] 37 tests run: 34 passed (1 slow), 2 failed, 1 timed out, 3 skipped
///      Summary [   1.2s] 12/37 tests run: 11 passed, 1 failed, 0 skipped
/// ```
fn nextest(line: &str) -> Option<Counts> {
    let (_, rest) = line.trim().strip_prefix("Summary [")?.split_once(']')?;
    let (run, rest) = rest.split_once(" run:")?;
    let mut counts = sum(outside_parentheses(rest).split(','));
    // "12/37 tests": the others never ran, and what did not run did not pass.
    if let Some((ran, planned)) = run.trim().split(' ').next().and_then(|n| n.split_once('/'))
        && let (Ok(ran), Ok(planned)) = (ran.parse::<u64>(), planned.parse::<u64>())
    {
        counts.failed += planned.saturating_sub(ran);
    }
    Some(counts)
}

/// Adds up parts like "3 passed". Whatever is not known to be harmless counts as failed.
fn sum<'a>(parts: impl Iterator<Item = &'a str>) -> Counts {
    let mut counts = Counts::default();
    for part in parts {
        let Some((number, word)) = part.trim().split_once(' ') else { continue };
        let Ok(number) = number.parse::<u64>() else { continue };
        match word.trim() {
            "passed" => counts.passed += number,
            "ignored" | "skipped" => counts.skipped += number,
            "measured" | "filtered out" => {}
            _ => counts.failed += number,
        }
    }
    counts
}

fn outside_parentheses(text: &str) -> String {
    let mut depth = 0_u32;
    let mut outside = String::new();
    for c in text.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ if depth == 0 => outside.push(c),
            _ => {}
        }
    }
    outside
}

/// The line without terminal colours.
fn plain(line: &str) -> String {
    let mut text = String::new();
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            // An escape sequence ends with its first letter.
            chars.find(char::is_ascii_alphabetic);
        } else {
            text.push(c);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(runner: Runner, lines: &[&str]) -> (u64, u64, u64) {
        let mut tally = Tally::new(runner);
        lines.iter().for_each(|line| tally.line(line));
        let Counts { passed, failed, skipped } = tally.counts();
        (passed, failed, skipped)
    }

    const OK: &str =
        "test result: ok. 27 passed; 0 failed; 1 ignored; 0 measured; 5 filtered out; finished in 0.00s";
    const FAILED: &str =
        "test result: FAILED. 7 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.14s";
    const RERUN: &str = "error: test failed, to rerun pass `-p hsa-sys --test layout`";

    #[test]
    fn libtest_results_are_added() {
        assert_eq!(tally(Runner::Libtest, &[OK]), (27, 0, 1));
        assert_eq!(tally(Runner::Libtest, &[OK, "running 9 tests", FAILED, RERUN]), (34, 2, 1));
        let coloured = "test result: \u{1b}[32mok\u{1b}[0m. 3 passed; 0 failed; 0 ignored; 0 measured";
        assert_eq!(tally(Runner::Libtest, &[coloured]), (3, 0, 0));
    }

    #[test]
    fn crashed_test_binary_is_a_failure() {
        assert_eq!(tally(Runner::Libtest, &[OK, RERUN]), (27, 1, 1));
        assert_eq!(tally(Runner::Libtest, &[FAILED, RERUN, RERUN]), (7, 3, 0));
    }

    #[test]
    fn nextest_summary() {
        let one = |line| tally(Runner::Nextest, &[line]);
        assert_eq!(one("     Summary [   0.045s] 37 tests run: 37 passed, 0 skipped"), (37, 0, 0));
        assert_eq!(one("     Summary [   0.045s] 1 test run: 1 passed, 2 skipped"), (1, 0, 2));
        let mixed = "Summary [ 301.2s] 40 tests run: 35 passed (1 slow, 1 flaky), 3 failed, 1 timed out, \
                     1 exec failed, 4 skipped";
        assert_eq!(one(mixed), (35, 5, 4));
        let coloured = "\u{1b}[32;1m     Summary\u{1b}[0m [   0.1s] \u{1b}[1m2\u{1b}[0m tests run: \
                        \u{1b}[1m2\u{1b}[0m \u{1b}[32;1mpassed\u{1b}[0m, \u{1b}[1m0\u{1b}[0m skipped";
        assert_eq!(one(coloured), (2, 0, 0));
    }

    #[test]
    fn output_of_failed_tests_is_not_counted() {
        let summary = "     Summary [   1.802s] 71 tests run: 70 passed, 1 failed, 1 skipped";
        assert_eq!(
            tally(Runner::Nextest, &[FAILED, "    test result: FAILED. 0 passed; 1 failed", summary]),
            (70, 1, 1)
        );
        assert_eq!(tally(Runner::Libtest, &[summary, "    test result: ok. 5 passed; 0 failed"]), (0, 0, 0));
    }

    #[test]
    fn tests_that_never_ran_have_not_passed() {
        let cancelled = "     Summary [   0.045s] 12/37 tests run: 11 passed, 1 failed, 0 skipped";
        assert_eq!(tally(Runner::Nextest, &[cancelled]), (11, 26, 0));
    }

    #[test]
    fn other_lines_are_not_seen() {
        for runner in [Runner::Libtest, Runner::Nextest] {
            let mut tally = Tally::new(runner);
            for line in
                ["", "running 27 tests", "test a ... ok", "Summary", "    Finished `test` profile in 1.0s"]
            {
                tally.line(line);
            }
            assert!(!tally.seen());
        }
    }
}
