//! Our program's place in an interface's chain of TCX programs, and keeping it first.
//!
//! Listing the chain takes CAP_NET_ADMIN, which the agent gives up. Every change of a chain
//! changes its revision, and attaching tells whether a revision is the present one
//! (kernel/bpf/mprog.c: `bpf_mprog_attach`): ESTALE if it is not, and if it is, EEXIST for a
//! program that is in the chain.

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    time::{Duration, Instant},
};

use aya_obj::generated::bpf_attach_type;
use dbfw_common::{PROGRAM_TCX, PROGRAM_TCX_L3};

use crate::{interfaces::Layer, object::SECOND_COPIES, sys};

/// The number of times that the first place is taken back within [`WINDOW`].
const MOVES: usize = 3;
const WINDOW: Duration = Duration::from_secs(600);

/// The number of revisions that are tried, each by a system call.
const REVISIONS: u64 = 20_000;

const HOOK: bpf_attach_type = bpf_attach_type::BPF_TCX_INGRESS;
/// Without a program to stand before: before all of them.
const BPF_F_BEFORE: u32 = 1 << 3;

/// The copy of a program that is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProgramCopy {
    First,
    Second,
}

impl ProgramCopy {
    pub(crate) const fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }

    pub(crate) const fn program(self, layer: Layer) -> &'static str {
        match (self, layer) {
            (Self::First, Layer::Ethernet) => PROGRAM_TCX,
            (Self::First, Layer::Network) => PROGRAM_TCX_L3,
            (Self::Second, Layer::Ethernet) => SECOND_COPIES[0].0,
            (Self::Second, Layer::Network) => SECOND_COPIES[1].0,
        }
    }
}

/// The chain that our program is in.
#[derive(Debug)]
pub(crate) struct Chain {
    copy: ProgramCopy,
    /// The revision of the chain at the time our program became the first; `None`: unknown.
    revision: Option<u64>,
    moves: Moves,
}

/// The place of our program in the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The chain is as it was when our program was the first.
    First,
    /// The chain changed since: somebody may stand before us.
    Changed,
    /// Our program is in another chain, or in none.
    Lost,
}

impl Chain {
    /// Attaches the program before all others, and learns the revision that this makes.
    ///
    /// # Errors
    /// The system call fails.
    pub(crate) fn attach(program: BorrowedFd<'_>, index: u32) -> io::Result<(OwnedFd, Self)> {
        let from = sys::chain(index, HOOK).map_or(1, |chain| chain.revision);
        let (link, revision) = attach_first(program, index, from)?;
        Ok((link, Self { copy: ProgramCopy::First, revision, moves: Moves::default() }))
    }

    /// Takes over a chain in which the first copy has just replaced another program of ours.
    pub(crate) fn adopt(program_id: u32, index: u32) -> Self {
        let chain = sys::chain(index, HOOK).ok();
        let first = chain.filter(|chain| chain.programs.first() == Some(&program_id));
        let revision = first.map(|chain| chain.revision);
        Self { copy: ProgramCopy::First, revision, moves: Moves::default() }
    }

    /// The copy that is attached.
    pub(crate) fn copy(&self) -> ProgramCopy {
        self.copy
    }

    /// The place of `program`, which is ours, in the chain of an interface.
    pub(crate) fn place(&self, program: BorrowedFd<'_>, index: u32) -> Place {
        // One that is attached by this was not there: it goes again as its link does.
        if sys::link_create(program, index, HOOK, 0, 0).is_ok() {
            return Place::Lost;
        }
        match self.revision.map(|revision| sys::link_create(program, index, HOOK, 0, revision)) {
            None => Place::Changed,
            Some(Err(error)) if error.raw_os_error() == Some(libc::ESTALE) => Place::Changed,
            Some(Ok(_)) => Place::Lost,
            Some(Err(_)) => Place::First,
        }
    }

    /// Whether the first place may be taken back once more.
    pub(crate) fn may_move(&mut self, now: Instant) -> bool {
        self.moves.may(now)
    }

    /// Attaches `copy`, the other copy of our program, before all others; `link` is then its
    /// link, which `pin` pins, and the copy that was attached before is detached.
    ///
    /// # Errors
    /// The system's reason; if the copy was not attached, the place in the chain is what it was.
    pub(crate) fn take_first_place(
        &mut self,
        copy: BorrowedFd<'_>,
        index: u32,
        link: &mut OwnedFd,
        pin: impl FnOnce(BorrowedFd<'_>) -> Result<(), String>,
    ) -> Result<(), String> {
        // Who may list the chain need not search from the beginning.
        let from =
            sys::chain(index, HOOK).map_or(self.revision.unwrap_or(1), |chain| chain.revision);
        let (fresh, revision) =
            attach_first(copy, index, from).map_err(|error| error.to_string())?;
        self.copy = self.copy.other();
        self.moves.made(Instant::now());
        let old = std::mem::replace(link, fresh);
        let pinned = pin(link.as_fd());
        let _ = sys::link_detach(old.as_fd());
        // Detaching is one change; if there was another meanwhile, the revisions differ.
        self.revision = revision.map(|revision| revision + 1);
        pinned
    }
}

/// Attaches before all others; the revision that this made, where it could be learned in the
/// same call: nobody else's change can hide in it.
fn attach_first(
    program: BorrowedFd<'_>,
    index: u32,
    from: u64,
) -> io::Result<(OwnedFd, Option<u64>)> {
    for revision in from..from.saturating_add(REVISIONS) {
        match sys::link_create(program, index, HOOK, BPF_F_BEFORE, revision) {
            Ok(link) => return Ok((link, Some(revision + 1))),
            Err(error) if error.raw_os_error() == Some(libc::ESTALE) => {}
            Err(error) => return Err(error),
        }
    }
    Ok((sys::link_create(program, index, HOOK, BPF_F_BEFORE, 0)?, None))
}

/// The times at which the first place was taken back, within [`WINDOW`].
#[derive(Debug, Default)]
struct Moves(Vec<Instant>);

impl Moves {
    fn may(&mut self, now: Instant) -> bool {
        self.0.retain(|at| now.saturating_duration_since(*at) < WINDOW);
        self.0.len() < MOVES
    }

    fn made(&mut self, now: Instant) {
        self.0.push(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_place_is_taken_back_three_times_in_ten_minutes() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut moves = Moves::default();
        for seconds in [0, 1, 2] {
            assert!(moves.may(at(seconds)), "{seconds}");
            moves.made(at(seconds));
        }
        assert!(!moves.may(at(3)));
        assert!(!moves.may(at(599)));
        assert!(moves.may(at(600)), "the first is ten minutes ago");
        moves.made(at(600));
        assert!(!moves.may(at(600)));
        assert!(moves.may(at(601)));
    }

    #[test]
    fn copies_take_turns() {
        for layer in [Layer::Ethernet, Layer::Network] {
            let (first, second) =
                (ProgramCopy::First.program(layer), ProgramCopy::First.other().program(layer));
            assert_ne!(first, second);
            assert_eq!(ProgramCopy::Second.other().program(layer), first);
            assert!(SECOND_COPIES.contains(&(second, first)));
        }
    }
}
