//! SOPP: branches, waits, messages and the end of the program. `101111111 | op[22:16] | simm16[15:0]`.

use super::{DecodeError, bits, unknown};
use crate::isa::inst::{Inst, Op};

opcodes! {
    /// SOPP: program control.
    Sopp {
        0x00 Nop "s_nop" No [],
        0x01 Endpgm "s_endpgm" No [],
        0x02 Branch "s_branch" No [],
        0x03 Wakeup "s_wakeup" No [],
        0x04 CbranchScc0 "s_cbranch_scc0" No [],
        0x05 CbranchScc1 "s_cbranch_scc1" No [],
        0x06 CbranchVccz "s_cbranch_vccz" No [],
        0x07 CbranchVccnz "s_cbranch_vccnz" No [],
        0x08 CbranchExecz "s_cbranch_execz" No [],
        0x09 CbranchExecnz "s_cbranch_execnz" No [],
        0x0a Barrier "s_barrier" No [],
        0x0b Setkill "s_setkill" No [],
        0x0c Waitcnt "s_waitcnt" No [],
        0x0d Sethalt "s_sethalt" No [],
        0x0e Sleep "s_sleep" No [],
        0x0f Setprio "s_setprio" No [],
        0x10 Sendmsg "s_sendmsg" No [],
        0x11 Sendmsghalt "s_sendmsghalt" No [],
        0x12 Trap "s_trap" No [],
        0x13 IcacheInv "s_icache_inv" No [],
        0x14 Incperflevel "s_incperflevel" No [],
        0x15 Decperflevel "s_decperflevel" No [],
        0x16 Ttracedata "s_ttracedata" No [],
        0x17 CbranchCdbgsys "s_cbranch_cdbgsys" No [],
        0x18 CbranchCdbguser "s_cbranch_cdbguser" No [],
        0x19 CbranchCdbgsysOrUser "s_cbranch_cdbgsys_or_user" No [],
        0x1a CbranchCdbgsysAndUser "s_cbranch_cdbgsys_and_user" No [],
        0x1b EndpgmSaved "s_endpgm_saved" No [],
        0x1c SetGprIdxOff "s_set_gpr_idx_off" No [],
        0x1d SetGprIdxMode "s_set_gpr_idx_mode" No [],
        0x1e EndpgmOrderedPsDone "s_endpgm_ordered_ps_done" No [],
    }
}

/// Decodes a SOPP word.
pub(crate) fn decode(words: &[u32]) -> Result<Inst, DecodeError> {
    let word = words[0];
    let code = bits(word, 16, 7);
    let Some((_, op, info)) = Sopp::find(code) else { return unknown("SOPP", code) };
    let mut inst = Inst::new(Op::Sopp(*op), info, [word, 0], 4);
    inst.imm = i32::from(word as u16 as i16);
    use Sopp::*;
    let bare = matches!(
        op,
        Wakeup | Barrier | IcacheInv | Ttracedata | EndpgmSaved | SetGprIdxOff | EndpgmOrderedPsDone
    );
    if bare && inst.imm != 0 {
        return Err(DecodeError::Field { name: info.name, why: "unused immediate" });
    }
    Ok(inst)
}
