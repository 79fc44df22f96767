//! A matrix multiply of 1024 workgroups under CU masks: the dispatcher's strict turns.
//!
//! One parameter is fitted: the time of a workgroup that has a CU to itself. All else is the dispatcher's doing.

use std::sync::Arc;

use gpu_model::engine::{Gpu, Order};
use gpu_model::{Device, Kernel, Mask};

use crate::Pair;
use crate::data::{self, MaskRow};

/// Workgroups and waves of each of the measured kernel.
pub const WORKGROUPS: u64 = 1024;
/// 1024 work-items.
pub const WAVES: u32 = 16;

/// The kernel, one wave of which issues for `issue_ns`. Two of its workgroups fit on a CU.
pub fn kernel(issue_ns: f64) -> Kernel {
    Kernel::compute("matrix multiply", WORKGROUPS, WAVES, issue_ns)
}

/// Time of one launch under `mask`, ms.
pub fn time_ms(device: &Device, mask: &Mask, kernel: &Arc<Kernel>) -> f64 {
    let mut gpu = Gpu::new(device.clone(), 0).expect("a shipped device");
    let queue = gpu.add_queue(mask.clone());
    gpu.submit(queue, kernel, &Order::default()).expect("the kernel fits");
    let mut end = 0.0;
    while let Some(event) = gpu.advance(f64::INFINITY) {
        end = event.time;
    }
    end / 1e6
}

/// A row's mask on the model's MI50, which has the same shape.
pub fn mask(device: &Device, row: &MaskRow) -> Mask {
    Mask::parse(device, &format!("0x{}", row.cu_mask_hex)).expect("a mask of the file")
}

/// The one parameter: for which the mean of ln(model / measured) over the file is 0.
pub fn fitted_issue_ns(device: &Device) -> f64 {
    let rows = data::masks();
    let mut issue = 40_000.0;
    for _ in 0..3 {
        let kernel = Arc::new(kernel(issue));
        let log = |row: &MaskRow| (time_ms(device, &mask(device, row), &kernel) / row.mean_ms).ln();
        issue /= (rows.iter().map(log).sum::<f64>() / rows.len() as f64).exp();
    }
    issue
}

/// Measured and modelled times, ms, in the file's order.
pub fn compare(device: &Device) -> (f64, Vec<(MaskRow, Pair)>) {
    let issue = fitted_issue_ns(device);
    let kernel = Arc::new(kernel(issue));
    let pair = |row: MaskRow| {
        let model = time_ms(device, &mask(device, &row), &kernel);
        let label = format!("{} {}", row.sweep, row.enabled_cus);
        (row.clone(), Pair { label, measured: row.mean_ms, model })
    };
    (issue, data::masks().into_iter().map(pair).collect())
}
