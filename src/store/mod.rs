//! Where stored responses are kept.

mod asked;
mod memory;
mod searches;
mod uses;

pub use asked::{Again, Asked};
pub use memory::{Eviction, Memory, MemoryLimits, Stored, Variants};
pub use searches::Searches;
pub use uses::Uses;
