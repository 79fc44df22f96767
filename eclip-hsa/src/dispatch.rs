//! One kernel launch as data: kernel, grid, arguments. Checked as a whole before anything is reserved.

use crate::error::{Error, Result};
use crate::kernarg::{self, Geometry};
use crate::memory::{Buffer, BufferRef};
use crate::module::Kernel;
use crate::packet::KernelDispatch;

/// Scratch bytes that ROCr allows a work-item (`GpuAgent::QueueCreate` in its `amd_gpu_agent.cpp`).
const MAX_PRIVATE_BYTES: u32 = 262_128;

/// One kernel argument. Made from a buffer, a number, or bytes.
#[derive(Clone, Debug)]
pub enum Arg {
    /// A buffer, or the rest of one: the kernel gets its address.
    Buffer(BufferRef),
    /// A value, passed as these bytes.
    Value(Value),
    /// Bytes of dynamic LDS for a pointer to local memory.
    Lds(u32),
    /// Memory that this library did not allocate: the kernel gets its address. Made by [`Arg::foreign`].
    Foreign(Foreign),
}

/// The address of memory that this library did not allocate.
#[derive(Clone, Copy, Debug)]
pub struct Foreign(u64);

impl Foreign {
    pub(crate) fn address(self) -> u64 {
        self.0
    }
}

/// A by-value argument: numbers are kept inline.
#[derive(Clone, Debug)]
pub struct Value(Bytes);

#[derive(Clone, Debug)]
enum Bytes {
    Inline([u8; 8], u8),
    Heap(Box<[u8]>),
}

impl Value {
    /// The bytes.
    pub(crate) fn as_slice(&self) -> &[u8] {
        match &self.0 {
            Bytes::Inline(bytes, len) => &bytes[..usize::from(*len)],
            Bytes::Heap(bytes) => bytes,
        }
    }
}

impl Arg {
    /// Memory that something else in the process allocated, HIP for instance, for a pointer to global memory. The library does
    /// not keep it alive, nor know who else uses it: after the host or a copy engine wrote to it, call
    /// [`crate::Agent::note_host_write`].
    ///
    /// # Safety
    /// Until the work that has this argument is complete, `address` must be the beginning of memory that the GPU can reach, of
    /// the size and with the contents that the kernel expects there, and whatever else uses it must be ordered with the kernel.
    pub unsafe fn foreign(address: u64) -> Self {
        Self::Foreign(Foreign(address))
    }

    /// A value of any plain type, for structs and vectors passed by value.
    pub fn value<T: bytemuck::Pod>(value: &T) -> Self {
        let bytes = bytemuck::bytes_of(value);
        let mut inline = [0; 8];
        Self::Value(Value(match inline.get_mut(..bytes.len()) {
            Some(place) => {
                place.copy_from_slice(bytes);
                Bytes::Inline(inline, bytes.len() as u8)
            }
            None => Bytes::Heap(bytes.into()),
        }))
    }
}

impl<T> From<&Buffer<T>> for Arg {
    fn from(buffer: &Buffer<T>) -> Self {
        Self::Buffer(buffer.into())
    }
}

impl From<BufferRef> for Arg {
    fn from(buffer: BufferRef) -> Self {
        Self::Buffer(buffer)
    }
}

macro_rules! numbers {
    ($($number:ty)*) => { $(
        impl From<$number> for Arg {
            fn from(value: $number) -> Self {
                Self::value(&value)
            }
        }
    )* };
}
numbers!(u8 i8 u16 i16 u32 i32 u64 i64 f32 f64);

/// A kernel launch, not submitted yet. Made by [`Kernel::dispatch`].
#[derive(Clone, Debug)]
pub struct Dispatch {
    kernel: Kernel,
    grid: [u32; 3],
    workgroup: [u32; 3],
    args: Vec<Arg>,
    dynamic_lds: u32,
    private_bytes: Option<u32>,
    barrier: bool,
}

impl Dispatch {
    pub(crate) fn new(kernel: &Kernel, grid: [u32; 3], workgroup: [u32; 3]) -> Self {
        Self {
            kernel: kernel.clone(),
            grid,
            workgroup,
            args: Vec::new(),
            dynamic_lds: 0,
            private_bytes: None,
            barrier: false,
        }
    }

    /// Adds the next argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<Arg>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// LDS bytes of each workgroup beyond what the kernel declares.
    #[must_use]
    pub fn dynamic_lds(mut self, bytes: u32) -> Self {
        self.dynamic_lds = bytes;
        self
    }

    /// Scratch bytes of each work-item, at least what the kernel's code object says. Needed for kernels with a dynamic stack
    /// (recursion, calls through pointers), of which the compiler does not know how much they use.
    #[must_use]
    pub fn private_bytes(mut self, bytes: u32) -> Self {
        self.private_bytes = Some(bytes);
        self
    }

    /// Sets the packet's barrier bit: the kernel waits for everything submitted to the same queue before it. Without it,
    /// kernels of one queue may run side by side and complete in any order.
    #[must_use]
    pub fn barrier(mut self) -> Self {
        self.barrier = true;
        self
    }

    /// The kernel.
    pub fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    pub(crate) fn has_barrier(&self) -> bool {
        self.barrier
    }

    pub(crate) fn buffers(&self) -> impl Iterator<Item = &BufferRef> {
        self.args.iter().filter_map(|arg| match arg {
            Arg::Buffer(buffer) => Some(buffer),
            _ => None,
        })
    }

    /// Checks everything and appends the kernargs to `kernargs`, at a multiple of 64 bytes. The packet fields lack
    /// kernarg address (the offset is returned) and completion signal.
    pub(crate) fn prepare(&self, kernargs: &mut Vec<u8>) -> Result<(KernelDispatch, usize)> {
        let workgroup = self.check_geometry()?;
        for buffer in self.buffers() {
            if !buffer.block.agent().is(self.kernel.agent()) {
                return Err(Error::WrongAgent {
                    what: "a buffer",
                    made_for: buffer.block.agent().to_string(),
                    used_on: self.kernel.agent().to_string(),
                });
            }
        }
        let mut inline = [kernarg::Arg::Lds(0); 16];
        let heap: Vec<kernarg::Arg<'_>>;
        let given: &[kernarg::Arg<'_>] = match inline.get_mut(..self.args.len()) {
            Some(place) => {
                place.iter_mut().zip(&self.args).for_each(|(to, from)| *to = lower(from));
                place
            }
            None => {
                heap = self.args.iter().map(lower).collect();
                &heap
            }
        };
        let layout = self.kernel.layout();
        let offset = kernargs.len().next_multiple_of(64);
        kernargs.resize(offset + layout.size(), 0);
        let geometry = Geometry { grid: self.grid, workgroup, dynamic_lds: self.dynamic_lds };
        let lds = layout.pack(given, &geometry, &mut kernargs[offset..])?;
        let available = self.kernel.agent().lds_bytes();
        if lds > available {
            return Err(
                self.geometry_error(format!("{lds} bytes of LDS a workgroup, but the GPU has {available}"))
            );
        }
        let meta = self.kernel.meta();
        if meta.uses_dynamic_stack && self.private_bytes.is_none() {
            return Err(self.geometry_error(
                "it has a dynamic stack, of unknown size: say how many bytes of scratch a work-item needs with \
                 Dispatch::private_bytes"
                    .into(),
            ));
        }
        let private = self.private_bytes.unwrap_or(0).max(meta.private_segment_fixed_size);
        if private > MAX_PRIVATE_BYTES {
            return Err(self.geometry_error(format!(
                "{private} bytes of scratch a work-item, but ROCr gives at most {MAX_PRIVATE_BYTES}"
            )));
        }
        let agent = self.kernel.agent();
        let scratch = agent.scratch_bytes_per_lane_byte().map(|each| each * u64::from(private));
        if scratch.is_some_and(|bytes| bytes > agent.memory_bytes()) {
            return Err(self.geometry_error(format!(
                "{private} bytes of scratch a work-item are {} MiB for the whole GPU, which has {} MiB",
                scratch.unwrap_or(0) >> 20,
                agent.memory_bytes() >> 20
            )));
        }
        let fields = KernelDispatch {
            workgroup_size: workgroup,
            grid_size: self.grid,
            private_segment_size: private,
            group_segment_size: lds,
            kernel_object: self.kernel.object(),
            ..Default::default()
        };
        Ok((fields, offset))
    }

    fn check_geometry(&self) -> Result<[u16; 3]> {
        let (agent, meta) = (self.kernel.agent(), self.kernel.meta());
        let (grid, workgroup) = (self.grid, self.workgroup);
        if grid.contains(&0) || workgroup.contains(&0) {
            return Err(self.geometry_error(format!(
                "grid {grid:?} in workgroups of {workgroup:?} has a size of zero: every size must be at least 1"
            )));
        }
        let most = agent.max_workgroup_dims();
        if (0..3).any(|axis| workgroup[axis] > u32::from(most[axis])) {
            return Err(
                self.geometry_error(format!("workgroup {workgroup:?} is larger than the GPU's {most:?}"))
            );
        }
        let items: u64 = workgroup.iter().map(|&n| u64::from(n)).product();
        let limit = meta.max_flat_workgroup_size.min(agent.max_workgroup_size());
        if items > u64::from(limit) {
            return Err(self.geometry_error(format!(
                "a workgroup of {workgroup:?} has {items} work-items, but the kernel was compiled for at most {limit}"
            )));
        }
        if let Some(required) = meta.reqd_workgroup_size.filter(|&required| required != workgroup) {
            return Err(self.geometry_error(format!(
                "workgroup {workgroup:?}, but the kernel was compiled for {required:?} exactly"
            )));
        }
        if (0..3).any(|axis| grid[axis] < workgroup[axis]) {
            return Err(self.geometry_error(format!(
                "grid {grid:?} is smaller than one workgroup {workgroup:?}: AQL counts grids in work-items, not in workgroups"
            )));
        }
        let most = agent.max_grid_dims();
        if (0..3).any(|axis| grid[axis] > most[axis]) {
            return Err(self.geometry_error(format!("grid {grid:?} is larger than the GPU's {most:?}")));
        }
        let items: u128 = grid.iter().map(|&n| u128::from(n)).product();
        if items > u128::from(agent.max_grid_size()) {
            return Err(self.geometry_error(format!(
                "grid {grid:?} has {items} work-items in all, but the GPU takes {} (HSA_AGENT_INFO_GRID_MAX_SIZE)",
                agent.max_grid_size()
            )));
        }
        Ok(workgroup.map(|n| n as u16))
    }

    fn geometry_error(&self, problem: String) -> Error {
        Error::Geometry { kernel: self.kernel.name().to_owned(), problem }
    }
}

impl Kernel {
    /// A dispatch of this kernel with `grid` work-items in workgroups of `workgroup`, both in x, y, z, still without
    /// arguments. What is wrong with it is said when it is submitted.
    pub fn dispatch(&self, grid: [u32; 3], workgroup: [u32; 3]) -> Dispatch {
        Dispatch::new(self, grid, workgroup)
    }
}

fn lower(arg: &Arg) -> kernarg::Arg<'_> {
    match arg {
        Arg::Buffer(buffer) => kernarg::Arg::Buffer(buffer.address()),
        Arg::Value(value) => kernarg::Arg::Value(value.as_slice()),
        Arg::Lds(bytes) => kernarg::Arg::Lds(*bytes),
        Arg::Foreign(foreign) => kernarg::Arg::Buffer(foreign.address()),
    }
}
