//! The command line over TLS: real handshakes, with certificates that are renewed meanwhile.

use super::{fake::Server, switchback};
use crate::client::Environment;
use rcgen::{CertificateParams, KeyPair};
use std::{fs, path::Path, sync::Arc};
use switchback_gateway::Certificate;

/// Writes a new certificate for `localhost`, which is its own authority.
fn write(folder: &Path, name: &str) {
    let pair = KeyPair::generate().unwrap();
    let made = CertificateParams::new(vec!["localhost".to_string()]).unwrap().self_signed(&pair).unwrap();
    fs::write(folder.join("key.pem"), pair.serialize_pem()).unwrap();
    fs::write(folder.join("certificate.pem"), made.pem()).unwrap();
    fs::write(folder.join(name), made.pem()).unwrap();
}

#[test]
fn the_server_is_believed_by_its_authority_only_and_renews_its_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    write(folder.path(), "first.pem");
    let certificate = Arc::new(Certificate::read(&path("certificate.pem"), &path("key.pem")).unwrap());
    let server = Server::start_with(Some(certificate.clone()));
    let port = server.environment.server.as_deref().unwrap().rsplit(':').next().unwrap().to_string();
    let secure = format!("https://localhost:{port}");
    let environment = |authority: Option<&str>| Environment {
        server: Some(secure.clone()),
        ca_file: authority.map(path),
        ..server.environment.clone()
    };
    let asked = |authority: Option<&str>| switchback(&environment(authority), &["QueryZone", "-o", "json"]);
    assert_eq!(asked(Some("first.pem")).code, "0", "{}", asked(Some("first.pem")).stderr);
    let stranger = asked(None);
    assert_eq!(stranger.code, "1");
    assert!(stranger.stderr.contains("hint: --ca-file names the authority"), "{}", stranger.stderr);
    let plain = Environment { server: Some(format!("http://localhost:{port}")), ..server.environment.clone() };
    assert_ne!(switchback(&plain, &["QueryZone"]).code, "0", "nothing is said in clear");

    assert_eq!(certificate.renew(false), Ok(false));
    write(folder.path(), "second.pem");
    assert_eq!(certificate.renew(true), Ok(true));
    assert_eq!(asked(Some("first.pem")).code, "1");
    assert_eq!(asked(Some("second.pem")).code, "0");
    // A key that is not of the certificate changes nothing.
    fs::write(path("key.pem"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
    assert!(certificate.renew(true).unwrap_err().contains("key.pem`: no key of the certificate"));
    assert_eq!(asked(Some("second.pem")).code, "0");

    for (file, expected) in [("nothing.pem", "No such file"), ("key.pem", "--ca-file")] {
        let done = asked(Some(file));
        assert!(done.code == "2" && done.stderr.contains(expected), "{}", done.stderr);
    }
}
