//! Handlers against the general form: the same instruction on the same random registers, lane masks, modes and modifiers
//! must leave the same state, at every level that this processor has. NaNs may differ in their payload, nothing else may.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::super::dispatch;
use super::super::fast::Level;
use super::*;
use crate::caches::{DispatchCache, L2};
use crate::isa::inst::{Info, Op};
use crate::memory::{MemoryKind, Span};

const VGPRS: u32 = 24;

/// A small generator of its own, so that a failure is found again.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 20 ^ self.0 >> 41
    }

    fn below(&mut self, limit: u32) -> u32 {
        (self.next() % u64::from(limit)) as u32
    }

    fn one_of<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u32) as usize]
    }

    /// A lane mask: mostly all, or some.
    fn mask(&mut self) -> u64 {
        match self.below(4) {
            0 => u64::MAX,
            1 => self.next() << 32 ^ self.next(),
            2 => self.one_of(&[0, 1, 1 << 63, 0xffff_ffff, 0xffff_ffff << 32, 1 << 31]),
            _ => u64::MAX << self.below(64),
        }
    }

    /// Source operand number: VGPR, SGPR, special register, inline constant or literal.
    fn source(&mut self) -> u32 {
        match self.below(6) {
            0 => self.below(100),
            1 => self.one_of(&[106, 124, 126, 251, 252, 253]),
            2 => 128 + self.below(81),
            3 => 240 + self.below(9),
            _ => 256 + self.below(VGPRS - 4),
        }
    }

    fn wave(&mut self) -> Wave {
        let mut w = wave();
        for register in 0..VGPRS as usize {
            let (ints, floats) = (inputs(64, self.next()), float_inputs(64, self.next()));
            let float = self.below(2) == 0;
            w.vgpr[register] =
                std::array::from_fn(|n| if float { floats[n].to_bits() } else { ints[n] as u32 });
        }
        w.sgpr = std::array::from_fn(|_| self.one_of(&float_inputs(16, 77)).to_bits());
        w.scc = self.below(2) == 0;
        // Denormals kept and flushed in every combination, round to nearest.
        w.mode = self.one_of(&[0x3f0, 0x300, 0x3c0, 0x330, 0x3d0, 0x3e0, 0x2f0]);
        let mask = self.mask();
        w.set_exec(mask);
        w
    }
}

/// Words of a random instruction, mostly valid.
fn vector_words(r: &mut Random) -> Vec<u32> {
    let dst = r.below(VGPRS - 4);
    match r.below(4) {
        0 => {
            let op = r.below(0x36);
            vec![op << 25 | dst << 17 | r.below(VGPRS) << 9 | r.source(), r.next() as u32]
        }
        1 => vec![0x3f << 25 | dst << 17 | r.below(0x40) << 9 | r.source(), r.next() as u32],
        2 => {
            let code = r.one_of(&[0x40, 0xc0]) + r.below(32);
            vec![0x3e << 25 | code << 17 | r.below(VGPRS) << 9 | r.source(), r.next() as u32]
        }
        _ => {
            let code = match r.below(4) {
                0 => r.one_of(&[0x40, 0xc0]) + r.below(32),
                1 => 0x100 + r.below(0x36),
                2 => 0x140 + r.below(0x40),
                _ => 0x1c0 + r.below(0xe0),
            };
            let compare = code < 0x100;
            let carries = (0x119..0x11f).contains(&code) || (0x1e0..0x1ea).contains(&code);
            let low = if compare {
                (r.below(50) * 2) | (r.below(8) << 8)
            } else if carries {
                dst | (r.below(50) * 2) << 8
            } else {
                dst | r.below(8) << 8
            };
            let carry_in = matches!(code, 0x100 | 0x11c..0x11f);
            let third = if carry_in { r.below(50) * 2 } else { r.source() };
            let negated = if r.below(2) == 0 { r.below(8) << 29 } else { 0 };
            vec![0xd000_0000 | code << 16 | low, r.source() | r.source() << 9 | third << 18 | negated]
        }
    }
}

/// Whether two results are the same but for the payload of NaNs.
fn same(inst: &Inst, got: &Wave, want: &Wave) -> bool {
    let nans = |at: usize, lane: usize| match inst.info.dst {
        Ty::F32 => {
            f32::from_bits(got.vgpr[at][lane]).is_nan() && f32::from_bits(want.vgpr[at][lane]).is_nan()
        }
        Ty::F64 => {
            let at = usize::from(inst.dst - 256);
            f64::from_bits(get(got, at, lane)).is_nan() && f64::from_bits(get(want, at, lane)).is_nan()
        }
        _ => false,
    };
    let vector = (0..got.vgpr.len())
        .all(|at| (0..64).all(|lane| got.vgpr[at][lane] == want.vgpr[at][lane] || nans(at, lane)));
    vector && got.sgpr == want.sgpr && (got.scc, got.mode, got.stored) == (want.scc, want.mode, want.stored)
}

fn levels() -> BTreeSet<&'static str> {
    ["plain"].into_iter().chain((Level::best() == Level::Avx2).then_some("avx2")).collect()
}

fn level(name: &str) -> Level {
    if name == "plain" { Level::Plain } else { Level::best() }
}

#[test]
fn vector_handlers_do_what_the_general_form_does() {
    let mut r = Random(0x1234_5678);
    let mut seen = BTreeSet::new();
    let rounds = if std::env::var_os("KFD_SIM_FULL").is_some() { 2_000_000 } else { 40_000 };
    for round in 0..rounds {
        let words = vector_words(&mut r);
        let Ok(inst) = decode(&words) else { continue };
        if u32::from(inst.vgprs) > VGPRS || !Handler::of(&inst).is_special() {
            continue;
        }
        seen.insert(inst.info.name);
        let before = r.wave();
        let space = AddressSpace::new();
        let run = |handler: Option<Handler>| {
            let (mut w, mut stats, mut lds) = (before.clone(), ExecStats::default(), Lds::new(0));
            let mut interrupts = Vec::new();
            let mut env = Env {
                port: Port::new(&space, None),
                lds: &mut lds,
                stats: &mut stats,
                clock: &|| 77,
                apertures: Apertures { lds: 1 << 48, scratch: 2 << 48, private_bytes: 64 },
                interrupts: &mut interrupts,
            };
            let done = match handler {
                Some(handler) => handler.run(&mut w, &inst, &mut env),
                None => dispatch(&mut w, &inst, &mut env),
            };
            drop(env);
            (w, done, stats)
        };
        let (want, done, stats) = run(None);
        for name in levels() {
            let got = run(Some(Handler::at(&inst, level(name))));
            assert_eq!((got.1, got.2), (done_copy(&done), stats), "{inst} at {name}, round {round}");
            assert!(
                same(&inst, &got.0, &want),
                "{inst} at {name}, round {round}, mode {:#x}, exec {:#x}:\n{:x?}\n{:x?}",
                before.mode,
                before.exec(),
                got.0.vgpr[usize::from(inst.dst & 255)],
                want.vgpr[usize::from(inst.dst & 255)]
            );
        }
    }
    assert!(seen.len() >= 110, "only {} opcodes had a handler of their own: {seen:?}", seen.len());
}

/// Results are not cloned in the product; none of these fail.
fn done_copy(done: &Result<(), Stop>) -> Result<(), Stop> {
    assert!(done.is_ok(), "{done:?}");
    Ok(())
}

const VRAM: u64 = 0x20000;
const HOST: u64 = 0x40000;
const BYTES: u64 = 16384;

/// Addresses of 64 lanes: neighbours, all the same, anywhere, or beyond the end.
fn addresses(r: &mut Random, base: u64, bytes: u64) -> [u64; 64] {
    let align = r.one_of(&[1, 2, 4, 8, 16]);
    let start = u64::from(r.below(bytes as u32 / 2)) / align * align;
    let step = r.one_of(&[0, 1, 2, 4, 8, 12, 16, 64]);
    match r.below(8) {
        0..5 => std::array::from_fn(|lane| base + start + step * lane as u64),
        5 | 6 => std::array::from_fn(|_| base + u64::from(r.below(bytes as u32 - 16)) / align * align),
        _ => std::array::from_fn(|_| base + u64::from(r.below(bytes as u32 + 64)) / align * align),
    }
}

/// What a memory instruction leaves behind.
type Outcome = (Wave, String, ExecStats, (u64, u64), Vec<u8>);

/// Runs an instruction on fresh memory: LDS, VRAM and host memory, through caches or not.
fn run_memory(before: &Wave, inst: &Inst, handler: Option<Handler>, cached: bool) -> Outcome {
    let space = AddressSpace::new();
    space.list_removed(true);
    let fill =
        |n: u64| (0..BYTES / 8).map(|i| (i + n).wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect::<Box<[u64]>>();
    let mut memory = [fill(1), fill(2)];
    for (memory, (va, kind)) in memory.iter_mut().zip([(VRAM, MemoryKind::Vram), (HOST, MemoryKind::Host)]) {
        let host = memory.as_mut_ptr().cast();
        // SAFETY: the boxes live beside the address space.
        unsafe { space.map(Span { va, len: BYTES, host, memory: kind, writable: true, executable: false }) };
    }
    let mut l2 = L2::default();
    let view = l2.view();
    let mut dispatch_cache = DispatchCache::new(&mut l2, view);
    let (mut w, mut stats, mut lds) = (before.clone(), ExecStats::default(), Lds::new(4096));
    for at in 0..512 {
        lds.store(8 * at, 8, u64::from(at).wrapping_mul(0x9e37_79b9_7f4a_7c15)).expect("inside");
    }
    let caches = Caches { l2: &mut l2, dispatch: &mut dispatch_cache };
    let caches = cached.then(|| SharedCaches::new(caches, false));
    let mut env = Env {
        port: Port::new(&space, caches.as_ref()),
        lds: &mut lds,
        stats: &mut stats,
        clock: &|| 77,
        apertures: Apertures { lds: 1 << 48, scratch: 2 << 48, private_bytes: 64 },
        interrupts: &mut Vec::new(),
    };
    let done = match handler {
        Some(handler) => handler.run(&mut w, inst, &mut env),
        None => dispatch(&mut w, inst, &mut env),
    };
    let moved = (env.port.read, env.port.written);
    drop(env);
    if cached {
        dispatch_cache.drain(&mut l2, &space);
        l2.write_back(&space);
    }
    let mut bytes = lds.bytes().to_vec();
    memory.iter().for_each(|m| bytes.extend(m.iter().flat_map(|word| word.to_le_bytes())));
    (w, format!("{done:?}"), stats, moved, bytes)
}

/// Data v4 and, at bit 16, v`second`; destination v12: fields that the instruction does not use must be 0.
fn operands(info: &Info, second: u32) -> u32 {
    let data =
        if info.src.len() > 1 { 4 << 8 } else { 0 } | if info.src.len() > 2 { second << 16 } else { 0 };
    data | if info.dst == Ty::No { 0 } else { 12 << 24 }
}

#[test]
fn memory_handlers_do_what_the_general_form_does() {
    let mut r = Random(0x8765_4321);
    let mut seen = BTreeSet::new();
    let rounds = if std::env::var_os("KFD_SIM_FULL").is_some() { 200_000 } else { 6_000 };
    for round in 0..rounds {
        let mut before = r.wave();
        let lds = r.below(2) == 0;
        let words = if lds {
            let row = r.one_of(decode::ds::Ds::TABLE.iter().collect::<Vec<_>>().as_slice());
            let at = addresses(&mut r, 0, 3500);
            before.vgpr[2] = at.map(|va| va as u32);
            let offset = r.one_of(&[0, 4, 8, 0x0100, 0x0201]);
            [0xd800_0000 | u32::from(row.0) << 17 | offset, 2 | operands(&row.2, 8)]
        } else {
            let row = r.one_of(decode::flat::Flat::TABLE.iter().collect::<Vec<_>>().as_slice());
            let base = r.one_of(&[VRAM, HOST]);
            let at = addresses(&mut r, base, BYTES);
            let scalar = r.below(3) == 0;
            let segment = if scalar { 2 } else { r.one_of(&[0, 2]) };
            let imm = if segment == 0 { 0 } else { r.one_of(&[0, 4, 16, 0x1ffc]) };
            if scalar {
                before.set_pair(4, base);
                before.vgpr[2] = at.map(|va| va.wrapping_sub(base) as u32);
            } else {
                before.vgpr[2] = at.map(|va| va as u32);
                before.vgpr[3] = at.map(|va| (va >> 32) as u32);
            }
            let saddr = if scalar {
                4
            } else if segment == 0 {
                0
            } else {
                0x7f
            };
            let glc = u32::from(r.below(8) == 0) << 16;
            let low = 0xdc00_0000 | u32::from(row.0) << 18 | segment << 14 | imm | glc;
            [low, 2 | saddr << 16 | operands(&row.2, 0)]
        };
        let Ok(inst) = decode(&words) else { continue };
        if matches!(inst.op, Op::Ds(_)) != lds || !Handler::of(&inst).is_special() {
            continue;
        }
        seen.insert(inst.info.name);
        for cached in [false, true] {
            let want = run_memory(&before, &inst, None, cached);
            for name in levels() {
                let got = run_memory(&before, &inst, Some(Handler::at(&inst, level(name))), cached);
                let what = format!("{inst} at {name}, round {round}, cached {cached}");
                assert_eq!((&got.1, got.2, got.3), (&want.1, want.2, want.3), "{what}");
                assert!(same(&inst, &got.0, &want.0), "registers: {what}");
                assert!(got.4 == want.4, "memory: {what}");
            }
        }
    }
    assert!(seen.len() >= 28, "only {} opcodes had a handler of their own: {seen:?}", seen.len());
}

/// All lanes load one address while a host thread stores there: they get one value.
#[test]
fn a_load_of_one_address_by_all_lanes_is_one_access() {
    let memory: Box<[AtomicU64]> = (0..512).map(|_| AtomicU64::new(0)).collect();
    let space = AddressSpace::new();
    let host = memory.as_ptr() as *mut u8;
    let span =
        Span { va: HOST, len: 4096, host, memory: MemoryKind::Host, writable: true, executable: false };
    // SAFETY: the box outlives the address space's use.
    unsafe { space.map(span) };
    struct Ended<'a>(&'a AtomicBool);
    impl Drop for Ended<'_> {
        fn drop(&mut self) {
            self.0.store(true, Relaxed);
        }
    }
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Also when an assertion fails.
        let _ended = Ended(&ended);
        scope.spawn(|| {
            // Every byte of a value differs from that of the value before.
            let mut value = 0u64;
            while !ended.load(Relaxed) {
                value = value.wrapping_add(0x0101_0101_0101_0101);
                memory[..2].iter().for_each(|word| word.store(value, Relaxed));
            }
        });
        for (name, registers) in [
            ("load_dword", 1),
            ("load_dwordx2", 2),
            ("load_dwordx4", 4),
            ("load_ubyte", 1),
            ("load_sshort", 1),
        ] {
            let row = decode::flat::Flat::TABLE.iter().find(|row| row.2.name == name).expect("an opcode");
            let inst = decode(&[0xdc00_8000 | u32::from(row.0) << 18, 2 | 0x7f << 16 | 12 << 24]).unwrap();
            let handlers = levels().into_iter().map(|name| Some(Handler::at(&inst, level(name))));
            for handler in handlers.chain([None]) {
                // Until many values were seen, which takes both threads at the same time; not for ever on a busy host.
                let (end, mut changes, mut last) = (Instant::now() + Duration::from_millis(200), 0, 0);
                while changes < 2000 && Instant::now() < end {
                    let mut w = wave();
                    (w.vgpr[2], w.vgpr[3]) = ([HOST as u32; 64], [(HOST >> 32) as u32; 64]);
                    let mut env = Env {
                        port: Port::new(&space, None),
                        lds: &mut Lds::new(0),
                        stats: &mut ExecStats::default(),
                        clock: &|| 77,
                        apertures: Apertures { lds: 1 << 48, scratch: 2 << 48, private_bytes: 64 },
                        interrupts: &mut Vec::new(),
                    };
                    match handler {
                        Some(handler) => handler.run(&mut w, &inst, &mut env),
                        None => dispatch(&mut w, &inst, &mut env),
                    }
                    .unwrap();
                    for register in &w.vgpr[12..12 + registers] {
                        assert_eq!(*register, [register[0]; 64], "{inst}");
                    }
                    changes += u32::from(w.vgpr[12][0] != last);
                    last = w.vgpr[12][0];
                }
            }
        }
    });
}

/// Processor time of this thread, in seconds.
fn cpu_seconds() -> f64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `t` is a valid timespec for the duration of the call.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut t) };
    t.tv_sec as f64 + t.tv_nsec as f64 * 1e-9
}

/// Least time of a call, of many.
fn least(mut f: impl FnMut()) -> f64 {
    let tries = (0..40).map(|_| {
        let start = cpu_seconds();
        (0..2000).for_each(|_| f());
        (cpu_seconds() - start) / 2000.0
    });
    tries.fold(f64::INFINITY, f64::min)
}

/// Not a measurement (that is the example `lane_ops`): it fails when the loops are no longer vector code. Their time is
/// compared with that of the same additions one lane after the other, in the same run: about a tenth here, and about the
/// same if they are not vectorised.
#[test]
fn lanes_run_as_vector_code() {
    use std::hint::black_box;
    let mut r = Random(99);
    let mut w = r.wave();
    w.mode = 0x3f0;
    w.set_exec(u64::MAX);
    w.vgpr.iter_mut().for_each(|lanes| *lanes = std::array::from_fn(|n| (n as f32 + 1.5).to_bits()));
    let (a, b) = (w.vgpr[1], w.vgpr[2]);
    let mut out = [0; 64];
    let one_by_one = least(|| {
        for n in 0..64 {
            out[n] = black_box(f32::from_bits(a[n]) + f32::from_bits(b[n])).to_bits();
        }
        black_box(&out);
    });
    let space = AddressSpace::new();
    let (mut stats, mut lds) = (ExecStats::default(), Lds::new(0));
    let mut env = Env {
        port: Port::new(&space, None),
        lds: &mut lds,
        stats: &mut stats,
        clock: &|| 77,
        apertures: Apertures { lds: 1 << 48, scratch: 2 << 48, private_bytes: 64 },
        interrupts: &mut Vec::new(),
    };
    // v3 from v1 and v2.
    let e32 = |op: u32| vec![op << 25 | 3 << 17 | 2 << 9 | 257];
    let mut cases = vec![
        ("v_add_f32", e32(1)),
        ("v_mul_f32", e32(5)),
        ("v_add_u32", e32(0x34)),
        ("v_xor_b32", e32(0x15)),
        ("v_cmp_lt_f32", vec![0x3e << 25 | 0x41 << 17 | 2 << 9 | 257]),
    ];
    if Level::best() == Level::Avx2 {
        cases.push(("v_fma_f32", vec![0xd1cb_0003, 257 | 258 << 9 | 257 << 18]));
    }
    for (name, words) in cases {
        let inst = decode(&words).unwrap();
        assert_eq!(inst.info.name, name);
        let handler = Handler::of(&inst);
        let together = least(|| step(&mut w, black_box(&inst), handler, &mut env).unwrap());
        println!("{name}: {:.1} ns; one by one {:.1} ns", together * 1e9, one_by_one * 1e9);
        assert!(
            together * 2.0 < one_by_one,
            "{name} takes {:.1} ns for 64 lanes; additions one by one {:.1} ns",
            together * 1e9,
            one_by_one * 1e9
        );
    }
}
