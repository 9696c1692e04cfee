//! What a decision costs, by size of the policy and kind of condition: `cargo bench -p portreeve-engine --bench decide`.
//!
//! For regressions of this engine over time; how it compares with others is measured in `paired`.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a benchmark ends at the first surprise")]

#[path = "common/mesh.rs"]
mod mesh;
#[path = "common/questions.rs"]
mod questions;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use mesh::{Conditions, Size, bundle};
use portreeve_engine::Authorizer;
use portreeve_engine::path::canonicalise;
use portreeve_engine::request::{RequestRef, TargetRef};
use questions::{Asked, questions, with_user};

fn decide(c: &mut Criterion) {
    for (name, size) in [("10", Size::SMALL), ("1000", Size::MEDIUM), ("100000", Size::LARGE)] {
        // A debug build only shows that the benchmark runs.
        if cfg!(debug_assertions) && name == "100000" {
            continue;
        }
        for conditions in [Conditions::None, Conditions::ScopeAndTime] {
            let authorizer = Authorizer::compile(&bundle(size, conditions)).authorizer.expect("the mesh is valid");
            let mut asked = questions(size, 256);
            if conditions == Conditions::ScopeAndTime {
                asked.iter_mut().for_each(|a| a.context = with_user(a.context.clone()));
            }
            let group = if conditions == Conditions::None { "unconditional" } else { "scope-and-time" };
            let mut n = 0;
            c.bench_function(&format!("{group}/{name}"), |b| {
                b.iter(|| {
                    n = (n + 1) % asked.len();
                    assert!(ask(&authorizer, black_box(&asked[n])));
                });
            });
        }
    }
}

fn ask(authorizer: &Authorizer, asked: &Asked) -> bool {
    let path = canonicalise(&asked.path).expect("a canonical path");
    let target = TargetRef::Http { method: &asked.method, path: path.path() };
    authorizer.answer(RequestRef { principal: &asked.principal, service: &asked.service, target, context: &asked.context }).is_allow()
}

criterion_group!(benches, decide);
criterion_main!(benches);
