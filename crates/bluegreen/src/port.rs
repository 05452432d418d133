//! An app document's first service port, in both generations of Marathon's JSON.

use serde_json::{Map, Value};

/// Where a document has its service port. The first list that has an element is meant, as in zdd.py.
enum Place {
    /// `container.docker.portMappings[0].servicePort` (up to 1.4).
    DockerMapping,
    /// `container.portMappings[0].servicePort` (from 1.5).
    Mapping,
    /// `portDefinitions[0].port`.
    Definition,
    /// `ports[0]` (up to 0.15).
    Plain,
}

const PLACES: [Place; 4] = [Place::DockerMapping, Place::Mapping, Place::Definition, Place::Plain];

impl Place {
    fn list<'d>(&self, document: &'d Value) -> Option<&'d Vec<Value>> {
        let pointer = match self {
            Place::DockerMapping => "/container/docker/portMappings",
            Place::Mapping => "/container/portMappings",
            Place::Definition => "/portDefinitions",
            Place::Plain => "/ports",
        };
        document.pointer(pointer)?.as_array().filter(|list| !list.is_empty())
    }

    fn slot<'d>(&self, document: &'d mut Value) -> Option<&'d mut Value> {
        let key = |entry: &'d mut Value, name: &str| -> Option<&'d mut Value> {
            let fields: &mut Map<String, Value> = entry.as_object_mut()?;
            Some(fields.entry(name).or_insert(Value::Null))
        };
        match self {
            Place::DockerMapping => {
                key(document.pointer_mut("/container/docker/portMappings/0")?, "servicePort")
            }
            Place::Mapping => {
                key(document.pointer_mut("/container/portMappings/0")?, "servicePort")
            }
            Place::Definition => key(document.pointer_mut("/portDefinitions/0")?, "port"),
            Place::Plain => document.pointer_mut("/ports/0"),
        }
    }
}

/// The service port, if the document fixes one: 0 asks Marathon for any, and is none.
pub(crate) fn service_port(document: &Value) -> Option<u16> {
    let port = |place: &Place| {
        let entry = place.list(document)?.first()?;
        let port = match place {
            Place::DockerMapping | Place::Mapping => entry.get("servicePort")?,
            Place::Definition => entry.get("port")?,
            Place::Plain => entry,
        };
        number(port).filter(|port| *port > 0)
    };
    PLACES.iter().find_map(port)
}

/// Puts a service port where the document has its own. False when it has no place for one.
pub(crate) fn set_service_port(document: &mut Value, port: u16) -> bool {
    let Some(place) = PLACES.iter().find(|place| place.list(document).is_some()) else {
        return false;
    };
    place.slot(document).map(|slot| *slot = port.into()).is_some()
}

/// A port as number or, as some documents have it, as text.
pub(crate) fn number(value: &Value) -> Option<u16> {
    match value {
        Value::Number(number) => number.as_u64()?.try_into().ok(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_generation_has_its_place() {
        let cases = [
            (json!({"container": {"docker": {"portMappings": [{"servicePort": 7}]}}}), Some(7)),
            (
                json!({"container": {"portMappings": [{"containerPort": 80, "servicePort": 7}]}}),
                Some(7),
            ),
            (json!({"portDefinitions": [{"port": 7}, {"port": 8}]}), Some(7)),
            (json!({"ports": [7]}), Some(7)),
            (json!({"ports": ["7"]}), Some(7)),
            (json!({"ports": [0]}), None),
            (json!({"portDefinitions": [{"name": "web"}]}), None),
            (json!({"container": {"portMappings": []}, "ports": [7]}), Some(7)),
            (json!({}), None),
            (json!({"ports": 7}), None),
        ];
        for (mut document, want) in cases {
            assert_eq!(service_port(&document), want, "{document}");
            if want.is_some() {
                assert!(set_service_port(&mut document, 9));
                assert_eq!(service_port(&document), Some(9), "{document}");
            }
        }
        assert!(!set_service_port(&mut json!({}), 9));
    }
}
