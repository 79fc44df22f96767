//! `eclip bench` on the simulated GPU: that everything is measured and said, not what it costs.

mod support;

use std::collections::BTreeSet;

use support::{eclip, run};

/// `plain` is what the scheduler is compared with: by their values.
const VARIANTS: [&str; 6] = ["batch", "single", "switch", "replay", "scheduler", "plain"];

#[test]
fn submit_prints_one_object_a_line_for_each_variant_and_peer() {
    let ended = run(&mut eclip(["bench", "submit", "--quick", "--json"])).expect(0);
    let mut found = BTreeSet::new();
    for line in ended.out.lines() {
        let object: serde_json::Value =
            serde_json::from_str(line).unwrap_or_else(|why| panic!("{line}: {why}"));
        let keys: Vec<&str> = object.as_object().expect("an object").keys().map(String::as_str).collect();
        let expected = ["benchmark", "device", "ratio", "ratio_to", "simulated", "unit", "value", "variant"];
        assert_eq!(BTreeSet::from_iter(keys), BTreeSet::from(expected), "{line}");
        assert_eq!((&object["benchmark"], &object["simulated"]), (&"submit".into(), &true.into()), "{line}");
        let positive = |key: &str| object[key].as_f64().is_some_and(|number| number > 0.0);
        assert!(positive("value") && positive("ratio"), "{line}");
        found.insert(
            [&object["variant"], &object["ratio_to"]].map(|word| word.as_str().unwrap_or("").to_owned()),
        );
    }
    let hip = !ended.err.contains("not measured: HIP launch");
    let peers: &[&str] = if hip { &["c", "hip"] } else { &["c"] };
    for variant in VARIANTS {
        for peer in peers {
            assert!(
                found.contains(&[variant, peer].map(str::to_owned)),
                "no {variant} to {peer}: {ended:#?}"
            );
        }
    }
}

#[test]
fn submit_prints_a_table_that_says_what_is_simulated_and_what_was_aimed_at() {
    let ended = run(&mut eclip(["bench", "submit", "--quick"])).expect(0);
    let ended =
        ended.prints("simulated device; host cost is real").prints("device held while the host is timed");
    for text in [
        "0.25 of C loop",
        "1.2 of C loop with signals",
        "3 of C loop",
        "0.2 of C loop",
        "1.5 of plain submission",
    ] {
        assert!(ended.out.contains(text), "{text:?} is not in\n{}", ended.out);
    }
}
