//! MUBUF: untyped buffer loads, stores and atomics, and the vector L1 cache.
//!
//! Word 0: `111000 | op[24:18] | slc 17 | lds 16 | glc 14 | idxen 13 | offen 12 | offset[11:0]`; word 1: `soffset[31:24] | tfe 23
//! | srsrc/4[20:16] | vdata[15:8] | vaddr[7:0]`.

use super::{DecodeError, bits, scalar_error, second, source_error, unknown};
use crate::isa::inst::{Inst, Op, Ty, reg};

opcodes! {
    /// MUBUF: buffer memory.
    Mubuf {
        0x00 LoadFormatX "load_format_x" No [I32],
        0x01 LoadFormatXy "load_format_xy" No [B64],
        0x02 LoadFormatXyz "load_format_xyz" No [B96],
        0x03 LoadFormatXyzw "load_format_xyzw" No [B128],
        0x04 StoreFormatX "store_format_x" No [I32],
        0x05 StoreFormatXy "store_format_xy" No [B64],
        0x06 StoreFormatXyz "store_format_xyz" No [B96],
        0x07 StoreFormatXyzw "store_format_xyzw" No [B128],
        0x08 LoadFormatD16X "load_format_d16_x" No [I32],
        0x09 LoadFormatD16Xy "load_format_d16_xy" No [I32],
        0x0a LoadFormatD16Xyz "load_format_d16_xyz" No [B64],
        0x0b LoadFormatD16Xyzw "load_format_d16_xyzw" No [B64],
        0x0c StoreFormatD16X "store_format_d16_x" No [I32],
        0x0d StoreFormatD16Xy "store_format_d16_xy" No [I32],
        0x0e StoreFormatD16Xyz "store_format_d16_xyz" No [B64],
        0x0f StoreFormatD16Xyzw "store_format_d16_xyzw" No [B64],
        0x10 LoadUbyte "load_ubyte" No [I32],
        0x11 LoadSbyte "load_sbyte" No [I32],
        0x12 LoadUshort "load_ushort" No [I32],
        0x13 LoadSshort "load_sshort" No [I32],
        0x14 LoadDword "load_dword" No [I32],
        0x15 LoadDwordx2 "load_dwordx2" No [B64],
        0x16 LoadDwordx3 "load_dwordx3" No [B96],
        0x17 LoadDwordx4 "load_dwordx4" No [B128],
        0x18 StoreByte "store_byte" No [I32],
        0x19 StoreByteD16Hi "store_byte_d16_hi" No [I32],
        0x1a StoreShort "store_short" No [I32],
        0x1b StoreShortD16Hi "store_short_d16_hi" No [I32],
        0x1c StoreDword "store_dword" No [I32],
        0x1d StoreDwordx2 "store_dwordx2" No [B64],
        0x1e StoreDwordx3 "store_dwordx3" No [B96],
        0x1f StoreDwordx4 "store_dwordx4" No [B128],
        0x20 LoadUbyteD16 "load_ubyte_d16" No [I32],
        0x21 LoadUbyteD16Hi "load_ubyte_d16_hi" No [I32],
        0x22 LoadSbyteD16 "load_sbyte_d16" No [I32],
        0x23 LoadSbyteD16Hi "load_sbyte_d16_hi" No [I32],
        0x24 LoadShortD16 "load_short_d16" No [I32],
        0x25 LoadShortD16Hi "load_short_d16_hi" No [I32],
        0x26 LoadFormatD16HiX "load_format_d16_hi_x" No [I32],
        0x27 StoreFormatD16HiX "store_format_d16_hi_x" No [I32],
        0x3d StoreLdsDword "store_lds_dword" No [I32],
        0x3e Wbinvl1 "wbinvl1" No [],
        0x3f Wbinvl1Vol "wbinvl1_vol" No [],
        0x40 AtomicSwap "atomic_swap" No [I32],
        0x41 AtomicCmpswap "atomic_cmpswap" No [B64],
        0x42 AtomicAdd "atomic_add" No [I32],
        0x43 AtomicSub "atomic_sub" No [I32],
        0x44 AtomicSmin "atomic_smin" No [I32],
        0x45 AtomicUmin "atomic_umin" No [I32],
        0x46 AtomicSmax "atomic_smax" No [I32],
        0x47 AtomicUmax "atomic_umax" No [I32],
        0x48 AtomicAnd "atomic_and" No [I32],
        0x49 AtomicOr "atomic_or" No [I32],
        0x4a AtomicXor "atomic_xor" No [I32],
        0x4b AtomicInc "atomic_inc" No [I32],
        0x4c AtomicDec "atomic_dec" No [I32],
        0x60 AtomicSwapX2 "atomic_swap_x2" No [B64],
        0x61 AtomicCmpswapX2 "atomic_cmpswap_x2" No [B128],
        0x62 AtomicAddX2 "atomic_add_x2" No [B64],
        0x63 AtomicSubX2 "atomic_sub_x2" No [B64],
        0x64 AtomicSminX2 "atomic_smin_x2" No [B64],
        0x65 AtomicUminX2 "atomic_umin_x2" No [B64],
        0x66 AtomicSmaxX2 "atomic_smax_x2" No [B64],
        0x67 AtomicUmaxX2 "atomic_umax_x2" No [B64],
        0x68 AtomicAndX2 "atomic_and_x2" No [B64],
        0x69 AtomicOrX2 "atomic_or_x2" No [B64],
        0x6a AtomicXorX2 "atomic_xor_x2" No [B64],
        0x6b AtomicIncX2 "atomic_inc_x2" No [B64],
        0x6c AtomicDecX2 "atomic_dec_x2" No [B64],
    }
}

/// VGPRs reached: `src` is `[vaddr, srsrc, soffset]`, `dst` the data.
pub(crate) fn reach(inst: &Inst) -> u16 {
    let Some(data) = inst.info.src.first() else { return 0 };
    let address = u16::from(inst.mem.offen) + u16::from(inst.mem.idxen);
    let address = if address == 0 { 0 } else { inst.src[0] - reg::VGPR + address };
    address.max(inst.dst - reg::VGPR + data.dwords())
}

/// Decodes MUBUF words.
pub(crate) fn decode(words: &[u32]) -> Result<Inst, DecodeError> {
    let word = words[0];
    let code = bits(word, 18, 7);
    let Some((_, op, info)) = Mubuf::find(code) else { return unknown("MUBUF", code) };
    let high = second(words, info.name)?;
    let mut inst = Inst::new(Op::Mubuf(*op), info, [word, high], 8);
    let bad = |why| Err(DecodeError::Field { name: info.name, why });
    if info.src.is_empty() {
        return if bits(word, 12, 5) == 0 { Ok(inst) } else { bad("flags of a cache instruction") };
    }
    inst.imm = bits(word, 0, 12) as i32;
    inst.mem.offen = bits(word, 12, 1) != 0;
    inst.mem.idxen = bits(word, 13, 1) != 0;
    inst.mem.glc = bits(word, 14, 1) != 0;
    inst.mem.lds = bits(word, 16, 1) != 0;
    inst.mem.slc = bits(word, 17, 1) != 0;
    inst.mem.tfe = bits(high, 23, 1) != 0;
    let to_lds = matches!(
        op,
        Mubuf::LoadFormatX
            | Mubuf::LoadUbyte
            | Mubuf::LoadSbyte
            | Mubuf::LoadUshort
            | Mubuf::LoadSshort
            | Mubuf::LoadDword
            | Mubuf::LoadDwordx2
            | Mubuf::LoadDwordx3
            | Mubuf::LoadDwordx4
    );
    if code >= 0x40 {
        // Atomics have none.
        inst.mem.tfe = false;
    }
    if *op == Mubuf::StoreLdsDword {
        if !inst.mem.lds || inst.mem.offen || inst.mem.idxen {
            return bad("flags of a store from LDS");
        }
        inst.mem.tfe = false;
    } else if inst.mem.lds && !to_lds {
        return bad("data to LDS");
    } else if inst.mem.lds {
        inst.mem.tfe = false;
    }
    inst.src =
        [bits(high, 0, 8) as u16 + reg::VGPR, (bits(high, 16, 5) * 4) as u16, bits(high, 24, 8) as u16];
    inst.dst = bits(high, 8, 8) as u16 + reg::VGPR;
    if let Some(why) = scalar_error(inst.src[1], 4).or(source_error(inst.src[2], Ty::I32)) {
        return bad(why);
    }
    if inst.src[2] == reg::LITERAL {
        return bad("scalar offset");
    }
    Ok(inst)
}
