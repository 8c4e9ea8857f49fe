//! Scenarios across crates.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod adding;
mod bucket;
mod bucket_care;
mod bucket_copies;
mod bucket_deletions;
mod bucket_faults;
mod bucket_gaps;
mod bucket_outage;
mod continued;
mod credentials;
mod disk_full;
mod indexing;
mod kill;
mod live;
mod machine;
mod planted;
mod reference_tests;
mod samples;
mod secrets;
mod upload_reads;
mod writers;

/// The program that the fault tests kill.
fn writer_program() -> &'static std::path::Path {
    std::path::Path::new(env!("CARGO_BIN_EXE_journal-writer"))
}

/// The program that adds artifacts and is killed.
fn adder_program() -> &'static std::path::Path {
    std::path::Path::new(env!("CARGO_BIN_EXE_artifact-adder"))
}

/// The command line of a shell script that may mount things: they are seen by it alone and end with it. What follows the
/// line becomes the script's `$0` and arguments.
fn in_mounts_of_its_own(script: &str) -> Vec<String> {
    let root = rustix::process::geteuid().is_root();
    let line = ["unshare", "--mount", "--map-root-user", "sh", "-c", script];
    let line = line.iter().filter(|word| !root || **word != "--map-root-user");
    line.map(|&word| word.to_owned()).collect()
}

/// A small generator of test choices (xorshift64*), so that a seed reproduces a run.
struct Choices(u64);

impl Choices {
    const fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    const fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % limit
    }
}
