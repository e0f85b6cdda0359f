//! Deliveries to webhooks that come by the public listener, where a route takes them.

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, Response};
use tower::{Layer, Service};

use super::Early;
use crate::admin::Reception;
use crate::exchange::{Answer, AnswerBody, Normalized};
use crate::routes::{RouteQuery, Table};
use crate::webhooks::Hook;

/// Makes [`Deliveries`].
#[derive(Clone, Debug)]
pub struct DeliveriesLayer {
    ground: Option<Arc<Ground>>,
}

#[derive(Debug)]
struct Ground {
    table: Arc<Table>,
    paths: HashSet<String>,
    reception: Reception,
}

impl DeliveriesLayer {
    /// Those of these webhooks go to the reception, where the table's routes take them.
    pub fn new(table: Arc<Table>, hooks: &[Hook], reception: Reception) -> Self {
        let is_taken = table.routes().iter().any(|route| route.takes_webhooks);
        let paths = hooks.iter().map(|hook| hook.path.clone()).collect();
        Self { ground: is_taken.then(|| Arc::new(Ground { table, paths, reception })) }
    }
}

impl<S> Layer<S> for DeliveriesLayer {
    type Service = Deliveries<S>;

    fn layer(&self, inner: S) -> Deliveries<S> {
        Deliveries { inner, ground: self.ground.clone() }
    }
}

/// See the [module](self).
#[derive(Clone, Debug)]
pub struct Deliveries<S> {
    inner: S,
    /// `None`: no route takes any.
    ground: Option<Arc<Ground>>,
}

impl<S> Service<Normalized> for Deliveries<S>
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
        let Some(ground) = self.ground.as_ref().filter(|ground| ground.takes(&request)) else {
            return self.inner.call(request);
        };
        let ground = Arc::clone(ground);
        Early::Later(Box::pin(async move {
            let Normalized { head, body, client, .. } = request;
            let response: Response<Bytes> = ground.reception.deliver(head, body, client).await;
            let mut answer = Answer::refused(response.map(AnswerBody::whole));
            answer.client = Some(client);
            answer
        }))
    }
}

impl Ground {
    fn takes(&self, request: &Normalized) -> bool {
        let head = &request.head;
        if head.method != Method::POST || !self.paths.contains(head.uri.path()) {
            return false;
        }
        let (method, host) = (&head.method, &request.host);
        let route =
            self.table.find(RouteQuery { method, host, path: head.uri.path(), headers: &head.headers });
        route.is_some_and(|(route, _)| route.takes_webhooks)
    }
}
