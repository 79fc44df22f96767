//! SOPK: scalar ALU with a 16-bit immediate. `1011 | op[27:23] | sdst[22:16] | simm16[15:0]`.

use super::{DecodeError, bits, check_scalar_dst, set_literal, unknown};
use crate::isa::inst::{Inst, Op};

opcodes! {
    /// SOPK: scalar ALU with a 16-bit immediate.
    Sopk {
        0x00 MovkI32 "s_movk_i32" I32 [],
        0x01 CmovkI32 "s_cmovk_i32" I32 [],
        0x02 CmpkEqI32 "s_cmpk_eq_i32" I32 [],
        0x03 CmpkLgI32 "s_cmpk_lg_i32" I32 [],
        0x04 CmpkGtI32 "s_cmpk_gt_i32" I32 [],
        0x05 CmpkGeI32 "s_cmpk_ge_i32" I32 [],
        0x06 CmpkLtI32 "s_cmpk_lt_i32" I32 [],
        0x07 CmpkLeI32 "s_cmpk_le_i32" I32 [],
        0x08 CmpkEqU32 "s_cmpk_eq_u32" I32 [],
        0x09 CmpkLgU32 "s_cmpk_lg_u32" I32 [],
        0x0a CmpkGtU32 "s_cmpk_gt_u32" I32 [],
        0x0b CmpkGeU32 "s_cmpk_ge_u32" I32 [],
        0x0c CmpkLtU32 "s_cmpk_lt_u32" I32 [],
        0x0d CmpkLeU32 "s_cmpk_le_u32" I32 [],
        0x0e AddkI32 "s_addk_i32" I32 [],
        0x0f MulkI32 "s_mulk_i32" I32 [],
        0x10 CbranchIFork "s_cbranch_i_fork" B64 [],
        0x11 GetregB32 "s_getreg_b32" I32 [],
        0x12 SetregB32 "s_setreg_b32" I32 [],
        0x14 SetregImm32B32 "s_setreg_imm32_b32" No [],
        0x15 CallB64 "s_call_b64" B64 [],
    }
}

/// Decodes a SOPK word.
pub(crate) fn decode(words: &[u32]) -> Result<Inst, DecodeError> {
    let word = words[0];
    let code = bits(word, 23, 5);
    let Some((_, op, info)) = Sopk::find(code) else { return unknown("SOPK", code) };
    let mut inst = Inst::new(Op::Sopk(*op), info, [word, 0], 4);
    inst.dst = bits(word, 16, 7) as u16;
    inst.imm = i32::from(word as u16 as i16);
    check_scalar_dst(&inst, inst.dst, info.dst)?;
    if *op == Sopk::SetregImm32B32 {
        set_literal(&mut inst, words)?;
    }
    Ok(inst)
}
