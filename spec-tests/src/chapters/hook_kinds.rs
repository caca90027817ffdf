//! config.md#posix-platform-hooks: that each kind runs at all, and only if it is there.

use serde_json::json;

use crate::config::{push, strip};
use crate::property::{Expect, PROPERTY, Probe, Property};

/// A hook that makes a file in the bundle: the directory is called so where the hook runs.
macro_rules! kind {
    ($kind:literal, $directory:expr, $file:literal) => {
        Property {
            name: concat!("hooks.", $kind),
            set: |scene, config| {
                let directory: Option<&str> = $directory;
                let bundle = scene.dir.display().to_string();
                let directory = directory.unwrap_or(&bundle);
                let command = format!("echo ran > {directory}/ran");
                let hook = json!({ "path": "/bin/sh", "args": ["sh", "-c", command] });
                push(config, concat!("/hooks/", $kind), hook);
            },
            strip: |config| strip(config, concat!("/hooks/", $kind)),
            probe: Probe::Script("true"),
            expect: Expect::That(|scene, _| scene.path($file).exists()),
            ..PROPERTY
        }
    };
}

pub(crate) const PROPERTIES: &[Property] = &[
    kind!("prestart", None, "ran"),
    kind!("createRuntime", None, "ran"),
    kind!("createContainer", None, "ran"),
    kind!("startContainer", Some(""), "rootfs/ran"),
    kind!("poststart", None, "ran"),
    kind!("poststop", None, "ran"),
];
