//! A Marathon that says what a story wants, and tasks that say their name. It lasts as long as the
//! story's process.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

/// How often a stream shows that it is alive.
const BEAT: Duration = Duration::from_millis(500);

/// What is wrong with the Marathon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MarathonFault {
    /// Nothing.
    None,
    /// It answers, but its event streams bring nothing any more.
    Silent,
    /// Lists of apps are answered with this status and body.
    List(u16, String),
    /// Nothing is answered, and connections stay open.
    Hang,
    /// Connections are closed at once.
    Close,
}

/// A Marathon.
#[derive(Clone)]
pub struct FakeMarathon {
    /// Where it is.
    pub address: SocketAddr,
    world: Arc<Mutex<World>>,
}

struct World {
    apps: BTreeMap<String, Value>,
    leader: String,
    fault: MarathonFault,
    streams: Vec<TcpStream>,
    /// Connections that are not answered.
    held: Vec<TcpStream>,
    seen: Seen,
}

/// What it has done since something was last said to be wrong with it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// Requests that met what is wrong.
    pub faults: u32,
    /// Lists of apps, as they are.
    pub lists: u32,
    /// Signs of life on an event stream.
    pub beats: u32,
}

impl FakeMarathon {
    /// One that leads and has no apps.
    pub fn start() -> FakeMarathon {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let world = World {
            apps: BTreeMap::new(),
            leader: address.to_string(),
            fault: MarathonFault::None,
            streams: Vec::new(),
            held: Vec::new(),
            seen: Seen::default(),
        };
        let fake = FakeMarathon { address, world: Arc::new(Mutex::new(world)) };
        let (serving, beating) = (fake.clone(), fake.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let fake = serving.clone();
                // Clients may go at any time.
                std::thread::spawn(move || drop(fake.serve(client)));
            }
        });
        std::thread::spawn(move || {
            loop {
                beating.send(b"\r\n");
                let mut world = beating.world();
                world.seen.beats += u32::from(!world.streams.is_empty());
                drop(world);
                std::thread::sleep(BEAT);
            }
        });
        fake
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn world(&self) -> std::sync::MutexGuard<'_, World> {
        self.world.lock().expect("nobody panicked")
    }

    /// Puts an app in and says so by an event, unless streams are silent.
    pub fn put(&self, app: Value) {
        let id = app["id"].as_str().expect("an id").to_owned();
        self.world().apps.insert(id.clone(), app);
        self.tell(&id);
    }

    /// Takes an app away and says so.
    pub fn remove(&self, id: &str) {
        self.world().apps.remove(id);
        self.tell(id);
    }

    /// From now on something is wrong with it. All connections are closed, but streams that are to
    /// be silent.
    pub fn fail(&self, fault: MarathonFault) {
        let mut world = self.world();
        if fault != MarathonFault::Silent {
            for stream in world.streams.drain(..) {
                let _ = stream.shutdown(std::net::Shutdown::Both);
            }
        }
        for stream in world.held.drain(..) {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
        (world.fault, world.seen) = (fault, Seen::default());
    }

    /// What it has done since [`FakeMarathon::fail`], or since its start.
    pub fn seen(&self) -> Seen {
        self.world().seen
    }

    /// Says that another one leads.
    pub fn follow(&self, leader: &FakeMarathon) {
        self.world().leader = leader.address.to_string();
    }

    fn tell(&self, id: &str) {
        let data = json!({"eventType": "status_update_event", "appId": id});
        self.send(format!("event: status_update_event\r\ndata: {data}\r\n\r\n").as_bytes());
    }

    fn send(&self, bytes: &[u8]) {
        let mut world = self.world();
        if world.fault != MarathonFault::Silent {
            world.streams.retain_mut(|stream| stream.write_all(bytes).is_ok());
        }
    }

    fn serve(&self, mut client: TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(client.try_clone()?).lines();
        let first = lines.next().transpose()?.unwrap_or_default();
        while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
        let path = first.split(' ').nth(1).unwrap_or_default();
        let path = path.split('?').next().unwrap_or_default();
        let mut world = self.world();
        match &world.fault {
            MarathonFault::Close => {
                world.seen.faults += 1;
                return Ok(());
            }
            MarathonFault::Hang => {
                world.seen.faults += 1;
                world.held.push(client);
                return Ok(());
            }
            MarathonFault::List(status, body) if path == "/v2/apps" => {
                let said = answer(&mut client, *status, body);
                world.seen.faults += 1;
                return said;
            }
            _ => {}
        }
        world.seen.lists += u32::from(path == "/v2/apps");
        if path == "/v2/events" {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
            client.write_all(head.as_bytes())?;
            // A new stream is a healthy one.
            if world.fault == MarathonFault::Silent {
                world.fault = MarathonFault::None;
                world.streams.clear();
            }
            world.streams.push(client);
            return Ok(());
        }
        let (status, body) = world.answer(path);
        drop(world);
        answer(&mut client, status, &body.to_string())
    }
}

impl World {
    fn answer(&self, path: &str) -> (u16, Value) {
        match path {
            "/v2/info" => (200, json!({"name": "marathon", "leader": self.leader})),
            "/v2/apps" => (200, json!({"apps": self.apps.values().collect::<Vec<_>>()})),
            path => match path.strip_prefix("/v2/apps").and_then(|id| self.apps.get(id)) {
                Some(app) => (200, json!({ "app": app })),
                None => (404, json!({"message": "App does not exist"})),
            },
        }
    }
}

fn answer(client: &mut TcpStream, status: u16, body: &str) -> std::io::Result<()> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} Said\r\nContent-Length: {length}\r\nConnection: close\r\n\
         Content-Type: application/json\r\n\r\n"
    );
    client.write_all(head.as_bytes())?;
    client.write_all(body.as_bytes())
}

/// A task that answers every request with its name; the port it listens on.
pub fn task(name: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let lines = BufReader::new(client.try_clone().ok()?).lines();
                lines.map_while(Result::ok).take_while(|line| !line.is_empty()).for_each(drop);
                answer(&mut client, 200, name).ok()
            });
        }
    });
    port
}

/// An app in host mode with tasks on these ports of this machine.
pub fn app(id: &str, service_port: u16, tasks: &[u16]) -> Value {
    let task = |port: &u16| {
        json!({"id": format!("{}.{port}", id.trim_start_matches('/')), "appId": id,
            "state": "TASK_RUNNING", "host": "127.0.0.1", "ports": [port],
            "startedAt": "2026-01-05T10:00:00.000Z", "version": "2026-01-05T10:00:00.000Z"})
    };
    json!({"id": id, "instances": tasks.len(),
        "labels": {"HAPROXY_GROUP": "external", "HAPROXY_0_VHOST": format!("{}.example.org", &id[1..])},
        "networks": [{"mode": "host"}], "portDefinitions": [{"port": service_port}],
        "version": "2026-01-05T10:00:00.000Z", "tasks": tasks.iter().map(task).collect::<Vec<_>>()})
}
