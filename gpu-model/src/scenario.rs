//! What to run: kernels, queues with masks, workers. Pure data, read from TOML.
//!
//! ```toml
//! device = "mi50"            # a shipped device; `eclip model run --device` overrides it
//! seed = 1                   # draws the costs of SET_CU_MASK
//! duration_us = 20000        # closed loops start requests this long, and are counted from warmup_us on
//! warmup_us = 2000
//! include = ["traces/a.toml"] # files with `kernels` of their own, relative to this one
//!
//! [set]                      # constants of the device to change
//! "compute.interference" = 0.1
//!
//! [kernels.gemm]             # a kernel: see `Kernel` for all fields
//! workgroups = 480
//! waves = 4
//! registers = 84
//! lds_bytes = 16384
//! issue_ns = 2500.0          # issue time of each wave
//! bytes = 65536.0            # moved by each workgroup
//!
//! [queues.left]              # mask: "all", "0x..." in KFD's bit order, "se0,se1", or CU numbers "0-29"
//! mask = "se0,se1"
//!
//! [[workers]]
//! queue = "left"
//! kernels = [{ kernel = "gemm", times = 3 }]
//! in_flight = 1              # requests submitted at once
//! # requests = 10            # so many, instead of a closed loop for `duration_us`
//! # start_us = 0
//! ```
//!
//! A worker's kernels run one after another. One that names another `queue` than its predecessor gets a barrier-AND packet in
//! front; one that names a `mask` has it set on its queue first, by a host that waits for the predecessor and the call.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::device::Device;
use crate::error::ModelError;
use crate::kernel::Kernel;
use crate::mask::Mask;

/// What is run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scenario {
    /// What it shows; for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub about: String,
    /// Name of a shipped device; `mi50` if empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub device: String,
    /// Decides what is drawn at random.
    pub seed: u64,
    /// How long closed loops start requests, us of GPU time.
    pub duration_us: f64,
    /// Requests that start earlier are not counted, us.
    pub warmup_us: f64,
    /// Further files with kernels.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub include: Vec<String>,
    /// Constants of the device to change, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<String, f64>,
    /// By name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub kernels: BTreeMap<String, Kernel>,
    /// By name.
    pub queues: BTreeMap<String, QueueSpec>,
    /// Who submits what.
    pub workers: Vec<Worker>,
}

/// A queue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueueSpec {
    /// See [`Mask::parse`].
    pub mask: String,
}

/// A sequence of kernels, again and again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Worker {
    /// For people.
    #[serde(default)]
    pub name: String,
    /// Where its kernels go that name no queue.
    pub queue: String,
    /// One request, in order.
    pub kernels: Vec<Step>,
    /// Requests in the queue at once.
    #[serde(default = "one")]
    pub in_flight: u32,
    /// How many requests; `None` = as many as it can for the scenario's duration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<u64>,
    /// When it begins, us.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub start_us: f64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_nothing(value: &f64) -> bool {
    *value == 0.0
}

fn one() -> u32 {
    1
}

/// A kernel of a request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Its name among the scenario's kernels.
    pub kernel: String,
    /// So many times in a row; 0 counts as 1.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub times: u32,
    /// Where it goes; `None` = the worker's queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// A mask to set on its queue first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(times: &u32) -> bool {
    *times == 0
}

impl Scenario {
    /// Reads a scenario. `name` is for messages; `read` gives the text of an included file.
    pub fn parse(
        name: &str,
        text: &str,
        mut read: impl FnMut(&str) -> Result<String, String>,
    ) -> Result<Self, ModelError> {
        let wrong = |what: String| ModelError::Scenario(what);
        let mut scenario: Self = toml::from_str(text).map_err(|error| wrong(format!("{name}: {error}")))?;
        for file in std::mem::take(&mut scenario.include) {
            let text = read(&file).map_err(|error| wrong(format!("{name} includes {file}: {error}")))?;
            let part: Included = toml::from_str(&text).map_err(|error| wrong(format!("{file}: {error}")))?;
            for (kernel, value) in part.kernels {
                if scenario.kernels.insert(kernel.clone(), value).is_some() {
                    return Err(wrong(format!("kernel {kernel} of {file} is there already: rename one")));
                }
            }
        }
        for (name, kernel) in &mut scenario.kernels {
            kernel.name.clone_from(name);
        }
        Ok(scenario)
    }

    /// The device, with the scenario's changes.
    pub fn device(&self) -> Result<Device, ModelError> {
        self.adjust(Device::named(if self.device.is_empty() { "mi50" } else { &self.device })?)
    }

    /// `device` with the scenario's changes.
    pub fn adjust(&self, mut device: Device) -> Result<Device, ModelError> {
        for (constant, value) in &self.set {
            device.set(constant, *value)?;
        }
        Ok(device)
    }

    /// Whether it can be run on `device`.
    pub fn check(&self, device: &Device) -> Result<(), ModelError> {
        let wrong = |what: String| Err(ModelError::Scenario(what));
        if self.workers.is_empty() {
            return wrong("has no [[workers]]: nothing would run".to_owned());
        }
        let times = [("duration_us", self.duration_us), ("warmup_us", self.warmup_us)];
        for (name, value) in times {
            if !value.is_finite() || !(0.0..=1e9).contains(&value) {
                return wrong(format!("{name} is {value}: must be 0 to 1e9"));
            }
        }
        for (name, kernel) in &self.kernels {
            let named = Kernel { name: name.clone(), ..kernel.clone() };
            named.cost(device)?;
        }
        for queue in self.queues.values() {
            Mask::parse(device, &queue.mask)?;
        }
        for (index, worker) in self.workers.iter().enumerate() {
            let title = worker.title(index);
            if worker.kernels.is_empty() {
                return wrong(format!("worker {title} has no kernels"));
            }
            if worker.requests.is_none() && self.duration_us <= self.warmup_us {
                return wrong(format!(
                    "worker {title} runs in a closed loop: give it `requests`, or make duration_us more than warmup_us"
                ));
            }
            if worker.in_flight == 0 || worker.requests == Some(0) {
                return wrong(format!("worker {title}: in_flight and requests must be at least 1"));
            }
            if !worker.start_us.is_finite() || worker.start_us < 0.0 {
                return wrong(format!("worker {title}: start_us is {}: must be 0 or more", worker.start_us));
            }
            for step in &worker.kernels {
                if !self.kernels.contains_key(&step.kernel) {
                    return wrong(format!(
                        "worker {title} runs kernel {}, which is not defined",
                        step.kernel
                    ));
                }
                if let Some(mask) = &step.mask {
                    Mask::parse(device, mask)?;
                    if worker.in_flight > 1 {
                        return wrong(format!(
                            "worker {title} sets masks between kernels: in_flight must be 1"
                        ));
                    }
                }
            }
            let queues = worker.kernels.iter().filter_map(|step| step.queue.as_ref()).chain([&worker.queue]);
            for queue in queues {
                if !self.queues.contains_key(queue) {
                    return wrong(format!("worker {title} uses queue {queue}, which is not defined"));
                }
            }
        }
        Ok(())
    }
}

impl Worker {
    /// Its name, or its number.
    pub fn title(&self, index: usize) -> String {
        if self.name.is_empty() { format!("{index}") } else { self.name.clone() }
    }
}

/// What an included file may hold.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Included {
    kernels: BTreeMap<String, Kernel>,
}
