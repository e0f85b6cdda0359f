//! Admit: a bound on what is in flight.
//!
//! Beyond the bound a request gets 503 at once: a queue would only make everyone wait for what they then do not
//! get. The permit leaves with the last byte of the body, not with the head, since a slow reader holds memory
//! and an origin connection as long as it reads.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::{Layer, Service};

use super::Early;
use crate::exchange::{Answer, Arrival};
use crate::respond::Failure;

/// Makes [`Admit`].
#[derive(Clone, Debug)]
pub struct AdmitLayer {
    free: Arc<Semaphore>,
}

impl AdmitLayer {
    /// At most `max_in_flight` exchanges at once.
    pub fn new(max_in_flight: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(max_in_flight.min(Semaphore::MAX_PERMITS))) }
    }
}

impl<S> Layer<S> for AdmitLayer {
    type Service = Admit<S>;

    fn layer(&self, inner: S) -> Admit<S> {
        Admit { inner, free: Arc::clone(&self.free) }
    }
}

/// See the [module](self).
#[derive(Clone, Debug)]
pub struct Admit<S> {
    inner: S,
    free: Arc<Semaphore>,
}

impl<S> Service<Arrival> for Admit<S>
where
    S: Service<Arrival, Response = Answer, Error = Infallible>,
{
    type Response = Answer;
    type Error = Infallible;
    type Future = Early<Admitted<S::Future>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, arrival: Arrival) -> Self::Future {
        match Arc::clone(&self.free).try_acquire_owned() {
            Ok(permit) => Early::later(Admitted { answer: self.inner.call(arrival), permit: Some(permit) }),
            Err(_) => {
                let (head, _) = arrival.request.into_parts();
                Early::now(Answer::refused(Failure::Overloaded.respond(&head.method, &head.headers)))
            }
        }
    }
}

pin_project! {
    /// An answer on its way, and the permit that goes with it.
    #[derive(Debug)]
    pub struct Admitted<F> {
        #[pin]
        answer: F,
        permit: Option<OwnedSemaphorePermit>,
    }
}

impl<F: Future<Output = Result<Answer, Infallible>>> Future for Admitted<F> {
    type Output = Result<Answer, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Ok(mut answer) = ready!(this.answer.poll(cx));
        answer.permit = this.permit.take();
        Poll::Ready(Ok(answer))
    }
}
