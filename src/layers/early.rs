//! The future of a layer that may know the answer at once.
//!
//! A layer that adds nothing to the answers of the one below has its future, too: what is wrapped has to be moved, and an answer is
//! large.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::exchange::Answer;

/// What is done beside the way of requests.
type Aside = Pin<Box<dyn Future<Output = Answer> + Send>>;

pin_project! {
    /// An answer that is there already, or the future of one. Needs no box and no await.
    pub struct Early<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[project = Projected]
    // An answer is large, and boxing it would cost every hit an allocation.
    enum State<F> {
        Now { answer: Option<Answer> },
        Later { #[pin] answer: F },
        Aside { answer: Aside },
    }
}

impl<F> fmt::Debug for Early<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Early").finish_non_exhaustive()
    }
}

impl<F> Early<F> {
    /// Answered at once.
    pub fn now(answer: Answer) -> Self {
        Self { state: State::Now { answer: Some(answer) } }
    }

    /// Answered by `future`.
    pub fn later(future: F) -> Self {
        Self { state: State::Later { answer: future } }
    }

    /// Answered by what is no part of the way of requests. On that way nothing is boxed.
    pub fn aside(future: Aside) -> Self {
        Self { state: State::Aside { answer: future } }
    }
}

impl<F: Future<Output = Result<Answer, Infallible>>> Future for Early<F> {
    type Output = Result<Answer, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            // Once taken, the future was ready and is not polled again.
            Projected::Now { answer } => {
                answer.take().map_or(Poll::Pending, |answer| Poll::Ready(Ok(answer)))
            }
            Projected::Later { answer } => answer.poll(cx),
            Projected::Aside { answer } => answer.as_mut().poll(cx).map(Ok),
        }
    }
}
