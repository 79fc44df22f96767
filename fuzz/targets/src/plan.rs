//! Plan files: whatever the text is, reading it gives an error that says where, or a plan whose labels, indices and masks fit.

use std::collections::HashSet;

use eclip_hsa::Plan;

/// Reads the input as a plan file, writes the plan and reads it again.
pub fn plan(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let plan = match Plan::parse("fuzz.toml", &text) {
        Ok(plan) => plan,
        Err(error) => {
            let lines = 1 + text.bytes().filter(|&byte| byte == b'\n').count();
            assert!(error.line.is_none_or(|line| (1..=lines).contains(&line)), "{error}");
            let message = error.to_string();
            assert!(message.starts_with("fuzz.toml") && message.len() < 16 << 10, "{} bytes", message.len());
            return;
        }
    };
    check(&plan);
    let again = Plan::parse("again.toml", &plan.to_toml())
        .unwrap_or_else(|error| panic!("{error}: cannot read what was written: {}", plan.to_toml()));
    assert_eq!(again.document(), plan.document());
    assert_eq!(again.to_toml(), plan.to_toml());
    check(&again);
}

fn check(plan: &Plan) {
    let document = plan.document();
    let labels: HashSet<&str> = document.queues.iter().map(|queue| queue.label.as_str()).collect();
    assert_eq!(labels.len(), document.queues.len(), "labels are unique");
    for (index, queue) in document.queues.iter().enumerate() {
        assert_eq!(plan.queue(&queue.label), Some(index));
        assert_eq!(plan.mask(index).is_some(), queue.mask.is_some());
        if let Some(mask) = plan.mask(index) {
            assert!((1..=plan.topology().cu_count()).contains(&mask.cu_count()), "{mask}");
        }
    }
    assert!(plan.mask(document.queues.len()).is_none());
    for worker in &document.workers {
        assert_eq!(plan.worker(&worker.name).map(|found| found == worker).ok(), Some(true));
        assert!(labels.contains(&*worker.default));
        assert!(worker.model_wise.as_deref().is_none_or(|label| labels.contains(label)));
        let indexed = worker.kernels.iter().filter(|kernel| kernel.index.is_some()).count();
        assert!(indexed == 0 || indexed == worker.kernels.len());
        for (place, kernel) in worker.kernels.iter().enumerate() {
            assert!(labels.contains(&*kernel.queue));
            assert!(kernel.right_size.as_deref().is_none_or(|label| labels.contains(label)));
            match kernel.index {
                Some(index) => assert_eq!(index as usize, place, "sorted, and none is missing"),
                None => assert!(kernel.kernel.is_some()),
            }
        }
        let count = worker.kernels_of_a_request() as usize;
        assert!(if indexed == 0 { worker.kernels.len() <= count } else { indexed == count });
    }
}
