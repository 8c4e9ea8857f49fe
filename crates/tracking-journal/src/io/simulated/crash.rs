//! What a crash can leave of a disk: each write that was not synced is kept, dropped or torn.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use super::{Event, NameChange, SimulatedDisk};

/// How many of a file's unsynced writes may each be kept, dropped or torn; older ones have reached the disk by then.
const UNDECIDED: usize = 3;
/// At about so many places a write is torn.
const TEARS: usize = 24;

/// Disks as crashes leave them.
#[derive(Debug)]
pub struct CrashStates {
    images: std::collections::btree_set::IntoIter<Image>,
}

type Image = BTreeMap<PathBuf, Vec<u8>>;

impl Iterator for CrashStates {
    type Item = SimulatedDisk;

    fn next(&mut self) -> Option<SimulatedDisk> {
        self.images.next().map(SimulatedDisk::with)
    }
}

/// What is durable after some events, and what may be.
pub(super) struct Survivors {
    names: BTreeMap<PathBuf, u64>,
    unsynced_names: Vec<NameChange>,
    files: HashMap<u64, FileSurvivor>,
}

#[derive(Default)]
struct FileSurvivor {
    durable: Vec<u8>,
    unsynced: Vec<Change>,
}

enum Change {
    Write(usize, Vec<u8>),
    SetSize(usize),
}

impl Survivors {
    pub(super) fn new(names: BTreeMap<PathBuf, u64>, contents: &HashMap<u64, Vec<u8>>) -> Self {
        let files = contents
            .iter()
            .map(|(inode, content)| (*inode, FileSurvivor::new(content)))
            .collect();
        Self {
            names,
            unsynced_names: Vec::new(),
            files,
        }
    }

    pub(super) fn states(&self) -> CrashStates {
        CrashStates {
            images: self.images().into_iter(),
        }
    }

    pub(super) fn pass(&mut self, event: &Event) {
        match event {
            Event::Name(change) => {
                if let NameChange::Add(_, inode) = change {
                    self.files.entry(*inode).or_default();
                }
                self.unsynced_names.push(change.clone());
            }
            Event::Write { inode, offset, bytes } => {
                self.change(*inode, Change::Write(*offset, bytes.clone()))
            }
            Event::SetSize { inode, size } => self.change(*inode, Change::SetSize(*size)),
            Event::Sync { inode } => {
                let file = self.files.entry(*inode).or_default();
                for change in std::mem::take(&mut file.unsynced) {
                    change.apply(&mut file.durable);
                }
            }
            Event::GiveUp { inode } => {
                let file = self.files.entry(*inode).or_default();
                file.unsynced
                    .retain(|change| matches!(change, Change::SetSize(_)));
            }
            Event::SyncNames => {
                for change in std::mem::take(&mut self.unsynced_names) {
                    change.apply(&mut self.names);
                }
            }
        }
    }

    fn change(&mut self, inode: u64, change: Change) {
        let file = self.files.entry(inode).or_default();
        file.unsynced.push(change);
        if file.unsynced.len() > UNDECIDED {
            let oldest = file.unsynced.remove(0);
            oldest.apply(&mut file.durable);
        }
    }

    /// Every combination of whole writes kept or dropped, with every number of changes of names; and every torn
    /// write, with all or nothing of the rest.
    fn images(&self) -> BTreeSet<Image> {
        let mut images = BTreeSet::new();
        for kept in 0..=self.unsynced_names.len() {
            let mut names = self.names.clone();
            self.unsynced_names[..kept]
                .iter()
                .for_each(|change| change.apply(&mut names));
            let mut whole: Vec<Image> = vec![Image::new()];
            for (path, inode) in &names {
                let contents = self.files[inode].whole();
                whole = whole
                    .iter()
                    .flat_map(|image| contents.iter().map(|content| with(image, path, content)))
                    .collect();
            }
            for (path, inode) in &names {
                for torn in self.files[inode].torn() {
                    let rest = [self.extreme(&names, true), self.extreme(&names, false)];
                    images.extend(rest.iter().map(|image| with(image, path, &torn)));
                }
            }
            images.extend(whole);
        }
        images
    }

    fn extreme(&self, names: &BTreeMap<PathBuf, u64>, all: bool) -> Image {
        let content = |inode: &u64| self.files[inode].with(|_| all);
        names
            .iter()
            .map(|(path, inode)| (path.clone(), content(inode)))
            .collect()
    }
}

fn with(image: &Image, path: &Path, content: &[u8]) -> Image {
    let mut image = image.clone();
    image.insert(path.to_owned(), content.to_owned());
    image
}

impl FileSurvivor {
    fn new(content: &[u8]) -> Self {
        Self {
            durable: content.to_owned(),
            unsynced: Vec::new(),
        }
    }

    fn with(&self, keep: impl Fn(usize) -> bool) -> Vec<u8> {
        let mut content = self.durable.clone();
        let kept = self.unsynced.iter().enumerate().filter(|(index, _)| keep(*index));
        kept.for_each(|(_, change)| change.apply(&mut content));
        content
    }

    fn whole(&self) -> Vec<Vec<u8>> {
        let choices = 0..1_usize << self.unsynced.len();
        choices
            .map(|choice| self.with(|index| choice >> index & 1 == 1))
            .collect()
    }

    /// Each write torn, after those before it and without those after it: its beginning alone, or its end alone.
    fn torn(&self) -> Vec<Vec<u8>> {
        let mut contents = Vec::new();
        for (torn, change) in self.unsynced.iter().enumerate() {
            let Change::Write(offset, bytes) = change else {
                continue;
            };
            for cut in (1..bytes.len()).step_by((bytes.len() / TEARS).max(1)) {
                for part in [
                    Change::Write(*offset, bytes[..cut].to_vec()),
                    Change::Write(offset + cut, bytes[cut..].to_vec()),
                ] {
                    let mut content = self.with(|index| index < torn);
                    part.apply(&mut content);
                    contents.push(content);
                }
            }
        }
        contents
    }
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write(offset, bytes) => {
                if content.len() < offset + bytes.len() {
                    content.resize(offset + bytes.len(), 0);
                }
                content[*offset..offset + bytes.len()].copy_from_slice(bytes);
            }
            Self::SetSize(size) => content.resize(*size, 0),
        }
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<PathBuf, u64>) {
        match self {
            Self::Add(path, inode) => {
                names.insert(path.clone(), *inode);
            }
            Self::Rename(from, to) => {
                if let Some(inode) = names.remove(from) {
                    names.insert(to.clone(), inode);
                }
            }
            Self::Remove(path) => {
                names.remove(path);
            }
        }
    }
}
