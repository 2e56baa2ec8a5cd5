//! Accepts connections, over TLS if there are certificates, and bounds their number and the time that a client takes.

use super::App;
use crate::{Error, Result};
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// How long the head of a request may take to arrive, and a connection may be idle between two requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);
/// How long the handshake of TLS may take.
#[cfg(feature = "tls")]
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the last bytes of answers may take when the server stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);
/// Pause after a failed accept, which usually means that the process has no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The certificates of a server and their private key.
#[cfg(feature = "tls")]
#[derive(Clone)]
pub struct Tls(tokio_rustls::TlsAcceptor);

#[cfg(feature = "tls")]
impl Tls {
    /// Reads a chain of certificates and its private key, both in PEM files.
    ///
    /// # Errors
    /// `File` if one can't be read, or they do not belong together.
    pub fn read(certificates: &std::path::Path, key: &std::path::Path) -> Result<Self> {
        use tokio_rustls::rustls::ServerConfig;
        use tokio_rustls::rustls::crypto::ring;
        use tokio_rustls::rustls::pki_types::pem::PemObject;
        use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

        let chain = CertificateDer::pem_file_iter(certificates).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let chain = chain.map_err(|error| Error::file(certificates, format!("it has no certificates: {error}")))?;
        if chain.is_empty() {
            return Err(Error::file(certificates, "it has no certificates: PEM is expected"));
        }
        let secret = PrivateKeyDer::from_pem_file(key);
        let secret = secret.map_err(|error| Error::file(key, format!("it has no private key: {error}")))?;
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, secret));
        let config = config.map_err(|error| Error::file(key, format!("it does not fit the certificates: {error}")))?;
        Ok(Self(tokio_rustls::TlsAcceptor::from(Arc::new(config))))
    }
}

/// How connections are taken.
#[derive(Clone)]
#[non_exhaustive]
pub struct Connections {
    /// Connections at a time; more wait to be accepted.
    pub most: usize,
    /// Without certificates, connections are not encrypted.
    #[cfg(feature = "tls")]
    pub tls: Option<Tls>,
}

impl Default for Connections {
    fn default() -> Self {
        Self {
            most: 4096,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }
}

/// Serves until `stop` is ready, and then up to `patience` for what has begun.
///
/// # Errors
/// Errors of the socket.
pub async fn serve(
    app: App,
    listener: TcpListener,
    stop: impl Future<Output = ()>,
    patience: Duration,
) -> std::io::Result<()> {
    let (stopped, told) = watch::channel(false);
    let connections = app.connections.clone();
    let accepting = tokio::spawn(accept(app.clone().router(), listener, told, connections));
    stop.await;
    // No connection is accepted from here on, and those without a request are closed.
    let _ = stopped.send(true);
    // Stopping the engines ends all answers within `patience`, even if their clients read slowly.
    let _ = tokio::task::spawn_blocking(move || app.stop(patience)).await;
    let mut open = accepting.await.map_err(std::io::Error::other)??;
    let all = async { while open.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, all).await;
    Ok(())
}

/// Accepts until told to stop, and returns the connections that are open.
async fn accept(
    router: Router,
    listener: TcpListener,
    mut told: watch::Receiver<bool>,
    connections: Connections,
) -> std::io::Result<JoinSet<()>> {
    let room = Arc::new(Semaphore::new(connections.most.clamp(1, Semaphore::MAX_PERMITS)));
    let mut open = JoinSet::new();
    let stop = told.clone();
    loop {
        let accepted = async {
            let permit = room.clone().acquire_owned().await;
            (listener.accept().await, permit)
        };
        let (accepted, permit) = tokio::select! {
            biased;
            // An error says that the sender is gone, which is a stop as well.
            _ = told.wait_for(|stopped| *stopped) => return Ok(open),
            accepted = accepted => accepted,
        };
        while open.try_join_next().is_some() {}
        let Ok((stream, _)) = accepted else {
            // The client left before it was accepted, or no file descriptor is free.
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let (router, stop, connections) = (router.clone(), stop.clone(), connections.clone());
        open.spawn(async move {
            let _permit = permit;
            secure(router, stream, stop, connections).await;
        });
    }
}

/// Serves a connection, behind a TLS handshake if there are certificates.
async fn secure(router: Router, stream: TcpStream, stop: watch::Receiver<bool>, connections: Connections) {
    detect_dead_peer(&stream);
    #[cfg(feature = "tls")]
    if let Some(Tls(acceptor)) = connections.tls {
        if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
            connection(router, stream, stop).await;
        }
        return;
    }
    #[cfg(not(feature = "tls"))]
    let _ = connections;
    connection(router, stream, stop).await;
}

/// Makes the system notice within two minutes that the other end is gone.
fn detect_dead_peer(stream: &TcpStream) {
    let socket = socket2::SockRef::from(stream);
    let alive = socket2::TcpKeepalive::new().with_time(Duration::from_secs(60));
    // If an option is refused, the connection ends when the system gives it up.
    let _ = socket.set_tcp_keepalive(&alive);
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_user_timeout(Some(Duration::from_secs(120)));
    let _ = stream.set_nodelay(true);
}

async fn connection<S>(router: Router, stream: S, mut stop: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = TowerToHyperService::new(router);
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    let stopped = async {
        let _ = stop.wait_for(|stopped| *stopped).await;
    };
    tokio::select! {
        // The connection ended. An error of it concerns its client alone, and needs no log.
        _ = connection.as_mut() => return,
        () = stopped => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}
