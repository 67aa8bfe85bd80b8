//! TLS for listeners beyond this machine.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A certificate, its key and what is spoken with them.
pub type TlsConfig = Arc<rustls::ServerConfig>;

/// Why a certificate and its key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is not there or holds something else.
    #[error("TLS: `{path}` could not be read")]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// A file holds no certificate.
    #[error("TLS: `{0}` holds no certificate")]
    Empty(PathBuf),
    /// The two do not go together.
    #[error("TLS: the certificate and the key cannot be used")]
    Unusable(#[from] rustls::Error),
}

/// Reads a certificate chain and its key, both PEM. HTTP/1.1 is all that is spoken.
///
/// # Errors
/// Files that cannot be read, or that do not go together.
pub fn tls(certificate: &Path, key: &Path) -> Result<TlsConfig, TlsError> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |source| TlsError::File { path, source }
    };
    let chain = CertificateDer::pem_file_iter(certificate).map_err(at(certificate))?;
    let chain: Vec<_> = chain.collect::<Result<_, _>>().map_err(at(certificate))?;
    if chain.is_empty() {
        return Err(TlsError::Empty(certificate.to_owned()));
    }
    let key = PrivateKeyDer::from_pem_file(key).map_err(at(key))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
