//! Certificate and key for HTTPS.

use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::TlsFiles;

/// S3 is spoken over HTTP/1.1 alone.
const PROTOCOL: &[u8] = b"http/1.1";

pub fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor, String> {
    let in_cert = |e: &dyn std::fmt::Display| format!("{}: {e}", files.cert.display());
    let in_key = |e: &dyn std::fmt::Display| format!("{}: {e}", files.key.display());
    let chain = CertificateDer::pem_file_iter(&files.cert).map_err(|e| in_cert(&e))?;
    let chain = chain.collect::<Result<Vec<_>, _>>().map_err(|e| in_cert(&e))?;
    if chain.is_empty() {
        return Err(in_cert(&"no certificate in it"));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|e| in_key(&e))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|e| in_cert(&e))?;
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
