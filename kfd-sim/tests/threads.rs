//! Workgroups of one dispatch on several host threads: the same results as on one, with and without caches, and both
//! processors at work.

mod isa_support;

use std::hint::black_box;

use isa_support::device::Device;
use isa_support::{CodeObject, Dispatch, compile};
use kfd_sim::caches::RaceKind;
use kfd_sim::cp::MemoryModel;

const GROUPS: u32 = 64;
const ITEMS: u32 = GROUPS * 256;

/// Every work-item computes for a while on values that it reads from memory, and adds to counters that all share; workgroups
/// exchange values through LDS.
const SOURCE: &str = "kernel void t(global const uint *a, global uint *o, global uint *sums, uint m) {
    local uint l[256]; uint x = a[GID], y = 1;
    for (uint n = 0; n < m; n++) {
        l[LX] = x; BARRIER;
        y += l[(LX + n) & 255] ^ (x >> 3); BARRIER;
        x = x * 1664525 + y; o[GID] = x;
        if ((n & 15) == 0) __opencl_atomic_fetch_add((global atomic_uint *)&sums[(x >> 9) & 63], y & 255,
            memory_order_relaxed, memory_scope_device);
        x += a[(GID + n) & (16384 - 1)];
    }
    o[GID] = x ^ y; }";

/// The same on the host.
#[inline(never)]
fn host(a: &[u32], rounds: u32) -> (Vec<u32>, Vec<u32>) {
    let (mut out, mut sums) = (vec![0; ITEMS as usize], vec![0u32; 64]);
    for group in 0..GROUPS as usize {
        let base = group * 256;
        let (mut x, mut y) = (a[base..base + 256].to_vec(), vec![1u32; 256]);
        for n in 0..rounds as usize {
            let l = x.clone();
            for lane in 0..256 {
                y[lane] = y[lane].wrapping_add(l[(lane + n) & 255] ^ x[lane] >> 3);
                x[lane] = x[lane].wrapping_mul(1_664_525).wrapping_add(y[lane]);
                if n & 15 == 0 {
                    let sum = &mut sums[x[lane] as usize >> 9 & 63];
                    *sum = sum.wrapping_add(y[lane] & 255);
                }
                x[lane] = x[lane].wrapping_add(a[(base + lane + n) & 16383]);
            }
        }
        for lane in 0..256 {
            out[base + lane] = x[lane] ^ y[lane];
        }
    }
    (out, sums)
}

fn run(
    code: &CodeObject,
    a: &[u32],
    rounds: u32,
    threads: usize,
    model: MemoryModel,
) -> (Vec<u32>, Vec<u32>) {
    let mut device = Device::new(threads, model);
    let base = device.gpu.load(code);
    let (va, out, sums) = (device.gpu.upload(a), device.gpu.alloc(4 * ITEMS as usize), device.gpu.alloc(256));
    let dispatch = Dispatch::new(code, base, "t", ITEMS, 256).arg(va).arg(out).arg(sums).arg(rounds);
    device.run(&dispatch);
    (device.gpu.read(out, ITEMS as usize), device.gpu.read(sums, 64))
}

#[test]
fn threads_do_not_change_results() {
    let Some(code) = compile(SOURCE) else { return };
    let a: Vec<u32> = (0..ITEMS).map(|n| n.wrapping_mul(0x9e37_79b9) ^ n >> 7).collect();
    let rounds = black_box(40);
    let want = host(&a, rounds);
    for model in [MemoryModel::Coherent, MemoryModel::Caches, MemoryModel::Strict] {
        for threads in [1, 2, 3] {
            let got = run(&code, &a, rounds, threads, model);
            let wrong: Vec<usize> = (0..ITEMS as usize).filter(|&n| got.0[n] != want.0[n]).collect();
            assert!(
                wrong.is_empty(),
                "{threads} threads, {model:?}: {} values wrong, first {:?}",
                wrong.len(),
                wrong.iter().take(8).map(|&n| (n, got.0[n], want.0[n])).collect::<Vec<_>>()
            );
            assert_eq!(got.1, want.1, "counters with {threads} threads, {model:?}");
        }
    }
}

/// One workgroup waits for another one: whichever thread has them, both go on.
#[test]
fn workgroups_may_wait_for_each_other() {
    let source = "kernel void t(global uint *flags, global uint *o, uint m) {
        for (uint n = 1; n <= m; n++) {
            if (LX == 0) {
                __opencl_atomic_fetch_add((global atomic_uint *)flags, 1, memory_order_release, memory_scope_device);
                while (__opencl_atomic_load((global atomic_uint *)flags, memory_order_acquire, memory_scope_device) < n * 32) ;
            }
            BARRIER;
        }
        o[GID] = flags[0]; }";
    let Some(code) = compile(source) else { return };
    for model in [MemoryModel::Coherent, MemoryModel::Strict] {
        for threads in [1, 2, 4] {
            let mut device = Device::new(threads, model);
            let base = device.gpu.load(&code);
            let (flags, out) = (device.gpu.alloc(64), device.gpu.alloc(4 * 32 * 64));
            let dispatch = Dispatch::new(&code, base, "t", 32 * 64, 64).arg(flags).arg(out).arg(40u32);
            device.run(&dispatch);
            assert_eq!(device.gpu.read::<u32>(flags, 1), [40 * 32], "{threads} threads, {model:?}");
        }
    }
}

/// Every access of every workgroup is noted, whichever thread runs it.
#[test]
fn races_are_found_with_any_number_of_threads() {
    let source = "kernel void t(global const uint *a, global uint *o, uint m) {
        uint x = a[GID];
        for (uint n = 0; n < m; n++) x = x * 1664525 + (x >> 7);
        o[GID] = x; }";
    let Some(code) = compile(source) else { return };
    for threads in [1, 3] {
        let mut device = Device::new(threads, MemoryModel::Strict);
        device.cp.set_race_detection(true).unwrap();
        let base = device.gpu.load(&code);
        let a: Vec<u32> = (0..ITEMS).collect();
        let (va, outs) = (device.gpu.upload(&a), [0; 2].map(|_| device.gpu.alloc(4 * ITEMS as usize)));
        let made = outs.map(|out| Dispatch::new(&code, base, "t", ITEMS, 256).arg(va).arg(out).arg(100u32));
        device.run_all(&[&made[0], &made[1]]);
        assert_eq!(device.cp.races(), [], "{threads} threads");
        device.run_all(&[&made[0], &made[0]]);
        let [race] = &device.cp.races()[..] else { panic!("{threads} threads: {:?}", device.cp.races()) };
        let bytes = 4 * u64::from(ITEMS);
        assert_eq!(
            (race.kind, race.address, race.run, race.bytes),
            (RaceKind::WriteWrite, outs[0], bytes, bytes),
            "{threads} threads"
        );
    }
}
