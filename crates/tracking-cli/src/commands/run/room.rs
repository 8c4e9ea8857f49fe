//! Where there is no room to track a command, it takes our place: its end is then its own, whatever happens to memory
//! and threads.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread;

use rustix::process::{Resource, getrlimit};

use crate::args::RunArgs;
use crate::exit::{Exit, chain};
use crate::output::note;
use crate::process::{PassTo, StartError, Streams};

const MIB: u64 = 1 << 20;
/// Limits of memory, the line of `/proc/self/status` that says how much of it is used, and how much tracking must find
/// free. Running out of memory aborts a process, so there must be enough before the command starts. Address space is
/// mostly reserved, not used: each of a dozen threads reserves 64 MiB to allocate from.
const MEMORY: [(Resource, &str, &str, u64); 2] = [
    (Resource::As, "address space", "VmSize:", 1024 * MIB),
    (Resource::Data, "memory for data", "VmData:", 256 * MIB),
];

/// Why a command cannot be tracked by this process at all.
pub(super) fn lack() -> Option<String> {
    lack_of_memory()
        .or_else(lack_of_descriptors)
        .or_else(lack_of_threads)
}

fn lack_of_memory() -> Option<String> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    for (resource, name, line, needed) in MEMORY {
        let Some(limit) = getrlimit(resource).current else {
            continue;
        };
        let left = limit.saturating_sub(kibibytes(&status, line).unwrap_or(0) * 1024);
        if left < needed {
            return Some(format!(
                "a limit leaves {} MiB of {name}, and tracking may need {} MiB",
                left / MIB,
                needed / MIB
            ));
        }
    }
    None
}

fn lack_of_descriptors() -> Option<String> {
    // Sockets, pipes, journals, locks, the index, and those of the sinks.
    const DESCRIPTORS: u64 = 64;
    let used = fs::read_dir("/proc/self/fd").map_or(0, |open| open.count() as u64);
    let left = getrlimit(Resource::Nofile)
        .current
        .map(|limit| limit.saturating_sub(used));
    let left = left.filter(|left| *left < DESCRIPTORS)?;
    Some(format!(
        "a limit leaves {left} file descriptors, and tracking may need {DESCRIPTORS}"
    ))
}

fn lack_of_threads() -> Option<String> {
    match thread::Builder::new().spawn(|| ()).map(thread::JoinHandle::join) {
        Ok(_) => None,
        Err(error) => Some(format!("the system has no thread left: {error}")),
    }
}

fn kibibytes(status: &str, name: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix(name))?;
    value.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// Becomes the command, which nobody tracks because of `why`. Returns only if that fails.
pub(super) fn become_command(args: &RunArgs, stdout: PassTo, why: &str) -> Exit {
    note(
        "warning",
        &format!("the command runs without being tracked: {why}"),
    );
    let (program, arguments) = args.command.split_first().expect("clap requires a command");
    let mut command = Command::new(program);
    Streams::own(stdout).give_to(command.args(arguments));
    let error = StartError::new(program, command.exec());
    note("error", &chain(&error).join(": "));
    Exit::Code(error.code())
}
