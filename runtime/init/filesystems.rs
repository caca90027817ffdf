//! New filesystems: by fsopen(2), or by mount(2) where the kernel, a filter or
//! the options leave no other way. What a tmpfs takes from the directory below it.

use crate::copy::copy_tree;
use crate::paths::{self, Missing};
use crate::program::{Detail, Text, Tmpfs};
use crate::run::{Init, Outcome, Refused};
use crate::sys::{self, attr, ms};
use alloc::vec::Vec;

impl Init<'_> {
    pub(crate) fn mount_filesystem(&mut self, mount: &Filesystem<'_, '_>) -> Outcome {
        let context = sys::fsopen(mount.fstype.with_nul())
            .refused_text(Detail::OpenFilesystem, mount.fstype.bytes())?;
        let source = mount.source.map(|source| (Text::new(b"source\0"), source));
        if let Some((Some(key), source)) = source {
            sys::fsconfig(context.fd(), key.with_nul(), Some(source.with_nul()))
                .refused(Detail::FilesystemOption)?;
        }
        for (key, value) in mount.options {
            sys::fsconfig(context.fd(), key.with_nul(), value.map(Text::with_nul))
                .refused_text(Detail::FilesystemOption, key.bytes())?;
        }
        let mode = self.covered_mode(mount.target, mount.tmpfs)?;
        if !mode.is_empty() {
            let mode = [mode.as_slice(), b"\0"].concat();
            sys::fsconfig(context.fd(), b"mode\0", Some(&mode))
                .refused(Detail::FilesystemOption)?;
        }
        sys::fsconfig_create(context.fd()).refused(Detail::CreateFilesystem)?;
        let filled = mount.tmpfs.is_some_and(|tmpfs| tmpfs.contents);
        let late = if filled { attr::RDONLY } else { 0 };
        let tree = sys::fsmount(context.fd(), mount.attributes & !late)
            .refused(Detail::CreateFilesystem)?;
        let target = self.filesystem_target(mount.target, mount.real_directory)?;
        if filled {
            copy_tree(target.fd(), tree.fd())?;
            sys::mount_setattr(tree.fd(), false, mount.attributes & late, 0, 0)
                .refused(Detail::SetAttributes)?;
        }
        sys::attach(tree.fd(), target.fd()).refused(Detail::Attach)
    }

    pub(crate) fn mount_legacy(&mut self, mount: &Legacy<'_, '_>) -> Outcome {
        let mut data = mount.data.with_nul().to_vec();
        let mode = self.covered_mode(mount.target, mount.tmpfs)?;
        if !mode.is_empty() {
            data = [b"mode=", mode.as_slice(), b",", data.as_slice()].concat();
        }
        let filled = mount.tmpfs.is_some_and(|tmpfs| tmpfs.contents);
        let late = if filled { ms::RDONLY } else { 0 };
        let target = self.filesystem_target(mount.target, mount.real_directory)?;
        let (source, fstype) = (mount.source.with_nul(), mount.fstype.with_nul());
        self.mount_fd(Err(source), target.fd(), fstype, mount.flags & !late, &data)
            .refused_text(Detail::CreateFilesystem, mount.fstype.bytes())?;
        if !filled {
            return Ok(());
        }
        let mounted = paths::open(self.root()?, mount.target.bytes(), Missing::Refuse)
            .refused(Detail::OpenTarget)?;
        copy_tree(target.fd(), mounted.fd())?;
        if mount.flags & late == 0 {
            return Ok(());
        }
        self.remount(mounted.fd(), attr::RDONLY, 0)
    }

    /// The mode of a directory that a tmpfs covers, if the tmpfs is to have it: in octal.
    fn covered_mode(&self, target: Text<'_>, tmpfs: Option<&Tmpfs<'_>>) -> sys::Result<Vec<u8>> {
        if !tmpfs.is_some_and(|tmpfs| tmpfs.mode) {
            return Ok(Vec::new());
        }
        match paths::open(self.root()?, target.bytes(), Missing::Refuse) {
            Ok(there) => Ok(octal(sys::stat(there.fd())?.mode & 0o7777)),
            Err(_) => Ok(Vec::new()), // it is made, and then it has none that counts
        }
    }
}

/// A new filesystem by fsopen(2).
pub(crate) struct Filesystem<'a, 'b> {
    pub(crate) fstype: Text<'a>,
    pub(crate) source: Option<Text<'a>>,
    pub(crate) options: &'b [(Text<'a>, Option<Text<'a>>)],
    pub(crate) attributes: u64,
    pub(crate) target: Text<'a>,
    pub(crate) real_directory: bool,
    pub(crate) tmpfs: Option<&'b Tmpfs<'a>>,
}

/// A new filesystem by mount(2).
pub(crate) struct Legacy<'a, 'b> {
    pub(crate) fstype: Text<'a>,
    pub(crate) source: Text<'a>,
    pub(crate) flags: u64,
    pub(crate) data: Text<'a>,
    pub(crate) target: Text<'a>,
    pub(crate) real_directory: bool,
    pub(crate) tmpfs: Option<&'b Tmpfs<'a>>,
}

/// A mode's digits.
fn octal(mode: u32) -> Vec<u8> {
    let digits = (0..4).rev().map(|place| mode >> (3 * place) & 7);
    digits.map(|digit| b"01234567"[digit as usize]).collect()
}

#[cfg(test)]
mod tests {
    use super::octal;

    #[test]
    fn modes_in_octal() {
        assert_eq!(octal(0o1750), b"1750");
        assert_eq!(octal(0), b"0000");
    }
}
