//! Which process holds a file's lock.

use crate::io::FileId;

/// The process that holds a `flock` on the file, where the system tells.
pub(crate) fn of(file: FileId) -> Option<u32> {
    find(table, file).map(|(pid, _)| pid)
}

/// Whether the `flock` on the file is an exclusive one, where the system tells; `None` too if there is none.
pub(crate) fn is_exclusive(file: FileId) -> Option<bool> {
    find(table, file).map(|(_, exclusive)| exclusive)
}

/// The system hands out the table of locks in pieces of a page, and what follows moves up when somebody else unlocks
/// between two of them: in a longer table an entry may be passed over.
const PIECE_BYTES: usize = 4096;
/// So often a longer table is read.
const ATTEMPTS: usize = 8;

fn table() -> Option<String> {
    std::fs::read_to_string("/proc/locks").ok()
}

fn find(mut table: impl FnMut() -> Option<String>, file: FileId) -> Option<(u32, bool)> {
    for _ in 0..ATTEMPTS {
        let table = table()?;
        let found = find_in(&table, file);
        // One piece is handed out as of one moment.
        if found.is_some() || table.len() < PIECE_BYTES / 2 {
            return found;
        }
    }
    None
}

fn find_in(table: &str, file: FileId) -> Option<(u32, bool)> {
    let device = format!(
        "{:02x}:{:02x}",
        rustix::fs::major(file.device),
        rustix::fs::minor(file.device)
    );
    let holders = || table.lines().filter_map(|line| Holder::read(line, file.inode));
    // Some file systems report another device here than stat does; inode numbers rarely repeat.
    let exact = holders().find(|holder| holder.device == device);
    let found = exact.or_else(|| holders().next())?;
    Some((found.pid, found.exclusive))
}

#[derive(Debug, PartialEq, Eq)]
struct Holder<'a> {
    device: &'a str,
    pid: u32,
    exclusive: bool,
}

impl<'a> Holder<'a> {
    /// Reads `1: FLOCK  ADVISORY  WRITE 4711 08:01:131234 0 EOF`; lines of waiters have `->` in the second place.
    fn read(line: &'a str, inode: u64) -> Option<Self> {
        let mut words = line.split_whitespace().skip(1);
        if words.next()? != "FLOCK" {
            return None;
        }
        let exclusive = words.nth(1)? == "WRITE";
        let pid = words.next()?.parse().ok()?;
        let (device, found) = words.next()?.rsplit_once(':')?;
        (found.parse::<u64>().ok()? == inode).then_some(Self {
            device,
            pid,
            exclusive,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_holders_and_passes_over_waiters() {
        let line = "1: FLOCK  ADVISORY  WRITE 4711 08:01:131234 0 EOF";
        let holder = Holder {
            device: "08:01",
            pid: 4711,
            exclusive: true,
        };
        assert_eq!(Holder::read(line, 131_234), Some(holder));
        assert_eq!(Holder::read(line, 1), None);
        let shared = Holder::read("1: FLOCK  ADVISORY  READ 4711 08:01:131234 0 EOF", 131_234);
        assert!(!shared.unwrap().exclusive);
        for other in [
            "1: -> FLOCK  ADVISORY  WRITE 4711 08:01:131234 0 EOF",
            "2: POSIX  ADVISORY  WRITE 4711 08:01:131234 0 EOF",
            "",
        ] {
            assert_eq!(Holder::read(other, 131_234), None);
        }
    }

    /// How often a table is read, if the first ones are these and all later ones have the holder.
    fn reads(first: &[&str]) -> (Option<(u32, bool)>, usize) {
        let line = "1: FLOCK  ADVISORY  WRITE 4711 08:01:131234 0 EOF\n";
        let mut count = 0;
        let found = find(
            || {
                count += 1;
                Some(first.get(count - 1).map_or(line, |table| table).to_owned())
            },
            FileId {
                device: rustix::fs::makedev(8, 1),
                inode: 131_234,
            },
        );
        (found, count)
    }

    #[test]
    fn a_long_table_is_read_again_for_it_is_of_several_moments() {
        let other = "2: FLOCK  ADVISORY  WRITE 4712 08:01:131235 0 EOF\n";
        let long = other.repeat(100);
        let long = long.as_str();
        assert_eq!(reads(&[]), (Some((4711, true)), 1));
        assert_eq!(reads(&[long, long]), (Some((4711, true)), 3));
        assert_eq!(reads(&[long; 100]), (None, ATTEMPTS));
        assert_eq!(reads(&[other]), (None, 1));
    }
}
