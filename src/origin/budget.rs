//! How many requests may be asked again: a share of those that are asked, so that an app in trouble does not get more of it.

use std::sync::atomic::{AtomicU32, Ordering};

/// What one retry costs. A request brings in the share, in hundredths.
const COST: u32 = 100;

/// The most that can be saved: so many retries at once after a quiet time.
const MAX_SAVED: u32 = 10 * COST;

/// A purse that requests fill and retries empty. It is full at first.
#[derive(Debug)]
pub(super) struct Budget {
    share_percent: u32,
    saved: AtomicU32,
}

impl Budget {
    /// `share_percent`: so many retries in a hundred requests.
    pub(super) fn new(share_percent: u8) -> Self {
        Self { share_percent: share_percent.into(), saved: AtomicU32::new(MAX_SAVED) }
    }

    /// A request is asked.
    pub(super) fn earn(&self) {
        self.change(|saved| (saved < MAX_SAVED).then(|| MAX_SAVED.min(saved + self.share_percent)));
    }

    /// Whether one may be asked again; it counts as such from now on.
    pub(super) fn spend(&self) -> bool {
        self.change(|saved| saved.checked_sub(COST))
    }

    fn change(&self, change: impl Fn(u32) -> Option<u32>) -> bool {
        self.saved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_are_a_share_of_the_requests_once_what_was_saved_is_spent() {
        let budget = Budget::new(20);
        assert_eq!((0..100).filter(|_| budget.spend()).count(), 10);
        let spent = (0..1000).filter(|_| {
            budget.earn();
            budget.spend()
        });
        assert_eq!(spent.count(), 200);
    }

    #[test]
    fn a_quiet_time_saves_only_so_much() {
        let budget = Budget::new(100);
        (0..1000).for_each(|_| budget.earn());
        assert_eq!((0..100).filter(|_| budget.spend()).count(), 10);
    }

    #[test]
    fn of_nothing_comes_nothing() {
        let budget = Budget::new(0);
        (0..10).for_each(|_| assert!(budget.spend()));
        budget.earn();
        assert!(!budget.spend());
    }
}
