//! Connections that are encrypted.

use super::engine::model;
use foveate::serve::http::{App, Connections, Hosted, Keys, Limits, Tls, serve};
use std::io::{Read, Write};
use std::path::PathBuf;
use std::time::Duration;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, Stream, crypto::ring};

/// A certificate of `localhost` that signs itself, and its private key. Both are fixtures of this test: no server uses them.
fn files() -> [PathBuf; 2] {
    ["certificate.pem", "key.pem"]
        .map(|name| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/serving").join(name))
}

#[test]
fn clients_are_answered_over_tls() {
    let [certificate, key] = files();
    let mut connections = Connections::default();
    connections.tls = Some(Tls::read(&certificate, &key).expect("certificates"));
    let app = App::new(vec![Hosted::new("tiny", model(), None)], Keys::default(), Limits::default());
    let app = app.with_connections(connections);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a port");
    let address = listener.local_addr().expect("an address");
    runtime.spawn(serve(app, listener, std::future::pending(), Duration::ZERO));

    // A client that never begins holds up nobody.
    let silent = std::net::TcpStream::connect(address).expect("a server");
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&certificate).expect("a certificate")).expect("a root");
    let config = ClientConfig::builder_with_provider(ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a name");
    let mut session = ClientConnection::new(config.into(), name).expect("a session");
    let mut socket = std::net::TcpStream::connect(address).expect("a server");
    let mut stream = Stream::new(&mut session, &mut socket);
    stream.write_all(b"GET /health HTTP/1.0\r\n\r\n").expect("it listens");
    let mut answer = Vec::new();
    // The server ends the connection as HTTP/1.0 does.
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.0 200") && answer.ends_with("ok"), "{answer}");
    drop(silent);
}

#[test]
fn certificates_that_cannot_be_used_name_their_file() {
    let [certificate, key] = files();
    let wrong = |certificate: &PathBuf, key: &PathBuf| Tls::read(certificate, key).err().expect("an error").to_string();
    assert!(wrong(&key, &key).contains("key.pem"));
    assert!(wrong(&certificate, &certificate).contains("certificate.pem"));
    assert!(wrong(&certificate, &"nowhere.pem".into()).contains("nowhere.pem"));
}
