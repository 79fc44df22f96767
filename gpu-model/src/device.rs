//! A GPU as the model knows it: shape, rates, latencies, watts, each constant with its source.
//!
//! Read from a TOML text in which each section below is a table and each constant `{ value = ..., source = "..." }`. Pure data.

use serde::{Deserialize, Serialize};

use crate::constant::Constant;
use crate::error::ModelError;

macro_rules! section {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $field:ident,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name { $($(#[$doc])* pub $field: Constant,)* }
        impl $name {
            fn constants(&self) -> Vec<(&'static str, &Constant)> { vec![$((stringify!($field), &self.$field),)*] }
            fn constant_mut(&mut self, name: &str) -> Option<&mut Constant> {
                match name { $(stringify!($field) => Some(&mut self.$field),)* _ => None }
            }
        }
    };
}

section! {
    /// What there is of each kind.
    Shape {
        /// Shader engines (SEs) among which the dispatcher takes turns.
        shader_engines,
        /// CUs (SMs) of each shader engine.
        cus_per_se,
        /// SIMD units of a CU: a workgroup's waves are spread over them.
        simds_per_cu,
        /// Pipes (ACEs): each offers one kernel at a time.
        pipes,
        /// Queues that hardware holds at once; more are time-sliced.
        hw_queues,
    }
}

section! {
    /// What a CU can hold.
    Occupancy {
        /// Wave slots of a SIMD unit.
        waves_per_simd,
        /// Workgroups that a CU can hold.
        workgroups_per_cu,
        /// Workgroups of more than one wave that a CU can hold.
        barriers_per_cu,
        /// Vector registers (of 32 bits a lane) that a SIMD unit has for each of its wave's lanes.
        registers_per_simd,
        /// Vector registers are given out in multiples of this.
        register_granule,
        /// Scalar registers of a SIMD unit; 0 if they do not limit.
        scalars_per_simd,
        /// Scalar registers are given out in multiples of this.
        scalar_granule,
        /// Bytes of local memory (LDS) of a CU.
        lds_bytes,
        /// Local memory is given out in multiples of this.
        lds_granule,
        /// Bytes of local memory that each workgroup costs besides its own.
        lds_overhead,
    }
}

section! {
    /// How a CU's waves share its issue slots.
    Compute {
        /// Waves that must sit on a SIMD unit to keep it busy, for a kernel that does not say it itself.
        saturating_waves,
        /// Share of its CUs' issue slots that a kernel takes whose time alone is bound by latency (for fits).
        latency_bound_issue,
        /// gamma: how much of a CU's rate is lost when all its other waves are another kernel's. 0 = they only share.
        interference,
    }
}

section! {
    /// Memory.
    Memory {
        /// Bytes a ns that all CUs together can move.
        bandwidth,
        /// Bytes a ns that one CU can move.
        cu_bandwidth,
        /// Sharpness p of the knee: asked for D, memory gives D / (1 + (D / bandwidth)^p)^(1/p).
        knee,
    }
}

section! {
    /// Command processor; all in ns.
    CommandProcessor {
        /// A pipe's time for a packet.
        packet_ns,
        /// From a kernel's start time to its first workgroup.
        launch_ns,
        /// From a kernel's last workgroup to its end time.
        completion_ns,
        /// From the end of a kernel to the look at a packet of its queue that waited for it.
        dependent_ns,
        /// A barrier-AND packet, from the end of what it waits for.
        barrier_ns,
        /// How long a set of queues stays on the hardware when there are more than it holds.
        quantum_ns,
        /// Time that taking queues off the hardware and putting others on costs.
        switch_ns,
        /// Least time of SET_CU_MASK.
        mask_min_ns,
        /// Most time of SET_CU_MASK: uniform between the two.
        mask_max_ns,
        /// 1: SET_CU_MASK stops all queues; 0: only its own.
        mask_stops_all,
    }
}

section! {
    /// Power.
    Power {
        /// Watts of an idle GPU.
        idle_w,
        /// Watts of one SIMD unit all of whose issue slots are in use.
        issue_w,
        /// Picojoules for a byte moved.
        byte_pj,
        /// Watts while any byte moves.
        memory_awake_w,
        /// Watts of each CU that holds a workgroup.
        cu_awake_w,
    }
}

/// Whom the dispatcher serves when several kernels have workgroups to place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DispatchPolicy {
    /// Pipes in turn; a kernel whose next workgroup fits nowhere is passed by (AMD).
    RoundRobin,
    /// The kernel that came first, on each CU that it may use; later ones wait until all its workgroups are placed.
    OldestFirst,
}

/// A GPU.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// What figures are labelled with.
    pub name: String,
    /// Who is served.
    pub policy: DispatchPolicy,
    /// See [`Shape`].
    pub shape: Shape,
    /// See [`Occupancy`].
    pub occupancy: Occupancy,
    /// See [`Compute`].
    pub compute: Compute,
    /// See [`Memory`].
    pub memory: Memory,
    /// See [`CommandProcessor`].
    pub cp: CommandProcessor,
    /// See [`Power`].
    pub power: Power,
}

const SHIPPED: [(&str, &str); 2] =
    [("mi50", include_str!("../devices/mi50.toml")), ("h200", include_str!("../devices/h200.toml"))];

impl Device {
    /// Names of the devices that come with the crate.
    pub fn shipped() -> impl Iterator<Item = &'static str> {
        SHIPPED.iter().map(|(name, _)| *name)
    }

    /// A device that comes with the crate: `mi50`, `h200`.
    pub fn named(name: &str) -> Result<Self, ModelError> {
        let text = SHIPPED.iter().find(|(known, _)| *known == name).map(|(_, text)| *text);
        let what = || format!("not shipped; there are: {}", Self::shipped().collect::<Vec<_>>().join(", "));
        Self::parse(name, text.ok_or_else(|| ModelError::Device { name: name.to_owned(), what: what() })?)
    }

    /// AMD MI50, gfx906.
    ///
    /// # Panics
    /// Never: the shipped file is tested.
    pub fn mi50() -> Self {
        Self::named("mi50").expect("the shipped file is tested")
    }

    /// NVIDIA H200, for validation.
    ///
    /// # Panics
    /// Never: the shipped file is tested.
    pub fn h200() -> Self {
        Self::named("h200").expect("the shipped file is tested")
    }

    /// Reads a description; `name` is for messages.
    pub fn parse(name: &str, text: &str) -> Result<Self, ModelError> {
        let wrong = |what: String| ModelError::Device { name: name.to_owned(), what };
        let device: Self = toml::from_str(text).map_err(|error| wrong(error.to_string()))?;
        device.check()?;
        Ok(device)
    }

    /// Whether every constant is in its range.
    pub fn check(&self) -> Result<(), ModelError> {
        let wrong = |what: String| Err(ModelError::Device { name: self.name.clone(), what });
        const POSITIVE: [&str; 13] = [
            "shape.shader_engines",
            "shape.cus_per_se",
            "shape.simds_per_cu",
            "shape.pipes",
            "shape.hw_queues",
            "occupancy.waves_per_simd",
            "occupancy.workgroups_per_cu",
            "occupancy.barriers_per_cu",
            "occupancy.registers_per_simd",
            "occupancy.register_granule",
            "memory.bandwidth",
            "memory.cu_bandwidth",
            "cp.quantum_ns",
        ];
        for (name, constant) in self.constants() {
            if !constant.value.is_finite() || constant.value < 0.0 {
                return wrong(format!("{name} is {}: must be a finite number, 0 or more", constant.value));
            }
            if POSITIVE.contains(&name.as_str()) && constant.value <= 0.0 {
                return wrong(format!("{name} is {}: must be more than 0", constant.value));
            }
            let whole = name.starts_with("shape.") || name.starts_with("occupancy.");
            if whole && (constant.value.fract() != 0.0 || constant.value > 1e9) {
                return wrong(format!("{name} is {}: must be a whole number", constant.value));
            }
            if constant.source.trim().is_empty() {
                return wrong(format!("{name} has no source: name one, or write \"assumed\""));
            }
        }
        if self.cus() > 4096 {
            return wrong(format!("{} CUs: at most 4096", self.cus()));
        }
        if self.compute.saturating_waves.value < 1.0 || self.memory.knee.value < 1.0 {
            return wrong("compute.saturating_waves and memory.knee must be 1 or more".to_owned());
        }
        if self.cp.mask_max_ns.value < self.cp.mask_min_ns.value {
            return wrong("cp.mask_max_ns is less than cp.mask_min_ns".to_owned());
        }
        Ok(())
    }

    /// All CUs.
    pub fn cus(&self) -> usize {
        self.shape.shader_engines.value as usize * self.shape.cus_per_se.value as usize
    }

    /// Every constant with its name, `section.field`.
    pub fn constants(&self) -> Vec<(String, &Constant)> {
        let sections = [
            ("shape", self.shape.constants()),
            ("occupancy", self.occupancy.constants()),
            ("compute", self.compute.constants()),
            ("memory", self.memory.constants()),
            ("cp", self.cp.constants()),
            ("power", self.power.constants()),
        ];
        let named = |(section, constants): (&str, Vec<(&'static str, _)>)| {
            constants
                .into_iter()
                .map(|(field, value)| (format!("{section}.{field}"), value))
                .collect::<Vec<_>>()
        };
        sections.into_iter().flat_map(named).collect()
    }

    /// Changes one constant, for sweeps. Its source then says so.
    pub fn set(&mut self, name: &str, value: f64) -> Result<(), ModelError> {
        let found = name.split_once('.').and_then(|(section, field)| match section {
            "shape" => self.shape.constant_mut(field),
            "occupancy" => self.occupancy.constant_mut(field),
            "compute" => self.compute.constant_mut(field),
            "memory" => self.memory.constant_mut(field),
            "cp" => self.cp.constant_mut(field),
            "power" => self.power.constant_mut(field),
            _ => None,
        });
        match found {
            Some(constant) => {
                *constant = Constant { value, source: "set by the caller".to_owned() };
                self.check()
            }
            None => {
                let known = self.constants().into_iter().map(|(name, _)| name).collect::<Vec<_>>().join(", ");
                Err(ModelError::NoConstant { name: name.to_owned(), known })
            }
        }
    }
}
