//! What can go wrong around the agent, done to a real one: whatever was enforced stays so,
//! and the agent says what is the matter.

// More than the maps can hold.
mod capacity;
// What a reload opens and closes, and whom it cuts off.
mod changes;
// A wall clock that is wrong, and is set.
mod clock;
// Bad configurations, and modes that change in place.
mod config;
// Sources that end.
mod expiry;
// File systems that do not answer.
mod hanging;
// What the history tells, and what it does not.
mod history;
// Starts with a bad configuration, with and without a last good one.
mod last_good;
// Bad, empty, shrunk, missing and overly generous lists.
mod lists;
// What is known, through reloads, restarts, reboots and new names.
mod memory;
// Strangers who get in although nothing failed.
mod openings;
// Files of other users.
mod permissions;
// Damaged state files, full disks, directories that cannot be written.
mod state;
// Ending the agent, ending the protection, and a second agent.
mod stopping;
// Configurations on trial, and what changed while no agent ran.
mod trial;
// Sources trusted by hand.
mod trust;
// What refused sources look like to dbfw suggest.
mod visitors;
