//! The decisions themselves, every one that there is.

use super::*;

/// A core whose kernels take queues 0 0 1 2 and whose queues 1 and 2 others use, too. Queue 3 is the default.
fn core() -> Core {
    Core::new(table(4, &[0, 0, 1, 2], false, Some(1)), |queue| queue == 1 || queue == 2, Boundaries::ByCount)
}

#[test]
fn what_keeps_a_packet_behind_the_one_before() {
    // Whether the first is known to be complete, whether it has a signal, and the queues of both. Queues from 1 on are shared.
    let cases = [
        // On its own queue: the order of the queue.
        (false, false, [0, 0], Behind::Bit),
        (false, true, [0, 0], Behind::Bit),
        (true, true, [0, 0], Behind::Bit),
        // On a queue that others use: by its signal, if it has one.
        (false, false, [1, 1], Behind::Bit),
        (false, true, [1, 1], Behind::Signal),
        (true, false, [1, 1], Behind::Nothing),
        (true, true, [1, 1], Behind::Nothing),
        // On another queue.
        (false, false, [0, 1], Behind::Marker(0)),
        (false, true, [0, 1], Behind::Signal),
        (false, false, [1, 0], Behind::Marker(1)),
        (false, true, [1, 0], Behind::Signal),
        (false, true, [1, 2], Behind::Signal),
        (true, false, [0, 1], Behind::Nothing),
        (true, true, [1, 0], Behind::Nothing),
    ];
    for (complete, told, [first, second], expected) in cases {
        let table = table(4, &[first, second], false, None);
        let mut core = Core::new(table, |queue| queue > 0, Boundaries::ByCount);
        let step = core.kernel(KernelName::ANY);
        assert_eq!((step.placement.queue, step.behind, step.moved), (first, Behind::Nothing, false));
        core.submitted(step, told, false);
        if complete {
            core.idle();
        }
        let step = core.kernel(KernelName::ANY);
        assert_eq!(step.placement.queue, second);
        assert_eq!(step.moved, first != second);
        assert_eq!(step.behind, expected, "complete: {complete}, signal: {told}, {first} -> {second}");
        if let Behind::Marker(queue) = step.behind {
            assert_eq!(queue, first);
            core.marked();
            assert_eq!(core.kernel(KernelName::ANY).behind, Behind::Signal);
        }
        let other = core.other();
        assert_eq!((other.placement.queue, other.moved), (first, false), "what is no kernel stays");
    }
}

#[test]
fn who_needs_a_signal_and_who_is_the_last() {
    let mut core = core();
    // 0 0 1 2: the second goes elsewhere next, 1 and 2 are shared; the fourth is the last.
    let steps: Vec<(bool, bool)> = (0..4)
        .map(|_| {
            let step = core.kernel(KernelName::ANY);
            assert_eq!(core.submitted(step, true, false), step.last);
            (step.tells, step.last)
        })
        .collect();
    assert_eq!(steps, [(false, false), (true, false), (true, false), (true, true)]);
}

#[test]
fn nothing_changes_before_a_packet_is_submitted() {
    let mut core = core();
    for number in 0..10 {
        let before = (core.previous(), core.tracker.total(), core.tracker.number());
        let step = core.kernel(KernelName::ANY);
        assert_eq!(step, core.kernel(KernelName::ANY));
        core.other();
        assert_eq!(before, (core.previous(), core.tracker.total(), core.tracker.number()));
        core.submitted(step, true, step.behind == Behind::Signal && number % 2 == 0);
    }
    let total = core.tracker.total();
    assert_eq!((total.requests, total.kernels, total.switches), (2, 10, 6));
    assert_eq!(total.barriers + total.elisions, total.switches);
    assert_eq!((total.over_budget, total.requests_over_budget), (3, 2), "one switch a request is allowed");
}
