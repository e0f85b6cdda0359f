//! # Staleproof
//!
//! An HTTP caching reverse proxy: it is put in front of an existing web app, configured in one YAML file, and
//! told by signed webhooks what changed. Its promise: **once a purge is acknowledged, no response whose fetch
//! began before it is ever served again.**
//!
//! This page is the guided tour. The modules stand in reading order; each begins by saying what it decides, where
//! that is written, and what it does not know. Whoever reads this page, then [`stack`], then
//! [`cache::Cache`](cache) has seen the whole way of a request.
//!
//! ## What travels
//!
//! ```text
//! Arrival ─ observe ─ admit ─ normalize ─▶ Normalized ─ … ─ route ─▶ Routed ─ cache ─▶ Outbound ─ forward ─▶ origin
//! Response ◀────────────────────────────────────────────────── Answer ◀────┘
//! ```
//!
//! [`exchange`] holds these types; because each layer takes one and gives another, the stack can be built in one
//! order only.
//!
//! ## What decides
//!
//! Some rooms are *pure*: no socket, no task, no store, and no clock; `now` is an argument. They can be called from
//! a table of examples, and mostly are: [`uri`], [`routes`], [`keys`], [`semantics`], and of [`invalidation`] the
//! log, its cells and the rules.
//!
//! ## Why a purge can be trusted
//!
//! There is one totally ordered [log](invalidation::Log) of invalidations. A fetch notes the log's position before
//! its request leaves ([`Log::begin_fetch`](invalidation::Log::begin_fetch)); the response it leads to
//! [carries](invalidation::Carried) that position and its tags. A stored response is usable iff no invalidation after
//! its position names one of its tags. Nothing else is needed: not for a fetch that is under way while the purge
//! comes, not for a validation, not for whatever is stored later.

// What everyone may use: the one reader of time, and what a URI is.
pub mod clock;
pub mod selector;
pub mod uri;

// PURE: what the operator says, how a key is built, what the RFCs say, what was invalidated.
pub mod routes;
pub mod keys;
pub mod semantics;
pub mod invalidation;
pub mod dialects;

// The way of a request: what travels, in which order, and what is done on the way.
pub mod exchange;
pub mod stack;
pub mod layers;
pub mod cache;
pub mod explain;
pub mod inspect;
pub mod store;
pub mod sealed;
pub mod origin;
pub mod respond;

// Who may say that something changed, where that work runs, and what is fetched before its clients come.
pub mod webhooks;
pub mod dispatch;
pub mod warm;
pub mod admin;

// The program around it: the file, the listeners, what is told, the commands, the example app.
pub mod config;
pub mod server;
pub mod telemetry;
pub mod cli;
pub mod demo;
