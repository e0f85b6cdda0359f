//! Where there is no sealed memory.

use std::convert::Infallible;
use std::io::{self, IoSlice};

use bytes::Bytes;
use tokio::net::TcpStream;

/// Nothing is.
pub fn gathered(_pieces: &[Bytes]) -> Option<Bytes> {
    None
}

/// What the bytes of a body take.
pub fn weight(body: &Bytes) -> usize {
    body.len()
}

/// Left as it is.
pub fn raise_descriptor_limit() {}

/// There is none.
#[derive(Debug)]
pub(super) struct Place(Infallible);

impl Place {
    pub(super) fn send(&self, _socket: &TcpStream, _length: usize) -> io::Result<usize> {
        match self.0 {}
    }
}

pub(super) fn place(_bytes: &[u8]) -> Option<Place> {
    None
}

/// Not called, for there is nothing that more could come from.
pub(super) fn send_before_more(socket: &TcpStream, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    socket.try_write_vectored(slices)
}
