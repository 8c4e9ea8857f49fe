//! TLS, from a certificate and a key in files.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tracking_journal::storage;

use super::TlsError;

/// The certificates that a machine trusts take less than half a MiB.
const LARGEST_FILE: u64 = 16 << 20;

/// A certificate with its chain, and its key.
#[derive(Clone)]
pub struct TlsIdentity(Arc<ServerConfig>);

impl TlsIdentity {
    /// Reads a chain of certificates, the server's own first, and its key from PEM files.
    ///
    /// # Errors
    /// [`TlsError`] if a file cannot be read, holds something else, or if they do not belong together.
    pub fn from_pem_files(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let chain = read_pem(certificate, |pem| {
            CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>()
        })
        .map_err(|source| unreadable("a certificate", certificate, source))?;
        if chain.is_empty() {
            return Err(TlsError::NoCertificate {
                path: certificate.to_owned(),
            });
        }
        let private = read_pem(key, PrivateKeyDer::from_pem_slice)
            .map_err(|source| unreadable("a private key", key, source))?;
        let mismatch = |source: tokio_rustls::rustls::Error| TlsError::Mismatch {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            source: source.into(),
        };
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(mismatch)?
            .with_no_client_auth()
            .with_single_cert(chain, private)
            .map_err(mismatch)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(Arc::new(config)))
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.0))
    }
}

/// Reads a file of certificates or of a key, which may be a symbolic link.
pub(crate) fn read_pem<T>(
    path: &Path,
    read: impl FnOnce(&[u8]) -> Result<T, pem::Error>,
) -> Result<T, pem::Error> {
    read(&storage::read_named(path, LARGEST_FILE).map_err(pem::Error::Io)?)
}

fn unreadable(what: &'static str, path: &Path, source: pem::Error) -> TlsError {
    TlsError::Read {
        what,
        path: path.to_owned(),
        source: source.into(),
    }
}

impl fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsIdentity").finish_non_exhaustive()
    }
}
