//! Admit: a bound on what is in flight.
//!
//! Beyond the bound a request gets 503 at once: a queue would only make everyone wait for what they then do not
//! get. The permit leaves with the last byte of the body, not with the head, since a slow reader holds memory
//! and an origin connection as long as it reads.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use tower::{Layer, Service};

use super::Early;
use crate::exchange::{Answer, Arrival};
use crate::respond::Failure;

/// Makes [`Admit`].
#[derive(Clone, Debug)]
pub struct AdmitLayer {
    gate: Arc<Gate>,
}

/// How many are in flight. Nobody waits for a place, so it takes no more than a number.
#[derive(Debug)]
struct Gate {
    in_flight: AtomicUsize,
    max_in_flight: usize,
}

/// A place among what is in flight, given back when dropped.
#[derive(Debug)]
pub struct Permit {
    gate: Arc<Gate>,
}

impl Permit {
    fn of(gate: &Arc<Gate>) -> Option<Self> {
        // Nothing is read on the strength of these but the number itself.
        if gate.in_flight.fetch_add(1, Ordering::Relaxed) < gate.max_in_flight {
            return Some(Self { gate: Arc::clone(gate) });
        }
        gate.in_flight.fetch_sub(1, Ordering::Relaxed);
        None
    }

    /// The only one there is, and whether it is free.
    #[cfg(test)]
    pub(super) fn for_test() -> (Option<Self>, impl Fn() -> bool) {
        let gate = Arc::new(Gate { in_flight: AtomicUsize::new(0), max_in_flight: 1 });
        let permit = Self::of(&gate);
        (permit, move || Self::of(&gate).is_some())
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.gate.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl AdmitLayer {
    /// At most `max_in_flight` exchanges at once.
    pub fn new(max_in_flight: usize) -> Self {
        Self { gate: Arc::new(Gate { in_flight: AtomicUsize::new(0), max_in_flight }) }
    }
}

impl<S> Layer<S> for AdmitLayer {
    type Service = Admit<S>;

    fn layer(&self, inner: S) -> Admit<S> {
        Admit { inner, gate: Arc::clone(&self.gate) }
    }
}

/// See the [module](self).
#[derive(Clone, Debug)]
pub struct Admit<S> {
    inner: S,
    gate: Arc<Gate>,
}

impl<S> Service<Arrival> for Admit<S>
where
    S: Service<Arrival, Response = Answer, Error = Infallible, Future = Early>,
{
    type Response = Answer;
    type Error = Infallible;
    type Future = Admitted;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, arrival: Arrival) -> Self::Future {
        match Permit::of(&self.gate) {
            Some(permit) => Admitted { answer: self.inner.call(arrival), permit: Some(permit) },
            None => {
                let (head, _) = arrival.request.into_parts();
                let refused = Failure::Overloaded.respond(&head.method, &head.headers);
                Admitted { answer: Early::now(Answer::refused(refused)), permit: None }
            }
        }
    }
}

/// An answer on its way, and the permit that goes with it.
#[derive(Debug)]
pub struct Admitted {
    answer: Early,
    permit: Option<Permit>,
}

impl Future for Admitted {
    type Output = Result<Answer, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Ok(mut answer) = ready!(Pin::new(&mut self.answer).poll(cx));
        answer.permit = self.permit.take();
        Poll::Ready(Ok(answer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_when_its_permit_is_gone() {
        let gate = Arc::new(Gate { in_flight: AtomicUsize::new(0), max_in_flight: 2 });
        let (first, second) = (Permit::of(&gate), Permit::of(&gate));
        assert!(first.is_some() && second.is_some());
        assert!(Permit::of(&gate).is_none() && Permit::of(&gate).is_none());
        drop(first);
        let third = Permit::of(&gate);
        assert!(third.is_some() && Permit::of(&gate).is_none());
    }
}
