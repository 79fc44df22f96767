//! From samples to results: each variant beside its peers. Pure data.

use super::samples::Samples;

/// Names of the contenders, ours and others'.
pub mod name {
    pub const C: &str = "C loop";
    pub const C_SIGNALS: &str = "C loop with signals";
    pub const HIP: &str = "HIP launch";
    pub const HIP_SWITCH: &str = "HIP switch";
    pub const PLAIN: &str = "plain submission";
    pub const BATCH: &str = "batch";
    pub const SINGLE: &str = "single";
    pub const SWITCH: &str = "switch";
    pub const REPLAY: &str = "replay";
    pub const SCHEDULER: &str = "scheduler";
}

/// One of our ways to submit, and what it is measured against.
pub struct Variant {
    /// Its name.
    pub name: &'static str,
    /// What a line of JSON calls it.
    pub key: &'static str,
    /// Of what a host time is given.
    pub unit: &'static str,
    /// The C loop that does the like.
    pub c: &'static str,
    /// HIP's way to do the like.
    pub hip: &'static str,
    /// What it should reach; none for what is only there to be compared with.
    pub target: Option<Target>,
}

/// A ratio of host times to reach, at most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Target {
    /// The contender that it is a ratio to.
    pub over: &'static str,
    /// The ratio.
    pub ratio: f64,
}

/// Every variant, in the order of the results. Plain submission is what the scheduler is compared with.
pub const VARIANTS: [Variant; 6] = [
    Variant {
        name: name::BATCH,
        key: name::BATCH,
        unit: "ns/packet",
        c: name::C,
        hip: name::HIP,
        target: Some(Target { over: name::C, ratio: 0.25 }),
    },
    Variant {
        name: name::SINGLE,
        key: name::SINGLE,
        unit: "ns/packet",
        c: name::C_SIGNALS,
        hip: name::HIP,
        target: Some(Target { over: name::C_SIGNALS, ratio: 1.2 }),
    },
    Variant {
        name: name::SWITCH,
        key: name::SWITCH,
        unit: "ns/switch",
        c: name::C,
        hip: name::HIP_SWITCH,
        target: Some(Target { over: name::C, ratio: 3.0 }),
    },
    Variant {
        name: name::REPLAY,
        key: name::REPLAY,
        unit: "ns/packet",
        c: name::C,
        hip: name::HIP,
        target: Some(Target { over: name::C, ratio: 0.2 }),
    },
    Variant {
        name: name::SCHEDULER,
        key: name::SCHEDULER,
        unit: "ns/packet",
        c: name::C_SIGNALS,
        hip: name::HIP,
        target: Some(Target { over: name::PLAIN, ratio: 1.5 }),
    },
    Variant {
        name: name::PLAIN,
        key: "plain",
        unit: "ns/packet",
        c: name::C_SIGNALS,
        hip: name::HIP,
        target: None,
    },
];

/// What was measured of a contender.
pub struct Measured {
    /// Its name.
    pub name: &'static str,
    /// Host nanoseconds a unit.
    pub samples: Samples,
}

/// All of a run.
pub struct Results {
    /// In the order in which they were made.
    pub measured: Vec<Measured>,
    /// Contenders that could not be measured, and why.
    pub missing: Vec<(&'static str, String)>,
}

impl Results {
    /// Median of a contender; none if it was not measured.
    pub fn median(&self, name: &str) -> Option<f64> {
        let found = self.measured.iter().find(|measured| measured.name == name)?;
        (found.samples.count() > 0).then(|| found.samples.median())
    }

    /// Ratio of two contenders' medians.
    pub fn ratio(&self, of: &str, over: &str) -> Option<f64> {
        Some(self.median(of)? / self.median(over)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f64]) -> Samples {
        let mut samples = Samples::default();
        values.iter().for_each(|&value| samples.add(value));
        samples
    }

    #[test]
    fn ratios_are_of_medians_and_none_is_made_up() {
        let results = Results {
            measured: vec![
                Measured { name: name::C, samples: of(&[40.0, 50.0, 900.0]) },
                Measured { name: name::BATCH, samples: of(&[10.0, 9.0, 11.0]) },
                Measured { name: name::HIP, samples: of(&[]) },
            ],
            missing: Vec::new(),
        };
        assert_eq!(results.ratio(name::BATCH, name::C), Some(0.2));
        assert_eq!(results.ratio(name::BATCH, name::HIP), None, "nothing was measured");
        assert_eq!(results.ratio(name::REPLAY, name::C), None);
    }

    #[test]
    fn each_variant_has_its_own_name() {
        let mut names = VARIANTS.map(|variant| variant.key).to_vec();
        names.dedup();
        assert_eq!(names, ["batch", "single", "switch", "replay", "scheduler", "plain"]);
    }
}
