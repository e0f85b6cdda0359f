//! Who carries a tag: for counting and for giving memory back. Never what makes a purge correct. PURE.

use std::collections::HashMap;
use std::ops::{AddAssign, SubAssign};
use std::sync::Arc;

use super::{Standing, Strength};

/// How many stored responses, and the bytes they account for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Their number.
    pub responses: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.responses = self.responses.wrapping_add(other.responses);
        self.bytes = self.bytes.wrapping_add(other.bytes);
    }
}

/// What is taken away may be noted before what was added: in the end it is the same.
impl SubAssign for Tally {
    fn sub_assign(&mut self, other: Self) {
        self.responses = self.responses.wrapping_sub(other.responses);
        self.bytes = self.bytes.wrapping_sub(other.bytes);
    }
}

/// The stored responses that carry a tag.
#[derive(Debug, Default)]
pub(super) struct Members {
    keys: Keys,
    /// As far as it is [noted](super::Carried::note) how they stand.
    usable: Tally,
    softened: Tally,
}

impl Members {
    /// One that is stored under `key` stands `to`, and stood `from` until now; `None`: it was not stored, or is no longer.
    pub(super) fn moved(
        &mut self,
        (key, bytes): &(Arc<str>, u32),
        from: Option<Standing>,
        to: Option<Standing>,
    ) {
        let one = Tally { responses: 1, bytes: u64::from(*bytes) };
        match from {
            None => self.keys.add(key),
            Some(standing) => {
                if let Some(tally) = self.tally(standing) {
                    *tally -= one;
                }
            }
        }
        match to {
            None => self.keys.remove(key),
            Some(standing) => {
                if let Some(tally) = self.tally(standing) {
                    *tally += one;
                }
            }
        }
    }

    fn tally(&mut self, standing: Standing) -> Option<&mut Tally> {
        match standing {
            Standing::Usable => Some(&mut self.usable),
            Standing::Softened => Some(&mut self.softened),
            Standing::Dead => None,
        }
    }

    /// Those that such an invalidation would make worse.
    pub(super) fn struck_by(&self, strength: Strength) -> Tally {
        let mut tally = self.usable;
        if strength == Strength::Hard {
            tally += self.softened;
        }
        tally
    }

    /// The keys under which they are stored.
    pub(super) fn keys(&self) -> Vec<Arc<str>> {
        match &self.keys {
            Keys::None => Vec::new(),
            Keys::One(key, _) => vec![Arc::clone(key)],
            Keys::Many(keys) => keys.keys().cloned().collect(),
        }
    }

    /// How many keys that are.
    pub(super) fn number_of_keys(&self) -> usize {
        match &self.keys {
            Keys::None => 0,
            Keys::One(..) => 1,
            Keys::Many(keys) => keys.len(),
        }
    }
}

type Table = HashMap<Arc<str>, u32, foldhash::quality::RandomState>;

/// Keys, each with the number of those stored under it: variants, and what is just being replaced. Most tags are some
/// URL's, and have one.
#[derive(Debug, Default)]
enum Keys {
    #[default]
    None,
    One(Arc<str>, u32),
    Many(Box<Table>),
}

/// A table with less room than this keeps it.
const WORTH_SHRINKING: usize = 1024;

impl Keys {
    fn add(&mut self, key: &Arc<str>) {
        match self {
            Self::None => *self = Self::One(Arc::clone(key), 1),
            Self::One(one, number) if one == key => *number += 1,
            Self::One(one, number) => {
                let both = [(Arc::clone(one), *number), (Arc::clone(key), 1)];
                *self = Self::Many(Box::new(both.into_iter().collect()));
            }
            Self::Many(keys) => *keys.entry(Arc::clone(key)).or_default() += 1,
        }
    }

    fn remove(&mut self, key: &Arc<str>) {
        match self {
            Self::One(one, number) if one == key => {
                *number -= 1;
                if *number == 0 {
                    *self = Self::None;
                }
            }
            Self::Many(keys) => {
                let Some(number) = keys.get_mut(key) else { return };
                *number -= 1;
                if *number > 0 {
                    return;
                }
                keys.remove(key);
                // A tag that everything carried once must not keep the room for ever.
                if keys.is_empty() {
                    *self = Self::None;
                } else if keys.capacity() > WORTH_SHRINKING && keys.len() < keys.capacity() / 8 {
                    keys.shrink_to_fit();
                }
            }
            Self::None | Self::One(..) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> (Arc<str>, u32) {
        (name.into(), 100)
    }

    #[test]
    fn keys_come_and_go_in_any_number() {
        let mut members = Members::default();
        let names = ["a", "b", "a", "c", "b", "a"];
        for (count, name) in names.iter().enumerate() {
            members.moved(&key(name), None, Some(Standing::Usable));
            assert_eq!(members.struck_by(Strength::Soft).responses, count as u64 + 1);
        }
        assert_eq!((members.number_of_keys(), members.keys().len()), (3, 3));
        for (name, left) in [("a", 3), ("b", 3), ("c", 2), ("a", 2), ("b", 1), ("a", 0)] {
            members.moved(&key(name), Some(Standing::Usable), None);
            assert_eq!(members.number_of_keys(), left, "{name}");
        }
        assert_eq!(members.struck_by(Strength::Hard), Tally::default());
        assert!(matches!(members.keys, Keys::None));
    }

    #[test]
    fn what_stands_worse_is_no_longer_struck_by_what_made_it_so() {
        let mut members = Members::default();
        let struck = |members: &Members| {
            [Strength::Soft, Strength::Hard].map(|strength| members.struck_by(strength).responses)
        };
        members.moved(&key("a"), None, Some(Standing::Usable));
        members.moved(&key("b"), None, Some(Standing::Usable));
        assert_eq!(struck(&members), [2, 2]);
        members.moved(&key("a"), Some(Standing::Usable), Some(Standing::Softened));
        assert_eq!(struck(&members), [1, 2]);
        members.moved(&key("a"), Some(Standing::Softened), Some(Standing::Dead));
        assert_eq!(struck(&members), [1, 1]);
        members.moved(&key("a"), Some(Standing::Dead), None);
        assert_eq!((struck(&members), members.number_of_keys()), ([1, 1], 1));
    }

    #[test]
    fn the_order_in_which_moves_are_noted_makes_no_difference() {
        let mut members = Members::default();
        members.moved(&key("a"), None, Some(Standing::Usable));
        members.moved(&key("a"), Some(Standing::Softened), None);
        members.moved(&key("a"), Some(Standing::Usable), Some(Standing::Softened));
        assert_eq!(members.struck_by(Strength::Hard), Tally::default());
    }
}
