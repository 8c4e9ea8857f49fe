//! Adding what is huge, and on file systems whose files can share blocks. These need mkfs.xfs and mkfs.btrfs (packages
//! `xfsprogs` and `btrfs-progs`).

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;

use artifact_core::{ManagerOptions, TestArtifactsManager, VerifyScope};
use scenarios::measure::output_of;
use tracking_journal::DataDir;

use crate::adder_program;

/// Most memory in use while a file of any size is added: buffers of 32 MiB and the program itself.
const MOST_KIB: u64 = 48 * 1024;

fn add(data: &Path, sources: &Path) -> String {
    output_of(Command::new(adder_program()).args([data, sources]))
}

/// The artifacts that were acknowledged: the file alone and in a batch, and the output.
fn acked(told: &str) -> usize {
    told.lines().filter(|line| line.starts_with("acked ")).count()
}

fn verify(data: &Path) {
    let manager = TestArtifactsManager::new(DataDir::open(data).unwrap(), ManagerOptions::default());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let report = runtime
        .block_on(manager.verify_artifacts(VerifyScope::All, |_| {}))
        .unwrap();
    assert!(report.is_clean(), "{report:?}");
}

#[test]
fn fault_37_a_huge_file_is_added_in_little_memory() {
    const BYTES: u64 = 2 << 30;
    let temp = tempfile::tempdir().unwrap();
    let sources = temp.path().join("sources");
    fs::create_dir(&sources).unwrap();
    File::create(sources.join("huge"))
        .unwrap()
        .set_len(BYTES)
        .unwrap();
    let told = add(&temp.path().join("data"), &sources);
    let peak = told
        .lines()
        .find_map(|line| line.strip_prefix("peak ")?.strip_suffix(" kB")?.parse().ok());
    let peak: u64 = peak.unwrap();
    println!("FAULT row=37 name=huge_file bytes={BYTES} adds=2 peak_kib={peak} limit_kib={MOST_KIB}");
    assert_eq!(acked(&told), 3, "{told}");
    assert!(peak < MOST_KIB, "{peak} KiB were in use");
}

#[test]
fn fault_32_a_copy_that_shares_the_blocks_of_its_source_is_a_copy() {
    const BYTES: usize = 64 << 20;
    for make in ["mkfs.xfs", "mkfs.btrfs"] {
        let work = tempfile::tempdir().unwrap();
        let (disk, mount) = (work.path().join("disk"), work.path().join("mount"));
        fs::create_dir(&mount).unwrap();
        File::create(&disk).unwrap().set_len(512 << 20).unwrap();
        run(make, &["-q", path(&disk)]);
        run("mount", &["-o", "loop", path(&disk), path(&mount)]);
        let mounted = Mounted(&mount);
        let (sources, data) = (mount.join("sources"), mount.join("data"));
        fs::create_dir(&sources).unwrap();
        let mut source = File::create(sources.join("large")).unwrap();
        let bytes: Vec<u8> = (0..BYTES).map(|n| (n * 31 % 251) as u8).collect();
        source.write_all(&bytes).unwrap();
        source.sync_all().unwrap();
        drop(source);
        let before = free(&mount);
        let told = add(&data, &sources);
        assert_eq!(acked(&told), 3, "{told}");
        let used = before.saturating_sub(free(&mount));
        // The source changes afterwards; what was added does not.
        fs::write(sources.join("large"), vec![0; BYTES]).unwrap();
        verify(&data);
        println!(
            "FAULT row=32 name=shared_blocks_{} bytes={BYTES} used={used} wrong_hash=0",
            make.trim_start_matches("mkfs.")
        );
        assert!(
            used < BYTES as u64 / 4,
            "{make}: blocks are shared, and yet {used} bytes were used"
        );
        drop(mounted);
    }
}

fn free(mount: &Path) -> u64 {
    rustix::fs::syncfs(File::open(mount).unwrap()).unwrap();
    let stat = rustix::fs::statvfs(mount).unwrap();
    stat.f_bfree * stat.f_frsize
}

struct Mounted<'a>(&'a Path);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        run("umount", &[path(self.0)]);
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn run(program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).status();
    let status = status.unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(status.success(), "{program} {arguments:?}");
}
