//! The report as Markdown. No I/O, and nothing in it that two runs would tell differently.

use std::fmt::Write;

use super::cells::{Cell, judge};
use super::examine::Examined;
use crate::chapters;
use crate::requirements::{PARTS, Proof, Requirement, all};

const SPECIFICATION: &str = "https://github.com/opencontainers/runtime-spec/blob/main/";

/// The years of versions that are compared; a version that is not here has none in its heading.
const YEARS: &[(&str, &str, u32)] = &[("runc", "1.1.5", 2023), ("crun", "1.8.1", 2023)];

const WORDS: &[&str] = &["pass", "deviates", "fail", "skip", "n/a"];

const ABOUT: &str = "\
# Conformance

What the [runtime specification](https://github.com/opencontainers/runtime-spec) asks of a runtime on Linux, and what
runtimes do about it. `make conformance` writes this file; [spec-tests](../spec-tests/README.md) says how, and how to
examine another runtime.

- **pass**: all tests of the requirement pass. With a note, some could not be told here.
- **deviates**: a test does not, and the reason is known.
- **fail**: a test does not, and no reason is known.
- **skip**: it can't be told here.
- **n/a**: newer than the version of the specification that the runtime claims, and not passed.
- **–**: there is no test, for the reason beside the requirement.
";

/// A requirement with the cell of each runtime.
type Row = (&'static Requirement, Vec<Cell>);

/// Everything, from the title to the last note.
pub(crate) fn write(runtimes: &[Examined]) -> String {
    let tests: Vec<String> = chapters::all().iter().map(|case| case.name()).collect();
    let cells = |row| -> Vec<Cell> {
        let cells = runtimes.iter();
        let cells = cells.map(|runtime| judge(row, &tests, &runtime.outcomes, runtime.spec));
        cells.collect()
    };
    let rows: Vec<Row> = all().map(|row| (row, cells(row))).collect();
    let mut notes = Vec::new();
    let tables = tables(runtimes, &rows, &mut notes);
    let suites = runtimes.iter().flat_map(|runtime| &runtime.suites);
    let suites: String = suites.map(|line| format!("    {line}\n")).collect();
    let notes = notes.iter().enumerate();
    let notes: String = notes
        .map(|(place, note)| format!("[^{}]: {note}\n", place + 1))
        .collect();
    format!(
        "{ABOUT}\n{}\n{}{tables}\n## The runs\n\n{suites}\n## Notes\n\n{notes}",
        summary(runtimes, &rows),
        layouts(runtimes)
    )
}

/// A table for each part, in the order of the rows.
fn tables(runtimes: &[Examined], rows: &[Row], notes: &mut Vec<String>) -> String {
    let mut text = String::new();
    let mut rows = rows.iter();
    for (title, part) in PARTS {
        text += &format!("\n## {title}\n\n{}", heading(runtimes));
        for (row, cells) in rows.by_ref().take(part.len()) {
            text += &asked(row);
            for cell in cells {
                text += &format!(" {}{} |", cell.word, reference(notes, &cell.note));
            }
            text.push('\n');
        }
    }
    text
}

/// `[^3]`, of a note that is kept once.
fn reference(notes: &mut Vec<String>, note: &str) -> String {
    if note.is_empty() {
        return String::new();
    }
    let place = notes.iter().position(|known| known == note);
    let place = place.unwrap_or_else(|| {
        notes.push(note.to_owned());
        notes.len() - 1
    });
    format!("[^{}]", place + 1)
}

/// `runc 1.1.5 (2023)`.
fn title(runtime: &Examined) -> String {
    let year = YEARS
        .iter()
        .find(|entry| entry.0 == runtime.name && entry.1 == runtime.version);
    let year = year.map_or_else(String::new, |entry| format!(" ({})", entry.2));
    format!("{} {}{year}", runtime.name, runtime.version)
}

fn heading(runtimes: &[Examined]) -> String {
    let mut text = "| Requirement | Section | Since | What is asked |".to_owned();
    for runtime in runtimes {
        let _ = write!(text, " {} |", title(runtime)); // a String takes all
    }
    text + "\n" + &"|---".repeat(4 + runtimes.len()) + "|\n"
}

/// The columns before those of the runtimes.
fn asked(row: &Requirement) -> String {
    let (major, minor, patch) = row.since;
    let place = match row.section {
        "" => "– | –".to_owned(),
        section => format!("[{section}]({SPECIFICATION}{section}) | {major}.{minor}.{patch}"),
    };
    let untested = match row.proof {
        Proof::Tests(_) => String::new(),
        Proof::None(why) => format!(" (untested: {why})"),
    };
    format!("| `{}` | {place} | {}{untested} |", row.id, row.wording)
}

/// How many cells of each kind; what is beyond the specification is left out.
fn summary(runtimes: &[Examined], rows: &[Row]) -> String {
    let (asked, beyond): (Vec<&Row>, Vec<&Row>) =
        rows.iter().partition(|row| !row.0.section.is_empty());
    let without = asked
        .iter()
        .filter(|row| matches!(row.0.proof, Proof::None(_)));
    let without = without.count();
    let mut text = format!(
        "{} requirements of the specification: {} with tests, {without} without, each with its reason. \
        The {} rows of the last table are not counted below.\n\n|  | claims | {} |\n{}|\n",
        asked.len(),
        asked.len() - without,
        beyond.len(),
        WORDS.join(" | "),
        "|---".repeat(2 + WORDS.len())
    );
    for (column, runtime) in runtimes.iter().enumerate() {
        let claims = runtime.spec.map_or_else(
            || "–".to_owned(),
            |(major, minor, patch)| format!("{major}.{minor}.{patch}"),
        );
        let count = |word: &&str| {
            asked
                .iter()
                .filter(|row| row.1[column].word == *word)
                .count()
        };
        let counts: Vec<String> = WORDS.iter().map(|word| count(word).to_string()).collect();
        text += &format!(
            "| {} | {claims} | {} |\n",
            title(runtime),
            counts.join(" | ")
        );
    }
    text
}

/// In which cgroup layouts each was examined, and why not in others.
fn layouts(runtimes: &[Examined]) -> String {
    let mut text = String::new();
    for runtime in runtimes {
        let seen = match runtime.views.is_empty() {
            true => "nowhere".to_owned(),
            false => runtime.views.join(" and "),
        };
        text += &format!("- {}: examined in {seen}", title(runtime));
        for (view, words) in &runtime.refused {
            text += &format!("; it does not work in {view} (`{words}`)");
        }
        text += ".\n";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{reference, write};
    use crate::comparison::cells::Outcome;
    use crate::comparison::examine::Examined;

    #[test]
    fn notes_are_kept_once() {
        let mut notes = Vec::new();
        let mut numbers = Vec::new();
        for note in ["a", "", "b", "a"] {
            numbers.push(reference(&mut notes, note));
        }
        assert_eq!(numbers, ["[^1]", "", "[^2]", "[^1]"]);
    }

    #[test]
    fn a_column_has_its_name_and_its_cells() {
        let runtime = Examined {
            name: "runc".to_owned(),
            version: "1.1.5".to_owned(),
            outcomes: [("hostname".to_owned(), Outcome::Pass)].into(),
            ..Examined::default()
        };
        let text = write(&[runtime]);
        let row = text.lines().find(|line| line.starts_with("| `domainname`"));
        assert!(row.is_some_and(|row| row.contains("| 1.1.0 |") && row.contains("| fail[^")));
        let row = text
            .lines()
            .find(|line| line.starts_with("| `linux.intelRdt.closID`"));
        assert!(row.is_some_and(|row| row.contains("(untested: ") && row.ends_with(" – |")));
        assert!(text.contains(" runc 1.1.5 (2023) |\n|---"));
    }
}
