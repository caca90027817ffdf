//! `kill`.

use super::{Failure, Outcome};
use crate::cli::Invocation;
use longshore::Runtime;

pub(crate) fn kill(runtime: &Runtime, invocation: &Invocation) -> Outcome {
    let signal = signal(invocation.words.get(1).map_or("SIGTERM", String::as_str))?;
    let container = runtime.open(invocation.id())?;
    if invocation.has("all") {
        container.kill_all(signal)?
    } else {
        container.kill(signal)?
    }
    Ok(0)
}

/// A number, or a name with or without SIG in any case, real-time signals too.
fn signal(text: &str) -> Result<i32, Failure> {
    let unknown = || Failure::plain(format!("unknown signal {text:?}"));
    if let Ok(number) = text.parse::<i32>() {
        return if (1..=64).contains(&number) {
            Ok(number)
        } else {
            Err(unknown())
        };
    }
    let upper = text.to_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let (base, direction, offset) = match name
        .strip_prefix("RTMIN")
        .map(|rest| (34, 1, rest))
        .or_else(|| name.strip_prefix("RTMAX").map(|rest| (64, -1, rest)))
    {
        Some(found) => found,
        None => {
            return format!("SIG{name}")
                .parse::<nix::sys::signal::Signal>()
                .map(|signal| signal as i32)
                .map_err(|_| unknown());
        }
    };
    let sign = if direction > 0 { '+' } else { '-' };
    let offset = if offset.is_empty() {
        Some(0)
    } else {
        offset
            .strip_prefix(sign)
            .and_then(|digits| digits.parse::<i32>().ok())
    };
    offset
        .map(|offset| base + direction * offset)
        .filter(|number| (34..=64).contains(number))
        .ok_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use super::signal;

    #[test]
    fn signals_by_name_and_number() {
        for (text, number) in [
            ("9", 9),
            ("KILL", 9),
            ("sigterm", 15),
            ("SIGRTMIN+3", 37),
            ("RTMAX", 64),
            ("RTMAX-1", 63),
            ("RTMIN", 34),
            ("64", 64),
        ] {
            assert_eq!(signal(text).unwrap(), number, "{text}");
        }
        for text in ["", "0", "65", "-9", "NOPE", "RTMIN+40", "RTMIN-1"] {
            assert!(signal(text).is_err(), "{text}");
        }
    }
}
