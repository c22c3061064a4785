//! The tests of dbfw on a real kernel. They run as root, each with its own maps and
//! namespaces, so they run side by side.

// The socket lookup program, with real connections.
mod backstop;
// Every packet of the corpus through every program: verdict, reason and counters.
mod corpus;
// Drop events and the budget that bounds them.
mod events;
// Random packets and policies, the programs against the model.
mod fuzz;
// Maps and structures of the built object against the ABI.
mod layout;
// Verified instructions, and the capabilities a load needs.
mod limits;
// Policies made by hand: families, prefix lengths, modes, databases.
mod policy;
// The corpus cut at every byte.
mod truncation;
