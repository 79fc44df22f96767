//! ROCr, unmodified, with the simulator linked into this program: agents, queues, masks, memory, failing ioctls.
//!
//! One process, one runtime: a single test runs the parts in order.

mod support;

use kfd_sim::control::{Failure, When};
use support::{Rocr, device};

const FINE: u32 = 2;
const COARSE: u32 = 4;
const OUT_OF_RESOURCES: u32 = 0x1008;

#[test]
fn rocr_on_the_simulated_machine() {
    let Some(rocr) = Rocr::load() else { return };
    for cycle in 0..2 {
        assert_eq!(rocr.hsa_init(), 0, "cycle {cycle}");
        one_gfx906_gpu_of_60_compute_units(&rocr);
        queues_and_masks_reach_the_device(&rocr);
        failing_ioctls_become_errors(&rocr);
        copies_come_back_unchanged(&rocr);
        kernels_of_the_runtime_fill_memory(&rocr);
        more_vram_than_there_is_is_an_error(&rocr);
        dispatches_are_logged_and_queues_can_be_stalled(&rocr);
        assert_eq!(rocr.hsa_shut_down(), 0, "cycle {cycle}");
    }
}

fn one_gfx906_gpu_of_60_compute_units(rocr: &Rocr) {
    let gpu = rocr.gpu();
    assert_eq!(rocr.name(gpu), "gfx906");
    assert_eq!(rocr.info::<u32>(gpu, 0xa002), 60);
    assert_eq!(rocr.name(rocr.cpu()), "kfd-sim host CPU");
}

fn queues_and_masks_reach_the_device(rocr: &Rocr) {
    device().recorder().clear_logs();
    let queue = rocr.queue(1024).unwrap();
    let mask = [0x0f0f_0f0f_u32, 0x0f0f];
    assert_eq!(rocr.hsa_amd_queue_cu_set_mask(queue, 64, mask.as_ptr()), 0);
    let masks = device().recorder().masks();
    assert_eq!(masks.len(), 1);
    assert_eq!(masks[0].mask, mask);
    assert_eq!(rocr.hsa_queue_destroy(queue), 0);
    let (ioctls, _) = device().recorder().ioctls();
    assert!(ioctls.iter().all(|i| i.errno == 0), "{ioctls:?}");
}

fn failing_ioctls_become_errors(rocr: &Rocr) {
    let fail = |nr, errno, when| device().recorder().fail(Failure { nr, errno, when });
    fail(0x02, libc::ENOMEM, When::Once);
    assert_eq!(rocr.queue(1024).unwrap_err(), OUT_OF_RESOURCES);
    let queue = rocr.queue(1024).unwrap();
    fail(0x1a, libc::EINVAL, When::Once);
    let mask = [1u32, 0];
    assert_ne!(rocr.hsa_amd_queue_cu_set_mask(queue, 64, mask.as_ptr()), 0);
    assert_eq!(rocr.hsa_amd_queue_cu_set_mask(queue, 64, mask.as_ptr()), 0);
    assert_eq!(rocr.hsa_queue_destroy(queue), 0);
    device().recorder().clear_failures();
}

fn copies_come_back_unchanged(rocr: &Rocr) {
    let (on_gpu, on_host) = (rocr.pool(rocr.gpu(), COARSE), rocr.pool(rocr.cpu(), FINE));
    let before = device().memory_used().0;
    for bytes in [4usize, 4096, 1_000_003] {
        let (host, gpu, back) =
            (rocr.allocate(on_host, bytes), rocr.allocate(on_gpu, bytes), rocr.allocate(on_host, bytes));
        assert!(device().memory_used().0 >= before + bytes as u64);
        // SAFETY: both host buffers have `bytes` bytes.
        let (source, result) = unsafe {
            (
                std::slice::from_raw_parts_mut(host.cast::<u8>(), bytes),
                std::slice::from_raw_parts(back.cast::<u8>(), bytes),
            )
        };
        source.iter_mut().enumerate().for_each(|(i, b)| *b = (i * 7 + i / 251) as u8);
        rocr.copy(gpu, host, bytes);
        rocr.copy(back, gpu, bytes);
        assert!(source == result, "{bytes} bytes changed on their way");
        for memory in [host, gpu, back] {
            assert_eq!(rocr.hsa_amd_memory_pool_free(memory), 0);
        }
    }
}

fn kernels_of_the_runtime_fill_memory(rocr: &Rocr) {
    let words = 100_001;
    let (gpu, host) = (
        rocr.allocate(rocr.pool(rocr.gpu(), COARSE), words * 4),
        rocr.allocate(rocr.pool(rocr.cpu(), FINE), words * 4),
    );
    assert_eq!(rocr.hsa_amd_memory_fill(gpu, 0xc0ff_ee11, words), 0);
    rocr.copy(host, gpu, words * 4);
    // SAFETY: the buffer has that many words.
    let result = unsafe { std::slice::from_raw_parts(host.cast::<u32>(), words) };
    assert!(result.iter().all(|w| *w == 0xc0ff_ee11));
    assert_eq!(rocr.hsa_amd_memory_pool_free(gpu), 0);
    assert_eq!(rocr.hsa_amd_memory_pool_free(host), 0);
}

fn dispatches_are_logged_and_queues_can_be_stalled(rocr: &Rocr) {
    device().recorder().clear_logs();
    let queue = rocr.queue(256).unwrap();
    let mask = [0x0000_0003, 0];
    assert_eq!(rocr.hsa_amd_queue_cu_set_mask(queue, 64, mask.as_ptr()), 0);
    let queue_id = device().recorder().masks()[0].queue_id;
    let kernel = rocr.kernel("probe.co", "probe_hw_id");
    let memory = rocr.allocate(rocr.pool(rocr.cpu(), FINE), 4096);
    let (processor, done) = (device().processor().clone(), rocr.signal(1));
    processor.clear_dispatch_log();
    processor.stall_queue(queue_id).unwrap();
    // SAFETY: the kernel's arguments (output, spin) and its output in memory of our own; an empty queue of our own.
    let hw_id = unsafe {
        memory.cast::<[u64; 3]>().write([memory as u64 + 16, 0, 0xffff_ffff]);
        rocr.dispatch(queue, kernel, memory, done);
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert_eq!(rocr.wait_now(done), 1, "a stalled queue does nothing");
        processor.resume_queue(queue_id).unwrap();
        assert_eq!(rocr.wait_below(done, 1), 0);
        memory.cast::<u32>().add(4).read()
    };
    assert_eq!((hw_id >> 8) & 15, 0, "CU 0 of its shader engine");
    assert!((hw_id >> 13) & 3 < 2, "shader engine 0 or 1");
    let log = processor.dispatch_log();
    assert_eq!(rocr.hsa_signal_destroy(done), 0);
    assert_eq!(log.len(), 1, "{log:?}");
    assert_eq!((log[0].queue, log[0].kernel_name.as_deref()), (queue_id, Some("probe_hw_id")));
    assert_eq!(rocr.hsa_queue_destroy(queue), 0);
}

fn more_vram_than_there_is_is_an_error(rocr: &Rocr) {
    let pool = rocr.pool(rocr.gpu(), COARSE);
    let allocate = |bytes| {
        let mut memory = std::ptr::null_mut();
        let status = rocr.hsa_amd_memory_pool_allocate(pool, bytes, 0, &raw mut memory);
        if status == 0 { Ok(memory) } else { Err(status) }
    };
    let most = allocate(12 << 30).unwrap();
    assert_eq!(allocate(8 << 30), Err(OUT_OF_RESOURCES));
    assert_eq!(rocr.hsa_amd_memory_pool_free(most), 0);
    let again = allocate(8 << 30).unwrap();
    assert_eq!(rocr.hsa_amd_memory_pool_free(again), 0);
}
