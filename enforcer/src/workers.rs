//! The threads on which connections are served, inbound and outbound: one for each core, each with a runtime of its own.
//!
//! A connection stays on the thread to which it was given, and so do the connections to the service that serve it: a request
//! moves between no threads and waits for no lock that another one holds for long. Connections are accepted in one place and go
//! to the thread that has the fewest. Leaving it to the system to spread them over several listeners of one port would be by
//! chance, and a sidecar has few callers that stay for long.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use prometheus_client::metrics::counter::Counter;
use rustix::io::Errno;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinSet, spawn_blocking};

use crate::limits;
use crate::ports::Listener;
use crate::serve::{Phase, leaving};

/// Threads that serve. They end when this is dropped, with everything on them.
#[derive(Debug)]
pub struct Workers(Vec<Worker>);

#[derive(Debug)]
struct Worker {
    handle: Handle,
    load: Arc<AtomicUsize>,
    /// Dropped to end the thread.
    _stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

/// A way to the threads.
#[derive(Clone, Debug)]
pub struct Crew(Arc<[(Handle, Arc<AtomicUsize>)]>);

/// A connection's weight on its thread.
#[derive(Debug)]
struct Load(Arc<AtomicUsize>);

impl Drop for Load {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Workers {
    /// Starts so many threads.
    ///
    /// # Errors
    /// The system does not give them.
    pub fn start(count: NonZeroUsize) -> io::Result<Self> {
        (0..count.get()).map(Worker::start).collect::<io::Result<_>>().map(Self)
    }

    /// A way to give them work.
    #[must_use]
    pub fn crew(&self) -> Crew {
        Crew(self.0.iter().map(|w| (w.handle.clone(), Arc::clone(&w.load))).collect())
    }

    /// Ends the threads and waits for them.
    pub async fn end(self) {
        let threads: Vec<_> = self.0.into_iter().map(|worker| worker.thread).collect();
        // A thread that panicked has nothing left to tell.
        let _ = spawn_blocking(move || threads.into_iter().for_each(|thread| drop(thread.join()))).await;
    }
}

impl Worker {
    fn start(n: usize) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new().name(format!("worker-{n}")).spawn(move || {
            // Nothing is ever sent: it completes when the other end is dropped.
            let _ = runtime.block_on(stopped);
        })?;
        Ok(Self { handle, load: Arc::default(), _stop: stop, thread })
    }
}

impl Crew {
    /// How many threads there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The thread with the fewest connections, with one more.
    fn pick(&self) -> Option<(usize, &Handle, Load)> {
        let (n, (handle, load)) = self.0.iter().enumerate().min_by_key(|(_, (_, load))| load.load(Ordering::Relaxed))?;
        load.fetch_add(1, Ordering::Relaxed);
        Some((n, handle, Load(Arc::clone(load))))
    }
}

/// How many connections are served at once.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// In all.
    pub all: usize,
    /// From one address.
    pub address: usize,
}

/// Accepts until told to drain, gives each connection to a thread, and waits for every one to end. Where there is no place, `make_room`
/// may have another connection go for one from this address, or for whoever comes next, and says whether it did.
pub async fn accept_loop<R, F, C>(
    listener: Listener,
    bounds: Bounds,
    mut phase: watch::Receiver<Phase>,
    refused: Counter,
    crew: Crew,
    make_room: R,
    serve: F,
) where
    R: Fn(Option<IpAddr>) -> bool + Send,
    F: Fn(TcpStream, SocketAddr, usize) -> C + Clone + Send + 'static,
    C: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    let addresses = Addresses::default();
    let take = |connections: &mut JoinSet<()>, stream: TcpStream, peer: SocketAddr| {
        let ip = peer.ip().to_canonical();
        let place = addresses.enter(ip, bounds.address).filter(|_| connections.len() < bounds.all || make_room(Some(ip)));
        // Off this thread's reactor, so that the other thread's can have it.
        let (Some(place), Ok(stream), Some((n, handle, load))) = (place, stream.into_std(), crew.pick()) else {
            refused.inc();
            return;
        };
        let serve = serve.clone();
        let task = async move {
            let _held = (place, load);
            if let Ok(stream) = TcpStream::from_std(stream) {
                serve(stream, peer, n).await;
            }
        };
        connections.spawn_on(task, handle);
    };
    loop {
        tokio::select! {
            () = leaving(&mut phase) => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => take(&mut connections, stream, peer),
                Err(why) => {
                    let is_full = why.raw_os_error().is_some_and(|code| [Errno::MFILE, Errno::NFILE].map(Errno::raw_os_error).contains(&code));
                    let _ = is_full && (0..limits::ROOM_AT_ONCE).all(|_| make_room(None));
                    // Out of descriptors, most likely: to try again at once would only spin (A63).
                    tokio::time::sleep(limits::ACCEPT_PAUSE).await;
                }
            },
        }
    }
    listener.retire(|stream, peer| take(&mut connections, stream, peer)).await;
    while connections.join_next().await.is_some() {}
}

/// Connections by address. Only addresses that have one are remembered.
#[derive(Clone, Debug, Default)]
struct Addresses(Arc<Mutex<HashMap<IpAddr, usize>>>);

#[derive(Debug)]
struct Place {
    addresses: Addresses,
    ip: IpAddr,
}

impl Addresses {
    fn enter(&self, ip: IpAddr, max: usize) -> Option<Place> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = all.entry(ip).or_insert(0);
        if *count >= max {
            return None;
        }
        *count += 1;
        Some(Place { addresses: self.clone(), ip })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut all = self.addresses.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = all.get_mut(&self.ip) {
            *count -= 1;
            if *count == 0 {
                all.remove(&self.ip);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn connections_go_where_the_fewest_are() {
        let workers = Workers::start(NonZeroUsize::new(3).unwrap()).unwrap();
        let crew = workers.crew();
        let mut held: Vec<_> = (0..6).map(|_| crew.pick().map(|(n, _, load)| (n, load)).unwrap()).collect();
        assert_eq!(held.iter().map(|(n, _)| *n).collect::<Vec<_>>(), [0, 1, 2, 0, 1, 2]);
        held.retain(|(n, _)| *n != 1);
        assert_eq!((crew.pick().unwrap().0, crew.len()), (1, 3));
        let name = crew.pick().unwrap().1.spawn(async { std::thread::current().name().map(str::to_owned) }).await.unwrap();
        assert!(name.unwrap().starts_with("worker-"));
        let task = crew.pick().unwrap().1.spawn(std::future::pending::<()>());
        workers.end().await;
        assert!(task.await.unwrap_err().is_cancelled(), "what is on a thread ends with it");
    }

    #[test]
    fn a64_an_address_has_a_share_and_is_forgotten() {
        let addresses = Addresses::default();
        let (one, two) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let held: Vec<_> = (0..3).filter_map(|_| addresses.enter(one, 2)).collect();
        assert_eq!(held.len(), 2);
        assert!(addresses.enter(two, 2).is_some());
        drop(held);
        assert!(addresses.0.lock().unwrap().is_empty());
    }
}
