//! The report page in a real browser, opened from disk: nothing on it runs, calls out, complains or runs off its edge, and its
//! figures are those of `assessment.json`.
//!
//! The browser is Chromium, without a window; where there is none the tests say so and pass. Names are not resolved, so what a
//! page tries to reach stays on this machine. Control pages show that the tests would see a script, a request and a refusal of the
//! page's own style. The judge of accessibility is axe-core; where it is missing (`AXE_CORE` may name it) that test says so.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::string_slice,
    reason = "a test that cannot read what it tests has failed"
)]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use browser::{BROWSERS, Chromium};
use portreeve_auditor::assessment::{Assessment, Verdict};
use serde_json::Value;

#[expect(unreachable_pub, reason = "a part of this test alone")]
#[cfg(test)]
mod browser;
#[path = "../reports/tests/sample/mod.rs"]
#[expect(unreachable_pub, reason = "shared with the tests of the renderers")]
#[cfg(test)]
mod sample;

#[test]
fn the_figures_in_the_browser_are_those_of_the_json_file() {
    let Some(browser) = dumper() else { return };
    let dir = folder("figures");
    portreeve_reports::write_all(&sample::market(), &dir).unwrap();
    let seen = browser.open(&dir.join("index.html"), &dir);
    let file: Value = serde_json::from_slice(&fs::read(dir.join("assessment.json")).unwrap()).unwrap();
    let figures: Vec<_> = seen.dom.split(" data-field=\"").skip(1).collect();
    assert!(figures.len() > 20, "only {} figures are on the page", figures.len());
    for figure in figures {
        let (field, rest) = figure.split_once('"').unwrap();
        let (_, rest) = rest.split_once('>').unwrap();
        let (shown, _) = rest.split_once('<').unwrap();
        assert_eq!(shown.replace(',', ""), sample::figure(&file, field).unwrap().to_string(), "{field}");
    }
    for control in file["controls"].as_array().unwrap() {
        let (id, verdict) = (control["id"].as_str().unwrap(), control["verdict"].as_str().unwrap());
        let row = format!("data-control=\"pci-dss-4.0.1 {id}\" data-verdict=\"{verdict}\"");
        assert_eq!(seen.dom.matches(&row).count(), 1, "{row}");
    }
    assert_quiet(&seen);
}

#[test]
fn a_hostile_assessment_stays_text() {
    let Some(browser) = dumper() else { return };
    let dir = folder("hostile");
    portreeve_reports::write_all(&sample::hostile(), &dir).unwrap();
    let seen = browser.open(&dir.join("index.html"), &dir);
    assert_quiet(&seen);
    for element in ["<img", "<iframe", "<b>bold", "<svg onload"] {
        assert!(!seen.dom.contains(element), "`{element}` became an element");
    }
    // The data blocks hold no `<`, so every `<script` and `<style` of the dump is an element.
    assert_eq!((seen.dom.matches("<script").count(), seen.dom.matches("<style").count()), (3, 1));
}

#[test]
fn the_test_would_see_a_script_and_a_request() {
    let Some(browser) = dumper() else { return };
    let dir = folder("control");
    let page = dir.join("index.html");
    fs::write(&page, "<title>x</title><img src=http://127.0.0.1:9/><script>document.title='owned';console.log('hello')</script>").unwrap();
    let seen = browser.open(&page, &dir);
    assert_eq!(seen.title(), "owned");
    assert_eq!(seen.console.len(), 1, "{:?}", seen.console);
    assert_eq!(seen.requests, ["http://127.0.0.1:9/"]);
}

#[test]
fn only_the_named_style_applies() {
    let Some(browser) = dumper() else { return };
    let dir = folder("style");
    let page = portreeve_reports::html(&sample::market()).unwrap().replacen("body{margin:0", "body{margin:1px", 1);
    fs::write(dir.join("index.html"), page).unwrap();
    let seen = browser.open(&dir.join("index.html"), &dir);
    assert!(seen.console.iter().any(|line| line.contains("Content Security Policy")), "{:?}", seen.console);
}

#[test]
fn nothing_runs_off_the_edge() {
    let Some(browser) = dumper() else { return };
    for (name, assessment) in [("market", sample::market()), ("hostile", sample::hostile()), ("crowd", sample::crowd(200))] {
        for width in [390, 1200] {
            let dir = folder(&format!("edge-{name}-{width}"));
            let page = dir.join("frame.html");
            fs::write(&page, framed(&assessment, width)).unwrap();
            assert_eq!(browser.open(&page, &dir).title(), format!("{width} of {width}"), "{name}: content is wider than the page");
        }
    }
}

#[test]
fn a_hostile_page_stays_quiet_in_use() {
    let Some(mut chromium) = Chromium::start() else { return };
    let page = written("hostile-use", &sample::hostile());
    chromium.open(&page, 1280, false);
    let title = chromium.text("document.title");
    // Everything is unfolded, asked for, sought, ordered and gone to: whatever could act had its chance.
    let ways = chromium.number(
        "(() => { let n = 0;
        for (const fold of document.querySelectorAll('details')) { fold.open = true; n++; }
        const say = (e, kind) => e.dispatchEvent(new Event(kind, {bubbles: true}));
        for (const select of document.querySelectorAll('select'))
            for (const option of select.options) { select.value = option.value; say(select, 'change'); n++; }
        const words = document.querySelector('input');
        for (const text of ['<script>', '\"><img src=x onerror=alert(1)>', 'W']) { words.value = text; say(words, 'input'); n++; }
        document.querySelector('#sieve button').click();
        for (const pick of document.querySelectorAll('[data-pick]')) { pick.click(); n++; }
        for (const link of document.querySelectorAll('a[href]')) { location.hash = link.getAttribute('href'); n++; }
        return n; })()",
    );
    assert!(ways > 100, "only {ways} ways were tried");
    assert_eq!(chromium.text("document.title"), title);
    assert_eq!(chromium.noises, [""; 0]);
    assert_eq!(chromium.number("document.querySelectorAll('img,iframe,object,embed,b.bold,form').length"), 0);
}

#[test]
fn the_driver_would_hear_a_script_a_request_and_a_dialog() {
    let Some(mut chromium) = Chromium::start() else { return };
    let page = folder("noise").join("index.html");
    fs::write(&page, "<title>x</title><img src=http://127.0.0.1:9/><script>document.title='owned';console.log('hello')</script>").unwrap();
    chromium.open(&page, 800, false);
    for noise in ["console: ", "request: http://127.0.0.1:9/"] {
        assert!(chromium.noises.iter().any(|n| n.starts_with(noise)), "{noise}: {:?}", chromium.noises);
    }
    assert_eq!(chromium.text("document.title"), "owned");
    // The page itself refuses what it does not name by digest.
    let page = folder("refused").join("index.html");
    let told = portreeve_reports::html(&sample::market()).unwrap().replace("<h1>", "<h1><script>document.title='owned'</script>");
    fs::write(&page, told).unwrap();
    chromium.open(&page, 800, false);
    assert!(chromium.noises.iter().any(|n| n.contains("Content Security Policy")), "{:?}", chromium.noises);
    assert_ne!(chromium.text("document.title"), "owned");
}

#[test]
fn findings_are_filtered_and_ordered_by_keyboard() {
    let Some(mut chromium) = Chromium::start() else { return };
    let page = written("keys", &sample::market());
    chromium.open(&page, 1280, false);
    let shown = "[...document.querySelectorAll('.finding')].map(f => f.querySelector('.why').firstChild.textContent.trim()).join(' ')";
    let all = "broken_chain wildcard_permission unjustified_permission unused_permission old_tls";
    assert_eq!(chromium.text(shown), all);
    // From the link in the list of sections, Tab leads to the first filter.
    chromium.eval("location.hash = 'findings'; document.getElementById('findings').scrollIntoView()");
    let mut pressed = 0;
    chromium.eval("document.querySelector('[href=\"#findings\"]').focus()");
    while chromium.text("document.activeElement.closest('#sieve') ? 'there' : ''").is_empty() {
        chromium.press("Tab");
        pressed += 1;
        assert!(pressed < 200, "Tab never reaches the filters");
    }
    let label = "document.activeElement.closest('label').firstChild.textContent";
    assert_eq!(chromium.text(label), "Severity");
    chromium.press("m");
    assert_eq!(chromium.text(shown), "unjustified_permission unused_permission");
    assert_eq!(chromium.text("document.getElementById('shown').textContent"), "Showing 2 of 5 findings");
    chromium.press("Home");
    for expected in ["Check", "Service", "Requirement", "State", "Words", "Order"] {
        chromium.press("Tab");
        assert_eq!(chromium.text(label), expected);
        if expected == "Service" {
            chromium.press("u");
            assert_eq!(chromium.text(shown), "old_tls");
            chromium.press("Home");
        }
        if expected == "State" {
            chromium.press("w");
            assert_eq!(chromium.text(shown), "old_tls");
            chromium.press("Home");
        }
        if expected == "Words" {
            for letter in ["t", "l", "s"] {
                chromium.press(letter);
            }
            assert_eq!(chromium.text(shown), "old_tls");
        }
    }
    chromium.press("r");
    chromium.press("Tab");
    chromium.press("Enter");
    assert_eq!(chromium.text(shown), "old_tls broken_chain wildcard_permission unjustified_permission unused_permission");
    // A finding that is filtered away shows when a link leads to it, unfolded.
    chromium.eval("for (const s of document.querySelectorAll('#sieve select')) if (s.id !== 'order') { s.value = s.options[1].value; s.dispatchEvent(new Event('change', {bubbles: true})) }");
    assert_eq!(chromium.number("document.querySelectorAll('.finding').length"), 0);
    chromium.eval("new Promise(done => { addEventListener('hashchange', () => setTimeout(done), {once: true}); document.querySelector('.fix li:last-child a').click() })");
    assert_eq!(chromium.number("document.querySelectorAll('.finding').length"), 5);
    assert_eq!(chromium.text("document.querySelector('.finding[open] .why').firstChild.textContent.trim()"), "unused_permission");
    assert_eq!(chromium.noises, [""; 0]);
}

#[test]
fn ten_thousand_findings_and_five_hundred_services_have_their_place() {
    let Some(mut chromium) = Chromium::start() else { return };
    let assessment = sample::busy(500, 10_000);
    let page = written("scale", &assessment);
    for width in [1280, 390] {
        chromium.open(&page, width, false);
        // What a browser must make before the page is there; the time it takes follows from that.
        let elements = chromium.number("document.querySelectorAll('*').length");
        assert!(elements < ELEMENTS_AT_LOAD_MAX, "{elements} elements");
        assert_eq!(chromium.number("document.querySelectorAll('#list > .finding').length"), 200);
        assert_eq!(chromium.number("document.querySelectorAll('[id^=s-service-]').length"), 500);
        let (inner, outer) = (chromium.number("document.documentElement.scrollWidth"), chromium.number("innerWidth"));
        assert!(inner <= outer, "{inner} pixels of {outer}");
    }
    let shown = "document.getElementById('shown').textContent";
    assert_eq!(chromium.text(shown), "Showing findings 1 to 200 of 10,000 findings");
    chromium.eval("document.querySelectorAll('#turn button')[1].click()");
    assert_eq!(chromium.text(shown), "Showing findings 201 to 400 of 10,000 findings");
    assert_eq!(chromium.text("document.activeElement.querySelector('.why').textContent"), "kind_0", "the keyboard goes on with the rows");
    chromium.eval("(() => { const s = document.querySelectorAll('#sieve select')[2]; s.value = s.options[43].value; s.dispatchEvent(new Event('change', {bubbles: true})) })()");
    assert_eq!(chromium.number("document.querySelectorAll('.finding').length"), 40);
    // A link to the last finding clears the filter and brings its row, unfolded; words find another that was never on the page.
    let last = format!("f-{}", assessment.findings[9_999].id.replace('_', "-"));
    chromium.eval(&format!(
        "new Promise(done => {{ addEventListener('hashchange', () => setTimeout(done), {{once: true}}); location.hash = '{last}' }})"
    ));
    assert_eq!(chromium.eval(&format!("document.getElementById('{last}').parentElement.open")), true);
    assert_eq!(chromium.text(shown), "Showing findings 9,801 to 10,000 of 10,000 findings");
    let seek = |words: &str| {
        format!(
            "(() => {{ const w = document.querySelector('#sieve input'); w.value = '{words}'; w.dispatchEvent(new Event('input', {{bubbles: true}})) }})()"
        )
    };
    chromium.eval(&seek(&format!("{} {}", assessment.findings[5_000].evidence[3].sha256, assessment.findings[5_000].check)));
    assert_eq!(chromium.text(shown), "Showing 1 of 10,000 findings");
    assert!(
        chromium
            .text("document.querySelector('.finding pre').textContent")
            .contains(&assessment.findings[5_000].evidence[3].sha256.to_string())
    );
    // The most records first: the last of all.
    chromium.eval(&seek(""));
    chromium.eval(
        "(() => { const s = document.getElementById('order'); s.value = 'n'; s.dispatchEvent(new Event('change', {bubbles: true})) })()",
    );
    assert_eq!(chromium.text("document.querySelector('.finding .body').id"), last);
    assert_eq!(chromium.noises, [""; 0]);
}

#[test]
fn rows_of_the_script_are_the_rows_of_the_template() {
    let Some(mut chromium) = Chromium::start() else { return };
    let mut odd = sample::market();
    let again = odd.findings[0].clone();
    odd.findings.push(portreeve_auditor::assessment::Finding { id: again.id.replace('-', "_"), ..again });
    for (name, assessment) in [("market", odd), ("hostile", sample::hostile()), ("busy", sample::busy(30, 150))] {
        let whole = portreeve_reports::html(&assessment).unwrap();
        let (before, list) = whole.split_once("<div id=\"list\">").unwrap();
        let after = list.find("</div>\n<p class=\"turn\"").unwrap();
        let page = folder(&format!("rows-{name}")).join("index.html");
        // Text between elements that is only space is the template's.
        let rows = "[...document.querySelectorAll('.finding')].map(f => f.outerHTML.replace(/>\\s+</g, '><').replace(/>\\s+/g, '>').replace(/\\s+</g, '<').replace(/\\s+/g, ' ')).join('\\n')";
        fs::write(&page, &whole).unwrap();
        chromium.open(&page, 1280, false);
        let of_template = chromium.text(rows);
        fs::write(&page, format!("{before}<div id=\"list\">{}", &list[after..])).unwrap();
        chromium.open(&page, 1280, false);
        // The list is drawn anew.
        chromium.eval("document.querySelector('#sieve button').click()");
        let of_script = chromium.text(rows);
        assert_eq!(of_template.lines().count(), assessment.findings.len());
        for (expected, made) in of_template.lines().zip(of_script.lines()) {
            assert_eq!(made, expected, "{name}");
        }
        assert_eq!(of_script.len(), of_template.len(), "{name}");
        assert_eq!(chromium.noises, [""; 0]);
    }
}

#[test]
fn pairs_of_the_script_are_the_pairs_of_the_template() {
    let Some(mut chromium) = Chromium::start() else { return };
    // Where there are more than fit, turning forth and back draws the first again: from data, if the template's are taken away.
    let assessment = sample::busy(60, 5);
    let whole = portreeve_reports::html(&assessment).unwrap();
    let rows =
        "[...document.querySelectorAll('.pairs tbody')].map(f => f.outerHTML.replace(/>\\s+</g, '><').replace(/\\s+/g, ' ')).join('\\n')";
    let page = written("pairs", &assessment);
    chromium.open(&page, 1280, false);
    let of_template = chromium.text(rows);
    let (before, table) = whole.split_once("<tbody id=\"p-0\">").unwrap();
    let after = table.find("</table></div>\n<p class=\"turn\"").unwrap();
    fs::write(&page, format!("{before}{}", &table[after..])).unwrap();
    chromium.open(&page, 1280, false);
    let of_script = chromium.text(rows);
    assert_eq!(of_template.lines().count(), 200);
    for (expected, made) in of_template.lines().zip(of_script.lines()) {
        assert_eq!(made, expected);
    }
    assert_eq!(of_script.len(), of_template.len());
    assert_eq!(chromium.noises, [""; 0]);
}

#[test]
fn two_hundred_services_are_read_by_blocks_with_names_that_stay() {
    let Some(mut chromium) = Chromium::start() else { return };
    chromium.open(&written("blocks", &sample::crowd(200)), 1280, false);
    assert_eq!(chromium.number("document.querySelectorAll('.block[open]').length"), 0, "the blocks begin folded");
    chromium.eval("new Promise(done => { addEventListener('hashchange', () => setTimeout(done), {once: true}); document.querySelector('.zones a').click() })");
    assert_eq!(chromium.number("document.querySelectorAll('.block[open]').length"), 1, "a cell of the zones opens its block");
    let stays = "(() => { const pane = document.querySelector('.block[open] .pane'); const at = () => pane.querySelector('.over').getBoundingClientRect().top - pane.getBoundingClientRect().top;
        const before = at(); pane.scrollTop = 150; return pane.scrollTop > 0 && Math.abs(at() - before) < 2 })()";
    assert_eq!(chromium.eval(stays), true, "the called names scroll away");
    // A mark leads to its pair, which unfolds; so does one whose pair is on no row yet.
    for (nth, turned) in [(0, false), (3, true)] {
        chromium.eval(&format!("for (const f of document.querySelectorAll('details')) f.open = f.querySelector('.marks') === document.querySelectorAll('.marks')[{nth}]"));
        let marks = format!("document.querySelectorAll('.marks')[{nth}]");
        chromium.eval(&format!("{marks}.scrollIntoView()"));
        let said = format!("(() => {{ const m = {marks}, b = m.getBoundingClientRect(), [c, r] = m.dataset.at.split(' ').slice(-3).map(Number);
            const at = {{clientX: b.left + c * m.dataset.cell + 9, clientY: b.top + r * m.dataset.cell + 9, bubbles: true}};
            m.dispatchEvent(new PointerEvent('pointermove', at));
            return new Promise(done => {{ addEventListener('hashchange', () => setTimeout(() => done(m.querySelector('title').textContent)), {{once: true}}); m.dispatchEvent(new MouseEvent('click', at)) }}) }})()");
        let said = chromium.text(&said);
        let pair = chromium.text("document.querySelector('.pairs :target .pair th').textContent");
        assert!(said.starts_with(pair.split(" service-").next().unwrap()) && said.contains("allowed"), "{said}; {pair}");
        assert_eq!(chromium.eval("document.querySelector('#pairs').open"), true);
        assert_eq!(chromium.eval("document.getElementById('p-0') === null"), turned);
    }
    assert_eq!(chromium.noises, [""; 0]);
}

#[test]
fn axe_finds_nothing_serious() {
    let Some(axe) = axe() else { return };
    let Some(mut chromium) = Chromium::start() else { return };
    chromium.call("Page.setBypassCSP", serde_json::json!({"enabled": true}));
    for (name, assessment) in [("market", sample::market()), ("hostile", sample::hostile()), ("crowd", sample::crowd(30))] {
        let page = written(&format!("axe-{name}"), &assessment);
        for dark in [false, true] {
            chromium.open(&page, 1280, dark);
            chromium.eval("for (const fold of document.querySelectorAll('details')) fold.open = true");
            chromium.eval(&axe);
            let found = chromium.text(
                "axe.run(document, {resultTypes: ['violations']}).then(r => r.violations.filter(v => ['serious', 'critical'].includes(v.impact))
                .map(v => v.id + ' at ' + v.nodes.slice(0, 3).map(n => n.target.join(' ') + ' ' + n.html.slice(0, 160)).join(' | ')).join('\\n'))",
            );
            assert_eq!(found, "", "{name}, dark: {dark}");
        }
    }
}

#[test]
fn paper_has_what_an_assessor_files_and_nothing_cut() {
    let Some(mut chromium) = Chromium::start() else { return };
    for (name, assessment, sheets) in [("market", sample::market(), MARKET_SHEETS_MAX), ("crowd", sample::crowd(60), u64::MAX)] {
        let page = written(&format!("paper-{name}"), &assessment);
        chromium.open(&page, PAPER_WIDTH, true);
        let noted = "[...document.querySelectorAll('.onpaper')].filter(e => e.getClientRects().length).length";
        assert_eq!(chromium.number(noted), 0, "{name}: words for paper on the screen");
        chromium.media("print", true);
        assert!(chromium.number(noted) >= 2, "{name}: the paper does not say where the rest is");
        let (inner, outer) = (chromium.number("document.documentElement.scrollWidth"), chromium.number("innerWidth"));
        assert!(inner <= outer, "{name}: {inner} pixels of {outer}");
        let cut =
            "[...document.querySelectorAll('td,th,dd,li,.v,summary > *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1)
            .map(e => e.outerHTML.slice(0, 200)).join('\\n')";
        assert_eq!(chromium.text(cut), "", "{name}: cut at the right edge");
        assert_eq!(chromium.number("[...document.querySelectorAll('nav,.sieve,.skip')].filter(e => e.getClientRects().length).length"), 0);
        let folded = "[...document.querySelectorAll('details:not(.terse) > dl.body')].filter(e => !e.checkVisibility({contentVisibilityAuto: true})).length";
        assert_eq!(chromium.number(folded), 0, "{name}: something stays folded");
        assert_brief_without_evidence(&mut chromium, name, &assessment);
        assert_eq!(chromium.text("getComputedStyle(document.body).backgroundColor"), "rgb(255, 255, 255)", "{name}: dark paper");
        let pdf = chromium.call("Page.printToPDF", serde_json::json!({"preferCSSPageSize": true}));
        let pdf = decoded(pdf["data"].as_str().unwrap());
        let made = String::from_utf8_lossy(&pdf).matches("/Type /Page\n").count() as u64;
        assert!((3..=sheets).contains(&made), "{name}: {made} sheets");
    }
}

/// A requirement that the evidence leaves open takes a few lines on paper: its verdict, why, and what a person alone must add.
fn assert_brief_without_evidence(chromium: &mut Chromium, name: &str, assessment: &Assessment) {
    let open = [Verdict::NeedsHuman, Verdict::NotAssessed, Verdict::NotApplicable];
    let expected = assessment.controls.iter().filter(|c| open.contains(&c.verdict)).count() as u64;
    let terse = "[...document.querySelectorAll('.control')].filter(e => ['needs-human', 'not-assessed', 'not-applicable'].includes(e.dataset.verdict))";
    assert_eq!(chromium.number(&format!("{terse}.length")), expected, "{name}");
    assert_eq!(chromium.number("document.querySelectorAll('.control.terse').length"), expected, "{name}");
    let tall = format!(
        "{terse}.filter(e => e.getBoundingClientRect().height > {TERSE_HEIGHT_MAX}).map(e => e.dataset.control + ' ' + e.getBoundingClientRect().height).join(', ')"
    );
    assert_eq!(chromium.text(&tall), "", "{name}: a requirement without evidence is tall");
    let asked = format!(
        "{terse}.filter(e => e.dataset.verdict === 'needs-human').flatMap(e => [...e.querySelectorAll('.needs li')])
        .filter(e => !e.checkVisibility({{contentVisibilityAuto: true}})).length"
    );
    assert_eq!(chromium.number(&asked), 0, "{name}: what a person must add is hidden");
}

/// The bytes of a text in base64.
fn decoded(base64: &str) -> Vec<u8> {
    let digit = |c: u8| match c {
        b'A'..=b'Z' => c - b'A',
        b'a'..=b'z' => c - b'a' + 26,
        b'0'..=b'9' => c - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let bytes = |four: &[u8]| {
        let bits = four.iter().fold(0_u32, |bits, c| (bits << 6) | u32::from(digit(*c))) << (6 * (4 - four.len()));
        bits.to_be_bytes()[1..four.len()].to_vec()
    };
    base64.trim_end_matches('=').as_bytes().chunks(4).flat_map(bytes).collect()
}

/// The page of an assessment on disk.
fn written(name: &str, assessment: &Assessment) -> PathBuf {
    let page = folder(name).join("index.html");
    fs::write(&page, portreeve_reports::html(assessment).unwrap()).unwrap();
    page
}

fn axe() -> Option<String> {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/judges/node_modules/axe-core/axe.min.js");
    let path = std::env::var_os("AXE_CORE").map_or(own, PathBuf::from);
    let found = fs::read_to_string(&path).ok();
    if found.is_none() {
        eprintln!("skipped: no axe-core at {}", path.display());
    }
    found
}

/// The report in a frame of a given width, every fold open, and a script outside it that measures.
fn framed(assessment: &Assessment, width: u32) -> String {
    let page = portreeve_reports::html(assessment).unwrap().replace("<details ", "<details open ");
    let (before, policy) = page.split_once("<meta http-equiv=\"Content-Security-Policy\"").unwrap();
    let (_, after) = policy.split_once('>').unwrap();
    let inner = format!("{before}{after}").replace('&', "&amp;").replace('"', "&quot;");
    let measure = "let e=this.contentDocument.documentElement;document.title=e.scrollWidth+' of '+e.clientWidth";
    format!(
        "<!doctype html><title>-</title><iframe width={width} height=20000 style=border:0 onload=\"{measure}\" srcdoc=\"{inner}\"></iframe>"
    )
}

fn assert_quiet(seen: &Seen) {
    assert!(seen.title().starts_with("Portreeve assessment · "), "{}", seen.title());
    assert!(seen.console.is_empty(), "{:?}", seen.console);
    assert!(seen.requests.is_empty(), "{:?}", seen.requests);
}

/// What the browser made of a page.
struct Seen {
    dom: String,
    console: Vec<String>,
    /// Addresses the page asked for, not those the browser asks for by itself.
    requests: Vec<String>,
}

impl Seen {
    fn title(&self) -> &str {
        let (_, title) = self.dom.split_once("<title>").unwrap();
        title.split_once("</title>").unwrap().0
    }
}

struct Browser(&'static str);

impl Browser {
    fn open(&self, page: &Path, dir: &Path) -> Seen {
        let (out, err, net) = (dir.join("dom.html"), dir.join("console.txt"), dir.join("net.json"));
        let mut child = Command::new(self.0)
            .args(FLAGS)
            .arg(format!("--user-data-dir={}", dir.join("profile").display()))
            .arg(format!("--log-net-log={}", net.display()))
            .arg(format!("file://{}", page.display()))
            .stdin(Stdio::null())
            .stdout(File::create(&out).unwrap())
            .stderr(File::create(&err).unwrap())
            .spawn()
            .unwrap();
        let started = Instant::now();
        while child.try_wait().unwrap().is_none() {
            if started.elapsed() > PATIENCE {
                child.kill().unwrap();
                child.wait().unwrap();
                panic!("the browser did not end within {PATIENCE:?}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let console =
            String::from_utf8_lossy(&fs::read(&err).unwrap()).lines().filter(|l| l.contains(":CONSOLE")).map(Into::into).collect();
        let seen = Seen { dom: fs::read_to_string(&out).unwrap(), console, requests: requests(&fs::read(&net).unwrap()) };
        fs::remove_dir_all(dir.join("profile")).unwrap();
        seen
    }
}

/// Requests that some page began: the browser's own have no origin.
fn requests(net_log: &[u8]) -> Vec<String> {
    let log: Value = serde_json::from_slice(net_log).unwrap();
    let start = &log["constants"]["logEventTypes"]["URL_REQUEST_START_JOB"];
    assert!(start.is_u64(), "the network log names its events otherwise than expected");
    let events = log["events"].as_array().unwrap().iter().filter(|e| &e["type"] == start);
    let of_pages = events.map(|e| &e["params"]).filter(|p| p["initiator"].as_str().is_some_and(|i| i != "not an origin"));
    of_pages.filter_map(|p| p["url"].as_str()).map(Into::into).collect()
}

fn dumper() -> Option<Browser> {
    let found = BROWSERS.into_iter().find(|path| Path::new(path).exists());
    if found.is_none() {
        eprintln!("skipped: no Chromium at {BROWSERS:?}");
    }
    found.map(Browser)
}

fn folder(name: &str) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("report-page").join(name);
    if dir.exists() {
        fs::remove_dir_all(&dir).unwrap();
    }
    fs::create_dir_all(&dir).unwrap();
    dir
}

/// Elements of the page of ten thousand findings and five hundred services: without rows of their own findings cost none, so what
/// is left are services, pairs and marks.
const ELEMENTS_AT_LOAD_MAX: u64 = 40_000;

/// A sheet of A4 between its margins.
const PAPER_WIDTH: u32 = 688;

/// Sheets of the market’s report: 16, and room for other typefaces.
const MARKET_SHEETS_MAX: u64 = 19;

/// Five lines of a sheet, in its pixels.
const TERSE_HEIGHT_MAX: u32 = 84;

const PATIENCE: Duration = Duration::from_secs(120);

const FLAGS: [&str; 15] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--hide-scrollbars",
    "--window-size=1300,900",
    "--enable-logging=stderr",
    "--v=0",
    "--net-log-capture-mode=Everything",
    "--dump-dom",
];
