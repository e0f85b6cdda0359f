//! The URLs of a warm-up: each once, in order, in one piece of memory. PURE.

use std::collections::HashSet;

/// The most memory that the URLs of one warm-up take, in bytes: at 100,000 of them, 320 for each.
const MAX_BYTES: usize = 32 * 1024 * 1024;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Urls {
    text: String,
    /// Where each ends.
    ends: Vec<usize>,
    /// The first half of each one's digest, until all are known.
    seen: HashSet<[u8; 16]>,
    max: usize,
    left_out: u64,
}

impl Urls {
    /// At most `max` of them.
    pub(super) fn new(max: usize) -> Self {
        Self { text: String::new(), ends: Vec::new(), seen: HashSet::new(), max, left_out: 0 }
    }

    /// Adds one, unless it is there. What there is no room for is counted.
    pub(super) fn add(&mut self, url: &str) {
        let digest = blake3::hash(url.as_bytes()).as_bytes().first_chunk().copied().unwrap_or_default();
        if self.seen.contains(&digest) {
            return;
        }
        if self.is_full() || self.text.len() + url.len() > MAX_BYTES {
            self.left_out += 1;
            return;
        }
        self.seen.insert(digest);
        self.text.push_str(url);
        self.ends.push(self.text.len());
    }

    /// Counts what would have brought more.
    pub(super) fn leave_out(&mut self, number: usize) {
        self.left_out += number as u64;
    }

    pub(super) fn is_full(&self) -> bool {
        self.ends.len() >= self.max
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn left_out(&self) -> u64 {
        self.left_out
    }

    /// No more are to come: forgets what only adding needs.
    pub(super) fn finish(&mut self) {
        self.seen = HashSet::new();
        self.text.shrink_to_fit();
    }

    pub(super) fn get(&self, index: usize) -> Option<&str> {
        let end = *self.ends.get(index)?;
        let start = index.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        self.text.get(start..end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(urls: &Urls) -> Vec<&str> {
        (0..urls.len()).filter_map(|index| urls.get(index)).collect()
    }

    #[test]
    fn each_is_there_once_and_in_order() {
        let mut urls = Urls::new(10);
        for url in ["b", "a", "", "b", "é", "a"] {
            urls.add(url);
        }
        urls.finish();
        assert_eq!((all(&urls), urls.get(4), urls.left_out()), (vec!["b", "a", "", "é"], None, 0));
    }

    #[test]
    fn what_there_is_no_room_for_is_counted() {
        let mut urls = Urls::new(2);
        for url in ["a", "b", "a", "c"] {
            urls.add(url);
        }
        assert_eq!((all(&urls), urls.is_full(), urls.left_out()), (vec!["a", "b"], true, 1));
        let mut urls = Urls::new(10);
        urls.add(&"x".repeat(MAX_BYTES));
        urls.add("y");
        assert_eq!((urls.len(), urls.left_out()), (1, 1));
    }
}
