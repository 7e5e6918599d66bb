//! Upcasters: how a payload of an earlier schema version becomes one of today's. Events are written once and
//! read forever, so a step here is never changed once released; golden bytes of each version are in `fixtures/`.
//!
//! A new version of a concept's events is one line in [`STEPS`]: from which version, and how its payload becomes one
//! of the next. What is written is then of the next version by itself.

use crate::{CodecError, StreamKind};
use std::borrow::Cow;

/// Makes a payload of the next version.
type Upcast = fn(&[u8]) -> Result<Vec<u8>, CodecError>;

/// One step: from this version of the events of this concept to the next.
type Step = (StreamKind, u16, Upcast);

/// All steps ever, those of a concept in order.
const STEPS: &[Step] = &[
    // A host's state may also be PreMaintenance or Maintenance.
    (StreamKind::Host, 1, same),
    // A VM may lose a nic.
    (StreamKind::VmInstance, 1, same),
    // A range may have a cursor, and reserved addresses.
    (StreamKind::IpRange, 1, same),
    // Addresses may be reserved.
    (StreamKind::L3Network, 1, same),
    // A range may be one of IPv6, and its addresses are of either family; so are reserved ones. A network may have host
    // routes and an MTU, and no address management.
    (StreamKind::IpRange, 2, same),
    (StreamKind::L3Network, 2, same),
    // A nic has an address of each family; the one that it had is read as one of them.
    (StreamKind::VmInstance, 2, same),
    (StreamKind::Router, 1, same),
    // A tag may be changed.
    (StreamKind::TagSet, 1, same),
    // Providers of network services come and go, and the VLAN may change.
    (StreamKind::L2Network, 1, same),
    // What the programs of a VM are told may change.
    (StreamKind::VmInstance, 3, same),
    // An account may have access keys and API tokens.
    (StreamKind::Account, 1, same),
    // A VIP may hold an address: it has no nic, which is nil then.
    (StreamKind::IpRange, 3, same),
    // A nic may be in security groups.
    (StreamKind::VmInstance, 4, same),
    // A router may be replaced.
    (StreamKind::Router, 2, same),
    // A VIP's traffic may have limits.
    (StreamKind::Vip, 1, same),
    // What was found of a router or host may differ from its configuration; a router's services may be unwell.
    (StreamKind::Router, 3, same),
    (StreamKind::Host, 2, same),
    // Hosts may serve a network at an address of its own.
    (StreamKind::L3Network, 3, same),
    // A listener may go by access control lists.
    (StreamKind::LoadBalancer, 1, same),
    // A router may be replaced on another host.
    (StreamKind::Router, 4, same),
    // A VM may have a password to take.
    (StreamKind::VmInstance, 5, same),
];

/// What was written before is still read: a variant came, or the reader knows both forms.
fn same(payload: &[u8]) -> Result<Vec<u8>, CodecError> {
    Ok(payload.to_vec())
}

/// The schema version that is written today for the events of `stream`.
pub fn current(stream: StreamKind) -> u16 {
    newest(STEPS, stream)
}

/// Brings `payload` from `schema` to today's version.
///
/// # Errors
/// [`CodecError::Newer`] for a version above today's; [`CodecError::Decode`] for bytes that are no such event.
pub fn to_current(stream: StreamKind, schema: u16, payload: &[u8]) -> Result<Cow<'_, [u8]>, CodecError> {
    climb(STEPS, stream, schema, payload)
}

/// Whether this program knows version `schema` of the events of `stream`.
///
/// # Errors
/// [`CodecError::Newer`] for one above today's.
pub fn check(stream: StreamKind, schema: u16) -> Result<(), CodecError> {
    known(STEPS, stream, schema)
}

fn known(steps: &[Step], stream: StreamKind, schema: u16) -> Result<(), CodecError> {
    match newest(steps, stream) {
        known if schema > known || schema == 0 => {
            Err(CodecError::Newer { stream: stream.stem(), found: schema, known })
        }
        _ => Ok(()),
    }
}

fn newest(steps: &[Step], stream: StreamKind) -> u16 {
    steps.iter().filter(|(of, ..)| *of == stream).map(|(_, from, _)| from + 1).max().unwrap_or(1)
}

fn climb<'p>(steps: &[Step], stream: StreamKind, schema: u16, payload: &'p [u8]) -> Result<Cow<'p, [u8]>, CodecError> {
    known(steps, stream, schema)?;
    let mut payload = Cow::Borrowed(payload);
    for (_, _, upcast) in steps.iter().filter(|(of, from, _)| *of == stream && *from >= schema) {
        payload = Cow::Owned(upcast(&payload)?);
    }
    Ok(payload)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::{Deserialize, Serialize, de::DeserializeOwned};

    /// A lamp as it was first written, and how it changed since: the colour came, then watts became milliwatts.
    #[derive(Serialize, Deserialize)]
    enum LampV1 {
        Lit { watts: u32 },
    }
    #[derive(Serialize, Deserialize)]
    enum LampV2 {
        Lit { watts: u32, colour: String },
    }
    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    enum Lamp {
        Lit { milliwatts: u64, colour: String },
    }

    const LAMP: StreamKind = StreamKind::Image;
    const LAMPS: &[Step] = &[
        (LAMP, 1, |payload| {
            let LampV1::Lit { watts } = read(payload)?;
            write(&LampV2::Lit { watts, colour: "white".to_string() })
        }),
        (StreamKind::Zone, 1, |_| panic!("a step of another concept")),
        (LAMP, 2, |payload| {
            let LampV2::Lit { watts, colour } = read(payload)?;
            write(&Lamp::Lit { milliwatts: u64::from(watts) * 1000, colour })
        }),
    ];

    fn read<T: DeserializeOwned>(payload: &[u8]) -> Result<T, CodecError> {
        Ok(rmp_serde::from_slice(payload)?)
    }

    fn write<T: Serialize>(event: &T) -> Result<Vec<u8>, CodecError> {
        Ok(rmp_serde::to_vec_named(event)?)
    }

    #[test]
    fn a_payload_of_any_earlier_version_becomes_one_of_today() {
        let first = write(&LampV1::Lit { watts: 40 }).unwrap();
        let second = write(&LampV2::Lit { watts: 7, colour: "red".to_string() }).unwrap();
        let third = write(&Lamp::Lit { milliwatts: 5, colour: "blue".to_string() }).unwrap();
        let cases = [(1, first, 40_000, "white"), (2, second, 7_000, "red"), (3, third, 5, "blue")];
        for (schema, payload, milliwatts, colour) in cases {
            let lamp: Lamp = read(&climb(LAMPS, LAMP, schema, &payload).unwrap()).unwrap();
            assert_eq!(lamp, Lamp::Lit { milliwatts, colour: colour.to_string() }, "version {schema}");
        }
        assert_eq!((newest(LAMPS, LAMP), newest(LAMPS, StreamKind::Zone), newest(LAMPS, StreamKind::Host)), (3, 2, 1));
    }

    #[test]
    fn a_version_of_tomorrow_is_refused_and_not_guessed_at() {
        for schema in [0, 4, u16::MAX] {
            let error = climb(LAMPS, LAMP, schema, &[]).unwrap_err();
            assert!(matches!(error, CodecError::Newer { found, known: 3, .. } if found == schema), "{error}");
        }
        let error = climb(LAMPS, LAMP, 1, b"no lamp").unwrap_err();
        assert!(matches!(error, CodecError::Decode(_)), "{error}");
    }

    #[test]
    fn the_steps_of_each_concept_leave_nothing_out() {
        for (at, (stream, from, _)) in STEPS.iter().enumerate() {
            assert_eq!(*from, newest(&STEPS[..at], *stream), "{}", stream.stem());
        }
    }
}
