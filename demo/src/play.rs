//! Players: each asks one question after another, keeps its connections for a while, and holds every answer against what is due.
//!
//! INVARIANT: the questions follow from the seed alone; only their order among players is left to chance.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::{Response, StatusCode};
use portreeve_engine::Reason;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::apps::request_id;
use crate::calls::{self, Call, Expect, Kind, Questions, Way, Who};
use crate::client::{self, NoAnswer, Protocol, Whole};
use crate::journal::Answered;
use crate::limits;
use crate::random::Random;
use crate::stage::{Law, Lines, Stage};
use crate::tally::Tally;

/// What players are to do.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// All follows from it.
    pub seed: u64,
    /// Questions in all.
    pub requests: u64,
    /// How many players ask them.
    pub players: usize,
    /// Which they are.
    pub ask: Questions,
}

/// Lets players play. `done` counts the questions asked.
pub async fn play(stage: Arc<Stage>, plan: Plan, done: Arc<AtomicU64>) -> Tally {
    let players = u64::try_from(plan.players.max(1)).unwrap_or(1);
    let mut playing = JoinSet::new();
    for n in 0..players {
        let questions = plan.requests / players + u64::from(n < plan.requests % players);
        let mut seeds = Random::new(plan.seed.wrapping_add(n));
        let player = Player {
            stage: Arc::clone(&stage),
            questions: Random::new(seeds.number()),
            habits: Random::new(seeds.number()),
            lines: Lines::new(),
            tally: Tally::default(),
        };
        playing.spawn(player.play(plan.ask, questions, Arc::clone(&done)));
    }
    let mut tally = Tally::default();
    while let Some(played) = playing.join_next().await {
        match played {
            Ok(one) => tally.merge(one),
            // What it counted is lost, so nothing can be said any more.
            Err(e) => {
                tally.deviations += 1;
                tally.deviations_kept.push(format!("a player broke off: {e}"));
            }
        }
    }
    tally
}

struct Player {
    stage: Arc<Stage>,
    questions: Random,
    /// Apart from the questions, so that keeping a connection does not change what is asked.
    habits: Random,
    lines: Lines,
    tally: Tally,
}

impl Player {
    async fn play(mut self, ask: Questions, questions: u64, done: Arc<AtomicU64>) -> Tally {
        for _ in 0..questions {
            while self.stage.holds_at(done.load(Ordering::Relaxed)) {
                sleep(limits::HOLD_POLL).await;
            }
            let call = calls::next(ask, &mut self.questions);
            *self.tally.sent.entry(call.kind).or_insert(0) += 1;
            let law = self.stage.law();
            let answer = match &call.way {
                Way::Raw(bytes) => self.raw(&call, bytes.as_bytes()).await,
                _ => self.ask(&call).await,
            };
            let law = if law == self.stage.law() { law } else { Law::Changing };
            match answer {
                Ok(answer) => self.judge(&call, law, answer.as_ref()),
                Err(_) if self.stage.is_stopping() => {
                    self.tally.cut += 1;
                    break;
                }
                Err(e) => self.tally.deviates(&call, &e.to_string()),
            }
            done.fetch_add(1, Ordering::Relaxed);
        }
        self.tally
    }

    async fn ask(&mut self, call: &Call) -> Result<Option<Whole>, NoAnswer> {
        let mut request = self.stage.request(call).map_err(NoAnswer::Body)?;
        let protocol = match call.way {
            Way::Direct(protocol) => Some(protocol),
            _ => None,
        };
        let key = (call.from, call.to, protocol);
        let kept = self.lines.remove(&key);
        let mut fresh = kept.is_none();
        let mut line = match kept {
            Some(line) => line,
            None => self.connect(call).await?,
        };
        loop {
            match line.ask(request).await {
                Ok(answer) => {
                    if !self.habits.one_in(RECONNECT_ONE_IN) {
                        self.lines.insert(key, line);
                    }
                    return Ok(Some(answer));
                }
                // A kept connection was closed while it was idle, and nothing of the request was sent on it.
                Err((_, Some(unsent))) if !fresh => {
                    request = *unsent;
                    (line, fresh) = (self.connect(call).await?, true);
                }
                Err((e, _)) => return Err(e),
            }
        }
    }

    async fn connect(&mut self, call: &Call) -> Result<client::Line, NoAnswer> {
        let line = self.stage.connect(call).await?;
        self.tally.handshakes += u64::from(line.serial.is_some());
        Ok(line)
    }

    /// Sends bytes as they are and reads to the end. `None` where no answer came, only the end of the connection.
    async fn raw(&mut self, call: &Call, bytes: &[u8]) -> Result<Option<Whole>, NoAnswer> {
        let at = self.stage.inbound(call.to).ok_or_else(|| NoAnswer::Body("the town has no such place".to_owned()))?;
        let stranger = call.expect == Expect::TurnedAway;
        if call.from == Who::Odd(Kind::PlainText) {
            return exchange(client::dial(at).await?, bytes, stranger).await;
        }
        let config = self.stage.tls(call.from, call.to, Protocol::Http1).map_err(|e| NoAnswer::Body(e.to_string()))?;
        match client::handshake(at, config).await {
            Ok(stream) => {
                self.tally.handshakes += u64::from(!stranger);
                exchange(stream, bytes, stranger).await
            }
            // It may come as early as here. That nobody listens is another matter.
            Err(NoAnswer::Connect(e)) if stranger && e.kind() != std::io::ErrorKind::ConnectionRefused => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Holds an answer against what is due.
    fn judge(&mut self, call: &Call, law: Law, answer: Option<&Whole>) {
        let tally = &mut self.tally;
        let Some(answer) = answer else {
            match (call.expect, call.kind.refusal()) {
                (Expect::TurnedAway, Some(reason)) => *tally.turned_away.entry(reason).or_insert(0) += 1,
                _ if self.stage.is_stopping() => tally.cut += 1,
                _ => tally.deviates(call, "the connection was closed without an answer"),
            }
            return;
        };
        let (status, id) = (answer.status().as_u16(), request_id(answer.headers()));
        let due = due(call.expect, law, status);
        tally.answered.push(Answered { id: id.clone(), status, to: call.to, reason: due.flatten() });
        match status {
            200 => tally.allowed += 1,
            429 => tally.limited += 1,
            503 => tally.unrecorded += 1,
            _ => tally.denied += 1,
        }
        if due.is_none() && !(self.stage.is_stopping() && matches!(status, 502 | 504)) {
            let body = String::from_utf8_lossy(answer.body());
            tally.deviates(call, &format!("expected {:?}, got {status} `{}` ({})", call.expect, body.trim(), id));
        } else if let Some(why) = wrong_body(call, answer, &id) {
            tally.deviates(call, &why);
        }
    }
}

/// Whether the status is one that is due, and the reason that the log must give for it, where there is only one.
fn due(expect: Expect, law: Law, status: u16) -> Option<Option<Reason>> {
    match (expect, status) {
        // Nothing is judged that cannot be recorded.
        (_, 503) if expect != Expect::TurnedAway => Some(None),
        (Expect::Allowed { .. }, 200) | (Expect::Allowed { limited: true }, 429) => Some(Some(Reason::Permitted)),
        (Expect::Denied(reason), 403) => Some(Some(reason)),
        (Expect::Malformed, 400) => Some(Some(Reason::MalformedRequest)),
        (Expect::ByBundle, 403) if law != Law::Second => Some((law == Law::First).then_some(Reason::Prohibited)),
        (Expect::ByBundle, 200) if law != Law::First => Some((law == Law::Second).then_some(Reason::Permitted)),
        _ => None,
    }
}

/// What is wrong with the body: an app says how much it received; a refusal tells its id and nothing else.
fn wrong_body(call: &Call, answer: &Whole, id: &str) -> Option<String> {
    let text = String::from_utf8_lossy(answer.body());
    match answer.status() {
        StatusCode::OK => {
            let received = serde_json::from_str::<Value>(&text).ok().and_then(|v| v.get("received").and_then(Value::as_u64));
            (received != Some(call.body)).then(|| format!("sent {} bytes, the app answered `{}`", call.body, text.trim()))
        }
        StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST => {
            (text.trim() != format!("{{\"request_id\":\"{id}\"}}")).then(|| format!("a refusal tells more than its id: `{}`", text.trim()))
        }
        _ => None,
    }
}

/// Writes, then reads to the end.
async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, bytes: &[u8], stranger: bool) -> Result<Option<Whole>, NoAnswer> {
    let all = async {
        let mut got = Vec::new();
        let written = match stream.write_all(bytes).await {
            Ok(()) => stream.flush().await,
            Err(e) => Err(e),
        };
        let max = u64::try_from(limits::ANSWER_BYTES_MAX).unwrap_or(u64::MAX);
        let read = match written {
            Ok(()) => (&mut stream).take(max).read_to_end(&mut got).await.map(|_| ()),
            Err(e) => Err(e),
        };
        match read {
            // A stranger's connection may end in any way, as long as no answer came.
            Err(e) if got.is_empty() && !stranger => Err(NoAnswer::Connect(e)),
            _ => Ok(got),
        }
    };
    let got = timeout(limits::ANSWER_TIMEOUT, all).await.map_err(|_| NoAnswer::Timeout)??;
    parse(&got)
}

/// One answer, or none; more than one is an error: a request was smuggled.
fn parse(got: &[u8]) -> Result<Option<Whole>, NoAnswer> {
    let text = String::from_utf8_lossy(got);
    if !text.contains("HTTP/1.") {
        return Ok(None);
    }
    let broken = || NoAnswer::Body(format!("not exactly one answer: `{}`", text.escape_debug()));
    let (head, body) = text.split_once("\r\n\r\n").filter(|_| text.matches("HTTP/1.").count() == 1).ok_or_else(broken)?;
    let mut lines = head.lines();
    let status: u16 = lines.next().and_then(|l| l.split(' ').nth(1)).and_then(|s| s.parse().ok()).ok_or_else(broken)?;
    let mut answer = Response::builder().status(status);
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        answer = answer.header(name.trim(), value.trim());
    }
    answer.body(Bytes::from(body.to_owned())).map(Some).map_err(|_| broken())
}

/// A player gives a connection up after one in so many answers.
const RECONNECT_ONE_IN: u64 = 25;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refund_is_due_by_the_bundle_in_force() {
        for (law, status, due_) in [
            (Law::First, 403, Some(Some(Reason::Prohibited))),
            (Law::First, 200, None),
            (Law::Changing, 403, Some(None)),
            (Law::Changing, 200, Some(None)),
            (Law::Second, 200, Some(Some(Reason::Permitted))),
            (Law::Second, 403, None),
        ] {
            assert_eq!(due(Expect::ByBundle, law, status), due_, "{law:?} {status}");
        }
        assert_eq!(due(Expect::Allowed { limited: false }, Law::First, 429), None);
        assert_eq!(due(Expect::TurnedAway, Law::First, 503), None);
    }

    #[test]
    fn a_smuggled_answer_is_not_taken_for_one() {
        let one = "HTTP/1.1 400 Bad Request\r\nX-Request-Id: a-1\r\n\r\n{}\n";
        let answer = parse(one.as_bytes()).unwrap().unwrap();
        assert_eq!((answer.status().as_u16(), request_id(answer.headers()).as_str()), (400, "a-1"));
        assert!(parse(format!("{one}{one}").as_bytes()).is_err());
        assert!(parse(b"\x15\x03\x03\x00\x02\x02\x46").unwrap().is_none());
    }
}
