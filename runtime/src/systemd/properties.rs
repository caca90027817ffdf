//! What systemd is told of a container: properties of its unit.
//!
//! Pure. The limits come from the very writes that are made to the cgroup's
//! files, so that what systemd writes to them later is what is there already.
//! systemd.resource-control(5), org.freedesktop.systemd1(5)
#![forbid(unsafe_code)]

use super::unit::Unit;
use super::variant::{self, Value};
use crate::Error;
use crate::cgroup::Write;
use std::collections::BTreeMap;
use std::fmt;

/// A property of a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Property {
    pub(crate) name: String,
    pub(crate) value: Value,
}

/// As a plan shows it.
impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=", self.name)?;
        match &self.value {
            Value::Bool(value) => write!(f, "{value}"),
            Value::I32(value) => write!(f, "{value}"),
            Value::U32(value) => write!(f, "{value}"),
            Value::I64(value) => write!(f, "{value}"),
            Value::U64(INFINITY) => f.write_str("infinity"),
            Value::U64(value) => write!(f, "{value}"),
            Value::Text(text) => write!(f, "{text:?}"),
            Value::Texts(all) => write!(f, "{all:?}"),
            Value::Bytes(all) => all
                .iter()
                .rev()
                .try_for_each(|byte| write!(f, "{byte:02x}")),
            Value::Pids(all) => write!(f, "{all:?}"),
        }
    }
}

/// No limit, of those that are numbers.
const INFINITY: u64 = u64::MAX;

/// CPU time is counted in microseconds a second, and systemd gives out 10 ms or a multiple.
const SECOND: u64 = 1_000_000;
const STEP: u64 = 10_000;

/// How a file's value becomes a property's.
#[derive(Clone, Copy)]
enum Form {
    Number,
    /// A number that systemd wants to be at least one.
    Count,
    List,
}

/// The files that systemd writes too. The others are none of its business, or it can't say them.
const TABLE: [(&str, &str, Form); 9] = [
    ("memory.min", "MemoryMin", Form::Number),
    ("memory.low", "MemoryLow", Form::Number),
    ("memory.high", "MemoryHigh", Form::Number),
    ("memory.max", "MemoryMax", Form::Number),
    ("memory.swap.max", "MemorySwapMax", Form::Number),
    ("pids.max", "TasksMax", Form::Count),
    ("cpu.weight", "CPUWeight", Form::Number),
    ("cpuset.cpus", "AllowedCPUs", Form::List),
    ("cpuset.mems", "AllowedMemoryNodes", Form::List),
];

/// What begins so, names a property.
pub(crate) const ANNOTATION: &str = "org.systemd.property.";

/// All but the processes: who it is, what it may do, what annotations say, and the limits.
pub(crate) fn properties(
    unit: &Unit,
    annotations: &BTreeMap<String, String>,
    writes: &[Write],
) -> Result<Vec<Property>, Vec<Error>> {
    let yes = || Value::Bool(true);
    let text = |text: &str| Value::Text(text.to_owned());
    let (mut fixed, mut usual) = (Properties::default(), Properties::default());
    if unit.is_slice() {
        // Its name says where it is.
        fixed.set("Wants", Value::Texts(vec![unit.slice.clone()]));
    } else {
        fixed.set("Slice", text(&unit.slice));
        fixed.set("Delegate", yes());
    }
    fixed.0.extend(limits(writes));
    for name in [
        "MemoryAccounting",
        "CPUAccounting",
        "IOAccounting",
        "TasksAccounting",
    ] {
        usual.set(name, yes());
    }
    usual.set("DefaultDependencies", Value::Bool(false));
    // A scope that has failed would keep its name until somebody resets it.
    usual.set("CollectMode", text("inactive-or-failed"));
    let mut errors = Vec::new();
    for (key, value) in annotations {
        let Some(name) = key.strip_prefix(ANNOTATION) else {
            continue;
        };
        match annotated(name, value, &fixed) {
            Ok(property) => usual.set(&property.name, property.value),
            Err(message) => errors.push(Error::config(format!("annotations ({key})"), message)),
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok([fixed.0, usual.0].concat())
}

/// The properties for the limits of `writes`, those of a later write instead of an earlier one's.
pub(crate) fn limits(writes: &[Write]) -> Vec<Property> {
    let mut found = Properties::default();
    for Write { file, value, .. } in writes {
        match file.as_str() {
            "cpu.max" => cpu_max(value, &mut found),
            // Weight 0 is systemd's word for it, from 252 on.
            "cpu.idle" if value.trim() == "1" => found.set("CPUWeight", Value::U64(0)),
            _ => {}
        }
        if let Some((_, name, form)) = TABLE.iter().find(|row| row.0 == file)
            && let Some(value) = form.read(value)
        {
            found.set(name, value);
        }
    }
    found.0
}

/// Rounds CPU quotas up to what systemd can say: else it would write another one later.
pub(crate) fn agree(writes: &mut [Write]) {
    for write in writes.iter_mut().filter(|write| write.file == "cpu.max") {
        if let Some((Some(quota), period)) = quota_and_period(&write.value) {
            let quota =
                u128::from(per_second(quota, period)) * u128::from(period) / u128::from(SECOND);
            write.value = format!("{quota} {period}");
        }
    }
}

/// Of `cpu.max`, in microseconds; without a quota there is no limit.
fn quota_and_period(value: &str) -> Option<(Option<u64>, u64)> {
    let mut words = value.split_whitespace();
    let quota = match words.next()? {
        "max" => None,
        number => Some(number.parse().ok()?),
    };
    let period = words.next().map_or(Some(100_000), |word| word.parse().ok());
    Some((quota, period.filter(|period| *period > 0)?))
}

fn per_second(quota: u64, period: u64) -> u64 {
    let exact = (u128::from(quota) * u128::from(SECOND)).div_ceil(u128::from(period));
    u64::try_from(exact.next_multiple_of(u128::from(STEP))).unwrap_or(INFINITY)
}

fn cpu_max(value: &str, found: &mut Properties) {
    if let Some((quota, period)) = quota_and_period(value) {
        let share = quota.map_or(INFINITY, |quota| per_second(quota, period));
        found.set("CPUQuotaPerSecUSec", Value::U64(share));
        found.set("CPUQuotaPeriodUSec", Value::U64(period));
    }
}

impl Form {
    /// What the kernel reads otherwise (`1G`) is in the file only.
    fn read(self, value: &str) -> Option<Value> {
        let number = || match value.trim() {
            "max" => Some(INFINITY),
            number => number.parse().ok(),
        };
        match self {
            Form::Number => number().map(Value::U64),
            Form::Count => number().map(|count| Value::U64(count.max(1))),
            Form::List => mask(value.trim()).map(Value::Bytes),
        }
    }
}

/// A list such as `0-2,4` as bits, the lowest first. cpuset(7), "List format"
fn mask(list: &str) -> Option<Vec<u8>> {
    /// More than any kernel counts.
    const MOST: usize = 1 << 16;
    let mut bits = Vec::new();
    for range in list.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if last >= MOST {
            return None;
        }
        for bit in first..=last {
            bits.resize(bits.len().max(bit / 8 + 1), 0u8);
            bits[bit / 8] |= 1 << (bit % 8);
        }
    }
    Some(bits)
}

#[derive(Default)]
struct Properties(Vec<Property>);

impl Properties {
    /// The last value counts.
    fn set(&mut self, name: &str, value: Value) {
        match self.0.iter_mut().find(|property| property.name == name) {
            Some(property) => property.value = value,
            None => self.0.push(Property {
                name: name.to_owned(),
                value,
            }),
        }
    }

    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|property| property.name == name)
    }
}

/// Not for an annotation to say: what we say when the unit is started.
const OURS: [&str; 4] = ["Description", "PIDs", "Slice", "Delegate"];

/// One annotation: `NameSec` is in seconds, which systemd itself counts in microseconds.
fn annotated(name: &str, value: &str, fixed: &Properties) -> Result<Property, String> {
    if name.len() < 3 || !name.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return Err("names no property: at least three letters and nothing else".to_owned());
    }
    // They restart or power off the host.
    if name.ends_with("Action") || name == "RebootArgument" {
        return Err("is about more than the container, and not taken".to_owned());
    }
    let value = variant::parse(value).map_err(|why| format!("{value:?} {why}"))?;
    let seconds = name
        .strip_suffix("Sec")
        .filter(|stem| stem.ends_with(|last: char| last.is_ascii_lowercase()));
    let (name, value) = match seconds {
        None => (name.to_owned(), value),
        Some(stem) => {
            let micros = value
                .unsigned()
                .and_then(|seconds| seconds.checked_mul(SECOND));
            let micros = micros.ok_or("is no number of seconds")?;
            (format!("{stem}USec"), Value::U64(micros))
        }
    };
    if OURS.contains(&name.as_str()) || fixed.has(&name) {
        return Err(format!("{name} is set by the runtime itself"));
    }
    Ok(Property { name, value })
}

#[cfg(test)]
mod tests;
