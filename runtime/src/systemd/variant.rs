//! Values of properties as annotations write them: GVariant text, of a few types.
//!
//! Pure. What is not on the list is refused: each type is one that a property of
//! a scope has and that can't nest.
#![forbid(unsafe_code)]

/// A value of a property, or of an argument of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Bool(bool),
    I32(i32),
    U32(u32),
    I64(i64),
    U64(u64),
    Text(String),
    Texts(Vec<String>),
    Bytes(Vec<u8>),
    Pids(Vec<u32>),
}

/// An annotation is some words; nobody has more.
const MOST: usize = 64 << 10;

/// Types by their signature and, where GVariant has one, their keyword.
const TYPES: [(&str, &str); 7] = [
    ("b", "boolean"),
    ("i", "int32"),
    ("u", "uint32"),
    ("x", "int64"),
    ("t", "uint64"),
    ("s", "string"),
    ("as", ""),
];

/// Reads a value; the error says what is wrong with it.
pub(crate) fn parse(text: &str) -> Result<Value, String> {
    if text.len() > MOST {
        return Err("is too long".to_owned());
    }
    let mut rest = Text { left: text.trim() };
    let kind = rest.kind()?;
    let value = rest.value(kind)?;
    match rest.left.trim_start() {
        "" => Ok(value),
        left => Err(format!("has more after its value: {left:?}")),
    }
}

struct Text<'a> {
    left: &'a str,
}

impl<'a> Text<'a> {
    fn take(&mut self, prefix: &str) -> bool {
        self.left = self.left.trim_start();
        let rest = self.left.strip_prefix(prefix);
        self.left = rest.unwrap_or(self.left);
        rest.is_some()
    }

    /// The word that is next.
    fn word(&mut self) -> &'a str {
        self.left = self.left.trim_start();
        let stop = |c: char| !(c.is_ascii_alphanumeric() || "+-.".contains(c));
        let end = self.left.find(stop).unwrap_or(self.left.len());
        let (word, left) = self.left.split_at(end);
        self.left = left;
        word
    }

    /// The type that is said, if one is.
    fn kind(&mut self) -> Result<Option<&'static str>, String> {
        if self.take("@") {
            let word = self.word();
            let known = TYPES.iter().find(|(signature, _)| *signature == word);
            let known = known.ok_or_else(|| format!("is of type {word:?}, which is not taken"))?;
            return Ok(Some(known.0));
        }
        let before = self.left;
        let word = self.word();
        let known = TYPES
            .iter()
            .find(|(_, keyword)| *keyword == word && !word.is_empty());
        if known.is_none() {
            self.left = before;
        }
        Ok(known.map(|(signature, _)| *signature))
    }

    fn value(&mut self, kind: Option<&str>) -> Result<Value, String> {
        self.left = self.left.trim_start();
        let found = match self.left.chars().next() {
            Some('\'' | '"') => Value::Text(self.string()?),
            Some('[') => Value::Texts(self.strings(kind.is_some())?),
            _ => match self.word() {
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                word => return number(word, kind.unwrap_or("i")),
            },
        };
        match kind {
            Some(kind) if kind != found.signature() => Err(format!("is no value of type {kind:?}")),
            _ => Ok(found),
        }
    }

    fn strings(&mut self, typed: bool) -> Result<Vec<String>, String> {
        let mut all = Vec::new();
        self.take("[");
        while !self.take("]") {
            if !all.is_empty() && !self.take(",") {
                return Err("has an array without an end".to_owned());
            }
            self.left = self.left.trim_start();
            all.push(self.string()?);
        }
        if all.is_empty() && !typed {
            return Err("is an empty array of no type".to_owned());
        }
        Ok(all)
    }

    fn string(&mut self) -> Result<String, String> {
        let mut characters = self.left.chars();
        let quote = characters.next().filter(|quote| "'\"".contains(*quote));
        let quote = quote.ok_or("is an array of something else than strings")?;
        let mut text = String::new();
        loop {
            let next = match characters.next() {
                Some(end) if end == quote => break,
                Some('\\') => escaped(&mut characters),
                other => other,
            };
            match next {
                None => return Err("has a string without an end".to_owned()),
                Some('\0') => return Err("has a string with a NUL character".to_owned()),
                Some(character) => text.push(character),
            }
        }
        self.left = characters.as_str();
        Ok(text)
    }
}

/// What a backslash and what follows it stand for.
fn escaped(characters: &mut std::str::Chars<'_>) -> Option<char> {
    match characters.next()? {
        'u' => code_point(characters, 4),
        'U' => code_point(characters, 8),
        'n' => Some('\n'),
        't' => Some('\t'),
        'r' => Some('\r'),
        'a' => Some('\x07'),
        'b' => Some('\x08'),
        'f' => Some('\x0c'),
        'v' => Some('\x0b'),
        other => Some(other),
    }
}

fn code_point(characters: &mut std::str::Chars<'_>, digits: usize) -> Option<char> {
    let hex: String = characters.take(digits).collect();
    // from_str_radix would take a sign, too.
    let plain = hex.len() == digits && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = u32::from_str_radix(&hex, 16).ok().filter(|_| plain)?;
    char::from_u32(number)
}

fn number(word: &str, kind: &str) -> Result<Value, String> {
    let refused = || format!("has {word:?}, which is no value of type {kind:?}");
    let (negative, digits) = match word.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, word.strip_prefix('+').unwrap_or(word)),
    };
    let (digits, base) = match digits {
        hex if hex.starts_with("0x") => (&hex[2..], 16),
        octal if octal.starts_with('0') && octal.len() > 1 => (&octal[1..], 8),
        decimal => (decimal, 10),
    };
    // from_str_radix would take a sign of its own.
    if !digits.starts_with(|first: char| first.is_ascii_hexdigit()) {
        return Err(refused());
    }
    let number = i128::from_str_radix(digits, base).map_err(|_| refused())?;
    let number = if negative { -number } else { number };
    let value = match kind {
        "i" => i32::try_from(number).map(Value::I32).ok(),
        "u" => u32::try_from(number).map(Value::U32).ok(),
        "x" => i64::try_from(number).map(Value::I64).ok(),
        "t" => u64::try_from(number).map(Value::U64).ok(),
        _ => None,
    };
    value.ok_or_else(refused)
}

impl Value {
    /// Its type. dbus-specification, "Type system".
    pub(crate) fn signature(&self) -> &'static str {
        match self {
            Value::Bool(_) => "b",
            Value::I32(_) => "i",
            Value::U32(_) => "u",
            Value::I64(_) => "x",
            Value::U64(_) => "t",
            Value::Text(_) => "s",
            Value::Texts(_) => "as",
            Value::Bytes(_) => "ay",
            Value::Pids(_) => "au",
        }
    }

    /// As a number that is not below zero.
    pub(crate) fn unsigned(&self) -> Option<u64> {
        match *self {
            Value::I32(number) => u64::try_from(number).ok(),
            Value::U32(number) => Some(u64::from(number)),
            Value::I64(number) => u64::try_from(number).ok(),
            Value::U64(number) => Some(number),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        let text = |text: &str| Value::Text(text.to_owned());
        let texts = |all: &[&str]| Value::Texts(all.iter().map(|s| (*s).to_owned()).collect());
        for (written, value) in [
            ("true", Value::Bool(true)),
            (" boolean false ", Value::Bool(false)),
            ("@b true", Value::Bool(true)),
            ("5", Value::I32(5)),
            ("-5", Value::I32(-5)),
            ("0x1F", Value::I32(31)),
            ("010", Value::I32(8)),
            ("uint32 5", Value::U32(5)),
            ("@u 5", Value::U32(5)),
            ("int64 -9223372036854775808", Value::I64(i64::MIN)),
            ("uint64 18446744073709551615", Value::U64(u64::MAX)),
            ("@t 0", Value::U64(0)),
            ("'a b'", text("a b")),
            ("\"it's\"", text("it's")),
            (
                r"'a\'b\u00e9\U0001F600\n\\'",
                text("a'b\u{e9}\u{1F600}\n\\"),
            ),
            ("@s ''", text("")),
            ("string 'x'", text("x")),
            ("['a', \"b\"]", texts(&["a", "b"])),
            ("@as []", texts(&[])),
            ("['a',]", texts(&["a"])),
        ] {
            // GVariant takes no comma at the end.
            let expect = if written == "['a',]" {
                None
            } else {
                Some(value)
            };
            assert_eq!(parse(written).ok(), expect, "{written}");
        }
    }

    #[test]
    fn refused() {
        for written in [
            "",
            "x",
            "5 6",
            "true false",
            "[]",
            "[1]",
            "['a'",
            "['a' 'b']",
            "[['a']]",
            "'a",
            "'\\",
            r"'\u12'",
            r"'\u+123'",
            r"'\ud800'",
            r"'\u0000'",
            "'a\0b'",
            "uint32 -1",
            "uint32 4294967296",
            "2147483648",
            "int64 9223372036854775808",
            "uint64 'x'",
            "@s 5",
            "@as 'x'",
            "@a{sv} {}",
            "@ay [1]",
            "(1, 2)",
            "<'x'>",
            "{}",
            "just 5",
            "byte 5",
            "5.5",
            "--5",
            "0x",
            "+-5",
            "0x-5",
            "@",
            "string",
        ] {
            assert!(parse(written).is_err(), "{written}");
        }
        assert!(parse(&" ".repeat(MOST + 1)).is_err());
    }
}
