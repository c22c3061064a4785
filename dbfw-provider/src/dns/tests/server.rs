//! A DNS server with scripted answers, over UDP and TCP.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
};

use hickory_resolver::proto::{
    op::{Message, OpCode, ResponseCode},
    rr::{Name, RData, Record, RecordType, rdata},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UdpSocket},
};

/// Bytes of an answer by UDP to who does not say that more is welcome (RFC 1035, 2.3.4).
const MAX_UDP: usize = 512;

/// What is answered to a question.
#[derive(Clone, Debug)]
pub(super) enum Reply {
    Addresses(u32, Vec<IpAddr>),
    /// A CNAME with its TTL and target, and perhaps addresses of the target.
    Cname(u32, &'static str, Vec<IpAddr>),
    /// No record.
    Nothing,
    Code(&'static str),
    Silence,
    /// The name servers of the zone, as from a server that does not ask others.
    Referral,
    /// An address of another name.
    Foreign,
}

impl Reply {
    pub(super) fn addresses(ttl: u32, addresses: &[&str]) -> Self {
        Self::Addresses(ttl, addresses.iter().map(|text| text.parse().unwrap()).collect())
    }
}

/// Ends with the test's runtime.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
}

#[derive(Default)]
struct Zone {
    replies: BTreeMap<(String, RecordType), Reply>,
    names: BTreeSet<String>,
    asked: BTreeMap<(String, RecordType), usize>,
    by_tcp: usize,
}

impl Server {
    pub(super) async fn start() -> Self {
        // A port that is free for both.
        let (tcp, udp) = loop {
            let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
                break (tcp, udp);
            }
        };
        let server = Self { address: tcp.local_addr().unwrap(), zone: Arc::default() };
        tokio::spawn(server.clone().serve_udp(udp));
        tokio::spawn(server.clone().serve_tcp(tcp));
        server
    }

    /// What is answered to a question from now on; a name without any is NXDOMAIN.
    pub(super) fn set(&self, name: &str, kind: &str, reply: Reply) {
        let mut zone = self.zone.lock().unwrap();
        zone.names.insert(name.to_owned());
        zone.replies.insert((name.to_owned(), kind.parse().unwrap()), reply);
    }

    pub(super) fn remove(&self, name: &str) {
        let mut zone = self.zone.lock().unwrap();
        zone.names.remove(name);
        zone.replies.retain(|(of, _), _| of != name);
    }

    /// The number of requests so far.
    pub(super) fn asked(&self, name: &str, kind: &str) -> usize {
        let key = (name.to_owned(), kind.parse().unwrap());
        self.zone.lock().unwrap().asked.get(&key).copied().unwrap_or(0)
    }

    pub(super) fn by_tcp(&self) -> usize {
        self.zone.lock().unwrap().by_tcp
    }

    async fn serve_udp(self, socket: UdpSocket) {
        let mut buffer = [0; 4096];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
            let Some(response) = self.respond(&buffer[..length]) else { continue };
            let mut bytes = response.to_vec().unwrap();
            if bytes.len() > MAX_UDP {
                bytes = response.truncate().to_vec().unwrap();
            }
            socket.send_to(&bytes, peer).await.unwrap();
        }
    }

    async fn serve_tcp(self, listener: TcpListener) {
        while let Ok((stream, _)) = listener.accept().await {
            self.zone.lock().unwrap().by_tcp += 1;
            let server = self.clone();
            tokio::spawn(async move { server.serve_stream(stream).await });
        }
    }

    async fn serve_stream(self, mut stream: TcpStream) {
        while let Ok(length) = stream.read_u16().await {
            let mut query = vec![0; length.into()];
            stream.read_exact(&mut query).await.unwrap();
            let Some(response) = self.respond(&query) else { continue };
            let bytes = response.to_vec().unwrap();
            stream.write_u16(bytes.len().try_into().unwrap()).await.unwrap();
            stream.write_all(&bytes).await.unwrap();
        }
    }

    fn respond(&self, query: &[u8]) -> Option<Message> {
        let query = Message::from_vec(query).unwrap();
        let question = query.queries[0].clone();
        let owner = question.name().clone();
        let name = owner.to_ascii().trim_end_matches('.').to_ascii_lowercase();
        let key = (name, question.query_type());
        let mut zone = self.zone.lock().unwrap();
        *zone.asked.entry(key.clone()).or_default() += 1;

        let mut response = Message::response(query.metadata.id, OpCode::Query);
        response.metadata.recursion_desired = true;
        response.metadata.recursion_available = true;
        response.add_query(question);
        let reply = match zone.replies.get(&key).cloned() {
            Some(reply) => reply,
            None if zone.names.contains(&key.0) => Reply::Nothing,
            None => Reply::Code("NXDOMAIN"),
        };
        match reply {
            Reply::Addresses(ttl, addresses) => {
                response.add_answers(records(&owner, ttl, &addresses));
            }
            Reply::Cname(ttl, target, addresses) => {
                let target = Name::from_ascii(format!("{target}.")).unwrap();
                let alias = RData::CNAME(rdata::CNAME(target.clone()));
                response.add_answer(Record::from_rdata(owner, ttl, alias));
                response.add_answers(records(&target, 300, &addresses));
            }
            Reply::Nothing => {}
            Reply::Code(code) => {
                response.metadata.response_code = match code {
                    "SERVFAIL" => ResponseCode::ServFail,
                    "REFUSED" => ResponseCode::Refused,
                    "NXDOMAIN" => ResponseCode::NXDomain,
                    _ => ResponseCode::NotImp,
                };
            }
            Reply::Silence => return None,
            Reply::Referral => {
                let server = Name::from_ascii("ns.example.").unwrap();
                let zone = Name::from_ascii("example.").unwrap();
                let data = RData::NS(rdata::NS(server));
                response.add_authority(Record::from_rdata(zone, 300, data));
            }
            Reply::Foreign => {
                let other = Name::from_ascii("other.example.").unwrap();
                response.add_answers(records(&other, 300, &["192.0.2.66".parse().unwrap()]));
            }
        }
        Some(response)
    }
}

fn records(owner: &Name, ttl: u32, addresses: &[IpAddr]) -> Vec<Record> {
    let record = |address: &IpAddr| {
        let data = match address {
            IpAddr::V4(v4) => RData::A(rdata::A(*v4)),
            IpAddr::V6(v6) => RData::AAAA(rdata::AAAA(*v6)),
        };
        Record::from_rdata(owner.clone(), ttl, data)
    };
    addresses.iter().map(record).collect()
}
