//! A disk of our own, whose I/O scheduler we may choose: a file as a loop device.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::suite::{Check, Stop, ensure};

/// A loop device; it goes with the value.
#[derive(Debug)]
pub(crate) struct Disk {
    path: String,
    scheduler: PathBuf,
    /// What the scheduler was; it outlives the device.
    before: String,
    /// Its numbers.
    pub major: u32,
    /// Its numbers.
    pub minor: u32,
}

impl Disk {
    /// With BFQ, the only scheduler that knows weights.
    pub(crate) fn with_weights(file: &Path) -> Check<Disk> {
        let disk = Disk::new(file)?;
        if let Err(error) = fs::write(&disk.scheduler, "bfq") {
            let why = format!("the kernel has no scheduler with weights: {error}");
            return Err(Stop::Skip(why));
        }
        Ok(disk)
    }

    /// With the scheduler it comes with.
    pub(crate) fn new(file: &Path) -> Check<Disk> {
        File::create_new(file)?.set_len(8 << 20)?;
        let made = Command::new("losetup")
            .args(["--find", "--show"])
            .arg(file)
            .output()?;
        if !made.status.success() {
            let why = String::from_utf8_lossy(&made.stderr).trim().to_owned();
            return Err(Stop::Skip(format!("no loop device: {why}")));
        }
        let path = String::from_utf8_lossy(&made.stdout).trim().to_owned();
        let about = Path::new("/sys/block").join(path.trim_start_matches("/dev/"));
        let mut disk = Disk {
            path,
            scheduler: about.join("queue/scheduler"),
            before: String::new(),
            major: 0,
            minor: 0,
        };
        let numbers = fs::read_to_string(about.join("dev"))?;
        let numbers = numbers.trim().split_once(':');
        let numbers = numbers.and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
        ensure!(numbers.is_some(), "{} has no numbers", disk.path);
        (disk.major, disk.minor) = numbers.unwrap_or_default();
        let schedulers = fs::read_to_string(&disk.scheduler)?;
        let chosen = schedulers.split(['[', ']']).nth(1);
        disk.before = chosen.unwrap_or("none").to_owned();
        Ok(disk)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = fs::write(&self.scheduler, &self.before); // it was that a moment ago
        let mut detach = Command::new("losetup");
        let _ = detach.args(["--detach", &self.path]).status(); // nothing more can be done about it
    }
}
