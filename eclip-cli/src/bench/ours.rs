//! This library's ways to submit: each a contender, and what exactly is timed at its `submit`.
//!
//! Groups are built, queues made and tokens' places reserved before. Tokens are kept until the round is over, as a program does that
//! waits for them.

use anyhow::Result;
use eclip_hsa::{Agent, CuMask, KernelGroup, Queue, Token, Visibility};

use super::contender::{Contender, DRAIN};
use super::requests::{Plain, Replay, Scheduled};
use super::results::name;
use super::submit::{PACKETS, RING};
use super::work::Saxpy;

/// Switches at a time.
const SWITCHES: u32 = PACKETS / 2;

/// Every variant, and plain submission, which the scheduler is compared with.
pub fn all(gpu: &Agent, work: &Saxpy, masks: &[CuMask; 2]) -> Result<Vec<Box<dyn Contender>>> {
    Ok(vec![
        Box::new(Batch::new(gpu, work)?),
        Box::new(Single::new(gpu, work)?),
        Box::new(Switch::new(gpu, work, masks)?),
        Box::new(Replay::new(gpu, work, masks)?),
        Box::new(Plain::new(gpu, work, masks)?),
        Box::new(Scheduled::new(gpu, work, masks)?),
    ])
}

/// A queue with a ring that has room for everything here.
pub fn queue(gpu: &Agent, label: &str, mask: Option<&CuMask>) -> Result<Queue> {
    let mut queue = Queue::builder(gpu).label(label).size(RING);
    if let Some(mask) = mask {
        queue = queue.mask(mask.clone());
    }
    Ok(queue.create()?)
}

/// A group of [`PACKETS`] kernels, in order.
pub struct Batch {
    queue: Queue,
    group: KernelGroup,
}

impl Batch {
    /// Builds group and queue.
    pub fn new(gpu: &Agent, work: &Saxpy) -> Result<Self> {
        let mut builder = KernelGroup::builder(gpu);
        for _ in 0..PACKETS {
            builder.dispatch(work.dispatch())?;
        }
        Ok(Self { queue: queue(gpu, name::BATCH, None)?, group: builder.build()? })
    }
}

impl Contender for Batch {
    fn name(&self) -> &'static str {
        name::BATCH
    }

    /// One submission of the group; its token, which the host can wait for, is dropped.
    fn submit(&mut self) -> Result<u32> {
        self.group.on(&self.queue).try_submit()?;
        Ok(PACKETS)
    }

    fn drain(&mut self) -> Result<()> {
        Ok(self.queue.drain(DRAIN)?)
    }
}

/// A group of one kernel, submitted [`PACKETS`] times, each with a token that the host can wait for.
pub struct Single {
    queue: Queue,
    group: KernelGroup,
    tokens: Vec<Token>,
}

impl Single {
    /// Builds group and queue.
    pub fn new(gpu: &Agent, work: &Saxpy) -> Result<Self> {
        let (queue, group) = (queue(gpu, name::SINGLE, None)?, KernelGroup::of(work.dispatch())?);
        Ok(Self { queue, group, tokens: Vec::with_capacity(2 * PACKETS as usize) })
    }
}

impl Contender for Single {
    fn name(&self) -> &'static str {
        name::SINGLE
    }

    /// One submission after another; the tokens are kept.
    fn submit(&mut self) -> Result<u32> {
        for _ in 0..PACKETS {
            self.tokens.push(self.group.on(&self.queue).try_submit()?);
        }
        Ok(PACKETS)
    }

    fn drain(&mut self) -> Result<()> {
        self.tokens.clear();
        Ok(self.queue.drain(DRAIN)?)
    }
}

/// A kernel on one masked queue, the next on another and after it, and so on to and fro.
pub struct Switch {
    queues: [Queue; 2],
    group: KernelGroup,
    last: Option<Token>,
    barriers: u64,
}

impl Switch {
    /// Builds group and queues.
    pub fn new(gpu: &Agent, work: &Saxpy, masks: &[CuMask; 2]) -> Result<Self> {
        let [first, second] = masks;
        let queues = [queue(gpu, "switch 1", Some(first))?, queue(gpu, "switch 2", Some(second))?];
        Ok(Self { queues, group: KernelGroup::of(work.dispatch())?, last: None, barriers: 0 })
    }

    fn barriers(&self) -> u64 {
        self.queues.iter().map(|queue| queue.packet_counts().barriers).sum()
    }
}

impl Contender for Switch {
    fn name(&self) -> &'static str {
        name::SWITCH
    }

    /// The kernel that the first switch waits for.
    fn prepare(&mut self) -> Result<()> {
        let first = self.group.on(&self.queues[0]).visibility(Visibility::Agent);
        self.last = Some(first.try_submit()?);
        self.barriers = self.barriers();
        Ok(())
    }

    /// Each submission is a barrier-AND packet and a kernel, after the one before, which is on the other queue and not complete.
    fn submit(&mut self) -> Result<u32> {
        for turn in 0..SWITCHES as usize {
            let submission = self.group.on(&self.queues[(turn + 1) % 2]).after(self.last.as_slice());
            self.last = Some(submission.visibility(Visibility::Agent).try_submit()?);
        }
        Ok(SWITCHES)
    }

    fn drain(&mut self) -> Result<()> {
        let made = self.barriers() - self.barriers;
        // On hardware that keeps up, a kernel may be complete before the next is submitted, which then needs no barrier.
        anyhow::ensure!(made <= 2 * u64::from(SWITCHES), "{made} barriers for twice {SWITCHES} switches");
        self.last = None;
        Ok(self.queues.iter().try_for_each(|queue| queue.drain(DRAIN))?)
    }
}
