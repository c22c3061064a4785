//! The tests of dbfw on a real kernel. They run as root, each with its own maps and
//! namespaces, so they run side by side.

// The fixes that doctor prints, applied.
mod advice;
// Audits of real servers, bad and good.
mod audit;
// The socket lookup program, with real connections.
mod backstop;
// The certificates of real servers, with real clients.
mod ca;
// Other programs at the hook of ours.
mod chain;
// Every verb of the command line, as a user sees it.
mod cli;
// dbfw-server with its real client and a real agent.
mod control_plane;
// Every packet of the corpus through every program: verdict, reason and counters.
mod corpus;
// A thousand callers at once.
mod crowd;
// Refused clients as `dbfw drops` lists them.
mod destinations;
mod drops;
// Drop events and the budget that bounds them.
mod events;
// Lists as rules of PostgreSQL and nftables, and back.
mod exchange;
// Random packets and policies, the programs against the model.
mod fuzz;
// Sets that change and grow, with every verdict against a model, also under traffic.
mod growth;
// pg_hba.conf as we judge it, against a real PostgreSQL.
mod hba;
// The first word of the status against what packets do.
mod headline;
// Interfaces that come, go, are renamed or already filtered.
mod interfaces;
// Maps and structures of the built object against the ABI.
mod layout;
// Changes, kills and upgrades under traffic: nothing lost, nothing leaked.
mod lifecycle;
// Verified instructions, and the capabilities a load needs.
mod limits;
// Metrics as Prometheus reads them, the alerts, the dashboard.
mod monitoring;
// What journald is sent.
mod journal;
// What the configuration names, by any name, and what cannot be filtered.
mod named;
// Ways a packet can take: hooks, tunnels, NAT, jumbo frames.
mod paths;
// The host's own addresses, among themselves and forged.
mod own;
// Policies made by hand: families, prefix lengths, modes, databases.
mod policy;
// A real PostgreSQL and real clients.
mod postgres;
// The tests' own DigitalOcean is what it says it is; the real client pydo against it.
mod provider_server;
// The agent against DigitalOcean, Aptible, feeds and DNS, and every way they can fail.
mod providers;
// What somebody removed, replaced or detached, and how it comes back.
mod repair;
// resolv.conf as the C library reads it.
mod resolv_conf;
// Bad input and bad luck: nothing enforced is lost.
mod safety;
// The corpus cut at every byte.
mod truncation;
// The unit, and what the documentation advises for systemd.
mod unit;
