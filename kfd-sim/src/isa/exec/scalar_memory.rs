//! SMEM: scalar loads, stores and atomics, the clock, scalar cache maintenance.

use super::memory::Rmw;
use super::wave::Wave;
use super::{Cache, Done, Env, Stop};
use crate::isa::decode::smem::Smem;
use crate::isa::inst::Inst;

/// Executes an SMEM opcode.
pub fn execute(w: &mut Wave, i: &Inst, op: Smem, env: &mut Env) -> Done {
    use Smem::*;
    let scalar = i.mem.soffset_en || !i.mem.imm;
    let scalar = if scalar { i64::from(w.sgpr[usize::from(i.src[1] & 127)]) } else { 0 };
    let offset = i64::from(i.imm) + scalar;
    let count = u64::from(i.info.dst.dwords());
    if i.mem.glc
        && env.port.cached()
        && matches!(op, LoadDword | LoadDwordx2 | LoadDwordx4 | LoadDwordx8 | LoadDwordx16)
    {
        env.port.reload(w.pair(i.src[0]).wrapping_add_signed(offset) & !3, 4 * count);
    }
    match op {
        LoadDword | LoadDwordx2 | LoadDwordx4 | LoadDwordx8 | LoadDwordx16 => {
            let va = w.pair(i.src[0]).wrapping_add_signed(offset) & !3;
            // Destination may overlap the base: read everything first.
            let mut data = [0; 16];
            for n in 0..count {
                data[n as usize] = env.port.load32(va + 4 * n)?;
            }
            let at = usize::from(i.dst);
            w.sgpr[at..at + count as usize].copy_from_slice(&data[..count as usize]);
        }
        BufferLoadDword | BufferLoadDwordx2 | BufferLoadDwordx4 | BufferLoadDwordx8 | BufferLoadDwordx16 => {
            let (base, size) = buffer(w, i);
            let offset = offset as u64 & !3;
            let mut data = [0; 16];
            for n in 0..count {
                let at = offset + 4 * n;
                // Beyond the buffer reads 0.
                data[n as usize] = if at + 4 <= size { env.port.load32(base + at)? } else { 0 };
            }
            let at = usize::from(i.dst);
            w.sgpr[at..at + count as usize].copy_from_slice(&data[..count as usize]);
        }
        StoreDword | StoreDwordx2 | StoreDwordx4 => {
            let va = w.pair(i.src[0]).wrapping_add_signed(offset) & !3;
            for n in 0..count {
                env.port.store32(va + 4 * n, w.sgpr[usize::from(i.dst) + n as usize])?;
            }
            w.stored = true;
        }
        BufferStoreDword | BufferStoreDwordx2 | BufferStoreDwordx4 => {
            let (base, size) = buffer(w, i);
            let offset = offset as u64 & !3;
            // Beyond the buffer nothing is stored.
            for n in (0..count).filter(|n| offset + 4 * n + 4 <= size) {
                env.port.store32(base + offset + 4 * n, w.sgpr[usize::from(i.dst) + n as usize])?;
            }
            w.stored = true;
        }
        // It only asks whether an address is mapped, for the sake of its translation.
        AtcProbe | AtcProbeBuffer => {}
        DcacheInv | DcacheInvVol => env.cache_maintenance(Cache::Scalar),
        DcacheWb | DcacheWbVol => env.port.drain(),
        Memtime | Memrealtime => {
            let now = (env.clock)();
            w.set_pair(i.dst, now);
        }
        ScratchLoadDword | ScratchLoadDwordx2 | ScratchLoadDwordx4 | ScratchStoreDword
        | ScratchStoreDwordx2 | ScratchStoreDwordx4 => {
            return Err(Stop::Unsupported("scalar access to scratch"));
        }
        DcacheDiscard | DcacheDiscardX2 => return Err(Stop::Unsupported("discarding dirty cache lines")),
        _ => return atomic(w, i, op, offset, env),
    }
    Ok(())
}

/// Base and bytes of a buffer resource.
fn buffer(w: &Wave, i: &Inst) -> (u64, u64) {
    let word = |n: usize| w.sgpr[usize::from(i.src[0]) + n];
    let base = u64::from(word(0)) | u64::from(word(1) & 0xffff) << 32;
    let stride = u64::from(word(1) >> 16 & 0x3fff);
    (base, u64::from(word(2)) * stride.max(1))
}

/// An atomic of the wave: data in SGPRs, for compare-and-swap followed by what is compared; the old value with GLC.
fn atomic(w: &mut Wave, i: &Inst, op: Smem, offset: i64, env: &mut Env) -> Done {
    use Smem::*;
    let (rmw, wide) = match op {
        AtomicSwap | BufferAtomicSwap => (Rmw::Swap, false),
        AtomicCmpswap | BufferAtomicCmpswap => (Rmw::CmpSwap, false),
        AtomicAdd | BufferAtomicAdd => (Rmw::Add, false),
        AtomicSub | BufferAtomicSub => (Rmw::Sub, false),
        AtomicSmin | BufferAtomicSmin => (Rmw::Smin, false),
        AtomicUmin | BufferAtomicUmin => (Rmw::Umin, false),
        AtomicSmax | BufferAtomicSmax => (Rmw::Smax, false),
        AtomicUmax | BufferAtomicUmax => (Rmw::Umax, false),
        AtomicAnd | BufferAtomicAnd => (Rmw::And, false),
        AtomicOr | BufferAtomicOr => (Rmw::Or, false),
        AtomicXor | BufferAtomicXor => (Rmw::Xor, false),
        AtomicInc | BufferAtomicInc => (Rmw::Inc, false),
        AtomicDec | BufferAtomicDec => (Rmw::Dec, false),
        AtomicSwapX2 | BufferAtomicSwapX2 => (Rmw::Swap, true),
        AtomicCmpswapX2 | BufferAtomicCmpswapX2 => (Rmw::CmpSwap, true),
        AtomicAddX2 | BufferAtomicAddX2 => (Rmw::Add, true),
        AtomicSubX2 | BufferAtomicSubX2 => (Rmw::Sub, true),
        AtomicSminX2 | BufferAtomicSminX2 => (Rmw::Smin, true),
        AtomicUminX2 | BufferAtomicUminX2 => (Rmw::Umin, true),
        AtomicSmaxX2 | BufferAtomicSmaxX2 => (Rmw::Smax, true),
        AtomicUmaxX2 | BufferAtomicUmaxX2 => (Rmw::Umax, true),
        AtomicAndX2 | BufferAtomicAndX2 => (Rmw::And, true),
        AtomicOrX2 | BufferAtomicOrX2 => (Rmw::Or, true),
        AtomicXorX2 | BufferAtomicXorX2 => (Rmw::Xor, true),
        AtomicIncX2 | BufferAtomicIncX2 => (Rmw::Inc, true),
        AtomicDecX2 | BufferAtomicDecX2 => (Rmw::Dec, true),
        _ => return Err(Stop::Unsupported("scalar memory instruction")),
    };
    let (bits, dwords) = if wide { (64, 2) } else { (32, 1) };
    let offset = offset & !3;
    let va = if i.info.src[0].dwords() == 4 {
        let (base, size) = buffer(w, i);
        if offset as u64 + u64::from(bits / 8) > size {
            if i.mem.glc {
                (0..dwords).for_each(|n| w.sgpr[usize::from(i.dst + n)] = 0);
            }
            return Ok(());
        }
        base.wrapping_add_signed(offset)
    } else {
        w.pair(i.src[0]).wrapping_add_signed(offset) & !3
    };
    let value = |at: u16| if wide { w.pair(at) } else { u64::from(w.sgpr[usize::from(at)]) };
    let compare = if rmw == Rmw::CmpSwap { value(i.dst + dwords) } else { 0 };
    let old = env.port.atomic(va, bits, rmw, value(i.dst), compare)?;
    if i.mem.glc {
        (0..dwords).for_each(|n| w.sgpr[usize::from(i.dst + n)] = (old >> (32 * n)) as u32);
    }
    Ok(())
}
