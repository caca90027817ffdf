//! `update`.

use super::{Failure, Outcome};
use crate::cli::{Invocation, Property, UPDATES};
use crate::log::Log;
use longshore::Runtime;
use serde_json::{Value, json};
use std::io::Read;

pub(crate) fn update(runtime: &Runtime, invocation: &Invocation, log: &Log) -> Outcome {
    let container = runtime.open(invocation.id())?;
    let mut update = container.update();
    if let Some(file) = invocation.get("resources") {
        update = update.resources_json(&read(file)?)?;
    } else {
        update = update.resources_json(resources(invocation)?.to_string().as_bytes())?;
        if let Some(schema) = invocation.get("l3-cache-schema") {
            update = update.l3_cache_schema(schema);
        }
        if let Some(schema) = invocation.get("mem-bw-schema") {
            update = update.mem_bw_schema(schema);
        }
    }
    let warnings = update.apply()?;
    warnings.iter().for_each(|warning| log.warning(warning));
    Ok(0)
}

fn read(file: &str) -> Result<Vec<u8>, Failure> {
    let mut json = Vec::new();
    let read = match file {
        "-" => std::io::stdin().read_to_end(&mut json),
        path => std::fs::File::open(path).and_then(|mut file| file.read_to_end(&mut json)),
    };
    read.map_err(|error| Failure::plain(format!("cannot read {file}: {error}")))?;
    Ok(json)
}

/// The flags as `linux.resources`.
fn resources(invocation: &Invocation) -> Result<Value, Failure> {
    let mut resources = json!({});
    for (flag, group, name, kind) in UPDATES {
        let Some(text) = invocation.get(flag) else {
            continue;
        };
        let wrong = || Failure::plain(format!("invalid value {text:?} for --{flag}"));
        resources[group][name] = match kind {
            Property::Text => text.into(),
            Property::Number => text.parse::<i64>().map_err(|_| wrong())?.into(),
            Property::Bytes => bytes(text).ok_or_else(wrong)?.into(),
        };
    }
    Ok(resources)
}

/// As Docker's go-units reads them: 1.5g, 64M, 10kb, 7KiB, 512.
fn bytes(text: &str) -> Option<i64> {
    const UNITS: &str = "bkmgtp";
    if text == "-1" {
        return Some(-1);
    }
    let lower = text.to_lowercase();
    let digits = lower
        .find(|letter: char| letter.is_ascii_alphabetic())
        .unwrap_or(lower.len());
    let (number, unit) = lower.split_at(digits);
    let power = match unit {
        "" => 0,
        unit => {
            let power = UNITS.find(unit.chars().next()?)?;
            let rest = &unit[1..];
            (rest.is_empty() || power > 0 && (rest == "b" || rest == "ib")).then_some(power)?
        }
    };
    let number = number.trim_end();
    let factor = 1_i64 << (10 * power);
    if let Ok(whole) = number.parse::<i64>() {
        return (whole >= 0).then_some(whole)?.checked_mul(factor);
    }
    let number: f64 = number.parse().ok().filter(|number| *number >= 0.0)?;
    #[allow(clippy::cast_precision_loss)] // powers of two are exact
    let bytes = number * factor as f64;
    #[allow(clippy::cast_possible_truncation)] // part of a byte is none
    (bytes < 9e18).then_some(bytes as i64)
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn sizes() {
        for (text, expect) in [
            ("-1", Some(-1)),
            ("0", Some(0)),
            ("512", Some(512)),
            ("10k", Some(10 << 10)),
            ("10kb", Some(10 << 10)),
            ("7KiB", Some(7 << 10)),
            ("64M", Some(64 << 20)),
            ("64 M", Some(64 << 20)),
            ("1.5g", Some(3 << 29)),
            ("3b", Some(3)),
            ("1t", Some(1 << 40)),
            ("", None),
            ("-2", None),
            ("1x", None),
            ("k", None),
            ("1kk", None),
            ("nan", None),
            ("9999999p", None),
        ] {
            assert_eq!(bytes(text), expect, "{text:?}");
        }
    }
}
