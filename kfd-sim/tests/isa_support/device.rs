//! A command processor with one queue over a bare GPU's memory, so that whole dispatches run as they do below a runtime.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU16, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use kfd_sim::cp::{CommandProcessor, DoorbellPtr, GpuClock, MemoryModel, QueueDesc, QueueKind};
use kfd_sim::device::DeviceSpec;
use kfd_sim::memory::{Access, MemoryFault};
use kfd_sim::ports::Interrupts;

use super::{Dispatch, Gpu};

const PACKETS: u64 = 64;
/// Kernel dispatch with system fences.
const HEADER: u16 = 2 | 2 << 9 | 2 << 11;

struct Nobody;

impl Interrupts for Nobody {
    fn event(&self, _: u32) {}
    fn memory_fault(&self, queue: u32, fault: MemoryFault) {
        println!("queue {queue}: {fault}");
    }
}

/// See the module's description.
pub struct Device {
    /// The device.
    pub cp: Arc<CommandProcessor>,
    /// Its memory.
    pub gpu: Gpu,
    ring: u64,
    structure: u64,
    signal: u64,
    doorbell: Box<AtomicU64>,
    submitted: u64,
    queue: u32,
}

impl Device {
    /// A device whose workgroups run on `threads` host threads.
    pub fn new(threads: usize, model: MemoryModel) -> Self {
        let mut gpu = Gpu::new();
        let (ring, structure, signal) = (gpu.alloc(64 * PACKETS as usize), gpu.alloc(256), gpu.alloc(64));
        gpu.write(ring, &[1, 0].repeat(32).repeat(PACKETS as usize));
        let spec = Arc::new(DeviceSpec::mi50());
        let clock = Arc::new(GpuClock::new(spec.clocks.counter_hz));
        let cp = CommandProcessor::new(spec, gpu.space.clone(), Arc::new(Nobody), clock);
        cp.set_memory_model(model).unwrap();
        cp.set_threads(threads).unwrap();
        let doorbell = Box::new(AtomicU64::new(0));
        let desc = QueueDesc {
            kind: QueueKind::Aql,
            ring_va: ring,
            ring_bytes: 64 * PACKETS,
            read_ptr_va: structure + 0x80,
            write_ptr_va: structure + 0x38,
            doorbell: DoorbellPtr(&*doorbell),
            percentage: 100,
            priority: 7,
            ctx_save_va: 0,
            ctx_save_bytes: 0,
            eop_va: 0,
        };
        let queue = cp.create_queue(desc).unwrap();
        Device { cp, gpu, ring, structure, signal, doorbell, submitted: 0, queue }
    }

    fn host(&self, va: u64) -> *mut u8 {
        self.gpu.space.translate(va, 8, Access::Read).unwrap().at(va)
    }

    /// Runs a dispatch to its end; how long that took.
    pub fn run(&mut self, dispatch: &Dispatch) -> Duration {
        self.run_all(&[dispatch])
    }

    /// Runs dispatches to their end, all published before the first begins, and without order between them; how long that took.
    pub fn run_all(&mut self, dispatches: &[&Dispatch]) -> Duration {
        let several = dispatches.len() > 1;
        if several {
            self.cp.stall_queue(self.queue).unwrap();
        }
        // SAFETY: a word of the device's memory, which lives as long as it does and is accessed atomically by both sides.
        unsafe { AtomicI64::from_ptr(self.host(self.signal + 8).cast()) }
            .store(dispatches.len() as i64, Ordering::Relaxed);
        dispatches.iter().for_each(|dispatch| self.submit(dispatch));
        let start = Instant::now();
        // Release: pairs with the device's acquire load; the packets come first.
        self.doorbell.store(self.submitted - 1, Ordering::Release);
        if several {
            self.cp.resume_queue(self.queue).unwrap();
        }
        // SAFETY: as above.
        let signal = unsafe { AtomicI64::from_ptr(self.host(self.signal + 8).cast()) };
        // Acquire: pairs with the device's release; what the kernel has stored is seen.
        while signal.load(Ordering::Acquire) != 0 {
            assert!(start.elapsed() < Duration::from_secs(60), "{:?}", self.cp.stats());
            std::thread::sleep(Duration::from_micros(100));
        }
        start.elapsed()
    }

    fn submit(&mut self, dispatch: &Dispatch) {
        let mut packet = dispatch.packet(&mut self.gpu);
        packet[56..64].copy_from_slice(&self.signal.to_le_bytes());
        let slot = self.ring + self.submitted % PACKETS * 64;
        self.submitted += 1;
        self.gpu.write(slot + 4, &packet[4..]);
        self.gpu.write(slot + 2, &packet[2..4]);
        // SAFETY: words of the device's memory, which live as long as it does and are accessed atomically by both sides.
        let (header, index) = unsafe {
            (
                AtomicU16::from_ptr(self.host(slot).cast()),
                AtomicU64::from_ptr(self.host(self.structure + 0x38).cast()),
            )
        };
        // Release: pairs with the device's acquire loads of header and index; the packet comes first.
        header.store(HEADER, Ordering::Release);
        index.store(self.submitted, Ordering::Release);
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.cp.shut_down();
    }
}
