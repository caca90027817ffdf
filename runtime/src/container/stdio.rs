//! What a container's program reads and writes: streams, pipes, the terminal.

use crate::error::{Error, ErrorKind, Result};
use crate::sys::{fd, pidfd, socket, window};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// Where one of the program's standard streams goes.
///
/// ```
/// use longshore::Stdio;
/// let silent = Stdio::null();
/// let mine = Stdio::from(std::fs::File::open("/dev/null").unwrap());
/// ```
#[derive(Debug)]
pub struct Stdio(Kind);

#[derive(Debug)]
enum Kind {
    Inherit,
    Null,
    Piped,
    Given(OwnedFd),
}

impl Stdio {
    /// The caller's own; the null device where the caller's is closed.
    #[must_use]
    pub fn inherit() -> Stdio {
        Stdio(Kind::Inherit)
    }

    /// The null device.
    #[must_use]
    pub fn null() -> Stdio {
        Stdio(Kind::Null)
    }

    /// A pipe, whose other end [`Container::pipes`](crate::Container::pipes) has.
    #[must_use]
    pub fn piped() -> Stdio {
        Stdio(Kind::Piped)
    }
}

impl<T: Into<OwnedFd>> From<T> for Stdio {
    fn from(given: T) -> Stdio {
        Stdio(Kind::Given(given.into()))
    }
}

/// The host's ends of a container's pipes.
///
/// ```
/// let pipes = longshore::Pipes::default();
/// assert!(pipes.stdout.is_none());
/// ```
#[derive(Debug, Default)]
pub struct Pipes {
    /// What the program will read.
    pub stdin: Option<File>,
    /// What the program wrote.
    pub stdout: Option<File>,
    /// What the program complained of.
    pub stderr: Option<File>,
}

/// One stream, open on the program's side.
#[derive(Debug)]
pub(crate) enum Stream {
    Own(BorrowedFd<'static>),
    Opened(OwnedFd),
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Stream::Own(fd) => *fd,
            Stream::Opened(fd) => fd.as_fd(),
        }
    }
}

impl Stdio {
    /// The program's side, and the host's if it is a pipe. `number` is 0, 1 or 2.
    pub(crate) fn open(self, number: i32) -> Result<(Stream, Option<File>)> {
        match self.0 {
            Kind::Inherit => match fd::stdio(number) {
                Some(own) => Ok((Stream::Own(own), None)),
                None => null().map(|null| (null, None)),
            },
            Kind::Null => null().map(|null| (null, None)),
            Kind::Given(given) => Ok((Stream::Opened(given), None)),
            Kind::Piped => {
                let (read, write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)
                    .map_err(|errno| Error::system("cannot make a pipe", errno))?;
                let (program, host) = if number == 0 {
                    (read, write)
                } else {
                    (write, read)
                };
                Ok((Stream::Opened(program), Some(File::from(host))))
            }
        }
    }
}

pub(super) fn null() -> Result<Stream> {
    let file = File::options().read(true).write(true).open("/dev/null");
    file.map(|file| Stream::Opened(file.into()))
        .map_err(|error| Error::system("cannot open /dev/null", error))
}

/// Our end and init's, when the caller wants to keep the terminal.
pub(super) fn terminal_sockets(wanted: bool) -> Result<(Option<OwnedFd>, Option<OwnedFd>)> {
    if !wanted {
        return Ok((None, None));
    }
    let (ours, inits) = socket_pair()?;
    Ok((Some(ours), Some(inits)))
}

pub(super) fn socket_pair() -> Result<(OwnedFd, OwnedFd)> {
    socket::pair().map_err(|errno| Error::system("cannot make a socket pair", errno))
}

pub(super) fn open_stdio(stdio: [Stdio; 3]) -> Result<([Stream; 3], Pipes)> {
    let [stdin, stdout, stderr] = stdio;
    let (stdin, to_program) = stdin.open(0)?;
    let (stdout, output) = stdout.open(1)?;
    let (stderr, errors) = stderr.open(2)?;
    Ok((
        [stdin, stdout, stderr],
        Pipes {
            stdin: to_program,
            stdout: output,
            stderr: errors,
        },
    ))
}

/// Init has sent it before it said READY. It gets the size of the caller's own terminal, if there is one: later
/// the program may have asked for it already.
pub(super) fn receive_terminal(socket: &OwnedFd) -> Result<OwnedFd> {
    let refused = |errno| Error::system("cannot receive the terminal", errno);
    let socket: BorrowedFd<'_> = socket.as_fd();
    pidfd::poll_any(&[socket], Some(Instant::now() + Duration::from_secs(10))).map_err(refused)?;
    let mut name = [0u8; 64];
    let (_, master) = socket::receive_bytes(socket, &mut name).map_err(refused)?;
    let master = master.ok_or_else(|| {
        Error::new(ErrorKind::Died, "init sent no terminal").at("process.terminal")
    })?;
    if let Some(stdin) = fd::stdio(0) {
        window::copy_size(stdin, master.as_fd());
    }
    Ok(master)
}
