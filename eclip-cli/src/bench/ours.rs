//! This library's ways to submit.

use std::rc::Rc;

use anyhow::Result;
use eclip_hsa::{Agent, CuMask, Queue, Token};

use super::contender::{Contender, DRAIN};
use super::results::name;
use super::submit::PACKETS;
use super::work::Saxpy;

/// Every variant that there is; the others are `missing`.
pub fn all(
    gpu: &Agent,
    work: &Rc<Saxpy>,
    _masks: &[CuMask; 2],
    missing: &mut Vec<(&'static str, String)>,
) -> Result<Vec<Box<dyn Contender>>> {
    missing.push((name::REPLAY, "not there yet".into()));
    Ok(vec![Box::new(Single::new(gpu, work)?)])
}

fn queue(gpu: &Agent, label: &str, mask: Option<&CuMask>) -> Result<Queue> {
    let queue = Queue::builder(gpu).label(label).size(2 * PACKETS).kernarg_bytes(1 << 20);
    Ok(match mask {
        Some(mask) => queue.mask(mask.clone()),
        None => queue,
    }
    .create()?)
}

pub struct Single {
    queue: Queue,
    work: Rc<Saxpy>,
    tokens: Vec<Token>,
}

impl Single {
    pub fn new(gpu: &Agent, work: &Rc<Saxpy>) -> Result<Self> {
        let queue = queue(gpu, name::SINGLE, None)?;
        Ok(Self { queue, work: work.clone(), tokens: Vec::with_capacity(PACKETS as usize) })
    }
}

impl Contender for Single {
    fn name(&self) -> &'static str {
        name::SINGLE
    }

    fn submit(&mut self) -> Result<u32> {
        for _ in 0..PACKETS {
            self.tokens.push(self.queue.try_dispatch(self.work.dispatch())?);
        }
        Ok(PACKETS)
    }

    fn drain(&mut self) -> Result<()> {
        self.tokens.clear();
        Ok(self.queue.drain(DRAIN)?)
    }
}
