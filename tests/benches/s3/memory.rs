//! Peak memory of a large upload, in a process that does nothing else.

use std::path::Path;

use scenarios::measure::{output_of, peak_memory_kib, this_program};
use storage_s3::UploadOptions;

use super::server::Server;
use super::work::{Hashes, make_files, upload as upload_files};

/// Parts are as large, and as many at once, for any file up to 80 GB, so what holds for this one holds for 10 GiB:
/// beside them only a list grows, by some 150 bytes a part.
const BYTES: usize = 1024 * 1024 * 1024;

pub(crate) fn memory() {
    let server = Server::start();
    let source = tempfile::tempdir().unwrap();
    make_files(source.path(), 1, BYTES);
    let mut upload = this_program();
    upload.args(["--upload", &server.endpoint()]).arg(source.path());
    let peak: f64 = output_of(&mut upload).trim().parse().unwrap();
    println!(
        "peak memory of an upload of 1 GiB: {:.0} MB (aim <= 128 MB)",
        peak / 1e6
    );
}

/// Uploads and tells the peak in bytes.
pub(crate) fn upload(endpoint: &str, dir: &Path) {
    upload_files(endpoint, dir, "memory", &Hashes::new(), &UploadOptions::default());
    println!("{}", peak_memory_kib() * 1024);
}
