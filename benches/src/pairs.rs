//! An earlier release and this one in turn: by how much is each operation slower, at most?
//!
//! Both are run right after one another, so that a disturbance meets both; each pair is one ratio. The bound
//! of their median is that of the sign test: it asks nothing of how the ratios are distributed.

use std::fmt::Write;

use crate::bench::Workshop;
use crate::contender::{Contender, GROUPS, Group};
use crate::sample::Series;

/// No operation may have become slower by more.
const GOAL: f64 = 1.05;

/// How many standard deviations a one-sided bound of 95 % is away.
const BOUND: f64 = 1.645;

/// An operation's ratios, new to old.
#[derive(Debug)]
struct Compared {
    operation: &'static str,
    median: f64,
    bound: f64,
}

/// The table, and whether all stay within the goal.
pub(crate) fn compare(
    (new, old): (&str, &str),
    shop: &Workshop,
    (pairs, rows): (usize, &[String]),
    cgroup2: bool,
) -> Result<(String, bool), String> {
    let asked = |row: &&str| rows.is_empty() || rows.iter().any(|name| name == row);
    let groups = GROUPS.iter().filter(|group| group.on_cgroup2 || !cgroup2);
    let mut text =
        String::from("| operation | new ÷ old, median | upper 95 % bound | |\n|---|--:|--:|---|\n");
    let mut good = true;
    for group in groups.filter(|group| group.operations.iter().any(asked)) {
        let mut both = [
            Contender::command("new", new),
            Contender::command("old", old),
        ];
        for row in alternate(group, &mut both, shop, pairs)? {
            let met = row.bound <= GOAL;
            good &= met;
            let verdict = if met { "met" } else { "missed" };
            let _ = writeln!(
                text,
                "| {} | {:.3} | {:.3} | {verdict} |",
                row.operation, row.median, row.bound
            ); // writing to a String cannot fail
        }
    }
    Ok((text, good))
}

/// Who comes first changes from pair to pair: the second finds warmer caches.
fn alternate(
    group: &Group,
    both: &mut [Contender; 2],
    shop: &Workshop,
    pairs: usize,
) -> Result<Vec<Compared>, String> {
    let mut all = [(); 2].map(|()| vec![Series::default(); group.operations.len()]);
    for pair in 0..pairs {
        for turn in 0..2 {
            let who = (pair + turn) % 2;
            group.round(&mut both[who], shop, &mut all[who])?;
        }
    }
    let [new, old] = all;
    let compared = group.operations.iter().zip(new.iter().zip(&old));
    let compared = compared.map(|(operation, (new, old))| {
        let mut ratios: Vec<f64> = new
            .wall()
            .zip(old.wall())
            .map(|(new, old)| new / old)
            .collect();
        ratios.sort_by(f64::total_cmp);
        Compared {
            operation,
            median: at(&ratios, 0.0),
            bound: at(&ratios, BOUND),
        }
    });
    Ok(compared.collect())
}

/// The value that is so many standard deviations of a fair coin's heads above the middle.
fn at(sorted: &[f64], deviations: f64) -> f64 {
    let count = sorted.len() as f64;
    let place = (count / 2.0 + deviations * count.sqrt() / 2.0).ceil();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // of a small positive number
    let place = (place as usize).min(sorted.len().saturating_sub(1));
    sorted.get(place).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::at;

    #[test]
    fn bounds_of_a_median() {
        let values: Vec<f64> = (0..500u32).map(f64::from).collect();
        assert!((at(&values, 0.0) - 250.0).abs() < 1e-9);
        assert!((at(&values, super::BOUND) - 269.0).abs() < 1e-9);
        assert!((at(&values[..3], super::BOUND) - 2.0).abs() < 1e-9);
    }
}
