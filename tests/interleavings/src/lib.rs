//! The invalidation log once more, from the same files, with shuttle's locks and atomics in the place of the standard
//! library's: whoever runs it under shuttle sees what every interleaving of its threads leads to.

#![allow(dead_code, unused_imports, reason = "not all of the files is used here")]

pub use staleproof::{clock, keys, routes, semantics, uri};

pub mod invalidation;
