//! Bytes to a JSON value, within bounds: no name twice in an object, and not more values, or text, than any
//! container needs. Pure.

use crate::error::Error;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;

/// The most values that a configuration may have, names too; engines write two or three thousand. Two bytes
/// of JSON are a value, which takes 32 in memory, and in later forms some hundreds: without a bound, the
/// largest config.json would cost sixteen times its length, and minutes where values are compared.
const MOST_VALUES: usize = 1 << 15;

/// The most bytes of text in it, names too. Texts are kept in several forms at once, from the file to init's
/// program and the state record; all the text of an engine's configuration is some tens of KiB.
const MOST_TEXT: usize = 4 << 20;

/// An object has room for several members from the first one on.
const OBJECT: usize = 4;

/// What is told of a name that is somebody's own.
const LONGEST_NAME: usize = 64;

/// A JSON object in which no object has a name twice. Errors are told at `path`.
pub(crate) fn strict(json: &[u8], path: &str) -> Result<Value, Error> {
    let mut bounds = Bounds {
        values: MOST_VALUES,
        text: MOST_TEXT,
        over: None,
        place: Vec::new(),
    };
    let mut input = serde_json::Deserializer::from_slice(json);
    let read = bounds.deserialize(&mut input);
    let value = read.and_then(|value| input.end().map(|()| value));
    let value = value.map_err(|error| bounds.tell(&error, path))?;
    if !value.is_object() {
        return Err(Error::config(path, "is not an object"));
    }
    Ok(value)
}

/// What may still come. Where it runs out, `over` says of what, and `place` has the steps from there up to the whole.
struct Bounds {
    values: usize,
    text: usize,
    over: Option<String>,
    place: Vec<String>,
}

impl Bounds {
    fn take_values<E: serde::de::Error>(&mut self, count: usize) -> Result<(), E> {
        match self.values.checked_sub(count) {
            Some(left) => {
                self.values = left;
                Ok(())
            }
            None => Err(self.end(format!("more than {MOST_VALUES} values"))),
        }
    }

    fn take_text<E: serde::de::Error>(&mut self, text: &str) -> Result<(), E> {
        match self.text.checked_sub(text.len()) {
            Some(left) => {
                self.text = left;
                Ok(())
            }
            None => Err(self.end(format!("more than {MOST_TEXT} bytes of text"))),
        }
    }

    fn end<E: serde::de::Error>(&mut self, what: String) -> E {
        self.over = Some(what);
        E::custom("too much") // told by `tell`
    }

    /// On the way up from an error: it happened below this step.
    fn below<E: fmt::Display>(&mut self, step: impl FnOnce() -> String, error: E) -> E {
        if self.over.is_some() {
            self.place.push(step());
        }
        error
    }

    fn tell(&self, error: &serde_json::Error, path: &str) -> Error {
        let Some(over) = &self.over else {
            return Error::config(path, error.to_string());
        };
        let place: String = self.place.iter().rev().map(String::as_str).collect();
        let place = place.trim_start_matches('.');
        Error::config(path, format!("{over}, the last at {place}"))
    }
}

fn member(name: &str) -> String {
    let plain = name.chars().filter(|letter| !letter.is_control());
    format!(".{}", plain.take(LONGEST_NAME).collect::<String>())
}

impl<'de> DeserializeSeed<'de> for &mut Bounds {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.take_values(1)?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut Bounds {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Value, E> {
        self.take_text(value)?;
        Ok(value.into())
    }

    fn visit_string<E: serde::de::Error>(self, value: String) -> Result<Value, E> {
        self.take_text(&value)?;
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        loop {
            match items.next_element_seed(&mut *self) {
                Ok(Some(item)) => list.push(item),
                Ok(None) => return Ok(Value::Array(list)),
                Err(error) => return Err(self.below(|| format!("[{}]", list.len()), error)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            self.take_values(if map.is_empty() { OBJECT + 1 } else { 1 })?;
            self.take_text(&name)?;
            if map.contains_key(&name) {
                return Err(A::Error::custom(format!("duplicate name {name:?}")));
            }
            match members.next_value_seed(&mut *self) {
                Ok(value) => map.insert(name, value),
                Err(error) => return Err(self.below(|| member(&name), error)),
            };
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(json: &str, path: &str) -> String {
        strict(json.as_bytes(), path).unwrap_err().to_string()
    }

    #[test]
    fn a_name_twice_is_told_where_it_is() {
        let twice = refused(r#"{"user":{"uid":0,"uid":1}}"#, "process");
        assert!(twice.starts_with("process: duplicate name \"uid\""));
        assert_eq!(refused("7", "process"), "process: is not an object");
        assert!(refused("{} x", "process").starts_with("process: trailing characters"));
    }

    #[test]
    fn where_there_is_too_much() {
        let list = |item: &str, count: usize| vec![item; count].join(",");
        let check = |json: &str, path: &str, place: &str| {
            let expect = format!("{path}: more than 32768 values, the last at {place}");
            assert_eq!(refused(json, path), expect);
        };
        let args = format!(r#"{{"args":[{}]}}"#, list("0", MOST_VALUES));
        check(&args, "process", "args[32761]");
        let deep = format!(
            r#"{{"a":1,"linux":{{"b\u0000\n":[[],{}]}}}}"#,
            list(r#"{"a":0}"#, MOST_VALUES / 6)
        );
        check(&deep, "config.json", "linux.b[4679].a");
        check(
            &format!("[{}]", list("[]", MOST_VALUES)),
            "config.json",
            "[32767]",
        );
        let long = |length: usize| format!(r#"{{"a":[0,"{}"]}}"#, "x".repeat(length));
        assert!(strict(long(MOST_TEXT - 1).as_bytes(), "config.json").is_ok());
        assert_eq!(
            refused(&long(MOST_TEXT), "config.json"),
            "config.json: more than 4194304 bytes of text, the last at a[1]"
        );
        // The last that fits, and what is wrong there is still told as it is.
        let whole = format!(r#"{{"a":[{}]}}"#, list("0", MOST_VALUES - 7));
        assert!(strict(whole.as_bytes(), "config.json").is_ok());
        let broken = format!(r#"{{"a":[{}]}}}}"#, list("0", MOST_VALUES - 7));
        assert!(refused(&broken, "config.json").starts_with("config.json: trailing characters"));
    }
}
