//! The certificate of the HTTP interface, which can change while connections are open.
//!
//! **Invariant:** what is shown to clients is a certificate with its own key; new files that are not, change nothing.

use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::SystemTime,
};

/// A certificate and its key, from two files.
pub struct Certificate {
    files: [PathBuf; 2],
    /// What the files were when they were last read.
    seen: Mutex<[Option<Seen>; 2]>,
    shown: Arc<Shown>,
}

/// When a file was changed, and its length.
type Seen = (SystemTime, u64);

#[derive(Debug)]
struct Shown(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({})", self.files[0].display())
    }
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Certificate) -> bool {
        self.files == other.files
    }
}

impl Eq for Certificate {}

impl Certificate {
    /// Reads both files.
    ///
    /// # Errors
    /// Which file is not what it should be.
    pub fn read(certificate: &Path, key: &Path) -> Result<Certificate, String> {
        let files = [certificate.to_path_buf(), key.to_path_buf()];
        let seen = Mutex::new(seen(&files));
        let shown = Arc::new(Shown(RwLock::new(certified(&files)?)));
        Ok(Certificate { files, seen, shown })
    }

    /// Reads the files again, where they have changed or where it is `told` to. Whether it did.
    ///
    /// # Errors
    /// Which file is not what it should be; the old certificate stays.
    pub fn renew(&self, told: bool) -> Result<bool, String> {
        let now = seen(&self.files);
        {
            let mut before = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if *before == now && !told {
                return Ok(false);
            }
            *before = now;
        }
        let read = certified(&self.files)?;
        *self.shown.0.write().unwrap_or_else(PoisonError::into_inner) = read;
        Ok(true)
    }

    /// TLS 1.2 and 1.3 with this certificate.
    ///
    /// # Errors
    /// When the library refuses it.
    pub fn config(&self) -> Result<ServerConfig, String> {
        let provider = Arc::new(ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.map_err(|error| format!("set up TLS: {error}"))?;
        Ok(config.with_no_client_auth().with_cert_resolver(self.shown.clone()))
    }
}

fn seen(files: &[PathBuf; 2]) -> [Option<Seen>; 2] {
    files.each_ref().map(|file| {
        let known = fs::metadata(file).ok()?;
        Some((known.modified().ok()?, known.len()))
    })
}

fn certified(files: &[PathBuf; 2]) -> Result<Arc<CertifiedKey>, String> {
    let [certificate, key] = files;
    let bytes = |file: &PathBuf| fs::read(file).map_err(|error| format!("read the file `{}`: {error}", file.display()));
    let bad = |file: &PathBuf, why: String| format!("`{}`: {why}", file.display());
    let chain = CertificateDer::pem_slice_iter(&bytes(certificate)?).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| bad(certificate, format!("certificates in PEM are needed: {error}")))?;
    if chain.is_empty() {
        return Err(bad(certificate, "a certificate in PEM is needed, and there is none".to_string()));
    }
    // What is wrong with a key is said without a word of it.
    let private = PrivateKeyDer::from_pem_slice(&bytes(key)?)
        .map_err(|_| bad(key, "a private key in PEM is needed".to_string()))?;
    let certified = CertifiedKey::from_der(chain, private, &ring::default_provider())
        .map_err(|error| bad(key, format!("no key of the certificate `{}`: {error}", certificate.display())))?;
    Ok(Arc::new(certified))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_no_certificate_with_its_key_are_named() {
        let folder = std::env::temp_dir().join(format!("switchback-tls-{}", uuid::Uuid::now_v7().simple()));
        fs::create_dir(&folder).unwrap();
        let (certificate, key) = (folder.join("c.pem"), folder.join("k.pem"));
        let why = || Certificate::read(&certificate, &key).unwrap_err();
        assert!(why().contains("c.pem`: No such file"));
        fs::write(&certificate, "").unwrap();
        assert!(why().contains("k.pem`: No such file") || why().contains("there is none"));
        fs::write(&key, "SECRET").unwrap();
        assert!(why().contains("there is none"));
        fs::write(&certificate, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
        let said = why();
        assert!(said.contains("k.pem`: a private key in PEM is needed") && !said.contains("SECRET"), "{said}");
        fs::remove_dir_all(&folder).unwrap();
    }
}
