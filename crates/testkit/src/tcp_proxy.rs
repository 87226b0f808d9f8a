//! A wire that can be cut: a proxy on loopback in front of a server, for one of its clients. While it is cut nothing gets
//! through and nobody is told, as in a network that lost a cable; what was open then is closed when it is mended.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

/// Time between two looks of a thread at whether it is still wanted.
const LOOK: Duration = Duration::from_millis(20);

/// The wire. Dropping it closes everything on it.
pub struct TcpProxy {
    port: u16,
    state: Arc<State>,
}

struct State {
    to: Mutex<SocketAddr>,
    cut: AtomicBool,
    /// Milliseconds that every piece takes longer, one way.
    delay: AtomicU64,
    over: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

impl State {
    /// Closes every connection that there is.
    fn close(&self) {
        for stream in self.open.lock().drain(..) {
            // Fails only when it is closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn is_cut(&self) -> bool {
        self.cut.load(Ordering::SeqCst)
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }
}

impl TcpProxy {
    /// Lays a wire to this address; it is whole. Errors when loopback has no free port.
    pub fn lay(to: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        listener.set_nonblocking(true)?;
        let (cut, over, open) = (AtomicBool::new(false), AtomicBool::new(false), Mutex::default());
        let state = Arc::new(State { to: Mutex::new(to), cut, delay: AtomicU64::new(0), over, open });
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            while !shared.is_over() {
                match listener.accept() {
                    Ok((stream, _)) => connect(&shared, stream),
                    Err(_) => std::thread::sleep(LOOK),
                }
            }
        });
        Ok(Self { port, state })
    }

    /// Returns the port of the client's end.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Leads it to another address from now on, as an address does that follows a primary; what is open is closed.
    pub fn lead_to(&self, to: SocketAddr) {
        *self.state.to.lock() = to;
        // A cut wire tells its ends nothing, also not that it leads elsewhere by now.
        if !self.state.is_cut() {
            self.state.close();
        }
    }

    /// Makes it longer: every piece takes this much more time, each way.
    pub fn slow_down(&self, by: Duration) {
        self.state.delay.store(u64::try_from(by.as_millis()).unwrap_or(u64::MAX), Ordering::SeqCst);
    }

    /// Cuts it.
    pub fn cut(&self) {
        self.state.cut.store(true, Ordering::SeqCst);
    }

    /// Mends it.
    pub fn mend(&self) {
        if self.state.cut.swap(false, Ordering::SeqCst) {
            self.state.close();
        }
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        self.state.over.store(true, Ordering::SeqCst);
        self.state.close();
    }
}

fn connect(state: &Arc<State>, client: TcpStream) {
    let to = *state.to.lock();
    // A server that is away closes the connection, as it would itself.
    let Ok(server) = TcpStream::connect_timeout(&to, Duration::from_secs(1)) else { return };
    let pair = |from: &TcpStream, into: &TcpStream| Some((from.try_clone().ok()?, into.try_clone().ok()?));
    let (Some(there), Some(back)) = (pair(&client, &server), pair(&server, &client)) else { return };
    state.open.lock().extend([client, server]);
    for (from, into) in [there, back] {
        let state = Arc::clone(state);
        std::thread::spawn(move || carry(&state, from, into));
    }
}

/// Carries bytes one way until either end is closed; holds them back while the wire is cut.
fn carry(state: &State, mut from: TcpStream, mut into: TcpStream) {
    let mut chunk = [0; 64 * 1024];
    // Without it a read could wait indefinitely on a wire that is gone.
    let _ = from.set_nonblocking(false);
    let _ = into.set_nodelay(true);
    while let Ok(length @ 1..) = from.read(&mut chunk) {
        std::thread::sleep(Duration::from_millis(state.delay.load(Ordering::SeqCst)));
        while state.is_cut() && !state.is_over() {
            std::thread::sleep(LOOK);
        }
        if into.write_all(&chunk[..length]).is_err() {
            break;
        }
    }
    // The other way ends with this one.
    let _ = into.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_gets_through_a_cut_wire_and_everything_through_a_mended_one() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let wire = TcpProxy::lay(server.local_addr().unwrap()).unwrap();
        let mut client = TcpStream::connect(("127.0.0.1", wire.port())).unwrap();
        let (mut there, _) = server.accept().unwrap();
        let mut byte = [0];
        client.write_all(b"a").unwrap();
        there.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"a");
        wire.cut();
        client.write_all(b"b").unwrap();
        there.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        assert!(there.read_exact(&mut byte).is_err(), "a cut wire carried {byte:?}");
        wire.mend();
        let mut again = TcpStream::connect(("127.0.0.1", wire.port())).unwrap();
        let (mut there, _) = server.accept().unwrap();
        again.write_all(b"c").unwrap();
        there.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"c");
    }
}
