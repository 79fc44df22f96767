//! FLAT, GLOBAL and SCRATCH loads, stores and atomics.
//!
//! Word 0: `110111 | op[24:18] | slc 17 | glc 16 | seg[15:14] | lds 13 | offset[12:0]`; word 1: `vdst[31:24] | nv 23 |
//! saddr[22:16] | data[15:8] | addr[7:0]`. The offset is unsigned (12 bits) for FLAT and signed (13 bits) for the others.

use super::{DecodeError, bits, scalar_error, second, unknown};
use crate::isa::inst::{Inst, Op, Segment, Ty, reg};

/// `saddr` of an instruction without scalar address.
pub const SADDR_OFF: u16 = 0x7f;

opcodes! {
    /// FLAT, GLOBAL and SCRATCH: the same opcodes in three segments.
    Flat {
        0x10 LoadUbyte "load_ubyte" I32 [],
        0x11 LoadSbyte "load_sbyte" I32 [],
        0x12 LoadUshort "load_ushort" I32 [],
        0x13 LoadSshort "load_sshort" I32 [],
        0x14 LoadDword "load_dword" I32 [],
        0x15 LoadDwordx2 "load_dwordx2" B64 [],
        0x16 LoadDwordx3 "load_dwordx3" B96 [],
        0x17 LoadDwordx4 "load_dwordx4" B128 [],
        0x18 StoreByte "store_byte" No [I32],
        0x19 StoreByteD16Hi "store_byte_d16_hi" No [I32],
        0x1a StoreShort "store_short" No [I32],
        0x1b StoreShortD16Hi "store_short_d16_hi" No [I32],
        0x1c StoreDword "store_dword" No [I32],
        0x1d StoreDwordx2 "store_dwordx2" No [B64],
        0x1e StoreDwordx3 "store_dwordx3" No [B96],
        0x1f StoreDwordx4 "store_dwordx4" No [B128],
        0x20 LoadUbyteD16 "load_ubyte_d16" I32 [],
        0x21 LoadUbyteD16Hi "load_ubyte_d16_hi" I32 [],
        0x22 LoadSbyteD16 "load_sbyte_d16" I32 [],
        0x23 LoadSbyteD16Hi "load_sbyte_d16_hi" I32 [],
        0x24 LoadShortD16 "load_short_d16" I32 [],
        0x25 LoadShortD16Hi "load_short_d16_hi" I32 [],
        0x40 AtomicSwap "atomic_swap" I32 [I32],
        0x41 AtomicCmpswap "atomic_cmpswap" I32 [B64],
        0x42 AtomicAdd "atomic_add" I32 [I32],
        0x43 AtomicSub "atomic_sub" I32 [I32],
        0x44 AtomicSmin "atomic_smin" I32 [I32],
        0x45 AtomicUmin "atomic_umin" I32 [I32],
        0x46 AtomicSmax "atomic_smax" I32 [I32],
        0x47 AtomicUmax "atomic_umax" I32 [I32],
        0x48 AtomicAnd "atomic_and" I32 [I32],
        0x49 AtomicOr "atomic_or" I32 [I32],
        0x4a AtomicXor "atomic_xor" I32 [I32],
        0x4b AtomicInc "atomic_inc" I32 [I32],
        0x4c AtomicDec "atomic_dec" I32 [I32],
        0x60 AtomicSwapX2 "atomic_swap_x2" B64 [B64],
        0x61 AtomicCmpswapX2 "atomic_cmpswap_x2" B64 [B128],
        0x62 AtomicAddX2 "atomic_add_x2" B64 [B64],
        0x63 AtomicSubX2 "atomic_sub_x2" B64 [B64],
        0x64 AtomicSminX2 "atomic_smin_x2" B64 [B64],
        0x65 AtomicUminX2 "atomic_umin_x2" B64 [B64],
        0x66 AtomicSmaxX2 "atomic_smax_x2" B64 [B64],
        0x67 AtomicUmaxX2 "atomic_umax_x2" B64 [B64],
        0x68 AtomicAndX2 "atomic_and_x2" B64 [B64],
        0x69 AtomicOrX2 "atomic_or_x2" B64 [B64],
        0x6a AtomicXorX2 "atomic_xor_x2" B64 [B64],
        0x6b AtomicIncX2 "atomic_inc_x2" B64 [B64],
        0x6c AtomicDecX2 "atomic_dec_x2" B64 [B64],
    }
}

impl Flat {
    /// Whether it reads, modifies and writes memory.
    pub fn is_atomic(self) -> bool {
        self as u16 >= Flat::AtomicSwap as u16
    }
}

/// VGPRs of the address.
fn address_dwords(inst: &Inst) -> u16 {
    match inst.segment {
        Segment::Scratch => 1,
        Segment::Global if inst.src[2] != SADDR_OFF => 1,
        _ => 2,
    }
}

/// VGPRs reached: address in `src[0]`, data in `src[1]`.
pub(crate) fn reach(op: Flat, inst: &Inst) -> u16 {
    let mut top = 0;
    if inst.segment != Segment::Scratch || inst.src[2] == SADDR_OFF {
        top = inst.src[0] - reg::VGPR + address_dwords(inst);
    }
    if let [data] = inst.info.src {
        top = top.max(inst.src[1] - reg::VGPR + data.dwords());
    }
    if inst.info.dst != Ty::No && (!op.is_atomic() || inst.mem.glc) {
        top = top.max(inst.dst - reg::VGPR + inst.info.dst.dwords());
    }
    top
}

/// Decodes FLAT words. `src` is `[address, data, saddr]`.
pub(crate) fn decode(words: &[u32]) -> Result<Inst, DecodeError> {
    let word = words[0];
    let code = bits(word, 18, 7);
    let Some((_, op, info)) = Flat::find(code) else { return unknown("FLAT", code) };
    let high = second(words, info.name)?;
    let mut inst = Inst::new(Op::Flat(*op), info, [word, high], 8);
    let bad = |why| Err(DecodeError::Field { name: info.name, why });
    inst.segment = match bits(word, 14, 2) {
        0 => Segment::Flat,
        1 => Segment::Scratch,
        2 => Segment::Global,
        _ => return bad("segment"),
    };
    inst.mem.slc = bits(word, 17, 1) != 0;
    inst.mem.glc = bits(word, 16, 1) != 0;
    inst.mem.lds = bits(word, 13, 1) != 0;
    // Bits 23 of word 1 and 25 of word 0 (a non-volatile hint, reserved) mean nothing here.
    inst.mem.nv = bits(high, 23, 1) != 0;
    let saddr = bits(high, 16, 7) as u16;
    let data = bits(high, 8, 8) as u16;
    let dst = bits(high, 24, 8) as u16;
    inst.src = [bits(high, 0, 8) as u16 + reg::VGPR, data + reg::VGPR, saddr];
    inst.dst = dst + reg::VGPR;
    if inst.mem.lds {
        return bad("data to LDS");
    }
    if inst.segment == Segment::Flat {
        inst.imm = bits(word, 0, 12) as i32;
        if bits(word, 12, 1) != 0 {
            return bad("bit 12 of a FLAT offset");
        }
        if saddr != 0 {
            return bad("scalar address of a FLAT instruction");
        }
        inst.src[2] = SADDR_OFF;
    } else {
        inst.imm = (bits(word, 0, 13) << 19) as i32 >> 19;
        let wide = if inst.segment == Segment::Global { 2 } else { 1 };
        if saddr != SADDR_OFF
            && let Some(why) = scalar_error(saddr, wide)
        {
            return bad(why);
        }
    }
    if inst.segment == Segment::Scratch && inst.src[2] != SADDR_OFF {
        // The address comes from the SGPR alone.
        inst.src[0] = reg::VGPR;
    }
    if inst.segment == Segment::Scratch && op.is_atomic() {
        return bad("no scratch form");
    }
    Ok(inst)
}
