//! Answers: a zone and a packet in, a packet out. Pure: time and randomness are arguments; notes
//! the leases of the tasks it tells about; allocates nothing but the room of its caller's buffers.
//!
//! Answers are Mesos-DNS's (AA set, SRV with priority 0 and targets in full, shuffled, additional
//! addresses), except on purpose:
//!
//! - SOA and NS are owned by the apex and stand in the answer section there; Mesos-DNS answers
//!   them for every name, in the authority section, owned by the name asked for;
//! - a missing name is NXDOMAIN for SRV too, and every negative answer has the SOA (RFC 2308);
//! - a name that only has names below it is NODATA (RFC 8020), so is the apex;
//! - the additional section has all addresses of a target and is left out without TC when there
//!   is no room (RFC 2181 §9); Mesos-DNS draws one address, and sets TC;
//! - EDNS(0) is spoken (RFC 6891), with at most 1232 bytes over UDP;
//! - ANY gives one set, addresses before services (RFC 8482 §4.1);
//! - what is outside the domain is REFUSED here (what is forwarded never comes here), DS is not
//!   special;
//! - other classes, TSIG and transfers are REFUSED (who may transfer gets another answer, from
//!   `transfer`), other opcodes NOTIMP, more or less than one question FORMERR; Mesos-DNS takes no
//!   notice of any of these;
//! - capitals in raw names can be asked for, and `.*` inside a name is nothing special;
//! - owners keep the question's spelling for A and AAAA too;
//! - the names of addresses that the zone knows are told (PTR), and `TXT version` of the domain;
//! - before the first catalog the domain is SERVFAIL; Mesos-DNS does not listen yet.

use std::net::IpAddr;

use crate::lease::Moment;
use crate::message::{
    self, CLASS_IN, Header, Manner, Owner, QUESTION_NAME, Query, Rcode, Reply, Section,
    Unanswerable, qtype,
};
use crate::records::{HAS_A, HAS_AAAA, HAS_SRV, Records, Value};
use crate::respond::Client;
use crate::wire;
use crate::zone::{Match, VERSION, Zone};

mod reverse;
mod version;

/// The records that one answer can hold at most: 65,535 bytes of A records. A larger set is
/// answered with a random part of it.
pub const MAX_RECORDS: usize = 4096;

/// More contributors to one name than this, of which each large one has dozens of records, are not
/// all looked at for one answer.
const MANY_CONTRIBUTORS: usize = 64;

/// How a packet came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// By UDP: 512 bytes, or what EDNS allows up to [`message::UDP_PAYLOAD`].
    Udp,
    /// By TCP: 65,535 bytes.
    Tcp,
}

/// What became of a packet, for the counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The response code.
    pub rcode: Rcode,
    /// The type asked for; `None` when there was no readable question.
    pub qtype: Option<u16>,
    /// Whether TC was set.
    pub truncated: bool,
}

/// Makes answers; keeps the room that it needs for that between them.
#[derive(Debug)]
pub struct Answerer {
    random: u64,
    found: Vec<Found>,
    targets: Vec<Target>,
    /// Of the set that is being answered, in seconds.
    ttl: u32,
}

/// A value of a contributor.
#[derive(Clone, Copy, Debug)]
struct Found {
    slot: u32,
    value: Value,
}

/// The target of an SRV record in the answer, and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Target {
    slot: u32,
    entry: u32,
    at: usize,
}

/// What is asked for, by whom and when; the name is relative to the domain.
#[derive(Clone, Copy)]
struct Asked<'q> {
    name: &'q [u8],
    client: IpAddr,
    now: Moment,
}

/// Which values of a name are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    A,
    Aaaa,
    Srv,
}

impl Kind {
    /// As entries tell.
    fn bit(self) -> u8 {
        match self {
            Kind::A => HAS_A,
            Kind::Aaaa => HAS_AAAA,
            Kind::Srv => HAS_SRV,
        }
    }

    fn number(self) -> u16 {
        match self {
            Kind::A => qtype::A,
            Kind::Aaaa => qtype::AAAA,
            Kind::Srv => qtype::SRV,
        }
    }

    fn takes(self, records: &Records, value: Value) -> bool {
        match value {
            Value::Name { .. } => false,
            Value::Service { .. } => self == Kind::Srv,
            Value::Address { address, .. } => match records.address(address) {
                Some(IpAddr::V4(_)) => self == Kind::A,
                Some(IpAddr::V6(_)) => self == Kind::Aaaa,
                None => false,
            },
        }
    }
}

impl Answerer {
    /// One that shuffles by `seed`.
    pub fn new(seed: u64) -> Answerer {
        Answerer { random: seed, found: Vec::new(), targets: Vec::new(), ttl: 0 }
    }

    /// Answers `packet`, that came from `client` at `now`, from `zone` into `out`; `None` = nothing
    /// is to be sent. Addresses of tasks in the answer are leased for as long as they may be cached.
    pub fn answer(
        &mut self,
        zone: &Zone,
        packet: &[u8],
        transport: Transport,
        client: IpAddr,
        now: Moment,
        out: &mut Vec<u8>,
    ) -> Option<Outcome> {
        match message::read(packet) {
            Err(Unanswerable::Silence) => None,
            Err(Unanswerable::Bad(header, rcode)) => Some(refuse(&header, rcode, out)),
            Ok(query) => {
                let reply = Reply::to(&query, limit(&query, transport), out);
                Some(self.reply(zone, &query, client, now, reply))
            }
        }
    }

    /// Answers a query that has been read.
    pub(crate) fn reply_to(
        &mut self,
        zone: &Zone,
        query: &Query<'_>,
        client: Client,
        now: Moment,
        manner: &Manner,
        out: &mut Vec<u8>,
    ) -> Outcome {
        let reply = Reply::with(query, limit(query, client.transport), manner, out);
        self.reply(zone, query, client.address, now, reply)
    }

    fn reply(
        &mut self,
        zone: &Zone,
        query: &Query<'_>,
        client: IpAddr,
        now: Moment,
        mut reply: Reply<'_>,
    ) -> Outcome {
        if let Some(key) = reverse::key(zone, query) {
            let complete = reverse::names(zone, &key, &mut reply);
            reply.finish(Rcode::NoError, true, !complete);
            let qtype = Some(query.qtype);
            return Outcome { rcode: Rcode::NoError, qtype, truncated: !complete };
        }
        let (rcode, name) = match admit(zone, query) {
            Ok(name) => (Rcode::NoError, name),
            Err(rcode) => {
                reply.finish(rcode, false, false);
                return Outcome { rcode, qtype: Some(query.qtype), truncated: false };
            }
        };
        // The question's name ends in the domain, so the apex stands there.
        let apex = Owner::At((message::HEADER + name.len()) as u16);
        let asked = Asked { name, client, now };
        let complete = match query.qtype {
            qtype::SOA | qtype::ANY if name.is_empty() => {
                soa(zone, Section::Answer, apex, &mut reply)
            }
            qtype::NS if name.is_empty() => self.name_server(zone, &mut reply),
            qtype::A => self.records(zone, asked, Kind::A, &mut reply),
            qtype::AAAA => self.records(zone, asked, Kind::Aaaa, &mut reply),
            qtype::SRV => self.records(zone, asked, Kind::Srv, &mut reply),
            qtype::ANY => self.any(zone, asked, &mut reply),
            qtype::TXT if name == VERSION => version::text(zone, now, &mut reply),
            _ => true,
        };
        let negative = complete && !reply.has_answer();
        let rcode = if negative && !zone.exists(name) { Rcode::NxDomain } else { rcode };
        let complete = complete && (!negative || soa(zone, Section::Authority, apex, &mut reply));
        reply.finish(rcode, true, !complete);
        Outcome { rcode, qtype: Some(query.qtype), truncated: !complete }
    }

    /// The first kind of which the name has records.
    fn any(&mut self, zone: &Zone, asked: Asked<'_>, reply: &mut Reply<'_>) -> bool {
        for kind in [Kind::A, Kind::Aaaa, Kind::Srv] {
            let complete = self.records(zone, asked, kind, reply);
            if reply.has_answer() || !complete {
                return complete;
            }
        }
        asked.name != VERSION || version::text(zone, asked.now, reply)
    }

    /// The records of a kind, as many as fit, in random order, or first those that are near the
    /// client; says whether all did.
    fn records(
        &mut self,
        zone: &Zone,
        asked: Asked<'_>,
        kind: Kind,
        reply: &mut Reply<'_>,
    ) -> bool {
        let all = self.collect(zone, asked, kind, reply.most_records());
        self.shuffle();
        self.near_first(zone, asked.client);
        self.targets.clear();
        let found = std::mem::take(&mut self.found);
        let fitted = found.iter().all(|found| self.write(zone, *found, QUESTION_NAME, reply));
        self.found = found;
        let complete = all && fitted;
        // Targets' addresses are a courtesy of complete answers.
        if complete {
            self.additional(zone, reply);
        }
        complete
    }

    /// Finds the different values of a kind and their TTL, and notes the leases of all of them;
    /// says whether that was all. Of far more than the `most` that could be told, only some are
    /// looked at.
    fn collect(&mut self, zone: &Zone, asked: Asked<'_>, kind: Kind, most: usize) -> bool {
        self.found.clear();
        self.ttl = u32::MAX;
        let places = zone.places(asked.name);
        let (start, enough) = if places.len() > MANY_CONTRIBUTORS {
            ((self.next_random() % places.len() as u64) as usize, most as u64 * 16)
        } else {
            (0, u64::MAX)
        };
        let (mut contributors, mut seen) = (0, 0u64);
        let (behind, from) = places.split_at(start);
        for (_, place) in from.iter().chain(behind) {
            if seen > enough {
                seen = u64::MAX;
                break;
            }
            let Some(found) = zone.at_place(*place) else { continue };
            if found.entry.kinds & kind.bit() != 0 && found.name() == asked.name {
                contributors += 1;
                self.ttl = self.ttl.min(found.entry.ttl);
                self.take(found, kind, asked.now, &mut seen);
            }
        }
        if contributors > 1 {
            self.found.sort_by(|a, b| content(zone, a).cmp(&content(zone, b)));
            self.found.dedup_by(|a, b| content(zone, a) == content(zone, b));
        }
        seen <= MAX_RECORDS as u64
    }

    /// Takes a contributor's values.
    fn take(&mut self, found: Match<'_>, kind: Kind, now: Moment, seen: &mut u64) {
        // Addresses that come with services have TTLs of their own: the longest counts.
        let lease_end = now.lease_end(found.records.longest_ttl);
        let mut last = None;
        for value in found.records.values(found.entry) {
            if !kind.takes(found.records, *value) {
                continue;
            }
            if let Some(lease) = found.records.lease(value.lease()) {
                lease.note(lease_end);
            }
            // Tasks with one address have one record.
            if matches!(value, Value::Address { address, .. } if last.replace(*address) == Some(*address))
            {
                continue;
            }
            *seen += 1;
            let value = Found { slot: found.slot, value: *value };
            if self.found.len() < MAX_RECORDS {
                self.found.push(value);
            } else {
                // Each value seen so far stays with the same chance.
                let place = (self.next_random() % *seen) as usize;
                if let Some(place) = self.found.get_mut(place) {
                    *place = value;
                }
            }
        }
    }

    /// Puts what is in the client's own network first, where that is wanted.
    fn near_first(&mut self, zone: &Zone, client: IpAddr) {
        let Some(near) = zone.apex().near_first else { return };
        // Keeps the random order within both parts.
        self.found.sort_by_cached_key(|found| {
            let address = zone.records(found.slot).and_then(|records| match found.value {
                Value::Address { address, .. } => records.address(address),
                Value::Service { target, .. } => {
                    let first = records.values(records.entry(target)?).first()?;
                    match *first {
                        Value::Address { address, .. } => records.address(address),
                        _ => None,
                    }
                }
                Value::Name { .. } => None,
            });
            !address.is_some_and(|address| near.is_near(address, client))
        });
    }

    /// Writes a record and remembers the target of an SRV record; says whether it fitted.
    fn write(
        &mut self,
        zone: &Zone,
        found: Found,
        owner: Owner<'_>,
        reply: &mut Reply<'_>,
    ) -> bool {
        // A value that leads nowhere has nothing to be written.
        let Some(records) = zone.records(found.slot) else { return true };
        match found.value {
            Value::Name { .. } => true,
            Value::Address { address, .. } => match records.address(address) {
                Some(address) => write_address(address, Section::Answer, owner, self.ttl, reply),
                None => true,
            },
            Value::Service { target, port, .. } => {
                let Some(entry) = records.entry(target) else { return true };
                let apex = zone.apex();
                let at = reply.record(Section::Answer, owner, qtype::SRV, self.ttl, |data| {
                    data.extend([0, 0]);
                    data.extend(apex.srv_weight.to_be_bytes());
                    data.extend(port.to_be_bytes());
                    // Never compressed (RFC 2782).
                    data.extend_from_slice(records.name(entry));
                    data.extend_from_slice(&apex.domain);
                });
                let Some(at) = at else { return false };
                self.targets.push(Target { slot: found.slot, entry: target, at: at + 6 });
                true
            }
        }
    }

    /// The addresses of the targets, as far as they fit. Their leases have been noted with the
    /// services that lead to them.
    fn additional(&mut self, zone: &Zone, reply: &mut Reply<'_>) {
        self.targets.sort_unstable();
        self.targets.dedup_by_key(|target| (target.slot, target.entry));
        for target in &self.targets {
            let Some(records) = zone.records(target.slot) else { continue };
            let Some(entry) = records.entry(target.entry) else { continue };
            let owner = match u16::try_from(target.at) {
                Ok(at) if at < 0x4000 => Owner::At(at),
                _ => Owner::Written(records.name(entry), &zone.apex().domain),
            };
            for value in records.values(entry) {
                let Value::Address { address, .. } = *value else { continue };
                let Some(address) = records.address(address) else { continue };
                if !write_address(address, Section::Additional, owner, entry.ttl, reply) {
                    return;
                }
            }
        }
    }

    /// NS of the apex with the name server's addresses.
    fn name_server(&mut self, zone: &Zone, reply: &mut Reply<'_>) -> bool {
        let apex = zone.apex();
        let server = &apex.mname;
        let at = reply.record(Section::Answer, QUESTION_NAME, qtype::NS, apex.rules.ttl, |data| {
            data.extend_from_slice(server);
        });
        let Some(at) = at else { return false };
        let inside = wire::relative_to(server, &apex.domain);
        for found in inside.into_iter().flat_map(|name| zone.find(name)) {
            for value in found.records.values(found.entry) {
                if let Value::Address { address, .. } = *value
                    && let Some(address) = found.records.address(address)
                {
                    let owner = Owner::At(at as u16);
                    write_address(address, Section::Additional, owner, found.entry.ttl, reply);
                }
            }
        }
        true
    }

    /// Fisher and Yates.
    fn shuffle(&mut self) {
        for n in (1..self.found.len()).rev() {
            let other = (self.next_random() % (n as u64 + 1)) as usize;
            self.found.swap(n, other);
        }
    }

    /// SplitMix64: nobody gains from guessing the order of records.
    fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// Whether the zone answers this question: its name is in the domain, or is that of an address that
/// the zone knows. Of others a forwarder may know.
pub(crate) fn is_for(zone: &Zone, query: &Query<'_>) -> bool {
    wire::relative_to(query.name.as_bytes(), &zone.apex().domain).is_some()
        || reverse::key(zone, query).is_some()
}

/// The name asked for, relative to the domain, if this query is one for the zone.
fn admit<'q>(zone: &Zone, query: &'q Query<'_>) -> Result<&'q [u8], Rcode> {
    if query.edns.is_some_and(|edns| edns.version > 0) {
        return Err(Rcode::BadVers);
    }
    match query.qtype {
        qtype::OPT => return Err(Rcode::FormErr),
        qtype::TKEY | qtype::TSIG | qtype::IXFR | qtype::AXFR => return Err(Rcode::Refused),
        _ if query.class != CLASS_IN => return Err(Rcode::Refused),
        _ => {}
    }
    let name = wire::relative_to(query.name.as_bytes(), &zone.apex().domain);
    let name = name.ok_or(Rcode::Refused)?;
    if zone.version() == 0 { Err(Rcode::ServFail) } else { Ok(name) }
}

fn limit(query: &Query<'_>, transport: Transport) -> usize {
    match (transport, query.edns) {
        (Transport::Tcp, _) => usize::from(u16::MAX),
        (Transport::Udp, None) => usize::from(message::UDP_MINIMUM),
        (Transport::Udp, Some(edns)) => {
            usize::from(edns.payload.clamp(message::UDP_MINIMUM, message::UDP_PAYLOAD))
        }
    }
}

fn refuse(header: &Header, rcode: Rcode, out: &mut Vec<u8>) -> Outcome {
    message::header_only(header, rcode, out);
    Outcome { rcode, qtype: None, truncated: false }
}

/// What makes two records of one name the same: address, or target and port.
fn content<'z>(zone: &'z Zone, found: &Found) -> (Option<IpAddr>, &'z [u8], u16) {
    let Some(records) = zone.records(found.slot) else { return (None, &[], 0) };
    match found.value {
        Value::Name { .. } => (None, &[], 0),
        Value::Address { address, .. } => (records.address(address), &[], 0),
        Value::Service { target, port, .. } => {
            (None, records.entry(target).map_or(&[][..], |entry| records.name(entry)), port)
        }
    }
}

fn write_address(
    address: IpAddr,
    section: Section,
    owner: Owner<'_>,
    ttl: u32,
    reply: &mut Reply<'_>,
) -> bool {
    let at = match address {
        IpAddr::V4(ip) => {
            reply.record(section, owner, Kind::A.number(), ttl, |data| data.extend(ip.octets()))
        }
        IpAddr::V6(ip) => {
            reply.record(section, owner, Kind::Aaaa.number(), ttl, |data| data.extend(ip.octets()))
        }
    };
    at.is_some()
}

/// The SOA record.
fn soa(zone: &Zone, section: Section, owner: Owner<'_>, reply: &mut Reply<'_>) -> bool {
    let soa = zone.soa();
    let at = reply.record(section, owner, qtype::SOA, soa.ttl, |data| {
        data.extend_from_slice(soa.mname);
        data.extend_from_slice(soa.rname);
        for number in [soa.serial, soa.refresh, soa.retry, soa.expire, soa.minimum] {
            data.extend(number.to_be_bytes());
        }
    });
    at.is_some()
}

#[cfg(test)]
mod beyond_tests;
#[cfg(test)]
mod tests;
