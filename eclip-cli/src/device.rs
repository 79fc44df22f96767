//! Which device this process uses: the GPU behind `/dev/kfd`, or the simulated one that is linked into this program.

use std::env;
use std::ops::Sub;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use eclip_hsa::{Agent, Runtime};
use kfd_sim::control;

/// The environment variable that decides.
const VARIABLE: &str = "ECLIP_DEVICE";

/// The device, and why it is that one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    simulated: bool,
    asked_for: bool,
}

impl Device {
    /// Decides, and switches the simulated machine on or off. To be called before the runtime is initialised.
    pub fn choose() -> Result<Self> {
        let wish = env::var_os(VARIABLE).unwrap_or_default();
        let (simulated, asked_for) = match wish.as_encoded_bytes() {
            b"sim" => (true, true),
            b"real" => (false, true),
            b"" => (control::is_on(), false),
            _ => bail!(
                "{VARIABLE} is {wish:?}: set it to `real` for the GPU behind /dev/kfd, to `sim` for the simulated one, or unset it"
            ),
        };
        if simulated {
            control::switch_on()
        } else {
            control::switch_off()
        }
        Ok(Self { simulated, asked_for })
    }

    /// Initialises ROCr and takes its first GPU.
    pub fn open(self) -> Result<Agent> {
        let hint = if self.simulated { "the simulated GPU" } else { "the GPU" };
        let runtime = Runtime::new().with_context(|| format!("cannot use {hint}"))?;
        Ok(runtime.gpu(0)?)
    }

    /// Whether it is the simulated GPU.
    pub fn is_simulated(self) -> bool {
        self.simulated
    }

    /// "simulated " or nothing: goes in front of every figure.
    pub fn prefix(self) -> &'static str {
        if self.simulated { "simulated " } else { "" }
    }

    /// The GPU's name. Says "simulated" if it is.
    pub fn name(self, gpu: &Agent) -> String {
        let product = gpu.product();
        match self.simulated && !product.contains("simulated") {
            true => format!("{product} (simulated)"),
            false => product.to_owned(),
        }
    }

    /// One line: what kind of device, and why.
    pub fn why(self) -> String {
        let kind = if self.simulated { "simulated GPU" } else { "GPU behind /dev/kfd" };
        let reason = match (self.asked_for, self.simulated) {
            (true, true) => "ECLIP_DEVICE=sim",
            (true, false) => "ECLIP_DEVICE=real",
            (false, true) => "this machine has no /dev/kfd",
            (false, false) => "ECLIP_DEVICE=sim would take the simulated one",
        };
        format!("{kind} ({reason})")
    }

    /// Host time that the simulated GPU's clock stood still because its interpreter could not keep up, and wave-instructions
    /// executed; none on hardware.
    pub fn simulation(self) -> Option<Simulation> {
        let device = self.simulated.then(control::device)?.ok()?;
        let stats = device.processor().stats();
        Some(Simulation { stalled: Duration::from_nanos(stats.stall_ns), instructions: stats.instructions })
    }
}

/// What simulating has cost so far. The difference of two is what it cost in between.
#[derive(Clone, Copy, Debug, Default)]
pub struct Simulation {
    /// Host time that the GPU's clock stood still.
    pub stalled: Duration,
    /// Wave-instructions executed.
    pub instructions: u64,
}

impl Sub for Simulation {
    type Output = Self;
    fn sub(self, earlier: Self) -> Self {
        Self {
            stalled: self.stalled - earlier.stalled,
            instructions: self.instructions - earlier.instructions,
        }
    }
}
