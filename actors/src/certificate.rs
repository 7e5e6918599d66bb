//! Certificate: `there → deleted`, with its sealed key. What it is never changes, so a listener that shows another one is
//! given another one. One that a listener shows stays.

use crate::{
    context::Context,
    decision::Decision,
    directory::Relation,
    facts::Facts,
    rules::{self, Exists},
};
use serde::{Deserialize, Serialize};
use switchback_bus::{CreateCertificate, DeleteCertificate, Refusal, UpdateCertificate};
use switchback_events::*;

/// A certificate.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Certificate {
    pub name: String,
    /// In PEM.
    pub chain: String,
    /// SHA-256 of chain and key.
    pub digest: String,
    /// There is one from the beginning on.
    pub key: Option<SealedSecret>,
    pub deleted: bool,
}

rules::exists!(Certificate, "certificate");

impl Certificate {
    /// Takes the next event.
    pub fn evolve(&mut self, event: &CertificateEvent, _version: Version) {
        match event {
            CertificateEvent::Created { name, chain, digest, key, .. } => {
                (self.name, self.chain, self.digest) = (name.clone(), chain.clone(), digest.clone());
                self.key = Some(key.clone());
            }
            CertificateEvent::Updated { name, .. } => self.name = name.clone().unwrap_or_else(|| self.name.clone()),
            CertificateEvent::Deleted {} => (self.deleted, self.key) = (true, None),
        }
    }
}

pub(crate) fn create(command: &CreateCertificate, context: &Context) -> Result<Decision, Refusal> {
    let id = context.resource_id();
    let Some(sealed) = command.certificate.sealed().cloned() else {
        return Err(Refusal::internal("keep a certificate whose key is not sealed"));
    };
    Ok(Decision::about(StreamKind::Certificate, id).show("certificate").event(CertificateEvent::Created {
        name: command.name.clone(),
        description: command.description.clone(),
        chain: sealed.chain,
        digest: sealed.digest,
        key: sealed.key,
    }))
}

pub(crate) fn update(command: &UpdateCertificate, facts: &Facts) -> Result<Decision, Refusal> {
    rules::existing::<Certificate>(facts, "uuid", command.uuid)?;
    let event = CertificateEvent::Updated { name: command.name.clone(), description: command.description.clone() };
    Ok(Decision::about(StreamKind::Certificate, command.uuid).show("certificate").event(event))
}

pub(crate) fn delete(command: &DeleteCertificate, facts: &Facts) -> Result<Decision, Refusal> {
    let decision = Decision::about(StreamKind::Certificate, command.uuid);
    if !facts.get::<Certificate>(command.uuid)?.exists() {
        return Ok(decision);
    }
    if let Some(listener) = facts.members(Relation::ListenersOfCertificate, command.uuid).first() {
        let detail = format!("uuid = `{}`: listener {listener} shows the certificate", command.uuid);
        let hint = "give the listener another one with AddCertificateToLoadBalancerListener";
        return Err(Refusal::operation(detail).hint(hint));
    }
    Ok(decision.event(CertificateEvent::Deleted {}))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::given::{Given, id};
    use switchback_bus::{SealedCertificate, Secret};

    #[test]
    fn nothing_is_kept_of_a_key_that_is_not_sealed() {
        let create = |certificate| CreateCertificate { name: "web".to_string(), description: None, certificate };
        let sealed = |key| SealedCertificate { chain: "chain".to_string(), digest: "digest".to_string(), key };
        let key = SealedSecret::new([1]);
        let refusal = Given::nothing().when(create(Secret::Sent("sesame".to_string()))).unwrap_err();
        assert!(!format!("{refusal:?}").contains("sesame"), "{refusal:?}");
        let kept = create(Secret::Sealed(Box::new(sealed(key.clone()))));
        let decision = Given::nothing().when(kept).unwrap();
        let created = CertificateEvent::Created {
            name: "web".to_string(),
            description: None,
            chain: "chain".to_string(),
            digest: "digest".to_string(),
            key,
        };
        assert_eq!(decision[0], Event::from(created.clone()));
        let mut held = Certificate::default();
        held.evolve(&created, 1);
        assert!(held.key.is_some() && held.exists());
        held.evolve(&CertificateEvent::Deleted {}, 2);
        assert!(held.key.is_none() && !held.exists());
        let _: CertificateId = id("web");
    }
}
