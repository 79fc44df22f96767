//! The GPU: queues in, starts and ends of kernels out, in GPU time.
//!
//! [`Gpu`] is one value with no clock, no thread and no I/O. Time moves only in [`Gpu::advance`]; everything else happens at
//! [`Gpu::now`]. Between two events all rates are constant, so times and joules are exact up to rounding.
//!
//! Inside: `queue` (packets, pipes, slices, masks) offers kernels to `dispatch` (which CU takes the next workgroup), `cu` says how
//! fast each workgroup goes, `memory` shares bandwidth, `power` adds up joules.

mod cu;
mod dispatch;
mod groups;
mod memory;
mod power;
mod queue;
mod rates;
mod run;
mod timer;

use std::collections::{HashMap, VecDeque};

pub(crate) use self::cu::Room;
use self::cu::{Cu, CuRates};
pub use self::power::Energy;
use self::power::{Activity, Watts};
pub use self::queue::Order;
use self::queue::{Flight, Pipe, Queue};
use self::run::Run;
use self::timer::{Timer, Timers};
use crate::device::{Device, DispatchPolicy};
use crate::error::ModelError;

/// Times closer than this are one moment, ns.
const MOMENT: f64 = 1e-4;

/// A queue of one [`Gpu`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueId(pub u32);

/// A packet of one [`Gpu`]; later ones are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PacketId(pub u64);

/// What happened to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A kernel's start time: the command processor has read the packet and launches it.
    Started,
    /// A kernel's end time, or a barrier's.
    Ended,
}

/// Something that a host could see.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Event {
    /// GPU time, ns. [`Event::time_ns`] rounds it.
    pub time: f64,
    /// Whose.
    pub packet: PacketId,
    /// Its queue.
    pub queue: QueueId,
    /// What.
    pub kind: EventKind,
}

impl Event {
    /// The time in whole ns.
    pub fn time_ns(&self) -> u64 {
        self.time.round() as u64
    }
}

/// How the computation is done; not what is modelled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Precision {
    /// Rounds of identical workgroups are computed at once. Off: one by one, to check the other.
    pub coalesce: bool,
    /// Relative change of a kernel's share of memory that is worth computing.
    pub memory: f64,
    /// Workgroups, and CUs with the same workgroups, that are so far apart in what they have done (1 = all of it) are taken as
    /// equally far; the sum of what is done stays.
    pub merge: f64,
    /// Kernels that take turns on the same CUs exchange room until neither's workgroups end more than so many times as often as
    /// the other's. 0: as long as both have workgroups waiting.
    pub unfair: f64,
}

impl Precision {
    /// Nothing is taken together that is not the same.
    pub const EXACT: Self = Self { coalesce: false, memory: 0.0, merge: 1e-9, unfair: 0.0 };

    /// About half the default's cost where kernels take turns on the same CUs. Changes what single workers get there: for three models that
    /// share a simulated MI50, rates by -11, +2 and -1 %.
    pub const FAST: Self = Self { coalesce: true, memory: 0.03, merge: 0.05, unfair: 1.5 };
}

impl Default for Precision {
    fn default() -> Self {
        Self { coalesce: true, memory: 5e-3, merge: 0.05, unfair: 0.0 }
    }
}

/// How much has been computed, to judge its cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effort {
    /// Moments at which something happened.
    pub moments: u64,
    /// CUs whose rates were computed.
    pub rated: u64,
    /// Groups of workgroups placed on a CU.
    pub placed: u64,
}

/// A GPU in GPU time.
#[derive(Debug)]
pub struct Gpu {
    device: Device,
    precision: Precision,
    rates: CuRates,
    watts: Watts,
    now: f64,
    /// CUs, those in the same state in one entry. Entries without members are free.
    cus: Vec<Cu>,
    /// Entries of `cus` of each shader engine.
    engines: Vec<Vec<usize>>,
    free_cus: Vec<usize>,
    /// For each CU: which masks enable it, as a number. Only CUs of one class are ever in one entry.
    classes: Vec<u32>,
    /// For each entry: when its next workgroup ends.
    next: Vec<f64>,
    /// For each entry: what it draws.
    activity: Vec<Activity>,
    total: Activity,
    energy: Energy,
    /// CUs whose rates must be computed again.
    stale: Vec<usize>,
    runs: Vec<Option<Run>>,
    free_runs: Vec<usize>,
    /// Kernels with workgroups to place, in the order in which they came.
    offered: Vec<usize>,
    /// Who is first next time, for taking turns.
    rotation: usize,
    /// Shader engine's turn, kept from kernel to kernel.
    turn: usize,
    dispatch_wanted: bool,
    /// CUs where workgroups ended since the dispatcher looked last.
    freed: Vec<usize>,
    queues: Vec<Queue>,
    pipes: Vec<Pipe>,
    /// Queues that wait for a place on the hardware.
    unmapped: VecDeque<usize>,
    mapped: VecDeque<usize>,
    quantum_armed: bool,
    /// The driver sets one mask at a time.
    mask_free: f64,
    flights: HashMap<PacketId, Flight>,
    next_packet: u64,
    timers: Timers,
    events: VecDeque<Event>,
    random: fastrand::Rng,
    effort: Effort,
    scratch: Vec<(f64, f64)>,
}

impl Gpu {
    /// An idle GPU at time 0. `seed` decides what is drawn at random: the costs of SET_CU_MASK.
    pub fn new(device: Device, seed: u64) -> Result<Self, ModelError> {
        Self::with_precision(device, seed, Precision::default())
    }

    /// As [`Gpu::new`], computing as `precision` says.
    pub fn with_precision(device: Device, seed: u64, precision: Precision) -> Result<Self, ModelError> {
        device.check()?;
        let (engines, per_se) =
            (device.shape.shader_engines.value as usize, device.shape.cus_per_se.value as usize);
        let group = |engine: usize| {
            let members = engine * per_se..(engine + 1) * per_se;
            Cu::new(&device, engine, members.map(|cu| cu as u16).collect())
        };
        let cus: Vec<Cu> = (0..engines).map(group).collect();
        Ok(Self {
            rates: CuRates {
                simds: device.shape.simds_per_cu.value,
                bandwidth: device.memory.cu_bandwidth.value,
                interference: device.compute.interference.value,
            },
            watts: Watts::of(&device),
            now: 0.0,
            cus,
            engines: (0..engines).map(|engine| vec![engine]).collect(),
            free_cus: Vec::new(),
            classes: vec![0; engines * per_se],
            next: vec![f64::INFINITY; engines],
            activity: vec![Activity::default(); engines],
            total: Activity::default(),
            energy: Energy::default(),
            stale: Vec::new(),
            runs: Vec::new(),
            free_runs: Vec::new(),
            offered: Vec::new(),
            rotation: 0,
            turn: 0,
            dispatch_wanted: false,
            freed: Vec::new(),
            queues: Vec::new(),
            pipes: vec![Pipe::default(); device.shape.pipes.value as usize],
            unmapped: VecDeque::new(),
            mapped: VecDeque::new(),
            quantum_armed: false,
            mask_free: 0.0,
            flights: HashMap::new(),
            next_packet: 0,
            timers: Timers::default(),
            events: VecDeque::new(),
            random: fastrand::Rng::with_seed(seed),
            effort: Effort::default(),
            scratch: Vec::new(),
            device,
            precision,
        })
    }

    /// The device as it was given.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// GPU time, ns.
    pub fn now(&self) -> f64 {
        self.now
    }

    /// Joules up to [`Gpu::now`].
    pub fn energy(&self) -> Energy {
        self.energy
    }

    /// Watts at this moment.
    pub fn watts(&mut self) -> f64 {
        self.settle();
        self.watts.at(&self.total)
    }

    /// How much was computed so far.
    pub fn effort(&self) -> Effort {
        self.effort
    }

    /// Workgroups on CU number `cu` (shader engine by shader engine) at this moment. 0 for a CU that does not exist.
    pub fn resident_workgroups(&mut self, cu: usize) -> u32 {
        self.settle();
        let group =
            self.cus.iter().find(|group| group.members.iter().any(|&member| usize::from(member) == cu));
        group.map_or(0, |group| group.cohorts.iter().map(|cohort| cohort.n).sum())
    }

    /// When something happens inside, if nothing is submitted before: not necessarily something that [`Gpu::advance`]
    /// returns. `None` if nothing will.
    pub fn next_moment(&mut self) -> Option<f64> {
        if !self.events.is_empty() {
            return Some(self.now);
        }
        self.settle();
        let next = self.upcoming();
        next.is_finite().then_some(next)
    }

    /// Lets time pass until something visible happens, and returns it, or until `limit` (ns). The clock then stands at that
    /// moment. A `limit` in the past lets no time pass.
    pub fn advance(&mut self, limit: f64) -> Option<Event> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            self.settle();
            let next = self.upcoming();
            if next > limit {
                if limit.is_finite() {
                    self.pass_to(limit);
                }
                return None;
            }
            if next == f64::INFINITY {
                return None;
            }
            self.pass_to(next);
            self.happen();
        }
    }

    fn upcoming(&self) -> f64 {
        let cus = self.next.iter().copied().fold(f64::INFINITY, f64::min);
        let streams = self.offered.iter().filter_map(|&slot| self.runs[slot].as_ref()).map(Run::stream_end);
        let streams = streams.fold(f64::INFINITY, f64::min);
        cus.min(streams).min(self.timers.next_time()).max(self.now)
    }

    fn pass_to(&mut self, time: f64) {
        if time > self.now {
            self.energy.add(&self.watts, &self.total, time - self.now);
            self.now = time;
        }
    }

    /// What happens at this moment.
    fn happen(&mut self) {
        self.effort.moments += 1;
        while let Some(timer) = self.timers.due(self.now + MOMENT) {
            match timer {
                Timer::Queue(queue) => self.look_again(queue),
                Timer::Packet(queue) => self.packet_read(queue),
                Timer::Offer(slot) => self.offer(slot),
                Timer::End(slot) => self.kernel_ended(slot),
                Timer::Resume(queue) => self.resume(queue),
                Timer::Mapped(queue) => self.map(queue),
                Timer::Quantum => self.quantum(),
            }
        }
        for index in 0..self.offered.len() {
            let slot = self.offered[index];
            if self.runs[slot].as_ref().is_some_and(|run| run.stream_end() <= self.now + MOMENT) {
                self.end_stream(slot);
                self.dispatch_wanted = true;
            }
        }
        for cu in 0..self.cus.len() {
            if self.next[cu] <= self.now + MOMENT {
                self.end_workgroups(cu);
            }
        }
    }

    /// Places what can be placed and brings all rates up to date.
    fn settle(&mut self) {
        while self.dispatch_wanted {
            self.dispatch_wanted = false;
            match self.device.policy {
                DispatchPolicy::OldestFirst => self.dispatch_oldest(),
                DispatchPolicy::RoundRobin => self.dispatch_in_turn(),
            }
        }
        if !self.stale.is_empty() {
            self.refresh();
        }
    }
}
