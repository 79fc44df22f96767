//! The measurements, built in.

use std::collections::BTreeMap;
use std::io::Read;

use serde::Deserialize;
use serde::de::DeserializeOwned;

macro_rules! file {
    ($path:literal) => {
        include_bytes!(concat!("../../data/", $path)) as &[u8]
    };
}

/// The rows of a shipped file.
///
/// # Panics
/// If the file is not what it was when this was written; tests read every file.
fn rows<T: DeserializeOwned>(bytes: &[u8]) -> Vec<T> {
    let rows = csv::Reader::from_reader(bytes).into_deserialize();
    rows.collect::<Result<_, _>>().expect("the shipped file is well-formed")
}

/// A CU mask and a matrix multiply's time under it, on a Radeon VII.
#[derive(Clone, Debug, Deserialize)]
pub struct MaskRow {
    /// `sw1`: bits in order; `sw4`: shader engine after shader engine.
    pub sweep: String,
    /// Bits set.
    pub enabled_cus: u32,
    /// In KFD's bit order.
    pub cu_mask_hex: String,
    /// Mean of 100 runs.
    pub mean_ms: f64,
}

/// `rtns21-cu-mask.csv`.
pub fn masks() -> Vec<MaskRow> {
    rows(file!("mi50/rtns21-cu-mask.csv"))
}

/// Two kernels in closed loops.
#[derive(Clone, Debug, Deserialize)]
pub struct InterferenceRow {
    /// `fma` or `copy`.
    pub kernel_a: String,
    /// The other.
    pub kernel_b: String,
    /// `disjoint` or `full_shared`.
    pub partition: String,
    /// SMs of the first.
    pub sms_a: usize,
    /// SMs of the second.
    pub sms_b: usize,
    /// Launches a second.
    pub rate_a_alone_per_s: f64,
    /// Launches a second.
    pub rate_b_alone_per_s: f64,
    /// Launches a second.
    pub rate_a_together_per_s: f64,
    /// Launches a second.
    pub rate_b_together_per_s: f64,
}

/// `interference.csv`.
pub fn interference() -> Vec<InterferenceRow> {
    rows(file!("h200/interference.csv"))
}

/// A worker of a mix.
#[derive(Clone, Debug, Deserialize)]
pub struct ColocationRow {
    /// 1 to 7.
    pub mix: u32,
    /// `baseline` (all SMs shared) or `disjoint_equal`.
    pub policy: String,
    /// Number within the mix.
    pub worker: usize,
    /// Which model it serves.
    pub model: String,
    /// SMs it may use.
    pub sms: usize,
    /// Requests a second.
    pub rps: f64,
    /// Watts of the board.
    pub watts_total: f64,
    /// Requests a second of the same model alone on all SMs.
    pub alone_rps_full: f64,
}

/// `colocation-b8.csv`.
pub fn colocation() -> Vec<ColocationRow> {
    rows(file!("h200/colocation-b8.csv"))
}

/// Watts of a kernel in a closed loop.
#[derive(Clone, Debug, Deserialize)]
pub struct PowerRow {
    /// `idle`, `fma`, `copy`.
    pub kernel: String,
    /// SMs it may use.
    pub sms: usize,
    /// Of the board.
    pub watts: f64,
    /// Launches a second.
    pub kernels_per_s: f64,
}

/// `power.csv`.
pub fn power() -> Vec<PowerRow> {
    rows(file!("h200/power.csv"))
}

#[derive(Debug, Deserialize)]
struct KernelRow {
    model: String,
    sms: u32,
    seq: u32,
    kernel: String,
    grid: String,
    block: String,
    regs: u32,
    smem: u32,
    duration_us_median: f64,
}

/// A kernel of a model at one place in its launch order.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Of which model.
    pub model: String,
    /// Place.
    pub seq: u32,
    /// Name.
    pub name: String,
    /// Blocks.
    pub blocks: u64,
    /// Threads of a block.
    pub threads: u32,
    /// Registers of a thread.
    pub registers: u32,
    /// Shared memory of a block, bytes.
    pub shared: u32,
    /// Microseconds alone, by number of SMs; without those where the library chose another kernel than on all SMs.
    pub us: BTreeMap<u32, f64>,
    /// The same, whatever kernel the library chose.
    pub us_any: BTreeMap<u32, f64>,
}

fn product(size: &str) -> u64 {
    size.split('x').map(|part| part.parse::<u64>().expect("a size such as 8x12x1")).product()
}

/// All launches of all models at a batch size of 1, 4, 8, 16 or 32.
///
/// # Panics
/// For any other batch.
pub fn launches(batch: u32) -> Vec<Launch> {
    let packed = match batch {
        1 => file!("h200/kernels-b1.csv.gz"),
        4 => file!("h200/kernels-b4.csv.gz"),
        8 => file!("h200/kernels-b8.csv.gz"),
        16 => file!("h200/kernels-b16.csv.gz"),
        32 => file!("h200/kernels-b32.csv.gz"),
        _ => panic!("measured at batch 1, 4, 8, 16, 32"),
    };
    let mut text = Vec::new();
    flate2::read::GzDecoder::new(packed).read_to_end(&mut text).expect("the shipped file is whole");
    let mut places: BTreeMap<(String, u32), Vec<KernelRow>> = BTreeMap::new();
    for row in rows::<KernelRow>(&text) {
        places.entry((row.model.clone(), row.seq)).or_default().push(row);
    }
    let launch = |((model, seq), rows): ((String, u32), Vec<KernelRow>)| {
        let whole = rows.iter().find(|row| row.sms == WHOLE)?;
        let same = |row: &&KernelRow| row.kernel == whole.kernel && row.grid == whole.grid;
        let time = |row: &KernelRow| (row.sms, row.duration_us_median);
        Some(Launch {
            model,
            seq,
            name: whole.kernel.clone(),
            blocks: product(&whole.grid),
            threads: product(&whole.block) as u32,
            registers: whole.regs,
            shared: whole.smem,
            us: rows.iter().filter(same).map(time).collect(),
            us_any: rows.iter().map(time).collect(),
        })
    };
    places.into_iter().filter_map(launch).collect()
}

/// SMs of the whole GPU.
pub const WHOLE: u32 = 132;
