//! `events`.

use super::{Failure, Outcome};
use crate::cli::Invocation;
use longshore::{Event, Runtime};
use std::io::Write;
use std::time::Duration;

pub(crate) fn events(runtime: &Runtime, invocation: &Invocation) -> Outcome {
    let text = invocation.get("interval").unwrap_or("5s");
    let interval = duration(text).ok_or_else(|| {
        Failure::plain(format!(
            "invalid value {text:?} for --interval: not a duration such as 5s"
        ))
    })?;
    let container = runtime.open(invocation.id())?;
    if invocation.has("stats") {
        let stats = Event::Stats(Box::new(container.stats()?));
        return print(&stats, container.id());
    }
    for event in container.events(Some(interval))? {
        print(&event?, container.id())?;
    }
    Ok(0)
}

/// Whoever reads may have gone, which ends the command.
fn print(event: &Event, id: &str) -> Outcome {
    let written = writeln!(std::io::stdout(), "{}", event.to_json(id));
    written.map_err(|error| Failure::plain(format!("cannot write an event: {error}")))?;
    Ok(0)
}

/// As Go writes them: `5s`, `100ms`, `1m30s`, `1.5h`. A number alone is none, but 0.
fn duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, f64); 8] = [
        ("ns", 1e-9),
        ("us", 1e-6),
        ("µs", 1e-6),
        ("μs", 1e-6),
        ("ms", 1e-3),
        ("s", 1.0),
        ("m", 60.0),
        ("h", 3600.0),
    ];
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    let mut seconds = 0.0;
    let is_digit = |letter: char| letter.is_ascii_digit() || letter == '.';
    // Once at least: of nothing, nothing is found.
    loop {
        let digits = rest.find(|letter| !is_digit(letter))?;
        let (number, behind) = rest.split_at(digits);
        let end = behind.find(is_digit).unwrap_or(behind.len());
        let (unit, next) = behind.split_at(end);
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
        seconds += number.parse::<f64>().ok()? * factor;
        rest = next;
        if rest.is_empty() {
            return Duration::try_from_secs_f64(seconds).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::duration;
    use std::time::Duration;

    #[test]
    fn durations_as_go_writes_them() {
        for (text, millis) in [
            ("5s", Some(5000)),
            ("100ms", Some(100)),
            ("1m", Some(60_000)),
            ("1m30s", Some(90_000)),
            ("1.5h", Some(5_400_000)),
            (".5s", Some(500)),
            ("2000us", Some(2)),
            ("2000µs", Some(2)),
            ("0", Some(0)),
            ("0s", Some(0)),
            ("", None),
            ("5", None),
            ("s", None),
            ("-5s", None),
            ("5 s", None),
            ("5d", None),
            ("1s2", None),
            ("1.2.3s", None),
            ("9e99s", None),
        ] {
            assert_eq!(
                duration(text),
                millis.map(Duration::from_millis),
                "{text:?}"
            );
        }
    }
}
