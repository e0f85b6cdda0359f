//! QUERY: safe and idempotent as GET is, with content that says what is asked for (RFC 10008).
//!
//! The content and all that describes it are part of the key, byte for byte: nothing is normalised, since two texts
//! of one meaning are cheap to store twice, and two meanings of one text are not to be found out here.
//!
//! To have the key, the content must be there first; that is why this waits where a GET does not, and why it reads
//! no more than the route allows. A QUERY with more is passed on as it comes.

use std::pin::Pin;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, EXPECT, RANGE};
use http::{HeaderMap, Response};
use http_body::{Body, Frame};
use tower::Service;

use super::service::{Errand, Found};
use super::{Rooms, fetch, refresh};
use crate::exchange::{Answer, BodyError, CacheWord, Outbound, RequestBody, Routed};
use crate::origin::{OriginBody, OriginError};
use crate::routes::QueryRule;
use crate::semantics::{ForwardReason, NotStored, precondition};

/// Answers a QUERY on a route that caches them.
pub(super) async fn run<F>(rooms: &Arc<Rooms>, forward: F, mut routed: Routed, limits: QueryRule) -> Answer
where
    F: Service<Outbound, Response = Response<OriginBody>, Error = OriginError> + Clone + Send + 'static,
    F::Future: Send,
{
    if let Err((reason, detail)) = participates(&routed.request.head.headers) {
        return fetch::run(rooms, forward, routed, Errand::Pass { reason, detail }).await;
    }
    let body = std::mem::replace(&mut routed.request.body, RequestBody::empty());
    if body.size_hint().lower() > limits.max_body_bytes {
        routed.request.body = body;
        return fetch::run(rooms, forward, routed, TOO_MUCH).await;
    }
    // Reading it asks the client for it, so the origin need not.
    routed.request.head.headers.remove(EXPECT);
    let errand = match read(body, limits.max_body_bytes).await {
        Ok(Content::Whole(content)) => {
            let found = match routed.rule() {
                Some(rule) => rooms.find(&routed, rule, Some(&content)),
                None => Found::Errand(Errand::Pass { reason: ForwardReason::Bypass, detail: None }),
            };
            routed.request.body = RequestBody::whole(content);
            match found {
                Found::Answer(answer) => return answer,
                Found::Behind { answer, stored, errand } => {
                    refresh::spawn(rooms, forward, routed, &stored, errand);
                    return answer;
                }
                Found::Errand(errand) => errand,
            }
        }
        Ok(Content::TooMuch(body)) => {
            routed.request.body = body;
            TOO_MUCH
        }
        Err(error) => {
            let error = OriginError::RequestBody((&error).into());
            return fetch::origin_failed(&error, &routed, CacheWord::Bypass, ForwardReason::Bypass);
        }
    };
    fetch::run(rooms, forward, routed, errand).await
}

/// Whether this QUERY may be answered from the cache or fill it; if not, why.
fn participates(headers: &HeaderMap) -> Result<(), (ForwardReason, Option<NotStored>)> {
    // What content means that does not say what it is, only the origin knows.
    if !headers.contains_key(CONTENT_TYPE) {
        return Err((ForwardReason::Bypass, Some(NotStored::ContentType)));
    }
    // As for GET.
    if headers.contains_key(RANGE) || precondition::forwards(headers) {
        return Err((ForwardReason::Request, None));
    }
    Ok(())
}

/// No key contains all that such a request says.
const TOO_MUCH: Errand =
    Errand::Pass { reason: ForwardReason::Bypass, detail: Some(NotStored::RequestContent) };

enum Content {
    Whole(Bytes),
    /// It is more than was to be read, or has trailers. What was read of it comes first.
    TooMuch(RequestBody),
}

/// Reads up to `limit` bytes.
async fn read(mut body: RequestBody, limit: u64) -> Result<Content, BodyError> {
    let mut content = BytesMut::new();
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        match frame?.into_data() {
            Ok(data) => {
                content.extend_from_slice(&data);
                if content.len() as u64 > limit {
                    return Ok(Content::TooMuch(body.preceded_by([Frame::data(content.freeze())])));
                }
            }
            Err(trailers) => {
                return Ok(Content::TooMuch(body.preceded_by([Frame::data(content.freeze()), trailers])));
            }
        }
    }
    Ok(Content::Whole(content.freeze()))
}
