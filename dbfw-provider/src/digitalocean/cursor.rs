//! Fair order of requests when the budget cannot pay for a whole round: those that the last one did
//! not reach come first.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
};

use dbfw_core::answers::Cause;

use super::facts::Missed;

/// The position at which the next round begins, by what is asked for.
#[derive(Debug, Default)]
pub(crate) struct Cursor {
    /// The first that the last round did not come to, by kind.
    first: BTreeMap<&'static str, String>,
    /// Rounds that ended early.
    short: usize,
}

impl Cursor {
    /// All of `keys`, in the order to ask for them.
    pub(crate) fn order<'k, K: Display>(
        &self,
        kind: &'static str,
        keys: &'k BTreeSet<K>,
    ) -> Vec<&'k K> {
        let mut order: Vec<&K> = keys.iter().collect();
        if let Some(first) = self.first.get(kind) {
            let at = order.iter().position(|key| key.to_string() == *first);
            order.rotate_left(at.unwrap_or(0));
        }
        order
    }

    /// Takes in how far a round came: answers in the order of [`Cursor::order`].
    pub(crate) fn came<'a, K: Display, T: 'a>(
        &mut self,
        kind: &'static str,
        answers: impl IntoIterator<Item = (K, &'a Result<T, Missed>)>,
    ) {
        let missed = answers.into_iter().find(|(_, answer)| is_put_off(answer));
        match missed {
            Some((key, _)) => self.first.insert(kind, key.to_string()),
            None => self.first.remove(kind),
        };
    }

    /// A round ended early.
    pub(crate) fn turn(&mut self) {
        self.short = self.short.wrapping_add(1);
    }

    /// The number of rounds that did: each lets another kind begin.
    pub(crate) fn short(&self) -> usize {
        self.short
    }
}

/// Whether there was no request left for it.
fn is_put_off<T>(answer: &Result<T, Missed>) -> bool {
    matches!(answer, Err(Missed::Failed(error)) if error.cause == Cause::RateLimited)
}

#[cfg(test)]
mod tests {
    use dbfw_core::answers::FetchError;

    use super::*;

    /// The keys that a round with `budget` requests asks for.
    fn round(cursor: &mut Cursor, keys: &BTreeSet<u64>, budget: usize) -> Vec<u64> {
        let order = cursor.order("droplets", keys);
        let answer = |at: usize| match at < budget {
            true => Ok(()),
            false => Err(Missed::Failed(FetchError::new(Cause::RateLimited, "used up"))),
        };
        let answers: Vec<_> = (0..order.len()).map(answer).collect();
        cursor.came("droplets", order.iter().zip(&answers));
        order.into_iter().take(budget).copied().collect()
    }

    #[test]
    fn a_short_round_goes_on_where_the_last_one_ended() {
        let keys: BTreeSet<u64> = (0..10).collect();
        let mut cursor = Cursor::default();
        assert_eq!(round(&mut cursor, &keys, 4), [0, 1, 2, 3]);
        assert_eq!(round(&mut cursor, &keys, 4), [4, 5, 6, 7]);
        assert_eq!(round(&mut cursor, &keys, 4), [8, 9, 0, 1]);
        assert_eq!(round(&mut cursor, &keys, 0), [0; 0]);
        assert_eq!(round(&mut cursor, &keys, 10).first(), Some(&2));
        assert_eq!(round(&mut cursor, &keys, 1), [0], "after a whole round from the beginning");
        let others: BTreeSet<u64> = (5..10).collect();
        assert_eq!(round(&mut cursor, &others, 1), [5], "it is wanted no more");
    }
}
