//! Fault tests that take minutes: `cargo xtask faults --long [--seed N] [--count N]`.
//!
//! They need root, for real file systems on loop devices; without it they fail and say so.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod adding;
mod history;
mod kill;
mod power_cut;

/// The seed of random choices, from the command line of `cargo xtask faults`.
fn seed() -> u64 {
    from_environment("EKSTRACK_FAULTS_SEED", 1)
}

/// How often a process is killed, from the command line of `cargo xtask faults`; what takes longer is made less often.
fn count(default: u64) -> u64 {
    from_environment("EKSTRACK_FAULTS_COUNT", default)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the test command hands its options down in the environment"
)]
fn from_environment(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(value) => value
            .parse()
            .unwrap_or_else(|error| panic!("{name}={value}: {error}")),
        Err(_) => default,
    }
}

fn adder_program() -> &'static std::path::Path {
    std::path::Path::new(env!("CARGO_BIN_EXE_artifact-adder"))
}

fn writer_program() -> &'static std::path::Path {
    std::path::Path::new(env!("CARGO_BIN_EXE_journal-writer"))
}
