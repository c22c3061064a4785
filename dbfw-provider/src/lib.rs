//! The workers of dbfw: each asks one kind of provider for lists of trusted sources, or for the
//! prefixes that sources stand for, and reports every answer.
//!
//! A worker is told what is wanted and sends what it learned ([`worker`]); it holds no policy
//! and touches no kernel map. Whoever runs it decides what an answer changes.
//!
//! - [`mod@file`]: lists in files; [`list`] is their format
//! - [`digitalocean`], [`aptible`]: the APIs of hosting providers
//! - [`server`]: lists of a control plane, dbfw-server
//! - [`feed`]: documents with addresses, from a URL or a file
//! - [`dns`]: addresses of host names
//! - `poller`: the loop that the workers share; `backoff`: the wait after a failure
//! - `api`: requests to the API of a hosting provider; [`budget`]: how often it may be asked
//! - [`http`], [`token`], [`fs`]: requests, tokens and files
//! - [`tables`]: the settings of the workers, as configuration files have them
//! - [`inventory`], [`stats`]: an account's machines, and counters of requests
//!
//! ```
//! use dbfw_core::answers::{ListId, ListOutcome};
//! use dbfw_provider::{
//!     file::Files,
//!     worker::{Account, Demand, Mailbox, Report, ReportSender},
//! };
//! use tokio::sync::{mpsc, watch};
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
//! # runtime.block_on(async {
//! // Channels to a worker, and the lists that it keeps fresh.
//! let path = std::env::temp_dir().join("dbfw-no-such-list");
//! let wanted = Demand { lists: [ListId::File(path)].into(), ..Demand::default() };
//! let (_demand, demand) = watch::channel(wanted);
//! let (_commands, commands) = mpsc::channel(1);
//! let (queue, mut answers) = mpsc::channel(16);
//! let reports = ReportSender::new(Account::Files, queue);
//! tokio::spawn(Files::new().run(Mailbox { demand, commands, reports }));
//!
//! // It reports on everything that is wanted, failures included.
//! let (account, reports) = answers.recv().await.unwrap();
//! assert_eq!(account, Account::Files);
//! assert!(matches!(&reports[..], [Report::List { outcome: ListOutcome::Failed(_), .. }]));
//! # });
//! ```

mod api;
pub mod aptible;
mod backoff;
pub mod budget;
pub mod digitalocean;
pub mod dns;
pub mod feed;
pub mod file;
pub mod fs;
pub mod http;
pub mod inventory;
pub mod list;
mod lock;
mod poller;
pub mod server;
pub mod stats;
pub mod tables;
pub mod token;
pub mod worker;
