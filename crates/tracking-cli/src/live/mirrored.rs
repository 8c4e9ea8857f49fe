//! An upgrade that is followed from afar, for people: folded from a snapshot and what happens after it, and shown as one
//! whose journal is here.

use tracking_facade::live::protocol::{Placed, Position, SummaryMessage};
use tracking_facade::{Agent, History, ProgressEventMessage, Status, Summary, Timestamp, UpgradeMirror};

use super::lines::Lines;
use super::tree::{Standing, Tree};
use crate::exit::{Failure, Kind, chain};
use crate::output::Output;

/// What is shown, begun with the first snapshot.
#[derive(Debug)]
pub(super) struct Mirrored {
    output: Output,
    /// As a tree, which a terminal gets.
    live: bool,
    shown: Option<Shown>,
}

#[derive(Debug)]
struct Shown {
    mirror: UpgradeMirror,
    /// Where the snapshot was taken.
    begun: Position,
    agent: Agent,
    form: Form,
}

#[derive(Debug)]
enum Form {
    Lines(Lines),
    Tree(Box<Tree>),
}

impl Mirrored {
    pub(super) const fn new(output: Output, live: bool) -> Self {
        Self {
            output,
            live,
            shown: None,
        }
    }

    /// How it stands now; what is shown is live again.
    pub(super) fn summary(
        &mut self,
        message: &Placed<SummaryMessage>,
        now: Timestamp,
    ) -> Result<(), Failure> {
        let summary = &message.data.summary;
        if let Some(snapshot) = &message.data.snapshot {
            let mirror = UpgradeMirror::begin(snapshot, summary, message.position.seq)
                .map_err(|error| unreadable(&chain(&error).join(": ")))?;
            self.begin(mirror, message)?;
        } else if let Some(shown) = &mut self.shown {
            shown.mirror.summary(summary, now);
        }
        let Some(shown) = &mut self.shown else {
            return Err(unreadable("it sends no snapshot: it is of an older version"));
        };
        shown.agent = agent(message.data.agent.as_deref());
        if let Form::Tree(tree) = &mut shown.form {
            if let Some(history) = &message.data.history {
                match serde_json::from_str(history) {
                    Ok(history) => tree.learn(history),
                    Err(error) => tracing::warn!(%error, "estimates do without what other upgrades teach"),
                }
            }
            tree.live();
        }
        shown.draw(now)
    }

    /// Takes a snapshot in place of what was known.
    fn begin(&mut self, mirror: UpgradeMirror, message: &Placed<SummaryMessage>) -> Result<(), Failure> {
        let (begun, summary) = (message.position, &message.data.summary);
        if let Some(shown) = &mut self.shown {
            (shown.mirror, shown.begun) = (mirror, begun);
            return Ok(());
        }
        let form = if self.live {
            Form::Tree(Box::new(Tree::begin(History::default(), self.output.palette())?))
        } else {
            let lines = Lines::new(summary.upgrade_id.clone(), self.output);
            lines.summary(summary)?;
            Form::Lines(lines)
        };
        self.shown = Some(Shown {
            mirror,
            begun,
            agent: Agent::NotNeeded,
            form,
        });
        Ok(())
    }

    pub(super) fn event(&mut self, message: &Placed<ProgressEventMessage>) -> Result<(), Failure> {
        let Some(shown) = &mut self.shown else {
            return Ok(());
        };
        if message.position.epoch == shown.begun.epoch {
            shown.mirror.event(message.position.seq, &message.data);
            // Somebody is at work again.
            if shown.agent == Agent::Gone {
                shown.agent = Agent::Recent;
            }
        }
        match &mut shown.form {
            Form::Lines(lines) => lines.message(&message.data),
            Form::Tree(tree) => {
                tree.changed();
                Ok(())
            }
        }
    }

    /// From `now` on what is shown is not live, until the next summary.
    pub(super) fn stale(&mut self, reason: &str, now: Timestamp) {
        if let Some(Shown {
            form: Form::Tree(tree),
            ..
        }) = &mut self.shown
        {
            tree.stale(reason.to_owned(), now);
        }
    }

    /// Whether it is drawn on a terminal, again and again.
    pub(super) fn is_drawn(&self) -> bool {
        let form = self.shown.as_ref().map(|shown| &shown.form);
        matches!(form, Some(Form::Tree(_)))
    }

    /// Ready when it should be drawn again; never for what is not drawn.
    pub(super) async fn due(&self) {
        match self.shown.as_ref().map(|shown| &shown.form) {
            Some(Form::Tree(tree)) => tree.due().await,
            Some(Form::Lines(_)) | None => std::future::pending().await,
        }
    }

    /// Draws it now, if it is drawn.
    pub(super) fn draw(&mut self, now: Timestamp) -> Result<(), Failure> {
        self.shown.as_mut().map_or(Ok(()), |shown| shown.draw(now))
    }

    /// Shows how it stands in the end.
    pub(super) fn finish(&mut self, now: Timestamp) -> Result<(), Failure> {
        match &mut self.shown {
            None => Ok(()),
            Some(shown) => match &shown.form {
                Form::Lines(lines) if lines.has_news() => {
                    lines.summary(&Summary::of(shown.mirror.progress(), now))
                }
                Form::Lines(_) => Ok(()),
                Form::Tree(_) => shown.draw(now),
            },
        }
    }
}

impl Shown {
    fn draw(&mut self, now: Timestamp) -> Result<(), Failure> {
        let Form::Tree(tree) = &mut self.form else {
            return Ok(());
        };
        let progress = self.mirror.progress();
        let agent = if progress.status == Status::InProgress && !tree.is_stale() {
            self.agent
        } else {
            Agent::NotNeeded
        };
        tree.draw(&Standing {
            progress,
            agent,
            stalled: Some(self.mirror.stalled()),
            now,
        })
    }
}

/// What a summary says of who is at work; a word that is not known here says nothing.
fn agent(word: Option<&str>) -> Agent {
    match word {
        Some("live") => Agent::Live,
        Some("recent") => Agent::Recent,
        Some("gone") => Agent::Gone,
        Some("elsewhere") => Agent::Elsewhere,
        _ => Agent::NotNeeded,
    }
}

fn unreadable(why: &str) -> Failure {
    Failure::new(Kind::Failed, "make sense of what the server sends", why)
        .hint("use the version of ekstrack that the server has, or --json")
}
