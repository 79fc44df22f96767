//! Handwritten digits: the 1,797 8x8 images of UCI's "Optical Recognition of Handwritten Digits" test set
//! (E. Alpaydin, C. Kaynak, CC BY 4.0; see `data/digits/README.md`), a small multi-layer perceptron trained on the
//! first 1,200 of them, and its forward pass on the CPU, against which a GPU's results are compared.
//!
//! ```
//! use eclip_kernels::digits;
//!
//! let logits = digits::logits(&digits::inputs());
//! let correct = logits.iter().zip(digits::labels()).filter(|(l, d)| digits::argmax(*l) == usize::from(**d)).count();
//! assert_eq!(correct, digits::ACCURACY.all.correct);
//! ```

use std::sync::LazyLock;

/// Number of images.
pub const IMAGES: usize = 1797;
/// Values of an image: 8 rows of 8 pixels.
pub const PIXELS: usize = 64;
/// Number of digits, and of logits for each image.
pub const CLASSES: usize = 10;
/// The model was trained on images `0..TRAINED`; `TRAINED..IMAGES` are held out.
pub const TRAINED: usize = 1200;

/// Correct predictions among some images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Score {
    /// Images whose largest logit is that of their label.
    pub correct: usize,
    /// Images looked at.
    pub images: usize,
}

impl Score {
    /// Part of the images that is correct, 0 to 1.
    pub fn accuracy(&self) -> f64 {
        self.correct as f64 / self.images as f64
    }
}

/// The model's scores as the training script reported them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accuracy {
    /// Images trained on.
    pub trained: Score,
    /// Images held out: the honest figure.
    pub held_out: Score,
    /// Both.
    pub all: Score,
}

/// What the training script reported (`data/digits/accuracy.txt`).
pub const ACCURACY: Accuracy = Accuracy {
    trained: Score { correct: 1200, images: TRAINED },
    held_out: Score { correct: 574, images: IMAGES - TRAINED },
    all: Score { correct: 1774, images: IMAGES },
};

/// One fully connected layer: `output = input * weights + bias`, then ReLU if `relu`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Layer {
    /// Values in.
    pub inputs: usize,
    /// Values out.
    pub outputs: usize,
    /// `inputs * outputs` weights, row-major: that from input i to output o is at `i * outputs + o`.
    pub weights: &'static [f32],
    /// `outputs` biases.
    pub bias: &'static [f32],
    /// Whether negative outputs become 0 (all layers but the last).
    pub relu: bool,
}

/// Widths between the layers.
const SIZES: [usize; 4] = [PIXELS, 128, 64, CLASSES];

static PIXEL_BYTES: &[u8; IMAGES * PIXELS] = include_bytes!("../data/digits/images.u8");
static LABELS: &[u8; IMAGES] = include_bytes!("../data/digits/labels.u8");
static WEIGHT_BYTES: &[u8; 4 * 17226] = include_bytes!("../data/digits/weights.f32");

static WEIGHTS: LazyLock<Vec<f32>> =
    LazyLock::new(|| WEIGHT_BYTES.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect());

/// The images as in the data set: row-major pixels, 0 (empty) to 16.
pub fn images() -> &'static [[u8; PIXELS]] {
    PIXEL_BYTES.as_chunks().0
}

/// The digit that each image shows.
pub fn labels() -> &'static [u8] {
    LABELS
}

/// The model's input for all images: `IMAGES` rows of `PIXELS` values, pixel / 16 (exact in f32).
pub fn inputs() -> Vec<f32> {
    PIXEL_BYTES.iter().map(|p| f32::from(*p) / 16.0).collect()
}

/// The model: 64 -> 128 -> 64 -> 10.
pub fn layers() -> [Layer; 3] {
    let mut rest: &'static [f32] = &WEIGHTS;
    let mut take = |n: usize| {
        let (head, tail) = rest.split_at(n);
        rest = tail;
        head
    };
    std::array::from_fn(|i| {
        let (inputs, outputs) = (SIZES[i], SIZES[i + 1]);
        Layer { inputs, outputs, weights: take(inputs * outputs), bias: take(outputs), relu: i < 2 }
    })
}

impl Layer {
    /// The layer's output for `input`, rows of [`inputs`](Layer::inputs) values. Sums are made in f64 and rounded once.
    ///
    /// # Panics
    /// If `input` is not whole rows.
    pub fn forward(&self, input: &[f32]) -> Vec<f32> {
        assert_eq!(input.len() % self.inputs, 0, "input is not whole rows of {} values", self.inputs);
        let mut output = Vec::with_capacity(input.len() / self.inputs * self.outputs);
        for row in input.chunks_exact(self.inputs) {
            let mut sums: Vec<f64> = self.bias.iter().map(|b| f64::from(*b)).collect();
            for (value, weights) in row.iter().zip(self.weights.chunks_exact(self.outputs)) {
                for (sum, weight) in sums.iter_mut().zip(weights) {
                    *sum += f64::from(*value) * f64::from(*weight);
                }
            }
            output.extend(sums.iter().map(|s| if self.relu { s.max(0.0) } else { *s } as f32));
        }
        output
    }
}

/// Reference logits for `input`, rows of [`PIXELS`] values as [`inputs`] gives.
///
/// # Panics
/// If `input` is not whole rows.
pub fn logits(input: &[f32]) -> Vec<[f32; CLASSES]> {
    let output = layers().iter().fold(input.to_vec(), |x, layer| layer.forward(&x));
    output.as_chunks().0.to_vec()
}

/// Reference softmax of one row of logits.
pub fn softmax(logits: &[f32; CLASSES]) -> [f32; CLASSES] {
    let largest = f64::from(logits[argmax(logits)]);
    let powers = logits.map(|l| (f64::from(l) - largest).exp());
    let sum: f64 = powers.iter().sum();
    powers.map(|p| (p / sum) as f32)
}

/// Index of the largest logit, the first of equals.
pub fn argmax(logits: &[f32; CLASSES]) -> usize {
    (1..CLASSES).fold(0, |best, i| if logits[i] > logits[best] { i } else { best })
}

/// Largest difference between a logit and its reference, relative to the largest reference logit of its image.
///
/// (A logit that happens to be near 0 is a sum of large terms: relative to itself, its rounding has no bound.)
/// NaN anywhere gives infinity.
///
/// # Panics
/// If the lengths differ.
pub fn worst_relative_difference(reference: &[[f32; CLASSES]], values: &[[f32; CLASSES]]) -> f32 {
    assert_eq!(reference.len(), values.len(), "one row of logits for each reference row");
    let mut worst = 0f32;
    for (r, v) in reference.iter().zip(values) {
        let largest = r.iter().fold(f32::MIN_POSITIVE, |m, l| m.max(l.abs()));
        for (r, v) in r.iter().zip(v) {
            let difference = (r - v).abs() / largest;
            worst = worst.max(if difference.is_nan() { f32::INFINITY } else { difference });
        }
    }
    worst
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(right: &[bool]) -> Score {
        Score { correct: right.iter().filter(|r| **r).count(), images: right.len() }
    }

    #[test]
    fn data_is_sane() {
        assert!(PIXEL_BYTES.iter().all(|p| *p <= 16));
        // Counts of each digit, published with the data set.
        let counts: Vec<usize> = (0..10).map(|d| labels().iter().filter(|l| **l == d).count()).collect();
        assert_eq!(counts, [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
        assert_eq!(images()[0][..8], [0, 0, 5, 13, 9, 1, 0, 0]);
        assert_eq!(inputs()[3], 13.0 / 16.0);
    }

    #[test]
    fn layers_use_every_weight() {
        let used: usize = layers().iter().map(|l| l.weights.len() + l.bias.len()).sum();
        assert_eq!(used, WEIGHTS.len());
        assert!(WEIGHTS.iter().all(|w| w.is_finite()));
    }

    #[test]
    fn accuracy_is_what_the_script_reported() {
        let right: Vec<bool> =
            logits(&inputs()).iter().zip(labels()).map(|(l, d)| argmax(l) == usize::from(*d)).collect();
        let measured = Accuracy {
            trained: score(&right[..TRAINED]),
            held_out: score(&right[TRAINED..]),
            all: score(&right),
        };
        assert_eq!(measured, ACCURACY);
        assert!(measured.held_out.accuracy() > 0.95);
        let line = |name: &str, s: Score| format!("{name} {} {}\n", s.correct, s.images);
        let report = line("train", measured.trained)
            + &line("held_out", measured.held_out)
            + &line("all", measured.all);
        assert_eq!(report, include_str!("../data/digits/accuracy.txt"));
    }

    #[test]
    fn a_layer_by_hand() {
        let layer = Layer {
            inputs: 2,
            outputs: 3,
            weights: &[1.0, 2.0, -3.0, 0.5, 0.0, 1.0],
            bias: &[0.25, -8.0, 1.0],
            relu: true,
        };
        assert_eq!(layer.forward(&[2.0, 4.0, 0.0, 0.0]), [4.25, 0.0, 0.0, 0.25, 0.0, 1.0]);
        assert_eq!(Layer { relu: false, ..layer }.forward(&[2.0, 4.0]), [4.25, -4.0, -1.0]);
    }

    #[test]
    fn softmax_and_argmax() {
        let mut row = [0.0f32; CLASSES];
        assert_eq!(argmax(&row), 0);
        row[3] = 2.0;
        row[7] = 2.0;
        assert_eq!(argmax(&row), 3);
        let p = softmax(&row);
        assert!((p.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        assert!((p[3] - 2f32.exp() / (8.0 + 2.0 * 2f32.exp())).abs() < 1e-6);
        // Large logits do not overflow.
        assert_eq!(softmax(&row.map(|l| l * 1e30))[3], 0.5);
    }

    #[test]
    fn difference_is_relative_to_the_row() {
        let reference = [[0.0, 8.0, -4.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]; 2];
        let mut values = reference;
        assert_eq!(worst_relative_difference(&reference, &values), 0.0);
        values[1][0] = 2.0;
        assert_eq!(worst_relative_difference(&reference, &values), 0.25);
        values[0][0] = f32::NAN;
        assert_eq!(worst_relative_difference(&reference, &values), f32::INFINITY);
    }

    /// How far f32 accumulation, as on a GPU, is from the reference: the tolerance of 1e-4 leaves room.
    #[test]
    fn f32_accumulation_is_within_tolerance() {
        let mut x = inputs();
        for layer in layers() {
            let mut y = Vec::new();
            for row in x.chunks_exact(layer.inputs) {
                for o in 0..layer.outputs {
                    let sum = (0..layer.inputs)
                        .fold(0f32, |sum, i| row[i].mul_add(layer.weights[i * layer.outputs + o], sum));
                    let sum = sum + layer.bias[o];
                    y.push(if layer.relu { sum.max(0.0) } else { sum });
                }
            }
            x = y;
        }
        let reference = logits(&inputs());
        let worst = worst_relative_difference(&reference, x.as_chunks().0);
        let mut close = f32::MAX;
        for row in &reference {
            let mut sorted = *row;
            sorted.sort_by(f32::total_cmp);
            close = close.min(sorted[9] - sorted[8]);
        }
        println!("worst relative difference {worst:e}, closest decision {close}");
        assert!(worst < 1e-5);
        // No prediction hangs on rounding.
        assert!(close > 0.04);
    }
}
