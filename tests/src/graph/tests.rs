//! The generator against its model: every order that a graph allows, and some that it does not.

use super::*;

const SHAPE: Shape = Shape { groups: 400, threads: 4, queues: 4, cells: 128, one_long_in: 0, long_spin: 0 };

/// A random order of all steps that honours what the groups come after, but for one group, which ignores `ignored`.
fn order(graph: &Graph, rng: &mut Rng, ignored: Option<(usize, usize)>) -> Vec<usize> {
    let comes_after = |number: usize, other: usize| {
        graph.groups[number].after.contains(&other) && ignored != Some((number, other))
    };
    let mut waiting: Vec<usize> = (0..graph.groups.len()).collect();
    let mut order = Vec::new();
    let mut done = vec![false; graph.groups.len()];
    while !waiting.is_empty() {
        // The group that ignores a dependency hurries.
        let hurried = ignored.and_then(|(number, _)| waiting.iter().position(|&n| n == number));
        let ready = |at: &usize| {
            let number = waiting[*at];
            graph.groups[number].after.iter().all(|&other| done[other] || !comes_after(number, other))
        };
        let at = hurried.filter(ready).unwrap_or_else(|| {
            let candidates: Vec<usize> = (0..waiting.len()).filter(ready).collect();
            candidates[rng.usize(..candidates.len())]
        });
        let number = waiting.remove(at);
        let mut steps: Vec<usize> = graph.groups[number].steps().collect();
        if graph.groups[number].concurrent {
            rng.shuffle(&mut steps);
        }
        order.extend(steps);
        done[number] = true;
    }
    order
}

fn run(graph: &Graph, order: &[usize]) -> Result<(), String> {
    let mut model = Model::new(graph);
    order.iter().for_each(|&step| model.run(graph, step));
    graph.check(&model.cells, 1, &model.reports, 1)
}

#[test]
fn the_same_seed_gives_the_same_graph() {
    assert_eq!(Graph::random(7, &SHAPE), Graph::random(7, &SHAPE));
    assert_ne!(Graph::random(7, &SHAPE), Graph::random(8, &SHAPE));
}

#[test]
fn every_order_that_honours_the_graph_gives_the_expected_data() {
    for seed in 0..20 {
        let graph = Graph::random(seed, &SHAPE);
        let mut rng = Rng::with_seed(seed);
        for _ in 0..3 {
            run(&graph, &order(&graph, &mut rng, None)).unwrap();
        }
    }
}

#[test]
fn a_step_run_twice_never_early_or_late_shows() {
    let graph = Graph::random(1, &SHAPE);
    let fine: Vec<usize> = (0..graph.steps.len()).collect();
    let mut rng = Rng::with_seed(1);
    for _ in 0..100 {
        let at = rng.usize(..fine.len());
        let mut twice = fine.clone();
        twice.insert(at, at);
        assert!(run(&graph, &twice).unwrap_err().contains("ran 2 times"));
        let mut never = fine.clone();
        never.remove(at);
        assert!(run(&graph, &never).unwrap_err().contains("never ran"));
    }
}

#[test]
fn an_ignored_dependency_shows() {
    let mut shown = 0;
    let mut tried = 0;
    for seed in 0..60 {
        let graph = Graph::random(seed, &Shape { groups: 120, ..SHAPE });
        let mut rng = Rng::with_seed(seed);
        let number = rng.usize(60..120);
        let after = &graph.groups[number].after;
        // The newest: older ones may be implied by it.
        let Some(&newest) = after.last() else { continue };
        tried += 1;
        shown += usize::from(run(&graph, &order(&graph, &mut rng, Some((number, newest)))).is_err());
    }
    // Some are the unrelated ones that a graph has on purpose, some are implied by another path.
    assert!(tried > 40 && shown * 2 > tried, "{shown} of {tried}");
}

#[test]
fn visibility_reaches_whoever_comes_after() {
    let graph = Graph::random(3, &SHAPE);
    let mut crossing = 0;
    for group in &graph.groups {
        for &other in &group.after {
            let other = &graph.groups[other];
            crossing += usize::from(other.queue != group.queue);
            assert!(other.queue == group.queue || other.reach >= Reach::Agent);
        }
        assert!(!group.host_waits || group.reach == Reach::System);
    }
    assert!(crossing > 100);
    for reach in [Reach::Queue, Reach::Agent, Reach::System] {
        assert!(graph.groups.iter().any(|group| group.reach == reach));
    }
    let needed: usize = graph.groups.iter().map(|group| group.after.len()).sum();
    assert_eq!(needed, graph.groups.iter().map(|group| group.dependants).sum::<usize>());
}
