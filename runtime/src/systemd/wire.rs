//! D-Bus messages as bytes: the calls that we make, the answers and signals that
//! we read. dbus-specification, "Message Protocol".
//!
//! Pure. Nothing that is received is trusted: lengths are checked before use.
#![forbid(unsafe_code)]

use super::properties::Property;
use super::variant::Value;

/// Answers are short; a peer can't make us keep more.
const MOST: usize = 1 << 20;
const FIXED: usize = 16;

pub(super) const METHOD_RETURN: u8 = 2;
pub(super) const ERROR: u8 = 3;
pub(super) const SIGNAL: u8 = 4;

/// A method of an object of somebody's, and its arguments.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) destination: &'static str,
    pub(super) path: &'static str,
    pub(super) interface: &'static str,
    pub(super) member: &'static str,
    pub(super) arguments: Arguments,
}

/// Bytes that are aligned by their distance from the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Arguments {
    signature: String,
    bytes: Vec<u8>,
}

impl Arguments {
    pub(super) fn text(mut self, text: &str) -> Arguments {
        self.signature.push('s');
        self.put_text(text);
        self
    }

    pub(super) fn bool(mut self, value: bool) -> Arguments {
        self.signature.push('b');
        self.put_u32(u32::from(value));
        self
    }

    pub(super) fn texts(mut self, all: &[&str]) -> Arguments {
        self.signature.push_str("as");
        self.array(4, |out| all.iter().for_each(|text| out.put_text(text)));
        self
    }

    /// `a(sv)`
    pub(super) fn properties(mut self, all: &[Property]) -> Arguments {
        self.signature.push_str("a(sv)");
        self.array(8, |out| {
            for property in all {
                out.align(8);
                out.put_text(&property.name);
                out.put_variant(&property.value);
            }
        });
        self
    }

    /// `a(sa(sv))` without any: the units that come along.
    pub(super) fn no_units(mut self) -> Arguments {
        self.signature.push_str("a(sa(sv))");
        self.array(8, |_| {});
        self
    }

    fn align(&mut self, to: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(to), 0);
    }

    fn put_u32(&mut self, value: u32) {
        self.align(4);
        self.bytes.extend(value.to_le_bytes());
    }

    fn put_u64(&mut self, value: u64) {
        self.align(8);
        self.bytes.extend(value.to_le_bytes());
    }

    fn put_text(&mut self, text: &str) {
        self.put_u32(u32::try_from(text.len()).unwrap_or(u32::MAX)); // bounded by config.json
        self.bytes.extend(text.as_bytes());
        self.bytes.push(0);
    }

    fn put_signature(&mut self, signature: &str) {
        self.bytes
            .push(u8::try_from(signature.len()).unwrap_or(u8::MAX)); // our own
        self.bytes.extend(signature.as_bytes());
        self.bytes.push(0);
    }

    /// The length, which doesn't count the padding before the first element.
    fn array(&mut self, alignment: usize, fill: impl FnOnce(&mut Arguments)) {
        self.put_u32(0);
        let length_at = self.bytes.len() - 4;
        self.align(alignment);
        let begin = self.bytes.len();
        fill(self);
        let length = u32::try_from(self.bytes.len() - begin).unwrap_or(u32::MAX);
        self.bytes[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
    }

    fn put_variant(&mut self, value: &Value) {
        self.put_signature(value.signature());
        match value {
            Value::Bool(value) => self.put_u32(u32::from(*value)),
            Value::I32(value) => self.put_u32(value.cast_unsigned()),
            Value::U32(value) => self.put_u32(*value),
            Value::I64(value) => self.put_u64(value.cast_unsigned()),
            Value::U64(value) => self.put_u64(*value),
            Value::Text(text) => self.put_text(text),
            Value::Texts(all) => {
                self.array(4, |out| all.iter().for_each(|text| out.put_text(text)));
            }
            Value::Bytes(bytes) => self.array(1, |out| out.bytes.extend(bytes)),
            Value::Pids(all) => self.array(4, |out| all.iter().for_each(|pid| out.put_u32(*pid))),
        }
    }

    /// One field of a header: its number and a variant.
    fn field(&mut self, number: u8, signature: &str, value: &str) {
        self.align(8);
        self.bytes.push(number);
        self.put_signature(signature);
        match signature {
            "g" => self.put_signature(value),
            _ => self.put_text(value),
        }
    }
}

impl Call {
    /// The whole message.
    pub(super) fn encode(&self, serial: u32) -> Vec<u8> {
        let body = &self.arguments;
        let mut out = Arguments::default();
        out.bytes.extend([b'l', 1, 0, 1]);
        out.put_u32(u32::try_from(body.bytes.len()).unwrap_or(u32::MAX));
        out.put_u32(serial);
        out.array(8, |out| {
            out.field(1, "o", self.path);
            out.field(2, "s", self.interface);
            out.field(3, "s", self.member);
            out.field(6, "s", self.destination);
            if !body.signature.is_empty() {
                out.field(8, "g", &body.signature);
            }
        });
        out.align(8);
        out.bytes.extend(&body.bytes);
        out.bytes
    }
}

/// A message that came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) kind: u8,
    /// The call that it answers.
    pub(super) answers: u32,
    pub(super) member: String,
    pub(super) error: String,
    big: bool,
    body: Vec<u8>,
}

/// What can't be a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// The first message in `bytes`, and its length; `None` while it is incomplete.
pub(super) fn decode(bytes: &[u8]) -> Result<Option<(Message, usize)>, Malformed> {
    let Some(fixed) = bytes.get(..FIXED) else {
        return Ok(None);
    };
    let big = match fixed[0] {
        b'l' => false,
        b'B' => true,
        _ => return Err(Malformed),
    };
    let mut reader = Reader {
        bytes: fixed,
        at: 4,
        big,
    };
    let (body, _serial, fields) = (reader.u32()?, reader.u32()?, reader.u32()?);
    let header = FIXED.saturating_add(fields as usize).next_multiple_of(8);
    let whole = header.saturating_add(body as usize);
    if fixed[3] != 1 || whole > MOST {
        return Err(Malformed);
    }
    let Some(all) = bytes.get(..whole) else {
        return Ok(None);
    };
    let mut message = Message {
        kind: fixed[1],
        big,
        body: all[header..].to_vec(),
        ..Message::default()
    };
    let end = FIXED + fields as usize;
    let mut reader = Reader {
        bytes: &all[..end],
        at: FIXED,
        big,
    };
    while reader.at < end {
        reader.field(&mut message)?;
    }
    Ok(Some((message, whole)))
}

impl Message {
    /// To read its arguments, of which the caller knows the types.
    pub(super) fn reader(&self) -> Reader<'_> {
        Reader {
            bytes: &self.body,
            at: 0,
            big: self.big,
        }
    }

    /// What an error says beside its name.
    pub(super) fn text(&self) -> String {
        self.reader()
            .text()
            .unwrap_or_default()
            .replace(char::is_control, " ")
    }
}

#[derive(Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    big: bool,
}

impl<'a> Reader<'a> {
    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let end = self.at.checked_add(count).ok_or(Malformed)?;
        let taken = self.bytes.get(self.at..end).ok_or(Malformed)?;
        self.at = end;
        Ok(taken)
    }

    fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(self.take(1)?[0])
    }

    pub(super) fn u32(&mut self) -> Result<u32, Malformed> {
        self.align(4);
        let bytes = self.take(4)?.try_into().map_err(|_| Malformed)?;
        Ok(if self.big {
            u32::from_be_bytes(bytes)
        } else {
            u32::from_le_bytes(bytes)
        })
    }

    /// A string, or the path of an object.
    pub(super) fn text(&mut self) -> Result<String, Malformed> {
        let length = self.u32()? as usize;
        self.chars(length)
    }

    fn chars(&mut self, length: usize) -> Result<String, Malformed> {
        let text = self.take(length)?;
        if self.u8()? != 0 {
            return Err(Malformed);
        }
        String::from_utf8(text.to_vec()).map_err(|_| Malformed)
    }

    /// Before the first structure of an array: is there one?
    pub(super) fn has_structures(&mut self) -> Result<bool, Malformed> {
        let length = self.u32()?;
        self.align(8);
        Ok(length > 0)
    }

    fn field(&mut self, message: &mut Message) -> Result<(), Malformed> {
        self.align(8);
        let number = self.u8()?;
        let length = self.u8()?;
        let signature = self.chars(usize::from(length))?;
        match (number, signature.as_str()) {
            (3, "s") => message.member = self.text()?,
            (4, "s") => message.error = self.text()?,
            (5, "u") => message.answers = self.u32()?,
            (_, "o" | "s") => drop(self.text()?),
            (_, "u") => drop(self.u32()?),
            (_, "g") => {
                let length = self.u8()?;
                drop(self.chars(usize::from(length))?);
            }
            // There are no fields of other types.
            _ => return Err(Malformed),
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests;
