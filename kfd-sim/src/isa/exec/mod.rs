//! What instructions do. One file per concept; [`dispatch`] sends each instruction to its own, and common ones have a faster
//! [`Handler`] as well (`fast`).
//!
//! Memory is in order: a load has its result when the instruction ends, so `s_waitcnt` has nothing to wait for. With strict
//! memory the [`Port`] goes through caches: then waiting for stores moves them on ([`Port::drain`]), and the instructions
//! that invalidate caches do ([`Env::cache_maintenance`]).

mod compare;
mod control;
mod divide;
mod exact;
mod fast;
mod float;
mod half;
mod indexing;
mod lanes;
mod lds;
mod media;
mod memory;
mod minmax;
mod packed;
mod rounding;
mod saturate;
mod scalar;
mod scalar_memory;
mod transcendental;
mod vector1;
mod vector2;
mod vector3;
mod vector_memory;
mod wave;

pub use fast::Handler;
pub use lds::Lds;
pub use memory::Port;
#[cfg(test)]
pub use memory::Rmw;
pub use wave::{State, Wave};

use super::inst::{Inst, Op};
use super::workgroup::ExecStats;
use crate::memory::MemoryFault;

/// One value for each lane.
pub type Lanes = [u32; 64];

/// Why an instruction could not be executed.
#[derive(Debug, PartialEq)]
pub enum Stop {
    /// Not implemented, or not allowed in this state.
    Unsupported(&'static str),
    /// Global memory.
    Memory(MemoryFault),
    /// Misaligned atomic or LDS access.
    Unaligned(u64, u32),
    /// Offset and length of an access beyond the workgroup's LDS.
    Lds(u32, u32),
    /// Offset and length of an access beyond the lane's private segment.
    Scratch(u64, u32),
    /// `s_trap`.
    Trap(u8),
}

impl From<MemoryFault> for Stop {
    fn from(fault: MemoryFault) -> Self {
        Stop::Memory(fault)
    }
}

/// Result of an instruction.
pub type Done = Result<(), Stop>;

/// Which cache an instruction invalidates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cache {
    /// Instruction cache.
    Instruction,
    /// Scalar data cache.
    Scalar,
    /// Vector L1 cache.
    Vector,
}

/// Where a workgroup's flat addresses go that are not global memory.
#[derive(Clone, Copy, Debug)]
pub struct Apertures {
    /// Base of the LDS aperture.
    pub lds: u64,
    /// Base of the scratch aperture.
    pub scratch: u64,
    /// Private-segment bytes of each lane.
    pub private_bytes: u32,
}

/// What an instruction reaches beyond its wave.
pub struct Env<'a, 'c> {
    /// Global memory.
    pub port: Port<'a, 'c>,
    /// The workgroup's LDS.
    pub lds: &'a mut Lds,
    /// Statistics.
    pub stats: &'a mut ExecStats,
    /// Clock of `s_memtime`.
    pub clock: &'a dyn Fn() -> u64,
    /// Flat apertures.
    pub apertures: Apertures,
    /// Events that waves raise by a message (`s_sendmsg` of an interrupt).
    pub interrupts: &'a mut Vec<u32>,
}

impl Env<'_, '_> {
    /// Invalidates a cache. Instructions are checked against memory at every fetch, so theirs has nothing to do.
    pub fn cache_maintenance(&mut self, cache: Cache) {
        match cache {
            Cache::Instruction => {}
            Cache::Scalar | Cache::Vector => self.port.invalidate(),
        }
    }
}

/// Executes one instruction with its handler. `wave.pc` already points behind it.
#[inline]
pub fn step(wave: &mut Wave, inst: &Inst, handler: Handler, env: &mut Env) -> Done {
    if wave.mode & (indexing::ENABLED | rounding::ROUND) != 0 {
        return step_rarely(wave, inst, env);
    }
    handler.run(wave, inst, env)
}

/// As [`step`], where MODE indexes registers or rounds other than to nearest: handlers do neither.
#[cold]
fn step_rarely(wave: &mut Wave, inst: &Inst, env: &mut Env) -> Done {
    if indexing::applies(wave, inst) {
        let moved = indexing::moved(wave, inst)?;
        return dispatch(wave, &moved, env);
    }
    dispatch(wave, inst, env)
}

/// Executes one instruction in its general form.
fn dispatch(wave: &mut Wave, inst: &Inst, env: &mut Env) -> Done {
    if wave.mode & rounding::ROUND != 0
        && let Some(done) = rounding::execute(wave, inst)
    {
        env.stats.valu += 1;
        env.stats.valu_lanes += u64::from(wave.exec().count_ones());
        return done;
    }
    match inst.op {
        Op::Vop2(op) => {
            env.stats.valu += 1;
            env.stats.valu_lanes += u64::from(wave.exec().count_ones());
            vector2::execute(wave, inst, op)
        }
        Op::Vop1(op) => {
            env.stats.valu += 1;
            env.stats.valu_lanes += u64::from(wave.exec().count_ones());
            vector1::execute(wave, inst, op)
        }
        Op::Vop3(op) => {
            env.stats.valu += 1;
            env.stats.valu_lanes += u64::from(wave.exec().count_ones());
            vector3::execute(wave, inst, op)
        }
        Op::Vopc(op) => {
            env.stats.valu += 1;
            env.stats.valu_lanes += u64::from(wave.exec().count_ones());
            compare::execute(wave, inst, op)
        }
        Op::Vop3p(op) => {
            env.stats.valu += 1;
            env.stats.valu_lanes += u64::from(wave.exec().count_ones());
            packed::execute(wave, inst, op)
        }
        Op::Sop1(op) => {
            env.stats.salu += 1;
            scalar::sop1(wave, inst, op)
        }
        Op::Sop2(op) => {
            env.stats.salu += 1;
            scalar::sop2(wave, inst, op)
        }
        Op::Sopc(op) => {
            env.stats.salu += 1;
            scalar::sopc(wave, inst, op)
        }
        Op::Sopk(op) => {
            env.stats.salu += 1;
            control::sopk(wave, inst, op, env)
        }
        Op::Sopp(op) => {
            env.stats.salu += 1;
            control::sopp(wave, inst, op, env)
        }
        Op::Smem(op) => {
            env.stats.smem += 1;
            scalar_memory::execute(wave, inst, op, env)
        }
        Op::Ds(op) => {
            env.stats.lds += 1;
            lds::execute(wave, inst, op, env)
        }
        Op::Flat(op) => {
            env.stats.vmem += 1;
            vector_memory::flat(wave, inst, op, env)
        }
        Op::Mubuf(op) => {
            env.stats.vmem += 1;
            vector_memory::buffer(wave, inst, op, env)
        }
    }
}

#[cfg(test)]
mod tests;
