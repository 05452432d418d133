//! Packets at a server that knows a few names.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use waymark_dns::Dns;
use waymark_dns::answer::Transport;

#[path = "world.rs"]
mod world;

fuzz_target!(|packet: &[u8]| {
    static DNS: OnceLock<Dns> = OnceLock::new();
    let dns = DNS.get_or_init(|| world::dns("web", "web.1", "http"));
    for transport in [Transport::Udp, Transport::Tcp] {
        world::ask(dns, packet, transport);
    }
});
