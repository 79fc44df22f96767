use super::*;
use proptest::prelude::*;

const SMALL: &str = r#"version = 1
switch_max = 3

[device]
isa = "gfx906"
shader_engines = 4
cus_per_sh = [15, 15, 15, 15]

[[queue]]
label = "W1 15"
mask = "0x111111111111111"

[[queue]]
label = "W1 30"
mask = "0x555555555555555"

[[queue]]
label = "default"

[[worker]]
name = "W1"
default = "default"
model_wise = "W1 30"
kernels_per_request = 3
kernels = [
  { index = 0, kernel = "gemm", queue = "W1 30", right_size = "W1 15", solo_us = 19.8 },
  { index = 2, kernel = "gemm", queue = "default", occurrence = 1 },
  { index = 1, kernel = "bias", queue = "W1 15" },
]

[[worker]]
name = "W2"
default = "default"
kernels_per_request = 8
kernels = [
  { kernel = "gemm", occurrence = 1, queue = "W1 30" },
  { kernel = "gemm", occurrence = 0, queue = "default" },
]
"#;

/// The error that a change of the small plan gives.
fn broken(from: &str, to: &str) -> PlanError {
    assert_eq!(SMALL.matches(from).count(), 1, "{from:?} must be there once");
    Plan::parse("small.toml", &SMALL.replace(from, to)).expect_err(to)
}

#[track_caller]
fn says(from: &str, to: &str, expected: &str) {
    let text = broken(from, to).to_string();
    assert!(text.starts_with("small.toml"), "{text}");
    assert!(text.contains(expected), "{text}\n  lacks: {expected}");
}

#[test]
fn a_plan_is_read_and_sorted() {
    let plan = Plan::parse("small.toml", SMALL).unwrap();
    let queues: Vec<&str> = plan.document().workers[0].kernels.iter().map(|k| &*k.queue).collect();
    assert_eq!(queues, ["W1 30", "W1 15", "default"]);
    assert_eq!(plan.mask(1).unwrap().to_string(), "0x555555555555555");
    assert!(plan.mask(2).is_none());
    assert_eq!(plan.queue("default"), Some(2));
    assert_eq!(plan.worker("W2").unwrap().kernels_of_a_request(), 8);
    assert_eq!(plan.worker("W1").unwrap().kernels_of_a_request(), 3);
    let counted = Plan::parse("small.toml", &SMALL.replace("kernels_per_request = 3\n", "")).unwrap();
    assert_eq!(counted.worker("W1").unwrap().kernels_of_a_request(), 3, "as many as are listed");
    let unknown = plan.worker("W3").unwrap_err().to_string();
    assert!(unknown.contains("no worker \"W3\"; its workers are \"W1\", \"W2\""), "{unknown}");
}

#[test]
fn errors_have_line_and_field() {
    says(
        "queue = \"W1 15\" }",
        "queue = \"W1 16\" }",
        "small.toml:28: worker[0].kernels[2].queue: the plan has no queue \"W1 16\"; its queues are \"W1 15\", \"W1 30\", \"default\"",
    );
    says("version = 1", "version = 7", "small.toml:1: version: plan format 7, but this library reads 1");
    says("version = 1", "version = \"1\"", "plan format is a string");
    says("version = 1", "", "this is no plan file");
    says("[device]", "[device", "small.toml:4");
    says("switch_max", "switch_most", "small.toml:2: unknown field `switch_most`");
    says("switch_max = 3", "switch_max = -3", "small.toml:2: invalid value: integer `-3`");
    says("switch_max = 3", "switch_max = 99999999999", "small.toml:2: invalid value");
    says("\"gfx906\"", "\"MI50\"", "small.toml:5: device.isa: \"MI50\" is no ISA name");
    says("shader_engines = 4", "shader_engines = 0", "device: number of shader engines is 0");
    says(
        "cus_per_sh = [15, 15, 15, 15]",
        "cus_per_sh = [15]",
        "device: 1 counts of active CUs for 4 shader arrays",
    );
    says(
        "model_wise = \"W1 30\"",
        "model_wise = \"x\"",
        "small.toml:23: worker[0].model_wise: the plan has no queue \"x\"",
    );
    says(
        "name = \"W2\"",
        "name = \"W1\"",
        "small.toml:32: worker[1].name: worker \"W1\" is there twice: first as worker[0].name",
    );
    says("name = \"W2\"", "name = \"\"", "worker[1].name: the name is empty");
    says(
        "label = \"W1 30\"",
        "label = \"W1 15\"",
        "small.toml:14: queue[1].label: queue \"W1 15\" is there twice: first as queue[0].label",
    );
    says("label = \"W1 30\"", "label = \"\"", "queue[1].label: the label is empty");
    let long = "é".repeat(200);
    says(
        "label = \"W1 30\"",
        &format!("label = \"{long}\""),
        "queue[1].label: 400 bytes of a label, but at most 256",
    );
    says(
        "name = \"W2\"",
        &format!("name = \"{long}\""),
        "worker[1].name: 400 bytes of a name, but at most 256",
    );
    let unknown = broken("queue = \"W1 15\" }", &format!("queue = \"{long}\" }}")).to_string();
    assert!(unknown.contains("éé\"... (400 bytes); its queues are") && unknown.len() < 600, "{unknown}");
}

#[test]
fn an_error_shows_the_first_of_many_names() {
    let more: String = (0..100).map(|queue| format!("[[queue]]\nlabel = \"q{queue}\"\n")).collect();
    let text = SMALL.replace("queue = \"W1 15\" }", "queue = \"none\" }") + &more;
    let error = Plan::parse("many", &text).unwrap_err().to_string();
    assert!(error.ends_with("\"q12\" and 87 more"), "{error}");
}

#[test]
fn masks_are_checked_against_the_device() {
    says("0x555555555555555", "555", "small.toml:15: queue[1].mask: \"555\" is no CU mask");
    says("0x555555555555555", "0x", "is no CU mask");
    says("0x555555555555555", "0x55g", "is no CU mask");
    says("0x555555555555555", &format!("0x{}", "5".repeat(300)), "is no CU mask");
    says("0x555555555555555", "0x0", "enables no CU");
    says("0x555555555555555", "0x5555555555555555", "sets bit 60");
    says("0x555555555555555", "0x113", "unbalanced CU mask (3+1+0+0)");
    let allowed = SMALL.replace("\"0x555555555555555\"", "\"0x113\"\nunbalanced = true");
    assert_eq!(Plan::parse("small", &allowed).unwrap().mask(1).unwrap().cu_count(), 4);
}

#[test]
fn kernels_are_all_there_once() {
    says(
        "index = 1, kernel = \"bias\"",
        "index = 0, kernel = \"bias\"",
        "small.toml:28: worker[0].kernels[2].index: index 0 is there twice: first as worker[0].kernels[0]",
    );
    says(
        "index = 1, kernel = \"bias\"",
        "index = 3, kernel = \"bias\"",
        "index 3, but a request has 3 kernels: indices go from 0 to 2",
    );
    says(
        "kernels_per_request = 3",
        "kernels_per_request = 4",
        "worker[0].kernels: index 3 is missing: a request has 4 kernels",
    );
    says(
        "kernels_per_request = 3",
        "kernels_per_request = 0",
        "small.toml:24: worker[0].kernels_per_request: a request of no kernels",
    );
    says(
        "kernels_per_request = 3",
        "kernels_per_request = 4000000000",
        "4000000000 kernels of a request, but at most 1048576",
    );
    says(
        "kernels_per_request = 8",
        "kernels_per_request = 1",
        "small.toml:34: worker[1].kernels_per_request: a request of 1 kernels, but 2 are listed",
    );
    says("kernels_per_request = 3", "kernels_per_request = -3", "small.toml:24: invalid value: integer `-3`");
    says(
        "index = 1, kernel = \"bias\"",
        "kernel = \"bias\", occurrence = 0",
        "worker[0].kernels[2]: it has no index, but",
    );
    says("kernel = \"gemm\", occurrence = 0", "index = 0", "worker[1].kernels[1]: it has an index, but");
    says("kernel = \"gemm\", occurrence = 1", "kernel = \"gemm\"", "nothing says which kernel this is");
    says(
        "kernel = \"gemm\", occurrence = 1",
        "kernel = \"gemm\", occurrence = 0",
        "occurrence 0 of kernel \"gemm\" is there twice: first as worker[1].kernels[0]",
    );
    says(
        "kernel = \"gemm\", occurrence = 1",
        "kernel = \"gemm\", occurrence = 2",
        "occurrence 1 of kernel \"gemm\" is missing",
    );
    says(
        "queue = \"default\", occurrence = 1",
        "queue = \"default\", occurrence = 2",
        "occurrence 2 of kernel \"gemm\", but by the indices it is number 1",
    );
    says("kernel = \"bias\"", "occurrence = 1", "an occurrence of what?");
    says("kernel = \"bias\"", "kernel = \"\"", "the kernel's name is empty");
}

#[test]
fn times_are_numbers() {
    for time in ["nan", "inf", "-1.0"] {
        says("19.8", time, "small.toml:26: worker[0].kernels[0].solo_us:");
    }
    says("19.8", "1e999", "small.toml:26: floating-point number overflowed");
}

#[test]
fn an_empty_plan_is_none() {
    let document = Plan::parse("small", SMALL).unwrap().document().clone();
    let text = |change: fn(&mut PlanDocument)| {
        let mut changed = document.clone();
        change(&mut changed);
        Plan::new("made", changed).unwrap_err().to_string()
    };
    assert!(text(|plan| plan.workers.clear()).contains("no [[worker]]"));
    assert!(text(|plan| plan.queues.clear()).contains("no [[queue]]"));
    assert!(text(|plan| plan.workers[0].kernels.clear()).contains("the worker has no kernels"));
    assert!(text(|plan| plan.version = 2).contains("plan format 2"));
    assert!(Plan::parse("empty", "").unwrap_err().to_string().contains("no plan file"));
    let missing = Plan::load("/nonexistent/plan.toml").unwrap_err().to_string();
    assert!(missing.contains("/nonexistent/plan.toml: cannot read it: No such file"), "{missing}");
}

#[test]
fn files_are_read_and_never_without_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plan.toml");
    let plan = Plan::parse("small", SMALL).unwrap();
    std::fs::write(&path, plan.to_toml()).unwrap();
    assert_eq!(Plan::load(&path).unwrap().document(), plan.document());
    std::fs::write(&path, SMALL.replace("W1 15\" }", "W1 16\" }")).unwrap();
    let error = Plan::load(&path).unwrap_err();
    assert_eq!((error.line, &*error.field), (Some(28), "worker[0].kernels[2].queue"));
    std::fs::write(&path, [0xff, 0xfe]).unwrap();
    assert!(matches!(Plan::load(&path).unwrap_err().problem, PlanProblem::Unreadable(_)));
    let endless = Plan::load("/dev/zero").unwrap_err();
    assert!(matches!(endless.problem, PlanProblem::TooLarge { what: "bytes", .. }), "{endless}");
}

fn pool() -> PoolDescription {
    let topology = Arc::new(CuTopology::uniform(4, 1, 15).unwrap());
    let mask = |engines: &[u32]| CuMask::shader_engines(&topology, engines).unwrap();
    let queues = vec![
        ("more".into(), Some(mask(&[3]))),
        ("default".into(), Some(CuMask::all(&topology))),
        ("W1 30".into(), Some(mask(&[0, 2]))),
        ("W1 15".into(), Some(mask(&[0]))),
    ];
    let isa = "gfx906:sramecc+:xnack-".parse().unwrap();
    PoolDescription { product: "some MI50".into(), isa, topology: (*topology).clone(), queues }
}

#[test]
fn a_pool_that_fits_has_no_differences() {
    assert_eq!(Plan::parse("small", SMALL).unwrap().check(&pool()), []);
}

#[test]
fn every_difference_is_listed() {
    let mut plan = Plan::parse("small", SMALL).unwrap().document().clone();
    plan.device.product = Some("other".into());
    plan.device.isa = "gfx906:xnack+".into();
    plan.device.cus_per_sh[3] = 16;
    let plan = Plan::new("other", plan).unwrap();
    let mut pool = pool();
    pool.queues.remove(1);
    pool.queues[1].1 = None;
    let found = plan.check(&pool);
    let text = found.iter().map(Difference::to_string).collect::<Vec<_>>().join("\n");
    let expected = "the plan is for other, the pool is on some MI50\n\
         the plan is for gfx906:xnack+, the pool's GPU is gfx906:sramecc+:xnack-\n\
         the plan is for a GPU of 61 CUs = 4 SE of 15+15+15+16 CU, the pool's has 60 CUs = 4 SE x 1 SH x 15 CU\n\
         queue W1 30: plan says 0x0555555555555555 (30 CUs: 15+0+15+0), pool has all CUs\n\
         the pool has no queue \"default\" (all CUs); it has more, W1 30, W1 15";
    assert_eq!(text, expected);
    assert_eq!(plan.check_queues(&pool, |index| index == 0).len(), 3, "the first queue is the same in both");
}

/// Plans of any content that is allowed, indices in any order.
fn any_plan() -> impl Strategy<Value = PlanDocument> {
    let label = "[a-zA-Z0-9 \"\\\\\\n\\t\u{7f}\u{1}é#=\\[\\]'{}]{1,8}";
    let masks = prop_oneof![
        Just(None),
        Just(Some("0x1".to_owned())),
        Just(Some("0x111111111111111".into())),
        Just(Some("0xFFF".into()))
    ];
    let queues = prop::collection::btree_map(label, masks, 1..6);
    let row = (
        any::<prop::sample::Index>(),
        prop::option::of(label),
        prop::option::of(any::<prop::sample::Index>()),
    );
    let row = (row, prop::option::of(0.0f64..1e12));
    let worker = (any::<prop::sample::Index>(), any::<bool>(), prop::collection::vec(row, 1..12));
    let workers = prop::collection::btree_map(label, worker, 1..4);
    (queues, workers, prop::option::of(any::<u32>()), prop::option::of(label)).prop_map(
        |(queues, workers, switch_max, product)| {
            let labels: Vec<String> = queues.keys().cloned().collect();
            let pick = |index: &prop::sample::Index| index.get(&labels).clone();
            let queues =
                queues.into_iter().map(|(label, mask)| PlanQueue { label, mask, unbalanced: true }).collect();
            let workers = workers.into_iter().map(|(name, (default, by_index, rows))| {
                let mut seen: std::collections::HashMap<String, u32> = Default::default();
                let count = rows.len() as u32;
                let kernels = (0..).zip(rows).map(|(index, ((queue, kernel, right), solo_us))| {
                    let kernel = if by_index { kernel } else { Some(kernel.unwrap_or("gemm".into())) };
                    let occurrence = kernel.clone().map(|name| {
                        let next = seen.entry(name).or_default();
                        *next += 1;
                        *next - 1
                    });
                    let right_size = right.as_ref().map(pick);
                    let index = by_index.then_some(index);
                    PlanKernel { index, kernel, occurrence, queue: pick(&queue), right_size, solo_us }
                });
                let kernels = kernels.collect();
                PlanWorker {
                    name,
                    default: pick(&default),
                    model_wise: by_index.then(|| pick(&default)),
                    kernels_per_request: (!by_index || count.is_multiple_of(2)).then_some(count),
                    kernels,
                }
            });
            let workers = workers.collect();
            let device = PlanDevice {
                product,
                isa: "gfx906:sramecc+".into(),
                xccs: 1,
                shader_engines: 4,
                sh_per_se: 1,
                cus_per_sh: vec![15; 4],
                wgp_pairs: false,
            };
            PlanDocument { version: VERSION, switch_max, device, queues, workers }
        },
    )
}

proptest! {
    #[test]
    fn writing_and_reading_gives_the_same(document in any_plan()) {
        let plan = Plan::new("made", document).unwrap();
        let text = plan.to_toml();
        let again = Plan::parse("read", &text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        prop_assert_eq!(again.document(), plan.document());
    }

    #[test]
    fn any_text_is_read_or_refused(text in "(version = 1\n)?[\\[\\]a-z=\"0-9{}, \n.]{0,200}") {
        if let Err(error) = Plan::parse("any", &text) {
            prop_assert!(error.to_string().starts_with("any"));
        }
    }

    #[test]
    fn a_damaged_plan_is_read_or_refused(at in 0..SMALL.len(), with in any::<char>(), cut: bool) {
        if SMALL.is_char_boundary(at) {
            let mut text = SMALL.to_owned();
            if cut { text.truncate(at) } else { text.insert(at, with) }
            let _ = Plan::parse("damaged", &text);
        }
    }
}
