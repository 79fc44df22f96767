//! The demo's kernels, loaded from the checked-in code objects.

use anyhow::{Context, Result};
use eclip_hsa::{Agent, Kernel, Module};

/// Kernels on one GPU.
pub struct Kernels {
    /// Writes each workgroup's hardware id.
    pub probe: Kernel,
    /// Matrix product, tiled in LDS.
    pub matmul: Kernel,
    /// Adds a bias to each row.
    pub bias: Kernel,
    /// The same, then ReLU.
    pub bias_relu: Kernel,
    /// Softmax of each row.
    pub softmax: Kernel,
    /// Index of each row's largest value.
    pub argmax: Kernel,
}

impl Kernels {
    /// Loads them.
    pub fn load(gpu: &Agent) -> Result<Self> {
        let (probe, mlp) = (module(gpu, "probe")?, module(gpu, "mlp")?);
        Ok(Self {
            probe: probe.kernel("probe_hw_id")?,
            matmul: mlp.kernel("matmul_tiled")?,
            bias: mlp.kernel("bias")?,
            bias_relu: mlp.kernel("bias_relu")?,
            softmax: mlp.kernel("softmax")?,
            argmax: mlp.kernel("argmax")?,
        })
    }
}

fn module(gpu: &Agent, name: &str) -> Result<Module> {
    let isa = gpu.isa().context("this agent runs no code objects")?;
    let code = eclip_kernels::code_object(&isa.to_string(), name).with_context(|| {
        let built: Vec<&str> = eclip_kernels::isas().collect();
        format!("there are no code objects for {isa}, only for {}", built.join(", "))
    })?;
    // SAFETY: these kernels check their indices against the sizes that they are given. `mlp` gives them the sizes of its
    // buffers, `observe` a buffer of one word for each workgroup.
    Ok(unsafe { Module::from_bytes(gpu, name, code) }?)
}
