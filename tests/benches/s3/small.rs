//! 1,000 objects of 64 KiB.

use std::time::Duration;

use scenarios::measure::median;
use storage_s3::UploadOptions;
use test_servers::DelayProxy;

use super::server::Server;
use super::work::{download, make_files, print, upload};
use super::{boto3, work::Spent};

const OBJECTS: usize = 1000;
const OBJECT_BYTES: usize = 64 * 1024;
const ROUNDS: usize = 5;
/// With latency, boto3 alone takes a minute and a half for 1,000 objects there and back.
const SLOW_ROUNDS: usize = 3;
const SLOW_OBJECTS: usize = 150;

/// One direction in one round, each client in turn.
struct Round {
    ours: Spent,
    one_by_one: Spent,
    threads: Option<Spent>,
}

pub(crate) fn small() {
    let server = Server::start();
    let rounds = rounds(&server, &server.endpoint(), OBJECTS, ROUNDS, true);
    for (direction, rounds) in [("up", &rounds.0), ("down", &rounds.1)] {
        report(direction, OBJECTS, rounds);
    }
}

pub(crate) fn latency() {
    let server = Server::start();
    let proxy = DelayProxy::start(server.address, Duration::from_millis(20));
    let rounds = rounds(&server, &proxy.endpoint(), SLOW_OBJECTS, SLOW_ROUNDS, false);
    for (direction, rounds) in [("up", &rounds.0), ("down", &rounds.1)] {
        let ratios: Vec<_> = rounds
            .iter()
            .map(|round| round.one_by_one.seconds / round.ours.seconds)
            .collect();
        let what = format!("64 KiB {direction} with 20 ms of latency, times boto3 one by one");
        print(&what, &ratios, ">= 5", &rates(SLOW_OBJECTS, rounds));
    }
}

fn rounds(
    server: &Server,
    endpoint: &str,
    objects: usize,
    count: usize,
    threads: bool,
) -> (Vec<Round>, Vec<Round>) {
    let source = tempfile::tempdir().unwrap();
    let hashes = make_files(source.path(), objects, OBJECT_BYTES);
    // All are removed at the end: a file system that has just lost thousands of files is slow to make new ones, which
    // would burden whoever comes next.
    let mut targets = Vec::new();
    let (mut up, mut down) = (Vec::new(), Vec::new());
    for round in 0..count {
        let mut target = || {
            targets.push(tempfile::tempdir().unwrap());
            targets.last().unwrap().path().to_owned()
        };
        let names = |who: &str| format!("{who}-{round}/c/");
        let (session, options) = (format!("ours-{round}"), UploadOptions::default());
        let mut uploaded = Vec::new();
        let ours = server.watch(|| {
            let (all, spent) = upload(endpoint, source.path(), &session, &hashes, &options);
            uploaded = all;
            spent
        });
        let boto = |action: &str, dir: &std::path::Path, who: &str, threads| {
            server.watch(|| boto3::run(action, endpoint, dir, &names(who), threads))
        };
        up.push(Round {
            ours,
            one_by_one: boto("upload", source.path(), "one", 1),
            threads: threads.then(|| boto("upload", source.path(), "sixteen", 16)),
        });
        down.push(Round {
            ours: server.watch(|| download(endpoint, &target(), &uploaded)),
            one_by_one: boto("download", &target(), "one", 1),
            threads: threads.then(|| boto("download", &target(), "sixteen", 16)),
        });
    }
    (up, down)
}

fn report(direction: &str, objects: usize, rounds: &[Round]) {
    let ratios = |other: fn(&Round) -> f64| -> Vec<f64> { rounds.iter().map(other).collect() };
    let details = rates(objects, rounds);
    let what = format!("64 KiB {direction}, times boto3 one by one");
    print(
        &what,
        &ratios(|round| round.one_by_one.seconds / round.ours.seconds),
        ">= 5",
        &details,
    );
    let threads = |round: &Round| {
        round
            .threads
            .map_or(f64::NAN, |threads| threads.seconds / round.ours.seconds)
    };
    print(
        &format!("64 KiB {direction}, times boto3 with 16 threads"),
        &ratios(threads),
        ">= 5",
        "",
    );
    let each = |cpu: fn(&Round) -> f64| {
        median(
            rounds
                .iter()
                .map(|round| cpu(round) / objects as f64 * 1e6)
                .collect(),
        )
    };
    let what = format!("64 KiB {direction}, CPU of the client, of boto3's");
    print(
        &what,
        &ratios(|round| round.ours.cpu / round.one_by_one.cpu),
        "<= 0.2",
        &format!(
            "{:.0} us an object, of boto3 {:.0}; the server's {:.0}, for boto3 {:.0}",
            each(|round| round.ours.cpu),
            each(|round| round.one_by_one.cpu),
            each(|round| round.ours.server_cpu),
            each(|round| round.one_by_one.server_cpu),
        ),
    );
}

fn rates(objects: usize, rounds: &[Round]) -> String {
    let rate = |spent: fn(&Round) -> Spent| {
        median(
            rounds
                .iter()
                .map(|round| objects as f64 / spent(round).seconds)
                .collect(),
        )
    };
    format!(
        "{:.0}/s, boto3 {:.0}/s",
        rate(|round| round.ours),
        rate(|round| round.one_by_one)
    )
}
