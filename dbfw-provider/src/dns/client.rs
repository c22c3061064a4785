//! Asking the resolvers, in their order.

use std::{collections::BTreeSet, fmt, net::SocketAddr, sync::Arc, time::Duration};

use dbfw_core::answers::{Cause, FetchError};
use hickory_resolver::{
    Resolver,
    config::{
        ConnectionConfig, NameServerConfig, ProtocolConfig, ResolveHosts, ResolverConfig,
        ResolverOpts,
    },
    net::{DnsError, NetError, NoRecords},
    proto::{
        op::ResponseCode,
        rr::{Name, RData, Record, RecordType},
    },
};

use super::{judge::FamilyAnswer, runtime::Runtime};
use crate::http::clean;

/// Characters of a library's words that go into an error.
const MAX_WORDS: usize = 200;

/// Asks resolvers. Clones share connections.
#[derive(Clone, Debug)]
pub(super) struct Client {
    servers: Arc<[Server]>,
    timeout: Duration,
}

struct Server {
    address: SocketAddr,
    resolver: Resolver<Runtime>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.address, f)
    }
}

/// An answer that decides, or the cause and the reason why the next resolver may know more.
type Answered = Result<FamilyAnswer, (Cause, String)>;

impl Client {
    /// A client of these resolvers; each has `timeout` for its answer.
    ///
    /// # Errors
    /// The system cannot be asked by DNS at all.
    pub(super) fn new(addresses: &[SocketAddr], timeout: Duration) -> Result<Self, FetchError> {
        let server = |address: &SocketAddr| {
            // One server a resolver: hickory would ask them by speed, two at once, and the
            // answers of a split horizon would change from one query to the next.
            let mut builder = Resolver::builder_with_config(
                ResolverConfig::from_name_servers(vec![name_server(*address)]),
                Runtime::to(*address),
            );
            configure(builder.options_mut(), timeout);
            let resolver = builder.build()?;
            Ok(Server { address: *address, resolver })
        };
        let servers: Result<Vec<Server>, NetError> = addresses.iter().map(server).collect();
        let servers = servers.map_err(|error| {
            let reason = clean(&error.to_string(), MAX_WORDS);
            FetchError::new(Cause::Io, format!("DNS cannot be set up, {reason}: restart dbfw"))
        })?;
        Ok(Self { servers: servers.into(), timeout })
    }

    /// The resolvers, in the order they are asked.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.servers.iter().map(|server| server.address).collect()
    }

    /// The addresses of a name, by the first resolver that has an answer.
    pub(super) async fn ask(&self, name: &str, family: RecordType) -> FamilyAnswer {
        let mut name = match Name::from_ascii(name) {
            Ok(name) => name,
            Err(error) => {
                let reason = clean(&error.to_string(), MAX_WORDS);
                let text = format!("not a name that can be looked up, {reason}: correct it");
                return FamilyAnswer::Failed(FetchError::new(Cause::Invalid, text));
            }
        };
        name.set_fqdn(true);
        let mut failures = Vec::new();
        let mut last = Cause::Connect;
        for server in &*self.servers {
            match self.ask_one(server, &name, family).await {
                Ok(found) => return found,
                Err((cause, reason)) => {
                    last = cause;
                    failures.push(format!("{} {reason}", server.address));
                }
            }
        }
        let text = match failures.is_empty() {
            true => "there is no resolver: set servers in [dns]".to_owned(),
            false => format!(
                "{}: dbfw will retry; if this lasts, check the resolver",
                failures.join(", ")
            ),
        };
        FamilyAnswer::Failed(FetchError::new(last, text))
    }

    async fn ask_one(&self, server: &Server, name: &Name, family: RecordType) -> Answered {
        let lookup = server.resolver.lookup(name.clone(), family);
        let result = match tokio::time::timeout(self.timeout, lookup).await {
            Ok(result) => result,
            Err(_) => Err(NetError::Timeout),
        };
        match result {
            Ok(lookup) => addresses(name, lookup.answers(), family).ok_or_else(|| {
                (Cause::Invalid, format!("answered without a {family} record of it"))
            }),
            Err(error) => judge(&error, self.timeout),
        }
    }
}

/// UDP, and TCP where an answer is too long for it.
fn name_server(address: SocketAddr) -> NameServerConfig {
    let connection = |protocol| {
        let mut connection = ConnectionConfig::new(protocol);
        connection.port = address.port();
        connection
    };
    NameServerConfig::new(
        address.ip(),
        true,
        vec![connection(ProtocolConfig::Udp), connection(ProtocolConfig::Tcp)],
    )
}

fn configure(options: &mut ResolverOpts, timeout: Duration) {
    options.timeout = timeout;
    // UDP is sent again within the timeout; what failed otherwise is the next server's.
    options.attempts = 0;
    options.num_concurrent_reqs = 1;
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    // The TTLs of CNAMEs count too.
    options.preserve_intermediates = true;
    // Without it every server answers; what is too long comes by TCP.
    options.edns0 = false;
    options.os_port_selection = true;
}

/// The addresses that the answer gives to `name`, at the end of its CNAMEs. What else is in
/// the answer is nobody's question. `None`: there are none.
fn addresses(name: &Name, answers: &[Record], family: RecordType) -> Option<FamilyAnswer> {
    let mut names = BTreeSet::from([name]);
    let mut ttl = u32::MAX;
    // CNAMEs may come in any order.
    loop {
        let known = names.len();
        for record in answers {
            if let RData::CNAME(target) = &record.data
                && names.contains(&record.name)
            {
                ttl = ttl.min(record.ttl);
                names.insert(&target.0);
            }
        }
        if names.len() == known {
            break;
        }
    }
    let mut addresses = Vec::new();
    for record in answers.iter().filter(|record| names.contains(&record.name)) {
        match (&record.data, family) {
            (RData::A(address), RecordType::A) => addresses.push(address.0.into()),
            (RData::AAAA(address), RecordType::AAAA) => addresses.push(address.0.into()),
            _ => continue,
        }
        ttl = ttl.min(record.ttl);
    }
    let ttl = Duration::from_secs(ttl.into());
    (!addresses.is_empty()).then_some(FamilyAnswer::Addresses(addresses, ttl))
}

fn judge(error: &NetError, timeout: Duration) -> Answered {
    let failed = |cause, text: &str| Err((cause, text.to_owned()));
    match error {
        NetError::Dns(DnsError::NoRecordsFound(records)) => absence(records),
        NetError::Dns(DnsError::ResponseCode(ResponseCode::ServFail)) => {
            failed(Cause::Server, "answered SERVFAIL, it cannot find out")
        }
        NetError::Dns(DnsError::ResponseCode(ResponseCode::Refused)) => {
            failed(Cause::Permission, "answered REFUSED, it does not serve this machine")
        }
        NetError::Dns(DnsError::ResponseCode(code)) => {
            failed(Cause::Server, &format!("answered {}", clean(code.to_str(), MAX_WORDS)))
        }
        NetError::Timeout => failed(Cause::Timeout, &format!("did not answer within {timeout:?}")),
        NetError::Io(error) => {
            let reason = clean(&error.to_string(), MAX_WORDS);
            failed(Cause::Connect, &format!("cannot be reached, {reason}"))
        }
        NetError::NoConnections | NetError::Busy => failed(Cause::Connect, "cannot be reached"),
        NetError::Truncated => failed(Cause::Invalid, "answered only in part, by TCP too"),
        other => {
            let reason = clean(&other.to_string(), MAX_WORDS);
            failed(Cause::Invalid, &format!("gave no usable answer, {reason}"))
        }
    }
}

/// The meaning of an absence of records.
fn absence(records: &NoRecords) -> Answered {
    let ttl = records.negative_ttl.map(|seconds| Duration::from_secs(seconds.into()));
    match records.response_code {
        ResponseCode::NXDomain => Ok(FamilyAnswer::NoName(ttl)),
        // A referral: this server does not ask others, so it does not know.
        _ if records.soa.is_none() && records.ns.is_some() => {
            Err((Cause::Invalid, "only names other servers, it is not a resolver".to_owned()))
        }
        _ => Ok(FamilyAnswer::None(ttl)),
    }
}
