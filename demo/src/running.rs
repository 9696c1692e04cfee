//! The running town: sidecars and apps in this process, bundles and certificates replaced while it runs, an orderly end.
//!
//! INVARIANT: whoever starts a town stops it; [`Running::stop`] waits until nothing of it runs any more.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

use http::{HeaderValue, Request, header};
use portreeve_enforcer::ca::Ca;
use portreeve_enforcer::config::Config;
use portreeve_enforcer::report::Report;
use portreeve_enforcer::{Enforcer, EnforcerError};
use portreeve_engine::{Bundle, Reason, Revision};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::apps::{App, AppParts, request_id};
use crate::calls::Who;
use crate::client::{Asking, Line, NoAnswer, Protocol, Upload};
use crate::error::TownError;
use crate::journal::{Answered, Pages};
use crate::layout::{self, FIRST, SECOND, Town};
use crate::limits;
use crate::market::{self, PROBED, SERVICES};
use crate::stage::{Law, Stage};

/// A town that runs.
pub struct Running {
    dir: PathBuf,
    ca: Ca,
    stage: Arc<Stage>,
    sidecars: Vec<(&'static str, Enforcer)>,
    apps: Vec<App>,
}

/// The serial numbers of the sidecars' certificates before and after a rotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotated {
    /// By service.
    pub serials: BTreeMap<&'static str, (String, String)>,
}

impl Town {
    /// Starts the apps, then one sidecar each, and waits until all are ready.
    ///
    /// # Errors
    /// See [`TownError`]. What had been started is stopped.
    pub async fn start(self) -> Result<Running, TownError> {
        let Self { dir, ca, stage, options, apps, reserved } = self;
        let mut running = Running { dir, ca, stage, sidecars: Vec::new(), apps: Vec::new() };
        for (service, listener) in apps {
            let socket = |why| TownError::Socket { who: service, why };
            listener.set_nonblocking(true).map_err(socket)?;
            let listener = TcpListener::from_std(listener).map_err(socket)?;
            let ways = running.stage.places.outbound.iter().filter(|((from, _), _)| *from == service);
            let ways = ways.map(|((_, to), at)| (*to, *at)).collect();
            let parts = AppParts { service, ways, journal: Arc::clone(&running.stage.journal), slowness: options.slowness };
            running.apps.push(App::start(listener, parts));
        }
        drop(reserved);
        for service in SERVICES {
            if let Err(e) = running.start_sidecar(service).await {
                running.stop().await;
                return Err(e);
            }
        }
        Ok(running)
    }
}

impl Running {
    async fn start_sidecar(&mut self, service: &'static str) -> Result<(), TownError> {
        let mut tries = 0;
        let sidecar = loop {
            let config = Config::read(&self.dir.join("config").join(format!("{service}.yaml")))?;
            let journal = Arc::clone(&self.stage.journal);
            let report = Report::new(move |message| journal.message(service, message));
            match Enforcer::start(config, report).await {
                Ok(sidecar) => break sidecar,
                // A program that is being started has a copy of every socket until it runs, of those that kept the ports, too.
                Err(EnforcerError::Bind { why, .. }) if why.kind() == ErrorKind::AddrInUse && tries < limits::BIND_TRIES_MAX => {
                    tries += 1;
                    sleep(limits::CHANGE_POLL).await;
                }
                Err(why) => return Err(TownError::Start { service, why: Box::new(why) }),
            }
        };
        self.sidecars.push((service, sidecar));
        self.wait(service, "that it is ready", "/readyz", "ready").await
    }

    /// What players share.
    #[must_use]
    pub fn stage(&self) -> &Arc<Stage> {
        &self.stage
    }

    /// The folder of the town.
    #[must_use]
    pub fn dir(&self) -> &std::path::Path {
        &self.dir
    }

    /// Writes the second bundle, lets `policy` point to it in one step, and waits until every sidecar shows it.
    ///
    /// # Errors
    /// See [`TownError`].
    pub async fn reload_bundle(&self) -> Result<Revision, TownError> {
        layout::write_bundle(&self.dir.join(SECOND), &market::second_bundle())?;
        self.take_up(Law::Second).await
    }

    /// Goes back to the first bundle, as after a change that was a mistake.
    ///
    /// # Errors
    /// See [`TownError`].
    pub async fn restore_bundle(&self) -> Result<Revision, TownError> {
        self.take_up(Law::First).await
    }

    async fn take_up(&self, law: Law) -> Result<Revision, TownError> {
        let name = if law == Law::First { FIRST } else { SECOND };
        let bundle = Bundle::read_dir(&self.dir.join(name)).map_err(|d| TownError::Bundle(d.render()))?;
        let revision = bundle.revision;
        self.stage.set_law(Law::Changing);
        layout::point(&self.dir, name)?;
        for (service, sidecar) in &self.sidecars {
            sidecar.reload().await.map_err(|why| TownError::Reload { service, why: Box::new(why) })?;
        }
        for service in SERVICES {
            self.wait(service, "the new bundle", "/revision", &revision.to_string()).await?;
        }
        self.stage.set_law(law);
        Ok(revision)
    }

    /// Issues every certificate anew and waits until new connections show the new ones; connections opened before must go on.
    ///
    /// # Errors
    /// See [`TownError`].
    pub async fn rotate_certificates(&self) -> Result<Rotated, TownError> {
        let mut kept = Vec::new();
        for service in SERVICES {
            let line = self.probe(service).await.map_err(|e| TownError::Broken { service, why: e.to_string() })?;
            kept.push((service, line));
        }
        self.stage.renew(layout::lawful(&self.ca, &self.dir)?);
        for (service, sidecar) in &self.sidecars {
            sidecar.reload().await.map_err(|why| TownError::Reload { service, why: Box::new(why) })?;
        }
        let mut serials = BTreeMap::new();
        for (service, mut line) in kept {
            let old = line.serial.clone().unwrap_or_default();
            let until = Instant::now() + limits::CHANGE_TIMEOUT;
            let new = loop {
                match self.probe(service).await.ok().and_then(|line| line.serial.clone()) {
                    Some(serial) if serial != old => break serial,
                    _ if Instant::now() > until => return Err(TownError::NotShown { service, what: "its new certificate".to_owned() }),
                    _ => sleep(limits::CHANGE_POLL).await,
                }
            };
            self.health(service, &mut line).await.map_err(|e| TownError::Broken { service, why: e.to_string() })?;
            serials.insert(service, (old, new));
        }
        Ok(Rotated { serials })
    }

    /// Stops sidecars, then apps, and tells what was seen from outside.
    pub async fn stop(self) -> Pages {
        self.stage.stop();
        let mut stopping = JoinSet::new();
        for (_, sidecar) in self.sidecars {
            stopping.spawn(sidecar.shutdown());
        }
        while stopping.join_next().await.is_some() {}
        for app in self.apps {
            app.stop().await;
        }
        self.stage.journal.pages()
    }

    /// Asks a sidecar for its service's health, as the prober, on a new connection.
    async fn probe(&self, service: &'static str) -> Result<Line, NoAnswer> {
        let mut line = self.stage.direct(Who::Prober, service, Protocol::Http1).await?;
        self.health(service, &mut line).await?;
        Ok(line)
    }

    async fn health(&self, service: &'static str, line: &mut Line) -> Result<(), NoAnswer> {
        let answer = line.ask(get("/healthz", service)).await.map_err(|(e, _)| e)?;
        let (id, status) = (request_id(answer.headers()), answer.status().as_u16());
        // Where card data lies the prober is refused; an answer shows all the same that the connection goes on.
        let (due, reason) = if PROBED.contains(&service) { (200, Reason::Permitted) } else { (403, Reason::UnknownPrincipal) };
        let answered = Answered { id, status, to: service, reason: Some(reason) };
        self.stage.journal.write(|pages| pages.answered.push(answered));
        if status == due { Ok(()) } else { Err(NoAnswer::Body(format!("the answer is {status}"))) }
    }

    /// Waits until a page of a sidecar's admin listener contains `text`.
    async fn wait(&self, service: &'static str, what: &str, page: &'static str, text: &str) -> Result<(), TownError> {
        let until = Instant::now() + limits::CHANGE_TIMEOUT;
        while Instant::now() < until {
            if self.page(service, page).await.is_ok_and(|body| body.contains(text)) {
                return Ok(());
            }
            sleep(limits::CHANGE_POLL).await;
        }
        Err(TownError::NotShown { service, what: what.to_owned() })
    }

    /// A page of a sidecar's admin listener.
    async fn page(&self, service: &'static str, page: &'static str) -> Result<String, NoAnswer> {
        let at = self.stage.places.admin.get(service).copied();
        let mut line = Line::plain(at.ok_or_else(|| NoAnswer::Body("there is no such sidecar".to_owned()))?).await?;
        let answer = line.ask(get(page, "localhost")).await.map_err(|(e, _)| e)?;
        Ok(String::from_utf8_lossy(answer.body()).into_owned())
    }
}

impl Running {
    /// The folders of the bundles that were in force, the first one first.
    #[must_use]
    pub fn bundles(dir: &std::path::Path) -> Vec<PathBuf> {
        [FIRST, SECOND].iter().map(|name| dir.join(name)).filter(|path| path.is_dir()).collect()
    }
}

fn get(target: &'static str, host: &'static str) -> Asking {
    let mut request = Request::new(Upload::new(0, true));
    *request.uri_mut() = http::Uri::from_static(target);
    request.headers_mut().insert(header::HOST, HeaderValue::from_static(host));
    request
}

#[cfg(test)]
mod tests {
    use crate::TownOptions;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn ports_that_a_starting_program_still_holds_are_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let town = Town::build(dir.path(), TownOptions::default()).unwrap();
        let copies: Vec<_> = town.reserved.iter().map(|socket| socket.try_clone().unwrap()).collect();
        let starting = tokio::spawn(town.start());
        sleep(4 * limits::CHANGE_POLL).await;
        drop(copies);
        starting.await.unwrap().unwrap().stop().await;
    }
}
