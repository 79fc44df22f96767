//! Whatever decodes can be executed with whatever is in the registers: it does something, or ends the wave with an error, and
//! never panics. Waves have exactly the registers that the instruction says it reaches.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use crate::memory::{MemoryKind, Span};

/// Fixed bits of word 0, and which bits they are.
const ENCODINGS: [(u32, u32); 19] = [
    (0x8000_0000, 0xc000_0000),
    (0xbe80_0000, 0xff80_0000),
    (0xbf00_0000, 0xff80_0000),
    (0xb000_0000, 0xf000_0000),
    (0xbf80_0000, 0xff80_0000),
    (0xc000_0000, 0xfc00_0000),
    (0x7e00_0000, 0xfe00_0000),
    (0x0000_0000, 0x8000_0000),
    (0x7c00_0000, 0xfe00_0000),
    (0x0000_00f9, 0x8000_01ff),
    (0x0000_00fa, 0x8000_01ff),
    (0x7e00_00f9, 0xfe00_01ff),
    (0xd000_0000, 0xfc00_0000),
    (0xd1c0_0000, 0xffc0_0000),
    (0xd380_0000, 0xff80_0000),
    (0xd800_0000, 0xfc00_0000),
    (0xdc00_0000, 0xfc00_0000),
    (0xe000_0000, 0xfc00_0000),
    (0xd280_0000, 0xff80_0000),
];

#[test]
fn nothing_that_decodes_panics() {
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
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u32
    };
    let full = std::env::var_os("KFD_SIM_FULL").is_some_and(|value| value != "0");
    let rounds = if full { 1_000_000 } else { 60_000 };
    let (mut done, mut stopped) = (0, 0);
    let noise: Vec<Vec<u64>> = (0..64).map(|seed| inputs(128, seed * 77 + 5)).collect();
    for round in 0..rounds {
        let (fixed, mask) = ENCODINGS[round % ENCODINGS.len()];
        let thin = |word: u32, more: u32| if more.is_multiple_of(3) { word } else { word & more };
        let words = [thin(next(), next()) & !mask | fixed, thin(next(), next())];
        let Ok(inst) = decode(&words) else { continue };
        let mut w = wave();
        w.mode = next() & 0x0800_03ff;
        w.vgpr = vec![[0; 64]; usize::from(inst.vgprs.max(1))];
        for lanes in &mut w.vgpr {
            let values = &noise[next() as usize % 64];
            for lane in 0..64 {
                // Addresses that exist, and everything else.
                lanes[lane] = if round % 3 == 0 {
                    0x10000 + (values[lane] as u32 & 0xfff)
                } else {
                    values[lane] as u32
                };
            }
        }
        let values = &noise[next() as usize % 64];
        (0..128).for_each(|n| w.sgpr[n] = if round % 2 == 0 { 0x10000 } else { values[n] as u32 });
        if round % 3 == 0 {
            (0..128).filter(|n| n % 2 == 1).for_each(|n| w.sgpr[n] = 0);
            w.vgpr.iter_mut().skip(1).step_by(2).for_each(|lanes| *lanes = [0; 64]);
        }
        w.set_exec(if round % 5 == 0 { 0 } else { u64::from(next()) << 32 | u64::from(next()) });
        let mut lds = Lds::new(512);
        let result = catch_unwind(AssertUnwindSafe(|| execute(&mut w, &mut lds, &space, &words)));
        match result {
            Ok(Ok(_)) => done += 1,
            Ok(Err(_)) => stopped += 1,
            Err(_) => panic!("{:08x} {:08x}: {inst} panics, mode {:#x}", words[0], words[1], w.mode),
        }
    }
    println!("{done} executed, {stopped} stopped with an error");
    assert!(done > rounds / 6 && stopped > rounds / 100, "{done} executed, {stopped} stopped");
}
