//! From an error to a response: the only place that knows which failure becomes which status.
//!
//! Every response made here says what is wrong and whose turn it is, and names nothing internal. `Proxy-Status`
//! (RFC 9209) carries the machine's version of it; nothing made here may be stored (`Cache-Control: no-store`).

use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};

use crate::exchange::AnswerBody;
use crate::origin::{OriginError, RequestBodyFault};

/// Why a request gets no response from the store or the origin.
#[derive(Debug)]
pub enum Failure<'e> {
    /// The request cannot be understood in one way only; what is wrong with it.
    BadRequest(&'static str),
    /// Something HTTP allows and this proxy does not do.
    NotImplemented(&'static str),
    /// No route matches.
    NoRoute,
    /// The client expects something that is not known here (RFC 9110 §10.1.1).
    UnknownExpectation,
    /// The body is larger than the configuration allows.
    BodyTooLarge,
    /// Too much is in flight already.
    Overloaded,
    /// The request has been here before.
    Loop,
    /// `only-if-cached`, and nothing stored could be used (RFC 9111 §5.2.1.7).
    OnlyIfCached,
    /// What was to answer has crashed.
    Crashed,
    /// The origin gave nothing usable.
    Origin(&'e OriginError),
}

/// What hyper has answered by itself to a request whose head it could not read, if that is why a connection ended. (To a
/// target of more than 64KiB it says 414; few let heads become so long.)
pub fn answered_by_hyper(error: &hyper::Error) -> Option<StatusCode> {
    if error.is_parse_too_large() {
        return Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    }
    // It has no answer to HTTP/2.
    (error.is_parse() && !error.is_parse_version_h2()).then_some(StatusCode::BAD_REQUEST)
}

/// What there is to say of a failure: the status, a sentence for people, and the `error` of `Proxy-Status`.
struct Telling {
    status: StatusCode,
    sentence: &'static str,
    proxy_error: Option<&'static str>,
}

impl Failure<'_> {
    fn tell(&self) -> Telling {
        let client = |status, sentence| Telling { status, sentence, proxy_error: None };
        let proxy = |status, sentence, error| Telling { status, sentence, proxy_error: Some(error) };
        match self {
            Failure::BadRequest(sentence) => client(StatusCode::BAD_REQUEST, sentence),
            Failure::NotImplemented(sentence) => client(StatusCode::NOT_IMPLEMENTED, sentence),
            Failure::NoRoute => client(StatusCode::NOT_FOUND, "There is nothing here."),
            Failure::UnknownExpectation => client(
                StatusCode::EXPECTATION_FAILED,
                "The Expect field asks for something other than 100-continue.",
            ),
            Failure::BodyTooLarge => client(StatusCode::PAYLOAD_TOO_LARGE, "The request body is too large."),
            Failure::Overloaded => proxy(
                StatusCode::SERVICE_UNAVAILABLE,
                "The server is busy. Please try again in a moment.",
                "http_request_denied",
            ),
            Failure::Loop => proxy(
                StatusCode::LOOP_DETECTED,
                "The request has come back to where it was.",
                "proxy_loop_detected",
            ),
            Failure::OnlyIfCached => client(
                StatusCode::GATEWAY_TIMEOUT,
                "The request asks for a stored response only, and there is none that may be used.",
            ),
            Failure::Crashed => proxy(
                StatusCode::INTERNAL_SERVER_ERROR,
                "Something went wrong here. Please try again in a moment.",
                "proxy_internal_error",
            ),
            Failure::Origin(error) => tell_origin(error, client, proxy),
        }
    }

    /// The response. `request`: the fields of the request, for the format; `method`: HEAD gets no body.
    pub fn respond(&self, method: &Method, request: &HeaderMap) -> Response<AnswerBody> {
        let Telling { status, sentence, proxy_error } = self.tell();
        let reason = status.canonical_reason().unwrap_or("Error");
        let (content_type, text) = if wants_json(request) {
            let problem = serde_json::json!({
                "type": "about:blank", "title": reason, "status": status.as_u16(), "detail": sentence,
            });
            ("application/problem+json", problem.to_string())
        } else {
            ("text/html; charset=utf-8", page(status, reason, sentence))
        };
        let length = text.len();
        let body =
            if *method == Method::HEAD { AnswerBody::Empty } else { AnswerBody::whole(Bytes::from(text)) };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        let fields = response.headers_mut();
        fields.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        fields.insert(CONTENT_LENGTH, HeaderValue::from(length));
        fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(error) = proxy_error
            && let Ok(value) = HeaderValue::try_from(format!("staleproof; error={error}"))
        {
            fields.insert(HeaderName::from_static("proxy-status"), value);
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            fields.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

fn tell_origin(
    error: &OriginError,
    client: impl Fn(StatusCode, &'static str) -> Telling,
    proxy: impl Fn(StatusCode, &'static str, &'static str) -> Telling,
) -> Telling {
    const UNREACHABLE: &str = "The server behind this one cannot be reached. Please try again in a moment.";
    const SLOW: &str = "The server behind this one takes too long to answer. Please try again in a moment.";
    const BUSY: &str = "The server behind this one is busy. Please try again in a moment.";
    const BROKEN: &str = "The server behind this one gave an answer that cannot be used.";
    let proxy = |status, sentence| proxy(status, sentence, error.as_str());
    match error {
        OriginError::Connect { .. } => proxy(StatusCode::BAD_GATEWAY, UNREACHABLE),
        OriginError::ConnectTimeout { .. } | OriginError::HeadTimeout { .. } => {
            proxy(StatusCode::GATEWAY_TIMEOUT, SLOW)
        }
        OriginError::Busy { .. } => proxy(StatusCode::SERVICE_UNAVAILABLE, BUSY),
        OriginError::Closed { .. } | OriginError::HeadTooLarge { .. } | OriginError::Malformed { .. } => {
            proxy(StatusCode::BAD_GATEWAY, BROKEN)
        }
        OriginError::RequestBody(RequestBodyFault::TooLarge) => {
            client(StatusCode::PAYLOAD_TOO_LARGE, "The request body is too large.")
        }
        OriginError::RequestBody(RequestBodyFault::Stalled) => {
            client(StatusCode::REQUEST_TIMEOUT, "The request body did not arrive in time.")
        }
        OriginError::RequestBody(RequestBodyFault::Broken) => {
            client(StatusCode::BAD_REQUEST, "The request body broke off.")
        }
    }
}

/// Whether the client asks for JSON and not for HTML.
fn wants_json(request: &HeaderMap) -> bool {
    let accepted = |wanted: &str| {
        request.get_all(ACCEPT).iter().any(|line| line.to_str().is_ok_and(|line| line.contains(wanted)))
    };
    accepted("json") && !accepted("text/html")
}

fn page(status: StatusCode, reason: &str, sentence: &str) -> String {
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <title>{code} {reason}</title><style>body{{font:1.1rem/1.5 system-ui,sans-serif;max-width:36rem;\
         margin:18vh auto;padding:0 1rem;color:#222}}h1{{font-size:1.4rem}}</style>\
         <h1>{code} {reason}</h1><p>{sentence}</p></html>\n",
        code = status.as_u16(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn respond(failure: &Failure<'_>, accept: &'static str) -> Response<AnswerBody> {
        let mut request = HeaderMap::new();
        request.insert(ACCEPT, HeaderValue::from_static(accept));
        failure.respond(&Method::GET, &request)
    }

    #[test]
    fn an_origin_that_refuses_is_a_bad_gateway_and_says_so() {
        let error = OriginError::Connect {
            authority: http::uri::Authority::from_static("10.1.2.3:8000"),
            source: std::io::ErrorKind::ConnectionRefused.into(),
        };
        let response = respond(&Failure::Origin(&error), "*/*");
        assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
        assert_eq!(response.headers()["proxy-status"], "staleproof; error=connection_refused");
        assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
    }

    #[test]
    fn no_page_names_anything_internal() {
        let error = OriginError::HeadTimeout {
            authority: http::uri::Authority::from_static("secret-host:8000"),
            limit: std::time::Duration::from_secs(1),
        };
        let AnswerBody::Whole(Some(body)) = respond(&Failure::Origin(&error), "text/html").into_body() else {
            panic!("a page has a body");
        };
        assert!(!String::from_utf8_lossy(&body).contains("secret-host"));
    }

    #[test]
    fn a_program_gets_a_problem_and_a_person_gets_a_page() {
        let content_type = |accept| respond(&Failure::NoRoute, accept).headers()[CONTENT_TYPE].clone();
        assert_eq!(content_type("application/json"), "application/problem+json");
        assert_eq!(
            content_type("text/html,application/xhtml+xml,application/json"),
            "text/html; charset=utf-8"
        );
        assert_eq!(content_type("*/*"), "text/html; charset=utf-8");
    }

    #[test]
    fn an_answer_to_head_has_the_length_but_not_the_body() {
        let response = Failure::NoRoute.respond(&Method::HEAD, &HeaderMap::new());
        assert!(matches!(response.body(), AnswerBody::Empty));
        assert_ne!(response.headers()[CONTENT_LENGTH], "0");
    }
}
