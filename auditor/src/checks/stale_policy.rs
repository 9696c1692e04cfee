//! Times in which an enforcer decided under a bundle that was older than its configuration allows: what was withdrawn in the
//! meantime may still have been granted (A80).

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined, many};

/// See the file's own text.
pub(super) const CHECK: Check =
    Check { id: "stale_policy", title: "policy older than it may be", severity: Weight::Medium, about_evidence: false, find };

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let processes = examined.fold.processes.iter();
    processes
        .filter_map(|(chain, process)| {
            let tally = process.stale.as_ref()?;
            let name = examined.process_name(*chain);
            Some(Draft {
                summary: format!(
                    "{name} had a bundle in force that was older than it may be, from {} to {}: {} decided under it",
                    tally.first,
                    tally.last,
                    many(process.stale_decided, "request")
                ),
                subject: name,
                remedy: "find out why nothing newer came, and issue policies again before `max_age` is over".to_owned(),
                evidence: tally.evidence.to_vec(),
                count: process.stale_decided,
                ..Draft::default()
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use portreeve_engine::record::{Event, Issue, Reloaded};

    use crate::audit::Audit;
    use crate::testing::{Log, POLICY, authorizer, id, memory, start};

    #[test]
    fn what_was_decided_after_the_freshness_of_a_bundle_is_found() {
        let law = authorizer(POLICY);
        let mut log = Log::start("items", "items-1", *law.revision());
        let fresh_until = start().plus_ms(10_000);
        let issue = Issue { name: "market".to_owned(), serial: 7, issued_at: start(), fresh_until: Some(fresh_until) };
        log.push(&Event::Reloaded(Reloaded { revision: *law.revision(), bundle: Some(issue) }));
        // Two lines each, a second apart: the first three are in time.
        for _ in 0..8 {
            log.ask(&law, &id("invoices"), "GET", "/v1/items/1");
        }
        log.stop();
        let found = |log: &[u8]| {
            let bundles = vec![("market".to_owned(), authorizer(POLICY))];
            let assessment = Audit::new(bundles).logs([memory("items", log)]).run(&mut |_| {}).unwrap();
            assessment.findings.into_iter().find(|f| f.check == "stale_policy")
        };
        let late = found(&log.out).unwrap();
        assert_eq!((late.subject.as_str(), late.count), ("items (items-1)", LATE));
        // Without an end to its freshness, a bundle is never stale.
        let mut log = Log::start("items", "items-1", *law.revision());
        log.push(&Event::Reloaded(Reloaded { revision: *law.revision(), bundle: None }));
        for _ in 0..8 {
            log.ask(&law, &id("invoices"), "GET", "/v1/items/1");
        }
        assert_eq!(found(&log.out), None);
    }

    /// `started` at 1 s, `reloaded` at 2 s, `decided` at 3, 5, … 17 s: those after 10 s.
    const LATE: u64 = 4;
}
