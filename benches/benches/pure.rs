//! Time of the pure parts: encoding a packet, and a ring over plain memory.

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use eclip_benches::{Bench, Case, packet};
use eclip_hsa::packet::Packet;

fn main() {
    divan::main();
}

/// A dispatch packet from its fields.
#[divan::bench]
fn encode_dispatch(bencher: Bencher) {
    bencher.counter(ItemsCount::new(1u32)).bench(|| packet(black_box(7)));
}

/// A packet's fields from its bytes.
#[divan::bench]
fn decode_dispatch(bencher: Bencher) {
    let encoded = packet(7);
    bencher.counter(ItemsCount::new(1u32)).bench(|| Packet::as_kernel_dispatch(black_box(&encoded)));
}

/// Reserve, write, publish, doorbell: 1,024 packets at once.
#[divan::bench]
fn ring_batch(bencher: Bencher) {
    ring(bencher, Case::Batch);
}

/// The same for one packet.
#[divan::bench]
fn ring_single(bencher: Bencher) {
    ring(bencher, Case::Single);
}

fn ring(bencher: Bencher, case: Case) {
    let bench = Bench::default();
    bencher.counter(ItemsCount::new(case.packets())).bench_local(|| bench.turn(case));
}
