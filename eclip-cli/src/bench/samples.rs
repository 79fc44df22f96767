//! Samples of one quantity: median and spread.

/// Samples, in any order.
#[derive(Clone, Debug, Default)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// Adds one.
    pub fn add(&mut self, sample: f64) {
        self.0.push(sample);
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The middle one.
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// The value below which a share of the samples lies: the nearest sample, NaN if there are none.
    pub fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().saturating_sub(1);
        sorted.get((share * last as f64).round() as usize).copied().unwrap_or(f64::NAN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_and_quartiles() {
        let mut samples = Samples::default();
        assert!(samples.median().is_nan());
        for sample in [9.0, 1.0, 5.0, 3.0, 7.0] {
            samples.add(sample);
        }
        let found = [0.0, 0.25, 0.5, 0.75, 1.0].map(|share| samples.quantile(share));
        assert_eq!(found, [1.0, 3.0, 5.0, 7.0, 9.0]);
        assert_eq!((samples.median(), samples.count()), (5.0, 5));
    }
}
