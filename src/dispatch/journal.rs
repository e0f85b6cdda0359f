//! Work on disk: what waits, and what could not be done, with why.
//!
//! One thread writes; what several want written at the same time shares one commit, and nobody is answered before it is
//! on disk. After an error the file is opened again before anything else is written to it.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;

use redb::backends::FileBackend;
use redb::{
    Database, DatabaseError, Durability, ReadableDatabase, ReadableTable, ReadableTableMetadata,
    TableDefinition, WriteTransaction,
};

use crate::clock::Timestamp;

/// By number: when it is due, how often it was tried, whether it is collected, the rule's name, the work.
pub(super) const WAITING: TableDefinition<'_, u64, (u64, u32, bool, &str, &[u8])> =
    TableDefinition::new("waiting");

/// By number: since when it is dead, how often it was tried, why, the rule's name, the work.
pub(super) const DEAD: TableDefinition<'_, u64, (u64, u32, &str, &str, &[u8])> = TableDefinition::new("dead");

/// How many share a commit at most.
const MAX_TOGETHER: usize = 1024;

/// How much of the file is kept in memory, in bytes.
const CACHE_BYTES: usize = 16 << 20;

/// Why a journal cannot be read or written.
#[derive(Clone, Debug, thiserror::Error)]
pub enum JournalError {
    /// Another process has it.
    #[error("{} is open in another process: each needs a file of its own", .0.display())]
    InUse(PathBuf),
    /// It cannot be opened.
    #[error("{} cannot be opened: {why}", path.display())]
    NotOpened {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        why: String,
    },
    /// It could be opened, and then not be read or written.
    #[error("{} failed: {why}", path.display())]
    Failed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// What is to be written cannot be.
    #[error("it cannot be written down: {0}")]
    Unwritable(String),
}

/// What is to become different.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Add { number: u64, due: Timestamp, rule: Arc<str>, debounced: bool, written: Vec<u8> },
    Postpone { number: u64, due: Timestamp, attempts: u32 },
    Remove { number: u64 },
    Bury { number: u64, at: Timestamp, attempts: u32, why: String },
}

/// Work that waits in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) number: u64,
    pub(super) due: Timestamp,
    pub(super) attempts: u32,
    pub(super) debounced: bool,
    pub(super) rule: Arc<str>,
    pub(super) bytes: u64,
}

/// Work that could not be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its number.
    pub number: u64,
    /// Since when.
    pub at: Timestamp,
    /// How often it was tried.
    pub attempts: u32,
    /// Why it could not be done.
    pub why: String,
    /// What was to be done, in JSON.
    pub written: Vec<u8>,
}

/// Which of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// All.
    All,
    /// Those of these numbers.
    These(Vec<u64>),
}

enum Command {
    Write(Vec<Change>, SyncSender<Result<(), JournalError>>),
    Revive(Which, Timestamp, SyncSender<Result<Vec<Kept>, JournalError>>),
    Discard(Which, SyncSender<Result<usize, JournalError>>),
}

/// See the [module](self).
pub(super) struct Journal {
    file: Arc<File>,
    /// `None`: it is over.
    commands: Option<SyncSender<Command>>,
    writer: Option<JoinHandle<()>>,
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").field("path", &self.file.path).finish_non_exhaustive()
    }
}

/// Opens a database.
type Open = fn(&Path) -> Result<Database, JournalError>;

struct File {
    path: PathBuf,
    open: Open,
    /// `None`: it failed, and is to be opened again.
    database: RwLock<Option<Database>>,
    max_dead: usize,
    dead: AtomicUsize,
}

impl Journal {
    /// Opens the file, or makes it; with what waits in it, and the highest number in it. `max_dead`: more dead letters than that
    /// are forgotten, the oldest first.
    pub(super) fn open(path: &Path, max_dead: usize) -> Result<(Self, Vec<Kept>, u64), JournalError> {
        Self::open_by(open, path, max_dead)
    }

    fn open_by(open: Open, path: &Path, max_dead: usize) -> Result<(Self, Vec<Kept>, u64), JournalError> {
        let file = File {
            path: path.to_owned(),
            open,
            database: RwLock::new(Some(open(path)?)),
            max_dead,
            dead: AtomicUsize::new(0),
        };
        let (kept, last) = file.begin().map_err(|error| match error {
            JournalError::Failed { path, why } => {
                JournalError::NotOpened { path, why: format!("{why}; {REPAIR}") }
            }
            other => other,
        })?;
        let file = Arc::new(file);
        let (commands, received) = sync_channel(MAX_TOGETHER);
        let writing = Arc::clone(&file);
        let failed = |error: std::io::Error| file.failed(error);
        let writer = std::thread::Builder::new().name("journal".to_owned());
        let writer = writer.spawn(move || write(&writing, &received)).map_err(failed)?;
        Ok((Self { file, commands: Some(commands), writer: Some(writer) }, kept, last))
    }

    /// Does this, and returns once it is on disk: all of it, or nothing.
    pub(super) fn commit<T>(
        &self,
        work: impl FnOnce(&WriteTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, JournalError> {
        self.file.commit(Durability::Immediate, work)
    }

    /// Returns once it is on disk: all of it, or nothing.
    pub(super) fn write(&self, changes: Vec<Change>) -> Result<(), JournalError> {
        self.ask(|reply| Command::Write(changes, reply))
    }

    /// What is written under these numbers; `None`: nothing.
    pub(super) fn read(&self, numbers: &[u64]) -> Result<Vec<Option<Vec<u8>>>, JournalError> {
        self.file.with(|database| {
            let table = database.begin_read()?.open_table(WAITING)?;
            let read = |number: &u64| Ok(table.get(number)?.map(|guard| guard.value().4.to_vec()));
            numbers.iter().map(read).collect()
        })
    }

    /// What is dead, the oldest first, from this number on.
    pub(super) fn dead(&self, from: u64, limit: usize) -> Result<Vec<DeadLetter>, JournalError> {
        self.file.with(|database| {
            let table = database.begin_read()?.open_table(DEAD)?;
            let letter = |entry: Result<_, redb::StorageError>| {
                let (number, letter): (redb::AccessGuard<'_, u64>, redb::AccessGuard<'_, _>) = entry?;
                let (at, attempts, why, _, written): (u64, u32, &str, &str, &[u8]) = letter.value();
                let (at, why, written) = (Timestamp::from_millis(at), why.to_owned(), written.to_vec());
                Ok(DeadLetter { number: number.value(), at, attempts, why, written })
            };
            table.range(from..)?.take(limit).map(letter).collect()
        })
    }

    /// How many are dead.
    pub(super) fn dead_letters(&self) -> usize {
        self.file.dead.load(Ordering::Relaxed)
    }

    /// What is dead waits again, from `now` on.
    pub(super) fn revive(&self, which: Which, now: Timestamp) -> Result<Vec<Kept>, JournalError> {
        self.ask(|reply| Command::Revive(which, now, reply))
    }

    /// What is dead is forgotten; how many there were.
    pub(super) fn discard(&self, which: Which) -> Result<usize, JournalError> {
        self.ask(|reply| Command::Discard(which, reply))
    }

    fn ask<T>(
        &self,
        command: impl FnOnce(SyncSender<Result<T, JournalError>>) -> Command,
    ) -> Result<T, JournalError> {
        let (reply, answer) = sync_channel(1);
        let gone = || self.file.failed("its writer has ended");
        let commands = self.commands.as_ref().ok_or_else(gone)?;
        commands.send(command(reply)).map_err(|_| gone())?;
        answer.recv().map_err(|_| gone())?
    }
}

impl Drop for Journal {
    /// Once it is gone, another may open the file.
    fn drop(&mut self) {
        drop(self.commands.take());
        if let Some(writer) = self.writer.take() {
            // It ends by itself, and has told of what went wrong.
            let _ = writer.join();
        }
    }
}

/// Writes until nobody is there to ask for it.
fn write(file: &File, commands: &Receiver<Command>) {
    write_what_comes(file, commands);
    // What was noted last, and not yet on disk.
    if let Err(error) = file.commit(Durability::Immediate, |_| Ok(())) {
        tracing::error!(%error, "what has been done last could not be noted: it is done again after a restart");
    }
}

fn write_what_comes(file: &File, commands: &Receiver<Command>) {
    while let Ok(first) = commands.recv() {
        let mut together = Vec::new();
        let mut alone = Vec::new();
        let more = std::iter::from_fn(|| commands.try_recv().ok());
        for command in std::iter::once(first).chain(more).take(MAX_TOGETHER) {
            match command {
                Command::Write(changes, reply) => together.push((changes, reply)),
                other => alone.push(other),
            }
        }
        if !together.is_empty() {
            // What is done, and not noted when the power fails, is done again: that may wait for the next commit.
            let is_note = |change: &Change| matches!(change, Change::Remove { .. });
            let are_notes = together.iter().flat_map(|(changes, _)| changes).all(is_note);
            let durability = if are_notes { Durability::None } else { Durability::Immediate };
            let done = file.commit(durability, |transaction| {
                let mut changes = together.iter().flat_map(|(changes, _)| changes);
                changes.try_for_each(|change| file.apply(transaction, change))
            });
            for (_, reply) in together {
                // Whoever asked may be gone.
                let _ = reply.send(done.clone());
            }
        }
        for command in alone {
            match command {
                Command::Write(..) => {}
                Command::Revive(which, now, reply) => {
                    let _ = reply.send(
                        file.commit(Durability::Immediate, |transaction| revive(transaction, &which, now)),
                    );
                }
                Command::Discard(which, reply) => {
                    let _ = reply
                        .send(file.commit(Durability::Immediate, |transaction| discard(transaction, &which)));
                }
            }
        }
    }
}

impl File {
    /// Makes the tables; what is in them.
    fn begin(&self) -> Result<(Vec<Kept>, u64), JournalError> {
        self.commit(Durability::Immediate, |transaction| {
            let (waiting, dead) = (transaction.open_table(WAITING)?, transaction.open_table(DEAD)?);
            let kept = waiting.iter()?.map(|entry| {
                let (number, line) = entry?;
                let (due, attempts, debounced, rule, written) = line.value();
                Ok(Kept {
                    number: number.value(),
                    due: Timestamp::from_millis(due),
                    attempts,
                    debounced,
                    rule: rule.into(),
                    bytes: written.len() as u64,
                })
            });
            let kept = kept.collect::<Result<Vec<_>, redb::Error>>()?;
            let last_dead = dead.last()?.map_or(0, |(number, _)| number.value());
            let last = kept.last().map_or(0, |kept| kept.number).max(last_dead);
            Ok((kept, last))
        })
    }

    /// All of it, or nothing; on disk when it returns, if `durability` says so.
    fn commit<T>(
        &self,
        durability: Durability,
        work: impl FnOnce(&WriteTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, JournalError> {
        self.with(|database| {
            let mut transaction = database.begin_write()?;
            transaction.set_durability(durability)?;
            let done = work(&transaction)?;
            let dead = transaction.open_table(DEAD)?.len()?;
            transaction.commit()?;
            self.dead.store(usize::try_from(dead).unwrap_or(usize::MAX), Ordering::Relaxed);
            Ok(done)
        })
    }

    /// Uses the database; opens it first if it has failed before.
    fn with<T>(&self, work: impl FnOnce(&Database) -> Result<T, redb::Error>) -> Result<T, JournalError> {
        self.open_again()?;
        let done = {
            let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
            let database = database.as_ref().ok_or_else(|| self.failed("it is being opened"))?;
            // What is damaged may be more than the library expects.
            catch_unwind(AssertUnwindSafe(|| work(database)))
                .unwrap_or_else(|_| Err(redb::Error::Corrupted("it is damaged".to_owned())))
        };
        done.map_err(|error| {
            // After an error of the disk it takes no more until it is opened again.
            *self.database.write().unwrap_or_else(PoisonError::into_inner) = None;
            self.failed(error)
        })
    }

    fn open_again(&self) -> Result<(), JournalError> {
        if self.database.read().unwrap_or_else(PoisonError::into_inner).is_some() {
            return Ok(());
        }
        let mut database = self.database.write().unwrap_or_else(PoisonError::into_inner);
        if database.is_none() {
            *database = Some((self.open)(&self.path)?);
            tracing::info!(path = %self.path.display(), "the journal is open again");
        }
        Ok(())
    }

    fn apply(&self, transaction: &WriteTransaction, change: &Change) -> Result<(), redb::Error> {
        let mut waiting = transaction.open_table(WAITING)?;
        match change {
            Change::Add { number, due, rule, debounced, written } => {
                waiting.insert(number, (due.as_millis(), 0, *debounced, &**rule, &**written))?;
            }
            Change::Remove { number } => {
                waiting.remove(number)?;
            }
            Change::Postpone { number, due, attempts } => {
                let known = waiting.get(number)?.map(|line| {
                    let (_, _, _, rule, written) = line.value();
                    (rule.to_owned(), written.to_vec())
                });
                if let Some((rule, written)) = known {
                    waiting.insert(number, (due.as_millis(), *attempts, false, &*rule, &*written))?;
                }
            }
            Change::Bury { number, at, attempts, why } => {
                let mut dead = transaction.open_table(DEAD)?;
                if let Some(line) = waiting.remove(number)? {
                    let (_, _, _, rule, written) = line.value();
                    dead.insert(number, (at.as_millis(), *attempts, &**why, rule, written))?;
                }
                while dead.len()? > self.max_dead as u64 {
                    if let Some((number, _)) = dead.pop_first()? {
                        tracing::error!(
                            number = number.value(),
                            "there are too many dead letters: one is forgotten"
                        );
                    }
                }
            }
        }
        Ok(())
    }

    fn failed(&self, why: impl ToString) -> JournalError {
        JournalError::Failed { path: self.path.clone(), why: why.to_string() }
    }
}

fn numbers(transaction: &WriteTransaction, which: &Which) -> Result<Vec<u64>, redb::Error> {
    let dead = transaction.open_table(DEAD)?;
    match which {
        Which::These(numbers) => Ok(numbers.clone()),
        Which::All => dead.iter()?.map(|entry| Ok(entry?.0.value())).collect(),
    }
}

fn revive(transaction: &WriteTransaction, which: &Which, now: Timestamp) -> Result<Vec<Kept>, redb::Error> {
    let numbers = numbers(transaction, which)?;
    let (mut waiting, mut dead) = (transaction.open_table(WAITING)?, transaction.open_table(DEAD)?);
    let mut revived = Vec::new();
    for number in numbers {
        if let Some(letter) = dead.remove(number)? {
            let (_, _, _, rule, written) = letter.value();
            waiting.insert(number, (now.as_millis(), 0, false, rule, written))?;
            let (rule, bytes) = (rule.into(), written.len() as u64);
            revived.push(Kept { number, due: now, attempts: 0, debounced: false, rule, bytes });
        }
    }
    Ok(revived)
}

fn discard(transaction: &WriteTransaction, which: &Which) -> Result<usize, redb::Error> {
    let numbers = numbers(transaction, which)?;
    let mut dead = transaction.open_table(DEAD)?;
    let mut discarded = 0;
    for number in numbers {
        discarded += usize::from(dead.remove(number)?.is_some());
    }
    Ok(discarded)
}

/// Nobody else may read it: it has what senders sent.
pub(super) fn open(path: &Path) -> Result<Database, JournalError> {
    let not_opened = |why: String| JournalError::NotOpened { path: path.to_owned(), why };
    let mut options = std::fs::OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path).map_err(|error| not_opened(error.to_string()))?;
    let opened = catch_unwind(AssertUnwindSafe(|| {
        Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(FileBackend::new(file)?)
    }));
    match opened {
        Ok(Ok(database)) => Ok(database),
        Ok(Err(DatabaseError::DatabaseAlreadyOpen)) => Err(JournalError::InUse(path.to_owned())),
        Ok(Err(error)) => Err(not_opened(format!("{error}; {REPAIR}"))),
        Err(_) => Err(not_opened(format!("it is damaged; {REPAIR}"))),
    }
}

const REPAIR: &str = "`staleproof hooks repair` saves what can be read";

#[cfg(test)]
mod tests {
    use super::*;
    use redb::StorageBackend;
    use redb::backends::InMemoryBackend;
    use std::io;
    use std::sync::atomic::AtomicBool;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_secs(seconds)
    }

    fn add(number: u64) -> Change {
        let written = number.to_string().into_bytes();
        Change::Add { number, due: at(number), rule: "r".into(), debounced: false, written }
    }

    fn bury(number: u64) -> Change {
        Change::Bury { number, at: at(9), attempts: 3, why: "no".into() }
    }

    fn numbers(kept: &[Kept]) -> Vec<u64> {
        kept.iter().map(|kept| kept.number).collect()
    }

    #[test]
    fn what_was_written_is_there_when_it_is_opened_again() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("queue");
        let (journal, kept, last) = Journal::open(&path, 10).unwrap();
        assert_eq!((numbers(&kept), last), (vec![], 0));
        journal.write((1..=4).map(add).collect()).unwrap();
        let postponed = Change::Postpone { number: 3, due: at(90), attempts: 2 };
        journal.write(vec![Change::Remove { number: 1 }, bury(4), postponed]).unwrap();
        assert_eq!(journal.read(&[2, 1]).unwrap(), [Some(b"2".to_vec()), None]);
        drop(journal);

        let (journal, kept, last) = Journal::open(&path, 10).unwrap();
        assert_eq!((numbers(&kept), last, journal.dead_letters()), (vec![2, 3], 4, 1));
        let third =
            Kept { number: 3, due: at(90), attempts: 2, debounced: false, rule: "r".into(), bytes: 1 };
        assert_eq!(kept[1], third);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "it is nobody else's to read");
        }
    }

    #[test]
    fn what_is_dead_can_be_tried_again_or_forgotten() {
        let scratch = tempfile::tempdir().unwrap();
        let (journal, ..) = Journal::open(&scratch.path().join("queue"), 3).unwrap();
        journal.write((1..=5).map(add).collect()).unwrap();
        journal.write((1..=5).map(bury).collect()).unwrap();
        let dead = journal.dead(0, 10).unwrap();
        assert_eq!(dead.iter().map(|letter| letter.number).collect::<Vec<_>>(), [3, 4, 5], "the oldest goes");
        let fourth =
            DeadLetter { number: 4, at: at(9), attempts: 3, why: "no".into(), written: b"4".to_vec() };
        assert_eq!(journal.dead(4, 1).unwrap(), [fourth]);
        let revived = journal.revive(Which::These(vec![4, 9]), at(50)).unwrap();
        assert_eq!((numbers(&revived), revived[0].attempts), (vec![4], 0));
        assert_eq!(journal.revive(Which::These(vec![4]), at(50)).unwrap(), []);
        assert_eq!(journal.read(&[4]).unwrap(), [Some(b"4".to_vec())]);
        assert_eq!((journal.discard(Which::All).unwrap(), journal.dead_letters()), (2, 0));
    }

    #[test]
    fn many_write_at_the_same_time() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("queue");
        let (journal, ..) = Journal::open(&path, 10).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let journal = &journal;
                scope.spawn(move || {
                    (0..50).for_each(|nth| journal.write(vec![add(thread * 50 + nth)]).unwrap());
                });
            }
        });
        drop(journal);
        let (_, kept, last) = Journal::open(&path, 10).unwrap();
        assert_eq!((kept.len(), last), (400, 399));
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_named_with_what_to_do() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("queue");
        let error = |path: &Path| Journal::open(path, 10).map(drop).unwrap_err().to_string();
        let missing = path.join("queue");
        assert!(error(&missing).contains(missing.to_str().unwrap()), "{}", error(&missing));
        for garbage in [vec![0; 4096], b"redb".repeat(5000), b"x".to_vec()] {
            std::fs::write(&path, garbage).unwrap();
            let error = error(&path);
            assert!(error.contains(path.to_str().unwrap()) && error.contains("hooks repair"), "{error}");
        }
        std::fs::remove_file(&path).unwrap();
        let (_journal, ..) = Journal::open(&path, 10).unwrap();
        assert!(error(&path).contains("open in another process"), "{}", error(&path));
    }

    static BROKEN: AtomicBool = AtomicBool::new(false);

    /// A disk that stops working, and works again.
    #[derive(Debug)]
    struct Disk(&'static InMemoryBackend);

    impl Disk {
        fn check() -> io::Result<()> {
            if BROKEN.load(Ordering::Relaxed) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        }
    }

    type Done<T> = io::Result<T>;

    impl StorageBackend for Disk {
        fn len(&self) -> Done<u64> {
            self.0.len()
        }
        fn read(&self, offset: u64, out: &mut [u8]) -> Done<()> {
            self.0.read(offset, out)
        }
        fn set_len(&self, len: u64) -> Done<()> {
            Disk::check()?;
            self.0.set_len(len)
        }
        fn sync_data(&self) -> Done<()> {
            Disk::check()?;
            self.0.sync_data()
        }
        fn write(&self, offset: u64, data: &[u8]) -> Done<()> {
            Disk::check()?;
            self.0.write(offset, data)
        }
    }

    #[test]
    fn a_disk_that_was_full_is_used_again() {
        fn open(_: &Path) -> Result<Database, JournalError> {
            static BACKEND: std::sync::OnceLock<InMemoryBackend> = std::sync::OnceLock::new();
            let backend = Disk(BACKEND.get_or_init(InMemoryBackend::new));
            let failed = |error: DatabaseError| JournalError::Unwritable(error.to_string());
            Database::builder().create_with_backend(backend).map_err(failed)
        }
        let (journal, ..) = Journal::open_by(open, Path::new("queue"), 10).unwrap();
        journal.write(vec![add(1)]).unwrap();
        BROKEN.store(true, Ordering::Relaxed);
        for _ in 0..3 {
            assert!(journal.write(vec![add(2)]).is_err());
        }
        BROKEN.store(false, Ordering::Relaxed);
        journal.write(vec![add(3)]).unwrap();
        let read = journal.read(&[1, 2, 3]).unwrap();
        assert_eq!(read, [Some(b"1".to_vec()), None, Some(b"3".to_vec())]);
    }
}
