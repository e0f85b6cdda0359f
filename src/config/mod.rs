//! From `proxy.yaml` to the [`Plan`] the program runs on.

mod plan;

pub use plan::*;
