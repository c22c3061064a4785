//! [`ClientIdentity`]: what a client's first messages say, and [`Read`], the result of reading one.

/// Bytes of a name.
pub(super) const MAX_NAME: usize = 128;

/// Facts of a client, by its first messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ClientIdentity {
    /// Whether it speaks TLS.
    pub(super) tls: bool,
    pub(super) user: Option<String>,
    pub(super) database: Option<String>,
    /// The name that the client's program gives itself.
    pub(super) application: Option<String>,
}

impl ClientIdentity {
    /// TLS, in which nothing more is seen.
    pub(super) fn tls() -> Self {
        Self { tls: true, ..Self::default() }
    }
}

/// The result of reading a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// It is not whole yet.
    Part,
    /// It says nothing; the next one begins after so many bytes.
    Next(usize),
    /// It, or what follows it, is in the clear and says nothing that is read.
    Plain(usize),
    /// As [`Self::Plain`], and it names the client's program.
    Application(usize, String),
    /// All that is to be known.
    Identified(ClientIdentity),
    /// It is nothing that is known.
    Other,
}

/// The beginning of the name of a program, which may have any length.
pub(super) fn application(bytes: &[u8]) -> Option<String> {
    name(&bytes[..bytes.len().min(MAX_NAME)])
}

/// A name, unless it is longer than any.
pub(super) fn name(bytes: &[u8]) -> Option<String> {
    let is_one = !bytes.is_empty() && bytes.len() <= MAX_NAME;
    is_one.then(|| String::from_utf8_lossy(bytes).into_owned())
}
