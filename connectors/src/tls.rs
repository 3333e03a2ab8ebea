//! TLS for clients: rustls with ring and the roots of Mozilla, given explicitly, so that no
//! process-wide default has to be installed by whoever embeds the connectors.

use std::sync::Arc;

use engine::{Error, Result};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};

/// How a client speaks TLS.
pub(crate) fn client() -> Result<ClientConfig> {
    let roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::internal("cannot set up TLS").caused_by(error))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
