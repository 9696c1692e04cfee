//! What policies see of a request, and what a record keeps of it (INV-7): what the called service makes visible, each in its type.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::decision::Reason;
use crate::model::{AttributeType, Visible};
use crate::request::{AttributeValue, Attributes, Claims, Context, Malformed, Token};

/// The allow-listed attributes, as sent: a replay gives them their types again.
pub(crate) fn kept(visible: &BTreeMap<Box<str>, AttributeType>, sent: &Attributes) -> Attributes {
    sent.iter().filter(|(name, _)| visible.contains_key(*name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Why policies are not asked.
pub(crate) enum Rejected {
    /// An attribute is not as it must be.
    Malformed(Malformed),
    /// The token is not acceptable.
    Token,
}

/// The context as the policies of this destination see it: only what is allow-listed, each in its type.
///
/// `None` where there is nothing to hide and nothing to type: a plain request costs no copy.
pub(crate) fn visible_context(visible: &Visible, context: &Context) -> Result<Option<Box<Context>>, Rejected> {
    let source_ip = context.source_ip.map(|ip| ip.to_canonical());
    if source_ip == context.source_ip && is_seen_whole(visible, context) {
        return Ok(None);
    }
    let headers = typed(&visible.headers, &context.headers, AttributeType::coerce).map_err(Rejected::Malformed)?;
    let query = typed(&visible.query, &context.query, AttributeType::coerce).map_err(Rejected::Malformed)?;
    let jwt = match &context.jwt {
        None => None,
        Some(Token::Invalid(_)) => return Err(Rejected::Token),
        Some(Token::Valid(claims)) => {
            // A claim of another type than declared is a fault of the token (A34).
            let other = typed(&visible.claims, &claims.other, AttributeType::coerce_claim).map_err(|_| Rejected::Token)?;
            Some(Token::Valid(Claims { other, ..claims.clone() }))
        }
    };
    Ok(Some(Box::new(Context { time: context.time, source_ip, headers, query, jwt })))
}

/// Whether policies see all of a context, just as it is: nothing in it is hidden from them or has to be given its type.
fn is_seen_whole(visible: &Visible, context: &Context) -> bool {
    let all = |visible: &BTreeMap<Box<str>, AttributeType>, sent: &Attributes, as_is: fn(AttributeType, &AttributeValue) -> bool| {
        sent.iter().all(|(name, value)| visible.get(name).is_some_and(|kind| as_is(*kind, value)))
    };
    let token = match &context.jwt {
        None => true,
        Some(Token::Invalid(_)) => false,
        Some(Token::Valid(claims)) => all(&visible.claims, &claims.other, AttributeType::is_claim_of),
    };
    token && all(&visible.headers, &context.headers, AttributeType::is_of) && all(&visible.query, &context.query, AttributeType::is_of)
}

/// The context as policies see it, or why they are not asked.
pub(crate) fn seen<'c>(visible: &Visible, context: &'c Context) -> Result<Cow<'c, Context>, Reason> {
    match visible_context(visible, context) {
        Ok(None) => Ok(Cow::Borrowed(context)),
        Ok(Some(seen)) => Ok(Cow::Owned(*seen)),
        Err(Rejected::Malformed(_)) => Err(Reason::MalformedRequest),
        Err(Rejected::Token) => Err(Reason::InvalidToken),
    }
}

/// How a value becomes one of the type that the inventory gives it.
type Coercion = fn(AttributeType, &AttributeValue) -> Result<AttributeValue, &'static str>;

fn typed(visible: &BTreeMap<Box<str>, AttributeType>, sent: &Attributes, coerce: Coercion) -> Result<Attributes, Malformed> {
    let mut out = Attributes::new();
    for (name, kind) in visible {
        if let Some(value) = sent.get(name) {
            let value = coerce(*kind, value).map_err(|why| Malformed::Attribute { name: name.to_string(), why })?;
            out.insert(name.clone(), value);
        }
    }
    Ok(out)
}
