//! The C loop that the library is measured against does what it says: every packet runs once, with and without signals.

use eclip_peers::c_loop::{CLoop, Error, Launch};
use eclip_tests::{PATIENCE, gpu};

const N: u32 = 64;

#[test]
fn every_packet_of_the_c_loop_runs_once_around_the_ring() {
    let gpu = gpu();
    let kernel = gpu.module("vector").kernel("increment").unwrap();
    let counters = gpu.agent.upload(&[0u32; N as usize]).unwrap();
    let kernargs = gpu.agent.alloc_host::<u8>(kernel.layout().size()).unwrap();
    {
        use eclip_hsa::kernarg::{Arg, Geometry};
        let n = N.to_le_bytes();
        let geometry = Geometry { grid: [N, 1, 1], workgroup: [N as u16, 1, 1], dynamic_lds: 0 };
        let arguments = [Arg::Buffer(counters.address()), Arg::Value(&n)];
        kernel.layout().pack(&arguments, &geometry, &mut kernargs.map_mut().unwrap()).unwrap();
    }
    let launch = Launch {
        kernel_object: kernel.object(),
        kernarg_address: kernargs.address(),
        grid: [N, 1, 1],
        workgroup: [N as u16, 1, 1],
        dimensions: 1,
        private_segment_size: kernel.meta().private_segment_fixed_size,
        group_segment_size: kernel.meta().group_segment_fixed_size,
    };
    // SAFETY: the runtime lives as long as the test's GPU.
    let mut queue = unsafe { CLoop::new(gpu.agent.runtime().hsa(), gpu.agent.handle(), 64, 40) }.unwrap();
    let mut expected = 0;
    for round in 0..5 {
        // SAFETY: kernel, arguments and counters outlive the drain below.
        unsafe {
            queue.submit(&launch, 20).unwrap();
            queue.submit_with_signals(&launch, 30).unwrap();
        }
        expected += 50;
        // SAFETY: nothing is submitted.
        let refused = unsafe { queue.submit_with_signals(&launch, 11) };
        assert!(matches!(refused, Err(Error::Room { asked: 11, .. })), "{refused:?} in round {round}");
        queue.drain(PATIENCE).unwrap();
        assert_eq!(queue.room(), 64);
    }
    // SAFETY: nothing is submitted.
    let refused = unsafe { queue.submit(&launch, 65) };
    assert!(matches!(refused, Err(Error::Room { what: "packets", asked: 65, room: 64 })), "{refused:?}");
    assert_eq!(counters.to_vec().unwrap(), [expected; N as usize]);
}
