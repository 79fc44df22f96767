//! What is read of each agent when the runtime starts: from ROCr, and for GPUs from the kernel driver.

use std::ffi::{c_char, c_void};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use hsa_sys::*;

use crate::code_object::IsaName;
use crate::driver::{CuBitmaps, NodeProperties};
use crate::error::{Error, Result};
use crate::status::check_with;
use crate::topology::CuTopology;

/// What was read of an agent when the runtime started.
pub(crate) struct AgentInfo {
    pub(crate) handle: hsa_agent_t,
    pub(crate) is_gpu: bool,
    pub(crate) name: String,
    pub(crate) product: String,
    pub(crate) isa: Option<IsaName>,
    pub(crate) node: u32,
    pub(crate) wave_size: u32,
    pub(crate) max_workgroup_size: u32,
    pub(crate) max_workgroup_dims: [u16; 3],
    pub(crate) max_grid_dims: [u32; 3],
    pub(crate) max_grid_size: u32,
    pub(crate) min_queue_size: u32,
    pub(crate) max_queue_size: u32,
    pub(crate) hardware_queues: Option<u32>,
    /// The compute units, or why they are not known.
    pub(crate) topology: std::result::Result<Arc<CuTopology>, String>,
    pub(crate) topology_is_exact: bool,
    pub(crate) lds_bytes: u32,
    pub(crate) scratch_slots_per_cu: Option<u32>,
    pub(crate) pools: Vec<MemoryPool>,
    /// Counts when the host (or a copy engine) wrote memory that the agent's caches may hold. Begins at 1.
    pub(crate) host_writes: AtomicU64,
}

/// A memory pool of an agent.
#[derive(Clone, Debug)]
pub(crate) struct MemoryPool {
    pub(crate) handle: hsa_amd_memory_pool_t,
    pub(crate) kind: PoolKind,
    pub(crate) bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PoolKind {
    FineGrained,
    CoarseGrained,
    Kernarg,
    Group,
}

impl fmt::Display for AgentInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (node {})", self.name, self.node)
    }
}

impl AgentInfo {
    /// All agents, as (GPUs, CPUs).
    #[expect(clippy::type_complexity, reason = "two lists, used once")]
    pub(crate) fn all(hsa: &Hsa) -> Result<(Vec<Arc<Self>>, Vec<Arc<Self>>)> {
        let mut handles: Vec<hsa_agent_t> = Vec::new();
        unsafe extern "C" fn collect(agent: hsa_agent_t, data: *mut c_void) -> hsa_status_t {
            // SAFETY: `data` is the vector passed below, which nothing else touches during the iteration.
            unsafe { &mut *data.cast::<Vec<hsa_agent_t>>() }.push(agent);
            HSA_STATUS_SUCCESS
        }
        // SAFETY: the callback matches its data, and both outlive the call.
        let status = unsafe { (hsa.hsa_iterate_agents)(Some(collect), (&raw mut handles).cast()) };
        check_with(hsa, "hsa_iterate_agents", status)?;
        let (mut gpus, mut cpus) = (Vec::new(), Vec::new());
        for handle in handles {
            match (Reader { hsa, handle }).get::<hsa_device_type_t>(HSA_AGENT_INFO_DEVICE)? {
                HSA_DEVICE_TYPE_GPU => gpus.push(Arc::new(Self::read(hsa, handle, true)?)),
                HSA_DEVICE_TYPE_CPU => cpus.push(Arc::new(Self::read(hsa, handle, false)?)),
                _ => {}
            }
        }
        Ok((gpus, cpus))
    }

    fn read(hsa: &Hsa, handle: hsa_agent_t, is_gpu: bool) -> Result<Self> {
        let reader = Reader { hsa, handle };
        let node: u32 = reader.get(HSA_AMD_AGENT_INFO_DRIVER_NODE_ID)?;
        let isa = if is_gpu { reader.isa()? } else { None };
        let properties = if is_gpu { NodeProperties::read(node) } else { NodeProperties::default() };
        let mut topology = Err("not a GPU, so it has no compute units".to_owned());
        let mut topology_is_exact = false;
        if is_gpu {
            let bitmaps = properties.drm_render_minor.and_then(CuBitmaps::read);
            topology_is_exact = bitmaps.is_some();
            let cus = reader.get::<u32>(HSA_AMD_AGENT_INFO_COMPUTE_UNIT_COUNT)?;
            topology = reader.topology(cus, &properties, bitmaps, isa.as_ref())?.map(Arc::new);
        }
        let pools = reader.pools()?;
        let group = pools.iter().find(|pool| pool.kind == PoolKind::Group);
        Ok(Self {
            handle,
            is_gpu,
            name: reader.text::<64>(HSA_AGENT_INFO_NAME)?,
            product: reader.text::<64>(HSA_AMD_AGENT_INFO_PRODUCT_NAME)?,
            isa,
            node,
            wave_size: reader.get(HSA_AGENT_INFO_WAVEFRONT_SIZE)?,
            max_workgroup_size: reader.get(HSA_AGENT_INFO_WORKGROUP_MAX_SIZE)?,
            max_workgroup_dims: reader.get(HSA_AGENT_INFO_WORKGROUP_MAX_DIM)?,
            max_grid_dims: reader.get(HSA_AGENT_INFO_GRID_MAX_DIM)?,
            max_grid_size: reader.get(HSA_AGENT_INFO_GRID_MAX_SIZE)?,
            min_queue_size: reader.get(HSA_AGENT_INFO_QUEUE_MIN_SIZE)?,
            max_queue_size: reader.get(HSA_AGENT_INFO_QUEUE_MAX_SIZE)?,
            hardware_queues: properties.num_cp_queues,
            topology,
            topology_is_exact,
            scratch_slots_per_cu: properties.max_slots_scratch_cu,
            lds_bytes: group.map_or(0, |pool| pool.bytes as u32),
            pools,
            host_writes: AtomicU64::new(1),
        })
    }
}

/// Plain integers that HSA writes as attributes.
trait Attribute: Copy + Default {}
impl Attribute for u32 {}
impl Attribute for [u16; 3] {}
/// `hsa_dim3_t`.
impl Attribute for [u32; 3] {}

struct Reader<'a> {
    hsa: &'a Hsa,
    handle: hsa_agent_t,
}

impl Reader<'_> {
    fn get<T: Attribute>(&self, attribute: hsa_agent_info_t) -> Result<T> {
        let mut value = T::default();
        // SAFETY: every attribute asked for in this file has the type that HSA documents for it, which is T.
        let status =
            unsafe { (self.hsa.hsa_agent_get_info)(self.handle, attribute, (&raw mut value).cast()) };
        check_with(self.hsa, "hsa_agent_get_info", status)?;
        Ok(value)
    }

    fn text<const N: usize>(&self, attribute: hsa_agent_info_t) -> Result<String> {
        let mut bytes = [0u8; N];
        // SAFETY: HSA documents the text attributes asked for here as char[64], which is N.
        let status =
            unsafe { (self.hsa.hsa_agent_get_info)(self.handle, attribute, bytes.as_mut_ptr().cast()) };
        check_with(self.hsa, "hsa_agent_get_info", status)?;
        let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(N);
        Ok(String::from_utf8_lossy(&bytes[..end]).into_owned())
    }

    fn isa(&self) -> Result<Option<IsaName>> {
        let mut first = hsa_isa_t { handle: 0 };
        unsafe extern "C" fn take_first(isa: hsa_isa_t, data: *mut c_void) -> hsa_status_t {
            // SAFETY: `data` is the hsa_isa_t passed below.
            unsafe { *data.cast::<hsa_isa_t>() = isa };
            HSA_STATUS_INFO_BREAK
        }
        // SAFETY: the callback matches its data, and both outlive the call.
        let status = unsafe {
            (self.hsa.hsa_agent_iterate_isas)(self.handle, Some(take_first), (&raw mut first).cast())
        };
        if status != HSA_STATUS_INFO_BREAK {
            check_with(self.hsa, "hsa_agent_iterate_isas", status)?;
            return Ok(None);
        }
        let mut length = 0u32;
        // SAFETY: this attribute is a uint32_t.
        let status = unsafe {
            (self.hsa.hsa_isa_get_info_alt)(first, HSA_ISA_INFO_NAME_LENGTH, (&raw mut length).cast())
        };
        check_with(self.hsa, "hsa_isa_get_info_alt", status)?;
        let mut name = vec![0 as c_char; length as usize + 1];
        // SAFETY: this attribute is as many characters as the length above says; there is room for one more.
        let status =
            unsafe { (self.hsa.hsa_isa_get_info_alt)(first, HSA_ISA_INFO_NAME, name.as_mut_ptr().cast()) };
        check_with(self.hsa, "hsa_isa_get_info_alt", status)?;
        let bytes: Vec<u8> = name.iter().map(|&c| c as u8).take_while(|&byte| byte != 0).collect();
        let name = String::from_utf8_lossy(&bytes).into_owned();
        let parsed =
            name.parse().map_err(|error| Error::Invalid(format!("ROCr names an ISA {name:?}: {error}")))?;
        Ok(Some(parsed))
    }

    fn topology(
        &self,
        cus: u32,
        properties: &NodeProperties,
        bitmaps: Option<CuBitmaps>,
        isa: Option<&IsaName>,
    ) -> Result<std::result::Result<CuTopology, String>> {
        let xccs = properties.num_xcc.filter(|&n| n > 0).unwrap_or(1);
        let wgp_pairs = isa.is_some_and(|isa| isa.gfx_major() >= 10);
        let topology = match bitmaps {
            Some(map) => CuTopology::new(xccs, map.shader_engines, map.sh_per_se, map.active(), wgp_pairs),
            None => {
                // sysfs counts arrays over all XCCs; ROCr 5.2 knows nothing of XCCs.
                let engines: u32 = self.get(HSA_AMD_AGENT_INFO_NUM_SHADER_ENGINES)?;
                let arrays: u32 = self.get(HSA_AMD_AGENT_INFO_NUM_SHADER_ARRAYS_PER_SE)?;
                let engines = (engines / xccs).max(1);
                let per_array = cus / (xccs * engines * arrays.max(1)).max(1);
                CuTopology::new(
                    xccs,
                    engines,
                    arrays,
                    vec![per_array; engines.saturating_mul(arrays).min(64) as usize],
                    wgp_pairs,
                )
            }
        };
        Ok(match topology {
            Err(error) => Err(format!("the driver reports an impossible GPU: {error}")),
            Ok(topology) if topology.cu_count() != cus => Err(format!(
                "ROCr counts {cus} compute units and the driver {topology}: masks would be wrong"
            )),
            Ok(topology) => Ok(topology),
        })
    }

    fn pools(&self) -> Result<Vec<MemoryPool>> {
        let mut handles: Vec<hsa_amd_memory_pool_t> = Vec::new();
        unsafe extern "C" fn collect(pool: hsa_amd_memory_pool_t, data: *mut c_void) -> hsa_status_t {
            // SAFETY: `data` is the vector passed below, which nothing else touches during the iteration.
            unsafe { &mut *data.cast::<Vec<hsa_amd_memory_pool_t>>() }.push(pool);
            HSA_STATUS_SUCCESS
        }
        // SAFETY: the callback matches its data, and both outlive the call.
        let status = unsafe {
            (self.hsa.hsa_amd_agent_iterate_memory_pools)(
                self.handle,
                Some(collect),
                (&raw mut handles).cast(),
            )
        };
        check_with(self.hsa, "hsa_amd_agent_iterate_memory_pools", status)?;
        let mut pools = Vec::new();
        for handle in handles {
            let segment = self.pool_u32(handle, HSA_AMD_MEMORY_POOL_INFO_SEGMENT)?;
            let kind = if segment == HSA_AMD_SEGMENT_GROUP {
                PoolKind::Group
            } else if segment == HSA_AMD_SEGMENT_GLOBAL {
                let flags = self.pool_u32(handle, HSA_AMD_MEMORY_POOL_INFO_GLOBAL_FLAGS)?;
                if flags & HSA_AMD_MEMORY_POOL_GLOBAL_FLAG_KERNARG_INIT != 0 {
                    PoolKind::Kernarg
                } else if flags & HSA_AMD_MEMORY_POOL_GLOBAL_FLAG_FINE_GRAINED != 0 {
                    PoolKind::FineGrained
                } else if flags & HSA_AMD_MEMORY_POOL_GLOBAL_FLAG_COARSE_GRAINED != 0 {
                    PoolKind::CoarseGrained
                } else {
                    continue;
                }
            } else {
                continue;
            };
            let mut bytes = 0usize;
            // SAFETY: this attribute is a size_t.
            let status = unsafe {
                (self.hsa.hsa_amd_memory_pool_get_info)(
                    handle,
                    HSA_AMD_MEMORY_POOL_INFO_SIZE,
                    (&raw mut bytes).cast(),
                )
            };
            check_with(self.hsa, "hsa_amd_memory_pool_get_info", status)?;
            pools.push(MemoryPool { handle, kind, bytes: bytes as u64 });
        }
        Ok(pools)
    }

    fn pool_u32(&self, pool: hsa_amd_memory_pool_t, attribute: hsa_amd_memory_pool_info_t) -> Result<u32> {
        let mut value = 0u32;
        // SAFETY: the attributes asked for here are 32-bit.
        let status =
            unsafe { (self.hsa.hsa_amd_memory_pool_get_info)(pool, attribute, (&raw mut value).cast()) };
        check_with(self.hsa, "hsa_amd_memory_pool_get_info", status)?;
        Ok(value)
    }
}
