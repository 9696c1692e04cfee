//! What is exported for Cedar's tools passes Cedar's own parser and strict validator, and gives the same answers there.

#![cfg(test)]

use std::collections::BTreeMap;
use std::path::Path;

use cedar_policy::{
    Authorizer as Cedar, Context, Decision, Entities, EntityUid, PolicySet, Request as CedarRequest, Schema, ValidationMode, Validator,
};
use portreeve_engine::model::AttributeType;
use portreeve_engine::request::{AttributeValue, Attributes, Target, Token};
use portreeve_engine::{Authorizer, Bundle, Effect, Reason, Request, SourceFile, export};
use serde_json::{Value, json};

#[path = "shared/conditions.rs"]
mod conditions;
#[path = "shared/dice.rs"]
mod dice;
#[path = "shared/policies.rs"]
mod policies;

use dice::Dice;

struct Exported {
    policies: PolicySet,
    schema: Schema,
    entities: Entities,
}

fn exported(bundle: &Bundle) -> (Authorizer, Exported) {
    let compiled = Authorizer::compile(bundle);
    let authorizer = compiled.authorizer.unwrap_or_else(|| panic!("{:?}", compiled.diagnostics));
    let texts = export::cedar(bundle, &authorizer).unwrap();
    let (schema, _) = Schema::from_cedarschema_str(&texts.schema).unwrap();
    let policies: PolicySet = texts.policies.parse().unwrap_or_else(|e| panic!("{e}\n{}", texts.policies));
    let result = Validator::new(schema.clone()).validate(&policies, ValidationMode::Strict);
    let errors: Vec<String> = result.validation_errors().map(ToString::to_string).collect();
    assert!(errors.is_empty(), "{errors:#?}");
    let entities = Entities::from_json_str(&texts.entities, Some(&schema)).unwrap();
    assert_eq!(export::cedar(bundle, &authorizer).unwrap().entities, texts.entities, "not the same bytes twice");
    (authorizer, Exported { policies, schema, entities })
}

/// What the inventory lists of the attributes, in its types; `None` where one cannot have its type.
fn values(sent: &Attributes, listed: &BTreeMap<Box<str>, AttributeType>, claim: bool) -> Option<Value> {
    let mut out = serde_json::Map::new();
    for (name, kind) in listed {
        let Some(value) = sent.get(name) else { continue };
        let value = if claim { kind.coerce_claim(value) } else { kind.coerce(value) };
        let value = match value.ok()? {
            AttributeValue::Text(text) => json!(text),
            AttributeValue::Integer(n) => json!(n),
            AttributeValue::Boolean(b) => json!(b),
            AttributeValue::List(list) => json!(list),
        };
        out.insert(name.to_string(), value);
    }
    Some(out.into())
}

/// The question as somebody with Cedar's command line would write it; `None` where no policy would be asked, or the caller is no entity.
fn question(authorizer: &Authorizer, request: &Request, exported: &Exported) -> Option<CedarRequest> {
    let uid = |kind: &str, id: &str| EntityUid::from_json(json!({"type": kind, "id": id})).unwrap();
    let service = authorizer.service(&request.service)?;
    let action = match &request.target {
        Target::Http { method, .. } => method.as_str(),
        Target::Connect { .. } => "connect",
    };
    let operation = authorizer.operation(&request.service, &request.target).map_or("*", |o| &o.id);
    let (context, visible) = (&request.context, &service.visible);
    let mut out = json!({"time": {"__extn": {"fn": "datetime", "arg": context.time.to_string()}}, "headers": values(&context.headers, &visible.headers, false)?, "query": values(&context.query, &visible.query, false)?});
    if let Some(ip) = context.source_ip {
        out["source_ip"] = json!({"__extn": {"fn": "ip", "arg": ip.to_canonical().to_string()}});
    }
    match &context.jwt {
        Some(Token::Invalid(_)) => return None,
        Some(Token::Valid(claims)) => {
            let mut token = values(&claims.other, &visible.claims, true)?;
            token["iss"] = json!(claims.iss);
            token["sub"] = json!(claims.sub);
            token["aud"] = json!(claims.aud);
            token["scopes"] = json!(claims.scopes().collect::<Vec<_>>());
            if let Some(scope) = &claims.scope {
                token["scope"] = json!(scope);
            }
            out["jwt"] = token;
        }
        None => {}
    }
    let principal = uid("Workload", request.principal.as_str());
    let (action, resource) = (uid("Action", action), uid("Operation", &format!("{}/{operation}", request.service)));
    let context = Context::from_json_value(out, Some((&exported.schema, &action))).unwrap();
    exported.entities.get(&principal)?;
    CedarRequest::new(principal, action, resource, context, Some(&exported.schema)).ok()
}

/// How many answers were compared.
fn same_answers(authorizer: &Authorizer, exported: &Exported, requests: &[Request]) -> (usize, usize) {
    let (mut compared, mut allowed) = (0, 0);
    for request in requests {
        let ours = authorizer.decide(request);
        let Some(question) = question(authorizer, request, exported) else { continue };
        if ours.reason == Reason::EvaluationError || ours.policies.iter().any(|p| p.at.file.ends_with(".rego")) {
            continue;
        }
        let theirs = Cedar::new().is_authorized(&question, &exported.policies, &exported.entities).decision();
        assert_eq!(ours.effect == Effect::Allow, theirs == Decision::Allow, "{request:?}\n{ours:?}");
        compared += 1;
        allowed += usize::from(ours.is_allow());
    }
    (compared, allowed)
}

#[test]
fn the_marketplace_says_the_same_in_cedar() {
    let market = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("policies/marketplace");
    let bundle = Bundle::read_dir(&market).unwrap();
    let (authorizer, exported) = exported(&bundle);
    let requests: Vec<Request> = authorizer.tests().iter().flat_map(|s| s.cases.iter().map(|c| c.request.clone())).collect();
    let (compared, allowed) = same_answers(&authorizer, &exported, &requests);
    println!("{compared} of {} cases compared, {allowed} allowed", requests.len());
    assert!(compared * 10 > requests.len() * 6 && allowed > 10, "{compared} {allowed}");
    let text = export::cedar(&bundle, &authorizer).unwrap().policies;
    assert!(text.contains("NOT HERE, because Rego has no Cedar form") && text.contains("// Tenants are kept apart."), "{text}");
}

#[test]
fn generated_bundles_say_the_same_in_cedar() {
    let (mut compared, mut allowed) = (0, 0);
    for seed in 1..=20 {
        let mut dice = Dice(seed);
        let mut yaml = policies::inventory(&mut dice);
        for number in 0..dice.below(10) {
            yaml.push_str(&policies::permission(&mut dice, number));
        }
        let cedar: String = (0..dice.below(4)).map(|number| policies::cedar(&mut dice, number)).collect();
        let files =
            [("a.yaml", yaml), ("b.cedar", cedar)].map(|(path, text)| SourceFile { path: path.to_owned(), bytes: text.into_bytes() });
        let bundle = Bundle::from_files("b", files.into()).unwrap();
        let (authorizer, exported) = exported(&bundle);
        let requests: Vec<Request> = (0..60).map(|_| Request::from_json(policies::request(&mut dice).as_bytes()).unwrap()).collect();
        let (more, good) = same_answers(&authorizer, &exported, &requests);
        compared += more;
        allowed += good;
    }
    println!("{compared} answers compared, {allowed} allowed");
    assert!(compared > 100 && allowed > 20, "{compared} {allowed}");
}
