//! Lists of everything: `/v1/axfr`, the zone by name, and `/v1/enumerate`, the records by task.
//!
//! Both are long (tens of megabytes for 20,000 tasks), so they are made beside everything else, a
//! few at a time, and straight from the zone's tables.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use waymark_model::Catalog;

use super::answer::{self, Answer};
use super::config::{ConfigView, Shared};
use crate::message::qtype;
use crate::zone::{Data, Rrset, TaskRecords, Zone};

/// `/v1/axfr`
pub async fn axfr(shared: Arc<Shared>) -> Answer {
    make(shared, |shared, zone| answer::json(&Axfr::new(&shared.config.view, zone))).await
}

/// `/v1/enumerate`
pub async fn enumerate(shared: Arc<Shared>) -> Answer {
    make(shared, |shared, zone| {
        let catalog = shared.catalog.latest();
        answer::json(&Enumeration::new(&catalog, zone))
    })
    .await
}

/// Makes an answer on a thread of its own, from a copy of the zone that holds nobody up.
async fn make(
    shared: Arc<Shared>,
    list: impl FnOnce(&Shared, &Zone) -> Answer + Send + 'static,
) -> Answer {
    // It is never closed.
    let place = shared.lists.clone().acquire_owned().await;
    let zone = Zone::clone(&shared.dns.zone());
    if zone.version() == 0 {
        return answer::not_ready();
    }
    let for_list = shared.clone();
    // The work goes on when the client has left, and keeps its place until it is done.
    let made = tokio::task::spawn_blocking(move || {
        let _place = place;
        list(&for_list, &zone)
    })
    .await;
    made.unwrap_or_else(|error| {
        tracing::error!(%error, "a list could not be made");
        answer::text(http::StatusCode::INTERNAL_SERVER_ERROR, "500: The list could not be made")
    })
}

/// A record's data: an address, or `target.:port`.
fn data(zone: &Zone, data: Data<&[u8]>) -> String {
    match data {
        Data::A(ip) => ip.to_string(),
        Data::Aaaa(ip) => ip.to_string(),
        Data::Srv { port, target } => format!("{}.:{port}", zone.text(target)),
    }
}

#[derive(Serialize)]
struct Axfr<'z> {
    #[serde(rename = "TTL")]
    ttl: u32,
    #[serde(rename = "Serial")]
    serial: u32,
    #[serde(rename = "RefreshSeconds")]
    refresh_seconds: u32,
    #[serde(rename = "Mname")]
    mname: &'z str,
    #[serde(rename = "Rname")]
    rname: &'z str,
    #[serde(rename = "Domain")]
    domain: &'z str,
    #[serde(rename = "Records")]
    records: ByType<'z>,
}

#[derive(Serialize)]
struct ByType<'z> {
    #[serde(rename = "As")]
    a: Sets<'z>,
    #[serde(rename = "AAAAs")]
    aaaa: Sets<'z>,
    #[serde(rename = "SRVs")]
    srv: Sets<'z>,
}

/// The record sets of one type with their owners, sorted by these.
struct Sets<'z> {
    zone: &'z Zone,
    sets: Vec<(String, Rrset<'z>)>,
}

impl<'z> Axfr<'z> {
    fn new(view: &'z ConfigView, zone: &'z Zone) -> Axfr<'z> {
        let empty = || Sets { zone, sets: Vec::new() };
        let mut records = ByType { a: empty(), aaaa: empty(), srv: empty() };
        for set in zone.rrsets() {
            let of_type = match set.data.first().map(Data::rtype) {
                Some(qtype::A) => &mut records.a,
                Some(qtype::AAAA) => &mut records.aaaa,
                _ => &mut records.srv,
            };
            of_type.sets.push((format!("{}.", zone.text(set.owner)), set));
        }
        for of_type in [&mut records.a, &mut records.aaaa, &mut records.srv] {
            of_type.sets.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        }
        Axfr {
            ttl: view.ttl,
            // As in the SOA record.
            serial: zone.version() as u32,
            refresh_seconds: view.refresh_seconds,
            mname: &view.soa_mname,
            rname: &view.soa_rname,
            domain: &view.domain,
            records,
        }
    }
}

impl Serialize for Sets<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (owner, set) in &self.sets {
            let texts: Vec<String> = set.data.iter().map(|one| data(self.zone, *one)).collect();
            map.serialize_entry(owner, &texts)?;
        }
        map.end()
    }
}

/// Lists are `null` where Go never made one.
#[derive(Serialize)]
struct Enumeration<'z> {
    frameworks: Option<Vec<FrameworkList<'z>>>,
}

#[derive(Serialize)]
struct FrameworkList<'z> {
    tasks: Vec<TaskList<'z>>,
    name: &'z str,
}

#[derive(Serialize)]
struct TaskList<'z> {
    name: &'z str,
    id: &'z str,
    records: Option<Vec<Listed<'z>>>,
}

/// One record of a task.
struct Listed<'z> {
    zone: &'z Zone,
    owner: &'z [u8],
    data: Data<&'z [u8]>,
}

impl Serialize for Listed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let rtype = match self.data {
            Data::A(_) => "A",
            Data::Aaaa(_) => "AAAA",
            Data::Srv { .. } => "SRV",
        };
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("name", &format!("{}.", self.zone.text(self.owner)))?;
        map.serialize_entry("host", &data(self.zone, self.data))?;
        map.serialize_entry("rtype", rtype)?;
        map.end()
    }
}

impl<'z> Enumeration<'z> {
    fn new(catalog: &'z Catalog, zone: &'z Zone) -> Enumeration<'z> {
        // Frameworks without tasks are listed too.
        let mut frameworks: BTreeMap<&str, Vec<TaskList<'z>>> =
            catalog.cluster.frameworks.values().map(|f| (&*f.name, Vec::new())).collect();
        for task in zone.tasks() {
            let TaskRecords { framework, name, id, records } = task;
            let records: Vec<Listed<'z>> =
                records.into_iter().map(|(owner, data)| Listed { zone, owner, data }).collect();
            let records = Some(records).filter(|records| !records.is_empty());
            let list = TaskList { name, id: id.as_str(), records };
            frameworks.entry(framework).or_default().push(list);
        }
        let frameworks: Vec<_> =
            frameworks.into_iter().map(|(name, tasks)| FrameworkList { tasks, name }).collect();
        Enumeration { frameworks: Some(frameworks).filter(|list| !list.is_empty()) }
    }
}
