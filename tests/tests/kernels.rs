//! Kernels end to end: results, arguments, grids, buffers in flight.

use std::time::Duration;

use eclip_hsa::{Arg, Error, KernelGroup, Module, Queue};
use eclip_tests::{Gpu, PATIENCE, gpu, newest_queue};

fn error(result: eclip_hsa::Result<impl std::fmt::Debug>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn vectors_add() {
    let gpu = gpu();
    let (module, queue) = (gpu.module("vector"), gpu.queue());
    let kernel = module.kernel("vector_add").unwrap();
    let n = 1000u32;
    let a: Vec<f32> = (0..n).map(|i| i as f32).collect();
    let b: Vec<f32> = (0..n).map(|i| 0.5 * i as f32).collect();
    let (a, b, c) = (
        gpu.agent.upload(&a).unwrap(),
        gpu.agent.upload(&b).unwrap(),
        gpu.agent.alloc::<f32>(n as usize).unwrap(),
    );
    let dispatch = kernel.dispatch([1024, 1, 1], [256, 1, 1]).arg(&a).arg(&b).arg(&c).arg(n);
    queue.dispatch(dispatch, PATIENCE).unwrap().wait_timeout(PATIENCE).unwrap();
    let sum = c.to_vec().unwrap();
    assert!((0..n).all(|i| sum[i as usize] == 1.5 * i as f32));
}

#[test]
fn groups_run_in_order_and_queues_wait_for_each_other() {
    let gpu = gpu();
    let module = gpu.module("vector");
    let [fill, copy] = ["fill_u32", "copy_u32"].map(|name| module.kernel(name).unwrap());
    let queues = [gpu.queue(), gpu.queue()];
    let n = 4096u32;
    let [x, y] = [0, 1].map(|_| gpu.agent.alloc::<u32>(n as usize).unwrap());
    let grid = [n, 1, 1];
    let mut last = Vec::new();
    for round in 0..20u32 {
        let mut group = KernelGroup::builder(&gpu.agent);
        group.dispatch(fill.dispatch(grid, [256, 1, 1]).arg(&x).arg(round).arg(n)).unwrap();
        group.dispatch(copy.dispatch(grid, [256, 1, 1]).arg(&x).arg(&y).arg(n)).unwrap();
        let queue = &queues[round as usize % 2];
        last = vec![group.build().unwrap().on(queue).after(&last).submit(PATIENCE).unwrap()];
    }
    last[0].wait_timeout(PATIENCE).unwrap();
    assert_eq!(y.to_vec().unwrap(), vec![19; n as usize]);
}

#[test]
fn concurrent_groups_complete_as_a_whole() {
    let gpu = gpu();
    let (module, queue) = (gpu.module("vector"), gpu.queue());
    let increment = module.kernel("increment").unwrap();
    let counters = gpu.agent.alloc_host::<u32>(64).unwrap();
    let mut group = KernelGroup::builder(&gpu.agent);
    group.concurrent();
    for _ in 0..50 {
        group.dispatch(increment.dispatch([64, 1, 1], [64, 1, 1]).arg(&counters).arg(64u32)).unwrap();
    }
    group.build().unwrap().on(&queue).submit(PATIENCE).unwrap().wait_timeout(PATIENCE).unwrap();
    assert_eq!(*counters.map().unwrap(), [50; 64]);
}

#[test]
fn every_kind_of_argument_arrives() {
    let gpu = gpu();
    let (module, queue) = (gpu.module("misc"), gpu.queue());
    let kernel = module.kernel("arguments").unwrap();
    // 56 bytes a workgroup: u64, f64, pair (three fields in 16 bytes), u32, f32, u16, u8, LDS sum, group.
    let out = gpu.agent.alloc_host::<u32>(2 * 14).unwrap();
    let dispatch = kernel
        .dispatch([128, 1, 1], [64, 1, 1])
        .arg(0x11u8)
        .arg(0x8877_6655_4433_2211u64)
        .arg(0x2222u16)
        .arg(&out)
        .arg(0x4444_4444u32)
        .arg(Arg::Lds(256))
        .arg(1.5f32)
        .arg(2.5f64)
        .arg(Arg::value(&[0x0a0a_0a0au32, 0x0b0b_0b0b, 0x0c0c_0c0c, 0]));
    queue.dispatch(dispatch, PATIENCE).unwrap().wait_timeout(PATIENCE).unwrap();
    let words = out.to_vec().unwrap();
    for group in 0..2 {
        let got = &words[14 * group..14 * (group + 1)];
        assert_eq!(got[..2], [0x4433_2211, 0x8877_6655], "u64");
        assert_eq!(f64::from_bits(u64::from(got[2]) | u64::from(got[3]) << 32), 2.5);
        assert_eq!(got[4], 0x0a0a_0a0a, "pair");
        assert_eq!((got[8], f32::from_bits(got[9])), (0x4444_4444, 1.5));
        assert_eq!((got[10] & 0xffff, got[10] >> 16 & 0xff), (0x2222, 0x11));
        assert_eq!((got[11], got[12]), ((0..64).sum(), group as u32), "LDS sum and group: {got:x?}");
    }
}

#[test]
fn gpu_times_are_there_when_asked_for() {
    let gpu = gpu();
    let queue = Queue::builder(&gpu.agent).profiling().create().unwrap();
    let spin = gpu.module("misc").kernel("spin").unwrap();
    let flag = gpu.agent.alloc_host::<u32>(1).unwrap();
    let token =
        queue.dispatch(spin.dispatch([64, 1, 1], [64, 1, 1]).arg(&flag).arg(1000u32), PATIENCE).unwrap();
    token.wait_timeout(PATIENCE).unwrap();
    let time = token.gpu_time().unwrap();
    assert!(time.end_ns > time.start_ns && time.duration() < PATIENCE, "{time:?}");
    let unmeasured = gpu.queue().barrier_and(&[], PATIENCE).unwrap();
    assert!(error(unmeasured.gpu_time()).contains("profiling"));
}

#[test]
fn buffers_in_flight_are_out_of_the_hosts_reach() {
    let gpu = gpu();
    let Some(sim) = gpu.sim() else { return };
    let queue = gpu.queue();
    let id = newest_queue(&sim);
    let fill = gpu.module("vector").kernel("fill_u32").unwrap();
    let x = gpu.agent.alloc_host::<u32>(64).unwrap();
    let dispatch = fill.dispatch([64, 1, 1], [64, 1, 1]).arg(&x).arg(5u32).arg(64u32);
    {
        let _mapped = x.map().unwrap();
        assert!(error(queue.dispatch(dispatch.clone(), PATIENCE)).contains("mapped by the host"));
    }
    sim.processor().stall_queue(id).unwrap();
    let token = queue.dispatch(dispatch, PATIENCE).unwrap();
    assert!(error(x.map().map(drop)).contains("in flight"));
    assert!(error(x.map_mut().map(drop)).contains("in flight"));
    assert!(error(x.write(&[1])).contains("in flight"));
    assert!(error(x.to_vec()).contains("in flight"));
    // The work keeps the memory alive, whoever lets go of it.
    let kept = x.clone();
    drop(x);
    sim.processor().resume_queue(id).unwrap();
    std::mem::forget(token);
    queue.drain(PATIENCE).unwrap();
    assert_eq!(*kept.map().unwrap(), [5; 64]);
}

#[test]
fn everything_may_be_dropped_in_any_order_while_work_is_in_flight() {
    for order in 0..6 {
        let gpu = gpu();
        let queue = gpu.queue();
        let module = gpu.module("misc");
        let spin = module.kernel("spin").unwrap();
        let flag = gpu.agent.alloc_host::<u32>(1).unwrap();
        let token =
            queue.dispatch(spin.dispatch([64, 1, 1], [64, 1, 1]).arg(&flag).arg(200u32), PATIENCE).unwrap();
        let mut things: Vec<Option<Box<dyn std::any::Any>>> = vec![
            Some(Box::new(queue)),
            Some(Box::new((module, spin))),
            Some(Box::new(flag)),
            Some(Box::new(token)),
            Some(Box::new(gpu.agent.clone())),
        ];
        for step in 0..things.len() {
            let index = (order + step * [1, 2, 3, 4, 1, 2][order]) % things.len();
            things[index] = None;
        }
    }
}

#[test]
fn arguments_are_checked_before_anything_is_submitted() {
    let gpu = gpu();
    let queue = gpu.queue();
    let kernel = gpu.module("vector").kernel("fill_u32").unwrap();
    let x = gpu.agent.alloc::<u32>(64).unwrap();
    let base = || kernel.dispatch([64, 1, 1], [64, 1, 1]);
    let refused = |dispatch, part: &str| {
        let error = queue.try_dispatch(dispatch).unwrap_err();
        assert!(matches!(error, Error::Arguments(_)), "{error}");
        assert!(error.to_string().contains(part) && error.to_string().contains("fill_u32"), "{error}");
    };
    refused(base().arg(&x), "takes 3 arguments, 1 were given");
    refused(base().arg(&x).arg(1u32).arg(2u32).arg(3u32), "takes 3 arguments, 4 were given");
    refused(base().arg(&x).arg(1u64).arg(2u32), "takes 4 bytes, given were 8");
    refused(base().arg(0xdead_beefu64).arg(1u32).arg(2u32), "a buffer");
    refused(base().arg(&x).arg(&x).arg(2u32), "a value");
    assert_eq!(queue.unfinished(), 0);
}

#[test]
fn grids_are_checked_before_anything_is_submitted() {
    let gpu = gpu();
    let queue = gpu.queue();
    let kernel = gpu.module("vector").kernel("fill_u32").unwrap();
    let x = gpu.agent.alloc::<u32>(64).unwrap();
    let refused = |grid, workgroup, part: &str| {
        let dispatch = kernel.dispatch(grid, workgroup).arg(&x).arg(1u32).arg(64u32);
        let error = queue.try_dispatch(dispatch).unwrap_err();
        assert!(matches!(error, Error::Geometry { .. }), "{error}");
        assert!(error.to_string().contains(part), "{error}");
    };
    refused([0, 1, 1], [64, 1, 1], "size of zero");
    refused([64, 1, 1], [64, 0, 1], "size of zero");
    refused([2048, 1, 1], [2048, 1, 1], "larger than the GPU's");
    refused([1024, 1, 1], [1024, 1, 1], "compiled for at most 256");
    refused([16, 1, 1], [64, 1, 1], "in work-items, not in workgroups");
    refused([1 << 20, 1 << 12, 1], [64, 1, 1], "work-items in all");
    let lds = kernel.dispatch([64, 1, 1], [64, 1, 1]).arg(&x).arg(1u32).arg(64u32).dynamic_lds(65_537);
    assert!(error(queue.try_dispatch(lds)).contains("LDS"));
}

#[test]
fn code_objects_that_do_not_fit_are_refused() {
    let gpu = gpu();
    let good = eclip_kernels::code_object(&gpu.agent.isa().unwrap().to_string(), "vector").unwrap();
    // SAFETY: whatever is accepted here is never launched.
    let load = |bytes: Vec<u8>| unsafe { Module::from_bytes(&gpu.agent, "test.co", bytes) };
    let other = eclip_kernels::code_object("gfx1030", "vector").unwrap();
    assert!(matches!(load(other.to_vec()), Err(Error::WrongIsa { .. })));
    assert!(error(load(other.to_vec())).contains("gfx1030"));
    for length in (0..good.len()).step_by(97) {
        assert!(matches!(load(good[..length].to_vec()), Err(Error::CodeObject { .. })), "cut at {length}");
    }
    let mut state = 1u64;
    let mut random = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 56) as u8
    };
    assert!(error(load((0..4096).map(|_| random()).collect())).starts_with("test.co: "));
    // SAFETY: nothing is loaded.
    let missing = unsafe { Module::from_file(&gpu.agent, "no/such/file.co") };
    assert!(error(missing).contains("cannot read no/such/file.co"));
    // SAFETY: nothing is loaded.
    let directory = unsafe { Module::from_file(&gpu.agent, std::env::temp_dir()) };
    assert!(error(directory).ends_with("not a regular file"));
    let unknown = load(good.to_vec()).unwrap().kernel("no_such_kernel");
    assert!(error(unknown.map(drop)).contains("vector_add"), "it lists what there is");
}

#[test]
fn a_module_loads_from_a_file_too() {
    let gpu = gpu();
    let code = eclip_kernels::code_object(&gpu.agent.isa().unwrap().to_string(), "misc").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("misc.co");
    std::fs::write(&path, code).unwrap();
    // SAFETY: the kernel does nothing, and the file stays as it is until the module is dropped.
    let module = unsafe { Module::from_file(&gpu.agent, &path) }.unwrap();
    let empty = module.kernel("empty").unwrap();
    gpu.queue()
        .dispatch(empty.dispatch([1, 1, 1], [1, 1, 1]), PATIENCE)
        .unwrap()
        .wait_timeout(PATIENCE)
        .unwrap();
    drop((module, empty));
}

#[test]
fn a_kernel_that_never_ends_can_be_dropped_with_its_queue() {
    let Gpu { agent, .. } = &gpu();
    let queue =
        Queue::builder(agent).label("endless").drain_timeout(Duration::from_millis(50)).create().unwrap();
    let code = eclip_kernels::code_object(&agent.isa().unwrap().to_string(), "misc").unwrap();
    // SAFETY: `spin` reads only the flag that it is given.
    let spin = unsafe { Module::from_bytes(agent, "misc", code) }.unwrap().kernel("spin").unwrap();
    let flag = agent.alloc_host::<u32>(1).unwrap();
    let token =
        queue.dispatch(spin.dispatch([64, 1, 1], [64, 1, 1]).arg(&flag).arg(u32::MAX), PATIENCE).unwrap();
    assert!(matches!(token.wait_timeout(Duration::from_millis(20)), Err(Error::Timeout { .. })));
    drop(queue);
    assert!(error(token.wait()).contains("endless was destroyed"));
    // The hardware queue is gone, so the flag is the host's again.
    flag.write(&[1]).unwrap();
}

#[test]
fn a_stripped_code_object_is_named_as_such() {
    let gpu = gpu();
    let mut code =
        eclip_kernels::code_object(&gpu.agent.isa().unwrap().to_string(), "misc").unwrap().to_vec();
    let name = code.windows(9).position(|bytes| bytes == b"\0.symtab\0").unwrap();
    code[name + 7] = b'x';
    // SAFETY: nothing of it is launched.
    match unsafe { Module::from_bytes(&gpu.agent, "stripped.co", code) }.unwrap().kernel("empty") {
        Err(Error::Stripped { module, symbol }) => {
            assert_eq!((&*module, &*symbol), ("stripped.co", "empty.kd"))
        }
        // Newer runtimes look kernels up in .dynsym.
        Ok(_) => {}
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn scratch_has_a_limit_and_works_below_it() {
    let gpu = gpu();
    let queue = gpu.queue();
    let kernel = gpu.module("scratch").kernel("scratch_user").unwrap();
    let input: Vec<u32> = (0..256).collect();
    let (from, to) = (gpu.agent.upload(&input).unwrap(), gpu.agent.alloc::<u32>(256).unwrap());
    let work = || kernel.dispatch([256, 1, 1], [64, 1, 1]).arg(&from).arg(&to).arg(256u32);
    for bytes in [262_129, u32::MAX] {
        let error = queue.try_dispatch(work().private_bytes(bytes)).unwrap_err();
        assert!(matches!(error, Error::Geometry { .. }) && error.to_string().contains("scratch"), "{error}");
    }
    for bytes in [0, 4096] {
        let token = queue.dispatch(work().private_bytes(bytes), PATIENCE).unwrap();
        token.wait_timeout(PATIENCE).unwrap();
        assert!(to.to_vec().unwrap().iter().any(|&word| word != 0));
        to.write(&[0; 256]).unwrap();
    }
}
