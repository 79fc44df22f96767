//! A kernel in flight.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::device::Device;
use crate::engine::PacketId;
use crate::engine::cu::Work;
use crate::kernel::{Cost, Kernel};
use crate::mask::Mask;

/// Workgroups that wait for room, all equally far: 0, or what they had done when their queue was taken off the hardware.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group {
    pub n: u64,
    pub done: f64,
}

/// Where a streaming kernel's waiting workgroups have got to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stream {
    /// Workgroups done by the cohorts that stream, counted from when they began (fractions included).
    pub consumed: f64,
    /// How fast that grows.
    pub rate: f64,
    /// When `consumed` was true.
    pub since: f64,
}

/// A kernel in flight.
#[derive(Debug)]
pub(crate) struct Run {
    pub packet: PacketId,
    pub queue: usize,
    pub kernel: Arc<Kernel>,
    pub mask: Mask,
    pub cost: Cost,
    pub work: Work,
    pub launch_ns: f64,
    pub completion_ns: f64,
    /// Waiting workgroups, those of interrupted ones first.
    pub groups: VecDeque<Group>,
    /// Sum of `groups`.
    pub pending: u64,
    /// Workgroups on CUs.
    pub resident: u64,
    /// Which of the mask's shader engines has the next turn.
    pub turn: usize,
    /// The dispatcher may place its workgroups.
    pub offered: bool,
    /// Its queue is off the hardware.
    pub stopped: bool,
    /// All CUs were full at least once.
    pub filled: bool,
    /// The dispatcher has tried to place its workgroups since it came, or came back.
    pub looked: bool,
    pub stream: Option<Stream>,
    /// Bytes a ns that its cohorts would like to move.
    pub demand: f64,
    /// Share of it that memory grants.
    pub grant: f64,
    /// The share has just changed.
    pub regranted: bool,
}

impl Run {
    pub fn new(
        device: &Device,
        packet: PacketId,
        queue: usize,
        kernel: Arc<Kernel>,
        cost: Cost,
        mask: Mask,
    ) -> Self {
        let saturating = kernel.saturating_waves.unwrap_or(device.compute.saturating_waves.value);
        let work = Work {
            waves: f64::from(kernel.waves),
            issue_ns: kernel.issue_ns,
            bytes: kernel.bytes,
            latency_rate: if kernel.latency_ns > 0.0 { 1.0 / kernel.latency_ns } else { f64::INFINITY },
            wave_share: 1.0 / saturating,
        };
        let half = kernel.overhead_ns.map(|overhead| overhead / 2.0);
        Self {
            packet,
            queue,
            mask,
            cost,
            work,
            launch_ns: half.unwrap_or(device.cp.launch_ns.value),
            completion_ns: half.unwrap_or(device.cp.completion_ns.value),
            groups: VecDeque::from([Group { n: kernel.workgroups, done: 0.0 }]),
            pending: kernel.workgroups,
            resident: 0,
            turn: 0,
            offered: false,
            stopped: false,
            filled: false,
            looked: false,
            stream: None,
            demand: 0.0,
            grant: 1.0,
            regranted: false,
            kernel,
        }
    }

    /// Whether the dispatcher has something to place for it.
    pub fn waits(&self) -> bool {
        self.offered && !self.stopped && self.pending > 0
    }

    /// Puts interrupted workgroups back in front.
    pub fn put_back(&mut self, n: u64, done: f64) {
        self.pending += n;
        if let Some(group) = self.groups.iter_mut().find(|group| (group.done - done).abs() < 1e-9) {
            group.n += n;
            return;
        }
        // Those that have come farthest go first.
        let place = self.groups.iter().position(|group| group.done < done).unwrap_or(self.groups.len());
        self.groups.insert(place, Group { n, done });
    }

    /// Takes up to `n` equally far workgroups.
    pub fn take(&mut self, n: u64) -> Group {
        let Some(front) = self.groups.front_mut() else { return Group { n: 0, done: 0.0 } };
        let taken = Group { n: n.min(front.n), done: front.done };
        front.n -= taken.n;
        if front.n == 0 {
            self.groups.pop_front();
        }
        self.pending -= taken.n;
        taken
    }

    /// Brings the stream's count up to `now`.
    pub fn touch_stream(&mut self, now: f64) {
        if let Some(stream) = &mut self.stream {
            stream.consumed += stream.rate * (now - stream.since);
            stream.since = now;
        }
    }

    /// When the stream has used up the waiting workgroups, if rates stay.
    pub fn stream_end(&self) -> f64 {
        match &self.stream {
            Some(stream) if stream.rate > 0.0 => {
                stream.since + ((self.pending as f64 - stream.consumed) / stream.rate).max(0.0)
            }
            _ => f64::INFINITY,
        }
    }
}
