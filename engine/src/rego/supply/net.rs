//! `net.cidr_*`: arithmetic on networks. Nothing here asks the network.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use regorus::Value;

use super::super::limits::RANGE_MAX;
use super::{Fault, Outcome, Supplied, argument, instead, members, new, take_list, text_of, wrong};

pub(super) const FUNCTIONS: &[Supplied] = &[
    new("net.cidr_intersects", 2, intersects),
    new("net.cidr_merge", 1, merge),
    new("net.cidr_overlap", 2, overlap),
    new("net.cidr_contains_matches", 2, contains_matches),
    instead("net.cidr_expand", 1, expand),
];

/// A network written `address/prefix`.
fn network(text: &str) -> Result<IpNet, Fault> {
    text.parse::<IpNet>().map(|net| net.trunc()).map_err(|_| Fault(format!("`{}` is not a network", shown(text))))
}

/// A network, or an address as the network of it alone.
fn network_or_address(text: &str) -> Result<IpNet, Fault> {
    match text.parse::<IpAddr>() {
        Ok(address) => Ok(IpNet::from(address)),
        Err(_) => network(text),
    }
}

fn shown(text: &str) -> String {
    text.chars().take(64).collect()
}

fn intersects(arguments: &[Value]) -> Outcome {
    let (one, other) = (network(text_of(arguments, 0)?)?, network(text_of(arguments, 1)?)?);
    Ok(Value::from(one.contains(&other) || other.contains(&one)))
}

/// The older name of `net.cidr_contains`.
fn overlap(arguments: &[Value]) -> Outcome {
    let (one, other) = (network(text_of(arguments, 0)?)?, network_or_address(text_of(arguments, 1)?)?);
    Ok(Value::from(one.contains(&other)))
}

/// The fewest networks that cover the same addresses. IPv6 addresses need their prefix. An IPv4 address without one stands for
/// the network of its class, as in Open Policy Agent.
fn merge(arguments: &[Value]) -> Outcome {
    let (mut v4, mut v6) = (Vec::<Ipv4Net>::new(), Vec::<Ipv6Net>::new());
    for item in members(arguments, 0)? {
        let Value::String(text) = item else { return Err(Fault("argument 1 must hold texts and nothing else".to_owned())) };
        match network_or_address(text)? {
            IpNet::V4(net) if text.contains('/') => v4.push(net),
            IpNet::V4(net) => {
                let bits = match net.addr().octets() {
                    [0..128, ..] => 8,
                    [128..192, ..] => 16,
                    _ => 24,
                };
                v4.push(Ipv4Net::new(net.addr(), bits).map_err(|_| Fault("no such prefix".to_owned()))?.trunc());
            }
            IpNet::V6(net) if text.contains('/') => v6.push(net),
            IpNet::V6(_) => return Err(Fault(format!("`{}` needs the length of its prefix", shown(text)))),
        }
    }
    take_list(v4.len() + v6.len())?;
    let v4 = Ipv4Net::aggregate(&v4).into_iter().map(|net| net.to_string());
    let merged = v4.chain(Ipv6Net::aggregate(&v6).into_iter().map(|net| net.to_string()));
    Ok(Value::from(merged.map(Value::from).collect::<std::collections::BTreeSet<_>>()))
}

/// Every pair of a network on the left that contains the network or address on the right, by key, index or member.
fn contains_matches(arguments: &[Value]) -> Outcome {
    let left = named(arguments, 0)?;
    let right = named(arguments, 1)?;
    let right: Vec<(Value, IpNet)> = right.into_iter().map(|(key, text)| Ok((key, network_or_address(text)?))).collect::<Result<_, _>>()?;
    if left.len().saturating_mul(right.len()) > PAIRS_MAX {
        return Err(Fault(format!("there are more than {PAIRS_MAX} pairs of networks")));
    }
    let mut out = std::collections::BTreeSet::new();
    for (key, text) in left {
        let net = network(text)?;
        for (other, inner) in &right {
            if net.contains(inner) {
                take_list(2)?;
                out.insert(Value::from(vec![key.clone(), other.clone()]));
            }
        }
    }
    Ok(Value::from(out))
}

/// The networks of an argument, each with the word by which the result names it.
fn named(arguments: &[Value], at: usize) -> Result<Vec<(Value, &str)>, Fault> {
    let text = |item| leading(item).ok_or_else(|| Fault(format!("argument {} must hold texts, or arrays that begin with one", at + 1)));
    match argument(arguments, at)? {
        own @ Value::String(_) => Ok(vec![(own.clone(), text(own)?)]),
        Value::Array(items) => items.iter().enumerate().map(|(i, item)| Ok((Value::from(i as u64), text(item)?))).collect(),
        Value::Set(items) => items.iter().map(|item| Ok((item.clone(), text(item)?))).collect(),
        Value::Object(fields) => fields.iter().map(|(key, item)| Ok((key.clone(), text(item)?))).collect(),
        other => Err(wrong(at, "a text, an array, a set or an object", other)),
    }
}

fn leading(item: &Value) -> Option<&str> {
    match item {
        Value::String(text) => Some(text),
        Value::Array(items) => match items.first() {
            Some(Value::String(text)) => Some(text),
            _ => None,
        },
        _ => None,
    }
}

/// Every address of a network that has at most ten thousand.
fn expand(arguments: &[Value]) -> Outcome {
    let text = text_of(arguments, 0)?;
    let net = network(text)?;
    let bits = net.max_prefix_len() - net.prefix_len();
    if bits >= 32 || 1_i64 << bits > RANGE_MAX {
        return Err(Fault(format!("`{}` has more than {RANGE_MAX} addresses", shown(text))));
    }
    take_list(4 << bits)?;
    let all: std::collections::BTreeSet<Value> = match net {
        IpNet::V4(net) => (0..1_u32 << bits).map(|n| Value::from(std::net::Ipv4Addr::from(net.addr().to_bits() | n).to_string())).collect(),
        IpNet::V6(net) => {
            (0..1_u128 << bits).map(|n| Value::from(std::net::Ipv6Addr::from(net.addr().to_bits() | n).to_string())).collect()
        }
    };
    Ok(Value::from(all))
}

/// Pairs that one call may compare.
const PAIRS_MAX: usize = 1_000_000;
