//! Mount options as tables: what each word of `mounts[].options` means.
//! config.md#linux-mount-options. Pure.

/// MOUNT_ATTR_* of mount_setattr(2).
pub(crate) mod attr {
    pub(crate) const RDONLY: u64 = 0x1;
    pub(crate) const NOSUID: u64 = 0x2;
    pub(crate) const NODEV: u64 = 0x4;
    pub(crate) const NOEXEC: u64 = 0x8;
    pub(crate) const ATIME: u64 = 0x70;
    pub(crate) const NOATIME: u64 = 0x10;
    pub(crate) const STRICTATIME: u64 = 0x20;
    pub(crate) const NODIRATIME: u64 = 0x80;
    pub(crate) const NOSYMFOLLOW: u64 = 0x20_0000;
}

/// mount(2)'s MS_* flags.
pub(crate) mod ms {
    pub(crate) const RDONLY: u64 = 1;
    pub(crate) const NOSUID: u64 = 2;
    pub(crate) const NODEV: u64 = 4;
    pub(crate) const NOEXEC: u64 = 8;
    pub(crate) const SYNCHRONOUS: u64 = 16;
    pub(crate) const MANDLOCK: u64 = 64;
    pub(crate) const DIRSYNC: u64 = 128;
    pub(crate) const NOSYMFOLLOW: u64 = 256;
    pub(crate) const NOATIME: u64 = 1024;
    pub(crate) const NODIRATIME: u64 = 2048;
    pub(crate) const REC: u64 = 16384;
    pub(crate) const SILENT: u64 = 32768;
    pub(crate) const UNBINDABLE: u64 = 1 << 17;
    pub(crate) const PRIVATE: u64 = 1 << 18;
    pub(crate) const SLAVE: u64 = 1 << 19;
    pub(crate) const SHARED: u64 = 1 << 20;
    pub(crate) const RELATIME: u64 = 1 << 21;
    pub(crate) const I_VERSION: u64 = 1 << 23;
    pub(crate) const STRICTATIME: u64 = 1 << 24;
    pub(crate) const LAZYTIME: u64 = 1 << 25;
}

/// What an option does to a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    Nothing,
    Bind {
        recursive: bool,
    },
    /// Attributes to set and to clear, with what mount(2) calls the same.
    Attribute {
        set: u64,
        clear: u64,
        recursive: bool,
    },
    /// A superblock flag: its name for fsconfig(2), its MS_* flag, on or off.
    Superblock {
        flag: u64,
        on: bool,
    },
    Propagation(u64),
    Remount,
    CopyUp,
    IdMap {
        recursive: bool,
    },
}

use Effect::{Attribute, Bind, IdMap, Nothing, Superblock};

const fn set(bits: u64) -> Effect {
    Attribute {
        set: bits,
        clear: 0,
        recursive: false,
    }
}

const fn clear(bits: u64) -> Effect {
    Attribute {
        set: 0,
        clear: bits,
        recursive: false,
    }
}

const fn atime(bits: u64) -> Effect {
    Attribute {
        set: bits,
        clear: attr::ATIME,
        recursive: false,
    }
}

const fn all_set(bits: u64) -> Effect {
    Attribute {
        set: bits,
        clear: 0,
        recursive: true,
    }
}

const fn all_clear(bits: u64) -> Effect {
    Attribute {
        set: 0,
        clear: bits,
        recursive: true,
    }
}

const fn all_atime(bits: u64) -> Effect {
    Attribute {
        set: bits,
        clear: attr::ATIME,
        recursive: true,
    }
}

const fn superblock(flag: u64, on: bool) -> Effect {
    Superblock { flag, on }
}

/// Every word of the spec. What isn't here goes to the filesystem.
const OPTIONS: &[(&str, Effect)] = &[
    ("async", superblock(ms::SYNCHRONOUS, false)),
    ("atime", Nothing),
    ("bind", Bind { recursive: false }),
    ("defaults", Nothing),
    ("dev", clear(attr::NODEV)),
    ("diratime", clear(attr::NODIRATIME)),
    ("dirsync", superblock(ms::DIRSYNC, true)),
    ("exec", clear(attr::NOEXEC)),
    ("idmap", IdMap { recursive: false }),
    ("iversion", superblock(ms::I_VERSION, true)),
    ("lazytime", superblock(ms::LAZYTIME, true)),
    ("loud", superblock(ms::SILENT, false)),
    ("mand", superblock(ms::MANDLOCK, true)),
    ("noatime", atime(attr::NOATIME)),
    ("nodev", set(attr::NODEV)),
    ("nodiratime", set(attr::NODIRATIME)),
    ("noexec", set(attr::NOEXEC)),
    ("noiversion", superblock(ms::I_VERSION, false)),
    ("nolazytime", superblock(ms::LAZYTIME, false)),
    ("nomand", superblock(ms::MANDLOCK, false)),
    ("norelatime", Nothing),
    ("nostrictatime", Nothing),
    ("nosuid", set(attr::NOSUID)),
    ("nosymfollow", set(attr::NOSYMFOLLOW)),
    ("private", Effect::Propagation(ms::PRIVATE)),
    ("ratime", all_atime(0)),
    ("rbind", Bind { recursive: true }),
    ("rdev", all_clear(attr::NODEV)),
    ("rdiratime", all_clear(attr::NODIRATIME)),
    ("relatime", atime(0)),
    ("remount", Effect::Remount),
    ("rexec", all_clear(attr::NOEXEC)),
    ("ridmap", IdMap { recursive: true }),
    ("rnoatime", all_atime(attr::NOATIME)),
    ("rnodev", all_set(attr::NODEV)),
    ("rnodiratime", all_set(attr::NODIRATIME)),
    ("rnoexec", all_set(attr::NOEXEC)),
    ("rnorelatime", all_atime(0)),
    ("rnostrictatime", all_atime(0)),
    ("rnosuid", all_set(attr::NOSUID)),
    ("rnosymfollow", all_set(attr::NOSYMFOLLOW)),
    ("ro", set(attr::RDONLY)),
    ("rprivate", Effect::Propagation(ms::PRIVATE | ms::REC)),
    ("rrelatime", all_atime(0)),
    ("rro", all_set(attr::RDONLY)),
    ("rrw", all_clear(attr::RDONLY)),
    ("rshared", Effect::Propagation(ms::SHARED | ms::REC)),
    ("rslave", Effect::Propagation(ms::SLAVE | ms::REC)),
    ("rstrictatime", all_atime(attr::STRICTATIME)),
    ("rsuid", all_clear(attr::NOSUID)),
    ("rsymfollow", all_clear(attr::NOSYMFOLLOW)),
    ("runbindable", Effect::Propagation(ms::UNBINDABLE | ms::REC)),
    ("rw", clear(attr::RDONLY)),
    ("shared", Effect::Propagation(ms::SHARED)),
    ("silent", superblock(ms::SILENT, true)),
    ("slave", Effect::Propagation(ms::SLAVE)),
    ("strictatime", atime(attr::STRICTATIME)),
    ("suid", clear(attr::NOSUID)),
    ("symfollow", clear(attr::NOSYMFOLLOW)),
    ("sync", superblock(ms::SYNCHRONOUS, true)),
    ("tmpcopyup", Effect::CopyUp),
    ("unbindable", Effect::Propagation(ms::UNBINDABLE)),
];

/// All words of the spec, in their order: sorted.
pub(crate) fn words() -> Vec<&'static str> {
    OPTIONS.iter().map(|(word, _)| *word).collect()
}

/// Attributes and the mount(2) flags that mean the same, with the names a plan prints.
pub(crate) const ATTRIBUTES: [(u64, u64, &str); 6] = [
    (attr::RDONLY, ms::RDONLY, "ro"),
    (attr::NOSUID, ms::NOSUID, "nosuid"),
    (attr::NODEV, ms::NODEV, "nodev"),
    (attr::NOEXEC, ms::NOEXEC, "noexec"),
    (attr::NODIRATIME, ms::NODIRATIME, "nodiratime"),
    (attr::NOSYMFOLLOW, ms::NOSYMFOLLOW, "nosymfollow"),
];

/// Superblock flags by fsconfig(2)'s names; one without a name only mount(2) can set.
pub(crate) const SUPERBLOCK: [(u64, Option<&str>); 6] = [
    (ms::SYNCHRONOUS, Some("sync")),
    (ms::DIRSYNC, Some("dirsync")),
    (ms::LAZYTIME, Some("lazytime")),
    (ms::MANDLOCK, Some("mand")),
    (ms::SILENT, None),
    (ms::I_VERSION, None),
];

/// SELinux's options of any filesystem: with commas inside. selinux(8)
const CONTEXTS: [&str; 4] = ["context", "fscontext", "defcontext", "rootcontext"];

/// mount(2) takes a page of options, cut off without a word, which a mode may be put in front of.
pub(crate) const MOUNT2_DATA_MAX: usize = 4080;

/// fsconfig(2) takes values up to this many bytes.
const FSCONFIG_VALUE_MAX: usize = 255;

/// A mount's options, sorted by what they act on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MountOptions {
    /// `Some(recursive)`: the words bind or rbind were there.
    pub(crate) bind: Option<bool>,
    pub(crate) set: u64,
    pub(crate) clear: u64,
    pub(crate) recursive_set: u64,
    pub(crate) recursive_clear: u64,
    /// MS_* flags of the superblock.
    pub(crate) superblock: u64,
    pub(crate) propagation: Vec<u64>,
    /// A mount that is there is changed, none is made.
    pub(crate) remount: bool,
    /// A tmpfs starts with what the directory below it holds.
    pub(crate) copy_up: bool,
    /// `Some(recursive)`: the words idmap or ridmap were there.
    pub(crate) id_map: Option<bool>,
    /// The filesystem's own options, in order.
    pub(crate) data: Vec<(String, Option<String>)>,
}

impl MountOptions {
    /// Sorts the words. What isn't known is the filesystem's own.
    pub(crate) fn parse(words: &[String]) -> MountOptions {
        let mut options = MountOptions::default();
        for word in words {
            match OPTIONS.iter().find(|(name, _)| name == word) {
                Some((_, effect)) => options.apply(*effect),
                None => options.push_data(word),
            }
        }
        options
    }

    fn apply(&mut self, effect: Effect) {
        match effect {
            Nothing => {}
            // The wider one counts.
            IdMap { recursive } => self.id_map = Some(recursive || self.id_map == Some(true)),
            Bind { recursive } => self.bind = Some(recursive),
            Attribute {
                set,
                clear,
                recursive: false,
            } => {
                self.set = self.set & !clear | set;
                self.clear = self.clear & !set | clear;
            }
            Attribute {
                set,
                clear,
                recursive: true,
            } => {
                self.recursive_set = self.recursive_set & !clear | set;
                self.recursive_clear = self.recursive_clear & !set | clear;
            }
            Superblock { flag, on: true } => self.superblock |= flag,
            Superblock { flag, on: false } => self.superblock &= !flag,
            Effect::Propagation(flags) => self.propagation.push(flags),
            Effect::Remount => self.remount = true,
            Effect::CopyUp => self.copy_up = true,
        }
        // The access-time bits are one field: mount_setattr(2) wants it cleared whole before it is set.
        for (set, clear) in [
            (self.set, &mut self.clear),
            (self.recursive_set, &mut self.recursive_clear),
        ] {
            if set & attr::ATIME != 0 {
                *clear |= attr::ATIME;
            }
        }
    }

    fn push_data(&mut self, word: &str) {
        if word.is_empty() {
            return;
        }
        let (key, value) = match word.split_once('=') {
            // fsconfig(2) takes no quotes; mount(2) needs them.
            Some((key, value)) if CONTEXTS.contains(&key) => {
                (key, Some(value.trim_matches('"').to_owned()))
            }
            Some((key, value)) => (key, Some(value.to_owned())),
            None => (word, None),
        };
        self.data.push((key.to_owned(), value));
    }

    /// Can fsopen(2) make this mount, or does only mount(2) take its options?
    pub(crate) fn needs_mount2(&self) -> bool {
        let nameless = SUPERBLOCK
            .iter()
            .any(|(flag, name)| name.is_none() && self.superblock & flag != 0);
        let long = |(key, value): &(String, Option<String>)| {
            key.len() > FSCONFIG_VALUE_MAX
                || value
                    .as_ref()
                    .is_some_and(|value| value.len() > FSCONFIG_VALUE_MAX)
        };
        nameless || self.data.iter().any(long)
    }

    /// What fsconfig(2) is told, where that is enough.
    pub(crate) fn fsconfig(&self) -> Vec<(&str, Option<&str>)> {
        let flags = SUPERBLOCK.iter();
        let flags = flags.filter(|(flag, _)| self.superblock & flag != 0);
        let flags = flags.filter_map(|(_, name)| name.map(|name| (name, None)));
        let data = self.data.iter();
        let data = data.map(|(key, value)| (key.as_str(), value.as_deref()));
        flags.chain(data).collect()
    }

    /// overlay's layers as options of their own (Linux 6.7): together they may be longer than mount(2)'s page.
    pub(crate) fn split_layers(&mut self) {
        let given = std::mem::take(&mut self.data);
        for (key, value) in given {
            match value {
                Some(layers) if key == "lowerdir" => self.data.extend(layers_of(&layers)),
                value => self.data.push((key, value)),
            }
        }
    }

    /// The flags of mount(2) for a new mount.
    pub(crate) fn mount2_flags(&self) -> u64 {
        let mut flags = self.superblock;
        for (attribute, flag, _) in ATTRIBUTES {
            if self.set & attribute != 0 {
                flags |= flag;
            }
        }
        flags
            | match self.set & attr::ATIME {
                attr::NOATIME => ms::NOATIME,
                attr::STRICTATIME => ms::STRICTATIME,
                _ => ms::RELATIME,
            }
    }

    /// The data string of mount(2).
    pub(crate) fn mount2_data(&self) -> String {
        let words = self.data.iter().map(|(key, value)| match value {
            // Its commas are no separators.
            Some(value) if CONTEXTS.contains(&key.as_str()) => format!("{key}=\"{value}\""),
            Some(value) => format!("{key}={value}"),
            None => key.clone(),
        });
        words.collect::<Vec<_>>().join(",")
    }
}

/// Layers are separated by `:`, those that hold data only follow on `::`; `\\` takes the next character's meaning.
fn layers_of(text: &str) -> Vec<(String, Option<String>)> {
    let (mut layers, mut key, mut layer) = (Vec::new(), "lowerdir+", String::new());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => layer.extend(characters.next()),
            ':' if layer.is_empty() => key = "datadir+",
            ':' => layers.push((key.to_owned(), Some(std::mem::take(&mut layer)))),
            other => layer.push(other),
        }
    }
    layers.push((key.to_owned(), Some(layer)));
    layers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> MountOptions {
        MountOptions::parse(
            &words
                .iter()
                .map(|word| (*word).to_owned())
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn contexts_are_quoted_for_mount2_alone() {
        for word in ["context=\"u:r:t:s0:c1,c2\"", "context=u:r:t:s0:c1,c2"] {
            let options = parse(&[word, "size=1k"]);
            assert_eq!(options.data[0].1.as_deref(), Some("u:r:t:s0:c1,c2"));
            assert_eq!(options.mount2_data(), "context=\"u:r:t:s0:c1,c2\",size=1k");
        }
    }

    #[test]
    fn the_last_word_wins() {
        let options = parse(&["ro", "rw", "nosuid"]);
        assert_eq!((options.set, options.clear), (attr::NOSUID, attr::RDONLY));
        let options = parse(&["noatime", "strictatime"]);
        assert_eq!(
            (options.set, options.clear),
            (attr::STRICTATIME, attr::ATIME)
        );
    }

    #[test]
    fn what_we_do_not_know_is_the_filesystems() {
        let options = parse(&["mode=755", "noexec", "newinstance", "sync"]);
        assert_eq!(options.mount2_data(), "mode=755,newinstance");
        assert_eq!(options.superblock, ms::SYNCHRONOUS);
        assert!(!options.needs_mount2());
    }

    #[test]
    fn mount2_takes_what_fsconfig_does_not() {
        assert!(parse(&["silent"]).needs_mount2());
        assert!(parse(&[&format!("lowerdir={}", "x".repeat(300))]).needs_mount2());
    }

    #[test]
    fn layers_are_split() {
        let mut options = parse(&[r"lowerdir=/a\:b:/c::/d::/e", "index=off"]);
        options.split_layers();
        let got: Vec<_> = options
            .data
            .iter()
            .map(|(key, value)| format!("{key}={}", value.as_deref().unwrap_or("")))
            .collect();
        let expect = [
            "lowerdir+=/a:b",
            "lowerdir+=/c",
            "datadir+=/d",
            "datadir+=/e",
            "index=off",
        ];
        assert_eq!(got, expect);
    }

    #[test]
    fn the_wider_id_map_counts() {
        assert_eq!(parse(&["ro", "ridmap", "idmap"]).id_map, Some(true));
        assert_eq!(parse(&["idmap"]).id_map, Some(false));
    }

    #[test]
    fn the_table_is_sorted_and_has_no_word_twice() {
        assert!(OPTIONS.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}
