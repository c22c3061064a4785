//! The admin socket: the APIs without a token, and a backup, for root and the server's user.

use std::{
    fs, io,
    os::unix::{
        fs::{FileTypeExt as _, PermissionsExt as _},
        net::UnixStream,
    },
    path::{Path, PathBuf},
    sync::Arc,
};

use axum::{
    Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
    routing::get,
};
use tokio::net::UnixListener;

use crate::{service::Service, store::dump};

/// The name of the socket in the run directory.
pub const SOCKET_NAME: &str = "admin.sock";

/// The path at which the socket has the whole store as text.
pub const STORE_PATH: &str = "/admin/v1/store";

/// Reason why the admin socket could not be made.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// A running server answers on it.
    #[error("a running dbfw-server answers on {}; stop it first", .0.display())]
    InUse(PathBuf),
    /// Something else is in its place.
    #[error("{} is where the admin socket belongs, and is not a socket; remove it", .0.display())]
    NotASocket(PathBuf),
    /// The system refused.
    #[error("cannot make the admin socket {}: {source}", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
}

/// Listens in a directory, for the owner of the socket alone. Must be called within a runtime.
pub(super) fn bind(run_dir: &Path) -> Result<UnixListener, AdminError> {
    let path = run_dir.join(SOCKET_NAME);
    let failed = |source| AdminError::Io { path: path.clone(), source };
    fs::create_dir_all(run_dir).map_err(failed)?;
    match fs::symlink_metadata(&path) {
        Ok(found) if !found.file_type().is_socket() => return Err(AdminError::NotASocket(path)),
        Ok(_) if UnixStream::connect(&path).is_ok() => return Err(AdminError::InUse(path)),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    // Made under another name: whoever connects finds it with its final mode, or not at all.
    let new = tempfile::Builder::new()
        .prefix(".new-")
        .make_in(run_dir, |path| UnixListener::bind(path))
        .map_err(failed)?;
    fs::set_permissions(new.path(), fs::Permissions::from_mode(0o600)).map_err(failed)?;
    new.persist(&path).map_err(|error| failed(error.error))
}

/// The routes that only the admin socket has.
pub(super) fn routes(service: Arc<Service>) -> Router {
    Router::new().route(STORE_PATH, get(backup)).with_state(service)
}

/// All of the store as of one moment.
async fn backup(State(service): State<Arc<Service>>) -> Response {
    let mut text = Vec::new();
    let dumped = match service.store().list("").await {
        Ok(snapshot) => dump(&snapshot, &mut text).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match dumped {
        Ok(()) => text.into_response(),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, error).into_response(),
    }
}
