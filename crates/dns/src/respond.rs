//! What becomes of a packet: who may ask, cookies, who answers, and how often. The answer itself is
//! made by [`crate::answer`].
//!
//! ```text
//! packet ─► format ─► cookie ─► may it ask? ─► inside the domain? ──► answer ─► rate limit ─► out
//!                                                    └─► forwarder (not here)
//! ```
//!
//! Pure: zone, settings and time are arguments. Never waits.

use std::net::IpAddr;
use std::time::Duration;

use crate::access::AccessList;
use crate::answer::{Answerer, Outcome, Transport};
use crate::cookie::{self, Cookies, Judged};
use crate::forward::Forwarder;
use crate::lease::Moment;
use crate::message::{self, Manner, Options, Query, Rcode, Reply, Unanswerable};
use crate::rate_limit::{Kind, Limited, RateLimit, RateLimiter};
use crate::zone::Zone;

/// Who may ask for what, and how replies are made.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Who may ask; others are REFUSED.
    pub queries: AccessList,
    /// Asks others for names outside the domain; without it these are REFUSED.
    pub forwarder: Option<Forwarder>,
    /// Who may ask for names outside the domain; by default loopback and private networks, so that
    /// nobody serves the world by mistake. Mesos-DNS serves everybody.
    pub recursion: AccessList,
    /// RA in answers of the own domain, for those who may ask for other names (Mesos-DNS's
    /// `recurseon`).
    pub recursion_available: bool,
    /// Whether TC is set when records had to be left out (Mesos-DNS's `SetTruncateBit`).
    pub set_truncate_bit: bool,
    /// How many replies one network gets over UDP.
    pub rate_limit: RateLimit,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            queries: AccessList::everybody(),
            forwarder: None,
            recursion: AccessList::private(),
            recursion_available: false,
            set_truncate_bit: true,
            rate_limit: RateLimit::default(),
        }
    }
}

impl Policy {
    /// As Mesos-DNS does: everybody may ask for everything, as often as they like.
    pub fn open() -> Policy {
        Policy {
            recursion: AccessList::everybody(),
            rate_limit: RateLimit::off(),
            ..Policy::default()
        }
    }
}

/// Who asks, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client {
    pub(crate) address: IpAddr,
    pub(crate) transport: Transport,
}

/// The time of a batch of answers, in the forms that they need.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    /// For answers.
    pub(crate) moment: Moment,
    /// Since the server's start.
    pub(crate) since_start: Duration,
    /// Seconds since 1970, modulo 2³².
    pub(crate) unix: u32,
}

/// What answers are made from, besides the packet.
#[derive(Clone, Copy)]
pub(crate) struct Here<'h> {
    pub(crate) zone: &'h Zone,
    pub(crate) policy: &'h Policy,
    pub(crate) cookies: &'h Cookies,
    /// Whether the source of the zone is lost, and what is answered may be out of date.
    pub(crate) is_stale: bool,
    pub(crate) now: Now,
}

/// What is to be done about a packet.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// The reply is written.
    Reply(Outcome),
    /// Nothing is to be sent: this is no query.
    Silence,
    /// Nothing is to be sent: this client gets too many replies.
    Limited,
    /// A small reply is written, since this client gets too many.
    Slipped(Outcome),
    /// The forwarder is to be asked; its replies to the client have these options.
    Forward(Options),
}

/// Decides for one thread.
#[derive(Debug)]
pub(crate) struct Responder {
    answerer: Answerer,
    limiter: Option<RateLimiter>,
}

/// Room for replies without records.
const SMALL: usize = message::UDP_MINIMUM as usize;
/// Option and code of "Stale Answer" (RFC 8914 §4.4).
const EXTENDED_ERROR: u16 = 15;
const STALE_ANSWER: u16 = 3;

impl Responder {
    /// A responder for UDP with nothing counted yet.
    pub(crate) fn new(policy: &Policy, seed: u64) -> Responder {
        let limiter = RateLimiter::new(&policy.rate_limit, seed);
        Responder { answerer: Answerer::new(seed), limiter }
    }

    /// One for TCP, whose clients have shown that they are where they say.
    pub(crate) fn unlimited(seed: u64) -> Responder {
        Responder { answerer: Answerer::new(seed), limiter: None }
    }

    /// Answers a packet, as it was read, into `out`, as far as that is done here.
    pub(crate) fn respond(
        &mut self,
        here: Here<'_>,
        client: Client,
        read: Result<Query<'_>, Unanswerable>,
        out: &mut Vec<u8>,
    ) -> Verdict {
        let query = match read {
            Ok(query) => query,
            Err(Unanswerable::Silence) => return Verdict::Silence,
            Err(Unanswerable::Bad(header, rcode)) => {
                message::header_only(&header, rcode, out);
                return self.limit_error(here, client, rcode, out);
            }
        };
        let option = query.edns.and_then(|edns| edns.option(cookie::OPTION));
        let judged = option.map(|data| here.cookies.judge(data, client.address, here.now.unix));
        let Some(judged) = judged.map_or(Some(None), |judged| judged.map(Some)) else {
            message::header_only(&query.header, Rcode::FormErr, out);
            return self.limit_error(here, client, Rcode::FormErr, out);
        };
        let mut manner = manner(here, client, judged);
        let verdict = self.verdict(here, client, &query, &mut manner, out);
        let kind = match &verdict {
            Verdict::Forward(_) => Kind::Forwarded,
            Verdict::Reply(outcome) => kind_of(outcome.rcode),
            _ => return verdict,
        };
        match self.limited(here, client, kind, judged) {
            Limited::No => verdict,
            Limited::Drop => drop_reply(out),
            Limited::Slip => slip(&query, &manner, judged.is_some(), out),
        }
    }

    /// Answers, or says that others do.
    fn verdict(
        &mut self,
        here: Here<'_>,
        client: Client,
        query: &Query<'_>,
        manner: &mut Manner,
        out: &mut Vec<u8>,
    ) -> Verdict {
        let Here { zone, policy, .. } = here;
        if !policy.queries.allows(client.address) {
            let rcode = Rcode::Refused;
            Reply::with(query, SMALL, manner, out).finish(rcode, false, false);
            let qtype = Some(query.qtype);
            return Verdict::Reply(Outcome { rcode, qtype, truncated: false });
        }
        if policy.forwarder.is_some()
            && !crate::answer::is_for(zone, query)
            && policy.recursion.allows(client.address)
        {
            return Verdict::Forward(manner.options);
        }
        // What others say is not made from the source that is lost.
        if here.is_stale && crate::answer::is_for(zone, query) {
            manner.options.push(EXTENDED_ERROR, &STALE_ANSWER.to_be_bytes());
        }
        let Now { moment, .. } = here.now;
        let outcome = self.answerer.reply_to(zone, query, client, moment, manner, out);
        Verdict::Reply(outcome)
    }

    fn limited(
        &mut self,
        here: Here<'_>,
        client: Client,
        kind: Kind,
        cookie: Option<Judged>,
    ) -> Limited {
        match &mut self.limiter {
            Some(limiter) if !cookie.is_some_and(|cookie| cookie.known) => {
                limiter.count(client.address, kind, here.now.since_start)
            }
            _ => Limited::No,
        }
    }

    /// A reply of a header alone, that nothing smaller could stand for.
    fn limit_error(
        &mut self,
        here: Here<'_>,
        client: Client,
        rcode: Rcode,
        out: &mut Vec<u8>,
    ) -> Verdict {
        match self.limited(here, client, Kind::Error, None) {
            Limited::No => Verdict::Reply(Outcome { rcode, qtype: None, truncated: false }),
            Limited::Drop | Limited::Slip => drop_reply(out),
        }
    }
}

fn manner(here: Here<'_>, client: Client, judged: Option<Judged>) -> Manner {
    let policy = here.policy;
    let mut options = Options::default();
    if let Some(judged) = judged {
        options.push(cookie::OPTION, &judged.cookie);
    }
    Manner {
        recursion_available: policy.recursion_available && policy.recursion.allows(client.address),
        tells_cuts: policy.set_truncate_bit,
        options,
    }
}

fn kind_of(rcode: Rcode) -> Kind {
    match rcode {
        Rcode::NoError => Kind::Answer,
        Rcode::NxDomain => Kind::NoSuchName,
        _ => Kind::Error,
    }
}

fn drop_reply(out: &mut Vec<u8>) -> Verdict {
    out.clear();
    Verdict::Limited
}

/// Without records: clients with a cookie get theirs and come back with it (RFC 7873 §5.2.3),
/// others come by TCP.
fn slip(query: &Query<'_>, manner: &Manner, has_cookie: bool, out: &mut Vec<u8>) -> Verdict {
    let rcode = if has_cookie { Rcode::BadCookie } else { Rcode::NoError };
    let manner = Manner { tells_cuts: true, ..*manner };
    Reply::with(query, SMALL, &manner, out).finish(rcode, false, !has_cookie);
    Verdict::Slipped(Outcome { rcode, qtype: Some(query.qtype), truncated: !has_cookie })
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
