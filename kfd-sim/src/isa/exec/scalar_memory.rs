//! SMEM: scalar loads and stores, the clock, scalar cache maintenance.

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
            let word = |n: usize| w.sgpr[usize::from(i.src[0]) + n];
            let base = u64::from(word(0)) | u64::from(word(1) & 0xffff) << 32;
            let stride = u64::from(word(1) >> 16 & 0x3fff);
            let size = u64::from(word(2)) * stride.max(1);
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
        DcacheInv | DcacheInvVol => env.cache_maintenance(Cache::Scalar),
        DcacheWb | DcacheWbVol => env.port.drain(),
        Memtime | Memrealtime => {
            let now = (env.clock)();
            w.set_pair(i.dst, now);
        }
        _ => return Err(Stop::Unsupported("scalar scratch, discard or atomic")),
    }
    Ok(())
}
