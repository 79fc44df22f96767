//! What LLVM's gfx906 disassembler prints in versions after 14, put as version 14 puts it.
//!
//! Found by comparing 14.0.6 (Debian 12) with 18.1.3 (Ubuntu 24.04) on the words of `isa_decode`. Version 14's own texts
//! are never touched.

use std::process::Command;

/// Trap registers of S_GETREG and S_SETREG: names in newer versions, numbers in 14.
const TRAP_REGISTERS: [(&str, &str); 4] = [
    ("hwreg(HW_REG_TBA_LO", "hwreg(16"),
    ("hwreg(HW_REG_TBA_HI", "hwreg(17"),
    ("hwreg(HW_REG_TMA_LO", "hwreg(18"),
    ("hwreg(HW_REG_TMA_HI", "hwreg(19"),
];

/// Half-precision constants beside packed 16-bit integers: numbers in newer versions, bits in 14.
const HALVES: [(&str, &str); 9] = [
    ("0.5", "0x3800"),
    ("-0.5", "0xb800"),
    ("1.0", "0x3c00"),
    ("-1.0", "0xbc00"),
    ("2.0", "0x4000"),
    ("-2.0", "0xc000"),
    ("4.0", "0x4400"),
    ("-4.0", "0xc400"),
    ("0.15915494", "0x3118"),
];

/// The LLVM whose llvm-mc is in PATH: version 14 if it is there, for the texts are its.
#[derive(Clone, Copy, Debug)]
pub struct Llvm {
    major: u32,
    program: &'static str,
}

impl Llvm {
    /// Asks llvm-mc for its version; `None`, with the reason printed, if there is none.
    pub fn installed() -> Option<Self> {
        let found = ["llvm-mc-14", "llvm-mc"].into_iter().find_map(|program| {
            Command::new(program).arg("--version").output().ok().map(|output| (program, output))
        });
        let Some((program, output)) = found else {
            println!("skipped: no llvm-mc");
            return None;
        };
        let text = String::from_utf8_lossy(&output.stdout);
        let major = major(&text).unwrap_or_else(|| panic!("no version in llvm-mc --version: {text}"));
        Some(Self { major, program })
    }

    /// A command that runs it.
    pub fn command(self) -> Command {
        Command::new(self.program)
    }

    /// Whether it is the version that the decoder is held against strictly.
    pub fn is_14(self) -> bool {
        self.major == 14
    }

    /// A line of its disassembly as version 14 prints it.
    pub fn as_14(self, text: &str) -> String {
        if self.major <= 14 {
            return text.to_owned();
        }
        let mut text = text.to_owned();
        // Registers that the assembler would not take (a load into M0) are marked, and disassembled all the same.
        while let Some(start) = text.find("/*Invalid register, operand has")
            && let Some(length) = text[start..].find("*/")
        {
            text.replace_range(start..start + length + 2, "");
        }
        for (name, number) in TRAP_REGISTERS {
            text = text.replace(name, number);
        }
        let Some((mnemonic, operands)) = text.split_once(' ') else { return text };
        let operands: Vec<_> =
            operands.split(", ").enumerate().map(|(n, o)| operand(mnemonic, n, o)).collect();
        let text = format!("{mnemonic} {}", operands.join(", "));
        match operands.as_slice() {
            // One literal that serves twice, as the half that it is to one of its uses: in 14 whole at both.
            [to, low, whole, add] if mnemonic == "v_madmk_f16" && is_low_half(low, whole) => {
                format!("{mnemonic} {to}, {whole}, {whole}, {add}")
            }
            _ => text,
        }
    }

    /// Whether this version reads such words as another instruction than 14 does: V_CNDMASK_B32 with SDWA has sign
    /// extension in 14, and absolute value and negation in newer ones.
    pub fn disagrees_with_14(self, words: &[u32; 2]) -> bool {
        const VOP2_CNDMASK: u32 = 0;
        const SDWA: u32 = 249;
        const MODIFIERS: u32 = 0x3838_0000;
        self.major > 14
            && words[0] >> 25 == VOP2_CNDMASK
            && words[0] & 0x1ff == SDWA
            && words[1] & MODIFIERS != 0
    }
}

/// The number after "LLVM version".
fn major(version: &str) -> Option<u32> {
    let (_, number) = version.split_once("LLVM version ")?;
    number.split('.').next()?.parse().ok()
}

/// The `n`-th operand (the destination is 0) as version 14 prints it; modifiers may follow the last one.
fn operand(mnemonic: &str, n: usize, operand: &str) -> String {
    let (value, modifiers) = operand.split_once(' ').map_or((operand, None), |(v, m)| (v, Some(m)));
    let packed_16 =
        mnemonic.starts_with("v_pk_") && ["i16", "u16", "b16"].iter().any(|k| mnemonic.ends_with(k));
    // The addend has 32 bits.
    let dot_factor = ["v_dot2_i32_i16", "v_dot2_u32_u16"].contains(&mnemonic) && n < 3;
    let value = if packed_16 || dot_factor {
        HALVES.iter().find(|(half, _)| *half == value).map_or(value, |(_, bits)| bits).to_owned()
    } else if mnemonic.contains("_f64") && mnemonic.ends_with("_e32") {
        // A literal beside 64-bit operands is always hexadecimal in newer versions, in 14 only outside -16..=64.
        match hex(value).map(|bits| bits as i32) {
            Some(small @ -16..=64) => small.to_string(),
            _ => value.to_owned(),
        }
    } else {
        value.to_owned()
    };
    modifiers.map_or(value.clone(), |modifiers| format!("{value} {modifiers}"))
}

fn hex(operand: &str) -> Option<u32> {
    u32::from_str_radix(operand.strip_prefix("0x")?, 16).ok()
}

fn is_low_half(low: &str, whole: &str) -> bool {
    hex(low).zip(hex(whole)).is_some_and(|(low, whole)| low == whole & 0xffff)
}

#[test]
fn newer_texts_become_those_of_14_and_its_own_stay() {
    let (old, new) = (Llvm { major: 14, program: "" }, Llvm { major: 18, program: "" });
    for (theirs, ours) in [
        ("v_cvt_u32_f64_e32 v15, 0x1", "v_cvt_u32_f64_e32 v15, 1"),
        ("v_trunc_f64_e32 v[76:77], 0xfffffff0", "v_trunc_f64_e32 v[76:77], -16"),
        ("s_getreg_b32 s83, hwreg(HW_REG_TMA_HI, 2, 5)", "s_getreg_b32 s83, hwreg(19, 2, 5)"),
        (
            "v_pk_add_i16 v51, -0.5, 1.0 op_sel:[1,0] op_sel_hi:[0,0]",
            "v_pk_add_i16 v51, 0xb800, 0x3c00 op_sel:[1,0] op_sel_hi:[0,0]",
        ),
        (
            "v_dot2_i32_i16 v0, -15, -2.0, 1.0 op_sel_hi:[0,0,0]",
            "v_dot2_i32_i16 v0, -15, 0xc000, 1.0 op_sel_hi:[0,0,0]",
        ),
        ("v_madmk_f16 v116, 0x5e47, 0x895e47, v60", "v_madmk_f16 v116, 0x895e47, 0x895e47, v60"),
        (
            "s_atomic_sub_x2 exec/*Invalid register, operand has 'SReg_64_XEXEC' register class*/, s[54:55], ttmp9",
            "s_atomic_sub_x2 exec, s[54:55], ttmp9",
        ),
    ] {
        assert_eq!(new.as_14(theirs), ours);
        assert_eq!(old.as_14(theirs), theirs);
    }
    for same in [
        "v_trunc_f64_e32 v[76:77], 0x41",
        "s_mov_b32 s0, 0x1",
        "v_pk_add_f16 v0, 1.0, v1",
        "s_endpgm",
        "v_madmk_f16 v0, v1, 0x5e47, v2",
    ] {
        assert_eq!(new.as_14(same), same);
    }
    assert_eq!(major("Ubuntu LLVM version 18.1.3\n  Optimized build."), Some(18));
}
