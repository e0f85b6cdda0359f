//! Work that goes wrong.

use std::ops::Range;
use std::path::Path;

use super::journal::{Change, Journal};
use crate::clock::Timestamp;

/// Work on disk that nobody can read, as another version may have written it.
pub(crate) fn unreadable(path: &Path, numbers: Range<u64>) {
    let (journal, ..) = Journal::open(path, 10).unwrap();
    let add = |number| Change::Add {
        number,
        due: Timestamp::default(),
        rule: "article changed".into(),
        debounced: false,
        written: b"?".to_vec(),
    };
    journal.write(numbers.map(add).collect()).unwrap();
}
