//! Handlers: what runs a decoded instruction, chosen once, when it is decoded.
//!
//! The files beside this one define what every instruction does, in the most general form. Here the common forms of common
//! instructions (no SDWA, DPP, clamp or output modifier) have handlers of their own: loops over 64 lanes that the compiler
//! turns into vector code. Everything else goes to the general form, and so do these when MODE asks for something rare. A
//! property test runs both on the same registers.
//!
//! The loops are compiled twice: for the build's target, and for AVX2 with FMA, which is used where the processor has both.
//! Products are never fused with sums but where the instruction says so: Rust does not contract.

mod alu;
mod global;
mod lds;
mod masks;
mod wide;

use std::mem::MaybeUninit;

use super::wave::Wave;
use super::{Done, Env, Lanes};
use crate::isa::inst::{Form, Inst, Op, Ty, reg};

/// Which instructions of the host the loops may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Those of the build's target.
    Plain,
    /// AVX2 and FMA as well. Only made by [`Level::best`].
    Avx2,
}

impl Level {
    /// The best that this processor has.
    pub fn best() -> Level {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::is_x86_feature_detected as has;
            if has!("avx2") && has!("fma") && has!("bmi1") && has!("bmi2") && has!("lzcnt") && has!("popcnt")
            {
                return Level::Avx2;
            }
        }
        Level::Plain
    }
}

type Run = unsafe fn(&mut Wave, &Inst, &mut Env) -> Done;

/// What runs an instruction.
#[derive(Clone, Copy, Debug)]
pub struct Handler(Run);

impl Handler {
    /// The handler of an instruction on this processor.
    pub fn of(inst: &Inst) -> Handler {
        Self::at(inst, Level::best())
    }

    /// The handler of an instruction at a level.
    pub fn at(inst: &Inst, level: Level) -> Handler {
        let simple = matches!(inst.form, Form::E32 | Form::E64) && !inst.mods.clamp && inst.mods.omod == 0;
        let special = match inst.op {
            _ if !simple => None,
            Op::Vop1(_) | Op::Vop2(_) | Op::Vop3(_) => alu::select(inst, level)
                .or_else(|| masks::select(inst, level))
                .or_else(|| wide::select(inst, level)),
            Op::Vopc(_) => masks::select(inst, level),
            Op::Ds(op) => lds::select(op, level),
            Op::Flat(op) => global::select(inst, op, level),
            _ => None,
        };
        Handler(special.unwrap_or(super::dispatch))
    }

    /// Whether it is one of those here, and not the general form.
    #[cfg(test)]
    pub fn is_special(self) -> bool {
        !std::ptr::fn_addr_eq(self.0, super::dispatch as Run)
    }

    /// Executes the instruction that it was chosen for. `wave.pc` already points behind it.
    #[inline]
    pub fn run(self, wave: &mut Wave, inst: &Inst, env: &mut Env) -> Done {
        // SAFETY: handlers ask nothing but that the processor has the features they are compiled for, and `at` only gets
        // levels that `Level::best` found.
        unsafe { (self.0)(wave, inst, env) }
    }
}

/// A handler before it is compiled for a level. `run` must be inlined.
trait Body {
    fn run(w: &mut Wave, i: &Inst, env: &mut Env) -> Done;
}

fn plain<B: Body>(w: &mut Wave, i: &Inst, env: &mut Env) -> Done {
    B::run(w, i, env)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
fn avx2<B: Body>(w: &mut Wave, i: &Inst, env: &mut Env) -> Done {
    B::run(w, i, env)
}

/// The body compiled for a level.
fn compiled<B: Body>(level: Level) -> Run {
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => avx2::<B>,
        _ => plain::<B>,
    }
}

/// Counts a vector ALU instruction; returns the active lanes.
#[inline(always)]
fn count(w: &Wave, env: &mut Env) -> u64 {
    let exec = w.exec();
    env.stats.valu += 1;
    env.stats.valu_lanes += u64::from(exec.count_ones());
    exec
}

/// Room for a source that is the same for all lanes.
type Room<T> = MaybeUninit<[T; 64]>;

#[inline(never)]
fn uniform(w: &Wave, i: &Inst, n: usize) -> u64 {
    w.scalar(i.src[n], i.info.src.get(n).copied().unwrap_or(Ty::I32), i.literal)
}

/// 32 bits of source `n`, which is a VGPR or the same for all lanes.
#[inline(always)]
fn source<'a>(w: &'a Wave, i: &Inst, n: usize, room: &'a mut Room<u32>) -> &'a Lanes {
    let code = i.src[n];
    if code >= reg::VGPR {
        &w.vgpr[usize::from(code - reg::VGPR)]
    } else {
        let value = if code < 128 { w.sgpr[usize::from(code)] } else { uniform(w, i, n) as u32 };
        room.write([value; 64])
    }
}

/// What absolute value and negation do to source `n`: bits kept, bits turned.
#[inline(always)]
fn modifier(i: &Inst, n: usize) -> (u32, u32) {
    let keep = if i.mods.abs >> n & 1 != 0 { 0x7fff_ffff } else { u32::MAX };
    (keep, u32::from(i.mods.neg >> n & 1) << 31)
}

/// Flushes a denormal to zero of its sign.
#[inline(always)]
fn flush(bits: u32) -> u32 {
    if bits & 0x7f80_0000 == 0 { bits & 0x8000_0000 } else { bits }
}

/// Writes a VGPR in the active lanes.
#[inline(always)]
fn write(w: &mut Wave, code: u16, out: &Lanes, exec: u64) {
    let dst = &mut w.vgpr[usize::from(code - reg::VGPR)];
    if exec == u64::MAX {
        *dst = *out;
        return;
    }
    let active = spread(exec);
    for lane in 0..64 {
        dst[lane] = dst[lane] & !active[lane] | out[lane] & active[lane];
    }
}

/// Bit `n` of a word, for 32 lanes: so that no lane needs a shift.
const BIT: [u32; 32] = {
    let mut bits = [0; 32];
    let mut n = 0;
    while n < 32 {
        bits[n] = 1 << n;
        n += 1;
    }
    bits
};

/// A lane mask as all ones or 0 for each lane.
#[inline(always)]
fn spread(mask: u64) -> Lanes {
    let mut lanes = [0; 64];
    let (low, high) = lanes.split_at_mut(32);
    for n in 0..32 {
        low[n] = if mask as u32 & BIT[n] != 0 { u32::MAX } else { 0 };
    }
    for n in 0..32 {
        high[n] = if (mask >> 32) as u32 & BIT[n] != 0 { u32::MAX } else { 0 };
    }
    lanes
}

/// One bit for each lane, from a 0 or 1 for each.
#[inline(always)]
fn pack(flags: &[u8; 64]) -> u64 {
    let mut mask = 0;
    for (n, eight) in flags.as_chunks::<8>().0.iter().enumerate() {
        // Each factor bit moves one byte's flag to its place in the top byte; no two meet.
        let gathered = u64::from_le_bytes(*eight).wrapping_mul(0x0102_0408_1020_4080) >> 56;
        mask |= gathered << (8 * n);
    }
    mask
}
