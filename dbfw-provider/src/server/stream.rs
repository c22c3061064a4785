//! The stream: from the hello to the lists, and the way back when it breaks.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use dbfw_core::{
    answers::{Cause, FetchError, ListId, ListOutcome, SourceList},
    source::PrefixSet,
};
use dbfw_wire::agent::{
    AppliedState, Bundle, Digest, Frame, Hello, HostDatabase, HostToken, MAX_FRAME, PROTOCOL,
    Report as WireReport, SETS, WATCH,
};
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::{
    sync::{Notify, watch},
    task::spawn_blocking,
    time::{Instant, sleep, sleep_until},
};
use uuid::Uuid;

use super::{
    config::ServerConfig,
    kept::{Kept, KeptList},
    lines::{self, Lines},
    reporter::{self, Up},
    take::{self, Offer, Rejected, Why},
    wait::Waits,
};
use crate::{
    http::{HttpClient, Options, Stream, clean},
    inventory::Inventory,
    lock::lock,
    stats::Stats,
    token::Token,
    worker::{Command, Demand, Ended, Mailbox, Report, ReportSender},
};

/// Lines beyond this are read on another thread.
const SMALL: usize = 64 << 10;
/// Time without a byte after which a stream is dead, until the server says how often it beats.
const FIRST_PATIENCE: Duration = Duration::from_secs(45);
/// Beats that may be missing.
const BEATS: u32 = 3;
/// Seconds between two beats, at most.
const LONGEST_BEAT: u64 = 300;
/// Seconds by which the clocks of host and server may differ: more is told.
const CLOCKS: i64 = 5;
/// Time between two looks at the token file while there is no stream.
const LOOK: Duration = Duration::from_secs(1);
/// Bytes of the authorities that a server may name.
const MAX_TRUST: usize = 256 << 10;
/// Bytes of the longest prefix in a set, with its line break.
const LONGEST_PREFIX: usize = 44;

/// A host's streams, one after the other.
pub(crate) struct Streams {
    config: ServerConfig,
    hostname: String,
    databases: Vec<HostDatabase>,
    boot: Uuid,
    http: HttpClient,
    stats: Arc<Stats>,
    kept: Arc<Mutex<Kept>>,
    /// Told whenever `kept` changed.
    changed: Arc<Notify>,
    up: watch::Sender<Option<Up>>,
    token: Token,
    waits: Waits,
    /// The server to ask.
    at: usize,
    streams: u64,
    lists: BTreeMap<Arc<str>, Known>,
    /// Lists of which the whole was asked for because what came could not be used.
    asked_whole: BTreeSet<Arc<str>>,
    /// The time at which the whole of those is asked for again.
    ask_again: Option<Instant>,
    /// The problem with this host's clock.
    clock: Option<String>,
}

/// The answer to and the trouble with a list.
#[derive(Debug, Default)]
struct Known {
    answer: Option<Arc<SourceList>>,
    trouble: Option<FetchError>,
}

/// The end of a stream, or of the try to open one.
#[derive(Debug)]
enum End {
    /// The loop that the reports are for has ended.
    NoLoop,
    /// Another hello is needed.
    Again,
    /// It broke.
    Lost { error: FetchError, was_healthy: bool, asked: Option<Duration> },
}

impl From<Ended> for End {
    fn from(_: Ended) -> Self {
        Self::NoLoop
    }
}

impl From<FetchError> for End {
    fn from(error: FetchError) -> Self {
        Self::Lost { error, was_healthy: false, asked: None }
    }
}

/// A line that was read and judged.
enum Judged {
    Unknown,
    Frame(Box<Frame>),
    Offer(Box<Offer>),
    Rejected(Rejected),
}

/// Reads a line, and judges the list that it has.
///
/// # Errors
/// It is no frame, in words.
fn judge(line: &[u8], kept: &Kept, wanted: &BTreeSet<Arc<str>>) -> Result<Judged, String> {
    let judged = match lines::parse(line)? {
        None => return Ok(Judged::Unknown),
        Some(Frame::Bundle(bundle)) => take::bundle(kept, wanted, bundle),
        Some(Frame::Delta(delta)) => take::delta(kept, wanted, &delta),
        Some(frame) => return Ok(Judged::Frame(Box::new(frame))),
    };
    Ok(match judged {
        Ok(offer) => Judged::Offer(Box::new(offer)),
        Err(rejected) => Judged::Rejected(rejected),
    })
}

impl Streams {
    #[expect(clippy::too_many_arguments, reason = "the parts of the worker, once")]
    pub(crate) fn new(
        config: ServerConfig,
        hostname: String,
        databases: Vec<HostDatabase>,
        boot: Uuid,
        http: HttpClient,
        stats: Arc<Stats>,
        kept: Arc<Mutex<Kept>>,
        changed: Arc<Notify>,
        up: watch::Sender<Option<Up>>,
    ) -> Self {
        let at = fastrand::usize(..config.urls.len().max(1));
        let token = Token::new(config.token.clone());
        Self {
            config,
            hostname,
            databases,
            boot,
            http,
            stats,
            kept,
            changed,
            up,
            token,
            waits: Waits::default(),
            at,
            streams: 0,
            lists: BTreeMap::new(),
            asked_whole: BTreeSet::new(),
            ask_again: None,
            clock: None,
        }
    }

    /// Follows one stream after the other until the other end of the mailbox is gone.
    pub(crate) async fn run(mut self, mailbox: Mailbox) {
        let Mailbox { mut demand, mut commands, reports } = mailbox;
        loop {
            let wanted = names(&demand.borrow_and_update());
            self.lists.retain(|name, _| wanted.contains(name));
            let end = tokio::select! {
                end = self.follow(&wanted, &reports), if !wanted.is_empty() => end,
                changed = demand.changed() => {
                    if changed.is_err() { End::NoLoop } else { End::Again }
                }
                () = answer_all(&mut commands) => End::NoLoop,
            };
            self.up.send_replace(None);
            let wait = match end {
                End::NoLoop => return,
                End::Again => continue,
                End::Lost { error, was_healthy, asked } => {
                    self.stats.failure(error.cause);
                    tracing::debug!(%error, "the stream from the server ended");
                    let wait = match error.cause {
                        Cause::Unauthorized | Cause::Permission => self.waits.hopeless(),
                        _ if was_healthy => self.waits.lost(asked),
                        _ => self.waits.failed(error.retry_after),
                    };
                    if !was_healthy {
                        self.at = (self.at + 1) % self.config.urls.len().max(1);
                    }
                    if self.report_lost(&wanted, &error, &reports).await.is_err() {
                        return;
                    }
                    wait
                }
            };
            let until = Instant::now() + wait;
            loop {
                tokio::select! {
                    () = sleep_until(until) => break,
                    changed = demand.changed() => {
                        if changed.is_err() { return }
                        break;
                    }
                    command = commands.recv() => match command {
                        Some(command) => if answer(command) { break },
                        None => return,
                    },
                    () = sleep(LOOK) => if self.token.changed() { break },
                }
            }
        }
    }

    /// Opens a stream, and takes what comes until it ends.
    async fn follow(&mut self, wanted: &BTreeSet<Arc<str>>, reports: &ReportSender) -> End {
        let began = Instant::now();
        let (token, host) = match self.read_token() {
            Ok(found) => found,
            Err(error) => return error.into(),
        };
        let Some(mut url) = self.config.urls.get(self.at).cloned() else {
            return FetchError::new(Cause::Invalid, "no server is configured").into();
        };
        self.streams += 1;
        let up = Up {
            url: url.clone(),
            token: token.clone(),
            host,
            boot: self.boot,
            stream: self.streams,
        };
        url.set_path(WATCH);
        let body = serde_json::to_vec(&self.hello(host)).unwrap_or_default();
        self.stats.request();
        let opened =
            self.http.open(&url, "server: POST /agent/v1/watch", options(&token), body).await;
        let mut stream = match opened {
            Ok(stream) => stream,
            Err(error) => return unknown_host(error).into(),
        };
        let mut following = Following {
            patience: FIRST_PATIENCE,
            is_welcome: false,
            is_healthy: false,
            asked: None,
            began,
        };
        let end = self.read(&mut stream, &mut following, &up, wanted, reports).await;
        match end {
            End::Lost { error, .. } => {
                let Following { is_healthy, asked, .. } = following;
                End::Lost { error, was_healthy: is_healthy, asked }
            }
            end => end,
        }
    }

    async fn read(
        &mut self,
        stream: &mut Stream,
        following: &mut Following,
        up: &Up,
        wanted: &BTreeSet<Arc<str>>,
        reports: &ReportSender,
    ) -> End {
        let mut lines = Lines::default();
        loop {
            loop {
                let line = match lines.next() {
                    Ok(Some(line)) if line.is_empty() => continue,
                    Ok(Some(line)) => line,
                    Ok(None) => break,
                    Err(lines::TooLong) => {
                        let text = format!("the server sent more than {MAX_FRAME} bytes at once");
                        return FetchError::new(Cause::TooLarge, text).into();
                    }
                };
                if let Err(end) = self.take_line(line, following, up, wanted, reports).await {
                    return end;
                }
            }
            let chunk = tokio::select! {
                chunk = stream.chunk(following.patience) => chunk,
                () = until(self.ask_again) => {
                    self.ask_again = None;
                    return End::Again;
                }
            };
            match chunk {
                Ok(Some(bytes)) => lines.push(bytes.as_ref()),
                Ok(None) => {
                    let text = "the server ended the stream: dbfw connects anew";
                    return FetchError::new(Cause::Connect, text).into();
                }
                Err(error) => return error.into(),
            }
        }
    }

    async fn take_line(
        &mut self,
        line: Vec<u8>,
        following: &mut Following,
        up: &Up,
        wanted: &BTreeSet<Arc<str>>,
        reports: &ReportSender,
    ) -> Result<(), End> {
        let kept = lock(&self.kept).clone();
        let judged = if line.len() <= SMALL {
            judge(&line, &kept, wanted)
        } else {
            let wanted = wanted.clone();
            spawn_blocking(move || judge(&line, &kept, &wanted))
                .await
                .unwrap_or_else(|error| Err(error.to_string()))
        };
        let judged = judged.map_err(|error| {
            let error = clean(&error, 200);
            let text = format!("the server sent what is no frame ({error}): is it a dbfw-server?");
            End::from(FetchError::new(Cause::Invalid, text))
        })?;
        let is_welcome =
            matches!(&judged, Judged::Frame(frame) if matches!(**frame, Frame::Welcome { .. }));
        if !following.is_welcome && !is_welcome && !matches!(judged, Judged::Unknown) {
            let text = "the server did not say who it is: is it a dbfw-server?";
            return Err(FetchError::new(Cause::Invalid, text).into());
        }
        match judged {
            Judged::Unknown => Ok(()),
            Judged::Offer(offer) => self.take(*offer, up, reports).await,
            Judged::Rejected(rejected) => self.reject(rejected, up, reports).await,
            Judged::Frame(frame) => self.take_frame(*frame, following, up, wanted, reports).await,
        }
    }

    async fn take_frame(
        &mut self,
        frame: Frame,
        following: &mut Following,
        up: &Up,
        wanted: &BTreeSet<Arc<str>>,
        reports: &ReportSender,
    ) -> Result<(), End> {
        match frame {
            Frame::Welcome { store, now, beat_seconds, epoch, trust, server: _ } => {
                following.is_welcome = true;
                following.patience =
                    Duration::from_secs(beat_seconds.clamp(1, LONGEST_BEAT)) * BEATS;
                self.compare_clocks(now);
                self.check_store(store, epoch, up).await?;
                self.follow_authorities(trust);
                Ok(())
            }
            Frame::Synced {} => {
                following.is_healthy = true;
                self.waits.healthy();
                self.up.send_replace(Some(up.clone()));
                self.report_all(wanted, reports).await?;
                let took = following.began.elapsed();
                Ok(reports.send(vec![Report::Round { took }]).await?)
            }
            Frame::Beat {} if following.is_healthy => {
                self.report_all(wanted, reports).await?;
                Ok(reports.send(vec![Report::Round { took: Duration::ZERO }]).await?)
            }
            Frame::Gone { name, reason } => {
                let Some(name) = wanted.get(name.as_str()) else { return Ok(()) };
                let text = format!(
                    "the server has no list {name} for this host ({}): what is in force stays; \
                     make the database there, or join the host again for it",
                    clean(&reason, 200)
                );
                let known = self.lists.entry(Arc::clone(name)).or_default();
                known.trouble = Some(FetchError::new(Cause::NotFound, text));
                let report = outcome(name, known);
                Ok(reports.send(report.into_iter().collect()).await?)
            }
            Frame::Goodbye { after_ms } => {
                following.asked = Some(Duration::from_millis(after_ms));
                let text = "the server stops: dbfw connects anew";
                Err(FetchError::new(Cause::Connect, text).into())
            }
            // Lists were judged before.
            Frame::Beat {} | Frame::Bundle(_) | Frame::Delta(_) => Ok(()),
        }
    }

    /// Takes a list, once its sets are there.
    async fn take(&mut self, mut offer: Offer, up: &Up, reports: &ReportSender) -> Result<(), End> {
        for (digest, count) in std::mem::take(&mut offer.missing) {
            match self.fetch(digest, count, up).await {
                Ok(set) => offer.sets.insert(digest, set),
                Err(error) if is_of_the_set(error.cause) => {
                    let rejected = rejected(&offer.bundle, error.to_string());
                    return self.reject(rejected, up, reports).await;
                }
                Err(error) => return Err(error.into()),
            };
        }
        let list = take::complete(offer);
        let name: Arc<str> = list.bundle.name.as_str().into();
        match list.source_list() {
            Ok(sources) => {
                let known = self.lists.entry(Arc::clone(&name)).or_default();
                let problems = self.clock.clone().into_iter().collect();
                known.answer = Some(Arc::new(SourceList { problems, ..sources }));
                known.trouble = None;
                let report = outcome(&name, known);
                self.asked_whole.remove(&name);
                if self.asked_whole.is_empty() {
                    self.ask_again = None;
                }
                lock(&self.kept).lists.insert(name, list);
                self.changed.notify_one();
                Ok(reports.send(report.into_iter().collect()).await?)
            }
            Err(reason) => self.reject(rejected(&list.bundle, reason), up, reports).await,
        }
    }

    /// Fetches a set of prefixes.
    async fn fetch(&self, digest: Digest, count: usize, up: &Up) -> Result<PrefixSet, FetchError> {
        const WHAT: &str = "server: GET /agent/v1/sets";
        let mut url = up.url.clone();
        url.set_path(&format!("{SETS}{}", digest.digits()));
        let max_bytes = count.saturating_mul(LONGEST_PREFIX).min(2 * MAX_FRAME) as u64;
        self.stats.request();
        let options = Options { accept: "text/plain", max_bytes, ..options(&up.token) };
        let answer = self.http.get(&url, WHAT, options).await?.success(WHAT)?;
        if answer.status == 404 {
            let text = "a set of the list is not there any more: dbfw asks again";
            return Err(FetchError::new(Cause::NotFound, text).about(WHAT));
        }
        let read = spawn_blocking(move || take::fetched(&answer.body, digest, count)).await;
        read.unwrap_or_else(|error| Err(error.to_string()))
            .map_err(|reason| FetchError::new(Cause::Invalid, reason).about(WHAT))
    }

    /// Keeps what is in force, says so here and to the server, and asks for the whole of a list
    /// that came damaged: once at once, and then less and less often.
    async fn reject(
        &mut self,
        rejected: Rejected,
        up: &Up,
        reports: &ReportSender,
    ) -> Result<(), End> {
        let message = rejected.message();
        let Some(name) = rejected.name.clone() else {
            tracing::warn!("the server sent a list that is not used: {message}");
            self.tell(up, rejected.applied()).await;
            return Ok(());
        };
        let known = self.lists.entry(Arc::clone(&name)).or_default();
        known.trouble = Some(FetchError::new(Cause::Invalid, message));
        let report = outcome(&name, known);
        reports.send(report.into_iter().collect()).await?;
        self.tell(up, rejected.applied()).await;
        if !matches!(rejected.why, Why::Damaged(_)) {
            return Ok(());
        }
        if self.asked_whole.insert(name) {
            return Err(End::Again);
        }
        let wait = self.waits.failed(None);
        self.ask_again.get_or_insert_with(|| Instant::now() + wait);
        Ok(())
    }

    /// Reports to the server what became of a list that was not taken.
    async fn tell(&self, up: &Up, applied: dbfw_wire::agent::Applied) {
        let Up { host, boot, .. } = *up;
        let report = WireReport { host, boot, applied: vec![applied], ..WireReport::default() };
        // The host goes on all the same.
        let _ = reporter::post(&self.http, &self.stats, up, &report).await;
    }

    /// Whether the server has the store that the host joined.
    async fn check_store(&mut self, store: Uuid, epoch: u64, up: &Up) -> Result<(), End> {
        let known = lock(&self.kept).store;
        match known {
            Some(known) if known == store => Ok(()),
            None => {
                lock(&self.kept).store = Some(store);
                self.changed.notify_one();
                Ok(())
            }
            Some(known) => {
                let text = format!(
                    "this server has another store ({store}) than the one that this host joined \
                     ({known}): nothing of it is used, and what is in force stays. If that is \
                     meant, join again with `dbfw join --force`"
                );
                let lists: Vec<_> = {
                    let kept = lock(&self.kept);
                    kept.lists.values().map(|list| Arc::clone(&list.bundle)).collect()
                };
                for bundle in lists {
                    let state = AppliedState::Refused {
                        guard: "store".to_owned(),
                        plan: None,
                        message: text.clone(),
                    };
                    self.tell(up, take::applied(bundle.database, epoch, bundle.revision, state))
                        .await;
                }
                Err(FetchError::new(Cause::Permission, text).into())
            }
        }
    }

    /// Trusts the authorities that the server names, so that it can come with another certificate.
    /// It names none where the system's are trusted.
    fn follow_authorities(&mut self, trust: Vec<String>) {
        let size: usize = trust.iter().map(String::len).sum();
        if trust.is_empty() || size > MAX_TRUST || lock(&self.kept).trust == trust {
            return;
        }
        match self.http.trust_also(trust.clone()) {
            Ok(()) => {
                lock(&self.kept).trust = trust;
                self.changed.notify_one();
            }
            Err(error) => tracing::warn!(%error, "the server names an authority that is not used"),
        }
    }

    fn compare_clocks(&mut self, server: Timestamp) {
        let ahead = Timestamp::now().duration_since(server).as_secs();
        let clock = (ahead.abs() > CLOCKS).then(|| {
            let direction = if ahead > 0 { "ahead of" } else { "behind" };
            format!(
                "the clock of this host is {} s {direction} the server's: temporary access ends \
                 by this host's; set both by NTP",
                ahead.abs()
            )
        });
        if clock != self.clock {
            self.clock = clock;
            self.lists.values_mut().for_each(|known| known.answer = None);
        }
    }

    /// Reports all lists as they are known now.
    async fn report_all(
        &mut self,
        wanted: &BTreeSet<Arc<str>>,
        reports: &ReportSender,
    ) -> Result<(), Ended> {
        let kept = lock(&self.kept).clone();
        let mut batch = Vec::new();
        for name in wanted {
            let known = self.lists.entry(Arc::clone(name)).or_default();
            if known.trouble.is_none() && known.answer.is_none() {
                match kept.lists.get(name).map(KeptList::source_list) {
                    Some(Ok(sources)) => {
                        let problems = self.clock.clone().into_iter().collect();
                        known.answer = Some(Arc::new(SourceList { problems, ..sources }));
                    }
                    Some(Err(reason)) => {
                        known.trouble = Some(FetchError::new(Cause::Invalid, reason));
                    }
                    None => {
                        let text = format!("the server has sent no list {name}");
                        known.trouble = Some(FetchError::new(Cause::NotFound, text));
                    }
                }
            }
            batch.extend(outcome(name, known));
        }
        reports.send(batch).await
    }

    /// Reports that the lists may say something else by now.
    async fn report_lost(
        &self,
        wanted: &BTreeSet<Arc<str>>,
        error: &FetchError,
        reports: &ReportSender,
    ) -> Result<(), Ended> {
        let failed = |name: &Arc<str>| Report::List {
            list: ListId::Server(Arc::clone(name)),
            outcome: ListOutcome::Failed(error.clone()),
        };
        let batch = wanted.iter().map(failed).chain([Report::Round { took: Duration::ZERO }]);
        reports.send(batch.collect()).await
    }

    /// The token, and the host that it is of. Another host keeps nothing of what this one had.
    fn read_token(&mut self) -> Result<(SecretString, Uuid), FetchError> {
        let token = self.token.read()?;
        let parsed: Result<HostToken, _> = token.expose_secret().parse();
        let host = parsed
            .map_err(|error| {
                let text =
                    format!("the token file holds something else: {error}; `dbfw join` writes it");
                FetchError::new(Cause::Unauthorized, text)
            })?
            .host;
        let mut kept = lock(&self.kept);
        if kept.host != host {
            *kept = Kept { host, ..Kept::default() };
            self.lists.clear();
            // None is no problem.
            let _ = self.http.trust_also(Vec::new());
            self.changed.notify_one();
        }
        Ok((token, host))
    }

    fn hello(&self, host: Uuid) -> Hello {
        let kept = lock(&self.kept);
        let databases = self.databases.iter().map(|database| {
            let name = database.database.as_str();
            let known = kept.lists.get(name).filter(|_| !self.asked_whole.contains(name));
            HostDatabase { have: known.map(KeptList::have), ..database.clone() }
        });
        Hello {
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            host,
            boot: self.boot,
            hostname: self.hostname.clone(),
            databases: databases.collect(),
        }
    }
}

/// The progress of one stream.
struct Following {
    /// Time without a byte after which it is dead.
    patience: Duration,
    is_welcome: bool,
    /// All lists have come.
    is_healthy: bool,
    /// The time within which the server asked to come back.
    asked: Option<Duration>,
    began: Instant,
}

/// The names of the lists that are wanted.
fn names(demand: &Demand) -> BTreeSet<Arc<str>> {
    let name = |list: &ListId| match list {
        ListId::Server(name) => Some(Arc::clone(name)),
        ListId::File(_) | ListId::DigitalOcean(_) | ListId::Aptible(_) => None,
    };
    demand.lists.iter().filter_map(name).collect()
}

/// Whether a failure to fetch a set is about the set, and not about the connection.
fn is_of_the_set(cause: Cause) -> bool {
    matches!(cause, Cause::NotFound | Cause::Invalid | Cause::TooLarge)
}

/// A list that came and cannot be used.
fn rejected(bundle: &Bundle, reason: String) -> Rejected {
    let Bundle { database, epoch, revision, .. } = *bundle;
    let name = Some(bundle.name.as_str().into());
    Rejected { name, database, epoch, revision, why: Why::Damaged(reason) }
}

fn outcome(name: &Arc<str>, known: &Known) -> Option<Report> {
    let outcome = match (&known.trouble, &known.answer) {
        (Some(trouble), _) => ListOutcome::Failed(trouble.clone()),
        (None, Some(answer)) => ListOutcome::Answer(Arc::clone(answer)),
        (None, None) => return None,
    };
    Some(Report::List { list: ListId::Server(Arc::clone(name)), outcome })
}

fn options(token: &SecretString) -> Options<'_> {
    Options {
        bearer: Some(token),
        accept: "application/x-ndjson",
        max_bytes: 64 << 10,
        validators: None,
    }
}

/// The error of a host that the server does not know any more, with what to do about it.
fn unknown_host(error: FetchError) -> FetchError {
    match error.cause {
        Cause::Unauthorized | Cause::Permission => FetchError {
            reason: "the server does not take this host's token: it was removed there. What is in \
                     force stays; `dbfw join --force` joins it anew"
                .to_owned(),
            ..error
        },
        _ => error,
    }
}

/// Answers a command; whether it asks for a try at once.
fn answer(command: Command) -> bool {
    match command {
        Command::Poll => true,
        Command::Refresh(reply) => {
            // Whoever asked may have gone.
            let _ = reply.send(());
            true
        }
        Command::Inventory(reply) => {
            let _ = reply.send(Ok(Inventory::default()));
            false
        }
    }
}

/// Answers commands until nobody can send any more.
async fn answer_all(commands: &mut tokio::sync::mpsc::Receiver<Command>) {
    while let Some(command) = commands.recv().await {
        // There is a stream: what changes comes by itself.
        let _ = answer(command);
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
