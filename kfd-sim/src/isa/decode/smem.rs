//! SMEM: scalar loads, stores and atomics, and the scalar cache.
//!
//! Word 0: `110000 | op[25:18] | imm 17 | glc 16 | nv 15 | soffset_en 14 | sdata[12:6] | sbase/2[5:0]`; word 1: the offset
//! `[20:0]` (signed bytes, or an SGPR) and `soffset[31:25]`, an SGPR added to an immediate or alone (`soffset_en`).

use super::{DecodeError, bits, scalar_error, second, unknown};
use crate::isa::inst::{Inst, Op, Ty};

opcodes! {
    /// SMEM: scalar memory.
    Smem {
        0x00 LoadDword "s_load_dword" I32 [B64],
        0x01 LoadDwordx2 "s_load_dwordx2" B64 [B64],
        0x02 LoadDwordx4 "s_load_dwordx4" B128 [B64],
        0x03 LoadDwordx8 "s_load_dwordx8" B256 [B64],
        0x04 LoadDwordx16 "s_load_dwordx16" B512 [B64],
        0x05 ScratchLoadDword "s_scratch_load_dword" I32 [B64],
        0x06 ScratchLoadDwordx2 "s_scratch_load_dwordx2" B64 [B64],
        0x07 ScratchLoadDwordx4 "s_scratch_load_dwordx4" B128 [B64],
        0x08 BufferLoadDword "s_buffer_load_dword" I32 [B128],
        0x09 BufferLoadDwordx2 "s_buffer_load_dwordx2" B64 [B128],
        0x0a BufferLoadDwordx4 "s_buffer_load_dwordx4" B128 [B128],
        0x0b BufferLoadDwordx8 "s_buffer_load_dwordx8" B256 [B128],
        0x0c BufferLoadDwordx16 "s_buffer_load_dwordx16" B512 [B128],
        0x10 StoreDword "s_store_dword" I32 [B64],
        0x11 StoreDwordx2 "s_store_dwordx2" B64 [B64],
        0x12 StoreDwordx4 "s_store_dwordx4" B128 [B64],
        0x15 ScratchStoreDword "s_scratch_store_dword" I32 [B64],
        0x16 ScratchStoreDwordx2 "s_scratch_store_dwordx2" B64 [B64],
        0x17 ScratchStoreDwordx4 "s_scratch_store_dwordx4" B128 [B64],
        0x18 BufferStoreDword "s_buffer_store_dword" I32 [B128],
        0x19 BufferStoreDwordx2 "s_buffer_store_dwordx2" B64 [B128],
        0x1a BufferStoreDwordx4 "s_buffer_store_dwordx4" B128 [B128],
        0x20 DcacheInv "s_dcache_inv" No [],
        0x21 DcacheWb "s_dcache_wb" No [],
        0x22 DcacheInvVol "s_dcache_inv_vol" No [],
        0x23 DcacheWbVol "s_dcache_wb_vol" No [],
        0x24 Memtime "s_memtime" B64 [],
        0x25 Memrealtime "s_memrealtime" B64 [],
        0x26 AtcProbe "s_atc_probe" No [B64],
        0x27 AtcProbeBuffer "s_atc_probe_buffer" No [B128],
        0x28 DcacheDiscard "s_dcache_discard" No [B64],
        0x29 DcacheDiscardX2 "s_dcache_discard_x2" No [B64],
        0x40 BufferAtomicSwap "s_buffer_atomic_swap" I32 [B128],
        0x41 BufferAtomicCmpswap "s_buffer_atomic_cmpswap" B64 [B128],
        0x42 BufferAtomicAdd "s_buffer_atomic_add" I32 [B128],
        0x43 BufferAtomicSub "s_buffer_atomic_sub" I32 [B128],
        0x44 BufferAtomicSmin "s_buffer_atomic_smin" I32 [B128],
        0x45 BufferAtomicUmin "s_buffer_atomic_umin" I32 [B128],
        0x46 BufferAtomicSmax "s_buffer_atomic_smax" I32 [B128],
        0x47 BufferAtomicUmax "s_buffer_atomic_umax" I32 [B128],
        0x48 BufferAtomicAnd "s_buffer_atomic_and" I32 [B128],
        0x49 BufferAtomicOr "s_buffer_atomic_or" I32 [B128],
        0x4a BufferAtomicXor "s_buffer_atomic_xor" I32 [B128],
        0x4b BufferAtomicInc "s_buffer_atomic_inc" I32 [B128],
        0x4c BufferAtomicDec "s_buffer_atomic_dec" I32 [B128],
        0x60 BufferAtomicSwapX2 "s_buffer_atomic_swap_x2" B64 [B128],
        0x61 BufferAtomicCmpswapX2 "s_buffer_atomic_cmpswap_x2" B128 [B128],
        0x62 BufferAtomicAddX2 "s_buffer_atomic_add_x2" B64 [B128],
        0x63 BufferAtomicSubX2 "s_buffer_atomic_sub_x2" B64 [B128],
        0x64 BufferAtomicSminX2 "s_buffer_atomic_smin_x2" B64 [B128],
        0x65 BufferAtomicUminX2 "s_buffer_atomic_umin_x2" B64 [B128],
        0x66 BufferAtomicSmaxX2 "s_buffer_atomic_smax_x2" B64 [B128],
        0x67 BufferAtomicUmaxX2 "s_buffer_atomic_umax_x2" B64 [B128],
        0x68 BufferAtomicAndX2 "s_buffer_atomic_and_x2" B64 [B128],
        0x69 BufferAtomicOrX2 "s_buffer_atomic_or_x2" B64 [B128],
        0x6a BufferAtomicXorX2 "s_buffer_atomic_xor_x2" B64 [B128],
        0x6b BufferAtomicIncX2 "s_buffer_atomic_inc_x2" B64 [B128],
        0x6c BufferAtomicDecX2 "s_buffer_atomic_dec_x2" B64 [B128],
        0x80 AtomicSwap "s_atomic_swap" I32 [B64],
        0x81 AtomicCmpswap "s_atomic_cmpswap" B64 [B64],
        0x82 AtomicAdd "s_atomic_add" I32 [B64],
        0x83 AtomicSub "s_atomic_sub" I32 [B64],
        0x84 AtomicSmin "s_atomic_smin" I32 [B64],
        0x85 AtomicUmin "s_atomic_umin" I32 [B64],
        0x86 AtomicSmax "s_atomic_smax" I32 [B64],
        0x87 AtomicUmax "s_atomic_umax" I32 [B64],
        0x88 AtomicAnd "s_atomic_and" I32 [B64],
        0x89 AtomicOr "s_atomic_or" I32 [B64],
        0x8a AtomicXor "s_atomic_xor" I32 [B64],
        0x8b AtomicInc "s_atomic_inc" I32 [B64],
        0x8c AtomicDec "s_atomic_dec" I32 [B64],
        0xa0 AtomicSwapX2 "s_atomic_swap_x2" B64 [B64],
        0xa1 AtomicCmpswapX2 "s_atomic_cmpswap_x2" B128 [B64],
        0xa2 AtomicAddX2 "s_atomic_add_x2" B64 [B64],
        0xa3 AtomicSubX2 "s_atomic_sub_x2" B64 [B64],
        0xa4 AtomicSminX2 "s_atomic_smin_x2" B64 [B64],
        0xa5 AtomicUminX2 "s_atomic_umin_x2" B64 [B64],
        0xa6 AtomicSmaxX2 "s_atomic_smax_x2" B64 [B64],
        0xa7 AtomicUmaxX2 "s_atomic_umax_x2" B64 [B64],
        0xa8 AtomicAndX2 "s_atomic_and_x2" B64 [B64],
        0xa9 AtomicOrX2 "s_atomic_or_x2" B64 [B64],
        0xaa AtomicXorX2 "s_atomic_xor_x2" B64 [B64],
        0xab AtomicIncX2 "s_atomic_inc_x2" B64 [B64],
        0xac AtomicDecX2 "s_atomic_dec_x2" B64 [B64],
    }
}

/// Decodes SMEM words.
pub(crate) fn decode(words: &[u32]) -> Result<Inst, DecodeError> {
    let word = words[0];
    let code = bits(word, 18, 8);
    let Some((_, op, info)) = Smem::find(code) else { return unknown("SMEM", code) };
    let high = second(words, info.name)?;
    let mut inst = Inst::new(Op::Smem(*op), info, [word, high], 8);
    let bad = |why| Err(DecodeError::Field { name: info.name, why });
    inst.dst = bits(word, 6, 7) as u16;
    inst.src[0] = (bits(word, 0, 6) * 2) as u16;
    inst.mem.glc = bits(word, 16, 1) != 0;
    inst.mem.nv = bits(word, 15, 1) != 0;
    inst.mem.soffset_en = bits(word, 14, 1) != 0;
    inst.mem.imm = bits(word, 17, 1) != 0;
    if info.src.is_empty() && inst.mem.imm {
        return bad("immediate of an instruction without an offset");
    }
    let probe = matches!(op, Smem::AtcProbe | Smem::AtcProbeBuffer);
    if info.src.is_empty() || probe || matches!(op, Smem::DcacheDiscard | Smem::DcacheDiscardX2) {
        inst.mem.glc = false;
    }
    if info.dst != Ty::No
        && let Some(why) = scalar_error(inst.dst, info.dst.dwords())
    {
        return bad(why);
    }
    if let [base] = info.src {
        if let Some(why) = scalar_error(inst.src[0], base.dwords()) {
            return bad(why);
        }
        if inst.mem.imm {
            inst.imm = (bits(high, 0, 21) << 11) as i32 >> 11;
        }
        if inst.mem.soffset_en || !inst.mem.imm {
            let low = if inst.mem.soffset_en { 25 } else { 0 };
            inst.src[1] = bits(high, low, 7) as u16;
            if let Some(why) = scalar_error(inst.src[1], 1) {
                return bad(why);
            }
        }
    }
    Ok(inst)
}
