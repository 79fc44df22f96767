//! The peers' ways to submit: the C loop with and without signals, HIP's launch, HIP's switch between streams.

use std::rc::Rc;
use std::sync::Arc;

use anyhow::Result;
use eclip_hsa::{Agent, CuMask};
use eclip_peers::c_loop::CLoop;
use eclip_peers::hip::{Event, Function, Hip, Module, Stream};

use super::contender::{Contender, DRAIN};
use super::results::name;
use super::submit::RING;
use super::work::{HipArguments, Saxpy};

/// The C loop, one packet after another with a doorbell each.
pub struct C {
    name: &'static str,
    queue: CLoop,
    work: Rc<Saxpy>,
    packets: u32,
    signals: bool,
    /// Keeps the runtime that the queue is of.
    _gpu: Agent,
}

impl C {
    /// `packets` at a time. With `signals`, each packet has a completion signal of its own, which is armed
    /// first.
    pub fn new(
        name: &'static str,
        gpu: &Agent,
        work: &Rc<Saxpy>,
        packets: u32,
        signals: bool,
    ) -> Result<Self> {
        // Twice: the packets before are not complete yet.
        let set = if signals { 2 * packets } else { 0 };
        // SAFETY: the runtime stays initialised while `_gpu` is held; the agent is its own.
        let queue = unsafe { CLoop::new(gpu.runtime().hsa(), gpu.handle(), RING, set)? };
        Ok(Self { name, queue, work: work.clone(), packets, signals, _gpu: gpu.clone() })
    }
}

impl Contender for C {
    fn name(&self) -> &'static str {
        self.name
    }

    /// One call of the C loop for all packets.
    fn submit(&mut self) -> Result<u32> {
        let launch = self.work.launch();
        // SAFETY: the kernel and its arguments belong to `work`, which outlives the queue's drain.
        unsafe {
            match self.signals {
                true => self.queue.submit_with_signals(&launch, self.packets)?,
                false => self.queue.submit(&launch, self.packets)?,
            }
        }
        Ok(self.packets)
    }

    fn drain(&mut self) -> Result<()> {
        Ok(self.queue.drain(DRAIN)?)
    }
}

impl Drop for C {
    fn drop(&mut self) {
        // Before kernel and arguments can go. If it fails the queue is destroyed with its work.
        let _ = self.queue.drain(DRAIN);
    }
}

/// HIP with its kernel, for both of its contenders.
pub struct HipWork {
    hip: Hip,
    function: Function,
    arguments: HipArguments,
    work: Rc<Saxpy>,
}

impl HipWork {
    /// Finds HIP and loads the kernel.
    pub fn new(work: &Rc<Saxpy>) -> Result<Rc<Self>> {
        let hip = Hip::load()?;
        // SAFETY: a whole code object.
        let module = Arc::new(unsafe { Module::load(&hip, work.code())? });
        let function = module.function("saxpy")?;
        Ok(Rc::new(Self { hip, function, arguments: work.hip_arguments(), work: work.clone() }))
    }

    fn launch(&self, stream: &Stream) -> Result<()> {
        let items = self.work.items();
        // SAFETY: the arguments are those of `saxpy`, on buffers that `work` keeps.
        let launched =
            unsafe { self.function.launch(stream, [1; 3], [items, 1, 1], &self.arguments.pointers()) };
        Ok(launched?)
    }
}

/// `hipModuleLaunchKernel` on one stream.
pub struct HipLaunch {
    stream: Stream,
    hip: Rc<HipWork>,
    launches: u32,
}

impl HipLaunch {
    /// `launches` at a time.
    pub fn new(hip: &Rc<HipWork>, launches: u32) -> Result<Self> {
        Ok(Self { stream: hip.hip.stream()?, hip: hip.clone(), launches })
    }
}

impl Contender for HipLaunch {
    fn name(&self) -> &'static str {
        name::HIP
    }

    /// One launch after another.
    fn submit(&mut self) -> Result<u32> {
        for _ in 0..self.launches {
            self.hip.launch(&self.stream)?;
        }
        Ok(self.launches)
    }

    fn drain(&mut self) -> Result<()> {
        Ok(self.stream.synchronize()?)
    }
}

/// HIP's way to let a kernel on one stream wait for a kernel on another: `hipEventRecord`, `hipStreamWaitEvent`, launch.
pub struct HipSwitch {
    streams: [Stream; 2],
    /// As many again: those before have not happened yet.
    events: [Vec<Event>; 2],
    row: usize,
    hip: Rc<HipWork>,
}

impl HipSwitch {
    /// `switches` at a time, between two streams with the masks.
    pub fn new(hip: &Rc<HipWork>, masks: &[CuMask; 2], switches: u32) -> Result<Self> {
        let [first, second] = masks;
        let events = || (0..switches).map(|_| hip.hip.event()).collect::<Result<_, _>>();
        Ok(Self {
            streams: [hip.hip.masked_stream(first.words())?, hip.hip.masked_stream(second.words())?],
            events: [events()?, events()?],
            row: 0,
            hip: hip.clone(),
        })
    }
}

impl Contender for HipSwitch {
    fn name(&self) -> &'static str {
        name::HIP_SWITCH
    }

    /// While signals are pending, a thread of ROCr's looks at all of them for HIP, over and over: a device that is held would
    /// let ever more of them pend, which no GPU that keeps up does.
    fn holds_device(&self) -> bool {
        false
    }

    /// The kernel that the first switch waits for.
    fn prepare(&mut self) -> Result<()> {
        self.hip.launch(&self.streams[0])
    }

    /// Each kernel on the other stream than the one before, and after it. Nothing of the work before is complete.
    fn submit(&mut self) -> Result<u32> {
        self.row = 1 - self.row;
        let events = &self.events[self.row];
        for (turn, event) in events.iter().enumerate() {
            let (before, after) = (&self.streams[turn % 2], &self.streams[(turn + 1) % 2]);
            before.record(event)?;
            after.wait_for(event)?;
            self.hip.launch(after)?;
        }
        Ok(events.len() as u32)
    }

    fn drain(&mut self) -> Result<()> {
        Ok(self.streams.iter().try_for_each(Stream::synchronize)?)
    }
}
