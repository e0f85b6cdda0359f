//! The fields of what this worker has sent last, as maps: HTTP/2 and 304 cannot send lines, and to make a map of them costs as much as
//! all that the cache does for a hit.

use std::borrow::Cow;
use std::cell::RefCell;
use std::sync::{Arc, Weak};

use http::HeaderMap;

use crate::store::Stored;

/// How many are known. Each has one place it can be in.
const PLACES: usize = 64;

/// Longer ones are not remembered, in bytes of lines: a worker remembers some 1 MiB at most.
const MAX_BYTES: usize = 4096;

/// Of a stored response that may be gone: its memory is not used again while this is here, so that no other is taken for it.
#[derive(Debug)]
struct Known {
    stored: Weak<Stored>,
    /// `None`: it was sent once, and may never be again.
    fields: Option<HeaderMap>,
}

thread_local! {
    static FIELDS: RefCell<Vec<Option<Known>>> = const { RefCell::new(Vec::new()) };
}

/// Looks at the fields of a stored response, or takes them.
pub(super) fn with<R>(stored: &Arc<Stored>, look: impl FnOnce(Cow<'_, HeaderMap>) -> R) -> R {
    FIELDS.with_borrow_mut(|places| {
        if places.is_empty() {
            places.resize_with(PLACES, || None);
        }
        // The lower bits are those of its size.
        let place = &mut places[(Arc::as_ptr(stored).addr() / size_of::<Stored>()) % PLACES];
        match place {
            Some(known) if Weak::as_ptr(&known.stored) == Arc::as_ptr(stored) => {
                look(Cow::Borrowed(known.fields.get_or_insert_with(|| stored.response.headers())))
            }
            _ => {
                if stored.response.lines.as_bytes().len() <= MAX_BYTES {
                    *place = Some(Known { stored: Arc::downgrade(stored), fields: None });
                }
                look(Cow::Owned(stored.response.headers()))
            }
        }
    })
}
