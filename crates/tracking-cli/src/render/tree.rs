//! An upgrade's tasks as a tree with bars.

use tracking_model::{Percent, Rollup, Status, TaskProgress, Timestamp, UpgradeProgress};

use super::{Palette, bar, one_line, sign, span};

const BAR_WIDTH: usize = 20;
/// Names are padded to this, longer ones are shown whole.
const NAME_WIDTH: usize = 36;

/// One line a task, children below their parent, in the order in which they were added.
pub(crate) fn task_tree(progress: &UpgradeProgress, now: Timestamp, palette: Palette) -> String {
    let tree = Tree {
        progress,
        rollup: &Rollup::of(progress),
        now,
        palette,
    };
    let top: Vec<&TaskProgress> = progress
        .tasks()
        .values()
        .filter(|task| task.parent_task_id.is_none())
        .collect();
    let mut text = String::new();
    tree.level(&top, "", &mut text);
    text
}

struct Tree<'a> {
    progress: &'a UpgradeProgress,
    rollup: &'a Rollup,
    now: Timestamp,
    palette: Palette,
}

impl Tree<'_> {
    fn level(&self, tasks: &[&TaskProgress], indent: &str, text: &mut String) {
        for (index, task) in tasks.iter().enumerate() {
            let last = index + 1 == tasks.len();
            let branch = if last { "└─ " } else { "├─ " };
            text.push_str(&self.line(task, &format!("{indent}{branch}")));
            text.push('\n');
            let children: Vec<&TaskProgress> = task
                .children
                .iter()
                .filter_map(|id| self.progress.task(id))
                .collect();
            let below = if last { "   " } else { "│  " };
            self.level(&children, &format!("{indent}{below}"), text);
        }
    }

    fn line(&self, task: &TaskProgress, lead: &str) -> String {
        let palette = self.palette;
        let percent = self.rollup.task(&task.task_id).unwrap_or(Percent::ZERO);
        let name = one_line(&task.task_name);
        let used = lead.chars().count() + 2 + name.chars().count();
        let gap = " ".repeat(NAME_WIDTH.saturating_sub(used).max(1));
        let line = format!(
            "{}{} {}{gap}{} {percent:>5}%  {}",
            palette.dim(lead),
            palette.status(task.status, sign(task.status)),
            if task.children.is_empty() {
                name
            } else {
                palette.bold(&name)
            },
            palette.status(task.status, &bar(percent, BAR_WIDTH)),
            self.remark(task),
        );
        line.trim_end().to_owned()
    }

    /// What there is to say of a task: marks first, then its last words.
    fn remark(&self, task: &TaskProgress) -> String {
        let palette = self.palette;
        let mut parts = Vec::new();
        if task.is_stalled(self.now) {
            let silent = task
                .last_report_at
                .or(task.started_at)
                .map(|last| span(self.now.since(last)));
            parts.push(palette.warn(&format!("stalled, silent for {}", silent.unwrap_or_default())));
        }
        if task.retry_count > 0 {
            parts.push(palette.warn(&format!("retry {}", task.retry_count)));
        }
        if let Some(waiting) = &task.waiting_on {
            let until = match waiting.until {
                Some(until) if until > self.now => format!(", {} left", span(until.since(self.now))),
                Some(until) => format!(", overdue by {}", span(self.now.since(until))),
                None => String::new(),
            };
            parts.push(palette.warn(&format!("waiting on {}{until}", one_line(&waiting.reason))));
            return parts.join(" · ");
        }
        match task.status {
            Status::Failed => {
                let error = task.error_message.as_deref().unwrap_or("failed");
                parts.push(palette.error(&one_line(error)));
            }
            Status::Completed => {
                parts.extend(task.duration.map(|duration| palette.dim(&span(duration))));
            }
            Status::InProgress => parts.extend(last_words(task)),
            Status::Paused | Status::Cancelled => {
                parts.push(palette.status(task.status, task.status.as_str()));
                parts.extend(last_words(task));
            }
            Status::NotStarted => {}
        }
        parts.join(" · ")
    }
}

fn last_words(task: &TaskProgress) -> Option<String> {
    let event = task.events.back()?;
    Some(one_line(&event.message)).filter(|message| !message.is_empty())
}
