//! Power cuts: the disk's content at one moment, mounted again.
//!
//! The file system is ext4 on a loop device that commits by itself only every 300 s, so what survives is what was synced.

use std::path::Path;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};
use scenarios::{Recovered, Writer};

use crate::{count, seed, writer_program};

#[test]
fn fault_03_power_cut_loses_nothing_acknowledged() {
    // An image takes as long as dozens of kills.
    let images = (count(5_000) / 100).max(1);
    let (mut acked, mut lost) = (0, 0);
    for image in 0..images {
        let (was_acked, was_lost) = cut_power(20 + (seed() * 31 + image * 17) % 200);
        acked += was_acked;
        lost += was_lost;
    }
    println!(
        "FAULT row=3 name=power_cut seed={} images={images} acked={acked} lost={lost}",
        seed()
    );
    assert_eq!(lost, 0);
}

/// Writes until `acks` are acknowledged, copies the disk as it is, and reads the copy.
fn cut_power(acks: u64) -> (u64, u64) {
    let work = tempfile::tempdir().unwrap();
    let (disk, copy, mount) = (
        work.path().join("disk"),
        work.path().join("copy"),
        work.path().join("mount"),
    );
    std::fs::create_dir(&mount).unwrap();
    std::fs::File::create(&disk).unwrap().set_len(32 << 20).unwrap();
    run("mkfs.ext4", &["-q", path(&disk)]);
    let mounted = Mounted::new(&disk, &mount);
    let mut writer = Writer::new(&mount.join("data"), "w").spawn(writer_program());
    writer.wait_for_acks(acks);
    let pid = Pid::from_raw(i32::try_from(writer.id()).unwrap()).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    std::fs::copy(&disk, &copy).unwrap();
    // It printed nothing after the stop, so all that it acknowledged was acknowledged before the cut.
    let ended = writer.kill();
    drop(mounted);
    let mounted = Mounted::new(&copy, &mount);
    let recovered = Recovered::read(&mount.join("data"));
    drop(mounted);
    (ended.acked, recovered.lost(&ended))
}

struct Mounted<'a>(&'a Path);

impl<'a> Mounted<'a> {
    fn new(disk: &Path, mount: &'a Path) -> Self {
        run("mount", &["-o", "loop,commit=300", path(disk), path(mount)]);
        Self(mount)
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        run("umount", &[path(self.0)]);
    }
}

fn path(path: &Path) -> &str {
    path.to_str().expect("temporary paths are text")
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|e| panic!("{program}: {e}"));
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
