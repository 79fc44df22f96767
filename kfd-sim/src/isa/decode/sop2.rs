//! SOP2: scalar ALU with two sources. `10 | op[29:23] | sdst[22:16] | ssrc1[15:8] | ssrc0[7:0]`.

use super::{DecodeError, bits, check_scalar_dst, check_sources, take_literal, unknown};
use crate::isa::inst::{Inst, Op};

opcodes! {
    /// SOP2: scalar ALU, two sources.
    Sop2 {
        0x00 AddU32 "s_add_u32" I32 [I32 I32],
        0x01 SubU32 "s_sub_u32" I32 [I32 I32],
        0x02 AddI32 "s_add_i32" I32 [I32 I32],
        0x03 SubI32 "s_sub_i32" I32 [I32 I32],
        0x04 AddcU32 "s_addc_u32" I32 [I32 I32],
        0x05 SubbU32 "s_subb_u32" I32 [I32 I32],
        0x06 MinI32 "s_min_i32" I32 [I32 I32],
        0x07 MinU32 "s_min_u32" I32 [I32 I32],
        0x08 MaxI32 "s_max_i32" I32 [I32 I32],
        0x09 MaxU32 "s_max_u32" I32 [I32 I32],
        0x0a CselectB32 "s_cselect_b32" I32 [I32 I32],
        0x0b CselectB64 "s_cselect_b64" B64 [B64 B64],
        0x0c AndB32 "s_and_b32" I32 [I32 I32],
        0x0d AndB64 "s_and_b64" B64 [B64 B64],
        0x0e OrB32 "s_or_b32" I32 [I32 I32],
        0x0f OrB64 "s_or_b64" B64 [B64 B64],
        0x10 XorB32 "s_xor_b32" I32 [I32 I32],
        0x11 XorB64 "s_xor_b64" B64 [B64 B64],
        0x12 Andn2B32 "s_andn2_b32" I32 [I32 I32],
        0x13 Andn2B64 "s_andn2_b64" B64 [B64 B64],
        0x14 Orn2B32 "s_orn2_b32" I32 [I32 I32],
        0x15 Orn2B64 "s_orn2_b64" B64 [B64 B64],
        0x16 NandB32 "s_nand_b32" I32 [I32 I32],
        0x17 NandB64 "s_nand_b64" B64 [B64 B64],
        0x18 NorB32 "s_nor_b32" I32 [I32 I32],
        0x19 NorB64 "s_nor_b64" B64 [B64 B64],
        0x1a XnorB32 "s_xnor_b32" I32 [I32 I32],
        0x1b XnorB64 "s_xnor_b64" B64 [B64 B64],
        0x1c LshlB32 "s_lshl_b32" I32 [I32 I32],
        0x1d LshlB64 "s_lshl_b64" B64 [B64 I32],
        0x1e LshrB32 "s_lshr_b32" I32 [I32 I32],
        0x1f LshrB64 "s_lshr_b64" B64 [B64 I32],
        0x20 AshrI32 "s_ashr_i32" I32 [I32 I32],
        0x21 AshrI64 "s_ashr_i64" I64 [I64 I32],
        0x22 BfmB32 "s_bfm_b32" I32 [I32 I32],
        0x23 BfmB64 "s_bfm_b64" B64 [I32 I32],
        0x24 MulI32 "s_mul_i32" I32 [I32 I32],
        0x25 BfeU32 "s_bfe_u32" I32 [I32 I32],
        0x26 BfeI32 "s_bfe_i32" I32 [I32 I32],
        0x27 BfeU64 "s_bfe_u64" B64 [B64 I32],
        0x28 BfeI64 "s_bfe_i64" I64 [I64 I32],
        0x29 CbranchGFork "s_cbranch_g_fork" No [B64 B64],
        0x2a AbsdiffI32 "s_absdiff_i32" I32 [I32 I32],
        0x2b RfeRestoreB64 "s_rfe_restore_b64" No [B64 I32],
        0x2c MulHiU32 "s_mul_hi_u32" I32 [I32 I32],
        0x2d MulHiI32 "s_mul_hi_i32" I32 [I32 I32],
        0x2e Lshl1AddU32 "s_lshl1_add_u32" I32 [I32 I32],
        0x2f Lshl2AddU32 "s_lshl2_add_u32" I32 [I32 I32],
        0x30 Lshl3AddU32 "s_lshl3_add_u32" I32 [I32 I32],
        0x31 Lshl4AddU32 "s_lshl4_add_u32" I32 [I32 I32],
        0x32 PackLlB32B16 "s_pack_ll_b32_b16" I32 [I32 I32],
        0x33 PackLhB32B16 "s_pack_lh_b32_b16" I32 [I32 I32],
        0x34 PackHhB32B16 "s_pack_hh_b32_b16" I32 [I32 I32],
    }
}

/// Decodes a SOP2 word.
pub(crate) fn decode(words: &[u32]) -> Result<Inst, DecodeError> {
    let word = words[0];
    let code = bits(word, 23, 7);
    let Some((_, op, info)) = Sop2::find(code) else { return unknown("SOP2", code) };
    let mut inst = Inst::new(Op::Sop2(*op), info, [word, 0], 4);
    inst.dst = bits(word, 16, 7) as u16;
    inst.src = [bits(word, 0, 8) as u16, bits(word, 8, 8) as u16, 0];
    check_sources(&inst, 2)?;
    check_scalar_dst(&inst, inst.dst, info.dst)?;
    take_literal(&mut inst, words, 2)?;
    Ok(inst)
}
