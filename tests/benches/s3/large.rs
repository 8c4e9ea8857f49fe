//! One file of 512 MiB.

use super::boto3;
use super::server::Server;
use super::work::{download, make_files, median, print, upload};

const BYTES: usize = 512 * 1024 * 1024;
const ROUNDS: usize = 5;

pub(crate) fn large() {
    let server = Server::start();
    let source = tempfile::tempdir().unwrap();
    make_files(source.path(), 1, BYTES);
    let (mut up, mut down, mut ours, mut theirs) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let endpoint = server.endpoint();
        let (uploaded, sent) = upload(&endpoint, source.path(), &format!("large-{round}"));
        let boto_sent = boto3::run("upload", &endpoint, source.path(), &format!("boto-{round}/c/"), 1);
        let (target, boto_target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let got = download(&endpoint, target.path(), &uploaded);
        let boto_got = boto3::run(
            "download",
            &endpoint,
            boto_target.path(),
            &format!("boto-{round}/c/"),
            1,
        );
        up.push(boto_sent.seconds / sent.seconds);
        down.push(boto_got.seconds / got.seconds);
        ours.push([sent.seconds, got.seconds]);
        theirs.push([boto_sent.seconds, boto_got.seconds]);
    }
    for (direction, ratios, which, target) in [("up", up, 0, ">= 1.5"), ("down", down, 1, ">= 1.3")] {
        let rate = |all: &[[f64; 2]]| {
            median(
                all.iter()
                    .map(|seconds| BYTES as f64 / 1e6 / seconds[which])
                    .collect(),
            )
        };
        let details = format!("{:.0} MB/s, boto3 {:.0} MB/s", rate(&ours), rate(&theirs));
        print(
            &format!("512 MiB {direction}, times boto3"),
            &ratios,
            target,
            &details,
        );
    }
}
