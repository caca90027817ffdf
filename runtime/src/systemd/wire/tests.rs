//! Bytes as the specification has them, and bytes as nobody sends them.

use super::*;

fn call(arguments: Arguments) -> Call {
    Call {
        destination: "d.d",
        path: "/p",
        interface: "i.i",
        member: "M",
        arguments,
    }
}

#[test]
fn a_call_byte_by_byte() {
    let bytes = call(Arguments::default().text("ab")).encode(7);
    let expect: &[u8] = b"l\x01\x00\x01\x07\x00\x00\x00\x07\x00\x00\x00\x47\x00\x00\x00\
        \x01\x01o\x00\x02\x00\x00\x00/p\x00\x00\x00\x00\x00\x00\
        \x02\x01s\x00\x03\x00\x00\x00i.i\x00\x00\x00\x00\x00\
        \x03\x01s\x00\x01\x00\x00\x00M\x00\x00\x00\x00\x00\x00\x00\
        \x06\x01s\x00\x03\x00\x00\x00d.d\x00\x00\x00\x00\x00\
        \x08\x01g\x00\x01s\x00\x00\
        \x02\x00\x00\x00ab\x00";
    assert_eq!(bytes, expect);
}

#[test]
fn arguments_byte_by_byte() {
    let property = |name: &str, value| Property {
        name: name.to_owned(),
        value,
    };
    let all = [
        property("A", Value::Bool(true)),
        property("B", Value::Pids(vec![7])),
        property("C", Value::U64(9)),
    ];
    let arguments = Arguments::default().properties(&all).no_units();
    assert_eq!(arguments.signature, "a(sv)a(sa(sv))");
    let expect: &[u8] = b"\x40\x00\x00\x00\x00\x00\x00\x00\
        \x01\x00\x00\x00A\x00\x01b\x00\x00\x00\x00\x01\x00\x00\x00\
        \x01\x00\x00\x00B\x00\x02au\x00\x00\x00\x04\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x00\
        \x01\x00\x00\x00C\x00\x01t\x00\x00\x00\x00\x00\x00\x00\x00\
        \x09\x00\x00\x00\x00\x00\x00\x00\
        \x00\x00\x00\x00\x00\x00\x00\x00";
    let text = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|byte| format!("{byte:02x} "))
            .collect::<String>()
    };
    assert_eq!(text(&arguments.bytes), text(expect));
}

/// What a manager would send: made by the same hand, with other fields.
pub(in super::super) fn message(
    kind: u8,
    fields: &[(u8, &str, &str)],
    answers: u32,
    body: &Arguments,
) -> Vec<u8> {
    let mut out = Arguments::default();
    out.bytes.extend([b'l', kind, 0, 1]);
    out.put_u32(u32::try_from(body.bytes.len()).unwrap());
    out.put_u32(99);
    out.array(8, |out| {
        for (number, signature, value) in fields {
            out.field(*number, signature, value);
        }
        out.align(8);
        out.bytes.push(5);
        out.put_signature("u");
        out.put_u32(answers);
    });
    out.align(8);
    out.bytes.extend(&body.bytes);
    out.bytes
}

/// The answer to ListUnitsByNames, as far as it is read.
pub(in super::super) fn units(description: &str, state: &str) -> Arguments {
    let mut out = Arguments::default();
    out.array(8, |out| {
        ["a.scope", description, "loaded", state]
            .iter()
            .for_each(|text| out.put_text(text))
    });
    out
}

impl Arguments {
    pub(in super::super) fn number(mut self, number: u32) -> Arguments {
        self.signature.push('u');
        self.put_u32(number);
        self
    }
}

#[test]
fn messages_are_read() {
    let body = Arguments::default()
        .number(5)
        .text("/job")
        .text("a.scope")
        .text("done");
    let fields = [
        (3, "s", "JobRemoved"),
        (7, "s", ":1.1"),
        (8, "g", "uoss"),
        (1, "o", "/x"),
    ];
    let bytes = message(SIGNAL, &fields, 0, &body);
    let (message, length) = decode(&[&bytes[..], b"rest"].concat()).unwrap().unwrap();
    assert_eq!(
        (length, message.kind, message.member.as_str()),
        (bytes.len(), SIGNAL, "JobRemoved")
    );
    let mut reader = message.reader();
    assert_eq!(reader.u32(), Ok(5));
    assert_eq!(reader.text().unwrap(), "/job");
    assert_eq!(reader.text().unwrap(), "a.scope");
    assert_eq!(reader.text().unwrap(), "done");
    assert_eq!(reader.text(), Err(Malformed));
    for end in 0..bytes.len() {
        assert_eq!(decode(&bytes[..end]), Ok(None), "{end}");
    }
}

#[test]
fn the_other_byte_order() {
    let bytes = b"B\x02\x00\x01\x00\x00\x00\x05\x00\x00\x00\x01\x00\x00\x00\x08\
        \x05\x01u\x00\x00\x00\x00\x07\x00\x00\x00\x01x";
    let (message, _) = decode(&[&bytes[..28], b"x\0\0\0"].concat())
        .unwrap()
        .unwrap_or_default();
    assert_eq!((message.kind, message.answers), (METHOD_RETURN, 7));
    let (message, _) = decode(&[&bytes[..28], b"x\0\0\0"].concat())
        .unwrap()
        .unwrap_or_default();
    assert!(message.big);
}

#[test]
fn nonsense_is_refused() {
    let good = message(SIGNAL, &[(3, "s", "JobRemoved")], 0, &Arguments::default());
    let mut wrong = good.clone();
    wrong[0] = b'x';
    assert_eq!(decode(&wrong), Err(Malformed));
    let mut version = good.clone();
    version[3] = 2;
    assert_eq!(decode(&version), Err(Malformed));
    let mut long = good.clone();
    long[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(decode(&long), Err(Malformed));
    // Whatever one byte is: no panic, and nothing read beyond.
    for at in 0..good.len() {
        for byte in [0, 1, 0x7f, 0xff] {
            let mut damaged = good.clone();
            damaged[at] = byte;
            if let Ok(Some((message, length))) = decode(&damaged) {
                assert!(length <= damaged.len());
                let _ = message.text();
            }
        }
    }
}
