//! What a purge can name.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One of the things that can be purged. JSON: `{"url": "http://…"}`, `{"tag": "a"}`, `{"route": "user"}`,
/// `{"route": "user", "partition": {"user_id": "42"}}`, `{"key": …, "partition": …}`, `{"namespace": …}`, `{"everything": true}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Url(String),
    Tag(String),
    Host(String),
    Route(String),
    RoutePartition { route: String, values: BTreeMap<String, String> },
    Key(String),
    KeyPartition { key: String, values: BTreeMap<String, String> },
    Namespace(String),
    Everything,
}
