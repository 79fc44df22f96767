//! How long things take on the simulated GPU.
//!
//! [`TimingModel`] is the seam: a detailed model of contention goes behind it later. [`SimpleModel`] knows nothing of other
//! dispatches. No figure here was compared with a real GPU. Every constant names its source or says "assumed".

use crate::device::DeviceSpec;

/// The dispatch as the model sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Workgroups of the grid.
    pub workgroups: u64,
    /// Waves of each.
    pub waves_per_workgroup: u32,
    /// CUs that its queue may use, for each shader engine.
    pub cus_per_se: Vec<u32>,
    /// Waves of this kernel that one CU can hold at once.
    pub waves_per_cu: u32,
}

/// What has been executed of a dispatch so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Wave-instructions issued.
    pub instructions: u64,
    /// Most wave-instructions issued by one workgroup.
    pub longest_workgroup: u64,
    /// Bytes moved to and from memory.
    pub bytes: u64,
}

/// GPU time as a function of work. Pure; all times in ns.
pub trait TimingModel: Send + Sync {
    /// The command processor decodes one packet before it looks at the next one of the queue.
    fn packet_ns(&self) -> u64;
    /// From the launch of a dispatch to its first instruction, plus from its last to its completion.
    fn dispatch_overhead_ns(&self) -> u64;
    /// A dispatch's execution. Must not decrease when `work` grows: it also bounds how far the clock may go meanwhile.
    fn execution_ns(&self, shape: &Shape, work: &Work) -> u64;
    /// A copy or fill of `bytes` by a DMA engine.
    fn copy_ns(&self, bytes: u64) -> u64;
    /// Unmapping and remapping the queues, for which SET_CU_MASK and the like keep their caller waiting.
    fn remap_ns(&self) -> u64;
}

/// Instructions issued and bytes moved, over the CUs that the mask enables.
#[derive(Clone, Debug)]
pub struct SimpleModel {
    /// Cycles of one wave instruction on its SIMD unit: 64 lanes over 16-lane hardware (GCN architecture documents).
    pub cycles_per_instruction: f64,
    /// Engine clock, GHz.
    pub engine_ghz: f64,
    /// SIMD units of a CU.
    pub simds_per_cu: u32,
    /// Bytes a ns from memory: 1024 GB/s (MI50 data sheet).
    pub memory_bytes_per_ns: f64,
    /// Bytes a cycle of one CU's L1 cache: 64 (GCN architecture documents).
    pub cu_bytes_per_cycle: f64,
    /// DMA engine, bytes a ns: about PCIe 4.0 x16 (assumed).
    pub dma_bytes_per_ns: f64,
    /// See [`TimingModel::packet_ns`] (assumed).
    pub packet: u64,
    /// See [`TimingModel::dispatch_overhead_ns`] (assumed).
    pub dispatch_overhead: u64,
    /// Start-up of one DMA transfer, ns (assumed).
    pub dma_start: u64,
    /// See [`TimingModel::remap_ns`]: 55.4 us, the worst SET_CU_MASK on an MI50 in the ECLIP paper (ISLPED 2025). That
    /// an update of a queue costs the same is assumed.
    pub remap: u64,
}

impl SimpleModel {
    /// The model for a device file.
    pub fn new(spec: &DeviceSpec) -> Self {
        Self {
            cycles_per_instruction: 4.0,
            engine_ghz: f64::from(spec.clocks.engine_mhz) / 1000.0,
            simds_per_cu: spec.shape.simds_per_cu,
            memory_bytes_per_ns: 1024.0,
            cu_bytes_per_cycle: 64.0,
            dma_bytes_per_ns: 24.0,
            packet: 1_000,
            dispatch_overhead: 4_000,
            dma_start: 2_000,
            remap: 55_400,
        }
    }
}

impl TimingModel for SimpleModel {
    fn packet_ns(&self) -> u64 {
        self.packet
    }

    fn dispatch_overhead_ns(&self) -> u64 {
        self.dispatch_overhead
    }

    fn execution_ns(&self, shape: &Shape, work: &Work) -> u64 {
        let groups = shape.workgroups.max(1);
        let engines: Vec<u64> = shape.cus_per_se.iter().filter(|&&n| n > 0).map(|&n| u64::from(n)).collect();
        // Strict turns: every enabled engine gets the same number of workgroups, however many CUs it has.
        let per_engine = groups.div_ceil(engines.len().max(1) as u64);
        let per_cu = engines.iter().map(|&cus| per_engine.div_ceil(cus)).max().unwrap_or(per_engine);
        let waves = u64::from(shape.waves_per_workgroup.max(1));
        let resident = per_cu.saturating_mul(waves).min(u64::from(shape.waves_per_cu.max(1)));
        // A SIMD unit issues for one of its waves at a time; a CU with fewer waves than SIMD units leaves some idle.
        let busy = |waves: u64| waves.clamp(1, u64::from(self.simds_per_cu)) as f64;
        let mean = work.instructions as f64 / groups as f64;
        let issue = mean * per_cu as f64 / busy(resident);
        let longest = work.longest_workgroup as f64 / busy(waves);
        let compute = issue.max(longest) * self.cycles_per_instruction / self.engine_ghz;
        let memory = work.bytes as f64 / self.memory_bytes_per_ns;
        let l1 =
            work.bytes as f64 / groups as f64 * per_cu as f64 / self.cu_bytes_per_cycle / self.engine_ghz;
        compute.max(memory).max(l1) as u64
    }

    fn copy_ns(&self, bytes: u64) -> u64 {
        self.dma_start + (bytes as f64 / self.dma_bytes_per_ns) as u64
    }

    fn remap_ns(&self) -> u64 {
        self.remap
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(cus_per_se: &[u32]) -> Shape {
        Shape { workgroups: 6000, waves_per_workgroup: 4, cus_per_se: cus_per_se.into(), waves_per_cu: 40 }
    }

    #[test]
    fn one_cu_in_a_second_engine_is_much_slower_than_none() {
        let model = SimpleModel::new(&DeviceSpec::mi50());
        let work = Work { instructions: 6_000_000, longest_workgroup: 1000, bytes: 0 };
        let time = |cus: &[u32]| model.execution_ns(&shape(cus), &work) as f64;
        let (one, uneven, even) = (time(&[15, 0, 0, 0]), time(&[15, 1, 0, 0]), time(&[4, 4, 4, 4]));
        // Measured on a Vega 20 (RTNS 2021): 11.9, 86.8 and 11.2 ms.
        assert!((7.0..8.0).contains(&(uneven / one)), "{}", uneven / one);
        assert!((0.9..1.0).contains(&(even / one)), "{}", even / one);
    }

    #[test]
    fn time_never_shrinks_with_more_work() {
        let model = SimpleModel::new(&DeviceSpec::mi50());
        let mut last = 0;
        for i in 0..100u64 {
            let work = Work { instructions: i * 1000, longest_workgroup: i * i, bytes: i * 100_000 };
            let now = model.execution_ns(&shape(&[15, 15, 15, 15]), &work);
            assert!(now >= last);
            last = now;
        }
    }

    #[test]
    fn a_long_workgroup_is_not_averaged_away() {
        let model = SimpleModel::new(&DeviceSpec::mi50());
        let work = Work { instructions: 1_000_000, longest_workgroup: 1_000_000, bytes: 0 };
        // One workgroup of 4 waves on 4 SIMD units: 250000 issues of 4 cycles at 1.725 GHz.
        assert_eq!(model.execution_ns(&shape(&[15; 4]), &work), (1_000_000.0f64 / 1.725) as u64);
    }

    #[test]
    fn bytes_cost_bandwidth() {
        let model = SimpleModel::new(&DeviceSpec::mi50());
        let work = Work { instructions: 1, longest_workgroup: 1, bytes: 1 << 30 };
        let gbps = (1u64 << 30) as f64 / model.execution_ns(&shape(&[15; 4]), &work) as f64;
        assert!((1000.0..1025.0).contains(&gbps), "{gbps}");
    }
}
