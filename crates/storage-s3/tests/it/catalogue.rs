//! The bucket as a catalogue: what some machines put, others read.

mod bounds;
mod faults;
mod machines;
mod put_back;

use std::sync::Arc;

use storage_s3::{
    Catalogue, CatalogueOptions, ObjectKey, ObjectMetadata, RefreshReport, RefreshScope, S3Config, S3Objects,
    SegmentOptions, SegmentSink,
};
use tempfile::TempDir;
use test_servers::{FsServer, MotoServer, ScriptedServer};
use tracking_journal::{EventSink, JournalReader, Record, sink};
use tracking_model::StreamId;
use uuid::Uuid;

use crate::support::{below, honoured, open_store};
use machines::{Machine, deleted, stream};

fn objects(config: S3Config) -> S3Objects {
    open_store(below("team/a", config)).objects().clone()
}

/// A reader with a cache of its own.
struct Reader {
    catalogue: Catalogue,
    _cache: TempDir,
}

impl Reader {
    fn new(objects: &S3Objects) -> Self {
        let cache = tempfile::tempdir().unwrap();
        let options = CatalogueOptions::default();
        Self {
            catalogue: Catalogue::open(objects.clone(), cache.path(), options).unwrap(),
            _cache: cache,
        }
    }

    async fn refresh(&self) -> RefreshReport {
        let report = self.catalogue.refresh(RefreshScope::All, None).await.unwrap();
        assert!(report.failed.is_empty(), "{:?}", report.failed);
        report
    }

    fn ids(&self, stream: &StreamId) -> Vec<Uuid> {
        ids_in(&self.catalogue, stream)
    }
}

fn ids_in(catalogue: &Catalogue, stream: &StreamId) -> Vec<Uuid> {
    let reader = JournalReader::open(catalogue.data_dir(), stream).unwrap();
    reader.map(|record| record.unwrap().id).collect()
}

fn sorted_ids(records: &[Record]) -> Vec<Uuid> {
    let mut records: Vec<_> = records.iter().map(|record| (record.at, record.id)).collect();
    records.sort_unstable();
    records.into_iter().map(|(_, id)| id).collect()
}

async fn put(sink: &SegmentSink, records: &[Record]) {
    let deliveries = sink.publish(&records[0], records).await;
    assert!(
        deliveries.iter().all(|delivery| delivery.is_accepted()),
        "{deliveries:?}"
    );
}

/// Each as a segment of its own, in the server's directory: faster than asking it.
fn lay_down(server: &FsServer, records: &[Record]) {
    let writer = tracking_model::new_uuid();
    for record in records {
        let stream = record.stream.to_string().replace(':', "%3A");
        let (epoch, seq) = (record.epoch, record.seq);
        let file = server.file(&format!(
            "team/a/_journal/{stream}/{epoch}/{writer}-{seq:020}.jsonl"
        ));
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        let mut line = Vec::new();
        record.write_line(&mut line);
        std::fs::write(file, line).unwrap();
    }
}

/// Each as a segment of its own, by several writers at once.
async fn put_each(objects: &S3Objects, records: Vec<Record>) {
    let mut writers = tokio::task::JoinSet::new();
    for part in records.chunks(records.len().div_ceil(16)) {
        let (objects, part) = (objects.clone(), part.to_vec());
        writers.spawn(async move {
            let sink = SegmentSink::new(objects, SegmentOptions::default());
            for record in &part {
                put(&sink, std::slice::from_ref(record)).await;
            }
        });
    }
    writers.join_all().await;
}

/// On both servers.
async fn on_each(test: impl AsyncFn(S3Config)) {
    let fs = FsServer::start();
    test(fs.config()).await;
    let moto = MotoServer::start();
    test(moto.config()).await;
}

#[tokio::test]
async fn what_two_machines_write_a_third_reads_in_one_order() {
    on_each(async |config| {
        let objects = objects(config);
        let session = stream("session:both");
        let (one, two) = (Machine::new(&session), Machine::new(&session));
        let sinks = [(); 2].map(|()| SegmentSink::new(objects.clone(), SegmentOptions::default()));
        let reader = Reader::new(&objects);
        for round in 0..3 {
            for (machine, sink) in [&one, &two].into_iter().zip(&sinks) {
                put(sink, &machine.add(3)).await;
            }
            let report = reader.refresh().await;
            let new = if round == 0 { 10 } else { 6 };
            assert_eq!((report.new_segments, report.new_records), (2, new));
        }
        let all = [one.records(), two.records()].concat();
        assert_eq!(reader.ids(&session), sorted_ids(&all));
        let fresh = Reader::new(&objects);
        assert_eq!(fresh.refresh().await.segments, 6);
        assert_eq!(fresh.ids(&session), reader.ids(&session));
        let state = tracking_journal::load::<tracking_model::Session>(fresh.catalogue.data_dir(), &session);
        assert_eq!(state.unwrap().state.counts().artifacts(), 18);
    })
    .await;
}

#[tokio::test]
async fn many_streams_are_read_and_only_what_is_new() {
    on_each(async |config| {
        let objects = objects(config);
        let sink = SegmentSink::new(objects.clone(), SegmentOptions::default());
        let machines: Vec<_> = (0..40)
            .map(|n| Machine::new(&stream(&format!("session:s:{n}"))))
            .collect();
        for machine in &machines {
            put(&sink, &machine.add(1)).await;
        }
        let reader = Reader::new(&objects);
        let report = reader.refresh().await;
        assert_eq!((report.streams, report.lists, report.gets), (40, 1, 40));
        assert_eq!(reader.catalogue.data_dir().streams().unwrap().len(), 40);
        let report = reader.refresh().await;
        assert_eq!((report.lists, report.gets, report.new_records), (1, 0, 0));
        put(&sink, &machines[7].add(2)).await;
        put(&sink, &machines[8].add(2)).await;
        let one = RefreshScope::Stream(machines[7].stream.clone());
        let report = reader.catalogue.refresh(one, None).await.unwrap();
        assert_eq!(
            (report.streams, report.lists, report.gets, report.new_records),
            (1, 1, 1, 2)
        );
        assert_eq!(
            reader.ids(&machines[7].stream),
            sorted_ids(&machines[7].records())
        );
        let report = reader
            .catalogue
            .refresh(RefreshScope::Upgrades, None)
            .await
            .unwrap();
        assert_eq!((report.lists, report.gets, report.removed.len()), (1, 0, 0));
        assert_eq!(reader.refresh().await.gets, 1);

        let gone = machines[3].stream.clone();
        let keys = objects.all("_journal/session%3As%3A3/").await.unwrap();
        let keys: Vec<_> = keys.into_iter().map(|object| object.key).collect();
        objects.delete_many(&keys).await;
        assert_eq!(
            reader.refresh().await.removed.as_slice(),
            std::slice::from_ref(&gone)
        );
        assert!(!reader.catalogue.data_dir().journal_path(&gone).exists());
    })
    .await;
}

/// The cost that is promised: one LIST for each 1,000 segments, one GET for each that is new.
#[tokio::test]
async fn requests_are_as_few_as_promised() {
    let (fs, moto) = (FsServer::start(), MotoServer::start());
    for (config, segments) in [(fs.config(), 2_500_u64), (moto.config(), 1_100)] {
        let writer = objects(config.clone());
        let session = Machine::new(&stream("session:counted"));
        let records = session.add(segments as usize - 2);
        if segments > 2_000 {
            lay_down(&fs, &records);
        } else {
            put_each(&writer, records).await;
        }
        let sink = SegmentSink::new(writer, SegmentOptions::default());
        let objects = objects(config);
        let pages = segments.div_ceil(1_000);
        let counts = || {
            let counts = objects.request_counts();
            let of = |operation: &str| counts.get(operation).copied().unwrap_or(0);
            (of("ListObjectsV2"), of("GetObject"), counts.values().sum::<u64>())
        };
        let reader = Reader::new(&objects);
        let report = reader.refresh().await;
        assert_eq!((report.lists, report.gets), (pages, segments));
        assert_eq!(counts(), (pages, segments, pages + segments));
        reader.refresh().await;
        assert_eq!(
            counts(),
            (2 * pages, segments, 2 * pages + segments),
            "nothing is new"
        );
        put(&sink, &session.add(1)).await;
        assert_eq!(reader.refresh().await.new_records, 1);
        assert_eq!(counts(), (3 * pages, segments + 1, 3 * pages + segments + 1));
        assert_eq!(reader.ids(&session.stream), sorted_ids(&session.records()));
        println!(
            "requests for {segments} segments: {pages} LIST, {segments} GET; later {pages} LIST, 1 GET for 1 new"
        );
    }
}

#[tokio::test]
async fn segments_have_names_of_their_own_and_lines_as_in_the_journal() {
    let fs = FsServer::start();
    let objects = objects(fs.config());
    let machine = Machine::new(&stream("session:a:b"));
    let options = SegmentOptions::default().with_segment_bytes(2_000);
    let sink = SegmentSink::new(objects.clone(), options);
    let records = machine.add(8);
    put(&sink, &records).await;
    put(&sink, &machine.add(1)).await;
    let listed = objects.all("_journal/").await.unwrap();
    let folder = format!("_journal/session%3Aa%3Ab/{}/", records[0].epoch);
    let names: Vec<_> = listed
        .iter()
        .map(|object| object.key.as_str().strip_prefix(&folder).unwrap())
        .collect();
    let writer = names[0].strip_suffix("-00000000000000000001.jsonl").unwrap();
    assert!(
        names.len() > 4 && names.iter().all(|name| name.starts_with(writer)),
        "{names:?}"
    );
    let mut text = Vec::new();
    for object in &listed {
        assert!(object.size <= 2_000);
        text.extend(objects.read(&object.key).await.unwrap().bytes);
    }
    let journal = std::fs::read(machine.dir.journal_path(&machine.stream)).unwrap();
    assert_eq!(text, journal, "a listing is in the order of the journal");
    assert!(
        sink.name().starts_with("s3-journal:test-bucket:"),
        "{}",
        sink.name()
    );
    let same = SegmentSink::new(objects.clone(), SegmentOptions::default());
    let other = SegmentSink::new(
        open_store(below("b", fs.config())).objects().clone(),
        SegmentOptions::default(),
    );
    assert_eq!(sink.name(), same.name());
    assert_ne!(sink.name(), other.name());
}

/// What is read again and again is not put into a class that costs for each reading, whatever artifacts are.
#[tokio::test]
async fn the_storage_class_of_artifacts_is_not_that_of_segments() {
    let bucket = crate::support::FakeBucket::new(true);
    let server = ScriptedServer::start(move |request, _| bucket.answer(request));
    let store = open_store(S3Config {
        storage_class: Some("STANDARD_IA".into()),
        ..honoured(server.config())
    });
    let sink = SegmentSink::new(store.objects().clone(), SegmentOptions::default());
    let machine = Machine::new(&stream("session:s"));
    put(&sink, &machine.add(1)).await;
    put(&sink, &machine.complete()).await;
    sink.finish().await;
    let options = storage_s3::UploadOptions::default();
    let body = b"x".to_vec().into();
    store
        .upload(&crate::support::key("s/c/x"), body, &options)
        .await
        .unwrap();
    let (mut segments, mut artifacts) = (0, 0);
    for request in server.requests().iter().filter(|request| request.method == "PUT") {
        let class = request.header("x-amz-storage-class");
        if request.path().contains("_journal") {
            segments += 1;
            assert_eq!(class, None, "{}", request.path());
        } else {
            artifacts += 1;
            assert_eq!(class, Some("STANDARD_IA"), "{}", request.path());
        }
    }
    assert_eq!((segments, artifacts), (3, 1), "two, and the one that they became");
}

#[tokio::test]
async fn the_sink_conforms() {
    on_each(async |config| {
        let objects = objects(config);
        let sink = Arc::new(SegmentSink::new(objects.clone(), SegmentOptions::default()));
        let data = r#"{"task_id":"t","at":"2025-01-31T05:25:01.056236Z"}"#;
        sink::conformance::run(sink, "task.of.another.day", data, || async {
            let mut ids = Vec::new();
            for object in objects.all("_journal/").await.unwrap() {
                let bytes = objects.read(&object.key).await.unwrap().bytes;
                let lines = bytes.split_inclusive(|byte| *byte == b'\n');
                ids.extend(lines.map(|line| Record::parse(line).unwrap().id));
            }
            ids
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_tombstone_stands_after_what_its_writer_saw_whatever_the_clocks() {
    on_each(async |config| {
        let objects = objects(config);
        let session = stream("session:s");
        let machine = Machine::new(&session);
        let sink = SegmentSink::new(objects.clone(), SegmentOptions::default());
        put(&sink, &machine.add(2)).await;
        let cache = tempfile::tempdir().unwrap();
        let late = tracking_journal::ManualClock::new(tracking_model::Timestamp::from_micros(0));
        let options = CatalogueOptions::default().with_clock(Arc::new(late));
        let catalogue = Catalogue::open(objects.clone(), cache.path(), options).unwrap();
        catalogue.refresh(RefreshScope::All, None).await.unwrap();
        let artifact = machine.artifacts().remove(0);
        catalogue
            .append(&session, &[deleted(&artifact)], "gc")
            .await
            .unwrap();
        let reader = Reader::new(&objects);
        reader.refresh().await;
        let last = JournalReader::open(reader.catalogue.data_dir(), &session)
            .unwrap()
            .last()
            .unwrap()
            .unwrap();
        assert_eq!(
            (last.kind.as_str(), &*last.actor, last.seq),
            ("artifact.deleted", "gc", 5)
        );
        put(&sink, &machine.add(1)).await;
        catalogue.refresh(RefreshScope::All, None).await.unwrap();
        reader.refresh().await;
        assert_eq!(ids_in(&catalogue, &session), reader.ids(&session));
    })
    .await;
}

#[tokio::test]
async fn a_stream_that_is_over_is_put_together() {
    on_each(async |config| {
        let objects = objects(config);
        let session = stream("session:s");
        let machine = Machine::new(&session);
        let options = SegmentOptions::default().with_compact_bytes(8_000);
        let sink = SegmentSink::new(objects.clone(), options);
        for _ in 0..30 {
            put(&sink, &machine.add(1)).await;
        }
        let early = Reader::new(&objects);
        early.refresh().await;
        put(&sink, &machine.complete()).await;
        sink.finish().await;
        let listed = objects.all("_journal/").await.unwrap();
        assert!(listed.len() < 6, "{}", listed.len());
        assert!(listed.iter().all(|object| object.size <= 8_000));
        let late = Reader::new(&objects);
        late.refresh().await;
        early.refresh().await;
        assert_eq!(late.ids(&session), sorted_ids(&machine.records()));
        assert_eq!(early.ids(&session), late.ids(&session));
        let again = sink.compact(&session, machine.records()[0].epoch).await.unwrap();
        assert_eq!(again.combined, 0, "nothing is left to gain: {again:?}");
    })
    .await;
}

#[tokio::test]
async fn a_cache_that_is_lost_or_altered_is_filled_again() {
    let fs = FsServer::start();
    let objects = objects(fs.config());
    let session = stream("session:s");
    let machine = Machine::new(&session);
    let sink = SegmentSink::new(objects.clone(), SegmentOptions::default());
    put(&sink, &machine.add(4)).await;
    put(&sink, &machine.add(4)).await;
    let reader = Reader::new(&objects);
    reader.refresh().await;
    let expected = reader.ids(&session);
    let dir = reader.catalogue.data_dir().clone();
    let (journal, state) = (
        dir.journal_path(&session),
        dir.path().join("catalogue/session_s.json"),
    );
    let flip = |path: &std::path::Path| {
        let mut bytes = std::fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(path, bytes).unwrap();
    };
    let damages: [&dyn Fn(); 6] = [
        &|| std::fs::remove_file(&journal).unwrap(),
        &|| std::fs::remove_file(&state).unwrap(),
        &|| std::fs::write(&journal, "x").unwrap(),
        &|| std::fs::write(&state, "{").unwrap(),
        &|| flip(&journal),
        &|| {
            std::fs::File::options()
                .write(true)
                .open(&journal)
                .unwrap()
                .set_len(700)
                .unwrap()
        },
    ];
    for (n, damage) in damages.into_iter().enumerate() {
        damage();
        let report = reader.refresh().await;
        assert_eq!((report.gets, report.new_records), (2, 10), "damage {n}");
        assert_eq!(reader.ids(&session), expected, "damage {n}");
        assert_eq!(reader.refresh().await.gets, 0, "damage {n}");
    }
    let key: ObjectKey = "_journal/note.txt".parse().unwrap();
    objects
        .create(&key, &b"x"[..], &ObjectMetadata::default())
        .await
        .unwrap();
    let unreadable = reader.refresh().await.unreadable;
    assert_eq!(
        unreadable[0].to_string(),
        "_journal/note.txt: this is no name of a segment"
    );
}
