//! Fault plans: what goes wrong on purpose, and when, reproducible from a seed.
//!
//! A plan is a list of rules. Each rule counts what it matches (calls of an ioctl, dispatches of a queue or a kernel) and strikes at
//! some of them. Whether it strikes at the n-th match is a function of the plan's seed, the rule's place and n alone: two runs whose
//! dispatches come in the same order on each queue fail in the same places, whatever the threads' timing. A rule without a
//! queue counts over all queues, in the order in which the command processor takes the packets.
//!
//! As a file, in TOML:
//!
//! ```toml
//! seed = 7
//!
//! [[rule]]
//! ioctl = "CREATE_QUEUE"      # or "any"
//! errno = "ENOMEM"
//! chance = 0.1                # one call in ten, chosen by the seed
//!
//! [[rule]]
//! dispatch = "vector_add"     # kernel's name, or "any"
//! queue = 3                   # id, optional
//! nth = 2                     # the second one only
//! fault = "memory_fault"
//! ```
//!
//! A rule strikes always, or says `nth`, `every` or `chance`. Any thread.

use serde::Deserialize;
use std::path::Path;

use crate::kernel::record::errno_by_name;
use crate::kernel::uapi::{KFD_NAMES, kfd_nr};

/// What happens to a dispatch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// A load from an unmapped page: a memory fault, as for the whole process.
    MemoryFault,
    /// An instruction that does not exist: the queue stops.
    IllegalInstruction,
    /// A trap: the queue stops.
    Trap,
    /// An access outside the apertures: the queue stops.
    Aperture,
    /// It never completes. Destroying the queue ends it.
    Hang,
    /// It completes 10 ms of GPU time later.
    Delay,
    /// Its signal is decremented, and the interrupt is lost.
    LostInterrupt,
}

/// See the module's description.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultPlan {
    /// Chooses among the matches of rules with a chance.
    #[serde(default)]
    pub seed: u64,
    /// Rules; the first that strikes counts.
    #[serde(default, rename = "rule")]
    pub rules: Vec<Rule>,
}

/// One rule: exactly one of `ioctl` (with `errno`) and `dispatch` (with `fault`).
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Name of a KFD ioctl, or `any`.
    pub ioctl: Option<String>,
    /// What it answers, such as `ENOMEM`.
    pub errno: Option<String>,
    /// Name of a kernel, or `any`.
    pub dispatch: Option<String>,
    /// Only on the queue with this id.
    pub queue: Option<u32>,
    /// What happens to the dispatch.
    pub fault: Option<Fault>,
    /// Strikes at this match only, counted from 1.
    pub nth: Option<u64>,
    /// Strikes at each match whose number is a multiple.
    pub every: Option<u64>,
    /// Strikes with this probability.
    pub chance: Option<f64>,
}

/// A plan that makes no sense.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PlanError {
    /// The file cannot be read.
    #[error("cannot read {0}: {1}")]
    File(String, String),
    /// Not TOML, or an unknown key.
    #[error("{0}")]
    Syntax(String),
    /// A rule that cannot be followed.
    #[error("rule {0}: {1}")]
    Rule(usize, String),
}

impl FaultPlan {
    /// Reads a plan's file.
    pub fn read(file: &Path) -> Result<Self, PlanError> {
        let text = std::fs::read_to_string(file)
            .map_err(|why| PlanError::File(file.display().to_string(), why.to_string()))?;
        Self::parse(&text)
    }

    /// Reads a plan and checks it.
    pub fn parse(text: &str) -> Result<Self, PlanError> {
        let plan: Self = toml::from_str(text).map_err(|why| PlanError::Syntax(why.to_string()))?;
        plan.check()?;
        Ok(plan)
    }

    /// Whether every rule can be followed. Rules are counted from 1.
    pub fn check(&self) -> Result<(), PlanError> {
        for (index, rule) in self.rules.iter().enumerate() {
            rule.check().map_err(|why| PlanError::Rule(index + 1, why))?;
        }
        Ok(())
    }
}

impl Rule {
    fn check(&self) -> Result<(), String> {
        match (&self.ioctl, &self.dispatch) {
            (Some(name), None) => {
                if name != "any" && kfd_nr(name).is_none() {
                    return Err(format!("{name:?} is no KFD ioctl; known are {}", list(KFD_NAMES)));
                }
                match self.errno.as_deref() {
                    None => return Err("an ioctl rule needs errno, such as \"ENOMEM\"".into()),
                    Some(errno) if errno_by_name(errno).is_none() => {
                        return Err(format!("{errno:?} is no errno known here"));
                    }
                    Some(_) => {}
                }
                if self.fault.is_some() || self.queue.is_some() {
                    return Err("fault and queue belong to dispatch rules".into());
                }
            }
            (None, Some(_)) if self.fault.is_none() => {
                return Err("a dispatch rule needs fault, such as \"memory_fault\"".into());
            }
            (None, Some(_)) if self.errno.is_some() => return Err("errno belongs to ioctl rules".into()),
            (None, Some(_)) => {}
            _ => return Err("expected exactly one of ioctl and dispatch".into()),
        }
        let times = [self.nth.is_some(), self.every.is_some(), self.chance.is_some()];
        if times.into_iter().filter(|given| *given).count() > 1 {
            return Err("at most one of nth, every and chance".into());
        }
        if self.nth == Some(0) || self.every == Some(0) {
            return Err("nth and every count from 1".into());
        }
        if self.chance.is_some_and(|chance| !(0.0..=1.0).contains(&chance)) {
            return Err("chance is from 0 to 1".into());
        }
        Ok(())
    }

    fn strikes(&self, seed: u64, place: usize, count: u64) -> bool {
        match (self.nth, self.every, self.chance) {
            (Some(nth), ..) => count == nth,
            (_, Some(every), _) => count.is_multiple_of(every),
            (.., Some(chance)) => unit(seed, place as u64, count) < chance,
            _ => true,
        }
    }
}

fn list(names: &[(u32, &str)]) -> String {
    names.iter().map(|(_, name)| *name).collect::<Vec<_>>().join(", ")
}

/// A number in [0, 1) that depends on all three (SplitMix64: Steele, Lea, Flood, 2014).
fn unit(seed: u64, place: u64, count: u64) -> f64 {
    let mix = |mut z: u64| {
        z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    };
    (mix(mix(mix(seed) ^ place) ^ count) >> 11) as f64 / (1u64 << 53) as f64
}

/// A plan that is being followed: counts matches.
#[derive(Debug, Default)]
pub(crate) struct Followed {
    plan: FaultPlan,
    counts: Vec<u64>,
}

impl Followed {
    /// Nothing counted yet. The plan must have been checked.
    pub fn new(plan: FaultPlan) -> Self {
        let counts = vec![0; plan.rules.len()];
        Self { plan, counts }
    }

    fn first<T>(&mut self, matches: impl Fn(&Rule) -> Option<T>) -> Option<T> {
        let mut strikes = None;
        for (place, rule) in self.plan.rules.iter().enumerate() {
            let Some(what) = matches(rule) else { continue };
            self.counts[place] += 1;
            if rule.strikes(self.plan.seed, place, self.counts[place]) && strikes.is_none() {
                strikes = Some(what);
            }
        }
        strikes
    }

    /// The errno that a KFD ioctl shall answer.
    pub fn ioctl(&mut self, nr: u32) -> Option<i32> {
        self.first(|rule| {
            let name = rule.ioctl.as_deref()?;
            let ours = name == "any" || kfd_nr(name) == Some(nr);
            ours.then(|| rule.errno.as_deref().and_then(errno_by_name)).flatten()
        })
    }

    /// What shall happen to a dispatch.
    pub fn dispatch(&mut self, queue: u32, kernel: Option<&str>) -> Option<Fault> {
        self.first(|rule| {
            let name = rule.dispatch.as_deref()?;
            let ours = (name == "any" || Some(name) == kernel) && rule.queue.is_none_or(|id| id == queue);
            if ours { rule.fault } else { None }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dispatches(seed: u64, chance: f64) -> Vec<bool> {
        let rule = Rule {
            dispatch: Some("any".into()),
            fault: Some(Fault::Trap),
            chance: Some(chance),
            ..Rule::default()
        };
        let mut plan = Followed::new(FaultPlan { seed, rules: vec![rule] });
        (0..1000).map(|_| plan.dispatch(1, None).is_some()).collect()
    }

    #[test]
    fn a_seed_chooses_and_repeats_its_choice() {
        assert_eq!(dispatches(7, 0.1), dispatches(7, 0.1));
        assert_ne!(dispatches(7, 0.1), dispatches(8, 0.1));
        let struck = dispatches(7, 0.1).into_iter().filter(|s| *s).count();
        assert!((60..140).contains(&struck), "{struck}");
        assert!(!dispatches(7, 0.0).contains(&true) && !dispatches(7, 1.0).contains(&false));
    }

    #[test]
    fn rules_count_their_own_matches() {
        let text = r#"
            [[rule]]
            dispatch = "add"
            queue = 2
            nth = 2
            fault = "hang"
            [[rule]]
            dispatch = "any"
            every = 3
            fault = "trap"
            [[rule]]
            ioctl = "SET_CU_MASK"
            errno = "EINVAL"
        "#;
        let mut plan = Followed::new(FaultPlan::parse(text).unwrap());
        let seen: Vec<_> = [(2, "add"), (1, "add"), (2, "add"), (2, "sub"), (2, "add"), (1, "x")]
            .map(|(queue, kernel)| plan.dispatch(queue, Some(kernel)))
            .into();
        assert_eq!(seen, [None, None, Some(Fault::Hang), None, None, Some(Fault::Trap)]);
        assert_eq!((plan.ioctl(0x1a), plan.ioctl(0x02)), (Some(libc::EINVAL), None));
    }

    #[test]
    fn plans_that_make_no_sense_say_why() {
        for (text, why) in [
            ("[[rule]]\nioctl = \"NOPE\"\nerrno = \"EIO\"", "rule 1: \"NOPE\" is no KFD ioctl"),
            ("[[rule]]\nioctl = \"SVM\"", "needs errno"),
            ("[[rule]]\nioctl = \"SVM\"\nerrno = \"EWHAT\"", "no errno"),
            ("[[rule]]\ndispatch = \"any\"", "needs fault"),
            ("[[rule]]\ndispatch = \"any\"\nfault = \"trap\"\nnth = 0", "count from 1"),
            ("[[rule]]\ndispatch = \"any\"\nfault = \"trap\"\nnth = 1\nevery = 2", "at most one"),
            ("[[rule]]\ndispatch = \"any\"\nfault = \"trap\"\nchance = 1.5", "0 to 1"),
            ("[[rule]]\nnth = 1", "exactly one"),
            ("[[rule]]\ndispatch = \"any\"\nfault = \"bang\"", "bang"),
            ("sed = 1", "sed"),
        ] {
            let error = FaultPlan::parse(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
        assert!(FaultPlan::read("/nonexistent".as_ref()).unwrap_err().to_string().contains("/nonexistent"));
    }
}
