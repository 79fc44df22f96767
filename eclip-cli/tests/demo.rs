//! `eclip demo` on the simulated GPU: what it prints, and how it fails.

mod support;

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use support::{eclip, run};

/// Cells of the table rows that begin with one of these labels.
fn rows(text: &str, labels: &[&str]) -> Vec<Vec<String>> {
    let cells = |line: &str| -> Vec<String> {
        line.split(['│', '┆']).map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect()
    };
    let rows = text.lines().filter(|line| line.starts_with('│')).map(cells);
    rows.filter(|row| labels.contains(&row[0].as_str())).collect()
}

const QUEUES: [&str; 8] = ["W1 15", "W1 30", "W1 45", "W2 15", "W2 30", "W2 45", "even 32", "default"];

#[test]
fn all_digits_on_eight_queues() {
    let ended = run(&mut eclip(["demo"])).expect(0);
    let text = &ended.out;
    let queues = rows(text, &QUEUES);
    assert_eq!(queues.len(), 16, "two tables of eight queues\n{text}");

    let (observed, packets) = queues.split_at(8);
    let asked: Vec<&str> = observed.iter().map(|row| row[2].as_str()).collect();
    let masks = [
        "15+0+0+0",
        "15+0+15+0",
        "15+15+15+0",
        "0+0+0+15",
        "0+15+0+15",
        "0+15+15+15",
        "8+8+8+8",
        "15+15+15+15",
    ];
    assert_eq!(asked, masks);
    assert!(observed.iter().all(|row| row[2] == row[4]), "{observed:?}");
    assert_eq!(observed[1][1], "0x555555555555555");
    let mut hardware: Vec<&str> = observed.iter().map(|row| row[3].as_str()).collect();
    hardware.sort_unstable();
    hardware.dedup();
    assert_eq!(hardware.len(), 8, "each queue has a hardware queue of its own");

    // 1,797 images: 899 and 898, 8 batches each; 8 kernels a batch, all queues used alike.
    let number = |row: &[String], column: usize| row[column].parse::<u64>().unwrap();
    for row in packets {
        assert_eq!(number(row, 1), number(row, 2) + number(row, 3), "{row:?}");
        assert_eq!(number(row, 2), 16, "{row:?}");
        assert!(number(row, 3) <= 16, "{row:?}");
    }
    let kernels: Vec<u64> = rows(text, &["all"]).iter().map(|row| number(row, 1)).collect();
    assert_eq!(kernels, [128]);

    for fact in [
        "eclip demo on AMD Radeon Instinct MI50 (simulated)",
        "64 dependencies between queues, ",
        "order          all 64 dependencies held",
        "predictions    equal the CPU's for all 1797 images",
        "1774 of 1797 right, 98.7 %: all images",
        "574 of 597 right, 96.1 %",
    ] {
        assert!(text.contains(fact), "{fact:?} is not in\n{text}");
    }
    for line in text.lines().filter(|line| line.contains("GPU time") || line.contains("clock")) {
        assert!(line.contains("simulat"), "does not say that it is simulated: {line}");
    }
    let worst = text.lines().find_map(|line| line.split_once("worst |GPU - CPU| is ")).unwrap().1;
    let worst: f32 = worst.split(' ').next().unwrap().parse().unwrap();
    assert!(worst > 0.0 && worst < 1e-5, "{worst}");
}

#[test]
fn any_number_of_images_in_any_batches() {
    for (images, batch, kernels) in [("2", "1", 16), ("37", "5", 64), ("129", "1797", 16)] {
        let ended = run(&mut eclip(["demo", "--images", images, "--batch", batch])).expect(0);
        let row = &rows(&ended.out, &["all"])[0];
        assert_eq!(row[1], kernels.to_string(), "{images} images, {batch} at a time");
        ended.prints(&format!("for all {images} images"));
    }
}

#[test]
fn impossible_sizes_are_wrong_usage() {
    for arguments in [["demo", "--images", "1"], ["demo", "--images", "1798"], ["demo", "--batch", "0"]] {
        assert!(run(&mut eclip(arguments)).expect(2).err.contains("is not in"));
    }
}

#[test]
fn without_a_gpu_it_says_what_to_do() {
    if std::path::Path::new("/dev/kfd").exists() {
        eprintln!("skipped: this machine has a GPU");
        return;
    }
    run(eclip(["demo"]).env("ECLIP_DEVICE", "real")).expect(1).complains(&[
        "there is no /dev/kfd",
        "--device=/dev/kfd",
        "eclip sim -- PROGRAM",
    ]);
    run(eclip(["demo", "--images", "2"]).env_remove("ECLIP_DEVICE"))
        .expect(0)
        .prints("simulated GPU (this machine has no /dev/kfd)");
}

#[test]
fn an_unknown_device_is_named() {
    run(eclip(["demo"]).env("ECLIP_DEVICE", "gpu")).expect(1).complains(&[
        "ECLIP_DEVICE is \"gpu\"",
        "`real`",
        "`sim`",
    ]);
}

#[test]
fn without_rocr_it_names_the_places_tried() {
    let ended = run(eclip(["demo"]).env("ECLIP_HSA_LIBRARY", "/nowhere/libhsa.so")).expect(1);
    assert!(ended.err.contains("/nowhere/libhsa.so"), "{}", ended.err);
}

#[test]
fn the_environment_s_cu_mask_is_refused() {
    run(eclip(["demo"]).env("HSA_CU_MASK", "0:0-3")).expect(1).complains(&["HSA_CU_MASK", "0:0-3"]);
}

#[test]
fn a_mask_that_the_driver_refuses_is_an_error_that_names_the_queue() {
    run(eclip(["demo"]).env("KFD_SIM_FAIL", "SET_CU_MASK=EINVAL:3"))
        .expect(1)
        .complains(&["hsa_amd_queue_cu_set_mask failed", "W1 45"]);
}

#[test]
fn a_reader_that_leaves_early_is_no_complaint_and_no_success() {
    let mut child = eclip(["demo"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.starts_with("eclip demo on"), "{first}");
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(1), "not everything was checked: {ended:?}");
    assert!(ended.stderr.is_empty(), "{}", String::from_utf8_lossy(&ended.stderr));
}
