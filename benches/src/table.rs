//! Measures the rows of a table and writes them as Markdown.

use std::fmt::Write;

use crate::Options;
use crate::bench::Workshop;
use crate::contender::{Contender, GROUPS, Group};
use crate::sample::{Figures, Series};

/// A median this far above its p10 makes a measurement void.
const NOISE: f64 = 1.25;
/// How often a void measurement is repeated.
const TRIES: usize = 5;

/// One line of a table.
#[derive(Debug)]
pub(crate) struct Row {
    /// What was done.
    pub operation: &'static str,
    /// By whom.
    pub name: String,
    /// What it cost.
    pub figures: Figures,
}

/// All lines of a table.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
}

impl Table {
    /// Measures all groups of operations.
    pub(crate) fn measure(
        contenders: &mut [Contender],
        shop: &Workshop,
        options: &Options,
        cgroup2: bool,
    ) -> Result<Table, String> {
        let mut table = Table::default();
        let asked =
            |row: &&str| options.rows.is_empty() || options.rows.iter().any(|name| name == row);
        let groups = GROUPS.iter().filter(|group| group.on_cgroup2 || !cgroup2);
        for group in groups.filter(|group| group.operations.iter().any(asked)) {
            let rows = quiet(group, contenders, shop, options.runs)?;
            table.rows.extend(rows);
        }
        Ok(table)
    }

    /// p10 of one cell.
    pub(crate) fn p10(&self, operation: &str, name: &str) -> Option<f64> {
        let row = self
            .rows
            .iter()
            .find(|row| row.operation == operation && row.name == name);
        row.map(|row| row.figures.p10)
    }

    /// As Markdown; ratios are to the first contender of each operation.
    pub(crate) fn markdown(&self, title: &str) -> String {
        let mut text = format!(
            "## {title}\n\n| operation | by | first ÷ this (p10) | p10 ms | median ms | p99 ms | CPU ms | peak MiB | |\n"
        );
        text += "|---|---|--:|--:|--:|--:|--:|--:|---|\n";
        for row in &self.rows {
            let figures = &row.figures;
            let first = self
                .rows
                .iter()
                .find(|other| other.operation == row.operation)
                .map_or(0.0, |other| other.figures.p10);
            let void = if figures.noise() > NOISE {
                "void: noisy"
            } else {
                ""
            };
            let _ = writeln!(
                text,
                "| {} | {} | {:.2} | {:.2} | {:.2} | {:.2} | {} | {} | {void} |",
                row.operation,
                row.name,
                first / figures.p10,
                figures.p10,
                figures.median,
                figures.p99,
                optional(figures.cpu),
                optional(figures.memory)
            ); // writing to a String cannot fail
        }
        text
    }
}

fn optional(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.2}"))
}

/// Measures a group until the host was quiet; of only noisy tries, the quietest counts, marked void.
fn quiet(
    group: &Group,
    contenders: &mut [Contender],
    shop: &Workshop,
    runs: usize,
) -> Result<Vec<Row>, String> {
    let mut best: Option<(f64, Vec<Row>)> = None;
    for _ in 0..TRIES {
        let rows = attempt(group, contenders, shop, runs)?;
        let noise = rows
            .iter()
            .map(|row| row.figures.noise())
            .fold(0.0, f64::max);
        if best.as_ref().is_none_or(|(least, _)| noise < *least) {
            best = Some((noise, rows));
        }
        if noise <= NOISE {
            break;
        }
        eprintln!(
            "lifecycle: {:?}: a median is {noise:.2} times its p10, measured again",
            group.operations
        );
    }
    Ok(best.map(|(_, rows)| rows).unwrap_or_default())
}

/// All contenders in turn, `runs` times over, so that a disturbance meets all of them.
fn attempt(
    group: &Group,
    contenders: &mut [Contender],
    shop: &Workshop,
    runs: usize,
) -> Result<Vec<Row>, String> {
    let mut all = vec![vec![Series::default(); group.operations.len()]; contenders.len()];
    for _ in 0..runs {
        for (contender, series) in contenders.iter_mut().zip(&mut all) {
            if group.admits(contender) {
                group.round(contender, shop, series)?;
            }
        }
    }
    let mut rows = Vec::new();
    for (index, operation) in group.operations.iter().enumerate() {
        for (contender, series) in contenders.iter().zip(&all) {
            let figures = series.get(index).and_then(Series::figures);
            rows.extend(figures.map(|figures| Row {
                operation,
                name: contender.name.clone(),
                figures,
            }));
        }
    }
    Ok(rows)
}
