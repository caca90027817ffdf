//! What must hold of our parsers whatever they are given: one function for each fuzz target, which panics
//! where it does not hold, and tells whether the input is one that is accepted. The tests below run
//! the same functions on the seeds of the fuzz targets, spoiled a little.

use super::compile;
use crate::cgroup;
use crate::config::attributes::mask;
use crate::config::examine::examine;
use crate::config::id_maps::{self, IdMapping};
use crate::config::mount_options::MountOptions;
use crate::config::{Config, Sysctl};
use crate::container::record::{InitId, Record};
use crate::home::{LINE_MAX, Search};
use crate::plan::Plan;
use crate::wire::{Frame, Op, Reader, get_header};
use std::collections::BTreeSet;

/// A config.json: `check` finds something exactly where create refuses it, and what was read of it,
/// written and read again, gives the same plan.
#[must_use]
pub fn config_to_plan(json: &[u8]) -> bool {
    let examined = examine(json).problems;
    if let Err(problems) = Config::parse(json) {
        assert!(!examined.is_empty(), "check finds nothing: {problems:?}");
        return false;
    }
    assert!(examined.is_empty(), "only check finds: {examined:?}");
    let Some((_, plan)) = compile(json) else {
        return false;
    };
    let text = |plan: &Plan| format!("{plan}{}", plan.to_json());
    let value: serde_json::Value = serde_json::from_slice(json).unwrap_or_default();
    let again = compile(value.to_string().as_bytes()).map(|(_, plan)| text(&plan));
    assert_eq!(again, Some(text(&plan)));
    true
}

/// The words of one mount: the filesystem is given no more than the configuration says.
#[must_use]
pub fn mount_options(text: &str) -> bool {
    let words: Vec<String> = text.split(',').map(str::to_owned).collect();
    let data = MountOptions::parse(&words).mount2_data();
    // Both have a comma, or the NUL, after each word; quotes come and go.
    let length = |text: &str| text.chars().filter(|c| *c != '"').count();
    assert!(length(&data) <= length(text) + 1);
    !data.is_empty()
}

/// Frames and operations as they come over the wire: what is read is what would be written.
#[must_use]
pub fn frames(bytes: &[u8]) -> bool {
    let frame = Frame::from_bytes(bytes);
    let mut any = frame.is_some();
    if let Some(frame) = frame {
        assert_eq!(frame.to_bytes(), bytes);
    }
    let mut input = Reader::new(bytes);
    if get_header(&mut input).is_some() {
        while let Some((step, op)) = Op::get(&mut input) {
            let mut written = Vec::new();
            op.put(step, &mut written);
            assert_eq!(Op::get(&mut Reader::new(&written)), Some((step, op)));
            any = true;
        }
    }
    any
}

/// What a netlink socket receives: addresses that are read can be asked for.
#[must_use]
pub fn netlink(bytes: &[u8]) -> bool {
    crate::sys::netlink::read_all(bytes) > 0
}

/// What a bus says: nothing is read beyond its end.
#[must_use]
pub fn bus(bytes: &[u8]) -> bool {
    crate::systemd::read_all(bytes) > 0
}

/// An annotation's value for a property of systemd's: what is taken can be sent.
#[must_use]
pub fn property_value(text: &str) -> bool {
    crate::systemd::is_value(text)
}

/// Four bytes a map: where it begins on either side, how long it is, and whether its beginnings count
/// from the highest id. Against a mark for each id that is taken.
#[must_use]
pub fn id_maps(bytes: &[u8]) -> bool {
    let maps = bytes.chunks_exact(4).map(|four| {
        let id = |byte: u8, high: bool| match high {
            true => u32::MAX - u32::from(byte),
            false => u32::from(byte),
        };
        IdMapping {
            container: id(four[0], four[3] & 1 != 0),
            host: id(four[1], four[3] & 2 != 0),
            size: four[2].into(),
        }
    });
    let maps: Vec<IdMapping> = maps.collect();
    let good = are_maps(&maps);
    assert_eq!(id_maps::are_ranges(&maps), good, "{maps:?}");
    let text = id_maps::text(&maps);
    let lines = text.lines().map(|line| {
        let words = line.split(' ').filter_map(|word| word.parse().ok());
        let numbers: Vec<u32> = words.collect();
        let [container, host, size] = numbers[..] else {
            panic!("{line:?}")
        };
        IdMapping {
            container,
            host,
            size,
        }
    });
    assert_eq!(lines.collect::<Vec<_>>(), maps);
    for map in maps.iter().filter(|_| good) {
        for offset in 0..map.size {
            let id = map.container + offset;
            let hosts = maps.iter().filter_map(|other| other.to_host(id));
            assert_eq!(hosts.collect::<Vec<_>>(), [map.host + offset]);
        }
    }
    good
}

fn are_maps(maps: &[IdMapping]) -> bool {
    /// More than the ids near either end that `id_maps` can name.
    const SIDE: u64 = 1024;
    const END: u64 = u32::MAX as u64;
    let mut taken = [[false; 2048]; 2];
    for map in maps {
        for (first, taken) in [map.container, map.host].into_iter().zip(&mut taken) {
            let first = u64::from(first);
            for id in first..first + u64::from(map.size) {
                let slot = if id < SIDE {
                    id
                } else {
                    SIDE + END - id.min(END)
                };
                let slot = usize::try_from(slot).unwrap_or(0);
                // The very last number is no id.
                if id >= END || std::mem::replace(&mut taken[slot], true) {
                    return false;
                }
            }
        }
    }
    maps.len() <= 340 && maps.iter().all(|map| map.size > 0)
}

/// A list of CPUs or memory nodes, behind a letter for how many there may be; against a set of numbers.
#[must_use]
pub fn cpusets(text: &str) -> bool {
    let mut letters = text.chars();
    let most = match letters.next() {
        Some('a') => 8,
        Some('b') => 64,
        _ => 1024,
    };
    let list = letters.as_str();
    let (mask, numbers) = (mask(list, most), numbers(list, most));
    let (Some(mask), Some(numbers)) = (&mask, &numbers) else {
        assert_eq!(mask.is_some(), numbers.is_some(), "{list:?}");
        return false;
    };
    let has = |number: &usize| {
        let byte = mask.get(number / 8);
        byte.is_some_and(|byte| byte >> (number % 8) & 1 == 1)
    };
    let found: BTreeSet<usize> = (0..most).filter(has).collect();
    assert_eq!(found, *numbers, "{list:?}");
    assert!(mask.len().is_multiple_of(8) && mask.len() * 8 < most + 64);
    let written: Vec<_> = numbers.iter().map(ToString::to_string).collect();
    assert_eq!(self::mask(&written.join(","), most).as_ref(), Some(mask));
    true
}

/// Slow and plain.
fn numbers(list: &str, most: usize) -> Option<BTreeSet<usize>> {
    let mut found = BTreeSet::new();
    if list.trim().is_empty() {
        return Some(found);
    }
    for part in list.split(',') {
        let mut ends = Vec::new();
        for end in part.split('-').map(str::trim) {
            let number = number(end.as_bytes()).filter(|_| !end.starts_with('+'))?;
            ends.push(usize::try_from(number).ok()?);
        }
        let (first, last) = match ends[..] {
            [one] => (one, one),
            [first, last] => (first, last),
            _ => return None,
        };
        if first > last || last >= most {
            return None;
        }
        found.extend(first..=last);
    }
    Some(found)
}

/// Of digits, with or without a `+`.
fn number(digits: &[u8]) -> Option<u64> {
    let digits = digits.strip_prefix(b"+").unwrap_or(digits);
    let add = |sum: u64, digit: &u8| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        Some(sum.saturating_mul(10).saturating_add(digit))
    };
    let number = digits.iter().try_fold(0, add);
    number.filter(|_| !digits.is_empty())
}

/// A record of a container: read, written and read it is the same, and leads nowhere but below its mounts.
#[must_use]
pub fn state_record(bytes: &[u8]) -> bool {
    let word = std::str::from_utf8(bytes).ok();
    if let Some(init) = word.and_then(InitId::from_word) {
        assert!(init.pid > 0);
        assert_eq!(InitId::from_word(&init.to_word()), Some(init));
    }
    let value = serde_json::from_slice(bytes).ok();
    let Some(record) = value.as_ref().and_then(Record::from_json) else {
        return false;
    };
    for directory in &record.cgroup.0 {
        let path = &directory.path;
        let inside = |part: &str| !["", ".", ".."].contains(&part);
        assert!(path.is_empty() || path.split('/').all(inside), "{path:?}");
        assert!(directory.mount.starts_with('/'));
    }
    let text = record.to_json().to_string();
    let again = serde_json::from_str(&text).ok();
    let again = again.as_ref().and_then(Record::from_json);
    assert_eq!(
        format!("{again:?}"),
        format!("{:?}", Some(record)),
        "{text}"
    );
    true
}

/// An `/etc/passwd`, behind a byte for the user and one for how it is read; against a reader of the whole.
#[must_use]
pub fn passwd(bytes: &[u8]) -> bool {
    let [user, step, file @ ..] = bytes else {
        return false;
    };
    let uid = [0, 1, 7, 1000, u32::MAX][usize::from(*user) % 5];
    let mut search = Search::new(uid);
    let mut chunks = file.chunks(usize::from(*step) + 1);
    let found = chunks.find_map(|chunk| search.read(chunk));
    let found = found.or_else(|| search.line_ends()).flatten();

    let lines = file.split(|byte| *byte == b'\n');
    let lines = lines.filter(|line| line.len() < LINE_MAX);
    let mut users = lines.map(|line| line.split(|byte| *byte == b':').collect::<Vec<_>>());
    let user = users.find(|fields| fields.len() >= 6 && number(fields[2]) == Some(uid.into()));
    let home = user.map(|fields| fields[5].to_vec());
    let home = home.filter(|home| !home.is_empty() && !home.contains(&0));
    assert_eq!(found, home);
    home.is_some()
}

/// The text of a mountinfo, and behind a NUL that of /proc/self/cgroup; against a reader byte by byte. What a
/// path is written as is read as that path.
#[must_use]
pub fn mountinfo(bytes: &[u8]) -> bool {
    let mut halves = bytes.splitn(2, |byte| *byte == 0);
    let mounts = halves.next().unwrap_or_default();
    let own = String::from_utf8_lossy(halves.next().unwrap_or(b"0::/\n"));
    let parsed = cgroup::parse_mounts(mounts);
    let lines = mounts.split(|byte| *byte == b'\n');
    let expect: Vec<_> = lines.filter_map(plain_mount).collect();
    let got = parsed.iter();
    let got = got.map(|mount| [&*mount.root, &mount.point, &mount.kind, &mount.options]);
    assert_eq!(got.collect::<Vec<_>>(), expect);
    a_path_is_read_as_it_is(&String::from_utf8_lossy(mounts));

    let places = match cgroup::from_mountinfo(&own, mounts, |_| Vec::new()) {
        cgroup::Layout::V2(v2) => vec![(v2.mount, v2.own)],
        cgroup::Layout::V1(v1) => {
            let named = v1.hierarchies.into_iter().map(|h| (h.mount, h.own));
            let unified = v1.unified.map(|v2| (v2.mount, v2.own));
            named.chain(unified).collect()
        }
        cgroup::Layout::Absent => Vec::new(),
    };
    for (mount, own) in &places {
        assert!(parsed.iter().any(|known| known.point == *mount));
        let above = own.split('/').any(|part| part == "..");
        assert!(own.starts_with('/') && !above, "{own:?}");
    }
    !places.is_empty()
}

/// Written as the kernel does. A path begins with a slash: a mere `-` would be the end of the fields.
fn a_path_is_read_as_it_is(path: &str) {
    let path = &*format!("/{path}");
    let escaped = path.chars().map(|letter| match letter {
        ' ' | '\t' | '\n' | '\\' => format!("\\{:03o}", u32::from(letter)),
        other => other.to_string(),
    });
    let escaped: String = escaped.collect();
    let line = format!("1 1 0:1 {escaped} {escaped} rw shared:1 - cgroup2 none rw,nsdelegate");
    let mounts = cgroup::parse_mounts(line.as_bytes());
    let [mount] = &mounts[..] else {
        panic!("{line:?} is {mounts:?}")
    };
    assert_eq!((&*mount.root, &*mount.point), (path, path));
    assert_eq!(
        (&*mount.kind, &*mount.options),
        ("cgroup2", "rw,nsdelegate")
    );
}

/// Root, mount point, type and options of a line of fields, each between single blanks.
fn plain_mount(line: &[u8]) -> Option<[String; 4]> {
    std::str::from_utf8(line).ok()?;
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let dash = fields.iter().skip(1).position(|field| field == b"-")? + 1;
    let text = |index: usize| String::from_utf8(fields.get(index)?.to_vec()).ok();
    let path = |index: usize| {
        let mut rest = *fields.get(index).filter(|_| index < dash)?;
        let mut bytes = Vec::new();
        while let Some(first) = rest.first() {
            let (byte, length) = match rest.get(..4) {
                Some(b"\\040") => (b' ', 4),
                Some(b"\\011") => (b'\t', 4),
                Some(b"\\012") => (b'\n', 4),
                Some(b"\\134") => (b'\\', 4),
                _ => (*first, 1),
            };
            bytes.push(byte);
            rest = &rest[length..];
        }
        String::from_utf8(bytes).ok()
    };
    Some([path(3)?, path(4)?, text(dash + 1)?, text(dash + 3)?])
}

/// `key=value` of `linux.sysctl`: what passes is a file below /proc/sys that is of a namespace, and the
/// same file by its other spelling.
#[must_use]
pub fn sysctl(text: &str) -> bool {
    const OF_NAMESPACES: [&str; 4] = ["fs/mqueue/", "kernel/", "net/", "user/"];
    const OF_THE_KERNEL: [&str; 4] = [
        "kernel/msg",
        "kernel/sem",
        "kernel/shm",
        "kernel/domainname",
    ];
    let (key, value) = text.split_once('=').unwrap_or((text, "1"));
    let Ok(parameter) = Sysctl::new(key, value) else {
        return false;
    };
    let path = &parameter.path;
    let inside = |part: &str| !["", ".", ".."].contains(&part);
    assert!(path.split('/').all(inside), "{path:?}");
    let within = |places: &[&str]| places.iter().any(|place| path.starts_with(place));
    assert!(within(&OF_NAMESPACES), "{path:?}");
    assert!(
        !path.starts_with("kernel/") || within(&OF_THE_KERNEL),
        "{path:?}"
    );
    assert!(![path, value].iter().any(|text| text.contains(['\0', '\n'])));
    assert_eq!(parameter.value, value);
    // Letter by letter the same name.
    let same = |letter: char| if letter == '.' { '/' } else { letter };
    assert!(path.chars().map(same).eq(key.chars().map(same)));
    let swapped = path.chars().map(|letter| match letter {
        '.' => '/',
        '/' => '.',
        letter => letter,
    });
    for spelling in [path.clone(), swapped.collect()] {
        let again = Sysctl::new(&spelling, value).map(|parameter| parameter.path);
        assert_eq!(again.ok().as_ref(), Some(path), "{key:?} as {spelling:?}");
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// xorshift64*; a number below the limit.
    fn throw(dice: &mut u64, limit: usize) -> usize {
        *dice ^= *dice >> 12;
        *dice ^= *dice << 25;
        *dice ^= *dice >> 27;
        let number = dice.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(number).unwrap() % limit.max(1)
    }

    fn seeds(target: &str) -> Vec<Vec<u8>> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let place = match target {
            "config_to_plan" => here.join("tests/golden"),
            _ => here.join("../fuzz/seeds").join(target),
        };
        let entries = std::fs::read_dir(&place).unwrap();
        let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        files.retain(|file| !file.to_str().unwrap().ends_with(".plan"));
        files.sort();
        files
            .iter()
            .map(|file| std::fs::read(file).unwrap())
            .collect()
    }

    /// Inputs near the seeds: bytes cut, doubled, put in, or taken from another seed.
    fn shake(target: &str, rounds: usize, oracle: fn(&[u8]) -> bool) {
        let seeds = seeds(target);
        assert!(seeds.iter().any(|seed| oracle(seed)), "no seed is accepted");
        let mut dice = 0x9E37_79B9_7F4A_7C15;
        let mut accepted = 0;
        for _ in 0..rounds {
            let mut bytes = seeds[throw(&mut dice, seeds.len())].clone();
            for _ in 0..=throw(&mut dice, 4) {
                let at = throw(&mut dice, bytes.len() + 1);
                let length = throw(&mut dice, 12).min(bytes.len() - at);
                match throw(&mut dice, 5) {
                    0 => drop(bytes.drain(at..at + length)),
                    1 if at > 0 => bytes[at - 1] ^= 1 << throw(&mut dice, 8),
                    2 => bytes.insert(at, b"\0\n \"-./09:=\\\xff"[throw(&mut dice, 13)]),
                    3 => {
                        let doubled = bytes[at..at + length].to_vec();
                        bytes.splice(at..at, doubled);
                    }
                    _ => {
                        let other = &seeds[throw(&mut dice, seeds.len())];
                        let from = throw(&mut dice, other.len());
                        let piece = other[from..].iter().copied().take(40);
                        drop(bytes.splice(at..at + length, piece));
                    }
                }
            }
            accepted += usize::from(oracle(&bytes));
        }
        assert!((1..rounds).contains(&accepted), "{accepted} of {rounds}");
    }

    fn of_text(oracle: fn(&str) -> bool, bytes: &[u8]) -> bool {
        oracle(&String::from_utf8_lossy(bytes))
    }

    #[test]
    fn configs_hold() {
        shake("config_to_plan", 500, config_to_plan);
    }

    #[test]
    fn what_comes_over_the_wire_holds() {
        shake("frames", 3000, frames);
    }

    #[test]
    fn words_of_mounts_hold() {
        shake("mount_options", 3000, |bytes| of_text(mount_options, bytes));
    }

    #[test]
    fn maps_of_ids_hold() {
        shake("id_maps", 3000, id_maps);
    }

    #[test]
    fn lists_of_cpus_hold() {
        shake("cpusets", 3000, |bytes| of_text(cpusets, bytes));
    }

    #[test]
    fn records_hold() {
        shake("state_record", 3000, state_record);
    }

    #[test]
    fn what_netlink_says_holds() {
        shake("netlink", 3000, netlink);
    }

    #[test]
    fn what_a_bus_says_holds() {
        shake("bus", 3000, bus);
    }

    #[test]
    fn values_of_properties_hold() {
        shake("property_value", 3000, |bytes| {
            of_text(property_value, bytes)
        });
    }

    #[test]
    fn users_hold() {
        shake("passwd", 3000, passwd);
    }

    #[test]
    fn mounts_hold() {
        shake("mountinfo", 3000, mountinfo);
    }

    #[test]
    fn kernel_parameters_hold() {
        shake("sysctl", 3000, |bytes| of_text(sysctl, bytes));
    }
}
