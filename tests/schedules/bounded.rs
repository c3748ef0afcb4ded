//! A scheduler that tries every schedule of few changes: those in which a thread that could go on has to give way at most so
//! many times. All changes that are forced, because a thread waits or ends, are tried in every order.

use shuttle::scheduler::{Schedule, Scheduler, Task, TaskId};

/// Searches depth first.
#[derive(Debug)]
pub(crate) struct Bounded {
    most_changes: usize,
    n_changes: usize,
    step: usize,
    // What was chosen from at each step of the execution, and which of them.
    levels: Vec<(Vec<TaskId>, usize)>,
    is_first: bool,
}

impl Bounded {
    pub(crate) fn new(most_changes: usize) -> Bounded {
        Bounded {
            most_changes,
            n_changes: 0,
            step: 0,
            levels: Vec::new(),
            is_first: true,
        }
    }

    fn choices(&self, runnable: &[&Task], current: Option<TaskId>) -> Vec<TaskId> {
        let others = runnable.iter().map(|task| task.id());
        let others = others.filter(|&id| Some(id) != current);
        match current {
            Some(current) if self.n_changes == self.most_changes => vec![current],
            Some(current) => [current].into_iter().chain(others).collect(),
            None => others.collect(),
        }
    }
}

impl Scheduler for Bounded {
    fn new_execution(&mut self) -> Option<Schedule> {
        while let Some((choices, at)) = self.levels.last_mut() {
            *at += 1;
            if *at < choices.len() {
                break;
            }
            self.levels.pop();
        }
        if self.levels.is_empty() && !std::mem::take(&mut self.is_first) {
            return None;
        }
        (self.step, self.n_changes) = (0, 0);
        Some(Schedule::new(0))
    }

    fn next_task(
        &mut self,
        runnable: &[&Task],
        current: Option<TaskId>,
        is_yielding: bool,
    ) -> Option<TaskId> {
        let can_go_on = |id: &TaskId| !is_yielding && runnable.iter().any(|task| task.id() == *id);
        let current = current.filter(can_go_on);
        if self.step == self.levels.len() {
            let choices = self.choices(runnable, current);
            self.levels.push((choices, 0));
        }
        let (choices, at) = &self.levels[self.step];
        let chosen = choices[*at];
        self.n_changes += usize::from(current.is_some_and(|current| current != chosen));
        self.step += 1;
        Some(chosen)
    }

    fn next_u64(&mut self) -> u64 {
        unreachable!("exhaustive cases draw nothing")
    }
}
