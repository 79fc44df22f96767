//! GPU memory faults, through ROCr to the program's handler.

mod support;

use std::ffi::c_void;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;
use support::{Rocr, Status, device};

/// HSA_AMD_GPU_MEMORY_FAULT_PAGE_NOT_PRESENT.
const NOT_PRESENT: u32 = 1;
const FINE: u32 = 2;
/// An address that nothing is mapped at: the first megabytes belong to nobody.
const NOWHERE: u64 = 0x12_3440;

/// `hsa_amd_event_t` with a memory fault.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct Fault {
    kind: u32,
    agent: u64,
    address: u64,
    reasons: u32,
}

unsafe extern "C" fn tell(event: *const u64, sender: *mut c_void) -> Status {
    // SAFETY: ROCr passes an event that lives for the call, and the sender that was registered with this function.
    unsafe { (*sender.cast::<Sender<Fault>>()).send(*event.cast::<Fault>()).unwrap() };
    0
}

#[test]
fn a_store_to_an_unmapped_address_is_a_memory_fault_with_page_and_gpu() {
    let Some(rocr) = Rocr::load() else { return };
    assert_eq!(rocr.hsa_init(), 0);
    let (sender, faults): (Sender<Fault>, Receiver<Fault>) = channel();
    assert_eq!(rocr.hsa_amd_register_system_event_handler(tell, Box::into_raw(Box::new(sender)).cast()), 0);
    let (queue, done) = (rocr.queue(256).unwrap(), rocr.signal(1));
    let kernel = rocr.kernel("fault.co", "store_to");
    let kernarg = rocr.allocate(rocr.pool(rocr.cpu(), FINE), 4096);
    // SAFETY: the kernel's arguments (address, value) in memory of our own; an empty queue of our own.
    unsafe {
        kernarg.cast::<[u64; 2]>().write([NOWHERE, 7]);
        rocr.dispatch(queue, kernel, kernarg, done);
    }
    let fault = faults.recv_timeout(Duration::from_secs(20)).expect("the handler is called");
    assert_eq!((fault.kind, fault.agent), (0, rocr.gpu()));
    assert_eq!((fault.address, fault.reasons & NOT_PRESENT), (NOWHERE & !0xfff, NOT_PRESENT));
    assert_eq!(rocr.wait_now(done), 1, "the kernel did not complete");
    assert!(device().processor().dispatch_log().iter().all(|d| d.kernel_object != kernel));
}
