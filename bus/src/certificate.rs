//! What can be asked of certificates, which listeners of https show.

use crate::{Check::*, Secret, messages};
use switchback_events::{CertificateId, LoadBalancerListenerId, SealedSecret};

/// The longest text of a certificate with its key.
pub const PEM_MAX: usize = 60_000;

/// A certificate as it may be kept: the node puts it in the place of what was sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SealedCertificate {
    /// The certificates in PEM.
    pub chain: String,
    /// SHA-256 of chain and key.
    pub digest: String,
    /// The key.
    pub key: SealedSecret,
}

messages! {
    /// Keeps a certificate for listeners of https. Its key is sealed, and goes to routers that show it, and nowhere else.
    Command CreateCertificate "POST" "/certificates" => "certificate" for Account {
        /// A short name.
        name: String = Text(255),
        /// A long description.
        description: Option<String> = FreeText(2048),
        /// In PEM: the certificate, those between it and its authority, and its private key.
        certificate: Secret = Pem,
    }
    /// Changes a certificate's name or description.
    Command UpdateCertificate "PUT" "/certificates/{uuid}/actions" => "certificate" for Account {
        /// The certificate.
        uuid: CertificateId = Uuid,
        /// A short name.
        name: Option<String> = Text(255),
        /// A long description.
        description: Option<String> = FreeText(2048),
    }
    /// Deletes a certificate that no listener shows. One that is not there is a success.
    Command DeleteCertificate "DELETE" "/certificates/{uuid}" => "" for Account {
        /// The certificate.
        uuid: CertificateId = Uuid,
    }
    /// Has a listener of https show a certificate, in the place of what it shows: connections go on.
    Command AddCertificateToLoadBalancerListener "POST" "/load-balancers/listeners/{listenerUuid}/certificate" => "loadBalancerListener" for Account {
        /// The certificate.
        certificate_uuid: CertificateId = Uuid,
        /// The listener.
        listener_uuid: LoadBalancerListenerId = Uuid,
    }
    /// Has a listener of https show no certificate: nobody is served there then. One that it does not show is a success.
    Command RemoveCertificateFromLoadBalancerListener "DELETE" "/load-balancers/listeners/{listenerUuid}/certificate" => "loadBalancerListener" for Account {
        /// The certificate.
        certificate_uuid: CertificateId = Uuid,
        /// The listener.
        listener_uuid: LoadBalancerListenerId = Uuid,
    }
}
