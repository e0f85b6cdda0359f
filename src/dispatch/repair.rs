//! A [journal](super::journal) that cannot be read: what can be saved of it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use redb::{Database, ReadableDatabase, ReadableTable};

use super::journal::{DEAD, Journal, JournalError, WAITING, open};

/// What a repair has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repaired {
    /// There is nothing to repair.
    Sound {
        /// How many wait.
        waiting: u64,
        /// How many are dead.
        dead: u64,
    },
    /// There is no file.
    Missing,
    /// It was damaged, and is a new one.
    Anew {
        /// How much of it could be read.
        kept: u64,
        /// Where the damaged one is.
        aside: PathBuf,
    },
}

/// Checks a journal; sets it aside if it is damaged, and writes what can be read of it to a new one.
///
/// # Errors
/// It is in use, or cannot be read or written at all.
pub fn repair(path: &Path) -> Result<Repaired, JournalError> {
    let failed = |why: String| JournalError::Failed { path: path.to_owned(), why };
    if !path.exists() {
        return Ok(Repaired::Missing);
    }
    let mut database = match open(path) {
        Ok(database) => Some(database),
        Err(error @ JournalError::InUse(_)) => return Err(error),
        Err(_) => None,
    };
    let is_sound = database.as_mut().is_some_and(|database| {
        catch_unwind(AssertUnwindSafe(|| database.check_integrity())).is_ok_and(|checked| checked.is_ok())
    });
    let saved = database.as_ref().map_or_else(|| Err(Saved::default()), saved);
    if is_sound && let Ok((waiting, dead)) = &saved {
        return Ok(Repaired::Sound { waiting: waiting.len() as u64, dead: dead.len() as u64 });
    }
    let (waiting, dead) = saved.unwrap_or_else(|partly| partly);
    drop(database);
    let mut aside = path.as_os_str().to_owned();
    aside.push(".damaged");
    let aside = PathBuf::from(aside);
    if aside.exists() {
        return Err(failed(format!("{} is there already: move it away first", aside.display())));
    }
    std::fs::rename(path, &aside).map_err(|error| failed(error.to_string()))?;
    let (journal, ..) = Journal::open(path, usize::MAX)?;
    let kept = (waiting.len() + dead.len()) as u64;
    journal.commit(|transaction| {
        let (mut to, mut to_dead) = (transaction.open_table(WAITING)?, transaction.open_table(DEAD)?);
        for (number, (due, attempts, debounced, rule, written)) in &waiting {
            to.insert(number, (*due, *attempts, *debounced, &**rule, &**written))?;
        }
        for (number, (at, attempts, why, rule, written)) in &dead {
            to_dead.insert(number, (*at, *attempts, &**why, &**rule, &**written))?;
        }
        Ok(())
    })?;
    Ok(Repaired::Anew { kept, aside })
}

type Saved = (Vec<(u64, (u64, u32, bool, String, Vec<u8>))>, Vec<(u64, (u64, u32, String, String, Vec<u8>))>);

/// All of it; `Err`: as much as could be read.
fn saved(database: &Database) -> Result<Saved, Saved> {
    let mut saved = Saved::default();
    let read = catch_unwind(AssertUnwindSafe(|| {
        let transaction = database.begin_read()?;
        for entry in transaction.open_table(WAITING)?.iter()? {
            let (number, line) = entry?;
            let (due, attempts, debounced, rule, written) = line.value();
            saved.0.push((number.value(), (due, attempts, debounced, rule.to_owned(), written.to_vec())));
        }
        for entry in transaction.open_table(DEAD)?.iter()? {
            let (number, letter) = entry?;
            let (at, attempts, why, rule, written) = letter.value();
            let letter = (at, attempts, why.to_owned(), rule.to_owned(), written.to_vec());
            saved.1.push((number.value(), letter));
        }
        Ok::<_, redb::Error>(())
    }));
    match read {
        Ok(Ok(())) => Ok(saved),
        Ok(Err(_)) | Err(_) => Err(saved),
    }
}

#[cfg(test)]
mod tests {
    use super::super::journal::Change;
    use super::*;
    use crate::clock::Timestamp;

    fn filled(path: &Path, number: u64) {
        let (journal, ..) = Journal::open(path, 10).unwrap();
        let due = Timestamp::from_secs(1);
        let add = |number| {
            let written = vec![b'x'; 2000];
            Change::Add { number, due, rule: "r".into(), debounced: false, written }
        };
        journal.write((1..=number).map(add).collect()).unwrap();
        let why = "no".to_owned();
        journal.write(vec![Change::Bury { number: 1, at: due, attempts: 1, why }]).unwrap();
    }

    #[test]
    fn what_is_sound_is_left_alone() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("queue");
        assert_eq!(repair(&path).unwrap(), Repaired::Missing);
        filled(&path, 10);
        assert_eq!(repair(&path).unwrap(), Repaired::Sound { waiting: 9, dead: 1 });
        let (journal, ..) = Journal::open(&path, 10).unwrap();
        assert!(matches!(repair(&path), Err(JournalError::InUse(_))));
        drop(journal);
    }

    #[test]
    fn what_is_damaged_is_set_aside_and_what_can_be_read_is_kept() {
        let scratch = tempfile::tempdir().unwrap();
        let (path, aside) = (scratch.path().join("queue"), scratch.path().join("queue.damaged"));
        let mut most = 0;
        for at in (0..400_000).step_by(16_384) {
            let _ = std::fs::remove_file(&path);
            let _ = std::fs::remove_file(&aside);
            filled(&path, 100);
            let mut octets = std::fs::read(&path).unwrap();
            let end = (at + 4096).min(octets.len());
            octets.get_mut(at..end).unwrap_or_default().fill(0xa5);
            std::fs::write(&path, &octets).unwrap();
            match repair(&path).unwrap() {
                // It was nothing that is used.
                Repaired::Sound { waiting, dead } => assert_eq!((waiting, dead), (99, 1)),
                Repaired::Anew { kept, aside: at } => {
                    assert_eq!((at, std::fs::read(&aside).unwrap() == octets), (aside.clone(), true));
                    most = most.max(kept);
                }
                Repaired::Missing => panic!("it is there"),
            }
            let (_, kept, _) = Journal::open(&path, 10).unwrap();
            assert!(kept.len() <= 99);
        }
        std::fs::write(&path, "no queue at all").unwrap();
        let _ = std::fs::remove_file(&aside);
        assert_eq!(repair(&path).unwrap(), Repaired::Anew { kept: 0, aside: aside.clone() });
        std::fs::write(&path, "and again").unwrap();
        assert!(repair(&path).unwrap_err().to_string().contains("move it away"));
    }
}
