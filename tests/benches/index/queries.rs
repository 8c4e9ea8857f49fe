//! The kinds of query, each with parameters that differ from one query to the next.

use std::sync::Arc;

use artifact_core::{ArtifactQuery, NamePattern, Sort, TextQuery};
use tracking_model::{ArtifactStatus, ArtifactType, Timestamp};

use super::dataset::{Numbers, word};

pub(crate) type Kind = (&'static str, fn(&mut Numbers) -> ArtifactQuery);

fn any() -> ArtifactQuery {
    ArtifactQuery::new().with_limit(50)
}

fn text(text: impl Into<String>) -> ArtifactQuery {
    any().with_text(TextQuery::new(text).unwrap())
}

fn named(pattern: String) -> ArtifactQuery {
    any().with_name(NamePattern::new(pattern).unwrap())
}

fn tag(n: &mut Numbers) -> Arc<str> {
    format!("node-{}", n.below(500)).into()
}

pub(crate) const KINDS: [Kind; 36] = [
    ("newest", |_| any()),
    ("type", |n| {
        any().with_type(ArtifactType::ALL[usize::try_from(n.below(8)).unwrap()])
    }),
    ("two types", |_| {
        any()
            .with_type(ArtifactType::Report)
            .with_type(ArtifactType::Diagnostic)
    }),
    ("status", |_| any().with_status(ArtifactStatus::Uploaded)),
    ("status that none has", |_| {
        any().with_status(ArtifactStatus::Failed)
    }),
    ("tag", |n| any().with_tag(tag(n))),
    ("two tags", |n| any().with_tag(tag(n)).with_tag("zone-1")),
    ("any of three tags", |n| {
        let mut query = any();
        query.any_tags = vec![tag(n), tag(n), tag(n)];
        query
    }),
    ("without a tag", |n| {
        let mut query = any();
        query.no_tags = vec![tag(n), "zone-1".into()];
        query
    }),
    ("task", |n| {
        any().of_task(format!("task-{}", n.below(200)).parse().unwrap())
    }),
    ("step", |n| {
        let mut query = any();
        query.step_id = Some(format!("step {}", n.below(20)).into());
        query
    }),
    ("upgrade", |n| {
        any().of_upgrade(format!("upgrade-{}", n.below(10)).parse().unwrap())
    }),
    ("cluster", |n| {
        let mut query = any();
        query.cluster_name = Some(format!("cluster-{}", n.below(4)).into());
        query
    }),
    ("session", |n| {
        any().in_session(format!("session-{}", n.below(20)).parse().unwrap())
    }),
    ("collection", |_| any().in_collection("texts".parse().unwrap())),
    ("part of a name", |n| named(format!("{}.lo", word(n.word(4000))))),
    ("glob", |n| named(format!("node-{}?-*.log", n.below(500)))),
    ("part of a name that none has", |n| {
        named(format!("absent-{}", n.below(500)))
    }),
    ("size range", |n| {
        let mut query = any();
        let least = 1 << n.below(28);
        (query.min_size, query.max_size) = (Some(least), Some(least * 3));
        query
    }),
    ("time range", |n| {
        let mut query = any();
        let since = 1_735_000_000_000_000 + i64::try_from(n.below(900_000_000)).unwrap();
        query.since = Some(Timestamp::from_micros(since));
        query.until = Some(Timestamp::from_micros(since + 60_000_000));
        query
    }),
    ("common word", |_| text("ready")),
    ("word", |n| text(word(n.word(4000)))),
    ("rare word", |n| text(n.below(1_000_000).to_string())),
    ("two words", |n| {
        text(format!("{} {}", word(n.word(4000)), word(n.word(4000))))
    }),
    ("phrase", |n| text(format!("\"{} node ip\"", word(n.word(4000))))),
    ("beginning of a word", |n| {
        text(format!("{}*", word(n.word(4000)).split_at(5).0))
    }),
    ("without a word", |n| {
        text(format!("ready -{}", word(n.word(4000))))
    }),
    ("all but a word", |n| text(format!("-{}", word(n.word(4000))))),
    ("ranked, common word", |_| text("ready").with_sort(Sort::Rank)),
    ("ranked, word", |n| text(word(n.word(4000))).with_sort(Sort::Rank)),
    ("text, type, upgrade, tag", |n| {
        text(word(n.word(400)))
            .with_type(ArtifactType::LogFile)
            .of_upgrade(format!("upgrade-{}", n.below(10)).parse().unwrap())
            .with_tag("zone-1")
    }),
    ("text and name", |n| {
        text("ready").with_name(NamePattern::new(format!("node-{}-", n.below(5000))).unwrap())
    }),
    ("largest", |_| any().with_sort(Sort::Size)),
    ("largest of a tag", |n| {
        any().with_tag(tag(n)).with_sort(Sort::Size)
    }),
    ("by name, of an upgrade", |n| {
        any()
            .of_upgrade(format!("upgrade-{}", n.below(10)).parse().unwrap())
            .with_sort(Sort::Name)
    }),
    ("by name", |_| any().with_sort(Sort::Name)),
];
