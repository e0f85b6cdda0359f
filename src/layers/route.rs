//! Route: host, path, method and fields find what holds for a request.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use tower::{Layer, Service};

use super::Early;
use crate::exchange::{Answer, Normalized, Routed};
use crate::respond::Failure;
use crate::routes::{RouteQuery, Table};

/// Makes [`Route`].
#[derive(Clone, Debug)]
pub struct RouteLayer {
    table: Arc<Table>,
}

impl RouteLayer {
    /// Routes by this table.
    pub fn new(table: Arc<Table>) -> Self {
        Self { table }
    }
}

impl<S> Layer<S> for RouteLayer {
    type Service = Route<S>;

    fn layer(&self, inner: S) -> Route<S> {
        Route { inner, table: Arc::clone(&self.table) }
    }
}

/// See the [module](self).
#[derive(Clone, Debug)]
pub struct Route<S> {
    inner: S,
    table: Arc<Table>,
}

impl<S> Service<Normalized> for Route<S>
where
    S: Service<Routed, Response = Answer, Error = Infallible, Future = Early>,
{
    type Response = Answer;
    type Error = Infallible;
    type Future = Early;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Normalized) -> Self::Future {
        let query = RouteQuery {
            method: &request.head.method,
            host: &request.host,
            path: request.head.uri.path(),
            headers: &request.head.headers,
        };
        match self.table.find(query) {
            Some((route, captures)) => {
                let route = Arc::clone(route);
                self.inner.call(Routed { request, route, captures, slice: None })
            }
            None => Early::now(Answer::refused(
                Failure::NoRoute.respond(&request.head.method, &request.head.headers),
            )),
        }
    }
}
