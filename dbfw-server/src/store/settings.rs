//! [`EtcdSettings`]: the way to an etcd.

use std::path::PathBuf;

/// The way to an etcd, and the place in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdSettings {
    /// The addresses of its members: `https://…:2379`, or `http://…`.
    pub endpoints: Vec<String>,
    /// The authority that the members' certificates come from, PEM.
    pub ca_file: Option<PathBuf>,
    /// The certificate that is shown to them, PEM.
    pub identity: Option<Identity>,
    /// The user, where etcd's authentication is on.
    pub login: Option<Login>,
    /// The prefix of every key, without the slash behind it.
    pub prefix: String,
}

/// A certificate of a client and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The certificate, PEM.
    pub cert_file: PathBuf,
    /// The private key, PEM.
    pub key_file: PathBuf,
}

/// A user of etcd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The name.
    pub user: String,
    /// The file with the password.
    pub password_file: PathBuf,
}
