//! Every load, store and atomic against a byte array, by what its name says.

use super::*;
use crate::isa::decode::{ds::Ds, flat::Flat, mubuf::Mubuf, smem::Smem};
use crate::memory::{MemoryKind, Span};

const BASE: u64 = 0x40000;
const BYTES: usize = 4096;

/// What an instruction does, read off its name.
#[derive(Clone, Copy, Debug)]
enum Does {
    /// Bytes, sign extension, half of the register.
    Load(usize, bool, Option<bool>),
    /// Bytes, and whether they come from the upper half.
    Store(usize, bool),
    /// Bits.
    Atomic(u32),
}

/// From `load_sbyte_d16_hi`, `store_dwordx3`, `atomic_add_x2`.
fn meaning(name: &str) -> Option<Does> {
    if name.starts_with("atomic") {
        return Some(Does::Atomic(if name.ends_with("_x2") { 64 } else { 32 }));
    }
    let (verb, rest) = name.split_once('_')?;
    let (what, half) = match rest.split_once("_d16") {
        Some((what, "")) => (what, Some(false)),
        Some((what, "_hi")) => (what, Some(true)),
        _ => (rest, None),
    };
    let (bytes, signed) = match what {
        "ubyte" | "byte" => (1, false),
        "sbyte" => (1, true),
        "sshort" => (2, true),
        "ushort" | "short" => (2, false),
        "dword" => (4, false),
        "dwordx2" => (8, false),
        "dwordx3" => (12, false),
        "dwordx4" => (16, false),
        "dwordx8" => (32, false),
        "dwordx16" => (64, false),
        _ => return None,
    };
    match verb {
        "load" => Some(Does::Load(bytes, signed, half)),
        "store" => Some(Does::Store(bytes, half == Some(true))),
        _ => None,
    }
}

/// New value of an atomic, in wide integers.
fn modified(name: &str, bits: u32, old: u64, data: u64, compare: u64) -> u64 {
    let u = |x: u64| i128::from(x);
    let s = |x: u64| i128::from((x << (64 - bits)) as i64 >> (64 - bits));
    let core = name.trim_start_matches("atomic_").trim_end_matches("_x2");
    let new = match core {
        "swap" => u(data),
        "cmpswap" => u(if old == compare { data } else { old }),
        "add" => u(old) + u(data),
        "sub" => u(old) - u(data),
        "rsub" => u(data) - u(old),
        "smin" => s(old).min(s(data)),
        "smax" => s(old).max(s(data)),
        "umin" => u(old).min(u(data)),
        "umax" => u(old).max(u(data)),
        "and" => u(old & data),
        "or" => u(old | data),
        "xor" => u(old ^ data),
        "inc" if old >= data => 0,
        "inc" => u(old) + 1,
        "dec" if old == 0 || old > data => u(data),
        "dec" => u(old) - 1,
        _ => panic!("no atomic {name}"),
    };
    new.rem_euclid(1 << bits) as u64
}

struct Memory {
    words: Vec<u64>,
    space: AddressSpace,
}

fn memory(seed: u64) -> Memory {
    // A power of two less one among the noise makes increments wrap and comparisons succeed at times.
    let mut words = inputs(BYTES / 8, seed);
    let space = AddressSpace::new();
    let span = Span {
        va: BASE,
        len: BYTES as u64,
        host: words.as_mut_ptr().cast(),
        memory: MemoryKind::Host,
        writable: true,
        executable: false,
    };
    // SAFETY: the vector lives beside the address space and is not resized.
    unsafe { space.map(span) };
    Memory { words, space }
}

impl Memory {
    fn bytes(&self) -> Vec<u8> {
        self.words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }
}

fn get_bytes(bytes: &[u8], at: usize, count: usize) -> u64 {
    (0..count).map(|n| u64::from(bytes[at + n]) << (8 * n)).sum()
}

fn put_bytes(bytes: &mut [u8], at: usize, count: usize, value: u64) {
    bytes[at..at + count].copy_from_slice(&value.to_le_bytes()[..count]);
}

/// A load's effect on a register's dwords.
fn loaded(does: Does, bytes: &[u8], at: usize, old: u32) -> Vec<u32> {
    let Does::Load(count, signed, half) = does else { panic!("no load") };
    if count >= 4 {
        return (0..count / 4).map(|n| get_bytes(bytes, at + 4 * n, 4) as u32).collect();
    }
    let raw = get_bytes(bytes, at, count);
    let value = if signed { (raw << (64 - 8 * count)) as i64 >> (64 - 8 * count) } else { raw as i64 } as u32;
    vec![match half {
        None => value,
        Some(false) => old / 65536 * 65536 + value % 65536,
        Some(true) => old % 65536 + value % 65536 * 65536,
    }]
}

/// Runs one vector memory instruction: `words` for its register fields, addresses as offsets into memory by lane.
fn vector(
    name: &str,
    words: [u32; 2],
    returns: bool,
    data_at: usize,
    place: impl Fn(&mut Wave, usize, usize),
) {
    let does = meaning(name).unwrap_or_else(|| panic!("{name}"));
    for seed in 1..5u64 {
        let m = memory(seed);
        let mut w = wave();
        w.set_pair(4, 0);
        w.sgpr[4..8].copy_from_slice(&[BASE as u32, 0, BYTES as u32, 0]);
        let exec = 0xdead_beef_1234_5678 ^ seed;
        w.set_exec(exec);
        let noise: Vec<Vec<u64>> = (0..4).map(|n| inputs(64, seed * 10 + n)).collect();
        let mut expected = m.bytes();
        let offset = |lane: usize| match does {
            Does::Atomic(bits) => (lane / 2) * 8 * (bits as usize / 32),
            // Unaligned for some lanes, and not overlapping.
            _ => lane * 24 + if lane.is_multiple_of(3) { lane % 4 } else { 0 },
        };
        for lane in 0..64 {
            place(&mut w, lane, offset(lane));
        }
        for (n, lanes) in noise.iter().enumerate() {
            for (lane, value) in lanes.iter().enumerate() {
                w.vgpr[data_at + n][lane] = *value as u32;
                w.vgpr[12 + n][lane] = *value as u32;
            }
        }
        // Compare-and-swap succeeds for every other pair.
        if name.contains("cmpswap") {
            for lane in (0..64).step_by(4) {
                let at = offset(lane);
                let (first, count) = if name.ends_with("x2") { (2, 2) } else { (1, 1) };
                for n in 0..count {
                    let value = get_bytes(&expected, at + 4 * n, 4) as u32;
                    w.vgpr[data_at + first + n][lane] = value;
                }
            }
        }
        let before = w.vgpr.clone();
        execute(&mut w, &mut Lds::new(0), &m.space, &words).unwrap_or_else(|stop| panic!("{name}: {stop:?}"));
        for lane in (0..64).filter(|lane| exec >> lane & 1 != 0) {
            let at = offset(lane);
            let word = |n: usize| u64::from(before[data_at + n][lane]);
            match does {
                Does::Load(..) => {
                    let want = loaded(does, &expected, at, before[12][lane]);
                    for (n, want) in want.iter().enumerate() {
                        assert_eq!(w.vgpr[12 + n][lane], *want, "{name} lane {lane} dword {n}");
                    }
                }
                Does::Store(count, high) => {
                    for n in 0..count.div_ceil(4) {
                        let value = word(n) >> if high { 16 } else { 0 };
                        put_bytes(&mut expected, at + 4 * n, count.min(4), value);
                    }
                }
                Does::Atomic(bits) => {
                    let wide = bits == 64;
                    let data = if wide { word(0) | word(1) << 32 } else { word(0) };
                    let compare = if wide { word(2) | word(3) << 32 } else { word(1) };
                    let count = bits as usize / 8;
                    let old = get_bytes(&expected, at, count);
                    put_bytes(&mut expected, at, count, modified(name, bits, old, data, compare));
                    if returns {
                        assert_eq!(w.vgpr[12][lane], old as u32, "{name} lane {lane}");
                        assert!(!wide || w.vgpr[13][lane] == (old >> 32) as u32, "{name} lane {lane}");
                    }
                }
            }
        }
        for lane in (0..64).filter(|lane| exec >> lane & 1 == 0) {
            assert!(
                (12..16).all(|n| w.vgpr[n][lane] == before[n][lane]),
                "{name} wrote inactive lane {lane}"
            );
        }
        assert!(m.bytes() == expected, "{name}: memory differs");
    }
}

fn set_address(w: &mut Wave, lane: usize, offset: usize) {
    set(w, 2, lane, BASE + offset as u64);
}

#[test]
pub fn flat_global_and_buffer() {
    for (code, _, info) in Flat::TABLE {
        checked(info.name);
        for segment in [0u32, 2] {
            let atomic = info.name.starts_with("atomic");
            let saddr = if segment == 2 { 0x7f << 16 } else { 0 };
            let load = info.src.is_empty();
            for glc in [false, true] {
                let returns = load || atomic && glc;
                let flags = if glc { 1 << 16 } else { 0 };
                let registers = 2 | if load { 0 } else { 6 << 8 } | if returns { 12 << 24 } else { 0 };
                let low = 0xdc00_0000 | u32::from(*code) << 18 | segment << 14 | flags;
                vector(info.name, [low, registers | saddr], returns, 6, set_address);
            }
        }
    }
    for (code, op, info) in Mubuf::TABLE {
        if meaning(info.name).is_none() || matches!(op, Mubuf::StoreLdsDword) {
            continue;
        }
        checked(info.name);
        for glc in [false, true] {
            let flags = 1 << 12 | if glc { 1 << 14 } else { 0 };
            let words = [0xe000_0000 | u32::from(*code) << 18 | flags, 2 | 12 << 8 | 1 << 16 | 128 << 24];
            vector(info.name, words, glc, 12, |w, lane, offset| w.vgpr[2][lane] = offset as u32);
        }
    }
}

#[test]
pub fn scalar_memory_instructions() {
    for (code, op, info) in Smem::TABLE {
        let Some(name) = info.name.strip_prefix("s_") else { continue };
        let (buffer, name) = name.strip_prefix("buffer_").map_or((false, name), |name| (true, name));
        let Some(does) = meaning(name) else { continue };
        if matches!(op, Smem::AtcProbe | Smem::AtcProbeBuffer) {
            continue;
        }
        checked(info.name);
        for seed in 1..8u64 {
            for glc in [false, true] {
                let m = memory(seed);
                let mut w = wave();
                w.sgpr[4..8].copy_from_slice(&[BASE as u32, 0, BYTES as u32, 0]);
                let at = 64 * seed as usize;
                for (n, value) in inputs(16, seed + 3).into_iter().enumerate() {
                    w.sgpr[16 + n] = value as u32;
                }
                let mut expected = m.bytes();
                if name.contains("cmpswap") && seed % 2 == 0 {
                    let (first, count) = if name.ends_with("x2") { (2, 2) } else { (1, 1) };
                    for n in 0..count {
                        w.sgpr[16 + first + n] = get_bytes(&expected, at + 4 * n, 4) as u32;
                    }
                }
                let before = w.sgpr;
                let flags = 1 << 17 | if glc { 1 << 16 } else { 0 };
                let words = [0xc000_0000 | u32::from(*code) << 18 | flags | 16 << 6 | 2, at as u32];
                execute(&mut w, &mut Lds::new(0), &m.space, &words)
                    .unwrap_or_else(|stop| panic!("{}: {stop:?}", info.name));
                let word = |n: usize| u64::from(before[16 + n]);
                match does {
                    Does::Load(count, ..) => {
                        for n in 0..count / 4 {
                            let want = get_bytes(&expected, at + 4 * n, 4) as u32;
                            assert_eq!(w.sgpr[16 + n], want, "{}", info.name);
                        }
                    }
                    Does::Store(count, _) => {
                        (0..count / 4).for_each(|n| put_bytes(&mut expected, at + 4 * n, 4, word(n)));
                    }
                    Does::Atomic(bits) => {
                        let wide = bits == 64;
                        let data = if wide { word(0) | word(1) << 32 } else { word(0) };
                        let compare = if wide { word(2) | word(3) << 32 } else { word(1) };
                        let count = bits as usize / 8;
                        let old = get_bytes(&expected, at, count);
                        put_bytes(&mut expected, at, count, modified(name, bits, old, data, compare));
                        let result = if glc { old } else { data };
                        assert_eq!(w.sgpr[16], result as u32, "{} buffer {buffer}", info.name);
                    }
                }
                assert!(m.bytes() == expected, "{}: memory differs", info.name);
            }
        }
    }
}

/// New value of an LDS atomic with two data operands (compare first), or of one of the others.
fn lds_modified(core: &str, bits: u32, old: u64, a: u64, b: u64) -> Option<u64> {
    let signed = core.contains("_i");
    let mask = if bits == 64 { u64::MAX } else { 0xffff_ffff };
    let float = |bits64: u64| {
        if bits == 64 { f64::from_bits(bits64) } else { f64::from(f32::from_bits(bits64 as u32)) }
    };
    let verb = core.split('_').next().expect("a verb");
    Some(match verb {
        "cmpst" if core.contains("_f") => {
            if float(old) == float(a) {
                b
            } else {
                old
            }
        }
        "cmpst" => {
            if old == a {
                b
            } else {
                old
            }
        }
        "mskor" => (old & !a | b) & mask,
        "wrap" => {
            if old >= a {
                old - a
            } else {
                (old + b) & mask
            }
        }
        "min" | "max" if core.contains("_f") => {
            let (x, y) = (float(old), float(a));
            let first = if x.is_nan() || y.is_nan() {
                y.is_nan()
            } else {
                x.total_cmp(&y).is_lt() == (verb == "min")
            };
            if first || x.to_bits() == y.to_bits() { old } else { a }
        }
        "add" if core.contains("_f") => {
            u64::from((f32::from_bits(old as u32) + f32::from_bits(a as u32)).to_bits())
        }
        "wrxchg" => a,
        "min" => modified(if signed { "smin" } else { "umin" }, bits, old, a, 0),
        "max" => modified(if signed { "smax" } else { "umax" }, bits, old, a, 0),
        "add" | "sub" | "rsub" | "inc" | "dec" | "and" | "or" | "xor" => modified(verb, bits, old, a, 0),
        "condxchg32" => {
            let half = |old: u64, data: u64| if data >= 1 << 31 { data - (1 << 31) } else { old };
            half(old % (1 << 32), a % (1 << 32)) + (half(old >> 32, a >> 32) << 32)
        }
        _ => return None,
    })
}

#[test]
pub fn lds_instructions() {
    for (code, op, info) in Ds::TABLE {
        let core = info.name.trim_start_matches("ds_").replace("rtn_", "");
        let bits = if core.ends_with("64") { 64 } else { 32 };
        let count = bits as usize / 8;
        let known = lds_modified(&core, bits, 0, 0, 0).is_some();
        if core.contains("src2") || core.starts_with("wrxchg2") || !known {
            continue;
        }
        checked(info.name);
        for seed in 1..6u64 {
            let (mut w, mut lds) = (wave(), Lds::new(2048));
            let exec = 0x0fed_cba9_8765_4321 ^ seed;
            w.set_exec(exec);
            let content = inputs(256, seed);
            let mut expected: Vec<u8> = content.iter().flat_map(|word| word.to_le_bytes()).collect();
            for (n, byte) in expected.iter().enumerate() {
                lds.store(n as u32, 1, u64::from(*byte)).unwrap();
            }
            let (a, b) = (inputs(64, seed + 20), inputs(64, seed + 30));
            for lane in 0..64 {
                w.vgpr[2][lane] = (lane as u32 / 2) * 16;
                set(&mut w, 4, lane, if lane % 4 == 0 { content[1 + lane / 2 * 2] } else { a[lane] });
                set(&mut w, 6, lane, b[lane]);
                set(&mut w, 12, lane, 0x1234_5678);
            }
            let before = w.vgpr.clone();
            let data = [4 << 8, 6 << 16][..info.src.len() - 1].iter().sum::<u32>();
            let dst = if info.dst == Ty::No { 0 } else { 12 << 24 };
            let words = [0xd800_0000 | u32::from(*code) << 17 | 8, 2 | data | dst];
            execute(&mut w, &mut lds, &AddressSpace::new(), &words)
                .unwrap_or_else(|stop| panic!("{op:?}: {stop:?}"));
            for lane in (0..64).filter(|lane| exec >> lane & 1 != 0) {
                let at = before[2][lane] as usize + 8;
                let mask = if bits == 64 { u64::MAX } else { 0xffff_ffff };
                let arg =
                    |at: usize| (u64::from(before[at][lane]) | u64::from(before[at + 1][lane]) << 32) & mask;
                let old = get_bytes(&expected, at, count);
                let new = lds_modified(&core, bits, old, arg(4), arg(6)).expect("known");
                let nan = core.contains("_f")
                    && if bits == 64 {
                        f64::from_bits(new).is_nan()
                    } else {
                        f32::from_bits(new as u32).is_nan()
                    };
                // NaNs differ in what they carry: take over what there is.
                let new = if nan { lds.load(at as u32, count as u32).unwrap() } else { new };
                put_bytes(&mut expected, at, count, new);
                if info.dst != Ty::No && !core.contains("_f") {
                    assert_eq!(get(&w, 12, lane) & mask, old, "{} lane {lane}", info.name);
                }
            }
            for (n, byte) in expected.iter().enumerate() {
                assert_eq!(lds.load(n as u32, 1).unwrap() as u8, *byte, "{} byte {n}", info.name);
            }
        }
    }
}

#[test]
pub fn lds_loads_and_stores() {
    for (code, op, info) in Ds::TABLE {
        let core = info.name.trim_start_matches("ds_");
        let pairs = core.starts_with("read2") || core.starts_with("write2") || core.starts_with("wrxchg2");
        if !pairs && !core.starts_with("read_") && !core.starts_with("write_")
            || core.contains("addtid")
            || core.contains("src2")
        {
            continue;
        }
        checked(info.name);
        let (mut w, mut lds) = (wave(), Lds::new(8192));
        w.set_exec(0x7777_0000_ffff_1111);
        let mut expected: Vec<u8> = inputs(1024, 5).into_iter().flat_map(u64::to_le_bytes).collect();
        for (n, byte) in expected.iter().enumerate() {
            lds.store(n as u32, 1, u64::from(*byte)).unwrap();
        }
        for lane in 0..64 {
            w.vgpr[2][lane] = lane as u32 * 40 + lane as u32 % 3;
            for at in 4..16 {
                w.vgpr[at][lane] = 0x0101_0101u32.wrapping_mul(at as u32 * 3) ^ (lane as u32) << 13;
            }
        }
        let before = w.vgpr.clone();
        let bits: usize =
            core.split("_b").last().and_then(|n| n.split('_').next()?.parse().ok()).unwrap_or(32);
        let offsets: u32 = if pairs { 3 | 1 << 8 } else { 20 };
        let sources = [2, 4 << 8, 8 << 16][..info.src.len()].iter().sum::<u32>();
        let dst = if info.dst == Ty::No { 0 } else { 12 << 24 };
        execute(
            &mut w,
            &mut lds,
            &AddressSpace::new(),
            &[0xd800_0000 | u32::from(*code) << 17 | offsets, sources | dst],
        )
        .unwrap_or_else(|stop| panic!("{op:?}: {stop:?}"));
        for lane in (0..64).filter(|lane| 0x7777_0000_ffff_1111u64 >> lane & 1 != 0) {
            let address = before[2][lane] as usize;
            if pairs {
                let scale = bits / 8 * if core.contains("st64") { 64 } else { 1 };
                for (n, element) in [3, 1].into_iter().enumerate() {
                    let at = address + element * scale;
                    for dword in 0..bits / 32 {
                        let at = at + 4 * dword;
                        if !core.starts_with("write2") {
                            let got = w.vgpr[12 + n * bits / 32 + dword][lane];
                            assert_eq!(got, get_bytes(&expected, at, 4) as u32, "{}", info.name);
                        }
                        if !core.starts_with("read2") {
                            put_bytes(&mut expected, at, 4, u64::from(before[4 + 4 * n + dword][lane]));
                        }
                    }
                }
                continue;
            }
            let at = address + 20;
            if let Some(kind) = core.strip_prefix("read_") {
                let half = kind.split_once("_d16").map(|(_, hi)| hi == "_hi");
                let does = match kind.split('_').next() {
                    Some("u8") => Does::Load(1, false, half),
                    Some("i8") => Does::Load(1, true, half),
                    Some("u16") => Does::Load(2, false, half),
                    Some("i16") => Does::Load(2, true, half),
                    _ => Does::Load(bits / 8, false, None),
                };
                for (n, want) in loaded(does, &expected, at, before[12][lane]).into_iter().enumerate() {
                    assert_eq!(w.vgpr[12 + n][lane], want, "{} lane {lane}", info.name);
                }
            } else {
                for n in 0..bits.div_ceil(32) {
                    let value = before[4 + n][lane] >> if core.ends_with("hi") { 16 } else { 0 };
                    put_bytes(&mut expected, at + 4 * n, (bits / 8).min(4), u64::from(value));
                }
            }
        }
        for (n, byte) in expected.iter().enumerate() {
            assert_eq!(lds.load(n as u32, 1).unwrap() as u8, *byte, "{} byte {n}", info.name);
        }
    }
}
