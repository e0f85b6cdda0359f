//! The future of a layer that may know the answer at once.
//!
//! All layers around the cache have this one: what is wrapped has to be moved, and an answer is large.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::exchange::Answer;

/// An answer that something has to be waited for.
pub type Later = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// An answer that is there already, or the future of one. What is there needs no box and no await.
#[expect(
    clippy::large_enum_variant,
    reason = "an answer is large, and boxing it would cost every hit an allocation"
)]
pub enum Early {
    /// Answered at once; taken when polled.
    Now(Option<Answer>),
    /// Answered by a future.
    Later(Later),
}

impl fmt::Debug for Early {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Early").finish_non_exhaustive()
    }
}

impl Early {
    /// Answered at once.
    pub fn now(answer: Answer) -> Self {
        Self::Now(Some(answer))
    }
}

impl Future for Early {
    type Output = Result<Answer, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            // Once taken, the future was ready and is not polled again.
            Self::Now(answer) => answer.take().map_or(Poll::Pending, |answer| Poll::Ready(Ok(answer))),
            Self::Later(answer) => answer.as_mut().poll(cx).map(Ok),
        }
    }
}
