//! hashcat's OpenCL kernels, from the distribution's package `hashcat-data`, find the password of each published example.
//!
//! The package is installed by `cargo xtask setup` and nothing of it is kept here. Each kernel gets 70 candidates, one of
//! which has the digest that is looked for once a rule, a second half or a first word is applied; it must mark this one and
//! no other, and nothing when the digest is another one.

mod device;
mod modes;
mod slow;

use std::path::{Path, PathBuf};

use crate::compilers::{Clang, skipped};
use crate::isa_support::{CodeObject, Gpu};
use device::{Buffers, CANDIDATES, Found, Inner, Input};
use modes::Mode;

const FOLDER: &str = "/usr/share/hashcat/OpenCL";
/// Index of the candidate that is right.
const RIGHT: usize = 37;

/// How candidates are made: hashcat's attack modes 0, 1 and 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attack {
    /// A word, changed by rules.
    Rules,
    /// Two halves.
    Halves,
    /// A mask: the first four bytes vary in the inner loop.
    Mask,
}

/// One of hashcat's kernel files for a mode.
#[derive(Clone, Copy, Debug)]
struct Variant {
    attack: Attack,
    optimized: bool,
    /// Candidates that one work-item works on at a time (`VECT_SIZE`).
    width: u32,
}

impl Variant {
    fn file(self, mode: &Mode) -> PathBuf {
        let attack = match self.attack {
            Attack::Rules => 0,
            Attack::Halves => 1,
            Attack::Mask => 3,
        };
        let kind = if self.optimized { "optimized" } else { "pure" };
        Path::new(FOLDER).join(format!("m{:05}_a{attack}-{kind}.cl", mode.number))
    }
}

/// Whether the package is here; says so if it is not.
fn installed() -> bool {
    let here = Path::new(FOLDER).join("inc_vendor.h").is_file();
    if !here {
        skipped(&format!("no {FOLDER}: the package hashcat-data is not installed (`cargo xtask setup`)"));
    }
    here
}

/// What hashcat defines for a mode and a number of candidates at a time.
fn defines(mode: &Mode, width: u32) -> Vec<String> {
    let mut defines = vec![
        format!("-DVECT_SIZE={width}"),
        format!("-DKERN_TYPE={}", mode.number),
        format!("-DDGST_ELEM={}", mode.family.words),
    ];
    defines.extend(mode.family.compared.iter().enumerate().map(|(n, at)| format!("-DDGST_R{n}={at}")));
    defines
}

/// Compiles one of hashcat's files as hashcat does on AMD's OpenCL.
fn compile(clang: &Clang, level: &str, file: &Path, defines: &[String]) -> CodeObject {
    let mut command = clang.device(level);
    let builtins = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/hashcat/builtins.h");
    command.args(["-Xclang", "-finclude-default-header", "-include"]).arg(builtins).args(["-I", FOLDER]);
    command.args(["-DKERNEL_STATIC", "-DXM2S(x)=#x", "-DM2S(x)=XM2S(x)", "-DCUDA_ARCH=0"]);
    command.arg(format!("-DINCLUDE_PATH={FOLDER}"));
    // An AMD GPU with local memory and the instructions v_perm_b32, v_add3_u32, v_bfe_u32, v_sub_co_u32, v_subb_co_u32.
    command.args([
        "-DVENDOR_ID=1",
        "-DDEVICE_TYPE=4",
        "-DLOCAL_MEM_TYPE=1",
        "-DHAS_VPERM=1",
        "-DHAS_VADD3=1",
    ]);
    command.args(["-DHAS_VBFE=1", "-DHAS_VSUB=1", "-DHAS_VSUBB=1", "-DHAS_ADD=1", "-DHAS_ADDC=1"]);
    command.args([
        "-DHAS_SUB=1",
        "-DHAS_SUBC=1",
        "-DHAS_BFE=0",
        "-DHAS_LOP3=0",
        "-DHAS_MOV64=0",
        "-DHAS_PRMT=0",
    ]);
    command.args(defines);
    Clang::code_object(&mut command, file)
}

/// Runs a variant of a mode: the kernels for one digest and for many.
fn check(clang: &Clang, level: &str, mode: &Mode, variant: Variant) {
    let what = format!("mode {} {variant:?} with clang {} {level}", mode.number, clang.version);
    let mut defines = defines(mode, variant.width);
    let attack = variant.attack as u32 + u32::from(variant.attack == Attack::Mask);
    defines.extend([
        format!("-DATTACK_MODE={attack}"),
        format!("-DATTACK_KERN={attack}"),
        "-DATTACK_EXEC=11".into(),
    ]);
    let code = compile(clang, level, &variant.file(mode), &defines);

    let digests =
        [vec![0; mode.family.words], mode.words(variant.optimized), vec![u32::MAX; mode.family.words]];
    let (words, inner) = candidates(mode, variant.attack);
    let input = Input {
        words,
        big_endian: variant.attack == Attack::Mask && mode.mask_big_endian(),
        padding: mode.padding().filter(|_| variant.optimized),
        length_word: mode.length_word().filter(|_| variant.optimized),
        inner,
        salt: &mode.salt,
        iterations: 0,
        digests: &digests,
    };
    let mut gpu = Gpu::new();
    let base = gpu.load(&code);
    let buffers = Buffers::new(&mut gpu, &input, 0);
    let right = Found { candidate: RIGHT as u64, inner: 1, digest: 1 };
    let suffix = if variant.optimized { "04" } else { "xx" };
    for (kernel, range, expected) in
        [("s", (1, 1), vec![right]), ("s", (0, 1), vec![]), ("m", (0, 3), vec![right])]
    {
        let name = format!("m{:05}_{kernel}{suffix}", mode.number);
        buffers.run(&mut gpu, (&code, base), &name, range, (0, 0));
        assert_eq!(buffers.take_found(&mut gpu), expected, "{what}: {name}, digests {range:?}");
    }
}

/// Candidates and the inner loop that makes "hashcat" of one of them, in its second iteration.
fn candidates(mode: &Mode, attack: Attack) -> (Vec<Vec<u8>>, Inner) {
    let filler =
        |n: usize| -> Vec<u8> { (0..1 + n % 13).map(|k| b'a' + ((n * 7 + k * 5) % 26) as u8).collect() };
    let mut words: Vec<Vec<u8>> = (0..CANDIDATES).map(filler).collect();
    let inner = match attack {
        Attack::Rules => {
            words[RIGHT] = b"tachsah".to_vec();
            Inner::Rules(vec![b":".to_vec(), b"r".to_vec(), b"u".to_vec()])
        }
        Attack::Halves => {
            words[RIGHT] = b"hash".to_vec();
            Inner::Right(vec![b"dog".to_vec(), b"cat".to_vec(), b"salmon".to_vec()])
        }
        Attack::Mask => {
            for word in &mut words {
                let length = word.len();
                word[..length.min(4)].fill(0);
            }
            words[RIGHT] = b"\0\0\0\0cat".to_vec();
            let word = |first: &[u8; 4]| {
                if mode.mask_big_endian() { u32::from_be_bytes(*first) } else { u32::from_le_bytes(*first) }
            };
            Inner::First([b"cash", b"hash", b"dash"].map(word).to_vec())
        }
    };
    (words, inner)
}

/// What hashcat's host program prepares for optimized kernels is done here for modes without salt, and for masks in
/// UTF-16 not at all.
fn variants(mode: &Mode, level: &str) -> Vec<Variant> {
    let mut all = Vec::new();
    for attack in [Attack::Rules, Attack::Halves, Attack::Mask] {
        for optimized in [false, true] {
            let prepared =
                mode.optimized() && mode.salt.is_empty() && !(attack == Attack::Mask && mode.utf16());
            // Candidates are worked on several at a time by kernels for masks and by optimized ones.
            // Unoptimized code for several is too large for a branch of 16 bits.
            let vectors = (optimized || attack == Attack::Mask) && level != "-O0";
            let width = if vectors { [1, 2, 4][mode.number as usize / 10 % 3] } else { 1 };
            let variant = Variant { attack, optimized, width };
            if variant.file(mode).is_file() && (prepared || !optimized) {
                all.push(variant);
            }
        }
    }
    all
}

/// Runs all variants of the modes with one compiler at one level.
fn check_all(version: u32, level: &str, choose: impl Fn(usize, &Mode, Variant) -> bool) {
    if !installed() {
        return;
    }
    let Some(clang) = Clang::find(version) else { return };
    let (mut number, mut kernels) = (0, 0);
    for mode in Mode::all() {
        for variant in variants(&mode, level) {
            if choose(number, &mode, variant) {
                check(&clang, level, &mode, variant);
                kernels += 2;
            }
            number += 1;
        }
    }
    assert!(kernels > 0, "no kernel was chosen");
    println!("{kernels} of hashcat's kernels found the password, clang {version} {level}");
}

/// The usual run takes the modes named; the long form every sixth variant of all modes, so that the six combinations of
/// compiler and level take each once.
fn combination(at: usize, version: u32, level: &str, usual: &[(u32, Attack, bool)]) {
    check_all(version, level, |number, mode, variant| {
        let named = usual.contains(&(mode.number, variant.attack, variant.optimized));
        named || crate::full() && number % 6 == at
    });
}

use Attack::{Halves, Mask, Rules};

#[test]
fn clang_14_unoptimized() {
    let usual = [
        (0, Mask, false),
        (20, Rules, false),
        (100, Halves, false),
        (610, Mask, false),
        (900, Rules, true),
        (1000, Halves, true),
        (1400, Mask, true),
        (1700, Rules, true),
        (5000, Halves, false),
        (6000, Rules, false),
        (11700, Mask, false),
        (17600, Halves, true),
    ];
    combination(0, 14, "-O0", &usual);
}

#[test]
fn clang_14_o2() {
    combination(
        1,
        14,
        "-O2",
        &[(0, Mask, true), (100, Mask, true), (1700, Mask, true), (17400, Halves, true)],
    );
}

#[test]
fn clang_14_o3() {
    combination(2, 14, "-O3", &[(900, Mask, true), (1300, Mask, true)]);
}

#[test]
fn clang_19_unoptimized() {
    let usual = [
        (30, Mask, false),
        (150, Mask, false),
        (1000, Rules, false),
        (1410, Halves, false),
        (6100, Mask, true),
        (21000, Mask, true),
    ];
    combination(3, 19, "-O0", &usual);
}

#[test]
fn clang_19_o2() {
    combination(4, 19, "-O2", &[(0, Mask, true), (1400, Mask, true), (10800, Mask, true)]);
}

#[test]
fn clang_19_o3() {
    combination(5, 19, "-O3", &[(100, Mask, true), (600, Mask, true)]);
}
