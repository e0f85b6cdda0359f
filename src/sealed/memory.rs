//! Bodies in files that are memory, mapped, and nobody's to change.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use memmap2::{Mmap, MmapOptions};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create, sendfile};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};
use rustix::param::page_size;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How many bodies are sealed at once. Each is a mapping, and a process may have 65,530 of these (vm.max_map_count); who
/// allocates memory needs them, too.
const MAX_SEALED: usize = 16 * 1024;

/// What the kernel keeps of a file beside its pages: inode, file, mapping, and the tree the pages hang in.
const FILE_OVERHEAD_BYTES: usize = 2 * 1024;

/// The maps there are, by the address where each begins.
static MAPS: RwLock<BTreeMap<usize, Region>> = RwLock::new(BTreeMap::new());

#[derive(Debug)]
struct Region {
    length: usize,
    file: Arc<OwnedFd>,
}

/// A body in sealed memory. It stands in [`MAPS`] as long as it lives.
#[derive(Debug)]
struct Sealed(Mmap);

/// Where bytes lie in a file.
#[derive(Debug)]
pub(super) struct Place {
    file: Arc<OwnedFd>,
    start: u64,
}

/// The pieces of a body together, in sealed memory. `None`: that cannot be had, or too much of it is in use, and
/// ordinary memory must do.
pub fn gathered(pieces: &[Bytes]) -> Option<Bytes> {
    let most_descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    match seal(pieces, most_descriptors) {
        Ok(sealed) => Some(Bytes::from_owner(sealed)),
        Err(error) => {
            tracing::debug!(%error, "a body is kept in ordinary memory");
            None
        }
    }
}

/// What a body takes, in bytes: of sealed memory it is whole pages, and the whole body though it be of a part.
pub fn weight(body: &Bytes) -> usize {
    let sealed = region(body, |_, region| region.length.next_multiple_of(page_size()) + FILE_OVERHEAD_BYTES);
    sealed.unwrap_or(body.len())
}

/// In which file bytes lie, and where.
pub(super) fn place(bytes: &[u8]) -> Option<Place> {
    region(bytes, |start, region| Place { file: Arc::clone(&region.file), start: start as u64 })
}

/// The map that these bytes lie in, and where in it they begin.
///
/// Whoever asks holds the bytes, so the map they lie in is alive. And a map that stands here is alive as well, since it is
/// taken off before it is unmapped: no address in it can be another's.
fn region<T>(bytes: &[u8], found: impl FnOnce(usize, &Region) -> T) -> Option<T> {
    let address = bytes.as_ptr().addr();
    let maps = MAPS.read().unwrap_or_else(PoisonError::into_inner);
    let (first, region) = maps.range(..=address).next_back()?;
    let start = address - first;
    let fits = region.length.checked_sub(start).is_some_and(|left| bytes.len() <= left);
    (fits && !bytes.is_empty()).then(|| found(start, region))
}

fn seal(pieces: &[Bytes], most_descriptors: u64) -> io::Result<Sealed> {
    let length = pieces.iter().map(Bytes::len).sum::<usize>();
    let known = MAPS.read().unwrap_or_else(PoisonError::into_inner).len();
    // Beyond the one limit writing would be answered with a signal that ends the process.
    let largest = getrlimit(Resource::Fsize).current.unwrap_or(u64::MAX);
    if length == 0 || length as u64 > largest || known >= MAX_SEALED {
        return Err(io::ErrorKind::QuotaExceeded.into());
    }
    let mut file = file(most_descriptors)?;
    for piece in pieces {
        file.write_all(piece)?;
    }
    fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
    let sealed = Sealed(map(&file, length)?);
    let region = Region { length, file: Arc::new(file.into()) };
    MAPS.write().unwrap_or_else(PoisonError::into_inner).insert(sealed.0.as_ptr().addr(), region);
    Ok(sealed)
}

/// A new file in memory.
fn file(most_descriptors: u64) -> io::Result<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = match memfd_create("body", flags | MemfdFlags::NOEXEC_SEAL) {
        // A kernel older than 6.3 does not know the last.
        Err(Errno::INVAL) => memfd_create("body", flags)?,
        made => made?,
    };
    // The number is the lowest that is free: there are at least as many descriptors. Connections come first, and have half of what
    // there may be; a body does without.
    if u64::from(file.as_raw_fd().unsigned_abs()) >= most_descriptors / 2 {
        return Err(Errno::MFILE.into());
    }
    Ok(file.into())
}

#[allow(unsafe_code, reason = "a map is shared with whoever can change the file")]
fn map(file: &File, length: usize) -> io::Result<Mmap> {
    // Private, because before 6.7 Linux lets nobody share what is sealed, not even for reading. Nothing is ever written, so the
    // pages are the file's all the same.
    //
    // SAFETY: what is mapped may be handed out as `&[u8]` only if nobody changes or cuts off the file while it is mapped. Nobody
    // can, neither here nor in another process: it has been sealed against writing, growing and shrinking, and against
    // the seals being taken off, which the kernel does not do anyway. `length` is what has been written to it.
    unsafe { MmapOptions::new().len(length).map_copy_read_only(file) }
}

impl AsRef<[u8]> for Sealed {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Sealed {
    /// Before the map itself goes, which is the field.
    fn drop(&mut self) {
        let region = MAPS.write().unwrap_or_else(PoisonError::into_inner).remove(&self.0.as_ptr().addr());
        // Closed without the lock: the pages are given back with it, if nobody else has them.
        drop(region);
    }
}

impl Place {
    /// Sends so many of the bytes from here on, or less.
    pub(super) fn send(&self, socket: impl AsFd, length: usize) -> io::Result<usize> {
        let mut start = self.start;
        Ok(sendfile(socket, &self.file, Some(&mut start), length)?)
    }
}

/// Sends what goes before a [`Place`]: a head is not to leave in a packet of its own.
pub(super) fn send_before_more(socket: impl AsFd, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    let flags = SendFlags::MORE | SendFlags::NOSIGNAL;
    Ok(sendmsg(socket, slices, &mut SendAncillaryBuffer::default(), flags)?)
}

/// Lets the process have as many descriptors as it may: sealed bodies have one each, as connections do.
pub fn raise_descriptor_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::debug!(%error, "the limit of descriptors stays as it is");
    }
}

/// Bytes that are said to lie in a file, but cannot be sent from it.
#[cfg(test)]
pub(super) fn misplaced(bytes: Vec<u8>) -> io::Result<&'static [u8]> {
    let file = File::options().write(true).open("/dev/null")?;
    let bytes: &'static [u8] = Vec::leak(bytes);
    let region = Region { length: bytes.len(), file: Arc::new(file.into()) };
    MAPS.write().unwrap_or_else(PoisonError::into_inner).insert(bytes.as_ptr().addr(), region);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    fn pieces(lengths: &[usize]) -> Vec<Bytes> {
        let letters = |length| (0..length).map(|number| b'a' + (number % 26) as u8).collect::<Vec<_>>();
        lengths.iter().map(|&length| Bytes::from(letters(length))).collect()
    }

    #[test]
    fn sealed_bytes_are_those_written() {
        for lengths in
            [&[1][..], &[4095], &[4096], &[4097], &[0, 5, 0], &[10_000, 1, 90_001], &[(1 << 20) + 1, 3]]
        {
            let pieces = pieces(lengths);
            let sealed = gathered(&pieces).unwrap();
            assert!(sealed == pieces.concat(), "{lengths:?}");
        }
    }

    #[test]
    fn nothing_is_not_sealed() {
        assert!(gathered(&[]).is_none());
        assert!(gathered(&pieces(&[0, 0])).is_none());
    }

    #[test]
    fn sealed_bytes_stay_as_they_are() {
        let sealed = gathered(&pieces(&[5000])).unwrap();
        let place = place(&sealed).unwrap();
        let file = File::from(place.file.try_clone().unwrap());
        let refused = |error: io::Error| error.raw_os_error() == Some(Errno::PERM.raw_os_error());
        assert!(refused(file.write_at(b"x", 0).unwrap_err()));
        assert!(refused(file.write_at(b"x", 5000).unwrap_err()));
        assert!(refused(file.set_len(0).unwrap_err()));
        assert!(refused(file.set_len(10_000).unwrap_err()));
        // Whoever opens it anew, to write, gets no further.
        let again = File::options().write(true).open(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap();
        assert!(refused(again.write_at(b"x", 0).unwrap_err()));
    }

    #[test]
    fn only_bytes_within_a_map_have_a_place() {
        let sealed = gathered(&pieces(&[10_000])).unwrap();
        let start = |bytes: &[u8]| place(bytes).map(|place| place.start);
        assert_eq!(start(&sealed), Some(0));
        assert_eq!(start(&sealed[4000..]), Some(4000));
        assert_eq!(start(&sealed.slice(9_999..)), Some(9_999));
        assert_eq!(start(&sealed[..0]), None);
        assert_eq!(start(b"elsewhere"), None);
        let copy = Bytes::copy_from_slice(&sealed);
        assert_eq!(start(&copy), None);
    }

    #[test]
    fn a_place_is_gone_with_the_last_of_its_bytes() {
        let sealed = gathered(&pieces(&[10_000])).unwrap();
        let address = sealed.as_ptr().addr();
        let known = || MAPS.read().unwrap().contains_key(&address);
        let slice = sealed.slice(5000..5001);
        drop(sealed);
        assert!(known());
        assert_eq!(place(&slice).unwrap().start, 5000);
        drop(slice);
        assert!(!known());
    }

    #[test]
    fn whole_pages_are_weighed() {
        let sealed = gathered(&pieces(&[10_000])).unwrap();
        let whole = 10_000_usize.next_multiple_of(page_size()) + FILE_OVERHEAD_BYTES;
        assert_eq!(weight(&sealed), whole);
        assert_eq!(weight(&sealed.slice(1..2)), whole);
        assert_eq!(weight(&Bytes::from_static(b"five!")), 5);
    }

    #[test]
    fn half_of_all_descriptors_are_left_to_connections() {
        let pieces = pieces(&[1]);
        let number = File::open("/dev/null").unwrap().as_raw_fd().unsigned_abs().into();
        assert!(seal(&pieces, number).is_err());
        assert!(seal(&pieces, u64::MAX).is_ok());
    }

    #[test]
    fn there_are_as_many_descriptors_as_there_may_be() {
        raise_descriptor_limit();
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        assert_eq!(current, maximum);
    }
}
