//! The spec of a cell's server: defaults, the scenario's, the variant's patch, the axes.

use confgen::document::{Document, Entry, Map, Node, Value, merge_patch};
use serde_json::json;

use super::super::machine::Machine;
use super::super::outcome::Failure;
use crate::scenario::expression::Scope;
use crate::scenario::prepared::unfilled;
use crate::scenario::schema::{Axes, Mode, Module, Mpm};
use crate::scenario::template::{self, Places};

/// What every server has unless its scenario says otherwise.
fn defaults() -> Node {
    let spec = json!({
        "server": {"layout": "single", "log": {"level": {"default": "warn", "wsgi": "info"}}}
    });
    Document::from_json("the harness's defaults", &spec).root
}

/// One child with several threads, so that embedded applications keep their state from request to request. A second slot
/// lets a graceful restart start the next child while the first one still serves.
fn one_child() -> serde_json::Value {
    json!({
        "start-servers": 1, "server-limit": 2, "thread-limit": 64, "threads-per-child": 16, "max-request-workers": 16,
        "min-spare-threads": 1, "max-spare-threads": 32
    })
}

/// A tree that the harness makes.
fn made(value: &serde_json::Value) -> Node {
    Document::from_json("the harness's defaults", value).root
}

/// Puts a value where none is yet.
fn default_at(root: &mut Node, path: &[&str], value: &serde_json::Value) {
    let Some((key, rest)) = path.split_first() else { return };
    let Some(map) = root.as_map_mut() else { return };
    if map.get(key).is_none() {
        let value = rest.iter().rev().fold(value.clone(), |value, key| json!({ *key: value }));
        let node = made(&value);
        let span = node.span.clone();
        map.insert(Entry { key: (*key).to_owned(), key_span: span, value: node });
    } else if let Some(inner) = map.get_mut(key) {
        default_at(inner, rest, value);
    }
}

fn set_at(root: &mut Node, path: &[&str], value: &serde_json::Value) {
    let patch = path.iter().rev().fold(value.clone(), |value, key| json!({ *key: value }));
    let old = std::mem::replace(root, Node::new(Value::Null, root.span.clone()));
    *root = merge_patch(old, &made(&patch));
}

fn get<'n>(root: &'n Node, path: &[&str]) -> Option<&'n Node> {
    path.iter().try_fold(root, |node, key| node.get(key))
}

/// The processing module that a spec asks for.
pub(super) fn mpm_of(spec: &Node) -> Option<Mpm> {
    get(spec, &["server", "mpm"])?.as_str()?.parse().ok()
}

/// Whether a spec has a site with TLS.
pub(super) fn has_tls(spec: &Node) -> bool {
    let sites = get(spec, &["sites"]).and_then(Node::as_map);
    sites.into_iter().flat_map(|map| &map.entries).any(|entry| entry.value.get("tls").is_some_and(|tls| !tls.is_null()))
}

/// Merges a cell's spec, holes and all.
pub(super) fn merge(base: Option<&Node>, patch: Option<&Node>, axes: Axes, module: Module, machine: &Machine) -> Node {
    let mut spec = defaults();
    for layer in [base, patch].into_iter().flatten() {
        if layer.as_map().is_some() {
            spec = merge_patch(spec, layer);
        }
    }
    if let Some(mpm) = axes.mpm {
        set_at(&mut spec, &["server", "mpm"], &json!(mpm.name()));
    } else {
        default_at(&mut spec, &["server", "mpm"], &json!(Mpm::Event.name()));
    }
    if matches!(mpm_of(&spec), Some(Mpm::Event | Mpm::Worker)) {
        default_at(&mut spec, &["server", "mpm-settings"], &one_child());
    }
    match module {
        Module::Ours => {}
        Module::ModWsgi => {
            // The name, not a path, tells the renderer that our own extensions are out of reach; where the file is, it is told
            // by the options of its probe.
            set_at(&mut spec, &["runtime", "module"], &json!("mod_wsgi"));
        }
    }
    let other_python = axes.python.filter(|python| *python != machine.python_tag());
    if let Some(python) = other_python {
        // The environment's packages are another version's.
        set_at(&mut spec, &["runtime", "python", "version"], &json!(python.to_string()));
    } else if let Some(venv) = &machine.venv {
        let named = ["venv", "home", "version"].iter().any(|key| get(&spec, &["runtime", "python", key]).is_some());
        if !named {
            default_at(&mut spec, &["runtime", "python", "venv"], &json!(venv.display().to_string()));
        }
    }
    if axes.mode == Some(Mode::Embedded) {
        embed(&mut spec);
    }
    spec
}

/// Drops the daemon of every application and handler, and the daemons themselves, whose search paths become the server's.
fn embed(spec: &mut Node) {
    let mut paths: Vec<serde_json::Value> = Vec::new();
    if let Some(root) = spec.as_map_mut() {
        let daemons = root.remove("daemons");
        let daemons = daemons.as_ref().and_then(|entry| entry.value.as_map()).into_iter().flat_map(|map| &map.entries);
        for path in daemons.filter_map(|daemon| daemon.value.get("python-path")).filter_map(Node::as_seq).flatten() {
            let path = path.to_json();
            if !paths.contains(&path) {
                paths.push(path);
            }
        }
        let sites = root.get_mut("sites").and_then(Node::as_map_mut).into_iter().flat_map(|sites| &mut sites.entries);
        for site in sites {
            for kind in ["apps", "handlers"] {
                let served = site.value.as_map_mut().and_then(|site| site.get_mut(kind)).and_then(Node::as_map_mut);
                for one in served.into_iter().flat_map(|served| &mut served.entries) {
                    one.value.as_map_mut().and_then(|one| one.remove("daemon"));
                }
            }
        }
    }
    if !paths.is_empty() {
        default_at(spec, &["runtime", "python", "path"], &serde_json::Value::Array(paths));
    }
}

/// Fills a spec's holes and adds the ports.
///
/// # Errors
/// Every hole that cannot be filled.
pub(super) fn fill(spec: &Node, scope: &Scope<'_>, places: &Places, pointer: &str) -> Result<Node, Vec<Failure>> {
    let mut failures = Vec::new();
    let mut filled = walk(spec, scope, places, pointer, &mut failures);
    default_at(&mut filled, &["server", "listen", "http"], &json!(format!("127.0.0.1:{}", places.port)));
    if let Some(port) = places.https_port {
        default_at(&mut filled, &["server", "listen", "https"], &json!(format!("127.0.0.1:{port}")));
    }
    if failures.is_empty() { Ok(filled) } else { Err(failures) }
}

fn walk(node: &Node, scope: &Scope<'_>, places: &Places, pointer: &str, failures: &mut Vec<Failure>) -> Node {
    let value = match &node.value {
        Value::String(text) => match template::fill(text, scope, places) {
            Ok(json) => return Node::from_json(&json, &node.span),
            Err(error) => {
                failures.push(unfilled(error, pointer));
                node.value.clone()
            }
        },
        Value::Seq(items) => Value::Seq(
            items
                .iter()
                .enumerate()
                .map(|(index, item)| walk(item, scope, places, &format!("{pointer}/{index}"), failures))
                .collect(),
        ),
        Value::Map(map) => Value::Map(Map {
            entries: map
                .entries
                .iter()
                .map(|entry| {
                    let place = format!("{pointer}/{}", entry.key.replace('~', "~0").replace('/', "~1"));
                    Entry { value: walk(&entry.value, scope, places, &place, failures), ..entry.clone() }
                })
                .collect(),
        }),
        other => other.clone(),
    };
    Node::new(value, node.span.clone())
}
