//! What LLVM's gfx906 disassembler prints in versions after 14, put as version 14 puts it.
//!
//! Found by comparing 14.0.6 (Debian 12) with 18.1.3 (Ubuntu 24.04) on the words of `isa_decode`. Version 14's own texts are
//! never touched.

use std::process::Command;

/// Trap registers of S_GETREG and S_SETREG: names in newer versions, numbers in 14.
const TRAP_REGISTERS: [(&str, &str); 4] = [
    ("hwreg(HW_REG_TBA_LO", "hwreg(16"),
    ("hwreg(HW_REG_TBA_HI", "hwreg(17"),
    ("hwreg(HW_REG_TMA_LO", "hwreg(18"),
    ("hwreg(HW_REG_TMA_HI", "hwreg(19"),
];

/// The LLVM whose llvm-mc is in PATH.
#[derive(Clone, Copy, Debug)]
pub struct Llvm {
    major: u32,
}

impl Llvm {
    /// Asks llvm-mc; `None`, with the reason printed, if there is none.
    pub fn installed() -> Option<Self> {
        let Ok(output) = Command::new("llvm-mc").arg("--version").output() else {
            println!("skipped: no llvm-mc");
            return None;
        };
        let text = String::from_utf8_lossy(&output.stdout);
        let major = major(&text).unwrap_or_else(|| panic!("no version in llvm-mc --version: {text}"));
        Some(Self { major })
    }

    /// A line of its disassembly as version 14 prints it.
    pub fn as_14(self, text: &str) -> String {
        if self.major <= 14 {
            return text.to_owned();
        }
        let mut text = text.to_owned();
        // Registers that the assembler would not take (a load into M0) are marked, and disassembled all the same.
        if let Some(start) = text.find("/*Invalid register, operand has")
            && let Some(end) = text[start..].find("*/")
        {
            text.replace_range(start..start + end + 2, "");
        }
        for (name, number) in TRAP_REGISTERS {
            text = text.replace(name, number);
        }
        let mnemonic = text.split(' ').next().unwrap_or_default();
        if mnemonic.contains("_f64") && mnemonic.ends_with("_e32") {
            // A literal beside 64-bit operands is always hexadecimal in newer versions, in 14 only outside -16..=64.
            text = text.split(", ").map(small_in_decimal).collect::<Vec<_>>().join(", ");
        }
        text
    }

    /// Whether this version reads such words as another instruction than 14 does: V_CNDMASK_B32 with SDWA has sign extension
    /// in 14, and absolute value and negation in newer ones.
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

fn small_in_decimal(operand: &str) -> String {
    let value = operand.strip_prefix("0x").and_then(|hex| u32::from_str_radix(hex, 16).ok());
    match value.map(|bits| bits as i32) {
        Some(value @ -16..=64) => value.to_string(),
        _ => operand.to_owned(),
    }
}

#[test]
fn newer_texts_become_those_of_14_and_its_own_stay() {
    let (old, new) = (Llvm { major: 14 }, Llvm { major: 18 });
    for (theirs, ours) in [
        ("v_cvt_u32_f64_e32 v15, 0x1", "v_cvt_u32_f64_e32 v15, 1"),
        ("v_trunc_f64_e32 v[76:77], 0xfffffff0", "v_trunc_f64_e32 v[76:77], -16"),
        ("s_getreg_b32 s83, hwreg(HW_REG_TMA_HI, 2, 5)", "s_getreg_b32 s83, hwreg(19, 2, 5)"),
        (
            "s_atomic_sub_x2 exec/*Invalid register, operand has 'SReg_64_XEXEC' register class*/, s[54:55], ttmp9",
            "s_atomic_sub_x2 exec, s[54:55], ttmp9",
        ),
    ] {
        assert_eq!(new.as_14(theirs), ours);
        assert_eq!(old.as_14(theirs), theirs);
    }
    for same in ["v_trunc_f64_e32 v[76:77], 0x41", "s_mov_b32 s0, 0x1"] {
        assert_eq!(new.as_14(same), same);
    }
    assert_eq!(major("Ubuntu LLVM version 18.1.3\n  Optimized build."), Some(18));
}
