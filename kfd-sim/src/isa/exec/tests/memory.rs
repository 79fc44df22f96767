//! LDS instructions, permutes, flat addresses, atomics.

use super::*;
use crate::memory::{Access, MemoryKind, Span};

fn ds(name: &str) -> u32 {
    let row = decode::ds::Ds::TABLE.iter().find(|row| row.2.name == name).expect(name);
    0xd800_0000 | u32::from(row.0) << 17
}

fn run_lds(w: &mut Wave, lds: &mut Lds, words: &[u32]) -> Result<ExecStats, Stop> {
    execute(w, lds, &AddressSpace::new(), words)
}

#[test]
fn lds_atomics() {
    type Fold = fn(u32, u32) -> u32;
    let ops: [(&str, Fold); 11] = [
        ("ds_add_rtn_u32", |m, d| m.wrapping_add(d)),
        ("ds_sub_rtn_u32", |m, d| m.wrapping_sub(d)),
        ("ds_rsub_rtn_u32", |m, d| d.wrapping_sub(m)),
        ("ds_min_rtn_i32", |m, d| (m as i32).min(d as i32) as u32),
        ("ds_max_rtn_i32", |m, d| (m as i32).max(d as i32) as u32),
        ("ds_min_rtn_u32", |m, d| m.min(d)),
        ("ds_max_rtn_u32", |m, d| m.max(d)),
        ("ds_and_rtn_b32", |m, d| m & d),
        ("ds_xor_rtn_b32", |m, d| m ^ d),
        ("ds_inc_rtn_u32", |m, d| if m >= d { 0 } else { m + 1 }),
        ("ds_dec_rtn_u32", |m, d| if m == 0 || m > d { d } else { m - 1 }),
    ];
    for (name, fold) in ops {
        let (mut w, mut lds) = (wave(), Lds::new(512));
        let data: Vec<u32> = inputs(64, 9).into_iter().map(|x| x as u32).collect();
        w.vgpr[2] = [16; 64];
        w.vgpr[4] = std::array::from_fn(|lane| data[lane]);
        lds.store(20, 4, 0x8000_0005).unwrap();
        run_lds(&mut w, &mut lds, &[ds(name) | 4, 2 | 4 << 8 | 8 << 24]).unwrap();
        let mut memory = 0x8000_0005;
        for (lane, value) in data.into_iter().enumerate() {
            assert_eq!(w.vgpr[8][lane], memory, "{name} lane {lane}");
            memory = fold(memory, value);
        }
        assert_eq!(lds.load(20, 4).unwrap(), u64::from(memory), "{name}");
    }
}

#[test]
fn lds_loads_and_stores_of_every_width() {
    let (mut w, mut lds) = (wave(), Lds::new(4096));
    w.vgpr[2] = std::array::from_fn(|lane| lane as u32 * 16);
    for n in 0..4 {
        w.vgpr[4 + n] = std::array::from_fn(|lane| 0x8182_8384 + lane as u32 * 4 + n as u32);
    }
    run_lds(&mut w, &mut lds, &[ds("ds_write_b128") | 512, 2 | 4 << 8]).unwrap();
    run_lds(&mut w, &mut lds, &[ds("ds_read_b128") | 512, 2 | 8 << 24]).unwrap();
    for n in 0..4 {
        assert_eq!(w.vgpr[8 + n], w.vgpr[4 + n]);
    }
    // Elements 128 and 130 of four bytes.
    run_lds(&mut w, &mut lds, &[ds("ds_read2_b32") | 130 << 8 | 128, 2 | 8 << 24]).unwrap();
    assert_eq!((w.vgpr[8], w.vgpr[9]), (w.vgpr[4], w.vgpr[6]));
    run_lds(&mut w, &mut lds, &[ds("ds_read2st64_b64") | 1, 2 | 12 << 24]).unwrap();
    assert_eq!(w.vgpr[12], w.vgpr[4]);
    run_lds(&mut w, &mut lds, &[ds("ds_read_i8") | 513, 2 | 8 << 24]).unwrap();
    assert_eq!(w.vgpr[8][0], 0xffff_ff83);
    run_lds(&mut w, &mut lds, &[ds("ds_read_u16_d16_hi") | 512, 2 | 8 << 24]).unwrap();
    assert_eq!(w.vgpr[8][0], 0x8384_ff83);
    run_lds(&mut w, &mut lds, &[ds("ds_write_b16_d16_hi") | 512, 2 | 8 << 8]).unwrap();
    assert_eq!(lds.load(512, 4).unwrap(), 0x8182_8384);
    let beyond = run_lds(&mut w, &mut lds, &[ds("ds_read_b32") | 4000, 2 | 8 << 24]);
    assert_eq!(beyond, Err(Stop::Lds(4096, 4)));
}

#[test]
pub fn permutes() {
    let (mut w, mut lds) = (wave(), Lds::new(0));
    w.vgpr[2] = std::array::from_fn(|lane| (63 - lane as u32) * 4);
    w.vgpr[4] = std::array::from_fn(|lane| lane as u32 + 100);
    run_lds(&mut w, &mut lds, &[ds("ds_bpermute_b32"), 2 | 4 << 8 | 8 << 24]).unwrap();
    assert_eq!(w.vgpr[8], std::array::from_fn(|lane| 163 - lane as u32));
    run_lds(&mut w, &mut lds, &[ds("ds_permute_b32") | 4, 2 | 4 << 8 | 8 << 24]).unwrap();
    assert_eq!(w.vgpr[8][..3], [100, 163, 162]);
    // Swap neighbours: xor 1 within 32 lanes.
    run_lds(&mut w, &mut lds, &[ds("ds_swizzle_b32") | 0x041f, 4 | 8 << 24]).unwrap();
    assert_eq!(w.vgpr[8][..4], [101, 100, 103, 102]);
}

#[test]
fn flat_addresses_reach_global_lds_and_scratch() {
    let mut memory = vec![0u64; 512];
    let space = AddressSpace::new();
    let span = Span {
        va: 0x10000,
        len: 4096,
        host: memory.as_mut_ptr().cast(),
        memory: MemoryKind::Host,
        writable: true,
        executable: false,
    };
    // SAFETY: the vector outlives the address space's use.
    unsafe { space.map(span) };
    let (mut w, mut lds) = (wave(), Lds::new(512));
    w.set_pair(crate::isa::inst::reg::FLAT_SCRATCH, 0x10800);
    w.set_exec(0b111);
    for (lane, va) in [(0, 0x10004u64), (1, 1 << 48 | 8), (2, 2 << 48 | 4)] {
        set(&mut w, 2, lane, va);
        w.vgpr[4][lane] = 0x1111_1111 * (lane as u32 + 1);
    }
    let flat = |name: &str| {
        let row = decode::flat::Flat::TABLE.iter().find(|row| row.2.name == name).expect(name);
        0xdc00_0000 | u32::from(row.0) << 18
    };
    execute(&mut w, &mut lds, &space, &[flat("store_dword"), 2 | 4 << 8]).unwrap();
    assert_eq!(memory[0] >> 32, 0x1111_1111);
    assert_eq!(lds.load(8, 4).unwrap(), 0x2222_2222);
    // Dword 1 of lane 2: byte 256 + 8 of the wave's share.
    assert_eq!(memory[(0x800 + 256 + 8) / 8] & 0xffff_ffff, 0x3333_3333);
    execute(&mut w, &mut lds, &space, &[flat("load_dword"), 2 | 8 << 24]).unwrap();
    assert_eq!(w.vgpr[8][..4], [0x1111_1111, 0x2222_2222, 0x3333_3333, 0]);
    // Atomics return the old value with GLC.
    w.set_exec(0b11);
    execute(&mut w, &mut lds, &space, &[flat("atomic_add") | 1 << 16, 2 | 4 << 8 | 8 << 24]).unwrap();
    assert_eq!(w.vgpr[8][..2], [0x1111_1111, 0x2222_2222]);
    assert_eq!((memory[0] >> 32, lds.load(8, 4).unwrap()), (0x2222_2222, 0x4444_4444));
    // An inactive lane's address does not matter; an active one's does.
    set(&mut w, 2, 5, 0xdead_0000);
    execute(&mut w, &mut lds, &space, &[flat("load_dword"), 2 | 8 << 24]).unwrap();
    w.set_exec(1 << 5);
    let fault = execute(&mut w, &mut lds, &space, &[flat("load_dword"), 2 | 8 << 24]);
    assert!(
        matches!(fault, Err(Stop::Memory(fault)) if fault.va == 0xdead_0000 && fault.access == Access::Read)
    );
    set(&mut w, 2, 5, 2 << 48 | 64);
    let beyond = execute(&mut w, &mut lds, &space, &[flat("load_dword"), 2 | 8 << 24]);
    assert_eq!(beyond, Err(Stop::Scratch(64, 4)));
    set(&mut w, 2, 5, 0x10002);
    let misaligned = execute(&mut w, &mut lds, &space, &[flat("atomic_add"), 2 | 4 << 8]);
    assert_eq!(misaligned, Err(Stop::Unaligned(0x10002, 4)));
}

#[test]
fn compare_and_swap_operand_order() {
    let mut memory = [7u64, 0];
    let space = AddressSpace::new();
    let span = Span {
        va: 0x10000,
        len: 16,
        host: memory.as_mut_ptr().cast(),
        memory: MemoryKind::Host,
        writable: true,
        executable: false,
    };
    // SAFETY: the array outlives the address space's use.
    unsafe { space.map(span) };
    let (mut w, mut lds) = (wave(), Lds::new(16));
    w.set_exec(1);
    set(&mut w, 2, 0, 0x10000);
    // Memory: data first, then what it is compared with.
    (w.vgpr[4][0], w.vgpr[5][0]) = (9, 7);
    execute(&mut w, &mut lds, &space, &[0xdd04_0000, 2 | 4 << 8]).unwrap();
    assert_eq!(memory[0], 9);
    // LDS: the other way round.
    lds.store(0, 4, 7).unwrap();
    w.vgpr[2][0] = 0;
    (w.vgpr[4][0], w.vgpr[5][0]) = (7, 9);
    run_lds(&mut w, &mut lds, &[ds("ds_cmpst_b32"), 2 | 4 << 8 | 5 << 16]).unwrap();
    assert_eq!(lds.load(0, 4).unwrap(), 9);
}
