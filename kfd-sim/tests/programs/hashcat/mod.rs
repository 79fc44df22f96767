//! hashcat's OpenCL kernels, from the distribution's package `hashcat-data`, find the password of each published example.
//!
//! The package is installed by `cargo xtask setup` and nothing of it is kept here. Each kernel gets 70 candidates, one of
//! which has the digest that is looked for once a rule, a second half or a first word is applied; it must mark this one and
//! no other, and nothing when the digest is another one.

mod device;
mod modes;

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

/// Compiles one of hashcat's files as hashcat does on AMD's OpenCL.
fn compile(clang: &Clang, level: &str, file: &Path, defines: &[String]) -> CodeObject {
    let mut command = clang.device(level);
    let builtins = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/hashcat/builtins.h");
    command.args(["-Xclang", "-finclude-default-header", "-include"]).arg(builtins).args(["-I", FOLDER]);
    command.args(["-DKERNEL_STATIC", "-DXM2S(x)=#x", "-DM2S(x)=XM2S(x)", "-DATTACK_EXEC=11", "-DCUDA_ARCH=0"]);
    command.arg(format!("-DINCLUDE_PATH={FOLDER}"));
    // An AMD GPU with local memory and the instructions v_perm_b32, v_add3_u32, v_bfe_u32, v_sub_co_u32, v_subb_co_u32.
    command.args(["-DVENDOR_ID=1", "-DDEVICE_TYPE=4", "-DLOCAL_MEM_TYPE=1", "-DHAS_VPERM=1", "-DHAS_VADD3=1"]);
    command.args(["-DHAS_VBFE=1", "-DHAS_VSUB=1", "-DHAS_VSUBB=1", "-DHAS_ADD=1", "-DHAS_ADDC=1"]);
    command.args(["-DHAS_SUB=1", "-DHAS_SUBC=1", "-DHAS_BFE=0", "-DHAS_LOP3=0", "-DHAS_MOV64=0", "-DHAS_PRMT=0"]);
    command.args(defines);
    Clang::code_object(&mut command, file)
}

/// Runs a variant of a mode: the kernels for one digest and for many.
fn check(clang: &Clang, level: &str, mode: &Mode, variant: Variant) -> u64 {
    let what = format!("mode {} {variant:?} with clang {} {level}", mode.number, clang.version);
    let mut defines = vec![
        format!("-DVECT_SIZE={}", variant.width),
        format!("-DKERN_TYPE={}", mode.number),
        format!("-DDGST_ELEM={}", mode.family.words),
    ];
    defines.extend(mode.family.compared.iter().enumerate().map(|(n, at)| format!("-DDGST_R{n}={at}")));
    let attack = variant.attack as u32 + u32::from(variant.attack == Attack::Mask);
    defines.extend([format!("-DATTACK_MODE={attack}"), format!("-DATTACK_KERN={attack}")]);
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
    let mut instructions = 0;
    for (kernel, range, expected) in [("s", (1, 1), vec![right]), ("s", (0, 1), vec![]), ("m", (0, 3), vec![right])] {
        let name = format!("m{:05}_{kernel}{suffix}", mode.number);
        let stats = buffers.run(&mut gpu, (&code, base), &name, range, (0, 0));
        instructions += stats.valu + stats.salu;
        assert_eq!(buffers.take_found(&mut gpu), expected, "{what}: {name}, digests {range:?}");
    }
    instructions
}

/// Candidates and the inner loop that makes "hashcat" of one of them, in its second iteration.
fn candidates(mode: &Mode, attack: Attack) -> (Vec<Vec<u8>>, Inner) {
    let filler = |n: usize| -> Vec<u8> { (0..1 + n % 13).map(|k| b'a' + ((n * 7 + k * 5) % 26) as u8).collect() };
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

#[test]
fn probe_all() {
    if !installed() { return }
    let Some(clang) = Clang::find(14) else { return };
    let only: Vec<u32> = std::env::var("MODES").map(|m| m.split(',').map(|x| x.parse().unwrap()).collect()).unwrap_or_default();
    for mode in Mode::all() {
        if !only.is_empty() && !only.contains(&mode.number) { continue }
        for attack in [Attack::Rules, Attack::Halves, Attack::Mask] {
            for optimized in [false, true] {
                let variant = Variant { attack, optimized, width: 1 };
                if !variant.file(&mode).is_file() { continue }
                if optimized && (attack == Attack::Mask && mode.utf16() || !mode.salt.is_empty()) { continue }
                let start = std::time::Instant::now();
                let result = std::panic::catch_unwind(|| check(&clang, "-O0", &mode, variant));
                eprintln!("RESULT {} {attack:?} {optimized} {} {:?}", mode.number, result.is_ok(), start.elapsed());
            }
        }
    }
}
