//! What takes more than a line of the table.

use super::super::link::{Linker, Nul, nul, nuls, texts};
use crate::config::Hook;
use crate::config::mount_options::MountOptions;
use crate::error::{Error, Result};
use crate::plan::TreeSource;
use crate::seccomp;
use crate::wire::{HookCall, HookIdentity, Op, Text, Tmpfs};
use std::marker::PhantomData;
use std::os::fd::AsFd;

impl Linker<'_, '_> {
    pub(super) fn attribute(&mut self, step: u32, files: &[&str], value: &str) -> Result<()> {
        let files: Vec<Nul> = files.iter().map(|file| nul(file)).collect();
        let files = files.iter().map(Nul::text).collect();
        let value = nul(value);
        let value = value.text();
        self.put(step, &Op::Attribute { files, value });
        Ok(())
    }

    pub(super) fn path_op(
        &mut self,
        step: u32,
        path: &str,
        make: impl for<'x> FnOnce(Text<'x>) -> Op<'x>,
    ) -> Result<()> {
        let path: Nul = nul(path);
        let op = make(path.text());
        self.put(step, &op);
        Ok(())
    }

    /// One clone of the null device serves every mask.
    pub(super) fn null_device(&mut self, source: &TreeSource) -> Result<u32> {
        if let Some(known) = self.null {
            return Ok(known);
        }
        let fd = match self.tree(source)? {
            (Some(tree), _) => tree,
            (None, _) => {
                let null = nix::fcntl::open(
                    "/dev/null",
                    nix::fcntl::OFlag::O_PATH | nix::fcntl::OFlag::O_CLOEXEC,
                    nix::sys::stat::Mode::empty(),
                );
                let null = null.map_err(|errno| Error::system("cannot open /dev/null", errno))?;
                self.pass(null.as_fd())?
            }
        };
        self.null = Some(fd);
        Ok(fd)
    }

    pub(super) fn filesystem(
        &mut self,
        step: u32,
        fstype: &str,
        source: Option<&str>,
        options: &MountOptions,
        target: &str,
        (real_directory, new_api): (bool, bool),
    ) {
        let (kind, target) = (nul(fstype), nul(target));
        let tmpfs = (fstype == "tmpfs").then(|| Tmpfs {
            mode: options.data.iter().all(|(key, _)| key != "mode"),
            contents: options.copy_up,
            lifetime: PhantomData,
        });
        if !new_api {
            let (source, data) = (nul(source.unwrap_or(fstype)), nul(&options.mount2_data()));
            let (fstype, source, data, target) =
                (kind.text(), source.text(), data.text(), target.text());
            self.put(
                step,
                &Op::MountLegacy {
                    fstype,
                    source,
                    flags: options.mount2_flags(),
                    data,
                    target,
                    real_directory,
                    tmpfs,
                },
            );
            return;
        }
        let source = source.map(nul);
        let pairs: Vec<(Nul, Option<Nul>)> = options
            .fsconfig()
            .into_iter()
            .map(|(key, value)| (nul(key), value.map(nul)))
            .collect();
        let op = Op::MountFilesystem {
            fstype: kind.text(),
            source: source.as_ref().map(Nul::text),
            options: pairs
                .iter()
                .map(|(key, value)| (key.text(), value.as_ref().map(Nul::text)))
                .collect(),
            attributes: options.set,
            target: target.text(),
            real_directory,
            tmpfs,
        };
        self.put(step, &op);
    }

    pub(super) fn hook(
        &mut self,
        step: u32,
        hook: &Hook,
        status: &str,
        identity: Option<HookIdentity<'_>>,
        environment: Option<&[String]>,
    ) {
        let (path, args) = (nul(&hook.path), nuls(&hook.args));
        let env = environment.map(nuls);
        let (before, after) = (self.link.hook_state)(status);
        let call = HookCall {
            path: path.text(),
            args: texts(&args),
            env: env.as_deref().map(texts),
            timeout: hook.timeout.map(|seconds| seconds.saturating_mul(1000)),
            before: before.as_bytes(),
            after: after.as_bytes(),
            lifetime: PhantomData,
        };
        let op = Op::Hook { call, identity };
        op.put(step, &mut self.bytes);
        self.count += 1;
    }

    pub(super) fn filter(&mut self, step: u32) -> Result<()> {
        let Some(given) = &self.link.config.seccomp else {
            return Ok(());
        };
        let filter = seccomp::cached(given, self.link.state_root)?;
        self.put(
            step,
            &Op::Filter {
                flags: filter.flags,
                program: &filter.program,
            },
        );
        Ok(())
    }
}
