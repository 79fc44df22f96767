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

/// Reads a runner's summary line, libtest's or nextest's; `None` for any other line.
///
/// ```text
/// test result: ok. 27 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s
///      Summary [   1.2s] 37 tests run: 34 passed (1 slow), 2 failed, 1 timed out, 3 skipped
///      Summary [   1.2s] 12/37 tests run: 11 passed, 1 failed, 0 skipped
/// ```
pub fn summary(line: &str) -> Option<Counts> {
    let line = plain(line);
    let line = line.trim();
    if let Some(rest) = line.strip_prefix("test result:") {
        let (_, rest) = rest.split_once('.')?;
        return Some(sum(rest.split(';')));
    }
    let (_, rest) = line.strip_prefix("Summary [")?.split_once(']')?;
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

    fn counts(passed: u64, failed: u64, skipped: u64) -> Option<Counts> {
        Some(Counts { passed, failed, skipped })
    }

    #[test]
    fn libtest() {
        let ok =
            "test result: ok. 27 passed; 0 failed; 1 ignored; 0 measured; 5 filtered out; finished in 0.00s";
        assert_eq!(summary(ok), counts(27, 0, 1));
        let failed = "test result: FAILED. 7 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.14s";
        assert_eq!(summary(failed), counts(7, 2, 0));
        let coloured = "test result: \u{1b}[32mok\u{1b}[0m. 3 passed; 0 failed; 0 ignored; 0 measured";
        assert_eq!(summary(coloured), counts(3, 0, 0));
    }

    #[test]
    fn nextest() {
        assert_eq!(summary("     Summary [   0.045s] 37 tests run: 37 passed, 0 skipped"), counts(37, 0, 0));
        assert_eq!(summary("     Summary [   0.045s] 1 test run: 1 passed, 2 skipped"), counts(1, 0, 2));
        let mixed = "Summary [ 301.2s] 40 tests run: 35 passed (1 slow, 1 flaky), 3 failed, 1 timed out, \
                     1 exec failed, 4 skipped";
        assert_eq!(summary(mixed), counts(35, 5, 4));
        let coloured = "\u{1b}[32;1m     Summary\u{1b}[0m [   0.1s] \u{1b}[1m2\u{1b}[0m tests run: \
                        \u{1b}[1m2\u{1b}[0m \u{1b}[32;1mpassed\u{1b}[0m, \u{1b}[1m0\u{1b}[0m skipped";
        assert_eq!(summary(coloured), counts(2, 0, 0));
    }

    #[test]
    fn tests_that_never_ran_have_not_passed() {
        let cancelled = "     Summary [   0.045s] 12/37 tests run: 11 passed, 1 failed, 0 skipped";
        assert_eq!(summary(cancelled), counts(11, 26, 0));
    }

    #[test]
    fn other_lines_are_none() {
        for line in
            ["", "running 27 tests", "test a ... ok", "Summary", "    Finished `test` profile in 1.0s"]
        {
            assert_eq!(summary(line), None, "{line}");
        }
    }
}
