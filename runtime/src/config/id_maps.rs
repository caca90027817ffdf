//! Maps of user and group ids: what the kernel takes, and what it reads.
//! config-linux.md#user-namespace-mappings, user_namespaces(7). Pure.

use crate::error::Error;

/// UID_GID_MAP_MAX_EXTENTS of linux/user_namespace.h
const MOST: usize = 340;

/// A range of ids, inside and outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IdMapping {
    pub(crate) container: u32,
    pub(crate) host: u32,
    pub(crate) size: u32,
}

impl IdMapping {
    /// What an id of the container's is on the host.
    pub(crate) fn to_host(self, id: u32) -> Option<u32> {
        let offset = id.checked_sub(self.container)?;
        (offset < self.size).then(|| self.host.checked_add(offset))?
    }

    /// The last number is no id, and a map must end before it.
    fn is_range(self) -> bool {
        let fits = |first: u32| first.checked_add(self.size).is_some();
        self.size > 0 && fits(self.container) && fits(self.host)
    }

    /// Is an id in both, on either side?
    fn overlaps(self, other: IdMapping) -> bool {
        let meet = |a: u32, b: u32| {
            if a < b {
                b - a < self.size
            } else {
                a - b < other.size
            }
        };
        meet(self.container, other.container) || meet(self.host, other.host)
    }
}

/// As /proc/PID/uid_map reads it.
pub(crate) fn text(maps: &[IdMapping]) -> String {
    let lines = maps.iter();
    lines
        .map(|map| format!("{} {} {}\n", map.container, map.host, map.size))
        .collect()
}

/// What the kernel would refuse with a mere EINVAL, after half of the container was made.
pub(super) fn ranges(path: &str, list: &[IdMapping], problems: &mut Vec<Error>) {
    if list.len() > MOST {
        let message = format!("has {} ranges, and the kernel takes {MOST}", list.len());
        problems.push(Error::config(path, message));
        return;
    }
    for (index, map) in list.iter().enumerate() {
        let at = || format!("{path}[{index}]");
        if !map.is_range() {
            problems.push(Error::config(at(), "is not a range of ids"));
        } else if let Some(other) = list[..index].iter().position(|other| map.overlaps(*other)) {
            let message = format!("has an id that {path}[{other}] has too");
            problems.push(Error::config(at(), message));
        }
    }
}

/// For `internals`: is it a list that create goes on with?
#[cfg(any(test, feature = "_internals"))]
pub(crate) fn are_ranges(list: &[IdMapping]) -> bool {
    let mut problems = Vec::new();
    ranges("maps", list, &mut problems);
    problems.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_refuses_is_told() {
        let check = |list: &[(u32, u32, u32)], expect: &str| {
            let map = |&(container, host, size)| IdMapping {
                container,
                host,
                size,
            };
            let maps: Vec<_> = list.iter().map(map).collect();
            let mut problems = Vec::new();
            ranges("linux.uidMappings", &maps, &mut problems);
            let got = problems.first().map(ToString::to_string);
            assert_eq!(got.unwrap_or_default(), expect);
        };
        check(&[(0, 1000, 1), (1, 100_000, 65_536)], "");
        check(&[(0, u32::MAX - 1, 1)], "");
        check(&[(0, 0, 0)], "linux.uidMappings[0]: is not a range of ids");
        check(
            &[(0, u32::MAX - 1, 2)],
            "linux.uidMappings[0]: is not a range of ids",
        );
        let twice = "linux.uidMappings[1]: has an id that linux.uidMappings[0] has too";
        check(&[(0, 0, 10), (9, 100, 1)], twice);
        check(&[(0, 9, 1), (100, 0, 10)], twice);
        let many: Vec<_> = (0..341).map(|n| (n, n, 1)).collect();
        check(&many[..340], "");
        check(
            &many,
            "linux.uidMappings: has 341 ranges, and the kernel takes 340",
        );
    }
}
