//! Addresses. Conversations are in `systemd/tests.rs`.

use super::path_of;

#[test]
fn addresses() {
    for (address, path) in [
        ("unix:path=/run/x", Some("/run/x")),
        ("unix:path=/run/x,guid=0123", Some("/run/x")),
        ("unix:guid=0123,path=/run/x", Some("/run/x")),
        ("unix:path=/run/%2a%20b", Some("/run/* b")),
        ("unix:path=/run/%2", None),
        ("unix:path=/run/%é", None),
        ("unix:path=/run/%zz", None),
        ("unix:path=relative", None),
        ("unix:abstract=/x", None),
        ("tcp:host=x", None),
        ("", None),
    ] {
        assert_eq!(path_of(address).as_deref(), path, "{address}");
    }
}
