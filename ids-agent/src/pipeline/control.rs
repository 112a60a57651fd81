//! The thread that hears the control socket and what SIGHUP asks for, so that neither holds up the line nor the watchdog.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::{
    control::{Answer, Peer, Request, Socket},
    sandbox,
    supervisor::{Roster, StopFlag},
};

/// How soon a stop, or a reload that a signal asks for, is noticed.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Does what is asked. The peer is nobody where a signal asks.
pub type Handler = Box<dyn FnMut(Request, Option<Peer>) -> Answer + Send>;

/// Asks for a reload without waiting for it.
#[derive(Clone, Debug)]
pub struct ReloadAsker {
    ask: SyncSender<()>,
    pending: Arc<AtomicUsize>,
}

impl ReloadAsker {
    pub fn ask(&self) {
        self.pending.fetch_add(1, Ordering::AcqRel);
        if self.ask.try_send(()).is_err() {
            // It is asked for already, and that one is not begun yet.
            self.pending.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Whether all that was asked for is done.
    pub fn is_done(&self) -> bool {
        self.pending.load(Ordering::Acquire) == 0
    }
}

/// The thread, and the ways to it.
pub struct ControlKeeper {
    asker: ReloadAsker,
    stop: StopFlag,
    thread: JoinHandle<()>,
}

impl ControlKeeper {
    /// Without a socket it only hears what signals ask for.
    pub fn start(socket: Option<Socket>, handler: Handler, roster: &Roster) -> io::Result<Self> {
        let (ask, asked) = sync_channel(1);
        let asker = ReloadAsker { ask, pending: Arc::default() };
        let (pending, stop, roster) = (Arc::clone(&asker.pending), StopFlag::default(), roster.clone());
        let asked_to_stop = stop.clone();
        let thread = thread::Builder::new().name("control".to_owned()).spawn(move || {
            sandbox::surrender();
            let _badge = roster.enter("control");
            hear(socket.as_ref(), handler, &asked, &pending, &asked_to_stop);
        })?;
        Ok(Self { asker, stop, thread })
    }

    pub fn reload_asker(&self) -> ReloadAsker {
        self.asker.clone()
    }

    /// Ends the thread; the socket goes with it.
    pub fn finish(self) {
        self.stop.ask();
        if self.thread.join().is_err() {
            tracing::error!("the control thread panicked");
        }
    }
}

fn hear(socket: Option<&Socket>, mut handler: Handler, asked: &Receiver<()>, pending: &AtomicUsize, stop: &StopFlag) {
    while !stop.is_asked() {
        let patience = if socket.is_some() { Duration::ZERO } else { LOOK_EVERY };
        match asked.recv_timeout(patience) {
            Ok(()) => {
                // What became of it is logged where it is done.
                let _ = handler(Request::Reload {}, None);
                pending.fetch_sub(1, Ordering::AcqRel);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let Some(socket) = socket else { continue };
        let served = match socket.wait(LOOK_EVERY) {
            Ok(None) => Ok(()),
            Ok(Some(stream)) => socket.serve(stream, &mut |request, peer| handler(request, Some(peer))),
            Err(error) => {
                // Not at once again: what keeps a client from being heard may last.
                thread::sleep(LOOK_EVERY);
                Err(error)
            }
        };
        if let Err(error) = served {
            tracing::debug!(%error, "a client of the control socket was not answered");
        }
    }
}
