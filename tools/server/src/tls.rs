//! Certificate and key for HTTPS.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{Error as NoPem, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{Error, ServerConfig};

use crate::config::TlsFiles;

/// S3 is spoken over HTTP/1.1 alone.
const PROTOCOL: &[u8] = b"http/1.1";
/// What the files should hold.
const CHAIN: &str =
    "a certificate, and those that vouch for it, in PEM (-----BEGIN CERTIFICATE-----)";
const KEY: &str = "the certificate's private key in PEM (-----BEGIN PRIVATE KEY-----)";

pub fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor, String> {
    let TlsFiles { cert, key } = files;
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .and_then(|chain| if chain.is_empty() { Err(NoPem::NoItemsFound) } else { Ok(chain) })
        .map_err(|error| wrong(cert, &error, CHAIN))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(key, &error, KEY))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|error| do_not_fit(files, &error))?;
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// The errors' own words are for programmers, with markers as lists of numbers.
fn wrong(file: &Path, error: &NoPem, should: &str) -> String {
    let why = match error {
        NoPem::Io(error) => error.to_string(),
        NoPem::NoItemsFound => "there is none in it".to_owned(),
        NoPem::MissingSectionEnd { .. } => "it is cut off".to_owned(),
        _ => "it is no PEM".to_owned(),
    };
    format!("{}: {why}; it should hold {should}", file.display())
}

fn do_not_fit(TlsFiles { cert, key }: &TlsFiles, error: &Error) -> String {
    let (cert, key) = (cert.display(), key.display());
    match error {
        Error::InconsistentKeys(_) => format!("{key}: not the key of the certificate in {cert}"),
        _ => format!("{cert}, with {key}: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As PEM has it; what is in it is looked at later.
    fn section(name: &str) -> String {
        format!("-----BEGIN {name}-----\nAAAA\n-----END {name}-----\n")
    }

    #[test]
    fn what_is_wrong_with_a_file_is_told_with_its_name_and_what_it_should_hold() {
        let dir = tempfile::tempdir().unwrap();
        let [cert, key] = ["cert.pem", "key.pem"].map(|name| dir.path().join(name));
        let files = TlsFiles { cert: cert.clone(), key: key.clone() };
        let whole = section("CERTIFICATE");
        let cases = [
            (None, "", "cert.pem: No such file"),
            (Some(&whole[..40]), "", "cert.pem: it is cut off"),
            (Some("text"), "", "cert.pem: there is none in it"),
            (Some(&whole), "text", "key.pem: there is none in it"),
            (Some(&whole), &whole, "key.pem: there is none in it"),
            (Some(&whole), "-----BEGIN PRIVATE KEY-----\nAA", "key.pem: it is cut off"),
            (Some(&whole), &section("PRIVATE KEY"), "cert.pem, with "),
        ];
        for (in_cert, in_key, expected) in cases {
            in_cert.iter().for_each(|text| std::fs::write(&cert, text).unwrap());
            std::fs::write(&key, in_key).unwrap();
            let told = acceptor(&files).err().unwrap();
            assert!(told.contains(expected), "{expected}: {told}");
            assert!(told.contains("PEM (") || expected.contains("with"), "{told}");
        }
    }
}
