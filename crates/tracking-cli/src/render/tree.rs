//! An upgrade's tasks as a tree with bars.

use tracking_model::{Status, TaskProgress, TaskTree, Timestamp, TreeRow, UpgradeProgress};

use super::{Palette, bar, one_line, sign, span};

const BAR_WIDTH: usize = 20;
/// Names are padded to this, longer ones are shown whole.
const NAME_WIDTH: usize = 36;

/// One line a task, children below their parent, in the order in which they were added.
pub(crate) fn task_tree(progress: &UpgradeProgress, now: Timestamp, palette: Palette) -> String {
    let tree = TaskTree::of(progress, now);
    let mut text = String::new();
    // For each level above the present one, whether its siblings are all shown.
    let mut ended: Vec<bool> = Vec::new();
    for row in &tree.rows {
        ended.truncate(row.level);
        let mut lead: String = ended
            .iter()
            .map(|ended| if *ended { "   " } else { "│  " })
            .collect();
        lead.push_str(if row.last { "└─ " } else { "├─ " });
        ended.push(row.last);
        text.push_str(&line(row, &lead, now, palette));
        text.push('\n');
    }
    text
}

fn line(row: &TreeRow<'_>, lead: &str, now: Timestamp, palette: Palette) -> String {
    let task = row.task;
    let name = one_line(&task.task_name);
    let used = lead.chars().count() + 2 + name.chars().count();
    let gap = " ".repeat(NAME_WIDTH.saturating_sub(used).max(1));
    let line = format!(
        "{}{} {}{gap}{} {:>5}%  {}",
        palette.dim(lead),
        palette.status(row.status, sign(row.status)),
        if task.children.is_empty() {
            name
        } else {
            palette.bold(&name)
        },
        palette.status(row.status, &bar(row.percentage, BAR_WIDTH)),
        row.percentage,
        remark(row, now, palette),
    );
    line.trim_end().to_owned()
}

/// What there is to say of a task: marks first, then its last words.
fn remark(row: &TreeRow<'_>, now: Timestamp, palette: Palette) -> String {
    let task = row.task;
    let mut parts = Vec::new();
    if row.stalled {
        let silent = task
            .last_report_at
            .or(task.started_at)
            .map(|last| span(now.since(last)));
        parts.push(palette.warn(&format!("stalled, silent for {}", silent.unwrap_or_default())));
    }
    if task.retry_count > 0 {
        parts.push(palette.warn(&format!("retry {}", task.retry_count)));
    }
    if let Some(waiting) = &task.waiting_on {
        let until = match waiting.until {
            Some(until) if until > now => format!(", {} left", span(until.since(now))),
            Some(until) => format!(", overdue by {}", span(now.since(until))),
            None => String::new(),
        };
        parts.push(palette.warn(&format!("waiting on {}{until}", one_line(&waiting.reason))));
        return parts.join(" · ");
    }
    match row.status {
        Status::Failed => {
            let error = task.error_message.as_deref().unwrap_or("failed");
            parts.push(palette.error(&one_line(error)));
        }
        Status::Completed => parts.extend(task.duration.map(|duration| palette.dim(&span(duration)))),
        Status::InProgress => parts.extend(last_words(task)),
        Status::Paused | Status::Cancelled => {
            parts.push(palette.status(row.status, row.status.as_str()));
            parts.extend(last_words(task));
        }
        Status::NotStarted => {}
    }
    parts.join(" · ")
}

fn last_words(task: &TaskProgress) -> Option<String> {
    let event = task.events.back()?;
    Some(one_line(&event.message)).filter(|message| !message.is_empty())
}
