//! Upcasters: how a payload of an earlier schema version becomes one of today's. Events are written once and
//! read forever, so a step here is never changed once released; golden bytes of each are in `fixtures/`.

use crate::{CodecError, StreamKind};
use std::borrow::Cow;

/// The schema version that is written today for the events of `stream`.
pub const fn current(_stream: StreamKind) -> u16 {
    1
}

/// Brings `payload` from `schema` to today's version.
///
/// # Errors
/// [`CodecError::Newer`] for a version above today's.
pub fn to_current(stream: StreamKind, schema: u16, payload: &[u8]) -> Result<Cow<'_, [u8]>, CodecError> {
    let known = current(stream);
    if schema > known || schema == 0 {
        return Err(CodecError::Newer { stream: stream.stem(), found: schema, known });
    }
    Ok(Cow::Borrowed(payload))
}
