//! Where stored responses are kept.

mod memory;

pub use memory::{Memory, MemoryLimits, Stored, Variants};
