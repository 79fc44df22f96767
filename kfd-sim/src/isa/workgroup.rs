//! A workgroup on its compute unit: waves, LDS, barrier, and the loop that runs them.

use super::code_cache::{CodeCache, Decoded, illegal};
use super::exec::{Apertures, Env, Lds, Port, State, Stop, Wave, step};
use super::fault::{ExecFault, Progress};
use super::inst::Inst;
use super::launch::{Launch, WAVE};
use crate::caches::SharedCaches;
use crate::memory::AddressSpace;

/// Where a workgroup was placed: what HW_ID shows, and which scratch it may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// Shader engine (0..4).
    pub se: u32,
    /// Shader array in the engine.
    pub sh: u32,
    /// Compute unit position in the array (0..16).
    pub cu: u32,
    /// Compute pipe of the queue.
    pub pipe: u32,
    /// Hardware queue in the pipe.
    pub queue: u32,
    /// Micro engine (1 for compute).
    pub me: u32,
    /// First scratch wave slot: wave `w` of the workgroup uses slot `scratch_slot + w`.
    pub scratch_slot: u32,
}

/// What a workgroup has executed so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExecStats {
    /// Scalar ALU and control instructions.
    pub salu: u64,
    /// Vector ALU instructions.
    pub valu: u64,
    /// Scalar memory instructions.
    pub smem: u64,
    /// Vector memory instructions (flat, global, scratch, buffer).
    pub vmem: u64,
    /// LDS instructions (and lanes' flat accesses to LDS count as `vmem`).
    pub lds: u64,
    /// Lanes that vector ALU instructions worked for.
    pub valu_lanes: u64,
    /// Bytes loaded by vector memory instructions.
    pub vmem_read_bytes: u64,
    /// Bytes stored by vector memory instructions.
    pub vmem_write_bytes: u64,
}

/// One workgroup: registers, LDS, waves. Runs on one thread at a time.
#[derive(Debug)]
pub struct Workgroup {
    waves: Vec<Wave>,
    lds: Lds,
    stats: ExecStats,
    apertures: Apertures,
    /// Wave to continue with.
    turn: usize,
    /// Events raised and not yet taken.
    interrupts: Vec<u32>,
}

/// Wave-instructions that one wave executes before the next has its turn.
const SLICE: u64 = 256;

impl Workgroup {
    /// The workgroup `id` of the launch, placed at `place`, at its first instruction.
    pub fn new(launch: &Launch, id: [u32; 3], place: Placement) -> Self {
        let extent = launch.extent(id);
        let items: u32 = extent.iter().product();
        let count = items.div_ceil(WAVE);
        let desc = &launch.desc;
        let mem_bases =
            (desc.scratch_aperture >> 48) as u32 & 0xffff | (desc.lds_aperture >> 48 << 16) as u32;
        let waves = (0..count)
            .map(|index| {
                let mut sgpr = [0; 128];
                let initial = launch.initial_sgprs(id, index, count, &place);
                sgpr[..initial.len()].copy_from_slice(&initial);
                let mut vgpr = vec![[0; 64]; launch.vgprs() as usize];
                for lane in 0..WAVE {
                    let flat = index * WAVE + lane;
                    let item = [flat % extent[0], flat / extent[0] % extent[1], flat / extent[0] / extent[1]];
                    for (dim, value) in
                        item.into_iter().enumerate().take(launch.workitem_id_dims() as usize + 1)
                    {
                        vgpr[dim][lane as usize] = value;
                    }
                }
                let lanes = (items - index * WAVE).min(WAVE);
                let mut wave = Wave {
                    pc: launch.entry,
                    sgpr,
                    scc: false,
                    vgpr,
                    mode: launch.mode(),
                    hw_id: hw_id(&place, index),
                    mem_bases,
                    alloc: [
                        // GPR_ALLOC: VGPR size [13:8] in fours, SGPR size [27:24] in sixteens, both less one.
                        (launch.vgprs() / 4 - 1) << 8 | (launch.sgprs() / 16 - 1) << 24,
                        // LDS_ALLOC: size [20:12] in 128 dwords.
                        (launch.lds_bytes() / 512) << 12,
                    ],
                    trap_status: 0,
                    stored: false,
                    state: State::Running,
                };
                wave.set_exec(u64::MAX >> (WAVE - lanes));
                wave
            })
            .collect();
        let private_bytes = desc.scratch.map_or(0, |s| s.wave_bytes / u64::from(WAVE)) as u32;
        Workgroup {
            waves,
            lds: Lds::new(launch.lds_bytes()),
            stats: ExecStats::default(),
            apertures: Apertures { lds: desc.lds_aperture, scratch: desc.scratch_aperture, private_bytes },
            turn: 0,
            interrupts: Vec::new(),
        }
    }

    /// Runs up to `budget` wave-instructions; `clock` serves `s_memtime` and `s_memrealtime`.
    ///
    /// Waves take turns, so a wave that spins on memory cannot keep the others from running. After a fault the workgroup
    /// must not be run again.
    pub fn run(
        &mut self,
        launch: &Launch,
        mem: &AddressSpace,
        cache: &mut CodeCache,
        clock: &dyn Fn() -> u64,
        budget: u64,
    ) -> Progress {
        let _ = launch;
        self.run_through(mem, None, cache, clock, budget)
    }

    /// As [`Workgroup::run`], with caches between the waves and memory if there are any.
    pub(crate) fn run_through(
        &mut self,
        mem: &AddressSpace,
        caches: Option<&SharedCaches<'_>>,
        cache: &mut CodeCache,
        clock: &dyn Fn() -> u64,
        budget: u64,
    ) -> Progress {
        let mut left = budget;
        let mut env = Env {
            port: Port::new(mem, caches),
            lds: &mut self.lds,
            stats: &mut self.stats,
            clock,
            apertures: self.apertures,
            interrupts: &mut self.interrupts,
        };
        let progress = loop {
            if left == 0 {
                break Progress::Yielded;
            }
            let count = self.waves.len();
            let next =
                (0..count).map(|n| (self.turn + n) % count).find(|&n| self.waves[n].state == State::Running);
            let Some(turn) = next else {
                if self.waves.iter().all(|wave| wave.state == State::Ended) {
                    break Progress::Done;
                }
                // Every wave that has not ended is at the barrier.
                for wave in self.waves.iter_mut().filter(|wave| wave.state == State::Barrier) {
                    wave.state = State::Running;
                }
                continue;
            };
            self.turn = turn;
            let slice = left.min(SLICE);
            match run_wave(&mut self.waves[turn], &mut env, mem, cache, slice) {
                Ok(used) => left -= used,
                Err(fault) => break Progress::Fault(fault),
            }
            self.turn = (turn + 1) % count;
        };
        let (read, written) = (env.port.read, env.port.written);
        drop(env);
        self.stats.vmem_read_bytes += read;
        self.stats.vmem_write_bytes += written;
        progress
    }

    /// Event ids that its waves have raised by messages since the last call, in order.
    pub fn take_interrupts(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.interrupts)
    }

    /// What has been executed so far.
    pub fn stats(&self) -> &ExecStats {
        &self.stats
    }
}

/// HW_ID of GFX9: wave [3:0], SIMD [5:4], pipe [7:6], CU [11:8], SH 12, SE [14:13], workgroup slot [19:16], VMID [23:20],
/// queue [26:24], state [29:27], ME [31:30]. Waves are spread over the four SIMDs of the CU.
fn hw_id(place: &Placement, wave: u32) -> u32 {
    ((wave / 4) & 15)
        | (wave % 4) << 4
        | (place.pipe & 3) << 6
        | (place.cu & 15) << 8
        | (place.sh & 1) << 12
        | (place.se & 3) << 13
        | (place.queue & 7) << 24
        | (place.me & 3) << 30
}

/// Runs one wave for at most `slice` instructions; returns how many were executed.
fn run_wave(
    wave: &mut Wave,
    env: &mut Env,
    mem: &AddressSpace,
    cache: &mut CodeCache,
    slice: u64,
) -> Result<u64, ExecFault> {
    let mut used = 0;
    while used < slice && wave.state == State::Running {
        env.port.refresh();
        let pc = wave.pc;
        let Decoded { inst, handler } = cache.fetch(pc, mem, env.port.generation())?;
        if usize::from(inst.vgprs) > wave.vgpr.len() {
            let text = format!("{inst}: beyond the {} VGPRs allocated", wave.vgpr.len());
            return Err(illegal(pc, inst.words, text));
        }
        wave.pc = pc + u64::from(inst.size);
        if let Err(stop) = step(wave, inst, *handler, env) {
            return Err(fault(stop, pc, inst, env));
        }
        env.port.let_go();
        used += 1;
    }
    Ok(used)
}

#[cold]
fn fault(stop: Stop, address: u64, inst: &Inst, env: &Env) -> ExecFault {
    match stop {
        Stop::Unsupported(why) => illegal(address, inst.words, format!("{inst}: {why}")),
        Stop::Memory(fault) => ExecFault::Memory { address, fault },
        Stop::Unaligned(va, len) => ExecFault::Unaligned { address, va, len },
        Stop::Lds(offset, len) => ExecFault::LdsBounds { address, offset, len, allocated: env.lds.len() },
        Stop::Scratch(offset, len) => {
            ExecFault::ScratchBounds { address, offset, len, allocated: env.apertures.private_bytes }
        }
        Stop::Trap(id) => ExecFault::Trap { address, id },
    }
}
