//! Buffer instructions, scalar memory, narrow global loads and stores.

use super::*;
use crate::memory::{MemoryKind, Span};

struct Memory {
    words: Vec<u32>,
    space: AddressSpace,
}

const BASE: u64 = 0x20000;

/// 4 KiB of 0x01020304, 0x01020305, ...
fn memory() -> Memory {
    let mut words: Vec<u32> = (0..1024).map(|n| 0x0102_0304 + n).collect();
    let space = AddressSpace::new();
    let span = Span {
        va: BASE,
        len: 4096,
        host: words.as_mut_ptr().cast(),
        memory: MemoryKind::Host,
        writable: true,
        executable: false,
    };
    // SAFETY: the vector lives beside the address space and is not resized.
    unsafe { space.map(span) };
    Memory { words, space }
}

fn code<O>(table: &'static [(u16, O, crate::isa::inst::Info)], name: &str) -> u32 {
    u32::from(table.iter().find(|row| row.2.name == name).expect(name).0)
}

fn mubuf(name: &str) -> u32 {
    0xe000_0000 | code(decode::mubuf::Mubuf::TABLE, name) << 18
}

fn flat(name: &str) -> u32 {
    0xdc00_8000 | code(decode::flat::Flat::TABLE, name) << 18
}

fn go(w: &mut Wave, m: &Memory, words: &[u32]) {
    execute(w, &mut Lds::new(0), &m.space, words).unwrap();
}

#[test]
fn raw_buffers_check_their_range() {
    let m = memory();
    let mut w = wave();
    // s[4:7]: base, no stride, 64 bytes.
    w.sgpr[4..8].copy_from_slice(&[BASE as u32, 0, 64, 0]);
    w.vgpr[2] = std::array::from_fn(|lane| lane as u32 * 4);
    // buffer_load_dword v8, v2, s[4:7], 0 offen offset:4
    go(&mut w, &m, &[mubuf("load_dword") | 1 << 12 | 4, 2 | 8 << 8 | 1 << 16 | 128 << 24]);
    for lane in 0..64 {
        assert_eq!(w.vgpr[8][lane], if lane < 15 { 0x0102_0305 + lane as u32 } else { 0 });
    }
    // Stores beyond the end are dropped.
    w.vgpr[9] = [7; 64];
    go(&mut w, &m, &[mubuf("store_dword") | 1 << 12, 2 | 9 << 8 | 1 << 16 | 128 << 24]);
    assert_eq!(m.words[15..17], [7, 0x0102_0314]);
    // An atomic that returns.
    w.set_exec(1);
    go(&mut w, &m, &[mubuf("atomic_add") | 1 << 14, 9 << 8 | 1 << 16 | 128 << 24]);
    assert_eq!((w.vgpr[9][0], m.words[0]), (7, 14));
}

#[test]
fn structured_and_swizzled_buffers() {
    let m = memory();
    let mut w = wave();
    // Stride 16, 8 records: element 1 of each record.
    w.sgpr[4..8].copy_from_slice(&[BASE as u32, 16 << 16, 8, 0]);
    w.vgpr[2] = std::array::from_fn(|lane| lane as u32);
    go(&mut w, &m, &[mubuf("load_dword") | 1 << 13 | 4, 2 | 8 << 8 | 1 << 16 | 128 << 24]);
    for lane in 0..64 {
        assert_eq!(w.vgpr[8][lane], if lane < 8 { 0x0102_0305 + 4 * lane as u32 } else { 0 });
    }
    // Scratch: swizzled, lane number added, 64 lanes interleaved by dwords.
    w.sgpr[4..8].copy_from_slice(&[BASE as u32, 1 << 31, 4096, 3 << 21 | 1 << 23]);
    go(&mut w, &m, &[mubuf("load_dwordx2") | 4, 8 << 8 | 1 << 16 | 128 << 24]);
    for lane in 0..64 {
        assert_eq!(w.vgpr[8][lane], 0x0102_0304 + 64 + lane as u32);
        assert_eq!(w.vgpr[9][lane], 0x0102_0304 + 128 + lane as u32);
    }
    go(&mut w, &m, &[mubuf("load_ubyte") | 2, 8 << 8 | 1 << 16 | 128 << 24]);
    assert_eq!(w.vgpr[8][5], 0x02);
}

#[test]
fn narrow_and_wide_global_accesses() {
    let m = memory();
    let mut w = wave();
    w.set_exec(1);
    // Address in s[4:5] plus v2.
    w.set_pair(4, BASE);
    w.vgpr[2][0] = 0x100;
    m.space.translate(BASE, 4, crate::memory::Access::Read).unwrap();
    let mut load = |name: &str, offset: u32, old: u32| {
        w.vgpr[8][0] = old;
        go(&mut w, &m, &[flat(name) | offset & 0x1fff, 2 | 4 << 16 | 8 << 24]);
        std::array::from_fn::<u32, 4, _>(|n| w.vgpr[8 + n][0])
    };
    // 0x01020344 at 0x100.
    assert_eq!(load("load_ubyte", 0, 9)[0], 0x44);
    assert_eq!(load("load_sbyte", (-4i32) as u32, 9)[0], 0x43);
    assert_eq!(load("load_ushort", 2, 9)[0], 0x0102);
    assert_eq!(load("load_ubyte_d16_hi", 1, 0x1111_2222)[0], 0x0003_2222);
    assert_eq!(load("load_short_d16", 0, 0x1111_2222)[0], 0x1111_0344);
    assert_eq!(load("load_dwordx3", 0, 9)[..3], [0x0102_0344, 0x0102_0345, 0x0102_0346]);
    assert_eq!(load("load_dwordx4", 4, 9), [0x0102_0345, 0x0102_0346, 0x0102_0347, 0x0102_0348]);
    assert_eq!(load("load_dword", 1, 9)[0], 0x4501_0203, "unaligned");
    for n in 0..4 {
        w.vgpr[8 + n][0] = 0xa0b0_c0d0 + n as u32;
    }
    let mut store = |name: &str, offset: u32| go(&mut w, &m, &[flat(name) | offset, 2 | 8 << 8 | 4 << 16]);
    store("store_byte", 0x10);
    store("store_short_d16_hi", 0x16);
    store("store_dwordx4", 0x20);
    store("store_dword", 0x31);
    assert_eq!(m.words[0x44..0x46], [0x0102_03d0, 0xa0b0_0349]);
    assert_eq!(m.words[0x48..0x4c], [0xa0b0_c0d0, 0xa0b0_c0d1, 0xa0b0_c0d2, 0xa0b0_c0d3]);
    assert_eq!(m.words[0x4c..0x4e], [0xb0c0_d050, 0x0102_03a0]);
}

#[test]
fn sixty_four_bit_atomics() {
    let m = memory();
    let mut w = wave();
    w.set_exec(1);
    w.set_pair(4, BASE);
    w.vgpr[2][0] = 0;
    let old = u64::from(m.words[0]) | u64::from(m.words[1]) << 32;
    set(&mut w, 8, 0, u64::MAX);
    go(&mut w, &m, &[flat("atomic_add_x2") | 1 << 16, 2 | 8 << 8 | 4 << 16 | 10 << 24]);
    assert_eq!(get(&w, 10, 0), old);
    go(&mut w, &m, &[flat("atomic_smax_x2") | 1 << 16, 2 | 8 << 8 | 4 << 16 | 10 << 24]);
    assert_eq!(get(&w, 10, 0), old - 1);
    go(&mut w, &m, &[flat("atomic_umax_x2") | 1 << 16, 2 | 8 << 8 | 4 << 16 | 10 << 24]);
    assert_eq!(get(&w, 10, 0), old - 1);
    assert_eq!(m.words[..2], [u32::MAX; 2]);
}

#[test]
fn scalar_memory() {
    let m = memory();
    let mut w = wave();
    w.set_pair(2, BASE);
    let smem = |name: &str| 0xc000_0000 | code(decode::smem::Smem::TABLE, name) << 18;
    // s_load_dwordx8 s[16:23], s[2:3], 0x20
    go(&mut w, &m, &[smem("s_load_dwordx8") | 1 << 17 | 16 << 6 | 1, 0x20]);
    assert_eq!(w.sgpr[16..24], m.words[8..16]);
    // The offset in s12; the result over the base.
    w.sgpr[12] = 0x40;
    go(&mut w, &m, &[smem("s_load_dwordx2") | 2 << 6 | 1, 12]);
    assert_eq!(w.sgpr[2..4], m.words[16..18]);
    w.set_pair(2, BASE + 0x100);
    go(&mut w, &m, &[smem("s_load_dword") | 1 << 17 | 30 << 6 | 1, 0x1f_ffff & (-8i32) as u32]);
    assert_eq!(w.sgpr[30], m.words[62]);
    w.sgpr[4..8].copy_from_slice(&[BASE as u32, 0, 12, 0]);
    go(&mut w, &m, &[smem("s_buffer_load_dwordx4") | 1 << 17 | 40 << 6 | 2, 0]);
    assert_eq!(w.sgpr[40..44], [m.words[0], m.words[1], m.words[2], 0]);
    go(&mut w, &m, &[smem("s_store_dwordx2") | 1 << 17 | 40 << 6 | 1, 8]);
    assert_eq!(m.words[66..68], [m.words[0], m.words[1]]);
    go(&mut w, &m, &[smem("s_memtime") | 50 << 6, 0]);
    assert_eq!(w.pair(50), 77);
    go(&mut w, &m, &[smem("s_dcache_wb"), 0]);
}
