//! A worker: sends its images through the model, each layer on the queue that its route names.
//!
//! A layer that reads what another queue computes gets a barrier-AND packet in front, with that work's token; on the same queue
//! the barrier bit does. What is complete already needs neither. One thread a worker; queues may be shared.

use std::ops::Range;
use std::time::Duration;

use anyhow::{Context, Result};
use eclip_hsa::{GpuTime, KernelGroup, Pool, Token};

use super::mlp::{Images, Layer, Mlp};

/// Longer than anything here takes, on any device.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Queues of a worker, as indices into the pool.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// The dense layers' queues; each batch begins one further on.
    pub dense: [usize; 3],
    /// Softmax's.
    pub softmax: usize,
    /// Argmax's.
    pub argmax: usize,
}

impl Route {
    /// The queue of a layer of batch number `batch`.
    pub fn queue(&self, layer: Layer, batch: usize) -> usize {
        match layer {
            Layer::Dense(index) => self.dense[(index + batch) % self.dense.len()],
            Layer::Softmax => self.softmax,
            Layer::Argmax => self.argmax,
        }
    }
}

/// One kernel that ran.
#[derive(Clone, Debug)]
pub struct Ran {
    /// Its layer.
    pub layer: Layer,
    /// When, by the GPU's clock.
    pub time: GpuTime,
}

/// What a worker did.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Batches sent.
    pub batches: usize,
    /// Every kernel.
    pub kernels: Vec<Ran>,
    /// Dependencies between queues, as (end of what was waited for, begin of what waited), ns of the GPU's clock.
    pub hops: Vec<(u64, u64)>,
}

struct Sent {
    layer: Layer,
    token: Token,
    /// Index of the submission on another queue that it waits for.
    after: Option<usize>,
}

/// Runs all `images`, `batch` at a time, and waits for them.
pub fn run(
    pool: &Pool,
    mlp: &Mlp,
    images: &Images,
    count: usize,
    batch: usize,
    route: Route,
) -> Result<Report> {
    let mut sent: Vec<Sent> = Vec::new();
    let mut batches = 0;
    for first in (0..count).step_by(batch) {
        let rows = first..(first + batch).min(count);
        send(pool, mlp, images, &rows, batches, route, &mut sent)
            .with_context(|| format!("images {} to {}", rows.start, rows.end - 1))?;
        batches += 1;
    }
    for Sent { token, .. } in &sent {
        token.wait_timeout(PATIENCE)?;
    }
    let times = sent.iter().map(|sent| Ok(sent.token.gpu_time()?)).collect::<Result<Vec<GpuTime>>>()?;
    let kernels = sent.iter().zip(&times).map(|(sent, &time)| Ran { layer: sent.layer, time }).collect();
    let hop = |(sent, time): (&Sent, &GpuTime)| Some((times[sent.after?].end_ns, time.start_ns));
    let hops = sent.iter().zip(&times).filter_map(hop).collect();
    Ok(Report { batches, kernels, hops })
}

/// Submits every layer of one batch of images.
fn send(
    pool: &Pool,
    mlp: &Mlp,
    images: &Images,
    rows: &Range<usize>,
    number: usize,
    route: Route,
    sent: &mut Vec<Sent>,
) -> Result<()> {
    // Last submission of each layer.
    let mut last = [0; Layer::ALL.len()];
    for layer in Layer::ALL {
        let place = route.queue(layer, number);
        let mut producer = layer.reads().map(|layer| (last[layer.index()], route.queue(layer, number)));
        for dispatch in mlp.dispatches(layer, images, rows)? {
            // Each kernel is a submission of its own, so that each has its own times.
            let group = KernelGroup::of(dispatch)?;
            let before = producer.map(|(index, _)| &sent[index].token);
            let before = before.map_or(&[][..], std::slice::from_ref);
            let token = group.on(&pool[place]).after(before).submit(PATIENCE)?;
            let after = producer.filter(|&(_, queue)| queue != place).map(|(index, _)| index);
            sent.push(Sent { layer, token, after });
            producer = Some((sent.len() - 1, place));
        }
        last[layer.index()] = sent.len() - 1;
    }
    Ok(())
}
