//! What the host can do, as plain data, asked only when a plan needs it.
//! Reads; changes nothing.

use crate::cgroup::{Directories, Layout};
use crate::config::{Config, IdMapping, NamespaceKind};
use crate::error::{Error, Result};
use crate::plan::{Facts, MapWriter};
use crate::sys::probe;
use nix::unistd::{AccessFlags, access, getegid, geteuid};
use std::fs::File;
use std::os::unix::fs::MetadataExt;

/// The facts that this configuration's plan depends on.
pub(crate) fn facts(
    config: &Config,
    layout: &Layout,
    cgroup_directories: Directories,
) -> Result<Facts> {
    let effective = capability_set(caps::CapSet::Effective)?;
    let privileged = effective & caps::Capability::CAP_SYS_ADMIN.bitmask() != 0;
    Ok(Facts {
        privileged,
        device_nodes: privileged && !in_user_namespace(),
        map_writer: map_writer(config, effective)?,
        mount_api: probe::mount_api(),
        mount_setattr: probe::mount_setattr(),
        clone3: probe::clone3(),
        bounding: grantable(config)?,
        cgroup: layout.facts(),
        cgroup_directories,
        unit: None,
        owned_by_user: owned_by_user(config)?,
        callers_own: callers_own(config)?,
        apparmor: config.process.apparmor_profile.is_some() && apparmor(),
        selinux: (config.process.selinux_label.is_some() || config.mount_label.is_some())
            && selinux(),
        resctrl: config.rdt.as_ref().and_then(|_| resctrl()),
    })
}

/// apparmor(7)
fn apparmor() -> bool {
    let enabled = std::fs::read("/sys/module/apparmor/parameters/enabled");
    enabled.is_ok_and(|text| text.starts_with(b"Y"))
}

/// Where resctrl is mounted.
fn resctrl() -> Option<String> {
    let mounts = procfs::process::Process::myself().ok()?.mountinfo().ok()?;
    let mount = mounts
        .into_iter()
        .find(|mount| mount.fs_type == "resctrl")?;
    mount.mount_point.into_os_string().into_string().ok()
}

/// selinux(8): without a policy nobody mounts its filesystem.
fn selinux() -> bool {
    std::path::Path::new("/sys/fs/selinux/enforce").exists()
}

/// Without the host's root: another user, or the root of a user namespace.
pub(crate) fn rootless() -> bool {
    !geteuid().is_root() || in_user_namespace()
}

/// In another than the first.
fn in_user_namespace() -> bool {
    const PROC_USER_INIT_INO: u64 = 0xefff_fffd;
    let namespace = std::fs::metadata("/proc/self/ns/user");
    namespace.is_ok_and(|file| file.ino() != PROC_USER_INIT_INO)
}

/// For the user namespace that the configuration makes, if it makes one.
fn map_writer(config: &Config, effective: u64) -> Result<MapWriter> {
    let needed = caps::Capability::CAP_SETUID.bitmask() | caps::Capability::CAP_SETGID.bitmask();
    if !config.makes(NamespaceKind::User) || effective & needed == needed {
        return Ok(MapWriter::Ourselves);
    }
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    let alone = |maps: &[IdMapping], own| matches!(maps, [map] if map.host == own && map.size == 1);
    if alone(&config.uid_mappings, uid) && alone(&config.gid_mappings, gid) {
        let groups = nix::unistd::getgroups()
            .map_err(|errno| Error::system("cannot read this process's groups", errno))?;
        let other_groups = groups.iter().any(|group| group.as_raw() != gid);
        return Ok(MapWriter::OwnIds { other_groups });
    }
    let helper = |name, property| {
        let why = "this user may map no id but its own";
        let missing = format!("{name} is not installed, and without it {why}");
        find_program(name).ok_or_else(|| Error::unsupported(property, missing))
    };
    Ok(MapWriter::Helpers {
        newuidmap: helper("newuidmap", "linux.uidMappings")?,
        newgidmap: helper("newgidmap", "linux.gidMappings")?,
    })
}

/// In PATH, or where Linux systems have it.
fn find_program(name: &str) -> Option<String> {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':')
        .chain(["/usr/bin"])
        .filter(|directory| directory.starts_with('/'))
        .map(|directory| format!("{directory}/{name}"))
        .find(|program| access(&**program, AccessFlags::X_OK).is_ok())
}

/// A process that makes its user namespace holds everything in it.
fn grantable(config: &Config) -> Result<u64> {
    if config.namespace(NamespaceKind::User).is_some() {
        return Ok(u64::MAX);
    }
    let held = capability_set(caps::CapSet::Permitted)?;
    let asked = held & config.process.capabilities.all();
    // The kernel tells of the bounding set one by one.
    let mut grantable = 0;
    for capability in caps::all() {
        let bit = capability.bitmask() & asked;
        if bit != 0
            && caps::has_cap(None, caps::CapSet::Bounding, capability).map_err(unreadable)?
        {
            grantable |= bit;
        }
    }
    Ok(grantable)
}

fn capability_set(set: caps::CapSet) -> Result<u64> {
    let names = caps::read(None, set).map_err(unreadable)?;
    Ok(names
        .iter()
        .fold(0, |bits, capability| bits | capability.bitmask()))
}

fn unreadable(error: caps::errors::CapsError) -> Error {
    let words = format!("cannot read this process's capabilities: {error}");
    Error::new(crate::ErrorKind::System, words)
}

/// Of the namespaces joined by path, those that the user namespace joined by path owns: they can
/// only be joined from inside of it. ioctl_ns(2)
fn owned_by_user(config: &Config) -> Result<Vec<NamespaceKind>> {
    let Some(user) = config
        .namespace(NamespaceKind::User)
        .and_then(|namespace| namespace.path.as_deref())
    else {
        return Ok(Vec::new());
    };
    let target = inode(&open(user)?)?;
    let mut owned = Vec::new();
    for namespace in config
        .namespaces
        .iter()
        .filter(|namespace| namespace.kind != NamespaceKind::User)
    {
        let Some(path) = namespace.path.as_deref() else {
            continue;
        };
        let owner = crate::sys::namespace::owner(&open(path)?);
        if owner.is_some_and(|owner| inode(&owner).is_ok_and(|inode| inode == target)) {
            owned.push(namespace.kind);
        }
    }
    Ok(owned)
}

/// Of the namespaces joined by path whose parameters are to be set, or that devices go to, those that this
/// process is in.
fn callers_own(config: &Config) -> Result<Vec<NamespaceKind>> {
    let mut own = Vec::new();
    let devices = config.net_devices.first().map(|_| NamespaceKind::Network);
    for kind in config
        .sysctls
        .iter()
        .map(|parameter| parameter.kind)
        .chain(devices)
    {
        let namespace = config.namespace(kind);
        let Some(path) = namespace.and_then(|namespace| namespace.path.as_deref()) else {
            continue;
        };
        let ours = open(&format!("/proc/thread-self/ns/{}", kind.file()))?;
        if inode(&open(path)?)? == inode(&ours)? {
            own.push(kind);
        }
    }
    Ok(own)
}

fn open(path: &str) -> Result<File> {
    File::open(path).map_err(|error| {
        Error::system(format!("cannot open namespace {path}"), error).at("linux.namespaces")
    })
}

fn inode(file: &File) -> Result<u64> {
    file.metadata()
        .map(|data| data.ino())
        .map_err(|error| Error::system("cannot stat a namespace", error))
}
