//! The one error type of the library.
//!
//! An error says what kind of failure it is (stable, for programs), which
//! property of config.json it came from, which step failed, and the errno.
//! The kernel's side of a failure travels as numbers; the sentence is written
//! on the host, here.

use std::fmt;

/// What went wrong, for programs to match on. New kinds may be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// config.json or an option is malformed, or asks for something impossible.
    InvalidConfig,
    /// The configuration is valid, but this host or this release can't do it.
    Unsupported,
    /// No container has this id.
    NotFound,
    /// The id is taken.
    AlreadyExists,
    /// The operation isn't allowed in the container's present state.
    InvalidState,
    /// A hook failed or ran past its timeout.
    Hook,
    /// The program of the container could not be executed.
    Exec,
    /// A wait ran past its deadline.
    Timeout,
    /// The container's init died before it was done.
    Died,
    /// What is stored for the container can't be read.
    DamagedState,
    /// CRIU could not take or restore a checkpoint.
    Criu,
    /// The kernel refused a step.
    System,
}

impl ErrorKind {
    /// A stable lower-case name, as written to logs.
    ///
    /// ```
    /// assert_eq!(longshore::ErrorKind::NotFound.as_str(), "not-found");
    /// ```
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorKind::InvalidConfig => "invalid-config",
            ErrorKind::Unsupported => "unsupported",
            ErrorKind::NotFound => "not-found",
            ErrorKind::AlreadyExists => "already-exists",
            ErrorKind::InvalidState => "invalid-state",
            ErrorKind::Hook => "hook",
            ErrorKind::Exec => "exec",
            ErrorKind::Timeout => "timeout",
            ErrorKind::Died => "died",
            ErrorKind::DamagedState => "damaged-state",
            ErrorKind::Criu => "criu",
            ErrorKind::System => "system",
        }
    }
}

/// A failure of a library call.
///
/// `Display` gives one line: config path, object, what failed, errno.
///
/// ```
/// use longshore::{ErrorKind, Runtime};
/// let dir = std::env::temp_dir().join("longshore-doc-error");
/// let runtime = Runtime::builder().state_root(dir).build().unwrap();
/// let error = runtime.open("nobody").unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::NotFound);
/// assert_eq!(error.to_string(), "container does not exist");
/// ```
#[derive(thiserror::Error)]
#[error("{0}")]
pub struct Error(Box<Inner>);

/// The result of a library call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    path: Option<String>,
    step: Option<String>,
    message: String,
    errno: Option<i32>,
    /// What went wrong besides, when it was undone.
    also: Option<String>,
    /// The message has the errno in words already.
    worded: bool,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error(Box::new(Inner {
            kind,
            path: None,
            step: None,
            message: message.into(),
            errno: None,
            also: None,
            worded: false,
        }))
    }

    /// A refused system call; `what` names the object and what failed.
    pub(crate) fn system(what: impl Into<String>, errno: impl Into<Errno>) -> Error {
        Error::new(ErrorKind::System, what).with_errno(errno)
    }

    /// A value of config.json that can't be honoured.
    pub(crate) fn config(path: impl Into<String>, message: impl Into<String>) -> Error {
        Error::new(ErrorKind::InvalidConfig, shortened(message.into())).at(path)
    }

    pub(crate) fn unsupported(path: impl Into<String>, message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Unsupported, message).at(path)
    }

    /// Names the property of config.json that the failure belongs to.
    pub(crate) fn at(mut self, path: impl Into<String>) -> Error {
        self.0.path.get_or_insert_with(|| path.into());
        self
    }

    /// Names the step of the plan that failed.
    pub(crate) fn in_step(mut self, step: impl Into<String>) -> Error {
        self.0.step.get_or_insert_with(|| step.into());
        self
    }

    pub(crate) fn with_kind(mut self, kind: ErrorKind) -> Error {
        self.0.kind = kind;
        self
    }

    pub(crate) fn with_errno(mut self, errno: impl Into<Errno>) -> Error {
        self.0.errno = Some(errno.into().0);
        self
    }

    /// The errno, for [`Error::errno`] only: the message says it in the words that engines look for.
    pub(crate) fn with_worded_errno(mut self, errno: impl Into<Errno>) -> Error {
        self.0.worded = true;
        self.with_errno(errno)
    }

    /// Tells what went wrong besides.
    pub(crate) fn and(mut self, other: &Error) -> Error {
        let before = self.0.also.take().map(|text| text + "; ");
        self.0.also = Some(format!("{}{other}", before.unwrap_or_default()));
        self
    }

    /// What kind of failure this is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The property of config.json, as `mounts[3]` or `process.user.umask`.
    #[must_use]
    pub fn config_path(&self) -> Option<&str> {
        self.0.path.as_deref()
    }

    /// The step of the plan that failed, as `longshore plan` prints it.
    #[must_use]
    pub fn step(&self) -> Option<&str> {
        self.0.step.as_deref()
    }

    /// The kernel's errno, when a system call was refused.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        self.0.errno
    }
}

/// A message may repeat a value, and a value may have 16 MiB. How it ends says what was expected.
fn shortened(message: String) -> String {
    const MOST: usize = 2000;
    if message.len() <= MOST {
        return message;
    }
    let (first, last) = (
        message.floor_char_boundary(MOST / 2),
        message.ceil_char_boundary(message.len() - MOST / 2),
    );
    format!("{} ... {}", &message[..first], &message[last..])
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = &self.path {
            write!(f, "{path}: ")?;
        }
        f.write_str(&self.message)?;
        if let Some(errno) = self.errno.filter(|_| !self.worded) {
            write!(f, ": {}", Errno(errno))?;
        }
        if let Some(also) = &self.also {
            write!(f, "; {also}")?;
        }
        Ok(())
    }
}

/// An errno that prints as `EACCES (Permission denied)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Errno(pub(crate) i32);

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let errno = nix::errno::Errno::from_raw(self.0);
        write!(f, "{errno:?} ({})", errno.desc())
    }
}

impl From<i32> for Errno {
    fn from(errno: i32) -> Errno {
        Errno(errno)
    }
}

impl From<nix::errno::Errno> for Errno {
    fn from(errno: nix::errno::Errno) -> Errno {
        Errno(errno as i32)
    }
}

impl From<std::io::Error> for Errno {
    fn from(error: std::io::Error) -> Errno {
        Errno(error.raw_os_error().unwrap_or(libc::EIO))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_with_path_object_and_errno() {
        let error = Error::system("cannot attach clone of /srv/data at /data", libc::EACCES)
            .at("mounts[3] (/data)");
        assert_eq!(
            error.to_string(),
            "mounts[3] (/data): cannot attach clone of /srv/data at /data: EACCES (Permission denied)"
        );
        assert_eq!(error.errno(), Some(libc::EACCES));
        let two = error
            .and(&Error::new(ErrorKind::System, "one"))
            .and(&Error::new(ErrorKind::System, "two"));
        assert!(
            two.to_string().ends_with("(Permission denied); one; two"),
            "{two}"
        );
    }

    #[test]
    fn a_long_value_is_not_repeated() {
        let text = format!("invalid type: {}, expected a sequence", "é".repeat(5000));
        let error = Error::config("process.args", text).to_string();
        assert!(error.len() < 2100 && error.ends_with("expected a sequence"));
    }
}
