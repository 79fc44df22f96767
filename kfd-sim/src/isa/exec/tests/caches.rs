//! Instructions between two dispatches and memory, with caches: one stores, the other loads.

use super::*;
use crate::caches::{DispatchCache, L2};
use crate::memory::{MemoryKind, Span};

const VRAM: u64 = 0x20000;
const HOST: u64 = 0x30000;
const BYTES: u64 = 8192;

/// An address space with VRAM and host memory, an L2, and two dispatches that run at once.
struct Machine {
    space: AddressSpace,
    l2: L2,
    dispatches: [DispatchCache; 2],
    waves: [Wave; 2],
    memory: [Box<[u64]>; 2],
}

/// Which of the two dispatches.
const A: usize = 0;
const B: usize = 1;

impl Machine {
    fn new() -> Self {
        let space = AddressSpace::new();
        let mut memory = [0, 1].map(|_| vec![0u64; BYTES as usize / 8].into_boxed_slice());
        for (memory, (va, kind)) in
            memory.iter_mut().zip([(VRAM, MemoryKind::Vram), (HOST, MemoryKind::Host)])
        {
            let host = memory.as_mut_ptr().cast();
            // SAFETY: the boxes live beside the address space.
            unsafe {
                space.map(Span { va, len: BYTES, host, memory: kind, writable: true, executable: false })
            };
        }
        let mut l2 = L2::default();
        let view = l2.view();
        let dispatches = [0, 1].map(|_| DispatchCache::new(&mut l2, view.clone()));
        Machine { space, l2, dispatches, waves: [wave(), wave()], memory }
    }

    fn run(&mut self, who: usize, words: &[u32]) {
        let caches = Caches { l2: &mut self.l2, dispatch: &mut self.dispatches[who] };
        execute_through(&mut self.waves[who], &mut Lds::new(0), &self.space, Some(caches), words).unwrap();
    }

    /// v[2:3] is the address of every lane, s[4:5] that of scalar accesses.
    fn point(&mut self, who: usize, va: impl Fn(u64) -> u64) {
        let wave = &mut self.waves[who];
        wave.vgpr[2] = std::array::from_fn(|lane| va(lane as u64) as u32);
        wave.vgpr[3] = std::array::from_fn(|lane| (va(lane as u64) >> 32) as u32);
        wave.set_pair(4, va(0));
    }

    /// Stores `value` in all lanes: global_store_dword v[2:3], v4, off.
    fn store(&mut self, who: usize, va: u64, value: u32) {
        self.point(who, |lane| va + 4 * lane);
        self.waves[who].vgpr[4] = [value; 64];
        self.run(who, &[flat("store_dword"), 2 | 4 << 8 | OFF]);
    }

    /// What lane 3 loads: global_load_dword v8, v[2:3], off.
    fn load(&mut self, who: usize, va: u64, glc: u32) -> u32 {
        self.point(who, |lane| va + 4 * lane);
        self.run(who, &[flat("load_dword") | glc, 2 | OFF | 8 << 24]);
        self.waves[who].vgpr[8][3]
    }

    /// s_load_dword s10, s[4:5], 12.
    fn scalar_load(&mut self, who: usize, va: u64) -> u32 {
        self.point(who, |_| va);
        self.run(who, &[0xc002_0000 | 10 << 6 | 2, 12]);
        self.waves[who].sgpr[10]
    }

    fn in_memory(&self, va: u64) -> u32 {
        let (memory, base) = if va < HOST { (&self.memory[0], VRAM) } else { (&self.memory[1], HOST) };
        (memory[(va - base) as usize / 8 + 1] >> 32) as u32
    }
}

const OFF: u32 = 0x7f << 16;
const GLC: u32 = 1 << 16;
const WAIT_STORES: u32 = 0xbf8c_0f70;
/// Waits for scalar loads only.
const WAIT_SCALAR: u32 = 0xbf8c_c07f;
const DCACHE_INV: [u32; 2] = [0xc080_0000, 0];
const DCACHE_WB: [u32; 2] = [0xc084_0000, 0];

fn flat(name: &str) -> u32 {
    let row = decode::flat::Flat::TABLE.iter().find(|row| row.2.name == name).expect(name);
    0xdc00_8000 | u32::from(row.0) << 18
}

fn wbinvl1() -> [u32; 2] {
    let row =
        decode::mubuf::Mubuf::TABLE.iter().find(|row| row.2.name == "wbinvl1_vol").expect("in the table");
    [0xe000_0000 | u32::from(row.0) << 18, 0]
}

#[test]
fn a_store_leaves_the_dispatch_when_its_wave_has_waited_for_it() {
    let mut m = Machine::new();
    for va in [VRAM, HOST] {
        m.store(A, va, 5);
        assert_eq!((m.load(A, va, 0), m.load(A, va, GLC)), (5, 5), "its own");
        assert_eq!((m.load(B, va, 0), m.load(B, va, GLC), m.in_memory(va)), (0, 0, 0));
        m.run(A, &[WAIT_SCALAR]);
        assert_eq!((m.load(B, va, GLC), m.in_memory(va)), (0, 0), "not a wait for stores");
        m.run(A, &[WAIT_STORES]);
        let memory = if va == HOST { 5 } else { 0 };
        assert_eq!((m.load(B, va, GLC), m.in_memory(va)), (5, memory), "VRAM stays in the L2");
    }
}

#[test]
fn a_load_is_old_until_glc_or_an_invalidation() {
    for va in [VRAM, HOST] {
        for invalidate in [&wbinvl1()[..], &DCACHE_INV] {
            let mut m = Machine::new();
            assert_eq!((m.load(B, va, 0), m.scalar_load(B, va)), (0, 0));
            m.store(A, va, 5);
            m.run(A, &[WAIT_STORES]);
            assert_eq!((m.load(B, va, 0), m.scalar_load(B, va)), (0, 0));
            m.run(B, invalidate);
            assert_eq!((m.load(B, va, 0), m.scalar_load(B, va)), (5, 5));
            m.store(A, va, 6);
            m.run(A, &[WAIT_STORES]);
            assert_eq!(m.load(B, va, 0), 5);
            assert_eq!(m.load(B, va, GLC), 6);
            assert_eq!(m.load(B, va, 0), 6, "the line is new now");
        }
    }
}

#[test]
fn an_invalidation_keeps_what_the_dispatch_itself_has_stored() {
    let mut m = Machine::new();
    m.store(B, VRAM, 9);
    m.store(A, VRAM + 1024, 5);
    m.run(A, &[WAIT_STORES]);
    assert_eq!(m.load(B, VRAM + 1024, 0), 0, "same page");
    m.run(B, &wbinvl1());
    assert_eq!((m.load(B, VRAM, 0), m.load(B, VRAM + 1024, 0)), (9, 5));
}

#[test]
fn a_store_with_glc_and_a_scalar_write_back_go_out_at_once() {
    let mut m = Machine::new();
    m.point(A, |lane| HOST + 4 * lane);
    m.waves[A].vgpr[4] = [5; 64];
    m.run(A, &[flat("store_dword") | GLC, 2 | 4 << 8 | OFF]);
    assert_eq!(m.in_memory(HOST), 5);
    // s_store_dword s10, s[4:5], 12
    m.waves[A].sgpr[10] = 6;
    m.run(A, &[0xc042_0000 | 10 << 6 | 2, 12]);
    assert_eq!(m.in_memory(HOST), 5);
    m.run(A, &DCACHE_WB);
    assert_eq!(m.in_memory(HOST), 6);
}

#[test]
fn atomics_meet_in_the_l2_and_carry_the_dispatchs_own_stores() {
    let mut m = Machine::new();
    for va in [VRAM, HOST] {
        m.store(A, va, 100);
        for who in [A, B, A] {
            m.point(who, |lane| va + 4 * lane);
            m.waves[who].vgpr[4] = [1; 64];
            // global_atomic_add v8, v[2:3], v4, off glc
            m.run(who, &[flat("atomic_add") | GLC, 2 | 4 << 8 | OFF | 8 << 24]);
        }
        assert_eq!(m.waves[A].vgpr[8][3], 102);
        assert_eq!(m.waves[B].vgpr[8][3], 101);
        assert_eq!(m.load(A, va, 0), 103, "the old line is gone");
        assert_eq!(m.load(B, va, 0), 102);
        assert_eq!(m.in_memory(va), if va == HOST { 103 } else { 0 });
    }
}

#[test]
fn accesses_across_pages_and_beside_mappings() {
    let mut m = Machine::new();
    // Lanes from one page into the next, then an unaligned one over the boundary.
    m.store(A, VRAM + 4096 - 128, 5);
    assert_eq!(m.load(A, VRAM + 4096 - 128, 0), 5);
    let wave = &mut m.waves[A];
    wave.set_exec(1);
    wave.vgpr[4] = [0x0403_0201; 64];
    m.point(A, |_| VRAM + 4094);
    m.run(A, &[flat("store_dword"), 2 | 4 << 8 | OFF]);
    m.run(A, &[flat("load_dword"), 2 | OFF | 8 << 24]);
    assert_eq!(m.waves[A].vgpr[8][0], 0x0403_0201);
    m.point(A, |_| VRAM + 4096);
    m.run(A, &[flat("load_dword"), 2 | OFF | 8 << 24]);
    assert_eq!(m.waves[A].vgpr[8][0], 0x0000_0403, "the upper half, over the 5 that was there");
}

#[test]
fn a_page_that_is_not_wholly_mapped_is_not_cached_and_faults_are_as_without_caches() {
    let mut m = Machine::new();
    m.space.unmap(VRAM + BYTES - 256, 256);
    m.store(A, VRAM + 4096, 5);
    assert_eq!(m.in_memory(VRAM + 4096), 5);
    m.point(A, |lane| VRAM + BYTES - 256 + lane);
    let caches = Caches { l2: &mut m.l2, dispatch: &mut m.dispatches[A] };
    let words = [flat("load_dword"), 2 | OFF | 8 << 24];
    let stop = execute_through(&mut m.waves[A], &mut Lds::new(0), &m.space, Some(caches), &words);
    let Err(Stop::Memory(fault)) = stop else { panic!("{stop:?}") };
    assert_eq!(fault.va, VRAM + BYTES - 256);
}

/// What caches cost: `cargo test -p kfd-sim --lib cost_of_caches -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn cost_of_caches() {
    let load = [flat("load_dword"), 2 | OFF | 8 << 24];
    let store = [flat("store_dword"), 2 | 4 << 8 | OFF];
    let cases: [(&str, [u32; 2], u64); 4] = [
        ("load, lanes side by side", load, 4),
        ("store, lanes side by side", store, 4),
        ("load, 128 bytes from lane to lane", load, 128),
        ("store, 128 bytes from lane to lane", store, 128),
    ];
    for (name, words, stride) in cases {
        for cached in [false, true] {
            let mut m = Machine::new();
            m.point(A, |lane| VRAM + stride * lane);
            let inst = decode(&words).unwrap();
            let (mut stats, mut lds) = (ExecStats::default(), Lds::new(0));
            let caches = SharedCaches::new(Caches { l2: &mut m.l2, dispatch: &mut m.dispatches[A] }, false);
            let mut env = Env {
                port: Port::new(&m.space, cached.then_some(&caches)),
                lds: &mut lds,
                stats: &mut stats,
                clock: &|| 0,
                apertures: Apertures { lds: 1 << 48, scratch: 2 << 48, private_bytes: 64 },
                interrupts: &mut Vec::new(),
            };
            let mut run = || {
                let start = std::time::Instant::now();
                for _ in 0..1_000_000 {
                    step(&mut m.waves[A], &inst, Handler::of(&inst), &mut env).unwrap();
                }
                start.elapsed().as_secs_f64()
            };
            let seconds = run().min(run()).min(run());
            println!("{name}, caches {cached}: {:.0} ns", seconds * 1e3);
        }
    }
}
