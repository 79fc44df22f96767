//! Iterated hashes: a kernel to begin, one for the iterations, one to compare, with state in memory between them.

use std::path::Path;

use super::device::{Buffers, CANDIDATES, Found, Inner, Input};
use super::modes::Mode;
use super::{FOLDER, RIGHT, compile, defines, installed};
use crate::compilers::Clang;
use crate::isa_support::Gpu;

/// A mode (see `Mode::parse`) and its iterations: the published examples `$P$946647711V1klyitUYhtB8Yw5DMA/w.` (phpass),
/// `$1$38652870$DUjsu4TTlTsOe/xxZ05uf/` (md5crypt), `$5$7777657035274252$XftMj84MW...` (sha256crypt) and
/// `$6$72820166$U4DVzpcYxgw7...` (sha512crypt), their digests decoded from crypt's base 64.
const SLOW: [(&str, u32); 4] = [
    ("400 crypt4 - e100c7be9b83649b370ac91f0fc6043c:46647711", 2048),
    ("500 crypt4 - e27d6bf7e8a5f8f187d0706b0fbaf16a:38652870", 1000),
    ("7400 crypt8 - 6362228445a140be9fec9aafa910ee6099cde2b8e36090fc1ee10642598e68a5:7777657035274252", 5000),
    (
        "1800 crypt16 - 847fcb3e9230e2f96b65dd7a78bdb487b16893e1b1f1923d183744e7004c0fe6\
         eb68af1dc276d135190aa08d2758b41d7173e8350175c6f72b3ff008816ec0cf:72820166",
        5000,
    ),
];
/// More than any of these modes keeps for a candidate.
const STATE_BYTES: usize = 1024;

fn check(clang: &Clang, level: &str, mode: &Mode, iterations: u32) {
    let mut defines = defines(mode, 1);
    defines.extend(["-DATTACK_MODE=0", "-DATTACK_KERN=0", "-DATTACK_EXEC=10"].map(String::from));
    let file = Path::new(FOLDER).join(format!("m{:05}-pure.cl", mode.number));
    let code = compile(clang, level, &file, &defines);
    let words = mode.family.words;
    let digests = [vec![0; words], mode.words(false), vec![u32::MAX; words]];
    let mut candidates: Vec<Vec<u8>> =
        (0..CANDIDATES).map(|n| format!("candidate{n}").into_bytes()).collect();
    candidates[RIGHT] = b"hashcat".to_vec();
    let input = Input {
        words: candidates,
        big_endian: false,
        padding: None,
        length_word: None,
        inner: Inner::Rules(vec![b":".to_vec()]),
        salt: &mode.salt,
        iterations,
        digests: &digests,
    };
    let mut gpu = Gpu::new();
    let base = gpu.load(&code);
    let buffers = Buffers::new(&mut gpu, &input, STATE_BYTES);
    let name = |step: &str| format!("m{:05}_{step}", mode.number);
    buffers.run(&mut gpu, (&code, base), &name("init"), (0, 3), (0, 0));
    for from in (0..iterations).step_by(1000) {
        let some = (iterations - from).min(1000);
        buffers.run(&mut gpu, (&code, base), &name("loop"), (0, 3), (from, some));
    }
    let right = Found { candidate: RIGHT as u64, inner: 0, digest: 1 };
    for (range, expected) in [((0, 1), vec![]), ((0, 3), vec![right])] {
        buffers.run(&mut gpu, (&code, base), &name("comp"), range, (0, 0));
        let found = buffers.take_found(&mut gpu);
        assert_eq!(found, expected, "mode {} with clang {} {level}", mode.number, clang.version);
    }
}

#[test]
fn iterated_hashes() {
    if !installed() {
        return;
    }
    let [Some(old), Some(new)] = [Clang::find(14), Clang::find(19)] else { return };
    let all = [(&old, "-O0"), (&old, "-O2"), (&old, "-O3"), (&new, "-O0"), (&new, "-O2"), (&new, "-O3")];
    for (number, (line, iterations)) in SLOW.into_iter().enumerate() {
        // Unoptimized code compiles fast, the iterations are what takes long.
        let usual: &[(&Clang, &str)] = if number == 0 { &all[..1] } else { &[] };
        for (clang, level) in if crate::full() { &all[..] } else { usual } {
            // Unoptimized, these take minutes each.
            if iterations == 5000 && *level == "-O0" {
                continue;
            }
            check(clang, level, &Mode::parse(line), iterations);
        }
    }
}
