//! What a plan file says, as plain data: the shape of its TOML. Nothing here is checked; [`Plan::new`](super::Plan::new) does.

use serde::{Deserialize, Serialize};

/// The version of the format that this library writes, and the only one that it reads.
pub const VERSION: u32 = 1;

/// A plan file's contents.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanDocument {
    /// Version of the format: [`VERSION`].
    pub version: u32,
    /// Most CU switches of a worker in one request (the paper's *switchMax*). Exceeding it is counted, not prevented.
    #[serde(default)]
    pub switch_max: Option<u32>,
    /// The GPU that the plan was made for.
    pub device: PlanDevice,
    /// The pool's queues that the plan names.
    #[serde(default, rename = "queue")]
    pub queues: Vec<PlanQueue>,
    /// The workers.
    #[serde(default, rename = "worker")]
    pub workers: Vec<PlanWorker>,
}

/// The GPU that a plan was made for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanDevice {
    /// Marketing name, as ROCr gives it. Compared with the pool's only if it is given.
    #[serde(default)]
    pub product: Option<String>,
    /// Instruction set, as in `gfx906` or `gfx906:sramecc+:xnack-`. Features that are not named may be anything.
    pub isa: String,
    /// Accelerator complex dies.
    #[serde(default = "one")]
    pub xccs: u32,
    /// Shader engines of each XCC.
    pub shader_engines: u32,
    /// Shader arrays of each shader engine.
    #[serde(default = "one")]
    pub sh_per_se: u32,
    /// Active CUs of each shader array, by shader engine, then by array.
    pub cus_per_sh: Vec<u32>,
    /// Whether CUs come in pairs (gfx10 and later).
    #[serde(default)]
    pub wgp_pairs: bool,
}

/// A queue of the pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanQueue {
    /// Its label in the pool.
    pub label: String,
    /// Its CU mask as [`CuMask`](crate::CuMask) prints, `0x` and hexadecimal digits; none for every CU.
    #[serde(default)]
    pub mask: Option<String>,
    /// Allows a mask whose shader engines differ in their number of CUs: see [`MaskRules`](crate::MaskRules).
    #[serde(default)]
    pub unbalanced: bool,
}

/// One worker: a model that is served, request after request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanWorker {
    /// Its name.
    pub name: String,
    /// Label of the queue for kernels that the plan does not know; the policy `baseline` sends all kernels there.
    pub default: String,
    /// Label of the one queue that the policy `model-wise` sends all kernels to.
    #[serde(default)]
    pub model_wise: Option<String>,
    /// Kernels of one request: as many as `kernels` lists, if it is left out. Only where those go by name may it be more; the kernels that
    /// are not listed take the default queue.
    #[serde(default)]
    pub kernels_per_request: Option<u32>,
    /// Where each kernel goes. Either all have an index, and then none from 0 on is left out; or none has,
    /// and each has a name and an occurrence.
    #[serde(default)]
    pub kernels: Vec<PlanKernel>,
}

impl PlanWorker {
    /// Kernels of one request, whether the plan says how many or only lists them.
    pub fn kernels_of_a_request(&self) -> u32 {
        // A plan that was checked has no more than `MAX_KERNELS`.
        self.kernels_per_request.unwrap_or_else(|| self.kernels.len().try_into().unwrap_or(u32::MAX))
    }
}

/// Where one kernel of a request goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanKernel {
    /// Its index in the request, from 0.
    #[serde(default)]
    pub index: Option<u32>,
    /// Its name. With an index too, the name tells whether a request still is the one that was planned.
    #[serde(default)]
    pub kernel: Option<String>,
    /// How many kernels of this name come before it in the request. Follows from the order where there are indices.
    #[serde(default)]
    pub occurrence: Option<u32>,
    /// Label of the queue that the policy `eclip` takes.
    pub queue: String,
    /// Label of the queue of the fewest CUs without noticeable slowdown: `kw-stream` takes that queue, `kw-ioctl` its mask.
    #[serde(default)]
    pub right_size: Option<String>,
    /// Profiled time alone on `queue`, in microseconds: a note for people and tools.
    #[serde(default)]
    pub solo_us: Option<f64>,
}

fn one() -> u32 {
    1
}
