//! A device with an arena of GPU memory, and the host's side of queues and signals.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::caches::SharedCaches;
use crate::cp::kernel::RunWorkgroup;
use crate::cp::{CommandProcessor, DoorbellPtr, GpuClock, QueueDesc, QueueKind};
use crate::device::DeviceSpec;
use crate::isa::exec::{Port, Rmw};
use crate::isa::{CodeCache, ExecFault, ExecStats, Launch, Placement, Progress};
use crate::journal::Event;
use crate::memory::{Access, AddressSpace, FaultCause, MemoryFault, MemoryKind, Span};
use crate::plan::{Fault, Followed};
use crate::ports::Interrupts;
use crate::timing::{Shape, TimingModel, Work};

/// GPU address of the arena's first byte: not the host address, so that mixing them up faults.
const BASE: u64 = 0x7000_0000;
const ARENA: u64 = 4 << 20;
/// Its last part is VRAM, the rest host memory.
const VRAM: u64 = 1 << 20;

/// What the fake kernels do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kernel {
    /// Takes that many GPU ns.
    Ns(u64),
    /// Runs until `Rig::release` is set.
    Spin,
    /// A store to unmapped memory.
    MemoryFault,
    /// An instruction that does not exist.
    Illegal,
    /// `s_trap`.
    Trap,
    /// A bug in the interpreter.
    Panic,
    /// Takes that many GPU ns, then loads 8 bytes and stores them.
    Copy { from: u64, to: u64, ns: u64 },
    /// An atomic increment of 8 bytes, without return.
    Increment(u64),
    /// Instructions enough for others to help, then waits until this many workgroups run at the same time.
    Meet(u32),
    /// Stores 1 without waiting for the store, then runs until `Rig::release` is set.
    StoreAndSpin(u64),
}

/// Costs that make the arithmetic of tests simple: one instruction is one ns.
pub struct Plain;

pub const PACKET_NS: u64 = 1_000;
pub const OVERHEAD_NS: u64 = 5_000;

impl TimingModel for Plain {
    fn packet_ns(&self) -> u64 {
        PACKET_NS
    }
    fn dispatch_overhead_ns(&self) -> u64 {
        OVERHEAD_NS
    }
    fn execution_ns(&self, _: &Shape, work: &Work) -> u64 {
        work.longest_workgroup
    }
    fn copy_ns(&self, bytes: u64) -> u64 {
        1_000 + bytes
    }
    fn remap_ns(&self) -> u64 {
        1_000
    }
}

#[derive(Default)]
pub struct Interrupted {
    pub events: Mutex<Vec<u32>>,
    pub faults: Mutex<Vec<(u32, MemoryFault)>>,
    pub notes: Mutex<Vec<Event>>,
    pub plan: Mutex<Followed>,
}

impl Interrupts for Interrupted {
    fn event(&self, event_id: u32) {
        self.events.lock().unwrap().push(event_id);
    }
    fn memory_fault(&self, queue_id: u32, fault: MemoryFault) {
        self.faults.lock().unwrap().push((queue_id, fault));
    }
    fn note(&self, event: Event) {
        self.notes.lock().unwrap().push(event);
    }
    fn planned(&self, queue_id: u32, kernel: Option<&str>) -> Option<Fault> {
        self.plan.lock().unwrap().dispatch(queue_id, kernel)
    }
}

/// Workgroups that have begun and not ended.
#[derive(Default)]
pub struct Alive {
    slots: Vec<u32>,
    /// Most at the same time.
    pub most: usize,
    /// Two had the same scratch slot: as it should be only without scratch memory.
    pub shared: bool,
}

impl Alive {
    fn begin(&mut self, slot: u32) {
        self.shared |= self.slots.contains(&slot);
        self.slots.push(slot);
        self.most = self.most.max(self.slots.len());
    }

    fn end(&mut self, slot: u32) {
        let at = self.slots.iter().position(|&other| other == slot).expect("it has begun");
        self.slots.swap_remove(at);
    }
}

struct Fake {
    kernel: Kernel,
    slot: u32,
    alive: Arc<Mutex<Alive>>,
    begun: bool,
    stats: ExecStats,
    release: Arc<AtomicBool>,
    /// Workgroups that have come to their meeting.
    present: Arc<AtomicU64>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.alive.lock().unwrap().end(self.slot);
    }
}

impl RunWorkgroup for Fake {
    fn run(
        &mut self,
        mem: &AddressSpace,
        caches: Option<&SharedCaches<'_>>,
        _: &mut CodeCache,
        _: &dyn Fn() -> u64,
        budget: u64,
    ) -> Progress {
        let address = 0xc0de;
        match self.kernel {
            Kernel::Ns(ns) => {
                self.stats.salu += budget.min(ns - self.stats.salu);
                if self.stats.salu == ns { Progress::Done } else { Progress::Yielded }
            }
            Kernel::Copy { from, to, ns } => {
                self.stats.salu += budget.min(ns - self.stats.salu);
                if self.stats.salu < ns {
                    return Progress::Yielded;
                }
                let mut port = Port::new(mem, caches);
                let value = port.load64(from).unwrap();
                port.store64(to, value).unwrap();
                Progress::Done
            }
            Kernel::Increment(at) => {
                Port::new(mem, caches).atomic(at, 64, Rmw::Add, 1, 0).unwrap();
                Progress::Done
            }
            Kernel::StoreAndSpin(_) if self.release.load(SeqCst) => Progress::Done,
            Kernel::StoreAndSpin(at) => {
                if !std::mem::replace(&mut self.begun, true) {
                    Port::new(mem, caches).store64(at, 1).unwrap();
                }
                self.stats.salu += budget;
                Progress::Yielded
            }
            Kernel::Meet(count) => {
                self.stats.salu += budget;
                // Long enough that help has come, and all within one slice: a real workgroup never blocks its thread.
                if self.stats.salu < 20_000 {
                    return Progress::Yielded;
                }
                let end = Instant::now() + Duration::from_secs(10);
                self.present.fetch_add(1, SeqCst);
                while self.present.load(SeqCst) < u64::from(count) && Instant::now() < end {
                    std::thread::yield_now();
                }
                Progress::Done
            }
            Kernel::Spin if self.release.load(SeqCst) => Progress::Done,
            Kernel::Spin => {
                self.stats.salu += budget;
                Progress::Yielded
            }
            Kernel::MemoryFault => {
                let cause = FaultCause::NotMapped;
                let fault = MemoryFault { va: 0xbad000, len: 4, access: Access::Write, cause };
                Progress::Fault(ExecFault::Memory { address, fault })
            }
            Kernel::Illegal => {
                let text = "not of gfx906".into();
                Progress::Fault(ExecFault::IllegalInstruction { address, words: [0xffff_ffff, 0], text })
            }
            Kernel::Trap => Progress::Fault(ExecFault::Trap { address, id: 2 }),
            Kernel::Panic => panic!("this panic is part of a test"),
        }
    }

    fn stats(&self) -> ExecStats {
        self.stats
    }
}

pub struct Rig {
    pub cp: Arc<CommandProcessor>,
    pub clock: Arc<GpuClock>,
    pub interrupts: Arc<Interrupted>,
    /// Ends every spinning kernel.
    pub release: Arc<AtomicBool>,
    pub places: Arc<Mutex<Vec<Placement>>>,
    /// Workgroups that have come to their meeting.
    pub present: Arc<AtomicU64>,
    pub alive: Arc<Mutex<Alive>>,
    pub space: Arc<AddressSpace>,
    kernels: Mutex<HashMap<Kernel, u64>>,
    entries: Arc<Mutex<HashMap<u64, Kernel>>>,
    arena: Arc<Vec<AtomicU64>>,
    used: AtomicU64,
    vram: AtomicU64,
}

impl Rig {
    pub fn new() -> Self {
        let arena: Arc<Vec<AtomicU64>> = Arc::new((0..ARENA / 8).map(|_| AtomicU64::new(0)).collect());
        let space = Arc::new(AddressSpace::new());
        let host = arena.as_ptr() as *mut u8;
        let span =
            Span { va: BASE, len: ARENA, host, memory: MemoryKind::Host, writable: true, executable: true };
        // SAFETY: the arena lives as long as the rig, whose drop shuts the device down; it is made of atomics.
        unsafe { space.map(span) };
        let (va, host) = (BASE + ARENA - VRAM, host.wrapping_add((ARENA - VRAM) as usize));
        // SAFETY: as above.
        unsafe { space.map(Span { va, len: VRAM, host, memory: MemoryKind::Vram, ..span }) };
        let spec = Arc::new(DeviceSpec::mi50());
        let clock = Arc::new(GpuClock::new(spec.clocks.counter_hz));
        let interrupts = Arc::<Interrupted>::default();
        let release = Arc::new(AtomicBool::new(false));
        let places = Arc::<Mutex<Vec<Placement>>>::default();
        let entries = Arc::<Mutex<HashMap<u64, Kernel>>>::default();
        let present = Arc::<AtomicU64>::default();
        let alive = Arc::<Mutex<Alive>>::default();
        let make = {
            let (release, places, entries) = (release.clone(), places.clone(), entries.clone());
            let (present, alive) = (present.clone(), alive.clone());
            move |launch: &Launch, _: [u32; 3], place: Placement| -> Box<dyn RunWorkgroup> {
                places.lock().unwrap().push(place);
                let kernel = entries.lock().unwrap()[&launch.entry()];
                let (release, present, alive) = (release.clone(), present.clone(), alive.clone());
                let slot = place.scratch_slot;
                alive.lock().unwrap().begin(slot);
                Box::new(Fake {
                    kernel,
                    slot,
                    alive,
                    begun: false,
                    stats: ExecStats::default(),
                    release,
                    present,
                })
            }
        };
        let cp = CommandProcessor::with_parts(
            spec,
            space.clone(),
            interrupts.clone(),
            clock.clone(),
            Arc::new(Plain),
            Arc::new(make),
        );
        let (kernels, used, vram) = (Mutex::default(), AtomicU64::new(0), AtomicU64::new(ARENA - VRAM));
        Self {
            cp,
            clock,
            interrupts,
            release,
            places,
            present,
            alive,
            space,
            kernels,
            entries,
            arena,
            used,
            vram,
        }
    }

    /// Zeroed GPU memory.
    pub fn alloc(&self, bytes: u64, align: u64) -> u64 {
        loop {
            let used = self.used.load(SeqCst);
            let start = used.next_multiple_of(align);
            assert!(start + bytes <= ARENA - VRAM, "arena is full");
            if self.used.compare_exchange(used, start + bytes, SeqCst, SeqCst).is_ok() {
                return BASE + start;
            }
        }
    }

    /// A zeroed page of VRAM.
    pub fn vram(&self) -> u64 {
        let at = self.vram.fetch_add(4096, SeqCst);
        assert!(at < ARENA, "VRAM is full");
        BASE + at
    }

    pub fn word(&self, va: u64) -> &AtomicU64 {
        assert_eq!(va % 8, 0);
        &self.arena[((va - BASE) / 8) as usize]
    }

    pub fn write(&self, va: u64, bytes: &[u8]) {
        for (i, &byte) in bytes.iter().enumerate() {
            let at = va + i as u64;
            let (word, shift) = (self.word(at & !7), at % 8 * 8);
            word.fetch_and(!(0xff << shift), SeqCst);
            word.fetch_or(u64::from(byte) << shift, SeqCst);
        }
    }

    pub fn read32(&self, va: u64) -> u32 {
        (self.word(va & !7).load(SeqCst) >> (va % 8 * 8)) as u32
    }

    /// Descriptor of a fake kernel.
    pub fn kernel(&self, kernel: Kernel) -> u64 {
        *self.kernels.lock().unwrap().entry(kernel).or_insert_with(|| {
            let object = self.alloc(128, 64);
            self.word(object + 16).store(64, SeqCst);
            self.entries.lock().unwrap().insert(object + 64, kernel);
            object
        })
    }

    pub fn signal(&self, value: i64) -> u64 {
        let handle = self.alloc(64, 64);
        self.word(handle + 8).store(value as u64, SeqCst);
        handle
    }

    /// A signal with a mailbox.
    pub fn interrupt_signal(&self, value: i64, event: u32) -> (u64, u64) {
        let (handle, mailbox) = (self.signal(value), self.alloc(8, 8));
        self.word(handle + 16).store(mailbox, SeqCst);
        self.word(handle + 24).store(u64::from(event), SeqCst);
        (handle, mailbox)
    }

    pub fn value(&self, signal: u64) -> i64 {
        self.word(signal + 8).load(SeqCst) as i64
    }

    pub fn set(&self, signal: u64, value: i64) {
        self.word(signal + 8).store(value as u64, SeqCst);
    }

    pub fn wait(&self, signal: u64, value: i64) {
        self.until(|| self.value(signal) == value, || format!("signal is {}", self.value(signal)));
    }

    pub fn until(&self, done: impl Fn() -> bool, what: impl Fn() -> String) {
        let end = Instant::now() + Duration::from_secs(20);
        while !done() {
            assert!(Instant::now() < end, "{}; {:?}", what(), self.cp.stats());
            std::thread::sleep(Duration::from_micros(50));
        }
    }

    /// Long enough for the device to have done something wrong.
    pub fn settle(&self) {
        std::thread::sleep(Duration::from_millis(15));
    }

    pub fn queue(&self, packets: u64) -> TestQueue<'_> {
        self.queue_with(packets, 7)
    }

    pub fn queue_with(&self, packets: u64, priority: u32) -> TestQueue<'_> {
        let doorbell = Box::new(AtomicU64::new(0));
        let structure = self.alloc(0x100, 64);
        let inactive = self.signal(0);
        self.word(structure + 0xc0).store(inactive, SeqCst);
        let ring = self.alloc(packets * 64, 4096);
        for i in 0..packets {
            self.word(ring + i * 64).store(1, SeqCst);
        }
        let desc = QueueDesc {
            kind: QueueKind::Aql,
            ring_va: ring,
            ring_bytes: packets * 64,
            read_ptr_va: structure + 0x80,
            write_ptr_va: structure + 0x38,
            doorbell: DoorbellPtr(&*doorbell),
            percentage: 100,
            priority,
            ctx_save_va: 0,
            ctx_save_bytes: 0,
            eop_va: 0,
        };
        let id = self.cp.create_queue(desc).unwrap();
        TestQueue { rig: self, id, ring, packets, structure, inactive, doorbell }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.cp.shut_down();
    }
}

/// The host's side of an AQL queue.
pub struct TestQueue<'a> {
    pub rig: &'a Rig,
    pub id: u32,
    pub ring: u64,
    pub packets: u64,
    pub structure: u64,
    pub inactive: u64,
    pub doorbell: Box<AtomicU64>,
}

pub const BARRIER: u16 = 1 << 8;

impl TestQueue<'_> {
    pub fn write_index(&self) -> &AtomicU64 {
        self.rig.word(self.structure + 0x38)
    }

    pub fn read_index(&self) -> u64 {
        self.rig.word(self.structure + 0x80).load(SeqCst)
    }

    /// Writes a packet without telling the device.
    pub fn put(&self, mut packet: [u8; 64]) -> u64 {
        let index = self.write_index().load(SeqCst);
        let full = || format!("ring is full at {index}");
        self.rig.until(|| index - self.read_index() < self.packets, full);
        let slot = self.ring + index % self.packets * 64;
        let header = [packet[0], packet[1]];
        packet[0] = 1;
        packet[1] = 0;
        self.rig.write(slot, &packet);
        self.publish(slot, header);
        self.write_index().store(index + 1, SeqCst);
        index
    }

    pub fn publish(&self, slot: u64, header: [u8; 2]) {
        let header = u64::from(u16::from_le_bytes(header));
        let word = self.rig.word(slot);
        word.store(word.load(SeqCst) & !0xffff | header, SeqCst);
    }

    pub fn ring(&self, value: u64) {
        self.doorbell.store(value, SeqCst);
    }

    pub fn submit(&self, packet: [u8; 64]) -> u64 {
        let index = self.put(packet);
        self.ring(index);
        index
    }

    pub fn dispatch(&self, kernel: Kernel, header: u16, signal: u64) -> u64 {
        self.submit(dispatch(self.rig.kernel(kernel), header, [1, 1, 1], signal))
    }

    pub fn scratch(&self, waves: u32, kib: u32) {
        let at = self.structure + 0x8c;
        self.rig.write(at, &(waves | kib << 12).to_le_bytes());
    }

    pub fn header(&self, index: u64) -> u16 {
        self.rig.word(self.ring + index % self.packets * 64).load(SeqCst) as u16
    }
}

impl Drop for TestQueue<'_> {
    fn drop(&mut self) {
        self.rig.cp.destroy_queue(self.id).unwrap();
    }
}

/// A kernel dispatch of `groups` workgroups of 64.
pub fn dispatch(object: u64, header: u16, groups: [u32; 3], signal: u64) -> [u8; 64] {
    let mut packet = [0; 64];
    let mut put = |at: usize, bytes: &[u8]| packet[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &(2 | header).to_le_bytes());
    put(2, &3u16.to_le_bytes());
    for (dim, group) in groups.into_iter().enumerate() {
        let size: u16 = if dim == 0 { 64 } else { 1 };
        put(4 + 2 * dim, &size.to_le_bytes());
        put(12 + 4 * dim, &(group * u32::from(size)).to_le_bytes());
    }
    put(32, &object.to_le_bytes());
    put(56, &signal.to_le_bytes());
    packet
}

/// Sets the private segment size of a dispatch.
pub fn with_private(mut packet: [u8; 64], bytes: u32) -> [u8; 64] {
    packet[24..28].copy_from_slice(&bytes.to_le_bytes());
    packet
}

/// A barrier packet: `kind` 3 for AND, 5 for OR.
pub fn barrier(kind: u16, header: u16, dependencies: &[u64], signal: u64) -> [u8; 64] {
    let mut packet = [0; 64];
    packet[..2].copy_from_slice(&(kind | header).to_le_bytes());
    for (i, dependency) in dependencies.iter().enumerate() {
        packet[8 + 8 * i..16 + 8 * i].copy_from_slice(&dependency.to_le_bytes());
    }
    packet[56..].copy_from_slice(&signal.to_le_bytes());
    packet
}
