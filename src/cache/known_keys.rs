//! The keys of what this worker was asked for last: to build one anew costs more than all the rest of looking something up.
//!
//! Only of constructors to which nothing matters but the URL, so that a URL, its route and a key belong together for good.

use std::cell::RefCell;
use std::hash::BuildHasher;
use std::sync::Arc;

use crate::exchange::{Routed, Scheme};
use crate::routes::Route;

/// How many are known. Each has one place it can be in.
const PLACES: usize = 256;

/// Longer ones are not remembered, in bytes: a worker remembers no more than 256 KiB.
const MAX_BYTES: usize = 512;

#[derive(Debug)]
struct Known {
    route: Arc<Route>,
    scheme: Scheme,
    host: Arc<str>,
    target: String,
    key: String,
}

#[derive(Debug, Default)]
struct Keys {
    places: Vec<Option<Known>>,
    hasher: foldhash::fast::RandomState,
}

thread_local! {
    static KEYS: RefCell<Keys> = RefCell::default();
}

/// Adds the text of a request's key, as it is known or as it is made.
pub(super) fn write<E>(
    routed: &Routed,
    text: &mut String,
    make: impl FnOnce(&mut String) -> Result<(), E>,
) -> Result<(), E> {
    let (host, target) = routed.url();
    let (route, scheme) = (&routed.route, routed.request.scheme);
    KEYS.with_borrow_mut(|keys| {
        if keys.places.is_empty() {
            keys.places.resize_with(PLACES, || None);
        }
        let hash = keys.hasher.hash_one(target);
        let place = &mut keys.places[usize::try_from(hash % PLACES as u64).unwrap_or_default()];
        match place {
            Some(known)
                if known.target == target
                    && *known.host == *host
                    && known.scheme == scheme
                    && Arc::ptr_eq(&known.route, route) =>
            {
                text.push_str(&known.key);
                return Ok(());
            }
            _ => {}
        }
        let start = text.len();
        make(text)?;
        let key = &text[start..];
        if target.len() + key.len() <= MAX_BYTES {
            let known = Known {
                route: Arc::clone(route),
                scheme,
                host: Arc::clone(&routed.request.host),
                target: target.to_owned(),
                key: key.to_owned(),
            };
            *place = Some(known);
        }
        Ok(())
    })
}
