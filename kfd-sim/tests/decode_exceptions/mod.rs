//! Where the decoder and LLVM 14's disassembler do not agree, and why the decoder is right (or refuses on purpose).

/// What the decoder says of words: a text, or an error.
pub type Ours = Result<String, String>;

/// One kind of disagreement.
pub struct Exception {
    /// What it is about.
    pub name: &'static str,
    /// Why the decoder differs: what the ISA document says.
    pub reason: &'static str,
    /// Part of the decoder's error; none: both accept the words, with different texts.
    pub error: Option<&'static str>,
    /// What words and LLVM's text must fulfil.
    pub applies: fn(&[u32; 2], &str) -> bool,
    /// Words of this kind.
    pub example: [u32; 2],
}

/// Every kind.
pub const ALL: &[Exception] = &[
    Exception {
        name: "said invalid",
        reason: "LLVM disassembles it, and says in the text that the operand or control does not exist",
        error: Some(""),
        applies: |_, text| text.contains("/*") && text.contains("*/"),
        example: [0xbecd_1ff4, 0],
    },
    Exception {
        name: "null",
        reason: "scalar register code 125 is reserved before GFX10, where it is the null register",
        error: Some(""),
        applies: |_, text| text.split([' ', ',', '(', ')', '-', '|']).any(|word| word == "null"),
        example: [0xb3fd_cdbb, 0],
    },
    Exception {
        name: "alignment",
        reason: "64-bit operands are even-aligned pairs of scalar registers, longer ones start at a multiple of 4; LLVM warns, \
                 and drops the low bits",
        error: Some("scalar registers that are not aligned"),
        applies: |_, _| true,
        example: [0x85ae_0b3c, 0],
    },
    Exception {
        name: "beyond s101",
        reason: "the general registers end at s101; what LLVM calls s102 is FLAT_SCRATCH",
        error: Some("scalar registers beyond the last of their kind"),
        applies: |_, text| text.contains(":103]") || text.contains("xnack_mask"),
        example: [0xc00c_1800, 0],
    },
    Exception {
        name: "output modifier of an integer",
        reason: "output modifiers multiply float results; LLVM takes the bits for conversions to integers as well",
        error: Some("output modifier of an integer"),
        applies: |_, text| {
            ["v_cvt_", "v_frexp_exp_"].iter().any(|name| text.starts_with(name))
                && ["mul:2", "mul:4", "div:2"].iter().any(|omod| text.ends_with(omod))
        },
        example: [0xd143_0000, 0x0800_0000],
    },
    Exception {
        name: "modifier of an integer source",
        reason: "an integer has no sign to change; LLVM drops the bit of the absolute value, and reads that of the negation as \
                 the sign extension that exists in SDWA only",
        error: Some("negation or absolute value of an integer"),
        applies: |_, text| {
            [
                "v_cvt_pk_u8_f32",
                "v_cvt_pkaccum_u8_f32",
                "v_ldexp_f16_e64",
                "v_ldexp_f32",
                "v_ldexp_f64",
                "v_trig_preop_f64",
            ]
            .iter()
            .any(|name| text.starts_with(name))
        },
        example: [0xd1dd_0040, 0x4505_9767],
    },
    Exception {
        name: "modifier of an integer source in DPP",
        reason: "as above: there is no sign extension in DPP",
        error: Some("DPP modifier"),
        applies: |words, text| text.starts_with("v_ldexp_f16_dpp") && words[1] & 0x00c0_0000 != 0,
        example: [0x66b6_18fa, 0x4ec8_b9b6],
    },
    Exception {
        name: "lane mask in VGPRs",
        reason: "the mask of a selection or the carry of a sum is a pair of scalar registers",
        error: Some("lane mask in VGPRs"),
        applies: |_, text| ["v_cndmask", "v_addc", "v_subb"].iter().any(|name| text.starts_with(name)),
        example: [0xd100_22b6, 0x0659_e09f],
    },
    Exception {
        name: "exchange with no VGPR",
        reason: "V_SWAP_B32 writes its source; LLVM reads 8 bits of the 9, so that codes of constants, SDWA and DPP are VGPRs to it",
        error: Some("source must be a VGPR"),
        applies: |words, text| text.starts_with("v_swap_b32") && words[0] & 0x100 == 0,
        example: [0x7f72_a2f9, 0x288d_155b],
    },
    Exception {
        name: "offset of FLAT",
        reason: "offsets of FLAT have 12 bits without a sign; bit 12 belongs to GLOBAL and SCRATCH",
        error: Some("bit 12 of a FLAT offset"),
        applies: |_, text| text.starts_with("flat_") && text.contains("offset:"),
        example: [0xdc40_1298, 0x7300_4468],
    },
    Exception {
        name: "constant as a register",
        reason: "an address, or a number of a register, comes from a register; LLVM takes the wave id of pixel shaders for one",
        error: Some("must be a register"),
        applies: |_, text| text.contains(" src_"),
        example: [0xbedc_2aef, 0],
    },
    Exception {
        name: "constant as a destination",
        reason: "results go to registers; LLVM takes the bases of apertures for some",
        error: Some("no such scalar register"),
        applies: |_, text| text.split_once(' ').is_some_and(|(_, operands)| operands.starts_with("src_")),
        example: [0xd073_80ee, 0x10],
    },
    Exception {
        name: "scalar offset that does not exist",
        reason: "SOFFSET_EN adds an SGPR on GFX9, of which LLVM 14 knows nothing; the register is none here",
        error: Some("no such scalar register"),
        applies: |words, text| text.starts_with("s_") && words[0] >> 26 == 0x30 && words[0] >> 14 & 1 != 0,
        example: [0xc043_c10a, 0xfbbc_aaa1],
    },
    Exception {
        name: "GFX6's cache instruction",
        reason: "MUBUF 0x71 invalidated the cache on GFX6 and GFX7; on GFX9 it is free, and LLVM forgets which GPU it is for",
        error: Some("unknown opcode 0x71 of MUBUF"),
        applies: |_, text| text == "buffer_wbinvl1",
        example: [0xe1c4_0000, 0],
    },
    Exception {
        name: "control of V_NOP",
        reason: "which lanes an instruction that does nothing does not read is of no interest",
        error: None,
        applies: |_, text| text.starts_with("v_nop /* Invalid dpp_ctrl"),
        example: [0x7e00_00fa, 0x0001_0000],
    },
    Exception {
        name: "interpolation",
        reason: "attributes exist in pixel shaders only: refused by name",
        error: Some("VINTRP"),
        applies: |words, text| words[0] >> 26 == 0x35 && text.starts_with("v_interp_"),
        example: [0xd408_0400, 0],
    },
    Exception {
        name: "interpolation in VOP3",
        reason: "as above",
        error: Some("unknown opcode 0x27"),
        applies: |_, text| text.starts_with("v_interp_"),
        example: [0xd275_b491, 0x0840_0805],
    },
    Exception {
        name: "export",
        reason: "exports go to render targets, which a compute program does not have: refused by name",
        error: Some("EXP"),
        applies: |words, text| words[0] >> 26 == 0x31 && text.starts_with("exp "),
        example: [0xc418_0180, 0],
    },
    Exception {
        name: "images",
        reason: "image instructions need descriptors and formats of textures, which the device does not have: refused by name",
        error: Some("MIMG"),
        applies: |words, text| words[0] >> 26 == 0x3c && text.starts_with("image_"),
        example: [0xf000_0100, 0x0001_0402],
    },
    Exception {
        name: "typed buffers",
        reason: "compilers of compute programs emit none: refused by name",
        error: Some("MTBUF"),
        applies: |words, text| words[0] >> 26 == 0x3a && text.starts_with("tbuffer_"),
        example: [0xe808_0040, 0x0003_2000],
    },
    Exception {
        name: "modifier of V_CNDMASK_B32 in DPP",
        reason: "LLVM drops the modifiers in version 14, and knows them later",
        error: None,
        applies: |words, text| text.starts_with("v_cndmask_b32_dpp") && words[1] & 0x00f0_0000 != 0,
        example: [0x015e_0afa, 0xfe28_ae18],
    },
    Exception {
        name: "scalar offset beside an immediate",
        reason: "SOFFSET_EN adds an SGPR on GFX9; LLVM knows it from version 15 on, and emits it",
        error: None,
        applies: |words, text| text.starts_with("s_") && words[0] >> 26 == 0x30 && words[0] >> 14 & 1 != 0,
        example: [0xc002_4045, 0x0e00_0010],
    },
];

/// The exception that covers a disagreement, if any does.
pub fn exception(words: &[u32; 2], ours: &Ours, theirs: Option<&str>) -> Option<&'static Exception> {
    let text = theirs?;
    ALL.iter().find(|e| {
        let same = match (e.error, ours) {
            (Some(part), Err(error)) => error.contains(part),
            (None, Ok(_)) => true,
            _ => false,
        };
        same && (e.applies)(words, text)
    })
}

/// Whether LLVM 14's printer crashes on words: SDWA with a part of a register that does not exist. The decoder must refuse
/// them.
pub fn crashes_llvm(words: &[u32; 2]) -> bool {
    let [low, high] = *words;
    let compare = low >> 25 == 0x3e;
    let parts = [high >> 16 & 7, high >> 24 & 7, if compare { 0 } else { high >> 8 & 7 }];
    low >> 31 == 0 && low & 511 == 249 && (parts.contains(&7) || !compare && high >> 11 & 3 == 3)
}
