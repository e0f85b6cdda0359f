//! Staleproof.
#![allow(missing_docs, dead_code, unused)] // skeleton only; removed at the merge

pub mod admin;
pub mod clock;
pub mod config;
pub mod dispatch;
pub mod invalidation;
pub mod keys;
pub mod origin;
pub mod routes;
pub mod semantics;
pub mod store;
pub mod telemetry;
pub mod webhooks;
