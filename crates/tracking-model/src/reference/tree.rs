//! Making a tree of tasks whose parents may be anything.

use std::collections::HashMap;

use super::json::Json;
use super::read::Findings;
use crate::{MAX_DEPTH, TaskId, TaskProgress};

/// Sets the children and depths of `tasks`. A task that is its own ancestor becomes a top-level one; one that is too
/// deep becomes part of its nearest ancestor that may have parts. What it was part of is kept.
pub(super) fn arrange(tasks: &mut [TaskProgress], found: &mut Findings) {
    let places: HashMap<TaskId, usize> = tasks
        .iter()
        .enumerate()
        .map(|(place, task)| (task.task_id.clone(), place))
        .collect();
    let mut parents: Vec<Option<usize>> = tasks
        .iter()
        .map(|task| {
            task.parent_task_id
                .as_ref()
                .and_then(|parent| places.get(parent))
                .copied()
        })
        .collect();
    let mut depths = vec![0; tasks.len()];
    for place in 0..tasks.len() {
        settle(place, &mut parents, &mut depths);
    }
    for place in 0..tasks.len() {
        let parent = parents[place].map(|parent| tasks[parent].task_id.clone());
        let task = &mut tasks[place];
        task.depth = depths[place];
        if parent != task.parent_task_id {
            if let Some(stated) = &task.parent_task_id {
                let why = match &parent {
                    None => "is no task, or part of this one, which is now a top-level task".to_owned(),
                    Some(parent) => format!("is too deep in the tree: this task is now part of {parent}"),
                };
                let path = format!("tasks.{}.parent_task_id", task.task_id);
                found.keep(&path, &Json::Text(stated.to_string()), why);
            }
            task.parent_task_id = parent;
        }
        if let Some(parent) = parents[place] {
            let child = tasks[place].task_id.clone();
            tasks[parent].children.push(child);
        }
    }
}

/// Finds the depth of the task at `place` and of all above it, changing parents that cannot be.
fn settle(place: usize, parents: &mut [Option<usize>], depths: &mut [usize]) {
    const ON_THE_WAY: usize = usize::MAX;
    let mut way = Vec::new();
    let mut at = place;
    while depths[at] == 0 {
        depths[at] = ON_THE_WAY;
        way.push(at);
        match parents[at] {
            Some(parent) if depths[parent] == ON_THE_WAY => {
                // `parent` is its own ancestor: the circle is cut where it was entered.
                parents[parent] = None;
                break;
            }
            Some(parent) => at = parent,
            None => break,
        }
    }
    // From the top down. After a cut the entry is not the last on the way, so its depth is found by asking its parents.
    while let Some(at) = way.pop() {
        depths[at] = match parents[at] {
            None => 1,
            Some(parent) if depths[parent] == ON_THE_WAY => {
                way.push(at);
                way.push(parent);
                continue;
            }
            Some(parent) if depths[parent] < MAX_DEPTH => depths[parent] + 1,
            Some(parent) => {
                parents[at] = parents[parent];
                MAX_DEPTH
            }
        };
    }
}
