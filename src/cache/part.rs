//! Parts of stored responses: 206, 416 (RFC 9110 §15.3.7, §15.5.17).

use std::hash::{BuildHasher, RandomState};
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG, HeaderValue, RANGE, VIA};
use http::{HeaderMap, Method, Response, StatusCode, request};
use http_body::Body;

use super::fill::Reader;
use crate::exchange::{AnswerBody, Routed};
use crate::semantics::fields::without_where;
use crate::semantics::range::{self, ContentRange, Wanted};
use crate::semantics::{StoredResponse, range::describes_whole};
use crate::store::Stored;

/// The parts that a request asks for of a complete stored response, or of a stored part; `None`: it asks for the whole, or
/// for more than is there.
pub(super) fn respond(stored: &Stored, request: &request::Parts) -> Option<Response<AnswerBody>> {
    if request.method != Method::GET || !request.headers.contains_key(RANGE) {
        return None;
    }
    let held = &stored.response;
    let has = match held.status {
        StatusCode::OK => {
            let complete = stored.body.len() as u64;
            ContentRange { bytes: 0..complete, complete }
        }
        StatusCode::PARTIAL_CONTENT => ContentRange::of(&held.headers())?,
        _ => return None,
    };
    match range::wanted(&request.headers, held, has.complete) {
        Wanted::Whole => None,
        Wanted::Unsatisfiable => Some(unsatisfiable(&held.headers(), has.complete)),
        Wanted::Parts(parts) if !has.covers(&parts) => None,
        Wanted::Parts(parts) => {
            let slices = parts.into_iter().map(|part| {
                let slice = slice(&stored.body, &has, &part)?;
                Some((ContentRange { bytes: part, complete: has.complete }, slice))
            });
            let mut slices = slices.collect::<Option<Vec<_>>>()?;
            match (slices.pop(), slices.is_empty()) {
                (Some((part, slice)), true) => single(held, &part, slice),
                (Some(last), false) => {
                    slices.push(last);
                    several(held, &slices)
                }
                (None, _) => None,
            }
        }
    }
}

/// The bytes `part` of a body that begins where `has` does.
fn slice(body: &Bytes, has: &ContentRange, part: &Range<u64>) -> Option<Bytes> {
    let place = |byte: u64| usize::try_from(byte.checked_sub(has.bytes.start)?).ok();
    let (start, end) = (place(part.start)?, place(part.end)?);
    (start <= end && end <= body.len()).then(|| body.slice(start..end))
}

fn single(held: &StoredResponse, part: &ContentRange, slice: Bytes) -> Option<Response<AnswerBody>> {
    let fields = single_fields(held.headers(), part)?;
    Some(response(StatusCode::PARTIAL_CONTENT, fields, AnswerBody::whole(slice)))
}

/// The fields of a whole response, as those of its part.
pub(super) fn single_fields(fields: HeaderMap, part: &ContentRange) -> Option<HeaderMap> {
    let mut fields = without_where(fields, describes_whole);
    fields.insert(CONTENT_RANGE, part.to_value()?);
    fields.insert(CONTENT_LENGTH, HeaderValue::from(part.bytes.end - part.bytes.start));
    Some(fields)
}

/// What a request asks for of a response that is still coming: all of it, or one part. Several it gets when all is there.
pub(super) fn of_coming(
    held: &StoredResponse,
    fields: HeaderMap,
    routed: &Routed,
    reader: Reader,
) -> Response<AnswerBody> {
    let request = &routed.request.head;
    // A slice is wanted whole; and if the whole comes instead, then that.
    let may_be_cut = held.status == StatusCode::OK && routed.slice.is_none();
    let complete = reader.size_hint().exact().filter(|_| may_be_cut);
    let wanted = complete.map_or(Wanted::Whole, |complete| match request.method {
        Method::GET => range::wanted(&request.headers, held, complete),
        _ => Wanted::Whole,
    });
    match (wanted, complete) {
        (Wanted::Unsatisfiable, Some(complete)) => return unsatisfiable(&held.headers(), complete),
        (Wanted::Parts(ref parts), Some(complete)) if let [part] = &parts[..] => {
            let has = ContentRange { bytes: part.clone(), complete };
            if let Some(fields) = single_fields(fields.clone(), &has) {
                let body = AnswerBody::Fill(Box::new(reader.only(part.clone())));
                return response(StatusCode::PARTIAL_CONTENT, fields, body);
            }
        }
        _ => {}
    }
    response(held.status, fields, AnswerBody::Fill(Box::new(reader)))
}

/// `multipart/byteranges` (§14.6).
fn several(held: &StoredResponse, parts: &[(ContentRange, Bytes)]) -> Option<Response<AnswerBody>> {
    // Told from what is in the parts by nobody being able to guess it.
    let random = || RandomState::new().hash_one(0);
    let boundary = format!("{:016x}{:016x}", random(), random());
    let mut body = BytesMut::with_capacity(parts.iter().map(|(_, slice)| slice.len() + 200).sum());
    for (part, slice) in parts {
        body.extend_from_slice(format!("\r\n--{boundary}\r\n").as_bytes());
        if let Some(content_type) = held.lines.get(&CONTENT_TYPE) {
            body.extend_from_slice(b"Content-Type: ");
            body.extend_from_slice(content_type);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"Content-Range: ");
        body.extend_from_slice(part.to_value()?.as_bytes());
        body.extend_from_slice(b"\r\n\r\n");
        body.extend_from_slice(slice);
    }
    body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    let mut fields = without_where(held.headers(), describes_whole);
    let content_type = format!("multipart/byteranges; boundary={boundary}");
    fields.insert(CONTENT_TYPE, HeaderValue::try_from(content_type).ok()?);
    fields.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    Some(response(StatusCode::PARTIAL_CONTENT, fields, AnswerBody::whole(body.freeze())))
}

pub(super) fn unsatisfiable(held: &HeaderMap, complete: u64) -> Response<AnswerBody> {
    let mut fields = without_where(held.clone(), |name| ![DATE, ETAG, VIA].contains(name));
    if let Some(range) = ContentRange::unsatisfied(complete) {
        fields.insert(CONTENT_RANGE, range);
    }
    fields.insert(CONTENT_LENGTH, HeaderValue::from(0));
    response(StatusCode::RANGE_NOT_SATISFIABLE, fields, AnswerBody::Empty)
}

fn response(status: StatusCode, fields: HeaderMap, body: AnswerBody) -> Response<AnswerBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = fields;
    response
}
