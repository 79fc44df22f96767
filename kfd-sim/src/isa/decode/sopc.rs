//! SOPC: scalar compare. `101111110 | op[22:16] | ssrc1[15:8] | ssrc0[7:0]`.

use super::{DecodeError, bits, check_sources, take_literal, unknown};
use crate::isa::inst::{Inst, Op};

opcodes! {
    /// SOPC: scalar compare, result in SCC.
    Sopc {
        0x00 CmpEqI32 "s_cmp_eq_i32" No [I32 I32],
        0x01 CmpLgI32 "s_cmp_lg_i32" No [I32 I32],
        0x02 CmpGtI32 "s_cmp_gt_i32" No [I32 I32],
        0x03 CmpGeI32 "s_cmp_ge_i32" No [I32 I32],
        0x04 CmpLtI32 "s_cmp_lt_i32" No [I32 I32],
        0x05 CmpLeI32 "s_cmp_le_i32" No [I32 I32],
        0x06 CmpEqU32 "s_cmp_eq_u32" No [I32 I32],
        0x07 CmpLgU32 "s_cmp_lg_u32" No [I32 I32],
        0x08 CmpGtU32 "s_cmp_gt_u32" No [I32 I32],
        0x09 CmpGeU32 "s_cmp_ge_u32" No [I32 I32],
        0x0a CmpLtU32 "s_cmp_lt_u32" No [I32 I32],
        0x0b CmpLeU32 "s_cmp_le_u32" No [I32 I32],
        0x0c Bitcmp0B32 "s_bitcmp0_b32" No [I32 I32],
        0x0d Bitcmp1B32 "s_bitcmp1_b32" No [I32 I32],
        0x0e Bitcmp0B64 "s_bitcmp0_b64" No [B64 I32],
        0x0f Bitcmp1B64 "s_bitcmp1_b64" No [B64 I32],
        0x10 Setvskip "s_setvskip" No [I32 I32],
        0x11 SetGprIdxOn "s_set_gpr_idx_on" No [I32],
        0x12 CmpEqU64 "s_cmp_eq_u64" No [B64 B64],
        0x13 CmpLgU64 "s_cmp_lg_u64" No [B64 B64],
    }
}

/// Decodes a SOPC word.
pub(crate) fn decode(words: &[u32]) -> Result<Inst, DecodeError> {
    let word = words[0];
    let code = bits(word, 16, 7);
    let Some((_, op, info)) = Sopc::find(code) else { return unknown("SOPC", code) };
    let mut inst = Inst::new(Op::Sopc(*op), info, [word, 0], 4);
    inst.src = [bits(word, 0, 8) as u16, bits(word, 8, 8) as u16, 0];
    if *op == Sopc::SetGprIdxOn {
        inst.imm = i32::from(inst.src[1]);
    }
    check_sources(&inst, info.src.len())?;
    take_literal(&mut inst, words, info.src.len())?;
    Ok(inst)
}
