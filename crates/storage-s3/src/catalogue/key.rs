//! The names of segments: `_journal/{stream}/{epoch}/{writer}-{first_seq}.jsonl`.

use tracking_model::StreamId;
use uuid::Uuid;

use crate::key::ObjectKey;

/// The prefix of all segments.
pub(crate) const ROOT: &str = "_journal/";
const SUFFIX: &str = ".jsonl";

/// The folder of a stream's segments. Within it, the names of one writer are in the order of sequences.
pub(crate) fn folder(stream: &StreamId) -> String {
    format!("{ROOT}{}/", encoded(stream))
}

/// The folder of the segments of one life of a stream.
pub(crate) fn epoch_folder(stream: &StreamId, epoch: Uuid) -> String {
    format!("{}{}/", folder(stream), epoch.hyphenated())
}

/// The prefix of the folders of all upgrades, or of all sessions.
pub(crate) fn kind_prefix(kind: &str) -> String {
    format!("{ROOT}{kind}%3A")
}

fn encoded(stream: &StreamId) -> String {
    stream.to_string().replace(':', "%3A")
}

/// A name that no other content ever gets, if `writer` is fresh.
pub(crate) fn segment_key(stream: &StreamId, epoch: Uuid, writer: Uuid, first_seq: u64) -> ObjectKey {
    let folder = epoch_folder(stream, epoch);
    let key = format!("{folder}{}-{first_seq:020}{SUFFIX}", writer.hyphenated());
    ObjectKey::new(key).expect("ids and numbers keep the rules of keys")
}

/// A segment's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SegmentName {
    pub(crate) stream: StreamId,
    pub(crate) epoch: Uuid,
    pub(crate) first_seq: u64,
}

impl SegmentName {
    /// Reads the key of a segment, whoever its writer is; `None` for any other key.
    pub(crate) fn parse(key: &ObjectKey) -> Option<Self> {
        let mut parts = key.as_str().strip_prefix(ROOT)?.split('/');
        let (folder, epoch, name) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() {
            return None;
        }
        let stream: StreamId = folder.replace("%3A", ":").parse().ok()?;
        let parsed: Uuid = epoch.parse().ok()?;
        let (writer, first_seq) = name.strip_suffix(SUFFIX)?.rsplit_once('-')?;
        let digits = first_seq.bytes().all(|byte| byte.is_ascii_digit());
        // One stream or epoch has one folder, so that a listing of it shows all.
        let canonical = encoded(&stream) == folder && parsed.hyphenated().to_string() == epoch;
        (canonical && digits && !writer.is_empty()).then_some(Self {
            stream,
            epoch: parsed,
            first_seq: first_seq.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_there_and_back_and_sort_by_sequence() {
        let stream: StreamId = "session:prod:1".parse().unwrap();
        let (epoch, writer) = (tracking_model::new_uuid(), tracking_model::new_uuid());
        let key = segment_key(&stream, epoch, writer, 12);
        let expected = format!("_journal/session%3Aprod%3A1/{epoch}/{writer}-00000000000000000012.jsonl");
        assert_eq!(key.as_str(), expected);
        let name = SegmentName::parse(&key).unwrap();
        assert_eq!(
            (name.stream.clone(), name.epoch, name.first_seq),
            (stream.clone(), epoch, 12)
        );
        assert!(key < segment_key(&stream, epoch, writer, 100));
        assert!(key.as_str().starts_with(&kind_prefix("session")));
        assert!(key.as_str().starts_with(&epoch_folder(&stream, epoch)));
    }

    #[test]
    fn other_names_are_none() {
        let epoch = tracking_model::new_uuid();
        for name in [
            format!("_journal/session%3As/{epoch}/w-1.jsonl.tmp"),
            format!("_journal/session%3As/{epoch}/w.jsonl"),
            format!("_journal/session%3As/{epoch}/w-x.jsonl"),
            format!("_journal/session%3As/{epoch}/-1.jsonl"),
            format!("_journal/session%3As/{epoch}/w-+1.jsonl"),
            format!("_journal/session%3As/{epoch}/w-99999999999999999999.jsonl"),
            format!("_journal/session%3As/{}/w-1.jsonl", epoch.simple()),
            format!("_journal/session:s/{epoch}/w-1.jsonl"),
            format!("_journal/session%3a..%2f/{epoch}/w-1.jsonl"),
            format!("_journal/session%3As/{epoch}/x/w-1.jsonl"),
            format!("_journal/other%3As/{epoch}/w-1.jsonl"),
            format!("other/session%3As/{epoch}/w-1.jsonl"),
            "_journal/session%3As/e/w-1.jsonl".to_owned(),
        ] {
            assert_eq!(SegmentName::parse(&name.parse().unwrap()), None, "{name}");
        }
        let name = format!("_journal/session%3As/{epoch}/any-tool-7.jsonl");
        assert_eq!(SegmentName::parse(&name.parse().unwrap()).unwrap().first_seq, 7);
    }
}
