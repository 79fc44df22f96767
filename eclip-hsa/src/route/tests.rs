use super::*;
use crate::packet::KernelDispatch;
use crate::plan::{Plan, PlanDevice, PlanDocument, PlanKernel, PlanQueue, PlanWorker, VERSION};
use crate::policy::Policy;

mod decisions;
mod model;

/// The table of a worker whose kernels take these queues out of `0..queues`; its default is the last queue.
fn table(queues: usize, route: &[usize], by_name: bool, switch_max: Option<u32>) -> Arc<Table> {
    let label = |queue: usize| format!("q{queue}");
    let kernels = route.iter().enumerate().map(|(index, &queue)| PlanKernel {
        index: (!by_name).then_some(index as u32),
        kernel: Some(format!("k{}", index % 2)),
        occurrence: Some(index as u32 / 2),
        queue: label(queue),
        right_size: None,
        solo_us: None,
    });
    let worker = PlanWorker {
        name: "W".into(),
        default: label(queues - 1),
        model_wise: None,
        kernels_per_request: None,
        kernels: kernels.collect(),
    };
    let device = PlanDevice {
        product: None,
        isa: "gfx906".into(),
        xccs: 1,
        shader_engines: 4,
        sh_per_se: 1,
        cus_per_sh: vec![15; 4],
        wgp_pairs: false,
    };
    let queues = (0..queues).map(|queue| PlanQueue { label: label(queue), mask: None, unbalanced: false });
    let document = PlanDocument {
        version: VERSION,
        switch_max,
        device,
        queues: queues.collect(),
        workers: vec![worker],
    };
    Arc::new(Table::new(&Plan::new("test", document).unwrap(), "W", Policy::Eclip).unwrap())
}

/// Signals whose packets complete when the test says so.
#[derive(Default)]
struct Hand {
    next: u64,
    complete: Vec<u64>,
    recycled: Vec<u64>,
    empty: bool,
}

impl Signals for Hand {
    fn is_complete(&mut self, handle: u64) -> bool {
        self.complete.contains(&handle)
    }
    fn fresh(&mut self) -> Option<u64> {
        self.next += 1;
        (!self.empty).then_some(self.next)
    }
    fn recycle(&mut self, handle: u64) {
        self.recycled.push(handle);
    }
}

fn kernel(signal: u64) -> Packet {
    let fields = KernelDispatch { completion_signal: signal, ..Default::default() };
    Packet::kernel_dispatch(Header::new(PacketKind::KernelDispatch), &fields)
}

fn router(queues: usize, route: &[usize], shared: &[usize]) -> Router {
    let shared = shared.to_vec();
    Router::new(
        table(queues, route, false, None),
        move |q| shared.contains(&q),
        CallerSignals::Opaque,
        Boundaries::ByCount,
    )
}

/// Queues of the packets that one kernel became.
fn queues(routed: &Routed) -> Vec<usize> {
    routed.packets().iter().map(|packet| packet.0).collect()
}

#[test]
fn one_queue_needs_barrier_bits_only() {
    let (mut router, mut signals) = (router(2, &[1, 1, 1], &[]), Hand::default());
    for number in 0..7 {
        let routed = router.route(kernel(0), KernelName::ANY, &mut signals).unwrap();
        assert_eq!(queues(&routed), [1]);
        let packet = routed.packets()[0].1;
        assert_eq!(packet.header().unwrap().barrier, number > 0);
        assert_eq!((packet.completion_signal(), packet.header().unwrap().release), (0, FenceScope::None));
    }
    let total = router.total();
    assert_eq!((total.requests, total.kernels, total.switches, total.barriers), (2, 7, 0, 0));
}

#[test]
fn a_switch_waits_for_what_is_not_complete() {
    let (mut router, mut signals) = (router(3, &[0, 1, 0, 0], &[]), Hand::default());
    let mut route = |signals: &mut Hand| {
        *router.route(kernel(0), KernelName::ANY, signals).unwrap().packets().last().unwrap()
    };
    assert_eq!(route(&mut signals).1.completion_signal(), 1);
    let (queue, second) = route(&mut signals);
    assert_eq!((queue, second.completion_signal(), second.header().unwrap().barrier), (1, 2, false));
    assert_eq!(second.header().unwrap().acquire, FenceScope::Agent);
    assert_eq!(second.header().unwrap().release, FenceScope::Agent);
    signals.complete = vec![1, 2];
    let (queue, third) = route(&mut signals);
    assert_eq!(signals.recycled, [1], "nothing names it any more");
    assert_eq!((queue, third.completion_signal()), (0, 0), "its successor is on the same queue");
    assert_eq!(third.header().unwrap().acquire, FenceScope::Agent, "an elided barrier elides no acquire");
    assert!(route(&mut signals).1.header().unwrap().barrier);
    let request = router.last_request();
    assert_eq!((request.switches, request.barriers, request.elisions, request.markers), (2, 1, 1, 0));
}

#[test]
fn the_barrier_names_the_packet_before() {
    let (mut router, mut signals) = (router(3, &[0, 1], &[]), Hand::default());
    router.route(kernel(0), KernelName::ANY, &mut signals).unwrap();
    let routed = router.route(kernel(0), KernelName::ANY, &mut signals).unwrap();
    assert_eq!(queues(&routed), [1, 1]);
    assert_eq!(routed.packets()[0].1.as_barrier().unwrap().dependencies, [1, 0, 0, 0, 0]);
    assert!(routed.ends_request);
}

#[test]
fn a_callers_signal_is_kept_and_named_only_where_allowed() {
    for (caller, expected) in
        [(CallerSignals::OnePerPacket, vec![1, 1]), (CallerSignals::Opaque, vec![0, 1, 1])]
    {
        let mut router = Router::new(table(3, &[0, 1], false, None), |_| false, caller, Boundaries::ByCount);
        let mut signals = Hand::default();
        let first = router.route(kernel(77), KernelName::ANY, &mut signals).unwrap();
        assert_eq!(first.packets()[0].1.completion_signal(), 77);
        let routed = router.route(kernel(78), KernelName::ANY, &mut signals).unwrap();
        assert_eq!(queues(&routed), expected, "{caller:?}");
        let [.., (_, wait), (_, last)] = routed.packets() else { panic!("a barrier and a kernel") };
        let named = wait.as_barrier().unwrap().dependencies[0];
        assert_eq!(named == 77, caller == CallerSignals::OnePerPacket);
        assert_eq!(last.completion_signal(), 78);
    }
}

#[test]
fn no_signal_is_an_error_that_changes_nothing() {
    let (mut router, mut signals) = (router(3, &[0, 1], &[]), Hand { empty: true, ..Hand::default() });
    router.route(kernel(0), KernelName::ANY, &mut signals).unwrap();
    for _ in 0..2 {
        assert_eq!(router.route(kernel(0), KernelName::ANY, &mut signals).unwrap_err(), RouteError::NoSignal);
    }
    // A handle of 0 is no signal: a barrier that named it would wait for nothing.
    struct Zeros;
    impl Signals for Zeros {
        fn is_complete(&mut self, _handle: u64) -> bool {
            unreachable!("no signal is in use")
        }
        fn fresh(&mut self) -> Option<u64> {
            Some(0)
        }
        fn recycle(&mut self, _handle: u64) {}
    }
    assert_eq!(router.route(kernel(0), KernelName::ANY, &mut Zeros).unwrap_err(), RouteError::NoSignal);
    signals.empty = false;
    let routed = router.route(kernel(0), KernelName::ANY, &mut signals).unwrap();
    assert_eq!(queues(&routed), [0, 1, 1], "marker, barrier, kernel");
    assert!(routed.packets()[0].1.header().unwrap().barrier);
    assert_eq!(router.total().kernels, 2);
}

#[test]
fn idle_gives_all_signals_back() {
    let (mut router, mut signals) = (router(3, &[0, 1], &[]), Hand::default());
    for _ in 0..4 {
        router.route(kernel(0), KernelName::ANY, &mut signals).unwrap();
    }
    router.idle(&mut signals);
    assert_eq!(signals.recycled, [1, 2, 3, 4]);
    let routed = router.route(kernel(0), KernelName::ANY, &mut signals).unwrap();
    assert_eq!(queues(&routed), [0], "nothing to wait for");
    assert_eq!(routed.packets()[0].1.header().unwrap().acquire, FenceScope::Agent);
}

#[test]
fn shared_queues_order_by_signals() {
    let (mut router, mut signals) = (router(2, &[1, 1], &[1]), Hand::default());
    router.route(kernel(0), KernelName::ANY, &mut signals).unwrap();
    let routed = router.route(kernel(0), KernelName::ANY, &mut signals).unwrap();
    assert_eq!(queues(&routed), [1, 1]);
    assert!(!routed.packets()[1].1.header().unwrap().barrier);
    signals.complete = vec![2];
    let routed = router.route(kernel(0), KernelName::ANY, &mut signals).unwrap();
    assert_eq!(queues(&routed), [1]);
    assert!(!routed.packets()[0].1.header().unwrap().barrier);
}

#[test]
fn other_packets_follow_and_bad_ones_are_refused() {
    let (mut router, mut signals) = (router(3, &[0, 1], &[]), Hand::default());
    let other = |kind| Packet::from_dwords(std::array::from_fn(|i| if i == 0 { kind } else { 0 }));
    let first = router.route(other(3), KernelName::ANY, &mut signals).unwrap();
    assert_eq!(queues(&first), [2], "before the first kernel: the default queue");
    router.route(kernel(0), KernelName::ANY, &mut signals).unwrap();
    let vendor = router.route(other(0), KernelName::ANY, &mut signals).unwrap();
    assert_eq!(queues(&vendor), [0]);
    assert!(vendor.packets()[0].1.header().unwrap().barrier);
    assert_eq!(vendor.packets()[0].1.completion_signal(), 0, "nobody knows whether it would be decremented");
    let routed = router.route(kernel(0), KernelName::ANY, &mut signals).unwrap();
    assert_eq!(queues(&routed), [0, 1, 1], "so a marker follows it");
    for header in [1, 6, 0x0602] {
        let error = router.route(other(header), KernelName::ANY, &mut signals).unwrap_err();
        assert_eq!(error, RouteError::Header(header as u16));
    }
    assert_eq!((router.total().kernels, router.total().passed), (2, 2));
}

#[test]
fn requests_begin_where_they_are_said_to() {
    let table = table(3, &[0, 1], false, Some(1));
    let mut router = Router::new(table, |_| false, CallerSignals::Opaque, Boundaries::Explicit);
    let mut signals = Hand::default();
    let mut run = |router: &mut Router, kernels| {
        router.begin_request();
        for _ in 0..kernels {
            router.route(kernel(0), KernelName::ANY, &mut signals).unwrap();
        }
    };
    run(&mut router, 4);
    let request = router.end_request().clone();
    assert_eq!((request.kernels, request.unknown, request.switches), (4, 2, 2));
    assert_eq!((request.over_budget, request.requests_over_budget), (1, 1));
    run(&mut router, 1);
    run(&mut router, 2);
    router.record_time(1, 0, 5);
    router.record_time(2, 1, 7);
    router.record_time(0, 2, 9);
    assert_eq!(*router.last_request().queue_ns, [5, 0, 0]);
    let total = router.total();
    assert_eq!((total.requests, total.kernels, total.unknown, &*total.queue_ns), (2, 7, 2, &[5, 7, 9][..]));
}

#[test]
fn names_find_kernels_that_moved() {
    // By index: k0 k1 k0 k1 on queues 0 1 1 0.
    let table = table(3, &[0, 1, 1, 0], false, None);
    let [k0, k1, other] = ["k0", "k1", "other"].map(|name| table.name(name));
    assert_eq!(other, KernelName::UNPLANNED);
    let mut router = Router::new(table, |_| false, CallerSignals::Opaque, Boundaries::Explicit);
    let mut signals = Hand::default();
    // The request has one kernel more than the plan, and then what the plan has.
    let given = [(k0, 0), (other, 2), (k1, 1), (k0, 1), (k1, 0), (KernelName::ANY, 2)];
    for (name, expected) in given {
        let routed = router.route(kernel(0), name, &mut signals).unwrap();
        assert_eq!(routed.packets().last().unwrap().0, expected, "{name:?}");
    }
    let total = router.total();
    assert_eq!((total.kernels, total.unknown, total.by_name), (6, 2, 3));
}
