//! The results against the CPU's. Pure.

use anyhow::{Result, bail};
use eclip_hsa::GpuTime;
use eclip_kernels::digits::{self, CLASSES, Score, TRAINED};

use super::mlp::Results;

/// Largest difference of a logit, relative to the largest of its image.
pub const TOLERANCE: f32 = 1e-4;
/// Slack of the GPU's clock when it is translated to the host's, ns.
const CLOCK_SLACK_NS: u64 = 1_000;

/// How close the GPU came.
#[derive(Debug)]
pub struct Verdict {
    /// See [`digits::worst_relative_difference`].
    pub worst_logit: f32,
    /// Largest difference of a probability.
    pub worst_probability: f32,
    /// Correct predictions of images that the model was not trained on.
    pub held_out: Score,
    /// Correct predictions of all images.
    pub all: Score,
}

/// Compares with the reference; an error says what differs.
pub fn results(results: &Results, inputs: &[f32]) -> Result<Verdict> {
    let reference = digits::logits(inputs);
    let Results { logits, probabilities, predictions } = results;
    let images = reference.len();
    if [logits.len(), probabilities.len(), predictions.len()] != [images; 3] {
        bail!("{} rows of results for {images} images", logits.len());
    }
    let worst_logit = digits::worst_relative_difference(&reference, logits);
    if worst_logit > TOLERANCE {
        bail!(
            "logits differ from the CPU's by {worst_logit:.1e} of the image's largest; allowed are {TOLERANCE:.0e}"
        );
    }
    let mut worst_probability = 0f32;
    for (logits, row) in reference.iter().zip(probabilities) {
        for (expected, value) in digits::softmax(logits).iter().zip(row) {
            let difference = (expected - value).abs();
            worst_probability =
                worst_probability.max(if difference.is_nan() { f32::INFINITY } else { difference });
        }
    }
    if worst_probability > TOLERANCE {
        bail!("probabilities differ from the CPU's by {worst_probability:.1e}; allowed are {TOLERANCE:.0e}");
    }
    let differs = |(row, &digit): (&[f32; CLASSES], &u32)| digits::argmax(row) != digit as usize;
    let pairs = || reference.iter().zip(predictions);
    if let Some(first) = pairs().position(differs) {
        let count = pairs().filter(|&pair| differs(pair)).count();
        bail!("{count} predictions differ from the CPU's, the first for image {first}");
    }
    let score = |from: usize| {
        let from = from.min(images);
        let pairs = predictions[from..].iter().zip(&digits::labels()[from..images]);
        Score {
            correct: pairs.filter(|&(&digit, &label)| digit == u32::from(label)).count(),
            images: images - from,
        }
    };
    Ok(Verdict { worst_logit, worst_probability, held_out: score(TRAINED), all: score(0) })
}

/// Checks that nothing began before what it waits for had ended; each pair is (end of that, begin of this).
pub fn order(hops: &[(u64, u64)]) -> Result<()> {
    match hops
        .iter()
        .filter(|&&(end, begin)| begin + CLOCK_SLACK_NS < end)
        .max_by_key(|(end, begin)| end - begin)
    {
        Some((end, begin)) => bail!("a kernel began {} ns before what it waits for had ended", end - begin),
        None => Ok(()),
    }
}

/// ns in which at least one kernel of each list was executing.
pub fn overlap(one: &[GpuTime], other: &[GpuTime]) -> u64 {
    let (one, other) = (merge(one), merge(other));
    let (mut i, mut j, mut total) = (0, 0, 0);
    while let (Some(a), Some(b)) = (one.get(i), other.get(j)) {
        total += a.1.min(b.1).saturating_sub(a.0.max(b.0));
        if a.1 <= b.1 { i += 1 } else { j += 1 }
    }
    total
}

/// ns in which at least one kernel was executing.
pub fn busy(times: &[GpuTime]) -> u64 {
    merge(times).iter().map(|(begin, end)| end - begin).sum()
}

/// Intervals that do not touch, in order.
fn merge(times: &[GpuTime]) -> Vec<(u64, u64)> {
    let mut sorted: Vec<(u64, u64)> = times.iter().map(|time| (time.start_ns, time.end_ns)).collect();
    sorted.sort_unstable();
    let mut merged: Vec<(u64, u64)> = Vec::new();
    for (begin, end) in sorted {
        match merged.last_mut() {
            Some(last) if begin <= last.1 => last.1 = last.1.max(end),
            _ => merged.push((begin, end)),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn right() -> (Results, Vec<f32>) {
        let inputs = digits::inputs();
        let logits = digits::logits(&inputs);
        let probabilities = logits.iter().map(digits::softmax).collect();
        let predictions = logits.iter().map(|row| digits::argmax(row) as u32).collect();
        (Results { logits, probabilities, predictions }, inputs)
    }

    #[test]
    fn the_reference_agrees_with_itself() {
        let (ours, inputs) = right();
        let verdict = results(&ours, &inputs).unwrap();
        assert_eq!((verdict.worst_logit, verdict.worst_probability), (0.0, 0.0));
        assert_eq!((verdict.held_out, verdict.all), (digits::ACCURACY.held_out, digits::ACCURACY.all));
    }

    #[test]
    fn each_kind_of_mistake_is_found() {
        let fails = |spoil: fn(&mut Results)| {
            let (mut ours, inputs) = right();
            spoil(&mut ours);
            results(&ours, &inputs).unwrap_err().to_string()
        };
        assert!(fails(|r| r.logits[1700][3] += 0.1).contains("logits differ"));
        assert!(fails(|r| r.logits[7][0] = f32::NAN).contains("logits differ"));
        assert!(fails(|r| r.probabilities[9][1] += 0.001).contains("probabilities differ"));
        assert!(fails(|r| r.probabilities[9][1] = f32::NAN).contains("probabilities differ"));
        assert!(
            fails(|r| r.predictions[42] = 11)
                .contains("1 predictions differ from the CPU's, the first for image 42")
        );
        assert!(fails(|r| r.predictions.truncate(5)).contains("rows of results"));
    }

    #[test]
    fn order_allows_the_clock_s_slack_only() {
        assert!(order(&[(10_000, 10_500), (10_000, 9_500)]).is_ok());
        assert!(order(&[(10_000, 10_500), (10_000, 7_000)]).unwrap_err().to_string().contains("3000 ns"));
    }

    #[test]
    fn overlap_of_intervals() {
        let times = |list: &[(u64, u64)]| -> Vec<GpuTime> {
            list.iter().map(|&(start_ns, end_ns)| GpuTime { start_ns, end_ns }).collect()
        };
        let one = times(&[(0, 10), (5, 20), (40, 50)]);
        assert_eq!(busy(&one), 30);
        assert_eq!(overlap(&one, &times(&[(15, 45)])), 10);
        assert_eq!(overlap(&one, &times(&[(20, 40), (60, 70)])), 0);
        assert_eq!(overlap(&one, &[]), 0);
    }
}
