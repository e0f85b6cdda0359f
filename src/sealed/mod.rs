//! Sealed memory: large bodies that the kernel can send by itself.
//!
//! A body that is written from ordinary memory is copied by the kernel each time. Sealed memory has a file
//! (memfd_create(2)), and what has a file is sent by sendfile(2): the kernel passes on the pages as they are. To all
//! others a sealed body is [`Bytes`](bytes::Bytes) like any other, because the file is mapped.
//!
//! Decides where complete bodies lie and how they leave; not which are large enough. Nothing has to be carried
//! along with a body: whoever holds bytes can ask in which file they lie, and the [`Socket`] does. Linux only;
//! elsewhere nothing is ever sealed, and nowhere has anything to work otherwise for it.

#[cfg(target_os = "linux")]
mod memory;
#[cfg(not(target_os = "linux"))]
#[path = "none.rs"]
mod memory;
mod socket;

pub use memory::{gathered, raise_descriptor_limit, weight};
pub(crate) use socket::Socket;
