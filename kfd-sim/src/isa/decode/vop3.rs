//! VOP3: the 64-bit vector encoding, for its own opcodes and for those of VOPC (0x000), VOP2 (0x100) and VOP1 (0x140).
//!
//! Word 0: `110100 | op[25:16] | clamp 15 | op_sel[14:11] or sdst[14:8] | abs[10:8] | vdst[7:0]`; word 1: `neg[31:29] |
//! omod[28:27] | src2[26:18] | src1[17:9] | src0[8:0]`.

use super::vop1::Vop1;
use super::vop2::Vop2;
use super::vopc::Vopc;
use super::{DecodeError, bits, check_scalar_dst, scalar_error, second, source_error};
use crate::isa::inst::{Form, Inst, Op, Ty, reg};

opcodes! {
    /// VOP3-only opcodes: vector ALU, up to three sources.
    Vop3 {
        0x1c0 MadLegacyF32 "v_mad_legacy_f32" F32 [F32 F32 F32],
        0x1c1 MadF32 "v_mad_f32" F32 [F32 F32 F32],
        0x1c2 MadI32I24 "v_mad_i32_i24" I32 [I32 I32 I32],
        0x1c3 MadU32U24 "v_mad_u32_u24" I32 [I32 I32 I32],
        0x1c4 CubeidF32 "v_cubeid_f32" F32 [F32 F32 F32],
        0x1c5 CubescF32 "v_cubesc_f32" F32 [F32 F32 F32],
        0x1c6 CubetcF32 "v_cubetc_f32" F32 [F32 F32 F32],
        0x1c7 CubemaF32 "v_cubema_f32" F32 [F32 F32 F32],
        0x1c8 BfeU32 "v_bfe_u32" I32 [I32 I32 I32],
        0x1c9 BfeI32 "v_bfe_i32" I32 [I32 I32 I32],
        0x1ca BfiB32 "v_bfi_b32" I32 [I32 I32 I32],
        0x1cb FmaF32 "v_fma_f32" F32 [F32 F32 F32],
        0x1cc FmaF64 "v_fma_f64" F64 [F64 F64 F64],
        0x1cd LerpU8 "v_lerp_u8" I32 [I32 I32 I32],
        0x1ce AlignbitB32 "v_alignbit_b32" I32 [I32 I32 I32],
        0x1cf AlignbyteB32 "v_alignbyte_b32" I32 [I32 I32 I32],
        0x1d0 Min3F32 "v_min3_f32" F32 [F32 F32 F32],
        0x1d1 Min3I32 "v_min3_i32" I32 [I32 I32 I32],
        0x1d2 Min3U32 "v_min3_u32" I32 [I32 I32 I32],
        0x1d3 Max3F32 "v_max3_f32" F32 [F32 F32 F32],
        0x1d4 Max3I32 "v_max3_i32" I32 [I32 I32 I32],
        0x1d5 Max3U32 "v_max3_u32" I32 [I32 I32 I32],
        0x1d6 Med3F32 "v_med3_f32" F32 [F32 F32 F32],
        0x1d7 Med3I32 "v_med3_i32" I32 [I32 I32 I32],
        0x1d8 Med3U32 "v_med3_u32" I32 [I32 I32 I32],
        0x1d9 SadU8 "v_sad_u8" I32 [I32 I32 I32],
        0x1da SadHiU8 "v_sad_hi_u8" I32 [I32 I32 I32],
        0x1db SadU16 "v_sad_u16" I32 [I32 I32 I32],
        0x1dc SadU32 "v_sad_u32" I32 [I32 I32 I32],
        0x1dd CvtPkU8F32 "v_cvt_pk_u8_f32" I32 [F32 I32 I32],
        0x1de DivFixupF32 "v_div_fixup_f32" F32 [F32 F32 F32],
        0x1df DivFixupF64 "v_div_fixup_f64" F64 [F64 F64 F64],
        0x1e0 DivScaleF32 "v_div_scale_f32" F32 [F32 F32 F32],
        0x1e1 DivScaleF64 "v_div_scale_f64" F64 [F64 F64 F64],
        0x1e2 DivFmasF32 "v_div_fmas_f32" F32 [F32 F32 F32],
        0x1e3 DivFmasF64 "v_div_fmas_f64" F64 [F64 F64 F64],
        0x1e4 MsadU8 "v_msad_u8" I32 [I32 I32 I32],
        0x1e5 QsadPkU16U8 "v_qsad_pk_u16_u8" B64 [B64 I32 B64],
        0x1e6 MqsadPkU16U8 "v_mqsad_pk_u16_u8" B64 [B64 I32 B64],
        0x1e7 MqsadU32U8 "v_mqsad_u32_u8" B128 [B64 I32 B128],
        0x1e8 MadU64U32 "v_mad_u64_u32" B64 [I32 I32 B64],
        0x1e9 MadI64I32 "v_mad_i64_i32" B64 [I32 I32 B64],
        0x1ea MadLegacyF16 "v_mad_legacy_f16" F16 [F16 F16 F16],
        0x1eb MadLegacyU16 "v_mad_legacy_u16" I16 [I16 I16 I16],
        0x1ec MadLegacyI16 "v_mad_legacy_i16" I16 [I16 I16 I16],
        0x1ed PermB32 "v_perm_b32" I32 [I32 I32 I32],
        0x1ee FmaLegacyF16 "v_fma_legacy_f16" F16 [F16 F16 F16],
        0x1ef DivFixupLegacyF16 "v_div_fixup_legacy_f16" F16 [F16 F16 F16],
        0x1f0 CvtPkaccumU8F32 "v_cvt_pkaccum_u8_f32" I32 [F32 I32],
        0x1f1 MadU32U16 "v_mad_u32_u16" I32 [I16 I16 I32],
        0x1f2 MadI32I16 "v_mad_i32_i16" I32 [I16 I16 I32],
        0x1f3 XadU32 "v_xad_u32" I32 [I32 I32 I32],
        0x1f4 Min3F16 "v_min3_f16" F16 [F16 F16 F16],
        0x1f5 Min3I16 "v_min3_i16" I16 [I16 I16 I16],
        0x1f6 Min3U16 "v_min3_u16" I16 [I16 I16 I16],
        0x1f7 Max3F16 "v_max3_f16" F16 [F16 F16 F16],
        0x1f8 Max3I16 "v_max3_i16" I16 [I16 I16 I16],
        0x1f9 Max3U16 "v_max3_u16" I16 [I16 I16 I16],
        0x1fa Med3F16 "v_med3_f16" F16 [F16 F16 F16],
        0x1fb Med3I16 "v_med3_i16" I16 [I16 I16 I16],
        0x1fc Med3U16 "v_med3_u16" I16 [I16 I16 I16],
        0x1fd LshlAddU32 "v_lshl_add_u32" I32 [I32 I32 I32],
        0x1fe AddLshlU32 "v_add_lshl_u32" I32 [I32 I32 I32],
        0x1ff Add3U32 "v_add3_u32" I32 [I32 I32 I32],
        0x200 LshlOrB32 "v_lshl_or_b32" I32 [I32 I32 I32],
        0x201 AndOrB32 "v_and_or_b32" I32 [I32 I32 I32],
        0x202 Or3B32 "v_or3_b32" I32 [I32 I32 I32],
        0x203 MadF16 "v_mad_f16" F16 [F16 F16 F16],
        0x204 MadU16 "v_mad_u16" I16 [I16 I16 I16],
        0x205 MadI16 "v_mad_i16" I16 [I16 I16 I16],
        0x206 FmaF16 "v_fma_f16" F16 [F16 F16 F16],
        0x207 DivFixupF16 "v_div_fixup_f16" F16 [F16 F16 F16],
        0x280 AddF64 "v_add_f64" F64 [F64 F64],
        0x281 MulF64 "v_mul_f64" F64 [F64 F64],
        0x282 MinF64 "v_min_f64" F64 [F64 F64],
        0x283 MaxF64 "v_max_f64" F64 [F64 F64],
        0x284 LdexpF64 "v_ldexp_f64" F64 [F64 I32],
        0x285 MulLoU32 "v_mul_lo_u32" I32 [I32 I32],
        0x286 MulHiU32 "v_mul_hi_u32" I32 [I32 I32],
        0x287 MulHiI32 "v_mul_hi_i32" I32 [I32 I32],
        0x288 LdexpF32 "v_ldexp_f32" F32 [F32 I32],
        0x289 ReadlaneB32 "v_readlane_b32" I32 [I32 I32],
        0x28a WritelaneB32 "v_writelane_b32" I32 [I32 I32],
        0x28b BcntU32B32 "v_bcnt_u32_b32" I32 [I32 I32],
        0x28c MbcntLoU32B32 "v_mbcnt_lo_u32_b32" I32 [I32 I32],
        0x28d MbcntHiU32B32 "v_mbcnt_hi_u32_b32" I32 [I32 I32],
        0x28f LshlrevB64 "v_lshlrev_b64" B64 [I32 B64],
        0x290 LshrrevB64 "v_lshrrev_b64" B64 [I32 B64],
        0x291 AshrrevI64 "v_ashrrev_i64" I64 [I32 I64],
        0x292 TrigPreopF64 "v_trig_preop_f64" F64 [F64 I32],
        0x293 BfmB32 "v_bfm_b32" I32 [I32 I32],
        0x294 CvtPknormI16F32 "v_cvt_pknorm_i16_f32" I32 [F32 F32],
        0x295 CvtPknormU16F32 "v_cvt_pknorm_u16_f32" I32 [F32 F32],
        0x296 CvtPkrtzF16F32 "v_cvt_pkrtz_f16_f32" I32 [F32 F32],
        0x297 CvtPkU16U32 "v_cvt_pk_u16_u32" I32 [I32 I32],
        0x298 CvtPkI16I32 "v_cvt_pk_i16_i32" I32 [I32 I32],
        0x299 CvtPknormI16F16 "v_cvt_pknorm_i16_f16" I32 [F16 F16],
        0x29a CvtPknormU16F16 "v_cvt_pknorm_u16_f16" I32 [F16 F16],
        0x29c AddI32 "v_add_i32" I32 [I32 I32],
        0x29d SubI32 "v_sub_i32" I32 [I32 I32],
        0x29e AddI16 "v_add_i16" I16 [I16 I16],
        0x29f SubI16 "v_sub_i16" I16 [I16 I16],
        0x2a0 PackB32F16 "v_pack_b32_f16" I32 [F16 F16],
    }
}

/// Decodes VOP3 words.
pub(crate) fn decode(words: &[u32]) -> Result<Inst, DecodeError> {
    let word = words[0];
    let code = bits(word, 16, 10);
    let (op, info) = match code {
        0..0x100 => Vopc::find(code).map(|(_, op, info)| (Op::Vopc(*op), info)),
        0x100..0x140 => Vop2::find(code - 0x100).map(|(_, op, info)| (Op::Vop2(*op), info)),
        0x140..0x1c0 => Vop1::find(code - 0x140).map(|(_, op, info)| (Op::Vop1(*op), info)),
        _ => Vop3::find(code).map(|(_, op, info)| (Op::Vop3(*op), info)),
    }
    .filter(|(op, _)| {
        !matches!(op, Op::Vop2(Vop2::MadmkF32 | Vop2::MadakF32 | Vop2::MadmkF16 | Vop2::MadakF16))
            && !matches!(op, Op::Vop1(Vop1::SwapB32 | Vop1::ReadfirstlaneB32))
    })
    .ok_or(DecodeError::Opcode { encoding: "VOP3", code })?;
    let high = second(words, info.name)?;
    let mut inst = Inst::new(op, info, [word, high], 8);
    inst.form = Form::E64;
    let bad = |why| Err(DecodeError::Field { name: info.name, why });
    let compare = matches!(op, Op::Vopc(_));
    inst.dst = bits(word, 0, 8) as u16;
    inst.src = [0, 9, 18].map(|at| bits(high, at, 9) as u16);
    if compare {
        inst.sdst = inst.dst;
        if let Some(why) = scalar_error(inst.dst, 2) {
            return bad(why);
        }
    } else if inst.dst_is_scalar() {
        check_scalar_dst(&inst, inst.dst, Ty::I32)?;
    } else if info.dst != Ty::No {
        inst.dst += reg::VGPR;
    } else if inst.dst != 0 {
        return bad("destination of an instruction without one");
    }
    if inst.writes_carry() {
        inst.sdst = bits(word, 8, 7) as u16;
        check_scalar_dst(&inst, inst.sdst, Ty::B64)?;
    } else {
        inst.mods.abs = bits(word, 8, 3) as u8;
        inst.mods.op_sel = bits(word, 11, 4) as u8;
    }
    inst.mods.clamp = word >> 15 & 1 != 0;
    inst.mods.omod = bits(high, 27, 2) as u8;
    inst.mods.neg = bits(high, 29, 3) as u8;
    let lane_read = op == Op::Vop3(Vop3::ReadlaneB32);
    if lane_read {
        (inst.mods.abs, inst.mods.neg) = (0, 0);
    }
    if !takes_op_sel(&inst) {
        // Other opcodes do not look at these bits.
        inst.mods.op_sel = 0;
    } else if inst.mods.op_sel & 7 >> info.src.len() << info.src.len() != 0 {
        return bad("op_sel of a source that is not there");
    }
    for (n, &code) in inst.src.iter().enumerate() {
        let used = match info.src.get(n) {
            Some(_) if code == reg::LITERAL => Some("literal"),
            Some(ty) => source_error(code, *ty),
            // A lane mask: an SGPR pair.
            None if n == 2 && inst.reads_carry() && code >= reg::VGPR => Some("lane mask in VGPRs"),
            None if n == 2 && inst.reads_carry() => scalar_error(code, 2),
            None if n == 2 && lane_read => None,
            None => (code != 0).then_some("unused source operand"),
        };
        if let Some(why) = used {
            return bad(why);
        }
    }
    let floats = info.src.iter().enumerate().fold(0, |mask, (n, ty)| mask | u8::from(ty.is_float()) << n);
    if (inst.mods.neg | inst.mods.abs) & !floats != 0 {
        return bad("negation or absolute value of an integer");
    }
    if inst.mods.omod != 0 && !info.dst.is_float() {
        return bad("output modifier of an integer");
    }
    if inst.mods.clamp && !clamps(&inst) {
        return bad("clamp");
    }
    if inst.mods.omod != 0 && takes_op_sel(&inst) {
        return bad("output modifier beside op_sel");
    }
    if let Op::Vop3(Vop3::ReadlaneB32) = op
        && (128..reg::VGPR).contains(&inst.src[0])
    {
        return bad("source 0 must be a register");
    }
    Ok(inst)
}

/// Whether a result can be clamped: floats, and integer sums.
fn clamps(inst: &Inst) -> bool {
    const SUMS: [&str; 9] =
        ["v_add", "v_sub", "v_mad_", "v_sad", "v_msad", "v_qsad", "v_mqsad", "v_cvt", "v_frexp_exp"];
    let not = ["v_add_lshl_u32", "v_add3_u32", "v_cvt_pk_u16_u32", "v_cvt_pk_i16_i32"];
    if let Op::Vopc(_) = inst.op {
        // Of floats it has signalling comparisons raise exceptions; it changes no result.
        return inst.info.src[0].is_float() && inst.info.src[1].is_float();
    }
    use Vop3::*;
    let products = matches!(inst.op, Op::Vop2(Vop2::MulI32I24 | Vop2::MulU32U24));
    let middles = matches!(inst.op, Op::Vop3(Min3I16 | Min3U16 | Max3I16 | Max3U16 | Med3I16 | Med3U16));
    inst.info.dst.is_float()
        || inst.op == Op::Vop3(PackB32F16)
        || products
        || middles
        || SUMS.iter().any(|name| inst.info.name.starts_with(name)) && !not.contains(&inst.info.name)
}

/// Whether op_sel bits choose halves of 16-bit operands: the GFX9 three-source opcodes and a few conversions.
pub fn takes_op_sel(inst: &Inst) -> bool {
    use Vop3::*;
    let Op::Vop3(op) = inst.op else { return false };
    matches!(
        op,
        MadF16
            | MadU16
            | MadI16
            | FmaF16
            | DivFixupF16
            | MadU32U16
            | MadI32I16
            | Min3F16
            | Min3I16
            | Min3U16
            | Max3F16
            | Max3I16
            | Max3U16
            | Med3F16
            | Med3I16
            | Med3U16
            | PackB32F16
            | AddI16
            | SubI16
            | CvtPknormI16F16
            | CvtPknormU16F16
    )
}
