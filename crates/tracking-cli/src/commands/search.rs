//! `ekstrack search` and `ekstrack stats`.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;

use serde::Serialize;
use tracking_facade::{
    Amount, Artifact, ArtifactError, ArtifactQuery, Clock, Day, NamePattern, Snippet, Statistics,
    SystemClock, TestArtifactsManager, TextQuery, TextQueryError,
};

use super::artifact::artifact_table;
use super::runtime::block_on;
use super::session::UnreadableSession;
use crate::args::{CriteriaArgs, SearchArgs, StatsArgs};
use crate::exit::{Failure, Kind, chain};
use crate::failure::cannot;
use crate::output::note;
use crate::render::{Palette, Table, bytes};
use crate::settings::Settings;
use crate::work::Work;

/// Days, sessions and upgrades that `stats` shows to people; scripts get all.
const SHOWN: usize = 10;

/// What `search` found.
#[derive(Debug, Serialize)]
struct SearchDocument {
    artifacts: Vec<Arc<Artifact>>,
    /// Whether there are more than the limit.
    more: bool,
    /// What to give to `--after` for the next page.
    next: Option<String>,
    /// For each artifact the part of its text that matches, if TEXT was given and it has one.
    snippets: Vec<Option<SnippetDocument>>,
    unreadable: Vec<UnreadableSession>,
    /// Nothing was found, and some texts are longer than what is searched.
    texts_were_cut: bool,
}

/// Part of a text, and which of its characters, from 0, were found: from the first to before the second.
#[derive(Debug, Serialize)]
struct SnippetDocument {
    text: String,
    marks: Vec<(usize, usize)>,
}

impl SnippetDocument {
    fn new(snippet: &Snippet) -> Self {
        let character = |byte: usize| {
            snippet
                .text
                .char_indices()
                .take_while(|(at, _)| *at < byte)
                .count()
        };
        Self {
            marks: snippet
                .marks
                .iter()
                .map(|mark| (character(mark.start), character(mark.end)))
                .collect(),
            text: snippet.text.clone(),
        }
    }
}

pub(crate) fn search(args: SearchArgs, settings: &Settings) -> Result<(), Failure> {
    let attempted = || "search for artifacts".to_owned();
    let mut query = query(args.criteria, attempted)?
        .with_sort(args.sort)
        .with_limit(usize::try_from(args.limit).unwrap_or(usize::MAX));
    query.after = args.after;
    query.snippets = true;
    let manager = settings.artifacts().map_err(cannot(attempted))?;
    if query.text.is_some() {
        super::remote::fetch_texts(settings)?;
    }
    let work = Work::begin("searching", settings.output);
    let found = block_on(async {
        update_index(&manager, &query, &work).await?;
        manager.search_artifacts(query).await
    });
    work.end();
    let found = found?.map_err(settings.cannot(attempted))?;
    tell_of_index(&manager);
    let document = SearchDocument {
        artifacts: found.artifacts,
        more: found.more,
        next: found.next.map(|next| next.to_string()),
        snippets: found
            .snippets
            .iter()
            .map(|snippet| snippet.as_ref().map(SnippetDocument::new))
            .collect(),
        unreadable: UnreadableSession::all(&found.unreadable, settings),
        texts_were_cut: found.texts_were_cut,
    };
    settings.output.result(&document, |palette| {
        let table = artifact_table(document.artifacts.iter().map(AsRef::as_ref));
        let mut text = if table.is_empty() {
            nothing_found(document.texts_were_cut)
        } else {
            let marked = |number: usize| Some(marked(found.snippets.get(number)?.as_ref()?, palette));
            table.render_with(palette, marked)
        };
        if let Some(next) = &document.next {
            text.push_str(&palette.dim(&format!(
                "there are more: raise --limit, or go on with --after '{next}'\n"
            )));
        }
        text.extend(
            document
                .unreadable
                .iter()
                .map(|unreadable| unreadable.line(palette)),
        );
        text
    })
}

fn nothing_found(texts_were_cut: bool) -> String {
    let limit = "; only the beginning of long texts is searched: `text_bytes` in ekstrack.toml says how much";
    format!("nothing found{}\n", if texts_were_cut { limit } else { "" })
}

/// A snippet on a line of its own, with what was found in it made to stand out.
fn marked(snippet: &Snippet, palette: Palette) -> String {
    let part = |range: std::ops::Range<usize>| snippet.text.get(range).unwrap_or_default();
    let mut line = "  ".to_owned();
    let mut at = 0;
    for mark in &snippet.marks {
        line.push_str(&palette.dim(part(at..mark.start)));
        line.push_str(&palette.warn(part(mark.clone())));
        at = mark.end;
    }
    line.push_str(&palette.dim(part(at..snippet.text.len())));
    line.trim_end().to_owned()
}

/// Takes up what was added since the last search, and shows how far that is: after an import, or where the index was
/// deleted, it may be everything.
async fn update_index(
    manager: &TestArtifactsManager,
    query: &ArtifactQuery,
    work: &Work,
) -> Result<(), ArtifactError> {
    // A search in one session takes up that one alone.
    if query.session_id.is_some() {
        return Ok(());
    }
    let shown = work.clone();
    let told = move |progress: tracking_facade::IndexProgress| {
        let percent = progress.bytes.saturating_mul(100) / progress.total_bytes.max(1);
        shown.say(&format!("indexing {} %", percent.min(100)));
    };
    // Sessions that cannot be read are named by what is asked next.
    manager.update_index(told).await.map(drop)
}

/// Says on stderr that the index could not be used, if it could not: what was found is right all the same.
fn tell_of_index(manager: &TestArtifactsManager) {
    if let Some(error) = manager.index_failure() {
        let why = chain(error).join(": ");
        note(
            "warning",
            &format!("the search index cannot be used, which is slower: {why}"),
        );
    }
}

fn query(args: CriteriaArgs, attempted: impl Fn() -> String + Copy) -> Result<ArtifactQuery, Failure> {
    let now = SystemClock.now();
    let arcs = |tags: Vec<String>| tags.into_iter().map(Arc::from).collect();
    let mut query = ArtifactQuery::new();
    if !args.text.is_empty() {
        query.text = Some(TextQuery::new(args.text.join(" ")).map_err(|error| misread(error, attempted()))?);
    }
    query.name = args.name.map(|name| name_pattern(name, attempted)).transpose()?;
    query.all_tags = arcs(args.tag);
    query.any_tags = arcs(args.any_tag);
    query.no_tags = arcs(args.not_tag);
    query.types = args.artifact_type;
    query.statuses = args.status;
    query.upgrade_id = args.upgrade;
    query.cluster_name = args.cluster.map(Arc::from);
    query.session_id = args.session;
    query.collection_id = args.collection;
    query.task_id = args.task;
    query.step_id = args.step.map(Arc::from);
    query.min_size = args.min_size;
    query.max_size = args.max_size;
    query.since = args.since.map(|since| since.at(now));
    query.until = args.until.map(|until| until.at(now));
    Ok(query)
}

/// Reads a name pattern, or shows the place from which on it makes no sense.
fn name_pattern(text: String, attempted: impl Fn() -> String) -> Result<NamePattern, Failure> {
    NamePattern::new(text.as_str()).map_err(|error| {
        let before = text
            .char_indices()
            .map(|(end, _)| text.get(..end).unwrap_or_default());
        let place = before
            .enumerate()
            .filter(|(_, before)| NamePattern::new(*before).is_ok())
            .last();
        let place = place.map_or(0, |(characters, _)| characters);
        Failure::of(Kind::Usage, attempted(), &error).at(text, place)
    })
}

/// Shows the place at which a text query stops making sense.
fn misread(error: TextQueryError, attempted: String) -> Failure {
    Failure::new(
        Kind::Usage,
        attempted,
        format!("the text cannot be read: {}", error.reason),
    )
    .at(error.text, error.at)
}

/// A number of artifacts and their bytes.
#[derive(Debug, Clone, Copy, Serialize)]
struct AmountDocument {
    artifacts: u64,
    bytes: u64,
}

impl From<Amount> for AmountDocument {
    fn from(amount: Amount) -> Self {
        Self {
            artifacts: amount.artifacts,
            bytes: amount.bytes,
        }
    }
}

/// What there is on one day, and at its end.
#[derive(Debug, Serialize)]
struct DayDocument {
    day: String,
    artifacts: u64,
    bytes: u64,
    total_artifacts: u64,
    total_bytes: u64,
}

/// `stats`.
#[derive(Debug, Serialize)]
struct StatsDocument {
    artifacts: u64,
    bytes: u64,
    by_type: BTreeMap<String, AmountDocument>,
    by_status: BTreeMap<String, AmountDocument>,
    by_session: BTreeMap<String, AmountDocument>,
    by_upgrade: BTreeMap<String, AmountDocument>,
    by_day: Vec<DayDocument>,
    largest: Vec<Arc<Artifact>>,
    unreadable: Vec<UnreadableSession>,
}

impl StatsDocument {
    fn new(statistics: &Statistics, unreadable: Vec<UnreadableSession>) -> Self {
        let days = statistics.by_day.values().zip(statistics.growth());
        let day = |(amount, (day, total)): (&Amount, (Day, Amount))| DayDocument {
            day: day.to_string(),
            artifacts: amount.artifacts,
            bytes: amount.bytes,
            total_artifacts: total.artifacts,
            total_bytes: total.bytes,
        };
        Self {
            artifacts: statistics.total.artifacts,
            bytes: statistics.total.bytes,
            by_type: named(&statistics.by_type),
            by_status: named(&statistics.by_status),
            by_session: named(&statistics.by_session),
            by_upgrade: named(&statistics.by_upgrade),
            by_day: days.map(day).collect(),
            largest: statistics.largest.clone(),
            unreadable,
        }
    }
}

fn named<K: Display>(amounts: &BTreeMap<K, Amount>) -> BTreeMap<String, AmountDocument> {
    let named = |(name, amount): (&K, &Amount)| (name.to_string(), (*amount).into());
    amounts.iter().map(named).collect()
}

pub(crate) fn stats(args: StatsArgs, settings: &Settings) -> Result<(), Failure> {
    let attempted = || "count artifacts".to_owned();
    let query = query(args.criteria, attempted)?;
    let manager = settings.artifacts().map_err(cannot(attempted))?;
    let work = Work::begin("counting", settings.output);
    let counted = block_on(async {
        update_index(&manager, &query, &work).await?;
        manager.artifact_statistics(query).await
    });
    work.end();
    let counted = counted?.map_err(settings.cannot(attempted))?;
    tell_of_index(&manager);
    let unreadable = UnreadableSession::all(&counted.unreadable, settings);
    let document = StatsDocument::new(&counted.statistics, unreadable);
    settings
        .output
        .result(&document, |palette| stats_text(&document, palette))
}

fn stats_text(document: &StatsDocument, palette: Palette) -> String {
    let mut text = format!("{} artifacts, {}\n", document.artifacts, bytes(document.bytes));
    let groups = [
        ("TYPE", &document.by_type),
        ("STATUS", &document.by_status),
        ("UPGRADE", &document.by_upgrade),
        ("SESSION", &document.by_session),
    ];
    for (head, amounts) in groups {
        text.push_str(&group_text(head, amounts, palette));
    }
    if !document.by_day.is_empty() {
        let mut table = Table::new(["DAY", "ADDED", "SIZE", "TOTAL", "SIZE"]);
        let first = document.by_day.len().saturating_sub(SHOWN);
        for day in document.by_day.iter().skip(first) {
            table.row([
                (&day.day).into(),
                day.artifacts.to_string().into(),
                bytes(day.bytes).into(),
                day.total_artifacts.to_string().into(),
                bytes(day.total_bytes).into(),
            ]);
        }
        text.push('\n');
        text.push_str(&table.render(palette));
        text.push_str(&not_shown(first, "earlier days", palette));
    }
    if !document.largest.is_empty() {
        text.push_str(&format!("\n{}\n", palette.bold("The largest")));
        text.push_str(&artifact_table(document.largest.iter().map(AsRef::as_ref)).render(palette));
    }
    text.extend(
        document
            .unreadable
            .iter()
            .map(|unreadable| unreadable.line(palette)),
    );
    text
}

/// The groups with the most bytes.
fn group_text(head: &'static str, amounts: &BTreeMap<String, AmountDocument>, palette: Palette) -> String {
    if amounts.is_empty() {
        return String::new();
    }
    let mut largest: Vec<_> = amounts.iter().collect();
    largest.sort_by_key(|(_, amount)| std::cmp::Reverse((amount.bytes, amount.artifacts)));
    let mut table = Table::new([head, "ARTIFACTS", "SIZE"]);
    for (name, amount) in largest.iter().take(SHOWN) {
        table.row([
            name.into(),
            amount.artifacts.to_string().into(),
            bytes(amount.bytes).into(),
        ]);
    }
    let more = not_shown(largest.len().saturating_sub(SHOWN), "more", palette);
    format!("\n{}{more}", table.render(palette))
}

fn not_shown(count: usize, what: &str, palette: Palette) -> String {
    match count {
        0 => String::new(),
        count => palette.dim(&format!("{count} {what}: --json has them\n")),
    }
}
