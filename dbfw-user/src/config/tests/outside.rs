//! The tables about the outside world.

use std::{path::PathBuf, time::Duration};

use dbfw_provider::{
    aptible::AptibleConfig,
    budget::RequestLimits,
    digitalocean::{AddressKinds, DigitalOceanConfig},
    dns::DnsConfig,
    feed::FeedsConfig,
    http::HttpConfig,
    token::TokenSource,
};
use url::Url;

use super::{
    Dir,
    good::{FULL, SHORT},
};

#[test]
fn every_key_about_the_outside_is_read() {
    let config = Dir::new(FULL).load().unwrap();
    let ca_file = |path: &str| Some(PathBuf::from(path));
    let token = |path: &str| TokenSource::File(path.into());
    assert_eq!(
        config.digitalocean,
        Some(DigitalOceanConfig {
            api_url: Url::parse("https://api.example:8443").unwrap(),
            token: token("/etc/dbfw/do-token"),
            http: HttpConfig {
                only_ca_file: false,
                timeout: Duration::from_secs(90),
                ca_file: ca_file("/etc/dbfw/ca.pem"),
                allow_http: ["api.internal", "192.0.2.1", "[2001:db8::1]", "[2001:db8::2]"]
                    .map(str::to_owned)
                    .into(),
            },
            poll: Duration::from_millis(500),
            addresses: AddressKinds { private: true, public: false, v6: true },
            pod_subnets: true,
            limits: RequestLimits { per_hour: 2500, per_minute: 100 },
        })
    );
    assert_eq!(
        config.aptible,
        Some(AptibleConfig {
            api_url: Url::parse("http://127.0.0.1:8080/").unwrap(),
            token: token("/etc/dbfw/aptible-token"),
            http: HttpConfig {
                only_ca_file: false,
                timeout: Duration::from_millis(100),
                ca_file: ca_file("/ca"),
                allow_http: Vec::new(),
            },
            poll: Duration::from_secs(3600),
        })
    );
    assert_eq!(
        config.feeds,
        FeedsConfig {
            http: HttpConfig {
                only_ca_file: false,
                timeout: Duration::from_secs(300),
                ca_file: ca_file("/ca"),
                allow_http: vec!["feeds.internal".to_owned()],
            },
            poll: Duration::from_secs(86_400),
            max_bytes: 1000,
        }
    );
    let servers = [
        "192.0.2.53:53",
        "192.0.2.54:5353",
        "[2001:db8::53]:53",
        "[2001:db8::54]:53",
        "[2001:db8::55]:5353",
    ];
    assert_eq!(
        config.dns,
        DnsConfig {
            servers: servers.map(|server| server.parse().unwrap()).into(),
            timeout: Duration::from_secs(2),
            grace: Duration::ZERO,
            min_ttl: Duration::from_millis(100),
            max_ttl: Duration::from_secs(86_400),
        }
    );
}

#[test]
fn defaults_about_the_outside() {
    let config = Dir::new(format!("{SHORT}[digitalocean]\n[aptible]\n")).load().unwrap();
    let http = |timeout| HttpConfig {
        only_ca_file: false,
        timeout: Duration::from_secs(timeout),
        ca_file: None,
        allow_http: Vec::new(),
    };
    assert_eq!(
        config.digitalocean,
        Some(DigitalOceanConfig {
            api_url: Url::parse("https://api.digitalocean.com").unwrap(),
            token: TokenSource::Credential("do-token".to_owned()),
            http: http(10),
            poll: Duration::from_secs(15),
            addresses: AddressKinds { private: true, public: true, v6: true },
            pod_subnets: false,
            limits: RequestLimits { per_hour: 5000, per_minute: 250 },
        })
    );
    assert_eq!(
        config.aptible,
        Some(AptibleConfig {
            api_url: Url::parse("https://api.aptible.com").unwrap(),
            token: TokenSource::Credential("aptible-token".to_owned()),
            http: http(10),
            poll: Duration::from_secs(60),
        })
    );
    assert_eq!(
        config.feeds,
        FeedsConfig { http: http(30), poll: Duration::from_secs(300), max_bytes: 16 << 20 }
    );
    assert_eq!(
        config.dns,
        DnsConfig {
            servers: Vec::new(),
            timeout: Duration::from_secs(5),
            grace: Duration::from_secs(300),
            min_ttl: Duration::from_secs(5),
            max_ttl: Duration::from_secs(3600),
        }
    );
    assert_eq!(config.warnings, []);
}

#[test]
fn loopback_needs_no_tls() {
    for host in ["localhost", "127.0.0.1:1", "127.9.9.9", "[::1]:8080", "LOCALHOST"] {
        let table = format!("[digitalocean]\napi_url = \"http://{host}\"\n");
        assert_eq!(Dir::new(format!("{SHORT}{table}")).warnings(), [""; 0], "{host}");
    }
}

#[test]
fn drop_ins_replace_keys_of_every_table() {
    let dir = Dir::new(format!(
        "{SHORT}[digitalocean]\npoll = \"1s\"\ntimeout = \"1s\"\naddresses = [\"v6\"]\n\
         [feeds]\npoll = \"1s\"\nmax_bytes = 1\n[dns]\nmin_ttl = \"2h\"\ngrace = \"1s\"\n"
    ));
    dir.write(
        "conf.d/1.toml",
        "[digitalocean]\npoll = \"2s\"\naddresses = [\"public\"]\n[aptible]\n\
         feeds.poll = \"2s\"\ndns.max_ttl = \"2h\"\n",
    );
    let error = dir.load().unwrap_err();
    assert!(error[0].contains("aptible.feeds: unknown key"), "{error:?}");
    dir.write(
        "conf.d/1.toml",
        "feeds.poll = \"2s\"\ndns.max_ttl = \"2h\"\n[aptible]\n[digitalocean]\n\
         poll = \"2s\"\naddresses = [\"public\"]\n",
    );
    let config = dir.load().unwrap();
    let seconds = Duration::from_secs;
    let digitalocean = config.digitalocean.unwrap();
    assert_eq!((digitalocean.poll, digitalocean.http.timeout), (seconds(2), seconds(1)));
    let addresses = AddressKinds { private: false, public: true, v6: false };
    assert_eq!(digitalocean.addresses, addresses);
    assert_eq!(config.aptible.unwrap().poll, seconds(60));
    assert_eq!((config.feeds.poll, config.feeds.max_bytes), (seconds(2), 1));
    assert_eq!((config.dns.min_ttl, config.dns.max_ttl), (seconds(7200), seconds(7200)));
    assert_eq!(config.dns.grace, seconds(1));
}
