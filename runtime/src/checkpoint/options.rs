//! What a caller says about a checkpoint or a restore, and the two directories that it names.
#![forbid(unsafe_code)]

use super::rpc;
use crate::cgroup;
use crate::error::{Error, Result};
use std::fs::{DirBuilder, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// How CRIU treats the cgroups of what it dumps and restores. <https://criu.org/CGroups>
///
/// ```
/// assert_eq!("strict".parse(), Ok(longshore::CgroupsMode::Strict));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CgroupsMode {
    /// Directories that are missing are made, and only those get their properties back.
    #[default]
    Soft,
    /// All directories and properties.
    Full,
    /// They must not be there.
    Strict,
    /// Everything stays in the container's cgroup.
    Ignore,
}

impl std::str::FromStr for CgroupsMode {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "soft" => Ok(CgroupsMode::Soft),
            "full" => Ok(CgroupsMode::Full),
            "strict" => Ok(CgroupsMode::Strict),
            "ignore" => Ok(CgroupsMode::Ignore),
            _ => Err(format!("{word:?} is none of soft, full, strict and ignore")),
        }
    }
}

impl CgroupsMode {
    /// `criu_cg_mode`.
    fn number(self) -> i32 {
        match self {
            CgroupsMode::Ignore => 0,
            CgroupsMode::Soft => 3,
            CgroupsMode::Full => 4,
            CgroupsMode::Strict => 5,
        }
    }
}

/// What a checkpoint and a restore have in common. By default no resource beyond the container's own is taken
/// along, and what needs one is an error of CRIU's.
///
/// ```
/// use longshore::CriuOptions;
/// let mut options = CriuOptions::new("/srv/checkpoints/web1");
/// options.tcp_established = true;
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct CriuOptions {
    /// Where the images are.
    pub images: PathBuf,
    /// Where CRIU's log goes; where the images are, if absent.
    pub work: Option<PathBuf>,
    /// Established TCP connections too.
    pub tcp_established: bool,
    /// Connections over Unix sockets to processes outside.
    pub ext_unix_sk: bool,
    /// A terminal from outside as the controlling one.
    pub shell_job: bool,
    /// File locks.
    pub file_locks: bool,
    /// How cgroups are treated.
    pub cgroups: CgroupsMode,
    /// Images are punched out as they are read, or as a later one holds the same.
    pub auto_dedup: bool,
    /// Memory is fetched from a page server as it is used.
    pub lazy_pages: bool,
}

impl CriuOptions {
    /// With images in this directory.
    pub fn new(images: impl Into<PathBuf>) -> CriuOptions {
        CriuOptions {
            images: images.into(),
            ..CriuOptions::default()
        }
    }

    /// What goes to CRIU of it. The directories must outlive the request.
    pub(crate) fn request(&self, directories: &Directories) -> rpc::Options {
        rpc::Options {
            images_dir: directories.images.as_raw_fd(),
            work_dir: Some(directories.work.as_raw_fd()),
            log_level: Some(4),
            notify_scripts: Some(true),
            orphan_pts_master: Some(true),
            tcp_established: Some(self.tcp_established),
            ext_unix_sk: Some(self.ext_unix_sk),
            shell_job: Some(self.shell_job),
            file_locks: Some(self.file_locks),
            auto_dedup: Some(self.auto_dedup),
            lazy_pages: Some(self.lazy_pages),
            manage_cgroups: Some(true),
            cgroups_mode: Some(self.cgroups.number()),
            // Devices of a network namespace are somebody else's work: hooks and engines bring them again.
            empty_namespaces: Some(libc::CLONE_NEWNET.cast_unsigned()),
            ..rpc::Options::default()
        }
    }

    /// Instead of the cgroups that the container had: its id, or its host, may be another one now.
    pub(crate) fn cgroup_roots(&self, cgroups: &cgroup::Directories) -> Vec<rpc::CgroupRoot> {
        if self.cgroups == CgroupsMode::Ignore {
            return Vec::new();
        }
        let root = |place: &cgroup::Directory| rpc::CgroupRoot {
            controller: (!place.is_v2()).then(|| place.controllers.clone()),
            path: format!("/{}", place.path),
        };
        cgroups.0.iter().map(root).collect()
    }

    /// Where CRIU's log goes.
    pub(crate) fn work_path(&self) -> &Path {
        self.work.as_deref().unwrap_or(&self.images)
    }
}

/// The two directories, open.
#[derive(Debug)]
pub(crate) struct Directories {
    pub(crate) images: File,
    pub(crate) work: File,
}

impl Directories {
    /// For a dump: made if missing.
    pub(crate) fn make(options: &CriuOptions) -> Result<()> {
        for path in [options.images.as_path(), options.work_path()] {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
            made.map_err(|error| Error::system(format!("cannot make {}", path.display()), error))?;
        }
        Ok(())
    }

    pub(crate) fn open(options: &CriuOptions) -> Result<Directories> {
        let open = |path: &Path| {
            File::open(path)
                .map_err(|error| Error::system(format!("cannot open {}", path.display()), error))
        };
        Ok(Directories {
            images: open(&options.images)?,
            work: open(options.work_path())?,
        })
    }
}
