//! Messages of rtnetlink(7) as bytes: written for the kernel, and read from whoever sent them. No I/O.
//!
//! The reader believes no length: what doesn't fit is `EBADMSG`, and it neither allocates by a number that
//! it was told nor goes back.

use nix::errno::Errno;

/// NLM_F_*, netlink(7).
pub(super) mod flag {
    pub(crate) const REQUEST: u16 = 0x1;
    pub(crate) const ACK: u16 = 0x4;
    /// Of an answer: the list changed meanwhile.
    pub(crate) const INTERRUPTED: u16 = 0x10;
    pub(crate) const DUMP: u16 = 0x300;
    pub(crate) const EXCL: u16 = 0x200;
    pub(crate) const CREATE: u16 = 0x400;
}

/// NLMSG_* and RTM_*.
pub(super) mod kind {
    pub(crate) const ERROR: u16 = 2;
    pub(crate) const DONE: u16 = 3;
    pub(crate) const NEW_LINK: u16 = 16;
    pub(crate) const GET_LINK: u16 = 18;
    pub(crate) const SET_LINK: u16 = 19;
    pub(crate) const NEW_ADDRESS: u16 = 20;
    pub(crate) const GET_ADDRESS: u16 = 22;
}

/// IFLA_*
mod link {
    pub(super) const NAME: u16 = 3;
    pub(super) const NAMESPACE_FD: u16 = 28;
}

/// IFA_*
mod address {
    pub(super) const ADDRESS: u16 = 1;
    pub(super) const LOCAL: u16 = 2;
    pub(super) const LABEL: u16 = 3;
    pub(super) const BROADCAST: u16 = 4;
    pub(super) const LIFETIMES: u16 = 6;
    pub(super) const FLAGS: u16 = 8;
    pub(super) const METRIC: u16 = 9;
    pub(super) const PROTOCOL: u16 = 11;
}

const PERMANENT: u32 = 0x80;

/// IFA_F_NODAD, HOMEADDRESS, MANAGETEMPADDR, NOPREFIXROUTE, MCAUTOJOIN: how somebody wanted an address to be.
/// All others say how it is.
const WANTED: u32 = 0x02 | 0x10 | 0x100 | 0x200 | 0x400;

const IFF_UP: u32 = 1;

/// IFNAMSIZ with its NUL.
const NAME_SIZE: usize = 16;

const HEADER: usize = 16;

/// A message to the kernel.
#[derive(Debug)]
pub(super) struct Request(Vec<u8>);

impl Request {
    /// The length and the sequence number come last.
    fn new(kind: u16, flags: u16, body: &[u8]) -> Request {
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(flag::REQUEST | flags).to_ne_bytes());
        bytes.extend_from_slice(body);
        Request(bytes)
    }

    /// Header and body have lengths that are aligned.
    fn attribute(mut self, kind: u16, value: &[u8]) -> Request {
        // No value here is longer than what came in one attribute, or than a name.
        let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend_from_slice(&value[..usize::from(length) - 4]);
        self.0.resize(aligned(self.0.len()), 0);
        self
    }

    fn name(self, kind: u16, name: &str) -> Request {
        let mut bytes = name.as_bytes().to_vec();
        bytes.push(0);
        self.attribute(kind, &bytes)
    }

    pub(super) fn finish(mut self, sequence: u32) -> Vec<u8> {
        let length = u32::try_from(self.0.len()).unwrap_or(u32::MAX); // of a few hundred bytes
        self.0[0..4].copy_from_slice(&length.to_ne_bytes());
        self.0[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.0
    }

    pub(super) fn get_link_named(name: &str) -> Request {
        Request::new(kind::GET_LINK, flag::ACK, &link_body(0, 0)).name(link::NAME, name)
    }

    pub(super) fn get_link(index: i32) -> Request {
        Request::new(kind::GET_LINK, flag::ACK, &link_body(index, 0))
    }

    pub(super) fn move_link(index: i32, name: &str, namespace: i32) -> Request {
        Request::rename(index, name).attribute(link::NAMESPACE_FD, &namespace.to_ne_bytes())
    }

    pub(super) fn rename(index: i32, name: &str) -> Request {
        Request::new(kind::SET_LINK, flag::ACK, &link_body(index, 0)).name(link::NAME, name)
    }

    pub(super) fn set_up(index: i32) -> Request {
        Request::new(kind::SET_LINK, flag::ACK, &link_body(index, IFF_UP))
    }

    /// Of all links and families: the kernel filters for those only who ask for strict checks.
    pub(super) fn list_addresses() -> Request {
        Request::new(kind::GET_ADDRESS, flag::DUMP, &[0; 8])
    }

    pub(super) fn add_address(index: i32, name: &str, given: &Address) -> Request {
        let flags = given.flags & WANTED;
        let [low, ..] = flags.to_le_bytes();
        let mut body = vec![given.family, given.prefix, low, given.scope];
        body.extend(index.to_ne_bytes());
        let request = Request::new(
            kind::NEW_ADDRESS,
            flag::ACK | flag::CREATE | flag::EXCL,
            &body,
        );
        let all = given.attributes.iter();
        let request = all.fold(request, |request, (kind, value)| {
            request.attribute(*kind, value)
        });
        let request = request.attribute(address::FLAGS, &flags.to_ne_bytes());
        match &given.label {
            Some(rest) => request.name(address::LABEL, &label(name, rest)),
            None => request,
        }
    }
}

/// A label is the link's name, and perhaps more; so it stays when the link has another name, as far as there is room.
fn label(name: &str, rest: &str) -> String {
    let whole = format!("{name}{rest}");
    if whole.len() < NAME_SIZE {
        whole
    } else {
        name.to_owned()
    }
}

/// `struct ifinfomsg`, with what of its flags is to change.
fn link_body(index: i32, flags: u32) -> Vec<u8> {
    let mut body = vec![0; 4];
    body.extend(index.to_ne_bytes());
    body.extend(flags.to_ne_bytes());
    body.extend(flags.to_ne_bytes());
    body
}

/// A message from the kernel.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Message<'a> {
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) sequence: u32,
    pub(super) body: &'a [u8],
}

impl Message<'_> {
    /// Of `ERROR`, or `DONE`: 0 is success.
    pub(super) fn outcome(&self) -> Result<(), Errno> {
        match i32::from_ne_bytes(head(self.body)?) {
            0 => Ok(()),
            negative @ -4095..0 => Err(Errno::from_raw(-negative)),
            _ => Err(Errno::EBADMSG),
        }
    }
}

/// Splits what came at once; nothing more comes after what can't be read.
pub(super) fn messages(bytes: &[u8]) -> impl Iterator<Item = Result<Message<'_>, Errno>> {
    split(bytes, HEADER, |bytes| {
        Ok(u32::from_ne_bytes(head(bytes)?) as usize)
    })
    .map(|message| {
        let message = message?;
        Ok(Message {
            kind: u16::from_ne_bytes(head(&message[4..])?),
            flags: u16::from_ne_bytes(head(&message[6..])?),
            sequence: u32::from_ne_bytes(head(&message[8..])?),
            body: &message[HEADER..],
        })
    })
}

fn attributes(bytes: &[u8]) -> impl Iterator<Item = Result<(u16, &[u8]), Errno>> {
    /// NLA_F_NESTED and NLA_F_NET_BYTEORDER are no part of a type.
    const TYPE: u16 = 0x3fff;
    split(
        bytes,
        4,
        |bytes| Ok(u16::from_ne_bytes(head(bytes)?).into()),
    )
    .map(|attribute| {
        let attribute = attribute?;
        let kind = u16::from_ne_bytes(head(&attribute[2..])?);
        Ok((kind & TYPE, &attribute[4..]))
    })
}

/// Pieces that begin with their length, header included, each padded to four bytes but perhaps the last.
fn split(
    mut rest: &[u8],
    header: usize,
    length: impl Fn(&[u8]) -> Result<usize, Errno>,
) -> impl Iterator<Item = Result<&[u8], Errno>> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let piece = length(rest).and_then(|length| match rest.get(..length) {
            Some(piece) if length >= header => Ok(piece),
            _ => Err(Errno::EBADMSG),
        });
        rest = match &piece {
            Ok(piece) => rest.get(aligned(piece.len())..).unwrap_or_default(),
            Err(_) => &[],
        };
        Some(piece)
    })
}

fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

fn head<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Errno> {
    bytes.first_chunk().copied().ok_or(Errno::EBADMSG)
}

/// A network device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: i32,
    pub(crate) name: String,
    pub(crate) up: bool,
}

impl Link {
    /// Of a `NEW_LINK`.
    pub(super) fn read(body: &[u8]) -> Result<Link, Errno> {
        let fixed: [u8; 16] = head(body)?;
        let mut name = None;
        for attribute in attributes(&body[fixed.len()..]) {
            if let (link::NAME, value) = attribute? {
                name = Some(text(value)?);
            }
        }
        Ok(Link {
            index: i32::from_ne_bytes(head(&fixed[4..])?),
            up: u32::from_ne_bytes(head(&fixed[8..])?) & IFF_UP != 0,
            name: name.ok_or(Errno::EBADMSG)?,
        })
    }
}

/// Up to its NUL, which ends it.
fn text(value: &[u8]) -> Result<String, Errno> {
    let end = value.iter().position(|byte| *byte == 0);
    let text = &value[..end.ok_or(Errno::EBADMSG)?];
    if text.len() >= NAME_SIZE {
        return Err(Errno::EBADMSG);
    }
    Ok(String::from_utf8_lossy(text).into_owned())
}

/// An address of a link, as it can be added again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    family: u8,
    prefix: u8,
    flags: u32,
    scope: u8,
    /// What the label has more than the link's name.
    label: Option<String>,
    /// Those that are added again as they are.
    attributes: Vec<(u16, Vec<u8>)>,
}

impl Address {
    /// Of a `NEW_ADDRESS`; `None`: of another link.
    pub(super) fn read(body: &[u8], of: &Link) -> Result<Option<Address>, Errno> {
        let fixed: [u8; 8] = head(body)?;
        let [family, prefix, low, scope, index @ ..] = fixed;
        if i32::from_ne_bytes(index) != of.index {
            return Ok(None);
        }
        let mut address = Address {
            family,
            prefix,
            flags: low.into(),
            scope,
            label: None,
            attributes: Vec::new(),
        };
        for attribute in attributes(&body[fixed.len()..]) {
            let (kind, value) = attribute?;
            match kind {
                address::FLAGS => address.flags = u32::from_ne_bytes(head(value)?),
                address::LABEL => {
                    let label = text(value)?;
                    let rest = label.strip_prefix(of.name.as_str()).unwrap_or_default();
                    address.label = Some(rest.to_owned());
                }
                address::ADDRESS
                | address::LOCAL
                | address::BROADCAST
                | address::LIFETIMES
                | address::METRIC
                | address::PROTOCOL => address.attributes.push((kind, value.to_vec())),
                _ => {}
            }
        }
        Ok(Some(address))
    }

    /// config-linux.md#network-devices: what the container gets. RT_SCOPE_UNIVERSE is 0.
    pub(crate) fn moves(&self) -> bool {
        self.flags & PERMANENT != 0 && self.scope == 0
    }

    /// What the host gets back. What IPv6 has found out by itself it finds again.
    pub(crate) fn returns(&self) -> bool {
        self.flags & PERMANENT != 0 || i32::from(self.family) == libc::AF_INET
    }
}

/// Reads all that can be read in any bytes; how much that was. For this project's fuzz target.
#[cfg(any(test, feature = "_internals"))]
pub(crate) fn read_all(bytes: &[u8]) -> usize {
    let of = |index| Link {
        index,
        name: "eth0".to_owned(),
        up: true,
    };
    let mut count = 0;
    for message in messages(bytes).map_while(Result::ok) {
        // What a link's index would be is where an address has its own.
        let index = message.body.get(4..).and_then(|rest| head(rest).ok());
        let of = of(index.map_or(0, i32::from_ne_bytes));
        count += usize::from(message.outcome().is_ok());
        count += usize::from(Link::read(message.body).is_ok());
        let address = Address::read(message.body, &of);
        if let Ok(Some(address)) = address {
            // What was read can be asked for.
            let request = Request::add_address(1, "net0", &address).finish(1);
            let sent = messages(&request).filter(Result::is_ok).count();
            assert_eq!(sent, 1);
            count += 1;
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(kind: u16, value: &[u8]) -> Vec<u8> {
        Request(Vec::new()).attribute(kind, value).0
    }

    /// Made by hand: length, type, flags, sequence, port.
    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        Request::new(kind, 0, body).finish(7)
    }

    fn eth0() -> Link {
        Link {
            index: 5,
            name: "eth0".to_owned(),
            up: true,
        }
    }

    fn link_bytes() -> Vec<u8> {
        let mut body = link_body(5, IFF_UP);
        body.extend(piece(99, b"whatever"));
        body.extend(piece(link::NAME, b"eth0\0"));
        body
    }

    fn address_bytes() -> Vec<u8> {
        let mut body = vec![2, 24, 0x80, 0, 5, 0, 0, 0];
        body.extend(piece(address::LOCAL, &[10, 0, 0, 1]));
        body.extend(piece(address::LABEL, b"eth0:web\0"));
        body.extend(piece(address::FLAGS, &0x281u32.to_ne_bytes()));
        body.extend(piece(99, &[1]));
        body
    }

    #[test]
    fn links_are_read() {
        assert_eq!(Link::read(&link_bytes()), Ok(eth0()));
        let mut down = link_body(5, 0);
        down.extend(piece(link::NAME, b"eth0\0"));
        assert!(!Link::read(&down).unwrap().up);
    }

    #[test]
    fn addresses_are_written_as_they_were_read() {
        let address = Address::read(&address_bytes(), &eth0()).unwrap().unwrap();
        assert!(address.moves() && address.returns());
        assert_eq!(address.label.as_deref(), Some(":web"));
        let bytes = Request::add_address(9, "net0", &address).finish(1);
        let read = messages(&bytes).next().unwrap().unwrap();
        assert_eq!(read.kind, kind::NEW_ADDRESS);
        let net0 = Link {
            index: 9,
            name: "net0".to_owned(),
            up: false,
        };
        let again = Address::read(read.body, &net0).unwrap().unwrap();
        let wanted = Address {
            flags: 0x200,
            ..address
        };
        assert_eq!(again, wanted);
        assert_eq!(label("a-long-name", ":web0"), "a-long-name");
    }

    #[test]
    fn of_which_addresses_are_kept() {
        let address = |family: i32, flags: u32, scope: u8| Address {
            family: u8::try_from(family).unwrap(),
            prefix: 1,
            flags,
            scope,
            label: None,
            attributes: Vec::new(),
        };
        for (family, flags, scope, moves, returns) in [
            (libc::AF_INET, PERMANENT, 0, true, true),
            (libc::AF_INET6, PERMANENT, 0, true, true),
            (libc::AF_INET, 0, 0, false, true),
            (libc::AF_INET6, 0x100, 0, false, false),
            (libc::AF_INET, PERMANENT, 254, false, true),
            (libc::AF_INET6, PERMANENT, 253, false, true),
        ] {
            let address = address(family, flags, scope);
            assert_eq!((address.moves(), address.returns()), (moves, returns));
        }
        let other = Link { index: 6, ..eth0() };
        assert_eq!(Address::read(&address_bytes(), &other), Ok(None));
    }

    #[test]
    fn messages_are_split() {
        let mut bytes = message(kind::NEW_LINK, &link_bytes());
        bytes.extend(message(kind::DONE, &[0; 4]));
        let all: Vec<_> = messages(&bytes).map(Result::unwrap).collect();
        assert_eq!(all.len(), 2);
        assert_eq!((all[0].kind, all[0].sequence), (kind::NEW_LINK, 7));
        assert_eq!(all[0].body, link_bytes());
        assert_eq!(all[1].outcome(), Ok(()));
        let error = |number: i32| {
            let bytes = message(kind::ERROR, &number.to_ne_bytes());
            messages(&bytes).next().unwrap().unwrap().outcome()
        };
        assert_eq!(error(-libc::EPERM), Err(Errno::EPERM));
        for odd in [1, -4096, i32::MIN, i32::MAX] {
            assert_eq!(error(odd), Err(Errno::EBADMSG));
        }
    }

    /// Whatever the bytes, reading ends, and takes nothing from beyond them.
    #[test]
    fn hostile_bytes_are_refused() {
        let whole = message(kind::NEW_LINK, &link_bytes());
        for length in 1..whole.len() {
            let last = messages(&whole[..length]).last().unwrap();
            assert_eq!(last, Err(Errno::EBADMSG), "{length}");
        }
        for length in 0..link_bytes().len() - 3 {
            assert!(Link::read(&link_bytes()[..length]).is_err(), "{length}");
        }
        for length in 0..8 {
            let short = Address::read(&address_bytes()[..length], &eth0());
            assert!(short.is_err(), "{length}");
        }
        // Lengths that are too small, too large, or would go round.
        for length in [0u32, 1, 15, u32::MAX, u32::MAX - 2, 0x8000_0000] {
            let mut bytes = whole.clone();
            bytes[..4].copy_from_slice(&length.to_ne_bytes());
            let all: Vec<_> = messages(&bytes).collect();
            assert_eq!(all, [Err(Errno::EBADMSG)], "{length}");
        }
        for length in [0u16, 3, 200, u16::MAX] {
            let mut body = link_bytes();
            body[16..18].copy_from_slice(&length.to_ne_bytes());
            assert_eq!(Link::read(&body), Err(Errno::EBADMSG), "{length}");
        }
        // Names without an end, too long, or none.
        for name in [&b"eth0"[..], b"1234567890123456\0", b""] {
            let mut body = link_body(5, 0);
            body.extend(piece(link::NAME, name));
            assert_eq!(Link::read(&body), Err(Errno::EBADMSG));
        }
        // Each byte changed to each value: any answer will do.
        let (link, address) = (link_bytes(), address_bytes());
        assert!(read_all(&whole) > 1);
        assert!(read_all(&message(kind::NEW_ADDRESS, &address)) > 0);
        for value in 0..=255 {
            for place in 0..whole.len() {
                let mut bytes = whole.clone();
                bytes[place] = value;
                let _ = read_all(&bytes);
            }
            for place in 0..link.len() {
                let mut bytes = link.clone();
                bytes[place] = value;
                let _ = Link::read(&bytes);
            }
            for place in 0..address.len() {
                let mut bytes = address.clone();
                bytes[place] = value;
                let _ = Address::read(&bytes, &eth0());
            }
        }
    }
}
