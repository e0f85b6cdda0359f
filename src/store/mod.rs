//! Where stored responses are kept.

mod memory;
mod searches;
mod uses;

pub use memory::{Memory, MemoryLimits, Stored, Variants};
pub use searches::Searches;
pub use uses::Uses;
