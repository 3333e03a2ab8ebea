//! TLS: the certificate and the key of the settings.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use engine::{Error, Result};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// What takes TLS connections with a chain of certificates and its key, both PEM files. They are
/// read once: a new certificate needs a restart.
pub(crate) fn acceptor(certificates: &Path, key: &Path) -> Result<TlsAcceptor> {
    let chain = read(certificates, "certificate")?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&chain).collect();
    let chain = chain.map_err(|error| unusable(certificates, "certificate", error))?;
    if chain.is_empty() {
        return Err(Error::invalid(format!(
            "'{}' holds no certificate: it must be a PEM file with BEGIN CERTIFICATE",
            certificates.display()
        )));
    }
    let bytes = read(key, "key")?;
    let private = PrivateKeyDer::from_pem_slice(&bytes);
    let private = private.map_err(|error| unusable(key, "key", error))?;
    let failed = |error: rustls::Error| {
        Error::invalid(format!(
            "the certificate '{}' and the key '{}' cannot be used together",
            certificates.display(),
            key.display()
        ))
        .caused_by(error)
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(failed)?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(failed)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn read(path: &Path, what: &str) -> Result<Vec<u8>> {
    fs::read(path).map_err(|error| unusable(path, what, error))
}

fn unusable<E: std::error::Error + Send + Sync + 'static>(
    path: &Path,
    what: &str,
    error: E,
) -> Error {
    Error::invalid(format!("the {what} '{}' cannot be read", path.display())).caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let (absent, empty) = (
            folder.path().join("absent.pem"),
            folder.path().join("e.pem"),
        );
        fs::write(&empty, "nothing").unwrap();
        let refused = |one: &Path, other: &Path| acceptor(one, other).err().unwrap().chain();
        assert!(refused(&absent, &empty).contains("absent.pem"));
        assert!(refused(&empty, &empty).contains("holds no certificate"));
    }
}
