//! Large groups of tasks in chunks, so that one task's change costs as much in a group of 100,000
//! as in one of 100. Which chunk a task belongs to is told by a hash of its id.

use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::FixedState;
use waymark_model::{ClusterTask, TaskEntry, TaskId};

use crate::tasks::Task;

/// The tasks of a group that is one chunk, at most.
const WHOLE: usize = if cfg!(test) { 4 } else { 128 };
/// The tasks of a chunk, about. Tests split small groups.
const CHUNK: usize = if cfg!(test) { 2 } else { 64 };

/// A task of either kind.
pub(super) trait Identified {
    fn id(&self) -> &TaskId;
    fn task(self: &Arc<Self>) -> Task;
}

impl Identified for TaskEntry {
    fn id(&self) -> &TaskId {
        &self.id
    }
    fn task(self: &Arc<Self>) -> Task {
        Task::Own(self.clone())
    }
}

impl Identified for ClusterTask {
    fn id(&self) -> &TaskId {
        &self.id
    }
    fn task(self: &Arc<Self>) -> Task {
        Task::Mesos(self.clone())
    }
}

/// What happened to a task: it is new or changed, or (`None`) gone.
pub(super) type TaskChange<'a> = (&'a TaskId, Option<Task>);

/// Into how many chunks a group of so many tasks is split.
pub(super) fn number(tasks: usize) -> usize {
    if tasks <= WHOLE { 1 } else { (tasks / CHUNK).next_power_of_two() }
}

/// Whether so many chunks still do for so many tasks: a group that grows or shrinks a little is not
/// split anew.
pub(super) fn suits(chunks: usize, tasks: usize) -> bool {
    tasks <= chunks * 2 * CHUNK && tasks >= chunks * CHUNK / 4
}

/// The named tasks of a list.
pub(super) fn named<T: Identified>(tasks: &[Arc<T>], named: impl Fn(&Task) -> bool) -> Vec<Task> {
    tasks.iter().map(Identified::task).filter(named).collect()
}

/// A group's named tasks by their chunks.
pub(super) fn split<T: Identified>(
    tasks: &[Arc<T>],
    chunks: usize,
    named: impl Fn(&Task) -> bool,
) -> Vec<Vec<Task>> {
    let mut split = vec![Vec::new(); chunks];
    for task in tasks.iter().map(Identified::task).filter(named) {
        if let Some(chunk) = split.get_mut(chunk_of(task.id(), chunks)) {
            chunk.push(task);
        }
    }
    split
}

/// What happened between two lists in order of the ids, by chunks.
pub(super) fn changes<'a, T: Identified>(
    before: &'a [Arc<T>],
    after: &'a [Arc<T>],
    chunks: usize,
) -> BTreeMap<usize, Vec<TaskChange<'a>>> {
    let mut changes: BTreeMap<usize, Vec<TaskChange<'a>>> = BTreeMap::new();
    let mut note = |id: &'a TaskId, task: Option<&Arc<T>>| {
        let change = (id, task.map(Identified::task));
        changes.entry(chunk_of(id, chunks)).or_default().push(change);
    };
    let (mut before, mut after) = (before.iter().peekable(), after.iter().peekable());
    while let Some(least) =
        [before.peek(), after.peek()].into_iter().flatten().map(|t| t.id()).min()
    {
        let was = before.next_if(|task| task.id() == least);
        let is = after.next_if(|task| task.id() == least);
        match (was, is) {
            (Some(was), Some(is)) if Arc::ptr_eq(was, is) => {}
            _ => note(least, is),
        }
    }
    changes
}

/// A chunk's named tasks with changes applied, in order of their ids.
pub(super) fn changed(
    present: &[Task],
    changes: &[TaskChange<'_>],
    named: impl Fn(&Task) -> bool,
) -> Vec<Task> {
    let mut tasks: BTreeMap<&TaskId, &Task> =
        present.iter().map(|task| (task.id(), task)).collect();
    for (id, task) in changes {
        match task.as_ref().filter(|task| named(task)) {
            Some(task) => tasks.insert(id, task),
            None => tasks.remove(id),
        };
    }
    tasks.into_values().cloned().collect()
}

fn chunk_of(id: &TaskId, chunks: usize) -> usize {
    // Any fixed seed: the same task stays in its chunk.
    FixedState::default().hash_one(id) as usize & (chunks - 1)
}
