//! How the processes under test begin and end.

use std::process::ExitCode;

/// What ends such a program before its time.
pub type Error = Box<dyn std::error::Error>;

/// Runs `work` with the program's arguments. What it fails with is told on the error output, for the test to print.
#[expect(
    clippy::print_stderr,
    reason = "the one place where these programs report their failure"
)]
pub fn run(work: impl FnOnce(&[String]) -> Result<(), Error>) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match work(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:?}");
            ExitCode::FAILURE
        }
    }
}

/// As [`run`], in an async runtime with two threads.
pub fn run_async(work: impl AsyncFnOnce(Vec<String>) -> Result<(), Error>) -> ExitCode {
    run(|arguments| {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        runtime.block_on(work(arguments.to_owned()))
    })
}
