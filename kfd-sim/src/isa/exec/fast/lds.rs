//! LDS loads and stores of whole dwords: one check for all lanes.

use super::super::lds::lanes_of;
use super::super::wave::Wave;
use super::super::{Done, Env, Lanes};
use super::{Body, Level, Run, compiled, spread, write};
use crate::isa::decode::ds::Ds;
use crate::isa::inst::{Inst, reg};

/// LDS addresses of the lanes, 0 for inactive ones, and the highest of them.
#[inline(always)]
fn addresses(w: &Wave, i: &Inst, exec: u64, offset: u32) -> (Lanes, u32) {
    let base = &w.vgpr[usize::from(i.src[0] - reg::VGPR)];
    let mut at: Lanes = [0; 64];
    let mut highest = 0;
    if exec == u64::MAX {
        for lane in 0..64 {
            at[lane] = base[lane].wrapping_add(offset);
            highest = highest.max(at[lane]);
        }
    } else {
        let active = spread(exec);
        for lane in 0..64 {
            at[lane] = base[lane].wrapping_add(offset) & active[lane];
            highest = highest.max(at[lane]);
        }
    }
    (at, highest)
}

/// Whether `len` bytes at the highest address, and so at all, are allocated.
#[inline(always)]
fn fits(bytes: &[u8], highest: u32, len: usize) -> bool {
    highest as usize + len <= bytes.len()
}

/// A dword.
///
/// # Safety
/// `at + 4` must not be beyond the bytes.
#[inline(always)]
unsafe fn dword(bytes: &[u8], at: usize) -> u32 {
    // SAFETY: the caller's promise.
    u32::from_le_bytes(unsafe { bytes.as_ptr().add(at).cast::<[u8; 4]>().read() })
}

/// Loads the dwords at `at`, whose highest is `highest`, into a register.
#[inline(always)]
fn gather(bytes: &[u8], at: &Lanes, highest: u32, add: usize) -> Lanes {
    assert!(fits(bytes, highest, add + 4));
    let mut out = [0; 64];
    for lane in 0..64 {
        // SAFETY: no address is above the highest one, which was checked.
        out[lane] = unsafe { dword(bytes, at[lane] as usize + add) };
    }
    out
}

/// Whether lane addresses are consecutive dwords.
#[inline(always)]
fn consecutive(at: &Lanes) -> bool {
    let mut differing = 0;
    for lane in 0..64 {
        differing |= at[lane] ^ at[0].wrapping_add(4 * lane as u32);
    }
    differing == 0
}

struct Load<const DWORDS: u16>;

impl<const DWORDS: u16> Body for Load<DWORDS> {
    #[inline(always)]
    fn run(w: &mut Wave, i: &Inst, env: &mut Env) -> Done {
        let exec = w.exec();
        let (at, highest) = addresses(w, i, exec, i.imm as u32);
        let bytes = env.lds.bytes();
        if !fits(bytes, highest, 4 * usize::from(DWORDS)) {
            return super::super::dispatch(w, i, env);
        }
        env.stats.lds += 1;
        if DWORDS == 1 && exec == u64::MAX && consecutive(&at) {
            let from = &bytes[at[0] as usize..at[0] as usize + 256];
            let dst = &mut w.vgpr[usize::from(i.dst - reg::VGPR)];
            for (value, from) in dst.iter_mut().zip(from.as_chunks().0) {
                *value = u32::from_le_bytes(*from);
            }
            return Ok(());
        }
        for n in 0..DWORDS {
            let out = gather(bytes, &at, highest, 4 * usize::from(n));
            write(w, i.dst + n, &out, exec);
        }
        Ok(())
    }
}

struct Store<const DWORDS: u16>;

impl<const DWORDS: u16> Body for Store<DWORDS> {
    #[inline(always)]
    fn run(w: &mut Wave, i: &Inst, env: &mut Env) -> Done {
        let exec = w.exec();
        let (at, highest) = addresses(w, i, exec, i.imm as u32);
        let bytes = env.lds.bytes();
        if !fits(bytes, highest, 4 * usize::from(DWORDS)) {
            return super::super::dispatch(w, i, env);
        }
        env.stats.lds += 1;
        let data = usize::from(i.src[1] - reg::VGPR);
        let data: &[Lanes] = &w.vgpr[data..data + usize::from(DWORDS)];
        if DWORDS == 1 && exec == u64::MAX && consecutive(&at) {
            let to = &mut bytes[at[0] as usize..at[0] as usize + 256];
            for (value, to) in data[0].iter().zip(to.as_chunks_mut().0) {
                *to = value.to_le_bytes();
            }
            return Ok(());
        }
        // Lane by lane: where two meet, the higher lane wins.
        for lane in lanes_of(exec) {
            for (n, data) in data.iter().enumerate() {
                let at = at[lane] as usize + 4 * n;
                bytes[at..at + 4].copy_from_slice(&data[lane].to_le_bytes());
            }
        }
        Ok(())
    }
}

/// The two byte offsets of a `read2` or `write2`.
#[inline(always)]
fn offsets(i: &Inst, scale: u32) -> [usize; 2] {
    [(i.imm as u32 & 255) * scale, (i.imm as u32 >> 8 & 255) * scale].map(|offset| offset as usize)
}

/// `DWORDS` at each of two offsets that count `STRIDE` bytes.
struct Load2<const DWORDS: u16, const STRIDE: u32>;

impl<const DWORDS: u16, const STRIDE: u32> Body for Load2<DWORDS, STRIDE> {
    #[inline(always)]
    fn run(w: &mut Wave, i: &Inst, env: &mut Env) -> Done {
        let exec = w.exec();
        let (at, highest) = addresses(w, i, exec, 0);
        let offsets = offsets(i, STRIDE);
        let bytes = env.lds.bytes();
        if !fits(bytes, highest, offsets[0].max(offsets[1]) + 4 * usize::from(DWORDS)) {
            return super::super::dispatch(w, i, env);
        }
        env.stats.lds += 1;
        for (n, offset) in offsets.into_iter().enumerate() {
            for part in 0..DWORDS {
                let out = gather(bytes, &at, highest, offset + 4 * usize::from(part));
                write(w, i.dst + n as u16 * DWORDS + part, &out, exec);
            }
        }
        Ok(())
    }
}

/// As [`Load2`].
struct Store2<const DWORDS: u16, const STRIDE: u32>;

impl<const DWORDS: u16, const STRIDE: u32> Body for Store2<DWORDS, STRIDE> {
    #[inline(always)]
    fn run(w: &mut Wave, i: &Inst, env: &mut Env) -> Done {
        let exec = w.exec();
        let (at, highest) = addresses(w, i, exec, 0);
        let offsets = offsets(i, STRIDE);
        let bytes = env.lds.bytes();
        if !fits(bytes, highest, offsets[0].max(offsets[1]) + 4 * usize::from(DWORDS)) {
            return super::super::dispatch(w, i, env);
        }
        env.stats.lds += 1;
        let data = [1, 2].map(|n| usize::from(i.src[n] - reg::VGPR));
        for lane in lanes_of(exec) {
            for (data, offset) in data.into_iter().zip(offsets) {
                for part in 0..usize::from(DWORDS) {
                    let at = at[lane] as usize + offset + 4 * part;
                    bytes[at..at + 4].copy_from_slice(&w.vgpr[data + part][lane].to_le_bytes());
                }
            }
        }
        Ok(())
    }
}

/// The handler, if the opcode has one here.
pub fn select(op: Ds, level: Level) -> Option<Run> {
    Some(match op {
        Ds::ReadB32 => compiled::<Load<1>>(level),
        Ds::ReadB64 => compiled::<Load<2>>(level),
        Ds::ReadB96 => compiled::<Load<3>>(level),
        Ds::ReadB128 => compiled::<Load<4>>(level),
        Ds::WriteB32 => compiled::<Store<1>>(level),
        Ds::WriteB64 => compiled::<Store<2>>(level),
        Ds::WriteB96 => compiled::<Store<3>>(level),
        Ds::WriteB128 => compiled::<Store<4>>(level),
        Ds::Read2B32 => compiled::<Load2<1, 4>>(level),
        Ds::Read2st64B32 => compiled::<Load2<1, 256>>(level),
        Ds::Read2B64 => compiled::<Load2<2, 8>>(level),
        Ds::Read2st64B64 => compiled::<Load2<2, 512>>(level),
        Ds::Write2B32 => compiled::<Store2<1, 4>>(level),
        Ds::Write2st64B32 => compiled::<Store2<1, 256>>(level),
        Ds::Write2B64 => compiled::<Store2<2, 8>>(level),
        Ds::Write2st64B64 => compiled::<Store2<2, 512>>(level),
        _ => return None,
    })
}
