//! The temporary directory: compiled programs and the two bundles.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use serde_json::{Value, json};

/// Directory of the run; removed on drop.
#[derive(Debug)]
pub(crate) struct Workshop {
    /// Where everything is.
    pub dir: PathBuf,
}

/// Compilers to try in order: musl's payload is the smallest.
const COMPILERS: &[&str] = &["musl-gcc", "cc"];

impl Workshop {
    /// Compiles the C programs and lays out the bundles.
    pub(crate) fn open() -> Result<Workshop, String> {
        let dir = std::env::temp_dir().join(format!("longshore-bench-{}", std::process::id()));
        fs::create_dir(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        let shop = Workshop { dir };
        shop.compile("payload", include_str!("../payload.c"), COMPILERS)?;
        // Kernel headers are glibc's neighbours, not musl's.
        shop.compile("floor", include_str!("../floor.c"), &["cc"])?;
        shop.rootfs()
            .map_err(|error| format!("root filesystem: {error}"))?;
        Ok(shop)
    }

    /// Path of something in the directory, as text.
    pub(crate) fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    /// Writes the bundles: payloads that end at once and wait, and what dockerd 20.10 asks for, its hooks left out,
    /// with and without its seccomp profile. On cgroup2 the first two have a cgroup namespace, as `runc spec` gives there.
    pub(crate) fn bundles(&self, cgroup2: bool) -> Result<(), String> {
        let mut config: Value = serde_json::from_str(include_str!("../config.json"))
            .map_err(|error| error.to_string())?;
        config["root"]["path"] = json!(self.path("rootfs"));
        if let (true, Some(list)) = (cgroup2, config["linux"]["namespaces"].as_array_mut()) {
            list.push(json!({ "type": "cgroup" }));
        }
        for (name, args) in [
            ("exits", json!(["/payload"])),
            ("waits", json!(["/payload", "wait"])),
        ] {
            config["process"]["args"] = args;
            self.bundle(name, &config)?;
        }
        let mut docker: Value = serde_json::from_str(include_str!("../docker.json"))
            .map_err(|error| error.to_string())?;
        docker["root"]["path"] = json!(self.path("rootfs"));
        for mount in docker["mounts"].as_array_mut().into_iter().flatten() {
            if mount["type"] == "bind" {
                mount["source"] = json!(self.path("payload.c"));
            }
        }
        self.bundle("docker", &docker)?;
        if let Some(linux) = docker["linux"].as_object_mut() {
            linux.remove("seccomp");
        }
        self.bundle("docker-unfiltered", &docker)
    }

    /// A copy of a program, and where it is. What the page cache holds of a file depends on how it came there, in
    /// pieces or as a whole, and so does the time of each page fault: the same program was 6 % slower elsewhere.
    pub(crate) fn program(&self, name: &str, from: &str) -> Result<String, String> {
        let path = self.dir.join(name);
        let copied = fs::create_dir(&path).and_then(|()| {
            let path = path.join("longshore");
            fs::copy(from, &path)?;
            let file = fs::File::open(&path)?;
            file.sync_all()?;
            posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?;
            fs::read(&path).map(drop)
        });
        copied.map_err(|error| format!("cannot copy {from}: {error}"))?;
        Ok(self.path(&format!("{name}/longshore")))
    }

    fn bundle(&self, name: &str, config: &Value) -> Result<(), String> {
        let bundle = self.dir.join(name);
        let written = fs::create_dir_all(&bundle)
            .and_then(|()| fs::write(bundle.join("config.json"), config.to_string()));
        written.map_err(|error| format!("{}: {error}", bundle.display()))
    }

    fn compile(&self, name: &str, source: &str, compilers: &[&str]) -> Result<(), String> {
        let (input, output) = (self.path(&format!("{name}.c")), self.path(name));
        fs::write(&input, source).map_err(|error| error.to_string())?;
        let compiles = |compiler: &&&str| {
            let status = Command::new(compiler)
                .args(["-O2", "-static", "-s", "-o", &output, &input])
                .status();
            status.is_ok_and(|status| status.success())
        };
        compilers
            .iter()
            .find(compiles)
            .map(drop)
            .ok_or_else(|| format!("no compiler for {name}.c among {compilers:?}"))
    }

    fn rootfs(&self) -> std::io::Result<()> {
        let root = self.dir.join("rootfs");
        // The root is read-only for the container, so its mount points must be there.
        for name in ["proc", "dev", "sys"] {
            fs::create_dir_all(root.join(name))?;
        }
        fs::copy(self.dir.join("payload"), root.join("payload")).map(drop)
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(Path::new(&self.dir)); // only temporary files
    }
}
