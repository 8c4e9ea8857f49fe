//! Replaces secrets in bytes that come in pieces, however they are cut.
//!
//! A line is held back until it ends, so that a secret that comes in several pieces is seen whole. Of a line that is
//! longer than a window, the first half of the window is let go as soon as the window is full: a match of up to half a
//! window is seen whole there too, and one that is longer is replaced up to the end of its word. Thus memory is bounded,
//! and the result depends on the bytes alone and never on the pieces.

use super::rules::{Meaning, Rule, Rules};

/// How much of a line is looked at together.
const WINDOW: usize = 64 * 1024;
/// How much of a private key is replaced if its end never comes.
const LONGEST_BLOCK: usize = 64 * 1024;
/// Bytes before a place that patterns look back at.
const LOOK_BEHIND: usize = 8;

/// Replaces secrets by `[redacted:RULE]`.
#[derive(Debug)]
pub(crate) struct Redactor {
    rules: Rules,
    window: usize,
    /// The line so far; from its beginning on, or from [`LOOK_BEHIND`] bytes before what is to be written next.
    line: Vec<u8>,
    /// How much of `line` is written.
    written: usize,
    /// For each rule, where in `line` its next match is looked for.
    next: Vec<usize>,
    found: Vec<Found>,
    hiding: Hiding,
    /// For each rule, how many secrets were replaced.
    counts: Vec<u64>,
}

/// A match: where in the line, and of which rule.
#[derive(Debug, Clone, Copy)]
struct Found {
    start: usize,
    end: usize,
    rule: usize,
    /// It goes on beyond what is there of the line, as far as one can see.
    open: bool,
}

/// Part of the line that is being left out.
#[derive(Debug, Clone, Copy)]
enum Hiding {
    Nothing,
    Until(usize),
    /// Up to the next blank or quote.
    Word,
    /// Up to the end of a block, or so many bytes.
    Block(usize),
}

impl Redactor {
    pub(crate) fn new(rules: Rules) -> Self {
        Self::with_window(rules, WINDOW)
    }

    fn with_window(rules: Rules, window: usize) -> Self {
        let count = rules.0.len();
        Self {
            rules,
            window,
            line: Vec::new(),
            written: 0,
            next: vec![0; count],
            found: Vec::new(),
            hiding: Hiding::Nothing,
            counts: vec![0; count],
        }
    }

    /// Takes the next piece, and appends to `out` what is known to be free of secrets.
    pub(crate) fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        for mut piece in bytes.split_inclusive(|byte| is_line_end(*byte)) {
            while !piece.is_empty() {
                let room = self.window - self.line.len();
                let (now, later) = piece.split_at(room.min(piece.len()));
                self.line.extend_from_slice(now);
                piece = later;
                match self.line.last() {
                    Some(last) if is_line_end(*last) => self.end_line(out),
                    _ if self.line.len() == self.window => self.let_go_half(out),
                    _ => {}
                }
            }
        }
    }

    /// Appends the rest: nothing follows.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) {
        if !self.line.is_empty() {
            self.end_line(out);
        }
    }

    /// How many secrets each rule has replaced, by its name; rules of one name count together.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (&str, u64)> {
        self.rules.names().map(|name| {
            let of_name = self.rules.0.iter().zip(&self.counts);
            let count = of_name
                .filter(|(rule, _)| &*rule.name == name)
                .map(|(_, count)| count)
                .sum();
            (name, count)
        })
    }

    fn end_line(&mut self, out: &mut Vec<u8>) {
        let end = match self.line.last() {
            Some(last) if is_line_end(*last) => self.line.len() - 1,
            _ => self.line.len(),
        };
        self.find(end, end, true);
        self.write_until(end, out);
        if let Hiding::Word | Hiding::Until(_) = self.hiding {
            self.hiding = Hiding::Nothing;
        }
        self.pass(self.line.len(), out);
        self.line.clear();
        self.written = 0;
        self.next.fill(0);
    }

    fn let_go_half(&mut self, out: &mut Vec<u8>) {
        let half = self.window / 2;
        self.find(self.line.len(), half, false);
        self.write_until(half, out);
        let gone = half - LOOK_BEHIND;
        self.line.drain(..gone);
        self.written = LOOK_BEHIND;
        self.next.iter_mut().for_each(|next| *next -= gone);
        for found in &mut self.found {
            (found.start, found.end) = (found.start - gone, found.end - gone);
        }
        if let Hiding::Until(end) = &mut self.hiding {
            *end -= gone;
        }
    }

    /// Finds all matches that start before `limit`, in the first `length` bytes of the line.
    fn find(&mut self, length: usize, limit: usize, whole: bool) {
        let text = self.line.get(..length).unwrap_or_default();
        for (number, (rule, next)) in self.rules.0.iter().zip(&mut self.next).enumerate() {
            while *next < limit
                && let Some(matched) = rule.pattern.find_at(text, *next)
                && matched.start() < limit
            {
                let (start, end) = secret(rule, text, *next).unwrap_or((matched.start(), matched.end()));
                self.found.push(Found {
                    start,
                    end,
                    rule: number,
                    open: !whole && matched.end() == length,
                });
                *next = matched.end();
            }
            *next = (*next).max(limit);
        }
        self.found.retain(|found| found.start < found.end);
        self.found.sort_by_key(|found| (found.start, found.rule));
    }

    /// Writes the line up to `limit`, without the secrets.
    fn write_until(&mut self, limit: usize, out: &mut Vec<u8>) {
        let known = self.found.partition_point(|found| found.start < limit);
        let found: Vec<Found> = self.found.drain(..known).collect();
        for found in found {
            self.pass(found.start, out);
            self.hiding = match (self.meaning(found), self.hiding) {
                (Meaning::BlockEnd, Hiding::Block(_)) => Hiding::Until(found.end),
                (Meaning::BlockEnd, hiding) | (_, hiding @ Hiding::Block(_)) => hiding,
                (Meaning::BlockBegin, hiding) => {
                    self.replace(found, hiding, out);
                    Hiding::Block(LONGEST_BLOCK)
                }
                (Meaning::Secret, hiding) => {
                    self.replace(found, hiding, out);
                    match hiding {
                        Hiding::Word => Hiding::Word,
                        _ if found.open => Hiding::Word,
                        Hiding::Until(end) => Hiding::Until(end.max(found.end)),
                        _ => Hiding::Until(found.end),
                    }
                }
            };
        }
        self.pass(limit, out);
    }

    fn meaning(&self, found: Found) -> Meaning {
        self.rules
            .0
            .get(found.rule)
            .map_or(Meaning::Secret, |rule| rule.meaning)
    }

    /// Writes what stands for a secret, unless it begins within another one.
    fn replace(&mut self, found: Found, hiding: Hiding, out: &mut Vec<u8>) {
        if let (Hiding::Nothing, Some(rule)) = (hiding, self.rules.0.get(found.rule)) {
            out.extend_from_slice(b"[redacted:");
            out.extend_from_slice(rule.name.as_bytes());
            out.push(b']');
            if let Some(count) = self.counts.get_mut(found.rule) {
                *count += 1;
            }
        }
    }

    /// Writes the line up to `limit`, or leaves it out where it belongs to a secret.
    fn pass(&mut self, limit: usize, out: &mut Vec<u8>) {
        while let Some(rest) = self.line.get(self.written..limit)
            && !rest.is_empty()
        {
            let passed = match &mut self.hiding {
                Hiding::Nothing => {
                    out.extend_from_slice(rest);
                    rest.len()
                }
                Hiding::Until(end) => {
                    let left = end.saturating_sub(self.written);
                    if left <= rest.len() {
                        self.hiding = Hiding::Nothing;
                    }
                    left.min(rest.len())
                }
                Hiding::Word => match rest.iter().position(|byte| ends_word(*byte)) {
                    Some(end) => {
                        self.hiding = Hiding::Nothing;
                        end
                    }
                    None => rest.len(),
                },
                Hiding::Block(left) => {
                    let passed = rest.len().min(*left);
                    *left -= passed;
                    if *left == 0 {
                        self.hiding = Hiding::Nothing;
                    }
                    passed
                }
            };
            self.written += passed;
        }
        if let Hiding::Until(end) = self.hiding
            && end <= self.written
        {
            self.hiding = Hiding::Nothing;
        }
    }
}

/// The group of a match that is the secret; `None` if all of it is.
fn secret(rule: &Rule, text: &[u8], from: usize) -> Option<(usize, usize)> {
    if rule.pattern.captures_len() == 1 {
        return None;
    }
    let captures = rule.pattern.captures_at(text, from)?;
    let group = captures.iter().skip(1).flatten().next()?;
    Some((group.start(), group.end()))
}

impl Rules {
    /// A text without secrets.
    pub(crate) fn redact(&self, text: &str) -> String {
        let mut redactor = Redactor::new(self.clone());
        let mut out = Vec::with_capacity(text.len());
        redactor.push(text.as_bytes(), &mut out);
        redactor.finish(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }
}

/// A carriage return ends a line too: it is how progress bars are drawn.
const fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

const fn ends_word(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte.is_ascii_control() || matches!(byte, b'"' | b'\'')
}

#[cfg(test)]
mod tests;
