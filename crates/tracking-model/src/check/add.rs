//! Which new tasks an upgrade takes.

use std::collections::HashMap;

use super::Checked;
use crate::{
    CommandError, MAX_DEPTH, MAX_WEIGHT, NewTask, TaskAdded, TaskId, UpgradeEvent, UpgradeProgress,
    check_name,
};

/// Checks tasks one after the other, each against the tree and those before it; all are added or none.
pub(super) fn add_tasks(state: &UpgradeProgress, tasks: Vec<NewTask>) -> Checked {
    let ids: HashMap<TaskId, usize> = tasks
        .iter()
        .enumerate()
        .rev()
        .map(|(index, task)| (task.task_id.clone(), index))
        .collect();
    let mut depths: Vec<usize> = Vec::with_capacity(tasks.len());
    let mut events = Vec::with_capacity(tasks.len());
    for (index, task) in tasks.into_iter().enumerate() {
        if state.status.is_final() {
            return Err(CommandError::UpgradeFinal {
                status: state.status,
                task_id: task.task_id,
            });
        }
        if state.task(&task.task_id).is_some() || ids[&task.task_id] != index {
            return Err(CommandError::TaskExists(task.task_id));
        }
        let depth = 1 + match &task.parent_task_id {
            None => 0,
            Some(parent) => match (state.task(parent), ids.get(parent)) {
                (Some(parent), _) => parent.depth,
                (None, Some(earlier)) if *earlier < index => depths[*earlier],
                (None, Some(_)) => {
                    return Err(CommandError::CyclicParent {
                        parent: parent.clone(),
                        task_id: task.task_id,
                    });
                }
                (None, None) => {
                    return Err(CommandError::UnknownParent {
                        parent: parent.clone(),
                        task_id: task.task_id,
                    });
                }
            },
        };
        depths.push(depth);
        events.push(UpgradeEvent::TaskAdded(new_task(task, depth)?));
    }
    Ok(events)
}

fn new_task(task: NewTask, depth: usize) -> Result<TaskAdded, CommandError> {
    check_name("task name", &task.task_name)?;
    if depth > MAX_DEPTH {
        return Err(CommandError::TooDeep {
            task_id: task.task_id,
        });
    }
    if !(task.weight > 0.0 && task.weight <= MAX_WEIGHT) {
        return Err(CommandError::InvalidWeight {
            task_id: task.task_id,
            weight: task.weight,
        });
    }
    if task.heartbeat_seconds == 0 {
        return Err(CommandError::InvalidHeartbeat {
            task_id: task.task_id,
        });
    }
    if task.total_steps == Some(0) {
        return Err(CommandError::InvalidSteps {
            task_id: task.task_id,
            done: 0,
            total: 0,
        });
    }
    Ok(TaskAdded {
        task_id: task.task_id,
        task_name: task.task_name,
        task_type: task.task_type,
        parent_task_id: task.parent_task_id,
        weight: task.weight,
        total_steps: task.total_steps,
        heartbeat_seconds: task.heartbeat_seconds,
    })
}
