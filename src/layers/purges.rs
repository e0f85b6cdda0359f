//! Purges: what asks for one by its method, [as other caches are purged](crate::dialects), where a route allows it.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderName, Method, Response};
use tower::{Layer, Service};

use super::Early;
use crate::admin::Desk;
use crate::dialects::{self, Deed, Order, Sent};
use crate::exchange::{Answer, AnswerBody, Cause, Normalized};
use crate::routes::{RouteQuery, Table};

const X_REFRESH: HeaderName = HeaderName::from_static("x-refresh");

/// Makes [`Purges`].
#[derive(Clone, Debug)]
pub struct PurgesLayer {
    ground: Option<Arc<Ground>>,
}

#[derive(Debug)]
struct Ground {
    table: Arc<Table>,
    desk: Desk,
}

impl PurgesLayer {
    /// Purges by this desk, where the table's routes allow.
    pub fn new(table: Arc<Table>, desk: Desk) -> Self {
        let is_allowed = table.routes().iter().any(|route| route.purge_from.is_some());
        Self { ground: is_allowed.then(|| Arc::new(Ground { table, desk })) }
    }
}

impl<S> Layer<S> for PurgesLayer {
    type Service = Purges<S>;

    fn layer(&self, inner: S) -> Purges<S> {
        Purges { inner, ground: self.ground.clone() }
    }
}

/// See the [module](self).
#[derive(Clone, Debug)]
pub struct Purges<S> {
    inner: S,
    /// `None`: no route allows any.
    ground: Option<Arc<Ground>>,
}

impl<S> Service<Normalized> for Purges<S>
where
    S: Service<Normalized, Response = Answer, Error = Infallible, Future = Early>,
{
    type Response = Answer;
    type Error = Infallible;
    type Future = Early;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Normalized) -> Self::Future {
        let Some(ground) = &self.ground else { return self.inner.call(request) };
        match ground.meaning(&request) {
            Meaning::Another => self.inner.call(request),
            Meaning::Refused(response) => Early::now(own(response, &request)),
            Meaning::Asked { order: Order { deed: Deed::Refresh, .. }, .. } => {
                self.inner.call(refreshing(request))
            }
            Meaning::Asked { order: Order { targets, deed: Deed::Purge(strength), reply }, by } => {
                let ground = Arc::clone(ground);
                Early::Later(Box::pin(async move {
                    let response = ground.desk.purge(by, targets, strength, &reply).await;
                    own(response, &request)
                }))
            }
        }
    }
}

/// What a request is to this layer.
enum Meaning {
    /// None of its business.
    Another,
    Refused(Response<Bytes>),
    Asked {
        order: Order,
        by: String,
    },
}

impl Ground {
    fn meaning(&self, request: &Normalized) -> Meaning {
        let head = &request.head;
        let sent = Sent {
            method: &head.method,
            scheme: request.scheme.as_str(),
            host: &request.host,
            target: head.uri.path_and_query().map_or("/", PathAndQuery::as_str),
            headers: &head.headers,
        };
        if !dialects::is_by_method(&sent) {
            return Meaning::Another;
        }
        // The route of what is to be purged.
        let (host, path, headers) = (&request.host, head.uri.path(), &head.headers);
        let route = self.table.find(RouteQuery { method: &Method::GET, host, path, headers });
        let from = route.and_then(|(route, _)| route.purge_from.as_deref());
        let Some(from) = from else { return Meaning::Another };
        match self.desk.who(headers, request.client, from) {
            // To those who may not purge it is a page like others.
            Err(_) if head.method == Method::GET => Meaning::Another,
            Err(turned) => Meaning::Refused(turned.to_response()),
            Ok(by) => match dialects::by_method(&sent) {
                Ok(order) => Meaning::Asked { order, by },
                Err(misread) => Meaning::Refused(crate::admin::misread(misread)),
            },
        }
    }
}

/// The page itself, from the origin, whatever is stored.
fn refreshing(mut request: Normalized) -> Normalized {
    request.head.method = Method::GET;
    request.head.headers.remove(X_REFRESH);
    // It is fetched for everybody.
    Desk::SECRET_FIELDS.iter().for_each(|name| drop(request.head.headers.remove(name)));
    request.cause = Cause::Refresh;
    request
}

fn own(response: Response<Bytes>, request: &Normalized) -> Answer {
    let mut answer = Answer::refused(response.map(AnswerBody::whole));
    answer.client = Some(request.client);
    answer
}
