//! A list of steps: each is run, timed and recorded, whatever became of the ones before; a table at the end.

use std::fmt::Write;
use std::time::{Duration, Instant};

use crate::counts::Counts;

/// What became of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It did what it should.
    Passed,
    /// It ran tests; the step itself counts nothing.
    Tests(Counts),
    /// It went wrong, with tests counted so far if it ran any. The text is one line: the output was shown already.
    Failed(Counts, String),
    /// It was not run; why.
    Skipped(String),
}

impl Outcome {
    /// What it adds to the total.
    fn counts(&self) -> Counts {
        match self {
            Outcome::Passed => Counts { passed: 1, ..Counts::default() },
            Outcome::Tests(counts) => *counts,
            // A failure without a failed test (a build error, a crash) counts itself.
            Outcome::Failed(counts, _) => Counts { failed: counts.failed.max(1), ..*counts },
            Outcome::Skipped(_) => Counts { skipped: 1, ..Counts::default() },
        }
    }
}

/// Steps run so far.
#[derive(Default)]
pub struct Steps {
    done: Vec<(&'static str, Outcome, Duration)>,
}

impl Steps {
    /// Runs one step, announced by its name.
    pub fn run(&mut self, name: &'static str, step: impl FnOnce() -> Outcome) {
        println!("\n==> {name}");
        let start = Instant::now();
        let outcome = step();
        match &outcome {
            Outcome::Failed(_, why) => println!("{name} failed: {why}"),
            Outcome::Skipped(why) => println!("skipped: {why}"),
            Outcome::Passed | Outcome::Tests(_) => {}
        }
        self.done.push((name, outcome, start.elapsed()));
    }

    /// The sum over all steps.
    pub fn total(&self) -> Counts {
        let mut total = Counts::default();
        for (_, outcome, _) in &self.done {
            total += outcome.counts();
        }
        total
    }

    /// The table, and the total as the last line, alone.
    pub fn summary(&self) -> String {
        let mut text = String::new();
        for (name, outcome, time) in &self.done {
            let (word, remark) = match outcome {
                Outcome::Passed => ("passed", String::new()),
                Outcome::Tests(counts) => ("passed", counts.to_string()),
                Outcome::Failed(counts, why) if *counts == Counts::default() => ("FAILED", why.clone()),
                Outcome::Failed(counts, why) => ("FAILED", format!("{counts} ({why})")),
                Outcome::Skipped(why) => ("skipped", why.clone()),
            };
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "{}",
                format!("{name:<14} {word:<8} {:>7.1} s  {remark}", time.as_secs_f64()).trim_end()
            );
        }
        let _ = write!(text, "\n{}", self.total());
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_count_tests_and_steps() {
        let mut steps = Steps::default();
        steps.run("rustfmt", || Outcome::Passed);
        steps.run("tests", || Outcome::Tests(Counts { passed: 10, failed: 0, skipped: 2 }));
        steps.run("bindings", || Outcome::Skipped("no headers".into()));
        assert_eq!(steps.total(), Counts { passed: 11, failed: 0, skipped: 3 });
        assert!(steps.summary().ends_with("\n\n11 passed, 0 failed, 3 skipped"), "{}", steps.summary());
    }

    #[test]
    fn failures_are_counted_once_and_named() {
        let mut steps = Steps::default();
        let ran = Counts { passed: 4, failed: 2, skipped: 0 };
        steps.run("tests", || Outcome::Failed(ran, "exit status: 100".into()));
        steps.run("clippy", || Outcome::Failed(Counts::default(), "exit status: 101".into()));
        let crashed = Counts { passed: 3, failed: 0, skipped: 0 };
        steps.run("doc tests", || Outcome::Failed(crashed, "signal: 11".into()));
        assert_eq!(steps.total(), Counts { passed: 7, failed: 4, skipped: 0 });
        let summary = steps.summary();
        assert!(summary.contains("FAILED") && summary.contains("exit status: 101"), "{summary}");
        assert_eq!(summary.lines().last(), Some("7 passed, 4 failed, 0 skipped"));
    }
}
