//! The few functions of ROCr that these tests call, found at run time, on the simulated machine.

use kfd_sim::control::{self, MemoryModel};
use libloading::{Library, Symbol};
use std::ffi::{CString, c_char, c_void};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// `hsa_status_t`.
pub type Status = u32;
/// `hsa_agent_t`, `hsa_signal_t`, `hsa_amd_memory_pool_t`: one 64-bit handle each.
pub type Handle = u64;

/// `hsa_queue_t`.
#[repr(C)]
pub struct Queue {
    pub kind: u32,
    pub features: u32,
    pub base: *mut u8,
    pub doorbell: Handle,
    pub size: u32,
    pub reserved: u32,
    pub id: u64,
}

/// ROCr, loaded into this process for good: its threads may outlive a test. Not initialised.
pub struct Rocr(&'static Library);

macro_rules! functions {
    ($($name:ident($($arg:ident: $type:ty),*) -> $ret:ty;)*) => {$(
        pub fn $name(&self $(, $arg: $type)*) -> $ret {
            let name = concat!(stringify!($name), "\0");
            // SAFETY: the type is that of hsa.h or hsa_ext_amd.h; the tests pass what those ask for.
            unsafe {
                let function: Symbol<unsafe extern "C" fn($($type),*) -> $ret> =
                    self.0.get(name.as_bytes()).expect(stringify!($name));
                function($($arg),*)
            }
        }
    )*};
}

type EachHandle = unsafe extern "C" fn(Handle, *mut c_void) -> Status;
type QueueError = unsafe extern "C" fn(Status, *mut Queue, *mut c_void);
type SystemEvent = unsafe extern "C" fn(*const u64, *mut c_void) -> Status;

#[allow(clippy::too_many_arguments, dead_code)] // each test file uses some of them
impl Rocr {
    functions! {
        hsa_init() -> Status;
        hsa_shut_down() -> Status;
        hsa_iterate_agents(each: EachHandle, data: *mut c_void) -> Status;
        hsa_agent_get_info(agent: Handle, what: u32, into: *mut c_void) -> Status;
        hsa_amd_agent_iterate_memory_pools(agent: Handle, each: EachHandle, data: *mut c_void) -> Status;
        hsa_amd_memory_pool_get_info(pool: Handle, what: u32, into: *mut c_void) -> Status;
        hsa_amd_memory_pool_allocate(pool: Handle, bytes: usize, flags: u32, into: *mut *mut c_void) -> Status;
        hsa_amd_memory_pool_free(memory: *mut c_void) -> Status;
        hsa_amd_agents_allow_access(count: u32, agents: *const Handle, flags: *const u32, memory: *const c_void) -> Status;
        hsa_amd_memory_async_copy(to: *mut c_void, to_agent: Handle, from: *const c_void, from_agent: Handle,
            bytes: usize, dependencies: u32, signals: *const Handle, done: Handle) -> Status;
        hsa_amd_memory_fill(to: *mut c_void, value: u32, words: usize) -> Status;
        hsa_memory_copy(to: *mut c_void, from: *const c_void, bytes: usize) -> Status;
        hsa_signal_create(value: i64, count: u32, agents: *const Handle, into: *mut Handle) -> Status;
        hsa_signal_destroy(signal: Handle) -> Status;
        hsa_signal_store_screlease(signal: Handle, value: i64) -> ();
        hsa_signal_wait_scacquire(signal: Handle, condition: u32, value: i64, timeout: u64, state: u32) -> i64;
        hsa_queue_create(agent: Handle, size: u32, kind: u32, callback: Option<QueueError>, data: *mut c_void,
            private: u32, group: u32, into: *mut *mut Queue) -> Status;
        hsa_queue_destroy(queue: *mut Queue) -> Status;
        hsa_queue_inactivate(queue: *mut Queue) -> Status;
        hsa_amd_memory_lock(memory: *mut c_void, bytes: usize, agents: *const Handle, count: u32,
            on_gpu: *mut *mut c_void) -> Status;
        hsa_queue_add_write_index_screlease(queue: *const Queue, value: u64) -> u64;
        hsa_amd_queue_cu_set_mask(queue: *const Queue, bits: u32, mask: *const u32) -> Status;
        hsa_amd_profiling_set_profiler_enabled(queue: *mut Queue, on: i32) -> Status;
        hsa_amd_profiling_get_dispatch_time(agent: Handle, signal: Handle, into: *mut [u64; 2]) -> Status;
        hsa_code_object_reader_create_from_memory(bytes: *const c_void, size: usize, into: *mut Handle) -> Status;
        hsa_executable_create_alt(profile: u32, rounding: u32, options: *const c_char, into: *mut Handle) -> Status;
        hsa_executable_load_agent_code_object(executable: Handle, agent: Handle, reader: Handle,
            options: *const c_char, loaded: *mut Handle) -> Status;
        hsa_executable_freeze(executable: Handle, options: *const c_char) -> Status;
        hsa_executable_get_symbol_by_name(executable: Handle, name: *const c_char, agent: *const Handle,
            into: *mut Handle) -> Status;
        hsa_executable_symbol_get_info(symbol: Handle, what: u32, into: *mut c_void) -> Status;
        hsa_executable_destroy(executable: Handle) -> Status;
        hsa_code_object_reader_destroy(reader: Handle) -> Status;
        hsa_amd_register_system_event_handler(handler: SystemEvent, data: *mut c_void) -> Status;
    }

    /// Loads a code object from the repository's `kernels/bin/gfx906` and returns the kernel object of one of its kernels.
    pub fn kernel(&self, file: &str, kernel: &str) -> u64 {
        self.load_kernel(file, kernel).0
    }

    /// As [`Rocr::kernel`]; also returns the executable and the reader, to be destroyed.
    pub fn load_kernel(&self, file: &str, kernel: &str) -> (u64, Handle, Handle) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernels/bin/gfx906").join(file);
        // The runtime keeps pointing into it.
        let bytes = Box::leak(
            std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).into_boxed_slice(),
        );
        let (mut reader, mut executable, mut symbol, mut object) = (0, 0, 0, 0u64);
        let (gpu, name) = (self.gpu(), CString::new(format!("{kernel}.kd")).unwrap());
        let bytes = (bytes.as_ptr().cast(), bytes.len());
        assert_eq!(self.hsa_code_object_reader_create_from_memory(bytes.0, bytes.1, &raw mut reader), 0);
        assert_eq!(self.hsa_executable_create_alt(0, 0, std::ptr::null(), &raw mut executable), 0);
        let none = (std::ptr::null(), std::ptr::null_mut());
        assert_eq!(self.hsa_executable_load_agent_code_object(executable, gpu, reader, none.0, none.1), 0);
        assert_eq!(self.hsa_executable_freeze(executable, std::ptr::null()), 0);
        assert_eq!(
            self.hsa_executable_get_symbol_by_name(executable, name.as_ptr(), &gpu, &raw mut symbol),
            0
        );
        assert_eq!(self.hsa_executable_symbol_get_info(symbol, 22, (&raw mut object).cast()), 0);
        (object, executable, reader)
    }

    /// Loads ROCr with the simulated machine switched on, strict about fences; `None`, with the reason printed, where it is not installed.
    pub fn load() -> Option<Self> {
        control::switch_on();
        if std::env::var_os("KFD_SIM_MEMORY").is_none() {
            device().processor().set_memory_model(MemoryModel::Strict).unwrap();
        }
        // Nothing in these tests takes long: a hang ends the program instead of the patience of whoever runs it.
        // SAFETY: a plain system call.
        unsafe { libc::alarm(120) };
        // SAFETY: ROCr's initialisers are as sound as the system's package.
        match unsafe { Library::new("libhsa-runtime64.so.1") } {
            Ok(library) => Some(Self(Box::leak(Box::new(library)))),
            Err(why) => {
                eprintln!("skipped: libhsa-runtime64.so.1: {why}");
                None
            }
        }
    }

    /// The GPU that ROCr sees.
    pub fn gpu(&self) -> Handle {
        self.agents().into_iter().find(|a| self.info::<u32>(*a, 17) == 1).expect("a GPU agent")
    }

    /// The CPU that ROCr sees.
    pub fn cpu(&self) -> Handle {
        self.agents().into_iter().find(|a| self.info::<u32>(*a, 17) == 0).expect("a CPU agent")
    }

    fn agents(&self) -> Vec<Handle> {
        let mut agents: Vec<Handle> = Vec::new();
        assert_eq!(self.hsa_iterate_agents(collect, (&raw mut agents).cast()), 0);
        agents
    }

    /// An attribute of an agent.
    pub fn info<T: Default>(&self, agent: Handle, what: u32) -> T {
        let mut value = T::default();
        assert_eq!(self.hsa_agent_get_info(agent, what, (&raw mut value).cast()), 0, "{what:#x}");
        value
    }

    /// HSA_AGENT_INFO_NAME: 64 bytes, padded with zeroes.
    pub fn name(&self, agent: Handle) -> String {
        let name: [[u8; 32]; 2] = self.info(agent, 0);
        String::from_utf8_lossy(name.as_flattened()).trim_end_matches('\0').into()
    }

    /// The first pool of an agent with these global flags.
    pub fn pool(&self, agent: Handle, flags: u32) -> Handle {
        let mut pools: Vec<Handle> = Vec::new();
        assert_eq!(self.hsa_amd_agent_iterate_memory_pools(agent, collect, (&raw mut pools).cast()), 0);
        let get = |pool, what| {
            let mut value = 0u32;
            assert_eq!(self.hsa_amd_memory_pool_get_info(pool, what, (&raw mut value).cast()), 0);
            value
        };
        pools.into_iter().find(|p| get(*p, 0) == 0 && get(*p, 1) & flags == flags).expect("such a pool")
    }

    /// Memory from a pool, visible to the GPU.
    pub fn allocate(&self, pool: Handle, bytes: usize) -> *mut c_void {
        let mut memory = std::ptr::null_mut();
        assert_eq!(self.hsa_amd_memory_pool_allocate(pool, bytes, 0, &raw mut memory), 0);
        let gpu = [self.gpu()];
        assert_eq!(self.hsa_amd_agents_allow_access(1, gpu.as_ptr(), std::ptr::null(), memory), 0);
        memory
    }

    /// A signal.
    pub fn signal(&self, value: i64) -> Handle {
        let mut signal = 0;
        assert_eq!(self.hsa_signal_create(value, 0, std::ptr::null(), &raw mut signal), 0);
        signal
    }

    /// Waits up to ten seconds for a signal to fall below `value`; returns what it is.
    pub fn wait_below(&self, signal: Handle, value: i64) -> i64 {
        let seconds = std::time::Instant::now();
        loop {
            let now = self.hsa_signal_wait_scacquire(signal, 2, value, 100_000_000, 0);
            if now < value || seconds.elapsed().as_secs() >= 10 {
                return now;
            }
        }
    }

    /// The value of a signal, without waiting for anything.
    pub fn wait_now(&self, signal: Handle) -> i64 {
        self.hsa_signal_wait_scacquire(signal, 1, i64::MIN, 0, 0)
    }

    /// An AQL queue.
    pub fn queue(&self, size: u32) -> Result<*mut Queue, Status> {
        let mut queue = std::ptr::null_mut();
        let none = std::ptr::null_mut();
        match self.hsa_queue_create(self.gpu(), size, 0, None, none, u32::MAX, u32::MAX, &raw mut queue) {
            0 => Ok(queue),
            status => Err(status),
        }
    }

    /// Puts a kernel dispatch of one workgroup into a queue and rings its doorbell.
    ///
    /// # Safety
    /// `queue` is alive, has room, and this is its only producer.
    pub unsafe fn dispatch(
        &self,
        queue: *mut Queue,
        kernel_object: u64,
        kernarg: *const c_void,
        done: Handle,
    ) {
        // SAFETY: by this function's contract.
        unsafe { self.dispatch_with(queue, 0, kernel_object, kernarg, done) };
    }

    /// As [`Rocr::dispatch`], with further bits of the header.
    ///
    /// # Safety
    /// As there.
    pub unsafe fn dispatch_with(
        &self,
        queue: *mut Queue,
        bits: u32,
        kernel_object: u64,
        kernarg: *const c_void,
        done: Handle,
    ) {
        let index = self.hsa_queue_add_write_index_screlease(queue, 1);
        // SAFETY: the slot lies in the ring and is free by contract.
        unsafe {
            let slot = (*queue).base.add((index % u64::from((*queue).size)) as usize * 64).cast::<u32>();
            // One-dimensional, 64 work-items in a workgroup and in all.
            let words = [0, 64 | (1 << 16), 1, 64, 1, 1, 0, 0];
            slot.copy_from_nonoverlapping(words.as_ptr(), words.len());
            let pointers = [kernel_object, kernarg as u64, 0, done];
            slot.add(8).cast::<u64>().copy_from_nonoverlapping(pointers.as_ptr(), pointers.len());
            // Kernel dispatch, acquire and release at system scope; one dimension.
            let header = bits | 2 | (2 << 9) | (2 << 11) | (1 << 16);
            // Release: the packet processor's acquire load of the header sees the rest of the packet.
            (*slot.cast::<AtomicU32>()).store(header, Ordering::Release);
            self.hsa_signal_store_screlease((*queue).doorbell, index as i64);
        }
    }

    /// Copies between memory of the host and of the GPU, and waits.
    pub fn copy(&self, to: *mut c_void, from: *const c_void, bytes: usize) {
        let done = self.signal(1);
        let (gpu, none) = (self.gpu(), std::ptr::null());
        assert_eq!(self.hsa_amd_memory_async_copy(to, gpu, from, self.cpu(), bytes, 0, none, done), 0);
        assert_eq!(self.wait_below(done, 1), 0, "the copy of {bytes} bytes does not end");
        assert_eq!(self.hsa_signal_destroy(done), 0);
    }
}

unsafe extern "C" fn collect(handle: Handle, into: *mut c_void) -> Status {
    // SAFETY: every caller here passes a Vec<Handle>.
    unsafe { &mut *into.cast::<Vec<Handle>>() }.push(handle);
    0
}

/// The device behind ROCr.
pub fn device() -> Arc<control::Device> {
    control::device().unwrap()
}
