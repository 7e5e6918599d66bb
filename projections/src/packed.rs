//! A row in little memory: what the bulk rebuild keeps of every row that there is.
//!
//! ```text
//!  value ...          each: tag, then
//!    null
//!    number           8 bytes
//!    uuid             16 bytes: a text of 32 lower-case hexadecimal digits
//!    text             length (LEB128) and bytes
//!    list             the same, as the JSON array that is in SQL
//! ```
//! **Invariant:** what is bound to a statement from here is what [`Val`] would have bound.

use crate::fold::Row;
use crate::value::{Val, json_array};
use rusqlite::Statement;
use rusqlite::types::{ToSqlOutput, ValueRef};
use switchback_events::Id;

const NULL: u8 = 0;
const NUMBER: u8 = 1;
const UUID: u8 = 2;
const TEXT: u8 = 3;
const LIST: u8 = 4;
/// The hexadecimal digits of an id.
const ID_DIGITS: usize = 32;

/// The values of one row, one after the other.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Packed(Box<[u8]>);

/// One value, still packed.
#[derive(Clone, Copy)]
enum Piece<'a> {
    Null,
    Number(i64),
    Uuid(Id),
    /// In UTF-8, as everything that was packed.
    Text(&'a [u8]),
    List(&'a [u8]),
}

impl Packed {
    /// Packs the values of `row`.
    pub fn of(row: &Row) -> Packed {
        let mut bytes = Vec::with_capacity(row.values.len() * 12);
        row.values.iter().for_each(|value| pack(&mut bytes, value));
        Packed(bytes.into())
    }

    /// The row.
    pub fn row(&self) -> Row {
        let value = |(piece, _)| match piece {
            Piece::Null => Val::Null,
            Piece::Number(number) => Val::Int(number),
            Piece::Uuid(id) => Val::from(id),
            Piece::Text(text) => Val::Text(String::from_utf8_lossy(text).into()),
            Piece::List(json) => Val::List(serde_json::from_slice(json).unwrap_or_default()),
        };
        Row { values: Pieces(&self.0).map(value).collect() }
    }

    /// The row with other `values` in some columns.
    pub fn with(&self, values: &[(usize, Val)]) -> Packed {
        let mut bytes = Vec::with_capacity(self.0.len() + 32);
        for (column, (_, raw)) in Pieces(&self.0).enumerate() {
            match values.iter().find(|(changed, _)| *changed == column) {
                Some((_, value)) => pack(&mut bytes, value),
                None => bytes.extend_from_slice(raw),
            }
        }
        Packed(bytes.into())
    }

    /// The value in `column` as a key, if it is text.
    pub fn key(&self, column: usize) -> Option<Id> {
        match Pieces(&self.0).nth(column)?.0 {
            Piece::Uuid(id) => Some(id),
            Piece::Text(text) => Some(key(&String::from_utf8_lossy(text))),
            _ => None,
        }
    }

    /// Binds all values to `statement`, from the parameter `first` on. Gives the parameter after the last.
    pub fn bind(&self, statement: &mut Statement<'_>, first: usize) -> rusqlite::Result<usize> {
        let mut parameter = first;
        for (piece, _) in Pieces(&self.0) {
            let mut digits = [0; 32];
            let value = match piece {
                Piece::Null => ValueRef::Null,
                Piece::Number(number) => ValueRef::Integer(number),
                Piece::Uuid(id) => ValueRef::Text(hexadecimal(id, &mut digits)),
                Piece::Text(text) | Piece::List(text) => ValueRef::Text(text),
            };
            statement.raw_bind_parameter(parameter, ToSqlOutput::Borrowed(value))?;
            parameter += 1;
        }
        Ok(parameter)
    }
}

/// What a row, or what refers to it, is found by: its uuid, or a digest of what is no uuid.
pub(crate) fn key(uuid: &str) -> Id {
    uuid.parse().unwrap_or_else(|_| Id::of_name(uuid))
}

fn hexadecimal(id: Id, digits: &mut [u8; 32]) -> &[u8] {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for (at, byte) in id.0.iter().enumerate() {
        digits[at * 2] = HEX[usize::from(byte >> 4)];
        digits[at * 2 + 1] = HEX[usize::from(byte & 15)];
    }
    digits
}

fn pack(bytes: &mut Vec<u8>, value: &Val) {
    match value {
        Val::Null => bytes.push(NULL),
        Val::Int(number) => {
            bytes.push(NUMBER);
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        // The length first: a text that is refused as an id is copied into the refusal.
        Val::Text(text) => match Some(text).filter(|text| text.len() == ID_DIGITS).and_then(|text| text.parse().ok()) {
            Some(Id(id)) => {
                bytes.push(UUID);
                bytes.extend_from_slice(&id);
            }
            None => pack_text(bytes, TEXT, text),
        },
        Val::List(members) => pack_text(bytes, LIST, &json_array(members)),
    }
}

fn pack_text(bytes: &mut Vec<u8>, tag: u8, text: &str) {
    bytes.push(tag);
    let mut left = text.len();
    while left > 0x7f {
        bytes.push(left as u8 | 0x80);
        left >>= 7;
    }
    bytes.push(left as u8);
    bytes.extend_from_slice(text.as_bytes());
}

/// The values from the front, each with the bytes that it takes.
struct Pieces<'a>(&'a [u8]);

impl<'a> Iterator for Pieces<'a> {
    type Item = (Piece<'a>, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let whole = self.0;
        let mut rest = whole;
        let tag = take(&mut rest, 1)?[0];
        let piece = match tag {
            NUMBER => Piece::Number(i64::from_le_bytes(take(&mut rest, 8)?.try_into().ok()?)),
            UUID => Piece::Uuid(Id(take(&mut rest, 16)?.try_into().ok()?)),
            TEXT => Piece::Text(take_text(&mut rest)?),
            LIST => Piece::List(take_text(&mut rest)?),
            _ => Piece::Null,
        };
        self.0 = rest;
        Some((piece, &whole[..whole.len() - rest.len()]))
    }
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(taken)
}

fn take_text<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (mut length, mut shift) = (0_usize, 0);
    loop {
        let byte = take(bytes, 1)?[0];
        length |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
    }
    take(bytes, length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_comes_out_as_it_went_in() {
        let long = "ü".repeat(40_000);
        let texts = ["", "web-1", "0123456789abcdef0123456789abcdef", "0123456789ABCDEF0123456789abcdef", &long];
        let mut values: Vec<Val> = texts.iter().map(|text| Val::from(*text)).collect();
        values.extend([Val::Null, Val::Int(i64::MIN), Val::List(vec![]), Val::List(vec!["a\"".into(), "".into()])]);
        let row = Row { values };
        let packed = Packed::of(&row);
        assert_eq!(packed.row(), row);
        let changes = [(0, Val::Int(7)), (6, Val::from("x")), (8, Val::Null)];
        let mut changed = row.clone();
        changes.iter().for_each(|(column, value)| changed.values[*column] = value.clone());
        assert_eq!(packed.with(&changes).row(), changed);
        assert_eq!(packed.key(2), Some(Id(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef_u128.to_be_bytes())));
        assert_eq!((packed.key(5), packed.key(99)), (None, None));
    }
}
