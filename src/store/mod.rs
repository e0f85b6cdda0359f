//! Where stored responses are kept.

mod memory;
mod searches;

pub use memory::{Memory, MemoryLimits, Stored, Variants};
pub use searches::Searches;
