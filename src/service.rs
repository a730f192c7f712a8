//! Telling the service manager that the start is over, as systemd's `Type=notify` wants it: until then the start can fail, and
//! whoever asked for it hears of that.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use crate::print::say;

/// The variable that names the manager's socket. No setting: it comes with the service.
const SOCKET: &str = "NOTIFY_SOCKET";

/// Says that everything that could keep this from running has gone well. Nobody is told where there is no manager.
#[expect(clippy::disallowed_methods, reason = "this variable is no setting of the program")]
pub fn started() {
    let Some(socket) = std::env::var_os(SOCKET) else { return };
    if let Err(error) = tell(&socket, b"READY=1") {
        say!("tripline: could not tell the service manager that this runs: {error}");
    }
}

/// Sends one message to the socket of this name, which is abstract when it begins with `@`.
fn tell(socket: &OsStr, message: &[u8]) -> io::Result<()> {
    let address = match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?.send_to_addr(message, &address).map(drop)
}
