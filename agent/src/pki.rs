//! Certificates: an authority of the server's own, and an identity for every agent and for the server.
//!
//! **Invariant:** an agent's certificate proves an agent and nothing else: it cannot be used to give orders to
//! other agents, because those ask for one made for clients.

use base64::{Engine, prelude::BASE64_STANDARD};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};
use rustls::{ClientConfig, RootCertStore, ServerConfig, server::WebPkiClientVerifier, sign::CertifiedKey};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{PemObject, SectionKind},
};
use serde::{Deserialize, Serialize};
use std::{
    fs, io,
    io::Write,
    net::IpAddr,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};
use switchback_appliance::{Identity, digest};

/// The common name of the server's own certificate.
pub const SERVER: &str = "switchback-server";

/// What went wrong with certificates and keys.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file.
    #[error("access `{0}`")]
    File(PathBuf, #[source] io::Error),
    /// Making a certificate.
    #[error("make a certificate")]
    Make(#[from] rcgen::Error),
    /// A token or a stored identity that makes no sense.
    #[error("read an identity: {0}")]
    Read(String),
    /// TLS does not take it.
    #[error("set up TLS: {0}")]
    Tls(String),
}

/// The certificates and the private key of a PEM text, each as PEM again and nothing besides.
#[derive(Clone, PartialEq, Eq)]
pub struct Pair {
    /// The certificates: the first is the key's.
    pub chain: String,
    /// The key. A secret.
    pub key: String,
}

/// Takes a certificate apart from its key.
///
/// # Errors
/// What is missing or does not fit, in words without anything of the text.
pub fn pair(text: &str) -> Result<Pair, &'static str> {
    let (mut certificates, mut keys) = (Vec::new(), Vec::new());
    let mut pair = Pair { chain: String::new(), key: String::new() };
    let mut rest = text.as_bytes();
    while let Some((kind, der)) =
        rustls_pki_types::pem::from_buf(&mut rest).map_err(|_| "PEM: a section of it cannot be read")?
    {
        let label = match kind {
            SectionKind::Certificate => "CERTIFICATE",
            SectionKind::RsaPrivateKey => "RSA PRIVATE KEY",
            SectionKind::PrivateKey => "PRIVATE KEY",
            SectionKind::EcPrivateKey => "EC PRIVATE KEY",
            _ => return Err("certificates and a private key, and nothing else"),
        };
        let armoured = armoured(label, &der);
        match kind {
            SectionKind::Certificate => {
                pair.chain.push_str(&armoured);
                certificates.push(CertificateDer::from(der));
            }
            kind => {
                pair.key = armoured;
                keys.extend(PrivateKeyDer::from_pem(kind, der));
            }
        }
    }
    if certificates.is_empty() {
        return Err("a certificate in PEM, with its private key");
    }
    let (Some(key), true) = (keys.pop(), keys.is_empty()) else {
        return Err("one private key in PEM that needs no password, with its certificate");
    };
    let provider = rustls::crypto::ring::default_provider();
    match CertifiedKey::from_der(certificates, key, &provider) {
        Ok(_) => Ok(pair),
        Err(rustls::Error::InconsistentKeys(_)) => Err("a private key that belongs to the first certificate"),
        Err(_) => {
            Err("a certificate that can be read, with a private key of RSA, of ECDSA on P-256 or P-384, or of Ed25519")
        }
    }
}

fn armoured(label: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let mut armoured = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(64) {
        armoured.extend(line.iter().map(|byte| char::from(*byte)));
        armoured.push('\n');
    }
    armoured + &format!("-----END {label}-----\n")
}

/// Uses ring for all cryptography of this process. Calling it twice is harmless.
pub fn install_provider() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// An authority, kept in a directory of its own.
pub struct Authority {
    directory: PathBuf,
    certificate: String,
    key: String,
}

/// An identity as it is kept, with what it was issued for.
#[derive(Serialize, Deserialize)]
struct Issued {
    ips: Vec<IpAddr>,
    identity: Identity,
}

impl Authority {
    /// Opens the authority in `directory`, or makes a new one there.
    pub fn open_or_create(directory: &Path) -> Result<Self, PkiError> {
        let (certificate, key) = (directory.join("authority.pem"), directory.join("authority.key"));
        if !key.exists() || !certificate.exists() {
            let pair = KeyPair::generate()?;
            let mut params = named("switchback-authority", Vec::new())?;
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
            let made = params.self_signed(&pair)?;
            write_private(&key, pair.serialize_pem().as_bytes())?;
            write_private(&certificate, made.pem().as_bytes())?;
        }
        let read = |path: &Path| fs::read_to_string(path).map_err(|error| PkiError::File(path.to_path_buf(), error));
        Ok(Self { directory: directory.to_path_buf(), certificate: read(&certificate)?, key: read(&key)? })
    }

    /// The identity of an agent that listens on these addresses. The same question again gets the same answer.
    pub fn issue(&self, common_name: &str, ips: &[IpAddr]) -> Result<Identity, PkiError> {
        self.issue_for(common_name, ips, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// The identity by which the server shows that it may give orders.
    pub fn server_identity(&self) -> Result<Identity, PkiError> {
        self.issue_for(SERVER, &[], ExtendedKeyUsagePurpose::ClientAuth)
    }

    /// The identity of an agent on one line, to be carried to its host.
    pub fn token(&self, common_name: &str, ip: IpAddr) -> Result<String, PkiError> {
        Ok(token_of(&self.issue(common_name, &[ip])?))
    }

    fn issue_for(
        &self,
        common_name: &str,
        ips: &[IpAddr],
        purpose: ExtendedKeyUsagePurpose,
    ) -> Result<Identity, PkiError> {
        let file = self.directory.join("issued").join(format!("{}.json", &digest(&common_name)[..32]));
        let kept = fs::read(&file).ok().and_then(|bytes| serde_json::from_slice::<Issued>(&bytes).ok());
        if let Some(kept) = kept.filter(|kept| kept.ips == ips && kept.identity.authority == self.certificate) {
            return Ok(kept.identity);
        }
        let issuer = Issuer::from_ca_cert_pem(&self.certificate, KeyPair::from_pem(&self.key)?)?;
        let pair = KeyPair::generate()?;
        let mut params = named(common_name, ips.iter().map(|ip| SanType::IpAddress(*ip)).collect())?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![purpose];
        let certificate = params.signed_by(&pair, &issuer)?.pem();
        let identity = Identity { authority: self.certificate.clone(), certificate, key: pair.serialize_pem() };
        let issued = Issued { ips: ips.to_vec(), identity };
        let bytes = serde_json::to_vec(&issued).map_err(|error| PkiError::Read(error.to_string()))?;
        write_private(&file, &bytes)?;
        Ok(issued.identity)
    }
}

fn named(common_name: &str, names: Vec<SanType>) -> Result<CertificateParams, PkiError> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.subject_alt_names = names;
    Ok(params)
}

fn write_private(path: &Path, bytes: &[u8]) -> Result<(), PkiError> {
    let failed = |error: io::Error| PkiError::File(path.to_path_buf(), error);
    let directory = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(directory).map_err(failed)?;
    let fresh = path.with_extension(format!("fresh-{}", std::process::id()));
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed)?;
    fs::rename(&fresh, path).and_then(|()| fs::File::open(directory)?.sync_all()).map_err(failed)
}

/// An identity on one line.
pub fn token_of(identity: &Identity) -> String {
    BASE64_STANDARD.encode(serde_json::to_vec(identity).unwrap_or_default())
}

/// The identity of a token.
pub fn identity_of_token(token: &str) -> Result<Identity, PkiError> {
    let bytes = BASE64_STANDARD.decode(token.trim()).map_err(|_| PkiError::Read("the token is damaged".to_string()))?;
    serde_json::from_slice(&bytes).map_err(|_| PkiError::Read("the token is damaged".to_string()))
}

/// TLS for an agent: clients must show a certificate of the authority, made for clients.
pub fn server_config(identity: &Identity) -> Result<ServerConfig, PkiError> {
    install_provider();
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots(identity)?))
        .build()
        .map_err(|error| PkiError::Tls(error.to_string()))?;
    let (certificate, key) = own(identity)?;
    ServerConfig::builder()
        .with_client_cert_verifier(verifier)
        .with_single_cert(certificate, key)
        .map_err(|error| PkiError::Tls(error.to_string()))
}

/// TLS for the server as a client of agents: their certificate must name the address that was dialled.
pub fn client_config(identity: &Identity) -> Result<ClientConfig, PkiError> {
    install_provider();
    let (certificate, key) = own(identity)?;
    ClientConfig::builder()
        .with_root_certificates(roots(identity)?)
        .with_client_auth_cert(certificate, key)
        .map_err(|error| PkiError::Tls(error.to_string()))
}

fn roots(identity: &Identity) -> Result<RootCertStore, PkiError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(identity.authority.as_bytes()) {
        let certificate = certificate.map_err(|error| PkiError::Read(error.to_string()))?;
        roots.add(certificate).map_err(|error| PkiError::Tls(error.to_string()))?;
    }
    Ok(roots)
}

type Own = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn own(identity: &Identity) -> Result<Own, PkiError> {
    let unreadable = |error: rustls_pki_types::pem::Error| PkiError::Read(error.to_string());
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(identity.certificate.as_bytes()).collect();
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).map_err(unreadable)?;
    Ok((certificates.map_err(unreadable)?, key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_certificate_is_taken_apart_from_its_key_and_nothing_else_is_taken() {
        let made = |name: &str| rcgen::generate_simple_self_signed(vec![name.to_string()]).unwrap();
        let (one, two) = (made("one.test"), made("two.test"));
        let (chain, key) = (one.cert.pem(), one.signing_key.serialize_pem());
        let foreign = two.signing_key.serialize_pem();
        let held = pair(&format!("{key}some words\n{chain}")).ok().unwrap();
        assert!(held.chain.starts_with("-----BEGIN CERTIFICATE-----\n") && !held.chain.contains("PRIVATE"));
        assert!(
            held.key.starts_with("-----BEGIN PRIVATE KEY-----\n")
                && !format!("{}{}", held.chain, held.key).contains("words")
        );
        let again = pair(&format!("{}{}", held.chain, held.key)).ok().unwrap();
        assert!(again == held);
        let broken = key.replace("\n", "\n*");
        for bad in [
            String::new(),
            chain.clone(),
            key.clone(),
            format!("{chain}{foreign}"),
            format!("{chain}{key}{foreign}"),
            format!("{chain}{broken}"),
            format!("{chain}{}", key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY")),
            format!("{chain}{key}{}", chain.replace("CERTIFICATE", "CERTIFICATE REQUEST")),
            format!("{}{key}", armoured("CERTIFICATE", b"no certificate")),
        ] {
            assert!(pair(&bad).is_err(), "{}", bad.len());
        }
    }

    #[test]
    fn an_authority_is_kept_and_so_is_what_it_issued() {
        let directory = tempfile::tempdir().unwrap();
        let ip: IpAddr = "192.0.2.1".parse().unwrap();
        let authority = Authority::open_or_create(directory.path()).unwrap();
        let identity = authority.issue("vr-1", &[ip]).unwrap();
        let again = Authority::open_or_create(directory.path()).unwrap();
        assert_eq!(again.issue("vr-1", &[ip]).unwrap(), identity);
        assert_ne!(again.issue("vr-1", &["192.0.2.2".parse().unwrap()]).unwrap(), identity);
        let mode = fs::metadata(directory.path().join("authority.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_token_carries_an_identity() {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::open_or_create(directory.path()).unwrap();
        let token = authority.token("host-1", "192.0.2.1".parse().unwrap()).unwrap();
        assert_eq!(token.lines().count(), 1);
        let identity = identity_of_token(&token).unwrap();
        server_config(&identity).unwrap();
        client_config(&authority.server_identity().unwrap()).unwrap();
        assert!(identity_of_token("nonsense").is_err());
    }
}
