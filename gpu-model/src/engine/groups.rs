//! CUs in the same state are one entry: it is split when they are treated differently and joined again when they are alike.

use super::Gpu;
use super::cu::Cu;
use super::power::Activity;
use crate::mask::Mask;

impl Gpu {
    /// Makes a mask known: no entry has CUs inside and outside of it.
    pub(super) fn classify(&mut self, mask: &Mask) {
        let mut inside: Vec<(u32, u32)> = Vec::new();
        let mut next = self.classes.iter().max().map_or(0, |class| class + 1);
        let known = next;
        for class in 0..known {
            let mut of_class = (0..self.classes.len()).filter(|&cu| self.classes[cu] == class);
            let first = of_class.next().map(|cu| mask.contains(cu));
            if first.is_some_and(|first| of_class.any(|cu| mask.contains(cu) != first)) {
                inside.push((class, next));
                next += 1;
            }
        }
        if inside.is_empty() {
            return;
        }
        for cu in 0..self.classes.len() {
            let new = inside.iter().find(|(class, _)| *class == self.classes[cu]);
            if let Some((_, new)) = new.filter(|_| mask.contains(cu)) {
                self.classes[cu] = *new;
            }
        }
        for group in 0..self.cus.len() {
            let (into, stay): (Vec<u16>, Vec<u16>) =
                self.cus[group].members.iter().partition(|&&cu| mask.contains(cu.into()));
            if !into.is_empty() && !stay.is_empty() {
                let count = into.len();
                self.cus[group].members = [into, stay].concat();
                self.split(group, count);
            }
        }
    }

    /// Splits the first `count` CUs off an entry; the new entry.
    pub(super) fn split(&mut self, group: usize, count: usize) -> usize {
        let rest = self.cus[group].members.split_off(count);
        let mut new = self.cus[group].clone();
        new.members = std::mem::replace(&mut self.cus[group].members, rest);
        let engine = new.engine;
        let stale = std::mem::replace(&mut new.stale, false);
        let share = count as f64 / (count as u64 + self.cus[group].count()) as f64;
        let activity = self.activity[group];
        let part = |share: f64| Activity {
            issue: activity.issue * share,
            bytes: activity.bytes * share,
            awake: (f64::from(activity.awake) * share).round() as u32,
        };
        self.activity[group] = part(1.0 - share);
        let next = self.next[group];
        let index = match self.free_cus.pop() {
            Some(index) => {
                self.cus[index] = new;
                index
            }
            None => {
                self.cus.push(new);
                self.next.push(f64::INFINITY);
                self.activity.push(Activity::default());
                self.cus.len() - 1
            }
        };
        self.next[index] = next;
        self.activity[index] = part(share);
        self.engines[engine].push(index);
        if stale {
            self.mark_stale(index);
        }
        index
    }

    /// Joins entries that are alike, in the shader engines of those that just changed.
    pub(super) fn merge(&mut self, changed: &[usize]) {
        for &group in changed {
            // It may have been joined with another already.
            if self.cus[group].members.is_empty() {
                continue;
            }
            let engine = self.cus[group].engine;
            let class = self.classes[usize::from(self.cus[group].members[0])];
            let mut place = 0;
            while place < self.engines[engine].len() {
                let other = self.engines[engine][place];
                let candidate = other != group
                    && self.cus[other].waves == self.cus[group].waves
                    && self.cus[other].cohorts.len() == self.cus[group].cohorts.len()
                    && self.classes[usize::from(self.cus[other].members[0])] == class;
                if candidate {
                    self.cus[other].progress(self.now);
                    self.cus[other].sort();
                    self.next[other] = self.cus[other].next_end();
                }
                if candidate && self.cus[group].is_like(&self.cus[other], self.precision.merge) {
                    let mut gone =
                        std::mem::replace(&mut self.cus[other], Cu::new(&self.device, engine, Vec::new()));
                    self.adopt_rates(group, &gone);
                    let before = self.cus[group].count() as f64;
                    self.cus[group].absorb(&mut gone);
                    let grown = self.cus[group].count() as f64 / before;
                    let activity = &mut self.activity[group];
                    activity.issue *= grown;
                    activity.bytes *= grown;
                    activity.awake = if activity.awake > 0 { self.cus[group].count() as u32 } else { 0 };
                    self.activity[other] = Activity::default();
                    self.next[group] = self.cus[group].next_end();
                    self.next[other] = f64::INFINITY;
                    self.free_cus.push(other);
                    self.engines[engine].swap_remove(place);
                } else {
                    place += 1;
                }
            }
        }
    }

    /// From now on the CUs of `gone` go at the rates of `group`: they differ by what [`super::Precision::memory`] allows.
    fn adopt_rates(&mut self, group: usize, gone: &Cu) {
        let (now, count) = (self.now, gone.count() as f64);
        for (new, old) in self.cus[group].cohorts.iter().zip(&gone.cohorts) {
            let run = self.runs[new.run].as_mut().expect("a cohort's kernel is in flight");
            run.demand += count * (new.demand - old.demand);
            if new.stream {
                run.touch_stream(now);
                if let Some(stream) = &mut run.stream {
                    stream.rate += count * f64::from(new.n) * (new.rate - old.rate);
                }
            }
        }
    }
}
