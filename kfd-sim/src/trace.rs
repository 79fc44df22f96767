//! What ran where, as a trace for Perfetto (<https://ui.perfetto.dev>) or `chrome://tracing`.
//!
//! The format is the Trace Event Format's JSON: one process for the queues with a track for each queue (packets as slices), one for the compute
//! units with a track for each CU (workgroups as slices), one for the DMA queues. Slices of one track must not overlap, so what runs at the same time
//! on one queue or CU gets further tracks beside the first. Times are GPU time, simulated. Pure.

use crate::cp::{CopyRecord, DispatchRecord, WorkgroupRecord};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const QUEUES: u32 = 1;
const COMPUTE_UNITS: u32 = 2;
const DMA: u32 = 3;
/// Tracks that one queue or CU can have: as many waves as a CU holds, and more than packets overlap in practice.
const LANES: usize = 4096;

/// A slice before it has its track.
struct Slice {
    start_ns: u64,
    end_ns: u64,
    name: String,
    arguments: Value,
}

/// The trace of what the device has recorded, as a JSON document.
pub fn perfetto(packets: &[DispatchRecord], workgroups: &[WorkgroupRecord], copies: &[CopyRecord]) -> Value {
    let mut events = Vec::new();
    let mut tracks: BTreeMap<(u32, u64), Vec<Slice>> = BTreeMap::new();
    for packet in packets {
        let name = packet.kernel_name.clone().unwrap_or_else(|| format!("{:?}", packet.kind));
        let arguments = serde_json::to_value(packet).unwrap_or(Value::Null);
        let slice = Slice { start_ns: packet.start_ns, end_ns: packet.end_ns, name, arguments };
        tracks.entry((QUEUES, packet.queue.into())).or_default().push(slice);
    }
    let names: BTreeMap<(u32, u64), &str> =
        packets.iter().filter_map(|p| Some(((p.queue, p.index), p.kernel_name.as_deref()?))).collect();
    for group in workgroups {
        let kernel = names.get(&(group.queue, group.index)).copied().unwrap_or("workgroup");
        let arguments = json!({ "queue": group.queue, "index": group.index, "workgroup": group.group });
        let slice =
            Slice { start_ns: group.start_ns, end_ns: group.end_ns, name: kernel.to_owned(), arguments };
        let unit = u64::from(group.se) << 16 | u64::from(group.sh) << 8 | u64::from(group.cu);
        tracks.entry((COMPUTE_UNITS, unit)).or_default().push(slice);
    }
    for copy in copies {
        let arguments = json!({ "bytes": copy.bytes });
        let name = if copy.fill { "fill" } else { "copy" }.to_owned();
        let slice = Slice { start_ns: copy.start_ns, end_ns: copy.end_ns, name, arguments };
        tracks.entry((DMA, copy.queue.into())).or_default().push(slice);
    }
    for (process, name) in [
        (QUEUES, "queues (simulated GPU)"),
        (COMPUTE_UNITS, "compute units (simulated GPU)"),
        (DMA, "DMA queues (simulated GPU)"),
    ] {
        events.push(metadata(process, 0, "process_name", name));
    }
    for (number, ((process, what), mut slices)) in tracks.into_iter().enumerate() {
        let title = match process {
            COMPUTE_UNITS => format!("SE{} SH{} CU{:02}", what >> 16, what >> 8 & 0xff, what & 0xff),
            _ => format!("queue {what}"),
        };
        slices.sort_by_key(|slice| (slice.start_ns, slice.end_ns));
        let mut ends: Vec<u64> = Vec::new();
        for slice in slices {
            let free = ends.iter().position(|end| *end <= slice.start_ns);
            let lane = free.unwrap_or(ends.len()).min(LANES - 1);
            let track = number * LANES + lane + 1;
            if free.is_none() && lane == ends.len() {
                ends.push(0);
                let beside = if lane == 0 { String::new() } else { format!(" +{lane}") };
                events.push(metadata(process, track, "thread_name", &format!("{title}{beside}")));
                events.push(json!({
                    "ph": "M", "pid": process, "tid": track, "name": "thread_sort_index",
                    "args": { "sort_index": track },
                }));
            }
            ends[lane] = slice.end_ns;
            events.push(json!({
                "ph": "X", "pid": process, "tid": track, "name": slice.name,
                "ts": slice.start_ns as f64 / 1000.0,
                "dur": slice.end_ns.saturating_sub(slice.start_ns) as f64 / 1000.0,
                "args": slice.arguments,
            }));
        }
    }
    json!({
        "displayTimeUnit": "ns",
        "otherData": { "device": "simulated MI50 (gfx906); times are simulated" },
        "traceEvents": events,
    })
}

fn metadata(process: u32, track: usize, what: &str, name: &str) -> Value {
    json!({ "ph": "M", "pid": process, "tid": track, "name": what, "args": { "name": name } })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(cu: u32, start_ns: u64, end_ns: u64) -> WorkgroupRecord {
        WorkgroupRecord { queue: 1, index: 0, group: [0; 3], se: 2, sh: 0, cu, start_ns, end_ns }
    }

    #[test]
    fn slices_of_a_track_never_overlap_and_tracks_have_names() {
        let groups = [group(3, 0, 100), group(3, 50, 150), group(3, 100, 200), group(4, 0, 10)];
        let trace = perfetto(
            &[],
            &groups,
            &[CopyRecord { queue: 9, fill: false, bytes: 64, start_ns: 5, end_ns: 8 }],
        );
        let events = trace["traceEvents"].as_array().unwrap();
        let mut by_track: BTreeMap<u64, Vec<(f64, f64)>> = BTreeMap::new();
        for event in events.iter().filter(|e| e["ph"] == "X") {
            let slice = (event["ts"].as_f64().unwrap(), event["dur"].as_f64().unwrap());
            by_track.entry(event["tid"].as_u64().unwrap()).or_default().push(slice);
        }
        for slices in by_track.values() {
            assert!(slices.windows(2).all(|w| w[0].0 + w[0].1 <= w[1].0 + 1e-9), "{slices:?}");
        }
        let names: Vec<&str> = events
            .iter()
            .filter(|e| e["name"] == "thread_name")
            .filter_map(|e| e["args"]["name"].as_str())
            .collect();
        assert_eq!(names, ["SE2 SH0 CU03", "SE2 SH0 CU03 +1", "SE2 SH0 CU04", "queue 9"]);
        assert_eq!(by_track.len(), 4);
    }
}
