//! The rows of certificates. There is nothing of their keys.

use crate::catalogue::CERTIFICATE;
use crate::fold::RowChange;
use switchback_events::{CertificateEvent, Id};

pub(crate) fn changes(id: Id, event: &CertificateEvent) -> Vec<RowChange> {
    vec![match event {
        CertificateEvent::Created { name, description, chain, digest: _, key: _ } => {
            RowChange::insert(&CERTIFICATE, id)
                .put("name", name)
                .put("description", description.as_deref())
                .put("certificate", chain)
        }
        CertificateEvent::Updated { name, description } => RowChange::set(&CERTIFICATE, id)
            .put_some("name", name.as_ref())
            .put_some("description", description.as_ref()),
        CertificateEvent::Deleted {} => RowChange::delete(&CERTIFICATE, id),
    }]
}
