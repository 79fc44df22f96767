//! VOP2: vector ALU with two sources. `0 | op[30:25] | vdst[24:17] | vsrc1[16:9] | src0[8:0]`; source 249 announces SDWA,
//! 250 DPP.

use super::{DecodeError, bits, check_sources, dpp, sdwa, set_literal, take_literal, unknown};
use crate::isa::inst::{Inst, Op, reg};

opcodes! {
    /// VOP2: vector ALU, two sources.
    Vop2 {
        0x00 CndmaskB32 "v_cndmask_b32" I32 [F32 F32],
        0x01 AddF32 "v_add_f32" F32 [F32 F32],
        0x02 SubF32 "v_sub_f32" F32 [F32 F32],
        0x03 SubrevF32 "v_subrev_f32" F32 [F32 F32],
        0x04 MulLegacyF32 "v_mul_legacy_f32" F32 [F32 F32],
        0x05 MulF32 "v_mul_f32" F32 [F32 F32],
        0x06 MulI32I24 "v_mul_i32_i24" I32 [I32 I32],
        0x07 MulHiI32I24 "v_mul_hi_i32_i24" I32 [I32 I32],
        0x08 MulU32U24 "v_mul_u32_u24" I32 [I32 I32],
        0x09 MulHiU32U24 "v_mul_hi_u32_u24" I32 [I32 I32],
        0x0a MinF32 "v_min_f32" F32 [F32 F32],
        0x0b MaxF32 "v_max_f32" F32 [F32 F32],
        0x0c MinI32 "v_min_i32" I32 [I32 I32],
        0x0d MaxI32 "v_max_i32" I32 [I32 I32],
        0x0e MinU32 "v_min_u32" I32 [I32 I32],
        0x0f MaxU32 "v_max_u32" I32 [I32 I32],
        0x10 LshrrevB32 "v_lshrrev_b32" I32 [I32 I32],
        0x11 AshrrevI32 "v_ashrrev_i32" I32 [I32 I32],
        0x12 LshlrevB32 "v_lshlrev_b32" I32 [I32 I32],
        0x13 AndB32 "v_and_b32" I32 [I32 I32],
        0x14 OrB32 "v_or_b32" I32 [I32 I32],
        0x15 XorB32 "v_xor_b32" I32 [I32 I32],
        0x16 MacF32 "v_mac_f32" F32 [F32 F32],
        0x17 MadmkF32 "v_madmk_f32" F32 [F32 F32],
        0x18 MadakF32 "v_madak_f32" F32 [F32 F32],
        0x19 AddCoU32 "v_add_co_u32" I32 [I32 I32],
        0x1a SubCoU32 "v_sub_co_u32" I32 [I32 I32],
        0x1b SubrevCoU32 "v_subrev_co_u32" I32 [I32 I32],
        0x1c AddcCoU32 "v_addc_co_u32" I32 [I32 I32],
        0x1d SubbCoU32 "v_subb_co_u32" I32 [I32 I32],
        0x1e SubbrevCoU32 "v_subbrev_co_u32" I32 [I32 I32],
        0x1f AddF16 "v_add_f16" F16 [F16 F16],
        0x20 SubF16 "v_sub_f16" F16 [F16 F16],
        0x21 SubrevF16 "v_subrev_f16" F16 [F16 F16],
        0x22 MulF16 "v_mul_f16" F16 [F16 F16],
        0x23 MacF16 "v_mac_f16" F16 [F16 F16],
        0x24 MadmkF16 "v_madmk_f16" F16 [F16 F16],
        0x25 MadakF16 "v_madak_f16" F16 [F16 F16],
        0x26 AddU16 "v_add_u16" I16 [I16 I16],
        0x27 SubU16 "v_sub_u16" I16 [I16 I16],
        0x28 SubrevU16 "v_subrev_u16" I16 [I16 I16],
        0x29 MulLoU16 "v_mul_lo_u16" I16 [I16 I16],
        0x2a LshlrevB16 "v_lshlrev_b16" I16 [I16 I16],
        0x2b LshrrevB16 "v_lshrrev_b16" I16 [I16 I16],
        0x2c AshrrevI16 "v_ashrrev_i16" I16 [I16 I16],
        0x2d MaxF16 "v_max_f16" F16 [F16 F16],
        0x2e MinF16 "v_min_f16" F16 [F16 F16],
        0x2f MaxU16 "v_max_u16" I16 [I16 I16],
        0x30 MaxI16 "v_max_i16" I16 [I16 I16],
        0x31 MinU16 "v_min_u16" I16 [I16 I16],
        0x32 MinI16 "v_min_i16" I16 [I16 I16],
        0x33 LdexpF16 "v_ldexp_f16" F16 [F16 I32],
        0x34 AddU32 "v_add_u32" I32 [I32 I32],
        0x35 SubU32 "v_sub_u32" I32 [I32 I32],
        0x36 SubrevU32 "v_subrev_u32" I32 [I32 I32],
        0x3b FmacF32 "v_fmac_f32" F32 [F32 F32],
        0x3d XnorB32 "v_xnor_b32" I32 [I32 I32],
    }
}

/// Decodes a VOP2 word (and its SDWA, DPP or literal word).
pub(crate) fn decode(words: &[u32]) -> Result<Inst, DecodeError> {
    let word = words[0];
    let code = bits(word, 25, 6);
    let Some((_, op, info)) = Vop2::find(code) else { return unknown("VOP2", code) };
    let mut inst = Inst::new(Op::Vop2(*op), info, [word, 0], 4);
    inst.dst = bits(word, 17, 8) as u16 + reg::VGPR;
    inst.src = [bits(word, 0, 9) as u16, bits(word, 9, 8) as u16 + reg::VGPR, 0];
    let fixed = matches!(op, Vop2::MadmkF32 | Vop2::MadakF32 | Vop2::MadmkF16 | Vop2::MadakF16);
    let accumulates = matches!(op, Vop2::MacF32 | Vop2::MacF16 | Vop2::FmacF32);
    match inst.src[0] {
        249 if accumulates => return Err(DecodeError::Field { name: info.name, why: "no SDWA form" }),
        249 | 250 if fixed => return Err(DecodeError::Field { name: info.name, why: "no SDWA or DPP form" }),
        249 => sdwa(&mut inst, words, false)?,
        250 => dpp(&mut inst, words)?,
        _ => {
            check_sources(&inst, 2)?;
            take_literal(&mut inst, words, 1)?;
        }
    }
    if fixed {
        set_literal(&mut inst, words)?;
    }
    Ok(inst)
}
