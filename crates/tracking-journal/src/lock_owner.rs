//! Which process holds a file's lock.

use crate::io::FileId;

/// The process that holds a `flock` on the file, where the system tells.
pub(crate) fn of(file: FileId) -> Option<u32> {
    let table = std::fs::read_to_string("/proc/locks").ok()?;
    let device = format!(
        "{:02x}:{:02x}",
        rustix::fs::major(file.device),
        rustix::fs::minor(file.device)
    );
    let holders = || table.lines().filter_map(|line| holder(line, file.inode));
    // Some file systems report another device here than stat does; inode numbers rarely repeat.
    let exact = holders().find(|(found, _)| *found == device);
    exact.or_else(|| holders().next()).map(|(_, pid)| pid)
}

/// Reads `1: FLOCK  ADVISORY  WRITE 4711 08:01:131234 0 EOF`; lines of waiters have `->` in the second place.
fn holder(line: &str, inode: u64) -> Option<(&str, u32)> {
    let mut words = line.split_whitespace().skip(1);
    if words.next()? != "FLOCK" {
        return None;
    }
    let mut words = words.skip(2);
    let pid = words.next()?.parse().ok()?;
    let (device, found) = words.next()?.rsplit_once(':')?;
    (found.parse::<u64>().ok()? == inode).then_some((device, pid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_holders_and_passes_over_waiters() {
        let line = "1: FLOCK  ADVISORY  WRITE 4711 08:01:131234 0 EOF";
        assert_eq!(holder(line, 131_234), Some(("08:01", 4711)));
        assert_eq!(holder(line, 1), None);
        assert_eq!(
            holder("1: -> FLOCK  ADVISORY  WRITE 4711 08:01:131234 0 EOF", 131_234),
            None
        );
        assert_eq!(
            holder("2: POSIX  ADVISORY  WRITE 4711 08:01:131234 0 EOF", 131_234),
            None
        );
        assert_eq!(holder("", 1), None);
    }
}
