//! What every rendering promises, on a plain assessment, a hostile one, an empty one and large ones.
//!
//! The page is read back by a small tokenizer of its own, so that markup which slipped through would be seen as markup.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot read what it tests has failed")]
#![expect(clippy::string_slice, reason = "every offset was found in the same text, at an ASCII character")]

#[expect(unreachable_pub, reason = "shared with the browser test of the whole workspace")]
#[cfg(test)]
mod sample;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use portreeve_auditor::assessment::{Analyses, Assessment, Fidelity, GovernanceSummary, Mark, Reads, Summary, Totals, Waiver};
use portreeve_reports::{ReportError, html, json, markdown, write_all};
use serde_json::Value;

#[test]
fn the_same_assessment_gives_the_same_bytes() {
    for a in all() {
        assert!(html(&a).unwrap() == html(&a.clone()).unwrap());
        assert!(json(&a).unwrap() == json(&a.clone()).unwrap());
        assert!(markdown(&a) == markdown(&a.clone()));
    }
}

#[test]
fn json_reads_back_whole_and_in_order() {
    for a in all() {
        let text = json(&a).unwrap();
        assert!(text.starts_with("{\n  \"tool\": ") && text.ends_with("\n}\n"));
        assert!(serde_json::from_str::<Value>(&text).unwrap() == serde_json::to_value(&a).unwrap(), "the file reads back as another value");
        assert!(!text.chars().any(acts), "an acting character stands in the file");
    }
}

#[test]
fn the_page_carries_the_whole_assessment() {
    for a in all() {
        let page = html(&a).unwrap();
        let (_, data) = page.split_once("<script type=\"application/json\" id=\"assessment\">").unwrap();
        let (data, _) = data.split_once("</script>").unwrap();
        assert!(!data.contains(['<', '>', '&', '\u{2028}', '\u{2029}']));
        assert!(serde_json::from_str::<Value>(data).unwrap() == serde_json::to_value(&a).unwrap(), "the block reads back as another value");
    }
}

#[test]
fn the_page_is_well_formed_and_nothing_in_it_can_act() {
    for a in all() {
        let page = html(&a).unwrap();
        assert!(!page.chars().any(acts), "an acting character stands in the page");
        let tags = tags(&page);
        let mut open: Vec<&str> = Vec::new();
        for tag in &tags {
            assert!(ELEMENTS.contains(&&*tag.name), "`{}` is no element of ours", tag.name);
            for (name, value) in &tag.attributes {
                assert!(ATTRIBUTES.contains(&&**name) || name.starts_with("data-") || name.starts_with("aria-"), "attribute `{name}`");
                let inward = value.starts_with('#') || *value == "data:,";
                assert!(!matches!(&**name, "href" | "src") || inward, "`{value}` leads out of the page");
            }
            match (tag.closes, VOID.contains(&&*tag.name) || tag.empty) {
                (false, false) => open.push(&tag.name),
                (true, _) => assert_eq!(open.pop(), Some(&*tag.name)),
                (false, true) => {}
            }
        }
        assert!(open.is_empty(), "{open:?} is left open");
        assert_eq!(tags.iter().filter(|t| t.name == "script" && !t.closes).count(), 3);
        assert_eq!(tags.iter().filter(|t| t.name == "style" && !t.closes).count(), 1);
    }
}

#[test]
fn every_anchor_is_unique_and_every_link_arrives() {
    for a in all() {
        let page = html(&a).unwrap();
        let tags = tags(&page);
        let mut ids = BTreeSet::new();
        for id in values(&tags, "id") {
            assert!(ids.insert(id), "`{id}` stands twice");
        }
        for link in values(&tags, "href").filter_map(|href| href.strip_prefix('#')) {
            assert!(ids.contains(link), "nothing stands at `#{link}`");
        }
    }
}

#[test]
fn findings_and_controls_lead_to_each_other() {
    let page = html(&sample::market()).unwrap();
    for link in ["#f-wildcard-permission-9c1e", "#c-pci-dss-4.0.1-7.2.5", "#in-2"] {
        assert!(page.contains(&format!("href=\"{link}\"")), "{link}");
        assert!(page.contains(&format!("id=\"{}\"", &link[1..])), "{link}");
    }
}

#[test]
fn figures_on_the_page_are_those_of_the_assessment() {
    let a = sample::market();
    let (page, value) = (html(&a).unwrap(), serde_json::to_value(&a).unwrap());
    let mut seen = BTreeMap::new();
    for part in page.split("<data data-field=\"").skip(1) {
        let (field, rest) = part.split_once("\" value=\"").unwrap();
        let (raw, rest) = rest.split_once("\">").unwrap();
        let (shown, _) = rest.split_once("</data>").unwrap();
        assert_eq!(shown.replace(',', ""), raw);
        assert_eq!(raw, sample::figure(&value, field).unwrap().to_string(), "{field}");
        seen.insert(field, raw);
    }
    for total in value["totals"].as_object().unwrap().keys() {
        assert!(seen.contains_key(&*format!("totals.{total}")), "totals.{total} is not on the page");
    }
    assert_eq!(seen.keys().filter(|f| f.starts_with("summary.verdicts.")).count(), 7);
    assert_eq!(seen.keys().filter(|f| f.starts_with("reads.grades.")).count(), 5);
    for field in ["agreed", "of", "differing", "not_replayable", "unlawful", "overdenied"] {
        assert!(seen.contains_key(&*format!("fidelity.{field}")), "fidelity.{field} is not on the page");
    }
}

#[test]
fn how_logs_were_read_and_what_changed_stand_on_the_page() {
    let a = sample::market();
    let page = html(&a).unwrap();
    for (section, texts) in [
        ("reading", &["its address", "weak_tls", "accessLogFormat: SNIPPET", "7 undetermined", "probes: 3", "records were lost"][..]),
        ("fidelity", &["no bundle of its revision", "2,481,849", "denied-then", "881202", "4 more groups"]),
        ("since", &["reports/october", "was found gone", "kind_folded-1", "not there", "no longer granted", "this one", "another tool"]),
    ] {
        let (_, text) = page.split_once(&format!("<section aria-labelledby=\"{section}\"")).expect(section);
        let (text, _) = text.split_once("</section>").unwrap();
        for wanted in texts {
            assert!(text.contains(wanted), "{wanted} does not stand in {section}");
        }
    }
    assert!(page.contains("25 of 12,482,301 records, seed 7") && page.contains("on <time datetime=\"2026-11-15T08:00:00.000Z\""));
}

#[test]
fn the_summary_tells_what_changed_and_never_to_fix_what_is_waived() {
    let mut a = sample::market();
    let text = markdown(&a);
    for line in [
        "Findings: **2 new**, 1 gone, 3 unchanged, 1 of them heavier. Verdicts changed: 2. Edges changed: 2.",
        "- `kind_folded-1`",
        "- **low** `x` was found gone (`stale_service`)",
        "- `7.2.5`: met, technically → **not met**",
        "- `9.9`: suspect → **not there**",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\n{text}");
    }
    let remedy = "Find the cause; the hole stays in the evidence.";
    assert!(text.contains(remedy));
    a.findings[0].waived = Some(waiver());
    let text = markdown(&a);
    let (_, first) = text.split_once("### Fix first").unwrap();
    assert!(!first.contains(remedy) && first.contains("\n2 covered by an exception.\n"), "{text}");
    a.findings.iter_mut().for_each(|f| f.waived = Some(waiver()));
    assert!(markdown(&a).contains("Every finding (5) is covered by an exception.") && !markdown(&a).contains("Fix first"));
    let kind = a.findings[1].clone();
    a.findings = (0..20).map(|n| portreeve_auditor::assessment::Finding { id: format!("x-{n}"), waived: None, ..kind.clone() }).collect();
    assert!(markdown(&a).contains("\n19 more in the full report.\n"), "one line for a kind is enough");
}

#[test]
fn long_texts_are_whole_on_the_page() {
    let page = html(&sample::hostile()).unwrap();
    assert!(page.contains(sample::ATTACKS[7]));
}

#[test]
fn what_a_figure_rests_on_stands_without_a_box_and_a_strangers_text_in_one() {
    let boxed = |sentence: &str| {
        let mut a = sample::market();
        a.fidelity.rests_on = sentence.to_owned();
        let page = html(&a).unwrap();
        let (before, _) = page.split_once(sentence).unwrap();
        before.ends_with("characters\">")
    };
    assert!(!boxed(&"What differs is counted by itself. ".repeat(20)), "700 characters of ours are hidden");
    assert!(boxed(&"What differs is counted by itself. ".repeat(40)), "1,400 characters bury the page");

    let mut a = sample::market();
    let long = "asked for what nobody declares ".repeat(20);
    a.findings[0].summary.clone_from(&long);
    let page = html(&a).unwrap();
    assert!(page.contains(&format!("characters\">{long}")), "a finding's text, which names strangers, stands in a box");
}

#[test]
fn the_assessors_words_are_never_printed() {
    let a = sample::market();
    for text in [html(&a).unwrap(), markdown(&a), html(&empty()).unwrap(), markdown(&empty())] {
        let text = text.to_lowercase();
        for word in ["compliant", "compliance", "in place"] {
            assert!(!text.contains(word), "`{word}` is printed");
        }
    }
}

#[test]
fn nothing_examined_reads_as_nothing_examined() {
    let (page, summary) = (html(&empty()).unwrap(), markdown(&empty()));
    for sentence in ["No catalogue", "Nothing was found. That is a statement about the evidence", "No log was given"] {
        assert!(page.contains(sentence), "{sentence}");
    }
    assert!(summary.contains("No findings in the evidence given") && !summary.contains("| Verdict |"), "{summary}");
}

#[test]
fn what_the_page_leaves_out_it_says() {
    let page = html(&sample::busy(30, 10_500)).unwrap();
    assert_eq!(page.matches("<details class=\"item finding\"").count(), 200);
    assert!(page.contains("Here are the first 200 of 10,500 findings. All of them stand in <code>assessment.json</code>"));
    // 1,313 bear on it: the first twelve, and a link that filters the list to all.
    assert!(page.contains(">and 1,301 more</a>"));
    assert!(html(&sample::crowd(501)).unwrap().contains("Here are the first 200 of 2,010 pairs. All of them stand"));
}

#[test]
fn every_mark_of_a_drawing_stands_in_the_table() {
    for a in [sample::market(), sample::crowd(20)] {
        let page = html(&a).unwrap();
        let (section, _) = page.split_once("aria-labelledby=\"controls\"").unwrap();
        let drawn =
            section.split("class=\"hit\"").skip(1).filter(|cell| cell.split('>').nth(1).is_some_and(|next| next.starts_with("<use")));
        assert_eq!(drawn.count(), a.matrix.len());
        for (n, cell) in a.matrix.iter().enumerate() {
            assert_eq!(section.matches(&format!("<tbody id=\"p-{n}\">")).count(), 1, "{} → {}", cell.from, cell.to);
            assert!(section.contains(&format!("href=\"#p-{n}\"")), "{} → {} is in no drawing", cell.from, cell.to);
        }
    }
}

#[test]
fn every_mark_of_the_blocks_is_drawn_once_and_leads_to_its_pair() {
    for a in [sample::crowd(33), sample::crowd(200), sample::busy(500, 10)] {
        let page = html(&a).unwrap();
        let drawn = |class: &str| -> usize {
            let path = format!("<path class=\"{class}\" d=\"");
            page.split(&path).skip(1).map(|rest| rest.split('"').next().unwrap_or_default().matches('M').count()).sum()
        };
        let (_, marks) = page.split_once("class=\"matrix marks\"").unwrap();
        for (mark, class) in
            [(Mark::Used, "used"), (Mark::UsedConditional, "used-conditional"), (Mark::Unused, "unused"), (Mark::Shadow, "shadow")]
        {
            let of_symbols = page.split_once("</svg>").unwrap().0.matches(&format!("class=\"{class}\" d=\"M")).count();
            assert_eq!(drawn(class), a.matrix.iter().filter(|c| c.mark == mark).count() + of_symbols, "{class}");
        }
        assert!(marks.contains("class=\"denied\""));
        let numbers: Vec<usize> = page
            .split(" data-at=\"")
            .skip(1)
            .flat_map(|part| part.split('"').next().unwrap_or_default().split(' ').skip(2).step_by(3).map(|n| n.parse().unwrap()))
            .collect();
        assert_eq!(BTreeSet::from_iter(numbers.iter().copied()), (0..a.matrix.len()).collect());
        assert_eq!(numbers.len(), a.matrix.len(), "a mark is drawn twice");
        let rows = block(&page, "rows");
        assert!(rows["pairs"].as_array().unwrap().len() >= a.matrix.len());
    }
}

#[test]
fn the_filters_offer_what_the_findings_have() {
    let page = html(&sample::busy(30, 300)).unwrap();
    let rows = block(&page, "rows");
    let keys: BTreeSet<&str> = rows["keys"].as_array().unwrap().iter().flat_map(|keys| keys.as_str().unwrap().split(' ')).collect();
    assert!(keys.len() > 3 + 40 + 30, "{keys:?}");
    for key in keys {
        assert_eq!(page.matches(&format!("<option value=\"{key}\">")).count(), 1, "{key}");
    }
}

#[test]
fn a_finding_costs_the_page_its_data_and_a_row_only_among_the_first() {
    let (some, more) = (sample::busy(30, 1_000), sample::busy(30, 2_000));
    let (page, larger) = (html(&some).unwrap(), html(&more).unwrap());
    let data = |a: &Assessment| serde_json::to_string(&a.findings).unwrap().len();
    // Beside its data a finding has its keys for the filters, and its id under the controls it bears on.
    let (grown, grown_data) = (larger.len() - page.len(), data(&more) - data(&some));
    assert!(grown < grown_data + 100 * 1_000, "{grown} bytes for {grown_data} bytes of data");
    assert!(tags(&larger).len() < tags(&page).len() + 20, "elements grow with the findings");
}

#[test]
fn what_leads_to_a_finding_without_a_row_names_it_for_the_script() {
    let mut a = sample::busy(30, 300);
    a.findings[299].check = "another_kind".into();
    let page = html(&a).unwrap();
    let anchor = format!("f-{}", a.findings[299].id.replace('_', "-"));
    let (_, fix) = page.split_once("<h2 id=\"fix\">").unwrap();
    let (fix, _) = fix.split_once("</section>").unwrap();
    assert!(!fix.contains("data-go"), "the first five kinds have rows");
    a.findings.iter_mut().take(299).for_each(|f| f.check = "one_kind".into());
    let page = html(&a).unwrap();
    assert!(page.contains(&format!("<a href=\"#findings\" data-go=\"{anchor}\">")), "{anchor}");
    assert!(!page.contains(&format!("id=\"{anchor}\"")));
}

#[test]
fn what_an_exception_covers_is_shown_and_is_nothing_to_begin_with() {
    let page = html(&sample::market()).unwrap();
    let (_, rest) = page.split_once("<h2 id=\"fix\">").unwrap();
    let (fix, rest) = rest.split_once("</section>").unwrap();
    assert!(fix.contains("f-wildcard-permission-9c1e") && !fix.contains("f-old-tls-77aa"), "{fix}");
    let (controls, findings) = rest.split_once("<h2 id=\"findings\">").unwrap();
    for told in [controls, findings] {
        assert!(told.contains("by exception <code>EX-7</code>") || told.contains("waived by <code>EX-7</code>"));
        assert!(told.contains("2027-01-31") && told.contains("firmware cannot be replaced"));
    }
    let mut a = sample::market();
    a.findings.retain(|f| f.waived.is_some());
    assert!(html(&a).unwrap().contains("Exceptions cover every finding"));
}

#[test]
fn every_declaration_and_every_analysis_stands_on_the_page() {
    let a = sample::market();
    let (page, value) = (html(&a).unwrap(), serde_json::to_value(&a).unwrap());
    for (name, part) in value["analyses"].as_object().unwrap() {
        if let Some(have) = part.get("have") {
            assert!(page.contains(&format!("data-field=\"analyses.{name}.have\" value=\"{have}\"")), "{name}");
        }
    }
    for told in [
        "2026-06-30, expired",
        "no longer",
        "no process ran with this file",
        "nobody named",
        "EX-2",
        "card-network",
        "ciphers were looked at",
    ] {
        assert!(page.contains(told), "{told}");
    }
}

#[test]
fn tables_are_cut_and_say_so() {
    let mut a = sample::market();
    let spike = a.analyses.spikes.entries[0].clone();
    a.analyses.spikes.entries = vec![spike; 70];
    a.analyses.spikes.omitted = 5;
    let page = html(&a).unwrap();
    assert!(page.contains("and 25 more in <code>assessment.json</code>"));
}

#[test]
fn every_operation_stands_under_its_pair() {
    let a = sample::market();
    let page = html(&a).unwrap();
    let (_, pairs) = page.split_once("class=\"pairs\"").unwrap();
    let (pairs, _) = pairs.split_once("</table>").unwrap();
    assert_eq!(pairs.matches("class=\"op\"").count(), a.edges.len());
    assert!(pairs.contains("stray"), "the caller outside the inventory is not named");
}

#[test]
fn the_summary_holds_no_markup_of_strangers() {
    let (plain, hostile) = (markdown(&sample::market()), markdown(&sample::hostile()));
    assert_eq!(plain.lines().count(), hostile.lines().count(), "a text broke out of its line");
    let outside = without_code(&hostile).replace("<!-- -->", "\u{1}");
    for refused in ["<", "@everyone", "#1", "https://", "www.", "[x]", "```", "~~", "*b*"] {
        assert!(!outside.contains(refused), "`{refused}` stands outside a code span");
    }
    assert!(!hostile.chars().any(acts));
}

#[test]
fn files_are_written_whole_and_in_place_of_old_ones() {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("reports-files").join("deep");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("index.html"), "old").unwrap();
    let a = sample::market();
    let written = write_all(&a, &dir).unwrap();
    let names: Vec<_> = written.iter().map(|p| p.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["assessment.json", "summary.md", "index.html"]);
    assert_eq!(fs::read_to_string(&written[0]).unwrap(), json(&a).unwrap());
    assert_eq!(fs::read_to_string(&written[1]).unwrap(), markdown(&a));
    assert_eq!(fs::read_to_string(&written[2]).unwrap(), html(&a).unwrap());
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 3, "something else was left behind");
    let blocked = write_all(&a, &written[0]).unwrap_err();
    assert!(matches!(blocked, ReportError::Folder { .. }), "{blocked}");
}

fn all() -> Vec<Assessment> {
    vec![sample::market(), sample::hostile(), empty(), sample::crowd(30), sample::crowd(200), sample::busy(30, 300)]
}

/// A data block of the page.
fn block(page: &str, id: &str) -> Value {
    let (_, data) = page.split_once(&format!("<script type=\"application/json\" id=\"{id}\">")).unwrap();
    serde_json::from_str(data.split_once("</script>").unwrap().0).unwrap()
}

fn waiver() -> Waiver {
    let until = "2027-01-31".parse().unwrap();
    Waiver { exception: "EX-7".into(), reason: "a new chain begins".into(), approved_by: vec!["ciso".into()], until }
}

fn empty() -> Assessment {
    let mut a = sample::market();
    (a.period, a.totals, a.summary) = (None, Totals::default(), Summary::default());
    (a.catalogs, a.catalog_titles, a.controls, a.findings) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    (a.inputs, a.bundles, a.services, a.edges, a.matrix) = (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    (a.enforcers, a.certificates, a.tls, a.refusals) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    (a.denials, a.invariants, a.method) = (Vec::new(), Vec::new(), Vec::new());
    (a.governance, a.analyses) = (GovernanceSummary::default(), Analyses::default());
    (a.reads, a.fidelity, a.baseline, a.sample, a.generated_at) = (Reads::default(), Fidelity::default(), None, None, None);
    a
}

/// Controls and characters that reorder or hide others.
fn acts(c: char) -> bool {
    let control = c.is_control() && c != '\n' && c != '\t';
    control || ('\u{200b}'..='\u{200f}').contains(&c) || ('\u{2028}'..='\u{202e}').contains(&c) || ('\u{2066}'..='\u{2069}').contains(&c)
}

/// A text without its code spans, as CommonMark reads them.
fn without_code(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let mut rest = line;
        while let Some(at) = rest.find('`') {
            if rest[..at].ends_with('\\') {
                out.push_str(&rest[..=at]);
                rest = &rest[at + 1..];
                continue;
            }
            let fence = rest[at..].len() - rest[at..].trim_start_matches('`').len();
            let inside = &rest[at + fence..];
            let end = (0..inside.len()).find(|&i| {
                inside.is_char_boundary(i)
                    && inside[i..].starts_with('`')
                    && !inside[..i].ends_with('`')
                    && inside[i..].len() - inside[i..].trim_start_matches('`').len() == fence
            });
            out.push_str(&rest[..at]);
            let end = end.expect("a fence without its end");
            rest = &inside[end + fence..];
        }
        out.push_str(rest);
        out.push('\n');
    }
    out
}

struct Tag {
    name: String,
    closes: bool,
    empty: bool,
    attributes: Vec<(String, String)>,
}

fn values<'a>(tags: &'a [Tag], name: &'a str) -> impl Iterator<Item = &'a str> {
    tags.iter().flat_map(|t| &t.attributes).filter(move |(n, _)| n == name).map(|(_, value)| &**value)
}

/// Every tag of a page: attributes must be quoted, and script and style are read up to their end.
fn tags(page: &str) -> Vec<Tag> {
    let mut out = Vec::new();
    let mut rest = page.strip_prefix("<!doctype html>").unwrap();
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        let closes = rest.starts_with('/');
        rest = rest.trim_start_matches('/');
        let name: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric()).collect();
        rest = &rest[name.len()..];
        let mut attributes = Vec::new();
        let empty = loop {
            rest = rest.trim_start();
            if let Some(after) = rest.strip_prefix("/>") {
                rest = after;
                break true;
            }
            if let Some(after) = rest.strip_prefix('>') {
                rest = after;
                break false;
            }
            let end = rest.find(['=', ' ', '>']).unwrap();
            let attribute = rest[..end].to_owned();
            rest = &rest[end..];
            let mut value = "";
            if let Some(quoted) = rest.strip_prefix("=\"") {
                (value, rest) = quoted.split_once('"').unwrap();
            }
            attributes.push((attribute, value.to_owned()));
        };
        if !closes && matches!(&*name, "script" | "style") {
            rest = &rest[rest.find(&format!("</{name}>")).unwrap()..];
        }
        out.push(Tag { name, closes, empty, attributes });
    }
    out
}

const VOID: [&str; 5] = ["meta", "link", "br", "wbr", "input"];

const ELEMENTS: [&str; 60] = [
    "html", "head", "meta", "link", "title", "style", "body", "script", "svg", "symbol", "path", "circle", "rect", "use", "g", "text", "a",
    "nav", "div", "header", "main", "section", "footer", "p", "h1", "h2", "h3", "b", "em", "br", "wbr", "small", "span", "code", "data",
    "time", "dl", "dt", "dd", "ul", "ol", "li", "table", "thead", "tbody", "tr", "th", "td", "details", "summary", "i", "bdi", "hr", "pre",
    "label", "select", "option", "input", "button", "caption",
];

const ATTRIBUTES: [&str; 40] = [
    "lang",
    "charset",
    "http-equiv",
    "content",
    "name",
    "rel",
    "href",
    "class",
    "id",
    "type",
    "viewBox",
    "width",
    "height",
    "x",
    "y",
    "d",
    "cx",
    "cy",
    "r",
    "role",
    "tabindex",
    "scope",
    "title",
    "value",
    "datetime",
    "transform",
    "text-anchor",
    "preserveAspectRatio",
    "fill",
    "focusable",
    "open",
    "colspan",
    "start",
    "dir",
    "for",
    "alt",
    "hidden",
    "autocomplete",
    "spellcheck",
    "rx",
];
