//! VOP1: vector ALU with one source. `0111111 | vdst[24:17] | op[16:9] | src0[8:0]`; source 249 announces SDWA, 250 DPP.

use super::{
    DecodeError, bits, check_scalar_dst, check_sources, dpp, sdwa, set_literal, take_literal, unknown,
};
use crate::isa::inst::{Inst, Mods, Op, reg};

opcodes! {
    /// VOP1: vector ALU, one source.
    Vop1 {
        0x00 Nop "v_nop" No [],
        0x01 MovB32 "v_mov_b32" I32 [I32],
        0x02 ReadfirstlaneB32 "v_readfirstlane_b32" I32 [I32],
        0x03 CvtI32F64 "v_cvt_i32_f64" I32 [F64],
        0x04 CvtF64I32 "v_cvt_f64_i32" F64 [I32],
        0x05 CvtF32I32 "v_cvt_f32_i32" F32 [I32],
        0x06 CvtF32U32 "v_cvt_f32_u32" F32 [I32],
        0x07 CvtU32F32 "v_cvt_u32_f32" I32 [F32],
        0x08 CvtI32F32 "v_cvt_i32_f32" I32 [F32],
        0x0a CvtF16F32 "v_cvt_f16_f32" F16 [F32],
        0x0b CvtF32F16 "v_cvt_f32_f16" F32 [F16],
        0x0c CvtRpiI32F32 "v_cvt_rpi_i32_f32" I32 [F32],
        0x0d CvtFlrI32F32 "v_cvt_flr_i32_f32" I32 [F32],
        0x0e CvtOffF32I4 "v_cvt_off_f32_i4" F32 [I32],
        0x0f CvtF32F64 "v_cvt_f32_f64" F32 [F64],
        0x10 CvtF64F32 "v_cvt_f64_f32" F64 [F32],
        0x11 CvtF32Ubyte0 "v_cvt_f32_ubyte0" F32 [I32],
        0x12 CvtF32Ubyte1 "v_cvt_f32_ubyte1" F32 [I32],
        0x13 CvtF32Ubyte2 "v_cvt_f32_ubyte2" F32 [I32],
        0x14 CvtF32Ubyte3 "v_cvt_f32_ubyte3" F32 [I32],
        0x15 CvtU32F64 "v_cvt_u32_f64" I32 [F64],
        0x16 CvtF64U32 "v_cvt_f64_u32" F64 [I32],
        0x17 TruncF64 "v_trunc_f64" F64 [F64],
        0x18 CeilF64 "v_ceil_f64" F64 [F64],
        0x19 RndneF64 "v_rndne_f64" F64 [F64],
        0x1a FloorF64 "v_floor_f64" F64 [F64],
        0x1b FractF32 "v_fract_f32" F32 [F32],
        0x1c TruncF32 "v_trunc_f32" F32 [F32],
        0x1d CeilF32 "v_ceil_f32" F32 [F32],
        0x1e RndneF32 "v_rndne_f32" F32 [F32],
        0x1f FloorF32 "v_floor_f32" F32 [F32],
        0x20 ExpF32 "v_exp_f32" F32 [F32],
        0x21 LogF32 "v_log_f32" F32 [F32],
        0x22 RcpF32 "v_rcp_f32" F32 [F32],
        0x23 RcpIflagF32 "v_rcp_iflag_f32" F32 [F32],
        0x24 RsqF32 "v_rsq_f32" F32 [F32],
        0x25 RcpF64 "v_rcp_f64" F64 [F64],
        0x26 RsqF64 "v_rsq_f64" F64 [F64],
        0x27 SqrtF32 "v_sqrt_f32" F32 [F32],
        0x28 SqrtF64 "v_sqrt_f64" F64 [F64],
        0x29 SinF32 "v_sin_f32" F32 [F32],
        0x2a CosF32 "v_cos_f32" F32 [F32],
        0x2b NotB32 "v_not_b32" I32 [I32],
        0x2c BfrevB32 "v_bfrev_b32" I32 [I32],
        0x2d FfbhU32 "v_ffbh_u32" I32 [I32],
        0x2e FfblB32 "v_ffbl_b32" I32 [I32],
        0x2f FfbhI32 "v_ffbh_i32" I32 [I32],
        0x30 FrexpExpI32F64 "v_frexp_exp_i32_f64" I32 [F64],
        0x31 FrexpMantF64 "v_frexp_mant_f64" F64 [F64],
        0x32 FractF64 "v_fract_f64" F64 [F64],
        0x33 FrexpExpI32F32 "v_frexp_exp_i32_f32" I32 [F32],
        0x34 FrexpMantF32 "v_frexp_mant_f32" F32 [F32],
        0x35 Clrexcp "v_clrexcp" No [],
        0x37 ScreenPartition4seB32 "v_screen_partition_4se_b32" I32 [I32],
        0x39 CvtF16U16 "v_cvt_f16_u16" F16 [I16],
        0x3a CvtF16I16 "v_cvt_f16_i16" F16 [I16],
        0x3b CvtU16F16 "v_cvt_u16_f16" I16 [F16],
        0x3c CvtI16F16 "v_cvt_i16_f16" I16 [F16],
        0x3d RcpF16 "v_rcp_f16" F16 [F16],
        0x3e SqrtF16 "v_sqrt_f16" F16 [F16],
        0x3f RsqF16 "v_rsq_f16" F16 [F16],
        0x40 LogF16 "v_log_f16" F16 [F16],
        0x41 ExpF16 "v_exp_f16" F16 [F16],
        0x42 FrexpMantF16 "v_frexp_mant_f16" F16 [F16],
        0x43 FrexpExpI16F16 "v_frexp_exp_i16_f16" I16 [F16],
        0x44 FloorF16 "v_floor_f16" F16 [F16],
        0x45 CeilF16 "v_ceil_f16" F16 [F16],
        0x46 TruncF16 "v_trunc_f16" F16 [F16],
        0x47 RndneF16 "v_rndne_f16" F16 [F16],
        0x48 FractF16 "v_fract_f16" F16 [F16],
        0x49 SinF16 "v_sin_f16" F16 [F16],
        0x4a CosF16 "v_cos_f16" F16 [F16],
        0x4b ExpLegacyF32 "v_exp_legacy_f32" F32 [F32],
        0x4c LogLegacyF32 "v_log_legacy_f32" F32 [F32],
        0x4d CvtNormI16F16 "v_cvt_norm_i16_f16" I16 [F16],
        0x4e CvtNormU16F16 "v_cvt_norm_u16_f16" I16 [F16],
        0x4f SatPkU8I16 "v_sat_pk_u8_i16" I32 [I32],
        0x51 SwapB32 "v_swap_b32" I32 [I32],
    }
}

/// Decodes a VOP1 word (and its SDWA, DPP or literal word).
pub(crate) fn decode(words: &[u32]) -> Result<Inst, DecodeError> {
    let word = words[0];
    let code = bits(word, 9, 8);
    let Some((_, op, info)) = Vop1::find(code) else { return unknown("VOP1", code) };
    let mut inst = Inst::new(Op::Vop1(*op), info, [word, 0], 4);
    if info.src.is_empty() {
        if bits(word, 17, 8) != 0 {
            return Err(DecodeError::Field {
                name: info.name,
                why: "destination of an instruction without one",
            });
        }
        match bits(word, 0, 9) {
            249 => set_literal(&mut inst, words)?,
            // V_CLREXCP has no such form in LLVM, which then takes the first word alone for it.
            250 if *op == Vop1::Nop => {
                // It matters to nobody whether the control exists.
                let source = super::second(words, info.name)? & 0xff;
                if source != 0 || dpp(&mut inst, words).is_err() {
                    set_literal(&mut inst, words)?;
                }
                (inst.src[0], inst.mods) = (0, Mods::default());
            }
            _ => {}
        }
        return Ok(inst);
    }
    inst.dst = bits(word, 17, 8) as u16 + reg::VGPR;
    inst.src[0] = bits(word, 0, 9) as u16;
    if inst.dst_is_scalar() {
        inst.dst -= reg::VGPR;
        check_scalar_dst(&inst, inst.dst, info.dst)?;
        if (128..reg::VGPR).contains(&inst.src[0]) {
            return Err(DecodeError::Field { name: info.name, why: "source must be a register" });
        }
    }
    if *op == Vop1::SwapB32 && inst.src[0] < reg::VGPR {
        return Err(DecodeError::Field { name: info.name, why: "source must be a VGPR" });
    }
    let wide = info.dst.dwords() == 2 || info.src[0].dwords() == 2;
    match inst.src[0] {
        249 if wide => {
            return Err(DecodeError::Field { name: info.name, why: "64-bit operands have no SDWA form" });
        }
        249 => sdwa(&mut inst, words, false)?,
        250 if wide => {
            return Err(DecodeError::Field { name: info.name, why: "64-bit operands have no DPP form" });
        }
        250 => dpp(&mut inst, words)?,
        _ => {
            check_sources(&inst, 1)?;
            take_literal(&mut inst, words, 1)?;
        }
    }
    Ok(inst)
}
