//! The simulated device as data: what a `devices/*.toml` file says.
//!
//! Plain data, no behaviour: the kernel interface reports it, the command processor places workgroups on it.

use serde::Deserialize;

/// One GPU model, read from a device file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceSpec {
    /// Short name of the file, for example `mi50`.
    pub name: String,
    /// What the runtimes show to people.
    pub marketing_name: String,
    /// KFD's `gfx_target_version`: major * 10000 + minor * 100 + stepping.
    pub gfx_target_version: u32,
    /// PCI device id.
    pub device_id: u32,
    /// PCI vendor id.
    pub vendor_id: u32,
    /// Lanes in a wavefront.
    pub wave_size: u32,
    /// Shader engines, arrays and compute units.
    pub shape: Shape,
    /// Local memory.
    pub memory: MemorySpec,
    /// Hardware queues.
    pub queues: QueueSpec,
    /// Clocks.
    pub clocks: ClockSpec,
}

/// Compute units and where they sit.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// Shader engines (SE).
    pub shader_engines: u32,
    /// Shader arrays (SH) in each SE.
    pub sh_per_se: u32,
    /// Active compute units (CU) in each SH.
    pub cus_per_sh: u32,
    /// CU positions in each SH, harvested ones included.
    pub cu_slots_per_sh: u32,
    /// SIMD units in each CU.
    pub simds_per_cu: u32,
    /// Wavefront slots of each SIMD.
    pub waves_per_simd: u32,
    /// Local data share of each CU, bytes.
    pub lds_bytes_per_cu: u32,
    /// Scratch slots of each CU (`max_slots_scratch_cu`).
    pub scratch_slots_per_cu: u32,
}

/// Device-local memory.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemorySpec {
    /// Bytes of VRAM.
    pub vram_bytes: u64,
    /// Whether the host can map all of VRAM.
    pub large_bar: bool,
}

/// Hardware queues.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueueSpec {
    /// Compute queues (`num_cp_queues`).
    pub compute: u32,
    /// System DMA engines.
    pub sdma_engines: u32,
}

/// Clocks.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClockSpec {
    /// Peak engine clock, MHz.
    pub engine_mhz: u32,
    /// Memory clock, MHz.
    pub memory_mhz: u32,
    /// Frequency of the GPU's timestamp counter, Hz.
    pub counter_hz: u64,
}

impl DeviceSpec {
    /// The MI50 of the ECLIP paper: 60 CUs in 4 shader engines, 16 GiB.
    pub fn mi50() -> Self {
        toml::from_str(include_str!("../devices/mi50.toml")).expect("devices/mi50.toml is checked by a test")
    }

    /// Active compute units.
    pub fn cu_count(&self) -> u32 {
        self.shape.shader_engines * self.shape.sh_per_se * self.shape.cus_per_sh
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mi50_has_60_cus_in_4_shader_engines_and_16_gib() {
        let spec = DeviceSpec::mi50();
        assert_eq!((spec.cu_count(), spec.shape.shader_engines), (60, 4));
        assert_eq!(spec.memory.vram_bytes, 16 << 30);
    }
}
