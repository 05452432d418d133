//! Names of apps, tasks and ports, and a question about one of them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use waymark_dns::answer::Transport;

#[path = "world.rs"]
mod world;

fuzz_target!(|names: (&str, &str, &str)| {
    let dns = world::dns(names.0, names.1, names.2);
    let mut packet = vec![0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in names.1.split('.').chain(["marathon", "mesos"]) {
        packet.push(label.len() as u8);
        packet.extend_from_slice(label.as_bytes());
    }
    packet.extend([0, 0, 255, 0, 1]);
    world::ask(&dns, &packet, Transport::Tcp);
});
