//! KFD and DRM ioctls on a device of our own, without a runtime: answers, errno values, hostile arguments.

use bytemuck::{Pod, Zeroable};
use kfd_sim::control::{Device, Failure, Node, When};
use kfd_sim::device::DeviceSpec;
use kfd_sim::kernel::GPU_ID;
use kfd_sim::kernel::uapi::*;
use kfd_sim::memory::Access;
use kfd_sim::plan::FaultPlan;
use kfd_sim::settings::Settings;
use proptest::prelude::*;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

const PAGE: u64 = 4096;

fn call<T: Pod>(device: &Device, nr: u32, args: &mut T) -> Result<(), i32> {
    call_on(device, Node::Kfd, nr, args)
}

fn call_on<T: Pod>(device: &Device, node: Node, nr: u32, args: &mut T) -> Result<(), i32> {
    let letter = if node == Node::Kfd { b'K' } else { b'd' };
    device.ioctl(node, Request::word(letter, nr, size_of::<T>()), &raw mut *args as u64).map_err(|e| e.0)
}

/// A device whose VM is acquired, as after a runtime's first steps.
fn device() -> Arc<Device> {
    let device = Device::new(DeviceSpec::mi50()).unwrap();
    let drm_fd = device.open(Node::Render, true).unwrap();
    call(&device, 0x15, &mut AcquireVm { drm_fd: drm_fd as u32, gpu_id: GPU_ID }).unwrap();
    // SAFETY: the descriptor is ours.
    unsafe { libc::close(drm_fd) };
    device
}

fn allocate(device: &Device, va: u64, size: u64, flags: u32) -> Result<AllocMemory, i32> {
    let mut args = AllocMemory { va, size, flags, gpu_id: GPU_ID, ..AllocMemory::zeroed() };
    call(device, 0x16, &mut args).map(|()| args)
}

fn map(device: &Device, nr: u32, handle: u64) -> Result<u32, i32> {
    let ids = [GPU_ID];
    let mut args = MapMemory { handle, device_ids_ptr: ids.as_ptr() as u64, n_devices: 1, n_success: 0 };
    call(device, nr, &mut args).map(|()| args.n_success)
}

fn event(device: &Device, kind: u32, auto_reset: bool) -> CreateEvent {
    let mut args = CreateEvent { event_type: kind, auto_reset: auto_reset.into(), ..CreateEvent::zeroed() };
    call(device, 0x08, &mut args).unwrap();
    args
}

const VRAM: u32 = alloc_flag::VRAM | alloc_flag::WRITABLE;

#[test]
fn version_and_apertures() {
    let device = device();
    let mut version = GetVersion::zeroed();
    call(&device, 0x01, &mut version).unwrap();
    assert_eq!((version.major, version.minor), (1, 11));
    let mut count = GetApertures::zeroed();
    call(&device, 0x14, &mut count).unwrap();
    assert_eq!(count.num_of_nodes, 1);
    let mut room = [Apertures::zeroed(); 2];
    let mut args = GetApertures { apertures_ptr: room.as_mut_ptr() as u64, num_of_nodes: 2, pad: 0 };
    call(&device, 0x14, &mut args).unwrap();
    assert_eq!((args.num_of_nodes, room[0].gpu_id), (1, GPU_ID));
    assert_eq!((room[0].gpuvm_base, room[0].gpuvm_limit), (0x4000, 0x7fff_ffff_ffff));
}

#[test]
fn both_clocks_run_at_their_rates() {
    let device = device();
    let read = || {
        let mut args = ClockCounters { gpu_id: GPU_ID, ..ClockCounters::zeroed() };
        call(&device, 0x05, &mut args).unwrap();
        args
    };
    let first = read();
    thread::sleep(Duration::from_millis(4));
    let second = read();
    assert_eq!(first.system_freq, 1_000_000_000);
    let (gpu_ns, system_ns) = ((second.gpu - first.gpu) * 40, second.system - first.system);
    assert!(system_ns >= 4_000_000 && gpu_ns.abs_diff(system_ns) < 100, "{gpu_ns} {system_ns}");
}

#[test]
fn vram_is_visible_to_host_and_gpu_and_counted() {
    let device = device();
    let buffer = allocate(&device, 0x10_0000, 3 * PAGE, VRAM).unwrap();
    assert_eq!(device.memory_used().0, 3 * PAGE);
    assert!(device.space().translate(0x10_0000, 8, Access::Read).is_err(), "not before MAP_MEMORY_TO_GPU");
    assert_eq!(map(&device, 0x18, buffer.handle), Ok(1));
    assert_eq!(map(&device, 0x18, buffer.handle), Ok(1), "mapping twice is fine");
    let fd = device.open(Node::Render, true).unwrap();
    // SAFETY: the mapping covers the buffer's pages; the GPU's span is valid while it is mapped.
    unsafe {
        let (bytes, protection) = (3 * PAGE as usize, libc::PROT_READ | libc::PROT_WRITE);
        let host = libc::mmap(
            std::ptr::null_mut(),
            bytes,
            protection,
            libc::MAP_SHARED,
            fd,
            buffer.mmap_offset as i64,
        );
        assert_ne!(host, libc::MAP_FAILED);
        host.cast::<u64>().add(512).write(0x1234);
        let span = device.space().translate(0x10_1000, 8, Access::Write).unwrap();
        assert_eq!(span.at(0x10_1000).cast::<u64>().read(), 0x1234);
        libc::munmap(host, bytes);
        libc::close(fd);
    }
    assert!(device.space().translate(0x10_0000, 8, Access::Execute).is_err(), "not executable");
    let mut free = FreeMemory { handle: buffer.handle };
    assert_eq!(call(&device, 0x17, &mut free), Err(libc::EBUSY));
    assert_eq!(map(&device, 0x19, buffer.handle), Ok(1));
    assert!(device.space().translate(0x10_0000, 8, Access::Read).is_err());
    call(&device, 0x17, &mut free).unwrap();
    assert_eq!(call(&device, 0x17, &mut free), Err(libc::EINVAL));
    assert_eq!(device.memory_used(), (0, 0));
}

#[test]
fn vram_runs_out_and_comes_back() {
    let device = device();
    let available = || {
        let mut args = AvailableMemory { gpu_id: GPU_ID, ..AvailableMemory::zeroed() };
        call(&device, 0x23, &mut args).unwrap();
        args.available
    };
    assert_eq!(available(), 16 << 30);
    let most = allocate(&device, 0x10_0000, 15 << 30, VRAM).unwrap();
    assert_eq!(available(), 1 << 30);
    assert_eq!(allocate(&device, 0x10_0000, 2 << 30, VRAM).unwrap_err(), libc::ENOMEM);
    call(&device, 0x17, &mut FreeMemory { handle: most.handle }).unwrap();
    allocate(&device, 0x10_0000, 16 << 30, VRAM).unwrap();
}

#[test]
fn user_memory_must_exist_and_is_used_in_place() {
    let device = device();
    let memory = vec![7u8; 4 * PAGE as usize];
    let start = (memory.as_ptr() as u64).next_multiple_of(PAGE);
    let user = |host| {
        let flags = alloc_flag::USERPTR | alloc_flag::WRITABLE;
        let mut args = AllocMemory {
            va: start,
            size: PAGE,
            mmap_offset: host,
            flags,
            gpu_id: GPU_ID,
            ..AllocMemory::zeroed()
        };
        call(&device, 0x16, &mut args).map(|()| args.handle)
    };
    assert_eq!(user(start + 8), Err(libc::EINVAL));
    assert_eq!(user(0x1000), Err(libc::EFAULT));
    let handle = user(start).unwrap();
    map(&device, 0x18, handle).unwrap();
    assert_eq!(device.space().translate(start, 16, Access::Read).unwrap().at(start) as u64, start);
}

#[test]
fn aql_queue_memory_appears_twice() {
    let device = device();
    let flags = alloc_flag::GTT | alloc_flag::WRITABLE | alloc_flag::AQL_QUEUE_MEM;
    let buffer = allocate(&device, 0x10_0000, 4 * PAGE, flags).unwrap();
    map(&device, 0x18, buffer.handle).unwrap();
    let host = |va| device.space().translate(va, 8, Access::Write).unwrap().at(va);
    assert_eq!(host(0x10_0008), host(0x10_0008 + 2 * PAGE));
    assert_eq!(device.memory_used().1, 2 * PAGE);
}

#[test]
fn allocations_that_make_no_sense_are_refused() {
    let device = device();
    for (va, size, flags) in [
        (0x1000, 0, VRAM),
        (0x1001, PAGE, VRAM),
        (0x1000, u64::MAX, VRAM),
        (u64::MAX - PAGE + 1, PAGE, VRAM),
        (0x1000, PAGE, 0),
        (0x1000, PAGE, VRAM | alloc_flag::GTT),
        (0x1000, PAGE, alloc_flag::DOORBELL),
        (0x1000, 2 * PAGE, alloc_flag::MMIO_REMAP),
    ] {
        assert_eq!(
            allocate(&device, va, size, flags).unwrap_err(),
            libc::EINVAL,
            "{va:#x} {size:#x} {flags:#x}"
        );
    }
    let mut other_gpu =
        AllocMemory { va: 0x1000, size: PAGE, flags: VRAM, gpu_id: 1, ..AllocMemory::zeroed() };
    assert_eq!(call(&device, 0x16, &mut other_gpu), Err(libc::EINVAL));
    let fresh = Device::new(DeviceSpec::mi50()).unwrap();
    assert_eq!(allocate(&fresh, 0x1000, PAGE, VRAM).unwrap_err(), libc::ENODEV, "no VM acquired");
    assert_eq!(call(&fresh, 0x15, &mut AcquireVm { drm_fd: 0, gpu_id: GPU_ID }), Err(libc::EINVAL));
}

#[test]
fn mappings_may_not_overlap_and_report_how_far_they_came() {
    let device = device();
    let a = allocate(&device, 0x10_0000, 2 * PAGE, VRAM).unwrap();
    let b = allocate(&device, 0x10_1000, PAGE, VRAM).unwrap();
    map(&device, 0x18, a.handle).unwrap();
    assert_eq!(map(&device, 0x18, b.handle), Err(libc::EINVAL));
    assert_eq!(map(&device, 0x18, 0xdead), Err(libc::ENOMEM));
    let ids = [GPU_ID, 99];
    let mut args =
        MapMemory { handle: a.handle, device_ids_ptr: ids.as_ptr() as u64, n_devices: 2, n_success: 0 };
    assert_eq!(call(&device, 0x18, &mut args), Err(libc::EINVAL));
    assert_eq!(args.n_success, 1, "the first device is done");
    args.n_success = 3;
    assert_eq!(call(&device, 0x18, &mut args), Err(libc::EINVAL));
    args = MapMemory { n_devices: 1, n_success: 0, device_ids_ptr: 8, ..args };
    assert_eq!(call(&device, 0x18, &mut args), Err(libc::EFAULT));
}

#[test]
fn the_event_page_is_given_once_and_must_be_large_enough() {
    let device = device();
    let gtt = alloc_flag::GTT | alloc_flag::WRITABLE;
    let with_page = |handle| {
        let mut args = CreateEvent { event_page_offset: handle, ..CreateEvent::zeroed() };
        call(&device, 0x08, &mut args).map(|()| args)
    };
    let small = allocate(&device, 0x10_0000, PAGE, gtt).unwrap();
    assert_eq!(with_page(small.handle).unwrap_err(), libc::EINVAL);
    assert_eq!(with_page(1).unwrap_err(), libc::EINVAL);
    let page = allocate(&device, 0x20_0000, 8 * PAGE, gtt).unwrap();
    let first = with_page(page.handle).unwrap();
    assert_eq!((first.event_id, first.event_slot_index, first.event_trigger_data), (1, 1, 1));
    assert_eq!(with_page(page.handle).unwrap_err(), libc::EINVAL);
}

#[test]
fn wait_events_answers_complete_timeout_and_failure() {
    let device = device();
    let id = event(&device, event_type::SIGNAL, true).event_id;
    let wait = |timeout| {
        let mut data = [EventData { event_id: id, ..EventData::zeroed() }];
        let mut args = WaitEvents {
            events_ptr: data.as_mut_ptr() as u64,
            num_events: 1,
            wait_for_all: 1,
            timeout,
            wait_result: 9,
        };
        call(&device, 0x0c, &mut args).map(|()| args.wait_result)
    };
    assert_eq!(wait(0), Ok(wait_result::TIMEOUT));
    call(&device, 0x0a, &mut EventId { event_id: id, pad: 0 }).unwrap();
    assert_eq!(wait(0xffff_ffff), Ok(wait_result::COMPLETE));
    thread::scope(|scope| {
        let waiter = scope.spawn(|| wait(0xffff_fffe));
        thread::sleep(Duration::from_millis(20));
        assert!(!waiter.is_finished());
        call(&device, 0x09, &mut EventId { event_id: id, pad: 0 }).unwrap();
        assert_eq!(waiter.join().unwrap(), Err(libc::EIO));
    });
    assert_eq!(wait(0), Err(libc::EINVAL));
}

#[test]
fn queues_with_bad_properties_are_refused() {
    let device = device();
    let good = CreateQueue {
        ring_base_address: 0x10_0000,
        ring_size: 4096,
        read_pointer_address: 0x20_0080,
        write_pointer_address: 0x20_0038,
        gpu_id: GPU_ID,
        queue_type: queue_type::COMPUTE_AQL,
        queue_percentage: 100,
        queue_priority: 7,
        ..CreateQueue::zeroed()
    };
    for (errno, mut bad) in [
        (libc::EINVAL, CreateQueue { ring_size: 5000, ..good }),
        (libc::EINVAL, CreateQueue { queue_percentage: 101, ..good }),
        (libc::EINVAL, CreateQueue { queue_priority: 16, ..good }),
        (libc::EINVAL, CreateQueue { queue_type: 77, ..good }),
        (libc::EINVAL, CreateQueue { gpu_id: 0, ..good }),
        (libc::EFAULT, CreateQueue { ring_base_address: 1 << 60, ..good }),
        (libc::EFAULT, CreateQueue { read_pointer_address: 0, ..good }),
        (libc::EFAULT, CreateQueue { write_pointer_address: 1 << 60, ..good }),
    ] {
        assert_eq!(call(&device, 0x02, &mut bad), Err(errno), "{bad:x?}");
    }
    assert_eq!(call(&device, 0x03, &mut DestroyQueue { queue_id: 5, pad: 0 }), Err(libc::EINVAL));
    let words = [!0u32; 2];
    let mask = |num_cu_mask, cu_mask_ptr| {
        call(&device, 0x1a, &mut SetCuMask { queue_id: 5, num_cu_mask, cu_mask_ptr })
    };
    assert_eq!(mask(0, words.as_ptr() as u64), Err(libc::EINVAL));
    assert_eq!(mask(33, words.as_ptr() as u64), Err(libc::EINVAL));
    assert_eq!(mask(64, 16), Err(libc::EFAULT));
    assert_eq!(mask(64, words.as_ptr() as u64), Err(libc::EFAULT), "no such queue");
    assert!(device.recorder().masks().is_empty());
}

#[test]
fn failures_are_injected_and_everything_is_logged() {
    let device = device();
    device.recorder().clear_logs();
    device.recorder().fail(Failure { nr: 0x01, errno: libc::EIO, when: When::Nth(2) });
    let answers: Vec<_> = (0..3).map(|_| call(&device, 0x01, &mut GetVersion::zeroed())).collect();
    assert_eq!(answers, [Ok(()), Err(libc::EIO), Ok(())]);
    assert_eq!(call(&device, 0x1d, &mut [0u64; 3]), Err(libc::EINVAL));
    let (log, dropped) = device.recorder().ioctls();
    let seen: Vec<_> = log.iter().map(|r| (r.name, r.errno)).collect();
    let version = "GET_VERSION";
    assert_eq!(seen, [(version, 0), (version, libc::EIO), (version, 0), ("IMPORT_DMABUF", libc::EINVAL)]);
    assert_eq!(dropped, 0);
}

#[test]
fn drm_tells_what_libdrm_asks() {
    let device = device();
    let mut name = [0u8; 3];
    let mut version = DrmVersion { name_len: 3, name: name.as_mut_ptr() as u64, ..DrmVersion::zeroed() };
    call_on(&device, Node::Render, 0x00, &mut version).unwrap();
    assert_eq!((version.major, version.name_len, &name), (3, 6, b"amd"));
    let info = |query, arg, into: &mut [u8]| {
        let mut args =
            DrmInfo { return_pointer: into.as_mut_ptr() as u64, return_size: into.len() as u32, query, arg };
        call_on(&device, Node::Render, 0x45, &mut args)
    };
    let mut gpu = DrmDeviceInfo::zeroed();
    info(0x16, [0; 4], bytemuck::bytes_of_mut(&mut gpu)).unwrap();
    assert_eq!((gpu.cu_active_number, gpu.num_shader_engines, gpu.cu_bitmap[3][0]), (60, 4, 0x7fff));
    assert_eq!(info(0x15, [0, u32::MAX, 0, 0], &mut [0; 4]), Err(libc::EINVAL));
    info(0x15, [u32::MAX, 8, 0, 0], &mut [0; 4]).unwrap();
    assert_eq!(info(0x99, [0; 4], &mut [0; 4]), Err(libc::EINVAL));
    assert_eq!(device.ioctl(Node::Render, Request::word(b'K', 1, 8), 0).unwrap_err().0, libc::ENOTTY);
}

fn at_version(version: &str) -> Arc<Device> {
    let settings = Settings { kfd_version: version.parse().unwrap(), ..Settings::default() };
    Device::with_settings(DeviceSpec::mi50(), settings).unwrap()
}

#[test]
fn the_version_is_a_setting_and_ages_come_with_one_point_fourteen() {
    for (version, minor, ages) in
        [("auto", 11, false), ("1.11", 11, false), ("1.14", 14, true), ("1.18", 18, true)]
    {
        let device = at_version(version);
        let mut told = GetVersion::zeroed();
        call(&device, 0x01, &mut told).unwrap();
        assert_eq!((told.major, told.minor), (1, minor));
        let id = event(&device, event_type::SIGNAL, true).event_id;
        call(&device, 0x0a, &mut EventId { event_id: id, pad: 0 }).unwrap();
        let wait = |age: u64| {
            let mut data = [EventData { event_id: id, ..EventData::zeroed() }];
            data[0].payload[..8].copy_from_slice(&age.to_le_bytes());
            let events_ptr = data.as_mut_ptr() as u64;
            let mut args =
                WaitEvents { events_ptr, num_events: 1, wait_for_all: 1, timeout: 0, wait_result: 9 };
            call(&device, 0x0c, &mut args).unwrap();
            (args.wait_result, u64::from_le_bytes(data[0].payload[..8].try_into().unwrap()))
        };
        assert_eq!(wait(0), (wait_result::COMPLETE, 0), "the old rule");
        let expected = if ages { (wait_result::COMPLETE, 2) } else { (wait_result::TIMEOUT, 1) };
        assert_eq!(wait(1), expected, "{version}");
        assert_eq!(wait(2).0, wait_result::TIMEOUT);
    }
}

#[test]
fn what_newer_runtimes_call_first_is_answered() {
    let device = at_version("1.18");
    let enable = |mode_mask| {
        let mut args = RuntimeEnable { r_debug: 0x1000, mode_mask, capabilities: 9 };
        call(&device, 0x25, &mut args).map(|()| args.capabilities)
    };
    assert_eq!(
        [enable(1), enable(1), enable(0), enable(0), enable(3)],
        [Ok(0), Err(libc::EBUSY), Ok(0), Ok(0), Ok(0)]
    );
    let mut smi = SmiEvents { gpu_id: GPU_ID, anon_fd: 0 };
    call(&device, 0x1f, &mut smi).unwrap();
    let mask = 1u64;
    // SAFETY: a new descriptor, which is the caller's; a mask of eight bytes.
    unsafe {
        assert_eq!(libc::write(smi.anon_fd as i32, (&raw const mask).cast(), 8), 8);
        assert_eq!(libc::close(smi.anon_fd as i32), 0);
    }
    assert_eq!(call(&device, 0x1f, &mut SmiEvents { gpu_id: 1, anon_fd: 0 }), Err(libc::EINVAL));
    let mut memory = AvailableMemory { gpu_id: GPU_ID, ..AvailableMemory::zeroed() };
    call(&device, 0x23, &mut memory).unwrap();
    // A caller's structures may be older (88 bytes for CREATE_QUEUE) or newer than ours.
    for bytes in [88, 96, 128] {
        let mut args = vec![0u8; bytes];
        let word = Request::word(b'K', 0x02, bytes);
        assert_eq!(
            device.ioctl(Node::Kfd, word, args.as_mut_ptr() as u64),
            Err(Errno(libc::EINVAL)),
            "no GPU 0"
        );
    }
    for nr in [0x1c, 0x1d, 0x20, 0x22, 0x24, 0x26, 0x80, 0x81, 0x84, 0x85, 0xff] {
        assert_eq!(call(&device, nr, &mut [0u64; 8]), Err(libc::EINVAL), "{nr:#x}");
    }
}

#[test]
fn a_plan_lets_ioctls_fail_the_same_way_each_time() {
    let plan = "seed = 5\n[[rule]]\nioctl = \"any\"\nerrno = \"EIO\"\nchance = 0.25\n";
    let struck = || {
        let plan = Some(FaultPlan::parse(plan).unwrap());
        let settings = Settings { plan, ..Settings::default() };
        let device = Device::with_settings(DeviceSpec::mi50(), settings).unwrap();
        (0..200).map(|_| call(&device, 0x01, &mut GetVersion::zeroed()).is_err()).collect::<Vec<_>>()
    };
    let first = struck();
    assert_eq!(first, struck());
    assert!((25..75).contains(&first.iter().filter(|s| **s).count()));
}

#[test]
fn a_device_file_cannot_be_shrunk_below_the_device() {
    let device = device();
    for node in [Node::Kfd, Node::Render] {
        let fd = device.file(node).unwrap();
        // SAFETY: a system call on an open descriptor.
        let refused = unsafe { libc::ftruncate(std::os::fd::AsRawFd::as_raw_fd(&fd), 0) } != 0;
        assert!(refused, "{node:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Whatever a program sends, the answer is an errno and the device lives. Queues are left out: what the command
    /// processor makes of a ring in random memory is tested with it. Waits do not wait.
    #[test]
    fn hostile_arguments_are_answered(
        calls in proptest::collection::vec((0u32..0x90, proptest::collection::vec(any::<u8>(), 0..200), any::<bool>()), 1..20)
    ) {
        let device = device();
        for (nr, mut bytes, tiny) in calls {
            if tiny {
                bytes.iter_mut().for_each(|b| *b &= 3);
            }
            if nr == 0x0c && bytes.len() >= 20 {
                bytes[16..20].fill(0);
            }
            // Near misses reach further than noise: a known GPU, a handle that may exist, few flags.
            if tiny && nr == 0x16 && bytes.len() >= 40 {
                bytes[32..36].copy_from_slice(&GPU_ID.to_le_bytes());
            }
            if tiny && (0x17..0x1a).contains(&nr) && bytes.len() >= 8 {
                bytes[4..8].copy_from_slice(&GPU_ID.to_le_bytes());
                bytes[1..4].fill(0);
            }
            if nr == 0x02 {
                continue;
            }
            let word = Request::word(b'K', nr, bytes.len());
            let _ = device.ioctl(Node::Kfd, word, bytes.as_mut_ptr() as u64);
            let _ = device.ioctl(Node::Kfd, word, 0x10);
        }
        call(&device, 0x01, &mut GetVersion::zeroed()).unwrap();
    }
}

#[test]
fn absurd_counts_and_pointers_are_errors() {
    let device = device();
    let mut wait =
        WaitEvents { events_ptr: 0x10, num_events: u32::MAX, wait_for_all: 0, timeout: 0, wait_result: 0 };
    assert_eq!(call(&device, 0x0c, &mut wait), Err(libc::EINVAL));
    wait.num_events = 2;
    assert_eq!(call(&device, 0x0c, &mut wait), Err(libc::EFAULT));
    assert_eq!(device.ioctl(Node::Kfd, Request::word(b'K', 1, 8), 0).unwrap_err().0, libc::EFAULT);
    assert_eq!(device.ioctl(Node::Kfd, Request::word(b'K', 1, 8), u64::MAX - 3).unwrap_err().0, libc::EFAULT);
}

#[test]
fn many_threads_allocate_map_and_free_at_once() {
    let device = device();
    thread::scope(|scope| {
        for t in 1..=4u64 {
            let device = &device;
            scope.spawn(move || {
                for i in 0..200u64 {
                    let (va, bytes) = (t << 32, (i % 7 + 1) * PAGE);
                    let buffer = allocate(device, va, bytes, VRAM).unwrap();
                    map(device, 0x18, buffer.handle).unwrap();
                    let span = device.space().translate(va, bytes, Access::Write).unwrap();
                    // SAFETY: mapped, and no other thread has this buffer.
                    unsafe {
                        assert_eq!(span.at(va).cast::<u64>().read(), 0, "memory comes zeroed");
                        span.at(va).cast::<u64>().write(t);
                    }
                    let id = event(device, event_type::SIGNAL, true).event_id;
                    call(device, 0x09, &mut EventId { event_id: id, pad: 0 }).unwrap();
                    map(device, 0x19, buffer.handle).unwrap();
                    call(device, 0x17, &mut FreeMemory { handle: buffer.handle }).unwrap();
                }
            });
        }
    });
    assert_eq!(device.memory_used(), (0, 0));
}
