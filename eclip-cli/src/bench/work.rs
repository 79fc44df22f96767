//! What every contender launches: one small kernel with four arguments, the same code object, grid and buffers for all.

use std::ffi::c_void;

use anyhow::{Context, Result};
use eclip_hsa::{Agent, Buffer, Dispatch, Kernel, Module};
use eclip_peers::c_loop::Launch;

/// Work-items of the grid, and of its one workgroup: one wavefront on AMD's GPUs before RDNA.
const ITEMS: u16 = 64;
const ALPHA: f32 = 0.5;

/// The kernel `saxpy` on 64 elements.
pub struct Saxpy {
    code: &'static [u8],
    kernel: Kernel,
    x: Buffer<f32>,
    y: Buffer<f32>,
    kernargs: Buffer<u8>,
}

/// Arguments as HIP wants them: the addresses of their values.
pub struct HipArguments {
    alpha: f32,
    x: u64,
    y: u64,
    n: u32,
}

impl Saxpy {
    /// Loads the kernel and prepares its arguments.
    pub fn new(gpu: &Agent) -> Result<Self> {
        let isa = gpu.isa().context("this agent runs no code objects")?.to_string();
        let code = eclip_kernels::code_object(&isa, "vector")
            .with_context(|| format!("kernels/bin has nothing for {isa}"))?;
        // SAFETY: the kernel checks its index against n, the length of both buffers below.
        let kernel = unsafe { Module::from_bytes(gpu, "vector", code)? }.kernel("saxpy")?;
        let zeros = [0f32; ITEMS as usize];
        let (x, y) = (gpu.upload(&zeros)?, gpu.upload(&zeros)?);
        let kernargs = gpu.alloc_host::<u8>(kernel.layout().size())?;
        {
            use eclip_hsa::kernarg::{Arg, Geometry};
            let (alpha, n) = (ALPHA.to_le_bytes(), u32::from(ITEMS).to_le_bytes());
            let arguments =
                [Arg::Value(&alpha), Arg::Buffer(x.address()), Arg::Buffer(y.address()), Arg::Value(&n)];
            let geometry =
                Geometry { grid: [u32::from(ITEMS), 1, 1], workgroup: [ITEMS, 1, 1], dynamic_lds: 0 };
            kernel.layout().pack(&arguments, &geometry, &mut kernargs.map_mut()?)?;
        }
        Ok(Self { code, kernel, x, y, kernargs })
    }

    /// As this library launches it.
    pub fn dispatch(&self) -> Dispatch {
        let items = u32::from(ITEMS);
        let dispatch = self.kernel.dispatch([items, 1, 1], [items, 1, 1]);
        dispatch.arg(ALPHA).arg(&self.x).arg(&self.y).arg(items)
    }

    /// As the C loop launches it. Valid as long as `self`.
    pub fn launch(&self) -> Launch {
        let meta = self.kernel.meta();
        Launch {
            kernel_object: self.kernel.object(),
            kernarg_address: self.kernargs.address(),
            grid: [u32::from(ITEMS), 1, 1],
            workgroup: [ITEMS, 1, 1],
            dimensions: 1,
            private_segment_size: meta.private_segment_fixed_size,
            group_segment_size: meta.group_segment_fixed_size,
        }
    }

    /// The code object that has it, for a runtime that loads it again.
    pub fn code(&self) -> &'static [u8] {
        self.code
    }

    /// Work-items of the one workgroup.
    pub fn items(&self) -> u32 {
        u32::from(ITEMS)
    }

    /// As HIP launches it. Valid as long as `self`.
    pub fn hip_arguments(&self) -> HipArguments {
        HipArguments { alpha: ALPHA, x: self.x.address(), y: self.y.address(), n: u32::from(ITEMS) }
    }
}

impl HipArguments {
    /// The addresses of the values, in order.
    pub fn pointers(&self) -> [*const c_void; 4] {
        [
            std::ptr::from_ref(&self.alpha).cast(),
            std::ptr::from_ref(&self.x).cast(),
            std::ptr::from_ref(&self.y).cast(),
            std::ptr::from_ref(&self.n).cast(),
        ]
    }
}
