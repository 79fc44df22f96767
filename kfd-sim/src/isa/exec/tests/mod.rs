//! Semantics of single instructions against independent computations, over edge values.

mod buffer;
mod caches;
mod coverage;
mod fast;
mod forms;
mod hostile;
mod memory;
mod memory_ops;
mod precise;
mod rest;
mod rest_control;
mod scalar;
mod soft;
mod soft_convert;
mod vector;
mod wide;

use super::lds::Lds;
use super::memory::Port;
use super::wave::{State, Wave};
use super::{Apertures, Env, Handler, Stop, step};
use crate::caches::{Caches, SharedCaches};
use crate::isa::decode::{self, decode};
use crate::isa::inst::{Inst, Ty};
use crate::isa::workgroup::ExecStats;
use crate::memory::AddressSpace;

thread_local! {
    /// Opcodes compared with an independent computation in this thread.
    static CHECKED: std::cell::RefCell<std::collections::BTreeSet<String>> = const { std::cell::RefCell::new(std::collections::BTreeSet::new()) };
}

/// Notes that an opcode has been compared with an independent computation.
pub fn checked(name: &str) {
    CHECKED.with_borrow_mut(|names| names.insert(name.to_owned()));
}

/// A wave with all lanes on and no denormals flushed.
pub fn wave() -> Wave {
    let mut wave = Wave {
        pc: 0x1000,
        sgpr: [0; 128],
        scc: false,
        vgpr: vec![[0; 64]; 32],
        mode: 0x3f0,
        hw_id: 0,
        mem_bases: 0x0001_0002,
        alloc: [0; 2],
        trap_status: 0,
        stored: false,
        state: State::Running,
    };
    wave.set_exec(u64::MAX);
    wave
}

/// Executes one instruction.
pub fn execute(
    wave: &mut Wave,
    lds: &mut Lds,
    space: &AddressSpace,
    words: &[u32],
) -> Result<ExecStats, Stop> {
    execute_through(wave, lds, space, None, words)
}

/// As [`execute`], through caches.
pub fn execute_through(
    wave: &mut Wave,
    lds: &mut Lds,
    space: &AddressSpace,
    caches: Option<Caches>,
    words: &[u32],
) -> Result<ExecStats, Stop> {
    let mut stats = ExecStats::default();
    let caches = caches.map(|caches| SharedCaches::new(caches, false));
    let mut env = Env {
        port: Port::new(space, caches.as_ref()),
        lds,
        stats: &mut stats,
        clock: &|| 77,
        apertures: Apertures { lds: 1 << 48, scratch: 2 << 48, private_bytes: 64 },
        interrupts: &mut Vec::new(),
    };
    step_decoded(wave, words, &mut env)?;
    drop(env);
    Ok(stats)
}

/// Decodes and executes one instruction.
pub fn step_decoded(wave: &mut Wave, words: &[u32], env: &mut Env) -> Result<(), Stop> {
    let inst = decode(words).unwrap_or_else(|error| panic!("{words:x?}: {error}"));
    if let Some(why) = inst.refused() {
        return Err(Stop::Unsupported(why));
    }
    step(wave, &inst, Handler::of(&inst), env)
}

/// Executes one instruction that reaches no memory.
pub fn run(wave: &mut Wave, words: &[u32]) {
    execute(wave, &mut Lds::new(0), &AddressSpace::new(), words).unwrap_or_else(|stop| {
        panic!("{}: {stop:?}", decode(words).unwrap());
    });
}

/// VOP3 opcode number and operand types of a vector mnemonic.
pub fn vop3_code(name: &str) -> (u32, &'static [Ty], Ty) {
    fn find<O>(
        table: &'static [(u16, O, crate::isa::inst::Info)],
        base: u32,
        name: &str,
    ) -> Option<(u32, &'static [Ty], Ty)> {
        let row = table.iter().find(|row| row.2.name == name)?;
        Some((base + u32::from(row.0), row.2.src, row.2.dst))
    }
    find(decode::vop3::Vop3::TABLE, 0, name)
        .or_else(|| find(decode::vop2::Vop2::TABLE, 0x100, name))
        .or_else(|| find(decode::vop1::Vop1::TABLE, 0x140, name))
        .or_else(|| find(decode::vopc::Vopc::TABLE, 0, name))
        .unwrap_or_else(|| panic!("no {name}"))
}

/// Words of the VOP3 form with sources v[2:], v[4:], v[6:], destination v[8:] (compares: VCC) and carries in VCC.
pub fn vop3_words(name: &str) -> [u32; 2] {
    let (code, src, dst) = vop3_code(name);
    let compare = code < 0x100;
    let inst_dst = if compare || dst == Ty::No { 106 } else { 8 };
    let mut high = 0;
    for n in 0..src.len() as u32 {
        high |= (256 + 2 + 2 * n) << (9 * n);
    }
    let carry =
        ["v_add_co", "v_sub_co", "v_subrev_co", "v_addc", "v_subb", "v_div_scale", "v_mad_u64", "v_mad_i64"];
    let low = if carry.iter().any(|c| name.starts_with(c)) { 106 << 8 } else { 0 };
    if ["v_addc", "v_subb", "v_cndmask"].iter().any(|c| name.starts_with(c)) {
        high |= 106 << 18;
    }
    [0xd000_0000 | code << 16 | low | inst_dst, high]
}

/// Deterministic numbers: edges first, then noise.
pub fn inputs(count: usize, seed: u64) -> Vec<u64> {
    const EDGES: [u64; 24] = [
        0,
        1,
        2,
        31,
        32,
        33,
        0x7f,
        0x80,
        0xff,
        0x7fff,
        0x8000,
        0xffff,
        0x7fff_ffff,
        0x8000_0000,
        0xffff_ffff,
        0xffff_fffe,
        0x1_0000_0000,
        0x7fff_ffff_ffff_ffff,
        0x8000_0000_0000_0000,
        u64::MAX,
        0x00ff_00ff_00ff_00ff,
        0x3f80_0000,
        0x7f80_0000,
        0x8040_0000,
    ];
    let mut state = seed | 1;
    (0..count)
        .map(|n| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            if !(n as u64 ^ seed).is_multiple_of(3) {
                EDGES[(state >> 33) as usize % EDGES.len()]
            } else {
                state
            }
        })
        .collect()
}

/// Float bit patterns of every kind.
pub fn float_inputs(count: usize, seed: u64) -> Vec<f32> {
    const EDGES: [u32; 18] = [
        0,
        0x8000_0000,
        0x3f80_0000,
        0xbf80_0000,
        0x7f80_0000,
        0xff80_0000,
        0x7fc0_0000,
        1,
        0x8000_0001,
        0x007f_ffff,
        0x0080_0000,
        0x7f7f_ffff,
        0xff7f_ffff,
        0x4b00_0000,
        0x3f00_0000,
        0x3fc0_0000,
        0xc020_0000,
        0x4f00_0000,
    ];
    inputs(count, seed)
        .into_iter()
        .enumerate()
        .map(|(n, bits)| {
            f32::from_bits(if n % 2 == 0 { EDGES[bits as usize % 18] } else { (bits >> 7) as u32 })
        })
        .collect()
}

/// Puts a lane's value into a register pair.
pub fn set(wave: &mut Wave, at: usize, lane: usize, value: u64) {
    wave.vgpr[at][lane] = value as u32;
    wave.vgpr[at + 1][lane] = (value >> 32) as u32;
}

/// A register pair of a lane.
pub fn get(wave: &Wave, at: usize, lane: usize) -> u64 {
    u64::from(wave.vgpr[at][lane]) | u64::from(wave.vgpr[at + 1][lane]) << 32
}

#[test]
fn an_instruction_copies_cheaply() {
    assert!(size_of::<Inst>() <= 128);
}
