//! The questions put to a synthetic mesh.

use portreeve_engine::request::{Claims, Context, Method, Token};
use portreeve_engine::{SpiffeId, Timestamp};

use crate::mesh::{Grant, Size, grants, identity};

/// The path of an operation, as a client sends it.
pub(crate) fn path(operation: usize, item: usize) -> String {
    format!("/api/v1/resource-{operation}/{}/details", 10_000 + item)
}

/// One question, its parts owned.
pub(crate) struct Asked {
    /// Who asks.
    pub(crate) principal: SpiffeId,
    /// Whom.
    pub(crate) service: String,
    /// With which method.
    pub(crate) method: Method,
    /// For which path, as sent.
    pub(crate) path: String,
    /// Under which circumstances.
    pub(crate) context: Context,
}

/// Questions that grants of the mesh allow, spread over the grants.
pub(crate) fn questions(size: Size, count: usize) -> Vec<Asked> {
    let grants = grants(size);
    let step = (grants.len() / count).max(1);
    (0..count)
        .map(|n| {
            let Grant { from, to, operation } = grants[n * step % grants.len()];
            Asked {
                principal: identity(from).parse().unwrap(),
                service: format!("service-{to}"),
                method: Method::parse("GET").unwrap(),
                path: path(operation, n),
                context: context(),
            }
        })
        .collect()
}

/// Noon, from inside, with a user who may read.
pub(crate) fn context() -> Context {
    Context {
        time: "2026-11-22T12:00:00Z".parse::<Timestamp>().unwrap(),
        source_ip: Some("10.0.0.7".parse().unwrap()),
        jwt: None,
        ..Context::default()
    }
}

/// The same with a user token.
pub(crate) fn with_user(mut context: Context) -> Context {
    context.jwt = Some(Token::Valid(Claims {
        iss: "https://idp.mesh.example".into(),
        sub: "ann".into(),
        aud: vec!["items".into()],
        scope: Some("profile items:read".into()),
        other: Default::default(),
    }));
    context
}
