//! The multi-layer perceptron on the GPU: weights, activations, and the kernels of each layer.
//!
//! A layer is a list of dispatches; on which queue it runs and what it waits for is decided elsewhere. Every batch of images has
//! rows of its own in each buffer, so batches depend on nothing but their own layers.

use std::ops::Range;

use anyhow::Result;
use eclip_hsa::memory::BufferRef;
use eclip_hsa::{Agent, Buffer, Dispatch, Kernel};
use eclip_kernels::digits::{self, CLASSES, PIXELS};

use super::kernels::Kernels;

/// Side of the tiles of the matrix kernel, and of its workgroups.
const TILE: u32 = 16;
/// Lanes of the row kernels (softmax, argmax): one workgroup a row.
const LANES: u32 = 64;

/// What happens to a batch, in order; each entry after the one before, except that both `Softmax` and `Argmax` read the logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// A fully connected layer of the model.
    Dense(usize),
    /// Probabilities.
    Softmax,
    /// Predictions.
    Argmax,
}

/// Fully connected layers of the model.
pub const DENSE: usize = 3;

impl Layer {
    /// All of them.
    pub const ALL: [Self; DENSE + 2] =
        [Self::Dense(0), Self::Dense(1), Self::Dense(2), Self::Softmax, Self::Argmax];

    /// Index in [`Layer::ALL`].
    pub fn index(self) -> usize {
        match self {
            Self::Dense(index) => index,
            Self::Softmax => DENSE,
            Self::Argmax => DENSE + 1,
        }
    }

    /// What tables call it.
    pub fn name(self) -> String {
        match self {
            Self::Dense(index) => {
                let layer = digits::layers()[index];
                let relu = if layer.relu { " + ReLU" } else { "" };
                format!("{} -> {}{relu}", layer.inputs, layer.outputs)
            }
            Self::Softmax => "softmax".into(),
            Self::Argmax => "argmax".into(),
        }
    }

    /// The layer whose output it reads.
    pub fn reads(self) -> Option<Self> {
        match self {
            Self::Dense(0) => None,
            Self::Dense(index) => Some(Self::Dense(index - 1)),
            Self::Softmax | Self::Argmax => Some(Self::Dense(DENSE - 1)),
        }
    }
}

/// Weights on the GPU.
pub struct Mlp {
    layers: Vec<Weights>,
    softmax: Kernel,
    argmax: Kernel,
    matmul: Kernel,
}

struct Weights {
    inputs: u32,
    outputs: u32,
    weights: Buffer<f32>,
    bias: Buffer<f32>,
    finish: Kernel,
}

/// Some images and all that is computed from them, on the GPU.
pub struct Images {
    /// The first is the input; each further one is a layer's output.
    activations: Vec<Buffer<f32>>,
    probabilities: Buffer<f32>,
    predictions: Buffer<u32>,
}

impl Mlp {
    /// Uploads the model.
    pub fn upload(gpu: &Agent, kernels: &Kernels) -> Result<Self> {
        let mut layers = Vec::new();
        for layer in digits::layers() {
            layers.push(Weights {
                inputs: layer.inputs as u32,
                outputs: layer.outputs as u32,
                weights: gpu.upload(layer.weights)?,
                bias: gpu.upload(layer.bias)?,
                finish: if layer.relu { &kernels.bias_relu } else { &kernels.bias }.clone(),
            });
        }
        let (softmax, argmax, matmul) =
            (kernels.softmax.clone(), kernels.argmax.clone(), kernels.matmul.clone());
        Ok(Self { layers, softmax, argmax, matmul })
    }

    /// The kernels of a layer for the images `rows`, in order; each reads what the one before has written.
    pub fn dispatches(&self, layer: Layer, images: &Images, rows: &Range<usize>) -> Result<Vec<Dispatch>> {
        let count = rows.len() as u32;
        let by_row = |kernel: &Kernel, out: BufferRef| -> Result<Dispatch> {
            let logits = images.rows(DENSE, CLASSES, rows)?;
            let dispatch = kernel.dispatch([LANES, count, 1], [LANES, 1, 1]);
            Ok(dispatch.arg(logits).arg(out).arg(count).arg(CLASSES as u32))
        };
        Ok(match layer {
            Layer::Dense(index) => {
                let Weights { inputs, outputs, weights, bias, finish } = &self.layers[index];
                let from = images.rows(index, *inputs as usize, rows)?;
                let to = images.rows(index + 1, *outputs as usize, rows)?;
                // Whole tiles: the kernels ignore what lies outside.
                let grid = [outputs.next_multiple_of(TILE), count.next_multiple_of(TILE), 1];
                let tile = [TILE, TILE, 1];
                let product = self.matmul.dispatch(grid, tile).arg(from).arg(weights).arg(to.clone());
                let product = product.arg(count).arg(*outputs).arg(*inputs);
                let finish = finish.dispatch(grid, tile).arg(to).arg(bias).arg(count).arg(*outputs);
                vec![product, finish]
            }
            Layer::Softmax => vec![by_row(&self.softmax, images.probabilities.at(rows.start * CLASSES)?)?],
            Layer::Argmax => vec![by_row(&self.argmax, images.predictions.at(rows.start)?)?],
        })
    }
}

impl Images {
    /// Uploads inputs, rows of [`PIXELS`] values, and makes room for what is computed.
    pub fn upload(gpu: &Agent, inputs: &[f32]) -> Result<Self> {
        let rows = inputs.len() / PIXELS;
        let mut activations = vec![gpu.upload(inputs)?];
        for layer in digits::layers() {
            activations.push(gpu.alloc(rows * layer.outputs)?);
        }
        Ok(Self { activations, probabilities: gpu.alloc(rows * CLASSES)?, predictions: gpu.alloc(rows)? })
    }

    /// Logits, probabilities and predictions, copied from the GPU.
    pub fn results(&self) -> Result<Results> {
        let rows = |buffer: &Buffer<f32>| -> Result<Vec<[f32; CLASSES]>> {
            Ok(buffer.to_vec()?.as_chunks().0.to_vec())
        };
        Ok(Results {
            logits: rows(&self.activations[DENSE])?,
            probabilities: rows(&self.probabilities)?,
            predictions: self.predictions.to_vec()?,
        })
    }

    fn rows(&self, buffer: usize, width: usize, rows: &Range<usize>) -> Result<BufferRef> {
        Ok(self.activations[buffer].at(rows.start * width)?)
    }
}

/// What came out, a row for each image.
#[derive(Default)]
pub struct Results {
    /// Scores of each digit.
    pub logits: Vec<[f32; CLASSES]>,
    /// The same as probabilities.
    pub probabilities: Vec<[f32; CLASSES]>,
    /// The most probable digit.
    pub predictions: Vec<u32>,
}

impl Results {
    /// Adds another worker's.
    pub fn extend(&mut self, other: Self) {
        self.logits.extend(other.logits);
        self.probabilities.extend(other.probabilities);
        self.predictions.extend(other.predictions);
    }
}
