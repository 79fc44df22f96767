//! SOP1: scalar ALU with one source. `101111101 | sdst[22:16] | op[15:8] | ssrc0[7:0]`.

use super::{DecodeError, bits, check_scalar_dst, check_sources, take_literal, unknown};
use crate::isa::inst::{Inst, Op};

opcodes! {
    /// SOP1: scalar ALU, one source.
    Sop1 {
        0x00 MovB32 "s_mov_b32" I32 [I32],
        0x01 MovB64 "s_mov_b64" B64 [B64],
        0x02 CmovB32 "s_cmov_b32" I32 [I32],
        0x03 CmovB64 "s_cmov_b64" B64 [B64],
        0x04 NotB32 "s_not_b32" I32 [I32],
        0x05 NotB64 "s_not_b64" B64 [B64],
        0x06 WqmB32 "s_wqm_b32" I32 [I32],
        0x07 WqmB64 "s_wqm_b64" B64 [B64],
        0x08 BrevB32 "s_brev_b32" I32 [I32],
        0x09 BrevB64 "s_brev_b64" B64 [B64],
        0x0a Bcnt0I32B32 "s_bcnt0_i32_b32" I32 [I32],
        0x0b Bcnt0I32B64 "s_bcnt0_i32_b64" I32 [B64],
        0x0c Bcnt1I32B32 "s_bcnt1_i32_b32" I32 [I32],
        0x0d Bcnt1I32B64 "s_bcnt1_i32_b64" I32 [B64],
        0x0e Ff0I32B32 "s_ff0_i32_b32" I32 [I32],
        0x0f Ff0I32B64 "s_ff0_i32_b64" I32 [B64],
        0x10 Ff1I32B32 "s_ff1_i32_b32" I32 [I32],
        0x11 Ff1I32B64 "s_ff1_i32_b64" I32 [B64],
        0x12 FlbitI32B32 "s_flbit_i32_b32" I32 [I32],
        0x13 FlbitI32B64 "s_flbit_i32_b64" I32 [B64],
        0x14 FlbitI32 "s_flbit_i32" I32 [I32],
        0x15 FlbitI32I64 "s_flbit_i32_i64" I32 [I64],
        0x16 SextI32I8 "s_sext_i32_i8" I32 [I32],
        0x17 SextI32I16 "s_sext_i32_i16" I32 [I32],
        0x18 Bitset0B32 "s_bitset0_b32" I32 [I32],
        0x19 Bitset0B64 "s_bitset0_b64" B64 [I32],
        0x1a Bitset1B32 "s_bitset1_b32" I32 [I32],
        0x1b Bitset1B64 "s_bitset1_b64" B64 [I32],
        0x1c GetpcB64 "s_getpc_b64" B64 [],
        0x1d SetpcB64 "s_setpc_b64" No [B64],
        0x1e SwappcB64 "s_swappc_b64" B64 [B64],
        0x1f RfeB64 "s_rfe_b64" No [B64],
        0x20 AndSaveexecB64 "s_and_saveexec_b64" B64 [B64],
        0x21 OrSaveexecB64 "s_or_saveexec_b64" B64 [B64],
        0x22 XorSaveexecB64 "s_xor_saveexec_b64" B64 [B64],
        0x23 Andn2SaveexecB64 "s_andn2_saveexec_b64" B64 [B64],
        0x24 Orn2SaveexecB64 "s_orn2_saveexec_b64" B64 [B64],
        0x25 NandSaveexecB64 "s_nand_saveexec_b64" B64 [B64],
        0x26 NorSaveexecB64 "s_nor_saveexec_b64" B64 [B64],
        0x27 XnorSaveexecB64 "s_xnor_saveexec_b64" B64 [B64],
        0x28 QuadmaskB32 "s_quadmask_b32" I32 [I32],
        0x29 QuadmaskB64 "s_quadmask_b64" B64 [B64],
        0x2a MovrelsB32 "s_movrels_b32" I32 [I32],
        0x2b MovrelsB64 "s_movrels_b64" B64 [B64],
        0x2c MovreldB32 "s_movreld_b32" I32 [I32],
        0x2d MovreldB64 "s_movreld_b64" B64 [B64],
        0x2e CbranchJoin "s_cbranch_join" No [I32],
        0x30 AbsI32 "s_abs_i32" I32 [I32],
        0x32 SetGprIdxIdx "s_set_gpr_idx_idx" No [I32],
        0x33 Andn1SaveexecB64 "s_andn1_saveexec_b64" B64 [B64],
        0x34 Orn1SaveexecB64 "s_orn1_saveexec_b64" B64 [B64],
        0x35 Andn1WrexecB64 "s_andn1_wrexec_b64" B64 [B64],
        0x36 Andn2WrexecB64 "s_andn2_wrexec_b64" B64 [B64],
        0x37 BitreplicateB64B32 "s_bitreplicate_b64_b32" B64 [I32],
    }
}

/// Decodes a SOP1 word.
pub(crate) fn decode(words: &[u32]) -> Result<Inst, DecodeError> {
    let word = words[0];
    let code = bits(word, 8, 8);
    let Some((_, op, info)) = Sop1::find(code) else { return unknown("SOP1", code) };
    let mut inst = Inst::new(Op::Sop1(*op), info, [word, 0], 4);
    inst.dst = bits(word, 16, 7) as u16;
    inst.src[0] = bits(word, 0, 8) as u16;
    check_sources(&inst, info.src.len())?;
    let register =
        matches!(op, Sop1::CbranchJoin | Sop1::MovrelsB32 | Sop1::MovrelsB64 | Sop1::SetpcB64 | Sop1::RfeB64);
    if register && inst.src[0] >= 128 {
        return Err(DecodeError::Field { name: info.name, why: "source must be a register" });
    }
    check_scalar_dst(&inst, inst.dst, info.dst)?;
    take_literal(&mut inst, words, info.src.len())?;
    Ok(inst)
}
