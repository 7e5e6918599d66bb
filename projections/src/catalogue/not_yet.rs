//! A kind that relations lead to and that no event makes a row of yet. So conditions over it are legal and none holds
//! but `=null`: what existing clients ask is answered as of a system that has none.

use super::Ty::*;
use super::{CHANGED, CREATED, Kind, UUID, f, indexed, one};

/// A volume of a VM.
pub static VOLUME: Kind = Kind {
    name: "volume",
    queries: &[],
    fields: &[
        UUID,
        indexed("name", Text),
        f("description", Text),
        f("primaryStorageUuid", Uuid),
        indexed("vmInstanceUuid", Uuid),
        f("rootImageUuid", Uuid),
        f("installPath", Text),
        f("type", Text),
        f("format", Text),
        f("size", Int),
        f("deviceId", Int),
        f("state", Text),
        f("status", Text),
        CREATED,
        CHANGED,
    ],
    relations: &[
        one("vmInstance", "vm", "vmInstanceUuid"),
        one("virtualRouter", "virtualRouter", "vmInstanceUuid"),
        one("rootImage", "image", "rootImageUuid"),
    ],
};
