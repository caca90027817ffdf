//! Root filesystems: a small busybox one per test, a Debian one shared read-only.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::suite::{Check, Stop, Suite};

const DIRECTORIES: &[&str] = &[
    "bin", "dev", "etc", "proc", "root", "run", "sys", "tmp", "usr", "var",
];

/// Copies busybox into the suite's directory, from where each root links it.
pub(crate) fn prepare(dir: &Path) -> Check<Vec<String>> {
    let binary = ["/bin/busybox", "/usr/bin/busybox"]
        .iter()
        .find(|path| Path::new(path).exists());
    let binary =
        binary.ok_or_else(|| Stop::Fail("no /bin/busybox: install busybox-static".to_owned()))?;
    fs::copy(binary, dir.join("busybox"))?;
    let output = Command::new(binary).arg("--list").output()?;
    Ok(String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter(|name| *name != "busybox")
        .map(str::to_owned)
        .collect())
}

/// A fresh root at the path. The binary is a hard link: no test writes to it.
pub(crate) fn busybox(suite: &Suite, root: &Path) -> Check {
    fs::create_dir(root)?;
    for name in DIRECTORIES {
        fs::create_dir(root.join(name))?;
    }
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777))?;
    fs::hard_link(suite.dir.join("busybox"), root.join("bin/busybox"))?;
    for applet in &suite.applets {
        symlink("busybox", root.join("bin").join(applet))?;
    }
    symlink("../bin", root.join("usr/bin"))?;
    fs::write(
        root.join("etc/passwd"),
        "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\n",
    )?;
    fs::write(root.join("etc/group"), "root:x:0:\nuser:x:1000:\n")?;
    Ok(())
}

/// The Debian root, built by `mkrootfs.sh` if it is not there yet.
pub(crate) fn debian() -> Result<PathBuf, String> {
    made("debian")
}

/// The Debian root with servers in it, built in the same way.
pub(crate) fn programs() -> Result<PathBuf, String> {
    made("programs")
}

fn made(name: &str) -> Result<PathBuf, String> {
    let shell = Command::new("sh")
        .args(["-c", include_str!("../mkrootfs.sh"), "mkrootfs.sh", name])
        .stdin(Stdio::null())
        .output();
    let output = shell.map_err(|error| format!("mkrootfs.sh: {error}"))?;
    if !output.status.success() {
        return Err(format!(
            "mkrootfs.sh: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        ));
    }
    Ok(PathBuf::from(
        String::from_utf8_lossy(&output.stdout).trim(),
    ))
}
