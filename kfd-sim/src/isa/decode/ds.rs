//! DS: LDS loads, stores, atomics and lane permutes.
//!
//! Word 0: `110110 | op[24:17] | gds 16 | offset1[15:8] | offset0[7:0]`; word 1: `vdst | data1 | data0 | addr`, a byte each. GDS
//! forms are refused. Sources in a row are in assembly order: address first (except the `addtid` forms, which have none).

use super::{DecodeError, bits, second, unknown};
use crate::isa::inst::{Inst, Op, Ty, reg};

opcodes! {
    /// DS: local data share.
    Ds {
        0x00 AddU32 "ds_add_u32" No [I32 I32],
        0x01 SubU32 "ds_sub_u32" No [I32 I32],
        0x02 RsubU32 "ds_rsub_u32" No [I32 I32],
        0x03 IncU32 "ds_inc_u32" No [I32 I32],
        0x04 DecU32 "ds_dec_u32" No [I32 I32],
        0x05 MinI32 "ds_min_i32" No [I32 I32],
        0x06 MaxI32 "ds_max_i32" No [I32 I32],
        0x07 MinU32 "ds_min_u32" No [I32 I32],
        0x08 MaxU32 "ds_max_u32" No [I32 I32],
        0x09 AndB32 "ds_and_b32" No [I32 I32],
        0x0a OrB32 "ds_or_b32" No [I32 I32],
        0x0b XorB32 "ds_xor_b32" No [I32 I32],
        0x0c MskorB32 "ds_mskor_b32" No [I32 I32 I32],
        0x0d WriteB32 "ds_write_b32" No [I32 I32],
        0x0e Write2B32 "ds_write2_b32" No [I32 I32 I32],
        0x0f Write2st64B32 "ds_write2st64_b32" No [I32 I32 I32],
        0x10 CmpstB32 "ds_cmpst_b32" No [I32 I32 I32],
        0x11 CmpstF32 "ds_cmpst_f32" No [I32 I32 I32],
        0x12 MinF32 "ds_min_f32" No [I32 I32],
        0x13 MaxF32 "ds_max_f32" No [I32 I32],
        0x14 Nop "ds_nop" No [],
        0x15 AddF32 "ds_add_f32" No [I32 I32],
        0x1d WriteAddtidB32 "ds_write_addtid_b32" No [I32],
        0x1e WriteB8 "ds_write_b8" No [I32 I32],
        0x1f WriteB16 "ds_write_b16" No [I32 I32],
        0x20 AddRtnU32 "ds_add_rtn_u32" I32 [I32 I32],
        0x21 SubRtnU32 "ds_sub_rtn_u32" I32 [I32 I32],
        0x22 RsubRtnU32 "ds_rsub_rtn_u32" I32 [I32 I32],
        0x23 IncRtnU32 "ds_inc_rtn_u32" I32 [I32 I32],
        0x24 DecRtnU32 "ds_dec_rtn_u32" I32 [I32 I32],
        0x25 MinRtnI32 "ds_min_rtn_i32" I32 [I32 I32],
        0x26 MaxRtnI32 "ds_max_rtn_i32" I32 [I32 I32],
        0x27 MinRtnU32 "ds_min_rtn_u32" I32 [I32 I32],
        0x28 MaxRtnU32 "ds_max_rtn_u32" I32 [I32 I32],
        0x29 AndRtnB32 "ds_and_rtn_b32" I32 [I32 I32],
        0x2a OrRtnB32 "ds_or_rtn_b32" I32 [I32 I32],
        0x2b XorRtnB32 "ds_xor_rtn_b32" I32 [I32 I32],
        0x2c MskorRtnB32 "ds_mskor_rtn_b32" I32 [I32 I32 I32],
        0x2d WrxchgRtnB32 "ds_wrxchg_rtn_b32" I32 [I32 I32],
        0x2e Wrxchg2RtnB32 "ds_wrxchg2_rtn_b32" B64 [I32 I32 I32],
        0x2f Wrxchg2st64RtnB32 "ds_wrxchg2st64_rtn_b32" B64 [I32 I32 I32],
        0x30 CmpstRtnB32 "ds_cmpst_rtn_b32" I32 [I32 I32 I32],
        0x31 CmpstRtnF32 "ds_cmpst_rtn_f32" I32 [I32 I32 I32],
        0x32 MinRtnF32 "ds_min_rtn_f32" I32 [I32 I32],
        0x33 MaxRtnF32 "ds_max_rtn_f32" I32 [I32 I32],
        0x34 WrapRtnB32 "ds_wrap_rtn_b32" I32 [I32 I32 I32],
        0x35 AddRtnF32 "ds_add_rtn_f32" I32 [I32 I32],
        0x36 ReadB32 "ds_read_b32" I32 [I32],
        0x37 Read2B32 "ds_read2_b32" B64 [I32],
        0x38 Read2st64B32 "ds_read2st64_b32" B64 [I32],
        0x39 ReadI8 "ds_read_i8" I32 [I32],
        0x3a ReadU8 "ds_read_u8" I32 [I32],
        0x3b ReadI16 "ds_read_i16" I32 [I32],
        0x3c ReadU16 "ds_read_u16" I32 [I32],
        0x3d SwizzleB32 "ds_swizzle_b32" I32 [I32],
        0x3e PermuteB32 "ds_permute_b32" I32 [I32 I32],
        0x3f BpermuteB32 "ds_bpermute_b32" I32 [I32 I32],
        0x40 AddU64 "ds_add_u64" No [I32 B64],
        0x41 SubU64 "ds_sub_u64" No [I32 B64],
        0x42 RsubU64 "ds_rsub_u64" No [I32 B64],
        0x43 IncU64 "ds_inc_u64" No [I32 B64],
        0x44 DecU64 "ds_dec_u64" No [I32 B64],
        0x45 MinI64 "ds_min_i64" No [I32 B64],
        0x46 MaxI64 "ds_max_i64" No [I32 B64],
        0x47 MinU64 "ds_min_u64" No [I32 B64],
        0x48 MaxU64 "ds_max_u64" No [I32 B64],
        0x49 AndB64 "ds_and_b64" No [I32 B64],
        0x4a OrB64 "ds_or_b64" No [I32 B64],
        0x4b XorB64 "ds_xor_b64" No [I32 B64],
        0x4c MskorB64 "ds_mskor_b64" No [I32 B64 B64],
        0x4d WriteB64 "ds_write_b64" No [I32 B64],
        0x4e Write2B64 "ds_write2_b64" No [I32 B64 B64],
        0x4f Write2st64B64 "ds_write2st64_b64" No [I32 B64 B64],
        0x50 CmpstB64 "ds_cmpst_b64" No [I32 B64 B64],
        0x51 CmpstF64 "ds_cmpst_f64" No [I32 B64 B64],
        0x52 MinF64 "ds_min_f64" No [I32 B64],
        0x53 MaxF64 "ds_max_f64" No [I32 B64],
        0x54 WriteB8D16Hi "ds_write_b8_d16_hi" No [I32 I32],
        0x55 WriteB16D16Hi "ds_write_b16_d16_hi" No [I32 I32],
        0x56 ReadU8D16 "ds_read_u8_d16" I32 [I32],
        0x57 ReadU8D16Hi "ds_read_u8_d16_hi" I32 [I32],
        0x58 ReadI8D16 "ds_read_i8_d16" I32 [I32],
        0x59 ReadI8D16Hi "ds_read_i8_d16_hi" I32 [I32],
        0x5a ReadU16D16 "ds_read_u16_d16" I32 [I32],
        0x5b ReadU16D16Hi "ds_read_u16_d16_hi" I32 [I32],
        0x60 AddRtnU64 "ds_add_rtn_u64" B64 [I32 B64],
        0x61 SubRtnU64 "ds_sub_rtn_u64" B64 [I32 B64],
        0x62 RsubRtnU64 "ds_rsub_rtn_u64" B64 [I32 B64],
        0x63 IncRtnU64 "ds_inc_rtn_u64" B64 [I32 B64],
        0x64 DecRtnU64 "ds_dec_rtn_u64" B64 [I32 B64],
        0x65 MinRtnI64 "ds_min_rtn_i64" B64 [I32 B64],
        0x66 MaxRtnI64 "ds_max_rtn_i64" B64 [I32 B64],
        0x67 MinRtnU64 "ds_min_rtn_u64" B64 [I32 B64],
        0x68 MaxRtnU64 "ds_max_rtn_u64" B64 [I32 B64],
        0x69 AndRtnB64 "ds_and_rtn_b64" B64 [I32 B64],
        0x6a OrRtnB64 "ds_or_rtn_b64" B64 [I32 B64],
        0x6b XorRtnB64 "ds_xor_rtn_b64" B64 [I32 B64],
        0x6c MskorRtnB64 "ds_mskor_rtn_b64" B64 [I32 B64 B64],
        0x6d WrxchgRtnB64 "ds_wrxchg_rtn_b64" B64 [I32 B64],
        0x6e Wrxchg2RtnB64 "ds_wrxchg2_rtn_b64" B128 [I32 B64 B64],
        0x6f Wrxchg2st64RtnB64 "ds_wrxchg2st64_rtn_b64" B128 [I32 B64 B64],
        0x70 CmpstRtnB64 "ds_cmpst_rtn_b64" B64 [I32 B64 B64],
        0x71 CmpstRtnF64 "ds_cmpst_rtn_f64" B64 [I32 B64 B64],
        0x72 MinRtnF64 "ds_min_rtn_f64" B64 [I32 B64],
        0x73 MaxRtnF64 "ds_max_rtn_f64" B64 [I32 B64],
        0x76 ReadB64 "ds_read_b64" B64 [I32],
        0x77 Read2B64 "ds_read2_b64" B128 [I32],
        0x78 Read2st64B64 "ds_read2st64_b64" B128 [I32],
        0x7e Condxchg32RtnB64 "ds_condxchg32_rtn_b64" B64 [I32 B64],
        0x80 AddSrc2U32 "ds_add_src2_u32" No [I32],
        0x81 SubSrc2U32 "ds_sub_src2_u32" No [I32],
        0x82 RsubSrc2U32 "ds_rsub_src2_u32" No [I32],
        0x83 IncSrc2U32 "ds_inc_src2_u32" No [I32],
        0x84 DecSrc2U32 "ds_dec_src2_u32" No [I32],
        0x85 MinSrc2I32 "ds_min_src2_i32" No [I32],
        0x86 MaxSrc2I32 "ds_max_src2_i32" No [I32],
        0x87 MinSrc2U32 "ds_min_src2_u32" No [I32],
        0x88 MaxSrc2U32 "ds_max_src2_u32" No [I32],
        0x89 AndSrc2B32 "ds_and_src2_b32" No [I32],
        0x8a OrSrc2B32 "ds_or_src2_b32" No [I32],
        0x8b XorSrc2B32 "ds_xor_src2_b32" No [I32],
        0x8d WriteSrc2B32 "ds_write_src2_b32" No [I32],
        0x92 MinSrc2F32 "ds_min_src2_f32" No [I32],
        0x93 MaxSrc2F32 "ds_max_src2_f32" No [I32],
        0x95 AddSrc2F32 "ds_add_src2_f32" No [I32],
        0x98 GwsSemaReleaseAll "ds_gws_sema_release_all" No [],
        0x99 GwsInit "ds_gws_init" No [I32],
        0x9a GwsSemaV "ds_gws_sema_v" No [],
        0x9b GwsSemaBr "ds_gws_sema_br" No [I32],
        0x9c GwsSemaP "ds_gws_sema_p" No [],
        0x9d GwsBarrier "ds_gws_barrier" No [I32],
        0xb6 ReadAddtidB32 "ds_read_addtid_b32" I32 [],
        0xbd Consume "ds_consume" I32 [],
        0xbe Append "ds_append" I32 [],
        0xbf OrderedCount "ds_ordered_count" I32 [I32],
        0xc0 AddSrc2U64 "ds_add_src2_u64" No [I32],
        0xc1 SubSrc2U64 "ds_sub_src2_u64" No [I32],
        0xc2 RsubSrc2U64 "ds_rsub_src2_u64" No [I32],
        0xc3 IncSrc2U64 "ds_inc_src2_u64" No [I32],
        0xc4 DecSrc2U64 "ds_dec_src2_u64" No [I32],
        0xc5 MinSrc2I64 "ds_min_src2_i64" No [I32],
        0xc6 MaxSrc2I64 "ds_max_src2_i64" No [I32],
        0xc7 MinSrc2U64 "ds_min_src2_u64" No [I32],
        0xc8 MaxSrc2U64 "ds_max_src2_u64" No [I32],
        0xc9 AndSrc2B64 "ds_and_src2_b64" No [I32],
        0xca OrSrc2B64 "ds_or_src2_b64" No [I32],
        0xcb XorSrc2B64 "ds_xor_src2_b64" No [I32],
        0xcd WriteSrc2B64 "ds_write_src2_b64" No [I32],
        0xd2 MinSrc2F64 "ds_min_src2_f64" No [I32],
        0xd3 MaxSrc2F64 "ds_max_src2_f64" No [I32],
        0xde WriteB96 "ds_write_b96" No [I32 B96],
        0xdf WriteB128 "ds_write_b128" No [I32 B128],
        0xfe ReadB96 "ds_read_b96" B96 [I32],
        0xff ReadB128 "ds_read_b128" B128 [I32],
    }
}

impl Ds {
    /// Whether the instruction has no address register.
    pub fn addressless(self) -> bool {
        use Ds::*;
        matches!(
            self,
            Nop | WriteAddtidB32 | ReadAddtidB32 | Consume | Append | GwsSemaReleaseAll | GwsSemaV | GwsSemaP
        )
    }

    /// Whether the instruction exists only for the global data share, or only for LDS; none: for both.
    pub fn only_gds(self) -> Option<bool> {
        use Ds::*;
        match self {
            GwsSemaReleaseAll | GwsInit | GwsSemaV | GwsSemaBr | GwsSemaP | GwsBarrier | OrderedCount => {
                Some(true)
            }
            Nop | PermuteB32 | BpermuteB32 => Some(false),
            _ => None,
        }
    }

    /// Whether the two offset bytes are separate element offsets.
    pub fn two_offsets(self) -> bool {
        use Ds::*;
        matches!(
            self,
            Write2B32
                | Write2st64B32
                | Wrxchg2RtnB32
                | Wrxchg2st64RtnB32
                | Read2B32
                | Read2st64B32
                | Write2B64
                | Write2st64B64
                | Wrxchg2RtnB64
                | Wrxchg2st64RtnB64
                | Read2B64
                | Read2st64B64
        )
    }
}

/// Decodes DS words.
pub(crate) fn decode(words: &[u32]) -> Result<Inst, DecodeError> {
    let word = words[0];
    let code = bits(word, 17, 8);
    let Some((_, op, info)) = Ds::find(code) else { return unknown("DS", code) };
    let high = second(words, info.name)?;
    let mut inst = Inst::new(Op::Ds(*op), info, [word, high], 8);
    let bad = |why| Err(DecodeError::Field { name: info.name, why });
    let bare = matches!(op, Ds::Nop | Ds::GwsSemaReleaseAll | Ds::GwsSemaV | Ds::GwsSemaP);
    if bits(word, 25, 1) != 0 && (bare || info.name.contains("_src2_")) {
        return bad("reserved bit");
    }
    inst.mem.gds = bits(word, 16, 1) != 0;
    let only = op.only_gds();
    if only.is_some_and(|only| only != inst.mem.gds) {
        return bad("global data share");
    }
    inst.imm = bits(word, 0, 16) as i32;
    if *op == Ds::Nop && inst.imm != 0 {
        return bad("offset of ds_nop");
    }
    let mut fields = [0, 8, 16].map(|at| bits(high, at, 8) as u16 + reg::VGPR).into_iter();
    if op.addressless() && fields.next() != Some(reg::VGPR) {
        return bad("address register of an instruction without one");
    }
    for (n, code) in fields.enumerate() {
        if n < info.src.len() {
            inst.src[n] = code;
        } else if code != reg::VGPR {
            return bad("unused data register");
        }
    }
    let dst = bits(high, 24, 8) as u16;
    if info.dst != Ty::No {
        inst.dst = dst + reg::VGPR;
    } else if dst != 0 {
        return bad("unused destination register");
    }
    Ok(inst)
}
