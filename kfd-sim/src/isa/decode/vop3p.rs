//! VOP3P: packed 16-bit maths, dot products, mixed-precision FMA.
//!
//! Word 0: `110100111 | op[22:16] | clamp 15 | op_sel_hi[2] 14 | op_sel[13:11] | neg_hi[10:8] | vdst[7:0]`; word 1: `neg[31:29]
//! | op_sel_hi[28:27] | src2 | src1 | src0`.

use super::{DecodeError, bits, second, source_error, unknown};
use crate::isa::inst::{Form, Inst, Op, Ty, reg};

opcodes! {
    /// VOP3P: packed 16-bit maths, dot products and mixed FMA.
    Vop3p {
        0x00 PkMadI16 "v_pk_mad_i16" I32 [P16 P16 P16],
        0x01 PkMulLoU16 "v_pk_mul_lo_u16" I32 [P16 P16],
        0x02 PkAddI16 "v_pk_add_i16" I32 [P16 P16],
        0x03 PkSubI16 "v_pk_sub_i16" I32 [P16 P16],
        0x04 PkLshlrevB16 "v_pk_lshlrev_b16" I32 [P16 P16],
        0x05 PkLshrrevB16 "v_pk_lshrrev_b16" I32 [P16 P16],
        0x06 PkAshrrevI16 "v_pk_ashrrev_i16" I32 [P16 P16],
        0x07 PkMaxI16 "v_pk_max_i16" I32 [P16 P16],
        0x08 PkMinI16 "v_pk_min_i16" I32 [P16 P16],
        0x09 PkMadU16 "v_pk_mad_u16" I32 [P16 P16 P16],
        0x0a PkAddU16 "v_pk_add_u16" I32 [P16 P16],
        0x0b PkSubU16 "v_pk_sub_u16" I32 [P16 P16],
        0x0c PkMaxU16 "v_pk_max_u16" I32 [P16 P16],
        0x0d PkMinU16 "v_pk_min_u16" I32 [P16 P16],
        0x0e PkFmaF16 "v_pk_fma_f16" I32 [P16 P16 P16],
        0x0f PkAddF16 "v_pk_add_f16" I32 [P16 P16],
        0x10 PkMulF16 "v_pk_mul_f16" I32 [P16 P16],
        0x11 PkMinF16 "v_pk_min_f16" I32 [P16 P16],
        0x12 PkMaxF16 "v_pk_max_f16" I32 [P16 P16],
        0x20 FmaMixF32 "v_fma_mix_f32" I32 [M16 M16 M16],
        0x21 FmaMixloF16 "v_fma_mixlo_f16" I32 [M16 M16 M16],
        0x22 FmaMixhiF16 "v_fma_mixhi_f16" I32 [M16 M16 M16],
        0x23 Dot2F32F16 "v_dot2_f32_f16" I32 [P16 P16 I32],
        0x26 Dot2I32I16 "v_dot2_i32_i16" I32 [P16 P16 I32],
        0x27 Dot2U32U16 "v_dot2_u32_u16" I32 [P16 P16 I32],
        0x28 Dot4I32I8 "v_dot4_i32_i8" I32 [I32 I32 I32],
        0x29 Dot4U32U8 "v_dot4_u32_u8" I32 [I32 I32 I32],
        0x2a Dot8I32I4 "v_dot8_i32_i4" I32 [I32 I32 I32],
        0x2b Dot8U32U4 "v_dot8_u32_u4" I32 [I32 I32 I32],
    }
}

impl Vop3p {
    /// Whether it computes with integers.
    pub fn integer(self) -> bool {
        use Vop3p::*;
        !matches!(
            self,
            PkFmaF16
                | PkAddF16
                | PkMulF16
                | PkMinF16
                | PkMaxF16
                | FmaMixF32
                | FmaMixloF16
                | FmaMixhiF16
                | Dot2F32F16
        )
    }
}

/// Decodes VOP3P words.
pub(crate) fn decode(words: &[u32]) -> Result<Inst, DecodeError> {
    let word = words[0];
    let code = bits(word, 16, 7);
    let Some((_, op, info)) = Vop3p::find(code) else { return unknown("VOP3P", code) };
    let high = second(words, info.name)?;
    let mut inst = Inst::new(Op::Vop3p(*op), info, [word, high], 8);
    inst.form = Form::E64;
    inst.dst = bits(word, 0, 8) as u16 + reg::VGPR;
    inst.src = [0, 9, 18].map(|at| bits(high, at, 9) as u16);
    inst.mods.clamp = word >> 15 & 1 != 0;
    inst.mods.op_sel = bits(word, 11, 3) as u8;
    inst.mods.op_sel_hi = (bits(high, 27, 2) | bits(word, 14, 1) << 2) as u8;
    inst.mods.neg_hi = bits(word, 8, 3) as u8;
    inst.mods.neg = bits(high, 29, 3) as u8;
    // Integers have the bits as well where halves are not chosen, and for source 0; they mean nothing.
    let halves =
        info.src.iter().enumerate().fold(0, |mask, (n, ty)| mask | u8::from(*ty == Ty::P16) << n) & !1;
    let halves = if code < 0x20 { 6 } else { halves };
    if op.integer() && (inst.mods.neg | inst.mods.neg_hi) & halves != 0 {
        return Err(DecodeError::Field { name: info.name, why: "negation of an integer" });
    }
    // The compilers set the last op_sel_hi bit whether or not there is a third source.
    if (inst.mods.neg | inst.mods.neg_hi | inst.mods.op_sel) >> info.src.len() != 0 {
        return Err(DecodeError::Field { name: info.name, why: "modifier of a source that is not there" });
    }
    for (n, &code) in inst.src.iter().enumerate() {
        let ok = match info.src.get(n) {
            Some(_) if code == reg::LITERAL => Some("literal"),
            Some(ty) => source_error(code, *ty),
            None => (code != 0).then_some("unused source operand"),
        };
        if let Some(why) = ok {
            return Err(DecodeError::Field { name: info.name, why });
        }
    }
    Ok(inst)
}
