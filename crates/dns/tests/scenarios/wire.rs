//! Queries from words, replies to words. Replies are read by another implementation than ours.

use std::str::FromStr;

use domain::base::iana::Rtype;
use domain::base::opt::OptRecord;
use domain::base::{Message, Name, ParsedName, Record};
use domain::rdata::{AllRecordData, Soa};

type Data<'a> = AllRecordData<&'a [u8], ParsedName<&'a [u8]>>;

/// The query that the words behind `ask` describe.
pub fn query(words: &[&str]) -> Vec<u8> {
    let option = |key: &str| -> Option<u16> {
        let found = words.iter().find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
        found.map(|value| value.parse().unwrap())
    };
    let has = |flag: &str| words.contains(&flag);
    let flag = |name: &str, bit: u16| if has(name) { bit } else { 0 };
    let opcode = option("opcode").unwrap_or(0) << 11;
    let flags = flag("rd", 0x0100) | flag("ad", 0x0020) | flag("cd", 0x0010) | opcode;
    let class = words.iter().find_map(|word| word.strip_prefix("class=")).unwrap_or("IN");
    let class: u16 = match class {
        "IN" => 1,
        "CH" => 3,
        "HS" => 4,
        "NONE" => 254,
        "ANY" => 255,
        _ => panic!("class {class}"),
    };
    let edns = has("do") || option("edns").is_some() || option("version").is_some();
    let mut packet = Vec::new();
    for field in [0x1234, flags, 1, 0, 0, u16::from(edns)] {
        packet.extend(field.to_be_bytes());
    }
    packet.extend(Name::<Vec<u8>>::from_str(words[0]).unwrap().as_slice());
    packet.extend(Rtype::from_str(words[1]).unwrap().to_int().to_be_bytes());
    packet.extend(class.to_be_bytes());
    if edns {
        packet.extend([0, 0, 41]);
        packet.extend(option("edns").unwrap_or(1232).to_be_bytes());
        let version = u8::try_from(option("version").unwrap_or(0)).unwrap();
        packet.extend([0, version, if has("do") { 0x80 } else { 0 }, 0, 0, 0]);
    }
    packet
}

/// The bytes that the words behind `send` are.
pub fn bytes(words: &[&str]) -> Vec<u8> {
    let digits = words.concat();
    let pairs = (0..digits.len()).step_by(2);
    pairs.map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

/// More answers than these are counted only, as are those that were cut.
const MANY: usize = 20;

/// What a reply says, one thing a line. The words are those of the heading: without `full` a SOA
/// record of the domain is not written out, with `counted` only the number of answers is told.
pub fn describe(query: &[u8], reply: &[u8], words: &[&str]) -> Vec<String> {
    let message = Message::from_octets(reply).unwrap();
    let header = message.header();
    let opt = message.opt();
    let rcode = opt.as_ref().map_or(header.rcode().into(), |opt| opt.rcode(header));
    let mut status = rcode.to_string();
    let flags = header.flags();
    for (name, set) in [
        ("aa", flags.aa),
        ("tc", flags.tc),
        ("rd", flags.rd),
        ("ra", flags.ra),
        ("ad", flags.ad),
        ("cd", flags.cd),
    ] {
        if set {
            status += &format!(" {name}");
        }
    }
    let opcode = header.opcode().to_int();
    if opcode != 0 {
        status += &format!(" opcode={opcode}");
    }
    let mut lines = vec![status];
    lines.extend(question(query, reply));
    let answers = section("answer", message.answer().unwrap());
    if words.contains(&"counted") {
        lines.push(format!("answers {}", answers.len()));
        return lines;
    }
    if answers.len() > MANY || flags.tc && !answers.is_empty() {
        lines.push(format!("answers {}", answers.len()));
    } else {
        lines.extend(answers);
    }
    let authority = section("authority", message.authority().unwrap());
    lines.extend(authority.into_iter().map(|line| match line.contains(" SOA ") {
        true if !words.contains(&"full") => "authority soa".to_owned(),
        _ => line,
    }));
    lines.extend(section("additional", message.additional().unwrap()));
    lines.extend(opt.map(edns));
    lines
}

/// Says so when the question is not echoed byte for byte.
fn question(query: &[u8], reply: &[u8]) -> Option<String> {
    if reply[4..6] == [0, 0] {
        return Some("no question".to_owned());
    }
    let message = Message::from_octets(reply).unwrap();
    let length = message.answer().unwrap().pos() - 12;
    (query.get(12..12 + length) != reply.get(12..12 + length))
        .then(|| "question differs".to_owned())
}

fn edns(opt: OptRecord<&[u8]>) -> String {
    let flag = if opt.dnssec_ok() { " do" } else { "" };
    format!("edns {}{flag}", opt.udp_payload_size())
}

fn section(name: &str, section: domain::base::RecordSection<'_, &[u8]>) -> Vec<String> {
    let records = section.into_records::<Data<'_>>().map(|record| record.unwrap());
    let told = records.filter(|record| record.rtype() != Rtype::OPT);
    let mut lines: Vec<String> = told.map(|r| format!("{name} {}", line(&r))).collect();
    lines.sort();
    lines
}

fn line(record: &Record<ParsedName<&[u8]>, Data<'_>>) -> String {
    let data = match record.data() {
        AllRecordData::Soa(soa) => soa_text(soa),
        AllRecordData::Srv(srv) => format!(
            "{} {} {} {}",
            srv.priority(),
            srv.weight(),
            srv.port(),
            name_text(&srv.target())
        ),
        AllRecordData::Ns(ns) => name_text(&ns.nsdname()),
        AllRecordData::Ptr(ptr) => name_text(&ptr.ptrdname()),
        other => other.to_string(),
    };
    let (owner, ttl) = (name_text(&record.owner()), record.ttl().as_secs());
    format!("{owner} {ttl} {} {data}", record.rtype())
}

fn soa_text(soa: &Soa<ParsedName<&[u8]>>) -> String {
    let names = format!("{} {}", name_text(&soa.mname()), name_text(&soa.rname()));
    let [refresh, retry, expire, minimum] =
        [soa.refresh(), soa.retry(), soa.expire(), soa.minimum()].map(|time| time.as_secs());
    format!("{names} SERIAL {refresh} {retry} {expire} {minimum}")
}

fn name_text(name: &impl std::fmt::Display) -> String {
    let text = name.to_string();
    if text == "." { text } else { text.trim_end_matches('.').to_owned() }
}

/// A name in wire form as text.
pub fn name_of(wire: Vec<u8>) -> String {
    name_text(&Name::from_octets(wire).unwrap())
}
