//! File names that are not taken yet.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::AtFlags;
use tracking_model::numbered_file_name;

/// Up to this number names are tried one by one; from there on the free one is searched for.
const TRIED_IN_TURN: u64 = 4;

/// Takes the first free name in `directory`, or a free one in logarithmic time where many are taken. `take` must fail
/// with `AlreadyExists` for a name that is taken.
pub(super) fn take_numbered(
    directory: &OwnedFd,
    wanted: &str,
    take: impl Fn(&str) -> io::Result<()>,
) -> io::Result<String> {
    let mut number = 1;
    loop {
        let name = numbered_file_name(wanted, number);
        match take(&name) {
            Ok(()) => return Ok(name),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        number = if number < TRIED_IN_TURN {
            number + 1
        } else {
            free_number_after(directory, wanted, number)?
        };
    }
}

/// A number above `taken` that is free and whose predecessor is not.
fn free_number_after(directory: &OwnedFd, wanted: &str, mut taken: u64) -> io::Result<u64> {
    let is_taken = |number| is_taken(directory, &numbered_file_name(wanted, number));
    let mut step = 1;
    while is_taken(taken + step)? {
        taken += step;
        step *= 2;
    }
    let mut free = taken + step;
    while free - taken > 1 {
        let middle = taken + (free - taken) / 2;
        if is_taken(middle)? {
            taken = middle;
        } else {
            free = middle;
        }
    }
    Ok(free)
}

fn is_taken(directory: &OwnedFd, name: &str) -> io::Result<bool> {
    match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Ok(true),
        Err(rustix::io::Errno::NOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
