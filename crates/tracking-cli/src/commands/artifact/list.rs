//! `ekstrack artifact list`.

use std::cell::RefCell;
use std::io::{BufWriter, Write};

use serde::{Serialize, Serializer};
use tracking_facade::ArtifactQuery;

use super::artifact_table;
use crate::args::ArtifactListArgs;
use crate::commands::pages::{Pages, write_document};
use crate::commands::session::UnreadableSession;
use crate::exit::Failure;
use crate::failure::cannot;
use crate::output::stdout;
use crate::settings::Settings;

#[derive(Serialize)]
struct ListDocument<'a> {
    artifacts: Listed<'a>,
    unreadable: Later<'a>,
}

/// The artifacts; then it is known which sessions cannot be read.
struct Listed<'a> {
    pages: &'a Pages<'a>,
    settings: &'a Settings,
    unreadable: &'a RefCell<Vec<UnreadableSession>>,
}

struct Later<'a>(&'a RefCell<Vec<UnreadableSession>>);

impl Serialize for Listed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (done, unreadable) = self.pages.serialize_all(serializer)?;
        *self.unreadable.borrow_mut() = UnreadableSession::all(&unreadable, self.settings);
        Ok(done)
    }
}

impl Serialize for Later<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.borrow().serialize(serializer)
    }
}

pub(super) fn list(settings: &Settings, args: ArtifactListArgs) -> Result<(), Failure> {
    let attempted = || format!("list the artifacts in {}", settings.place());
    let manager = settings.artifacts().map_err(cannot(attempted))?;
    if let Some(id) = &args.session {
        crate::commands::runtime::block_on(manager.session(id))?.map_err(settings.cannot(attempted))?;
    }
    let mut query = ArtifactQuery::new();
    query.session_id = args.session;
    query.collection_id = args.collection;
    query.upgrade_id = args.upgrade;
    query.task_id = args.task;
    let pages = Pages::new(&manager, query, attempted());
    let mut out = BufWriter::new(stdout());
    if settings.output.is_json() {
        let unreadable = RefCell::default();
        let document = ListDocument {
            artifacts: Listed {
                pages: &pages,
                settings,
                unreadable: &unreadable,
            },
            unreadable: Later(&unreadable),
        };
        write_document(&mut out, &document, || pages.failure())?;
    } else {
        print_text(&mut out, &pages, settings)?;
    }
    out.flush().map_err(|error| Failure::output(&error))
}

fn print_text(out: &mut impl Write, pages: &Pages<'_>, settings: &Settings) -> Result<(), Failure> {
    let palette = settings.output.palette();
    let mut print = |text: &str| {
        out.write_all(text.as_bytes())
            .map_err(|error| Failure::output(&error))
    };
    let mut empty = true;
    let unreadable = pages.each(
        |failure| failure,
        |page| {
            if page.is_empty() {
                return Ok(());
            }
            empty = false;
            print(&artifact_table(page.iter().map(AsRef::as_ref)).render(palette))
        },
    )?;
    if empty {
        print("no artifacts\n")?;
    }
    UnreadableSession::all(&unreadable, settings)
        .iter()
        .try_for_each(|one| print(&one.line(palette)))
}
