//! The questions to a Marathon, and its event stream.

use std::time::Duration;

use http::HeaderValue;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout};
use waymark_marathon_api::answer::{self, Info, Listing, Notice};
use waymark_model::AppId;

use super::error::Trouble;
use super::sse::Decoder;
use super::state::Told;
use crate::client::{Ask, Client, Failure, Origin, blocking};

/// The longest that a small question may take.
const SMALL_TIMEOUT: Duration = Duration::from_secs(10);

/// What is wanted of apps beside their definitions.
const EMBED: &str = "embed=apps.tasks&embed=apps.deployments&embed=apps.readiness";

/// Where a Marathon is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub origin: Origin,
    /// What its paths begin with, without a slash at the end.
    pub base: String,
}

impl Place {
    /// Reads a URL.
    pub fn read(url: &str) -> Option<Place> {
        let (origin, path) = Origin::of_url(url)?;
        // A path goes into the first line of requests.
        let sound = path.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'?' | b'#'));
        sound.then(|| Place { origin, base: path.trim_end_matches('/').to_owned() })
    }
}

/// Asks Marathons.
pub(super) struct Api {
    pub client: Client,
    /// Those that may see the credentials.
    pub known: Vec<Origin>,
    /// The longest that a question may take.
    pub timeout: Duration,
}

impl Api {
    /// Who is there and who leads.
    pub async fn info(&self, at: &Place) -> Result<Info, Trouble> {
        let ask = Ask::get(&format!("{}/v2/info", at.base)).reusing();
        let within = SMALL_TIMEOUT.min(self.timeout);
        let (_, body) = self.client.fetch(&at.origin, &ask, &self.known, within).await?;
        Ok(answer::info(&body)?)
    }

    /// All apps.
    pub async fn listing(&self, at: &Place) -> Result<Listing, Trouble> {
        let ask = Ask::get(&format!("{}/v2/apps?{EMBED}", at.base)).reusing();
        let (_, body) = self.client.fetch(&at.origin, &ask, &self.known, self.timeout).await?;
        Ok(blocking(body.len(), move || answer::listing(&body)).await??)
    }

    /// One app.
    pub async fn app(&self, at: &Place, id: &AppId) -> Result<Told, Trouble> {
        let ask = Ask::get(&format!("{}/v2/apps{id}?{EMBED}", at.base)).reusing();
        let asked = self.client.fetch(&at.origin, &ask, &self.known, self.timeout).await;
        match asked {
            Ok((_, body)) => Ok(match blocking(body.len(), move || answer::app(&body)).await?? {
                Ok(facts) => Told::Facts(Box::new(facts)),
                Err(unreadable) => Told::Unreadable(unreadable.reason),
            }),
            Err(Failure::Status(status, body)) if status == 404 && answer::says_gone(&body) => {
                Ok(Told::Gone)
            }
            Err(failure) => Err(failure.into()),
        }
    }

    /// The number of pods; Marathon before 1.4 has none.
    pub async fn pods(&self, at: &Place) -> Option<usize> {
        let ask = Ask::get(&format!("{}/v2/pods", at.base)).reusing();
        let asked = self.client.fetch(&at.origin, &ask, &self.known, SMALL_TIMEOUT).await;
        let pods: Vec<serde::de::IgnoredAny> = serde_json::from_slice(&asked.ok()?.1).ok()?;
        Some(pods.len())
    }

    /// The event stream, with the events that matter only, where the version knows filters.
    pub async fn events(&self, at: &Place, silence: Duration) -> Result<Stream, Trouble> {
        let types = Notice::EVENT_TYPES.map(|kind| format!("&event_type={kind}")).concat();
        let path = format!("{}/v2/events?plan-format=light{types}", at.base);
        let accept = HeaderValue::from_static("text/event-stream");
        let ask = Ask { accept, gzip: false, ..Ask::get(&path) };
        let within = SMALL_TIMEOUT.min(self.timeout);
        let asking = self.client.ask(&at.origin, &ask, &self.known);
        let answer = timeout(within, asking).await.unwrap_or(Err(Failure::Timeout(within)))?;
        Ok(Stream {
            body: answer.response.into_body(),
            decoder: Decoder::default(),
            heard: Instant::now(),
            rhythm: Rhythm { silence, ..Rhythm::default() },
        })
    }
}

/// An event stream.
pub(super) struct Stream {
    body: Incoming,
    decoder: Decoder,
    /// When it was last heard.
    heard: Instant,
    rhythm: Rhythm,
}

impl Stream {
    /// What the next bytes bring; often nothing but a sign of life. Can be dropped while waiting
    /// without losing anything.
    pub async fn next(&mut self) -> Result<Vec<Notice>, Trouble> {
        let frame = self.body.frame().await.ok_or(Trouble::StreamEnded)??;
        let now = Instant::now();
        let mut notices = Vec::new();
        if let Ok(data) = frame.into_data() {
            if data.iter().all(|b| matches!(b, b'\r' | b'\n')) {
                self.rhythm.beat(now, self.heard);
            }
            self.decoder.feed(&data, |event| {
                notices.push(Notice::read(&event.name, &event.data));
            });
        }
        self.heard = now;
        Ok(notices)
    }

    /// When it was last heard.
    pub fn heard(&self) -> Instant {
        self.heard
    }

    /// How long it may be silent.
    pub fn patience(&self) -> Duration {
        self.rhythm.patience()
    }
}

/// How often a stream shows that it is alive (pure).
#[derive(Debug, Default)]
struct Rhythm {
    /// How long it may be silent while nothing else is known.
    silence: Duration,
    /// When the last mere sign of life came.
    last: Option<Instant>,
    /// The longest time between two of them so far.
    longest: Option<Duration>,
}

impl Rhythm {
    /// The shortest silence for which a stream is given up.
    const LEAST: Duration = Duration::from_secs(3);

    /// A mere sign of life came, and nothing at all since `heard`.
    fn beat(&mut self, now: Instant, heard: Instant) {
        // The end of an event may look like one.
        if now.duration_since(heard) < Duration::from_millis(100) {
            return;
        }
        if let Some(last) = self.last.replace(now) {
            self.longest = self.longest.max(Some(now.duration_since(last)));
        }
    }

    fn patience(&self) -> Duration {
        let known = self.longest.map(|longest| longest.mul_f64(1.5).max(Rhythm::LEAST));
        known.map_or(self.silence, |known| known.min(self.silence))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        let read = |url: &str| Place::read(url).map(|p| format!("{} {}", p.origin, p.base));
        assert_eq!(read("http://m:8080/").as_deref(), Some("http://m:8080 "));
        let path = "https://m/service/marathon/";
        assert_eq!(read(path).as_deref(), Some("https://m:443 /service/marathon"));
        for bad in ["m:8080", "http://m/a b", "http://m/a?b", "http://m/ä"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_rhythm_is_learnt_from_signs_of_life() {
        let (start, seconds) = (Instant::now(), Duration::from_secs);
        let mut rhythm = Rhythm { silence: seconds(30), ..Rhythm::default() };
        let mut beat = |at: u64, heard: u64| {
            rhythm.beat(start + seconds(at), start + seconds(heard));
            rhythm.patience()
        };
        assert_eq!(beat(10, 0), seconds(30));
        // An event at 17, the end of one at 18.
        assert_eq!(beat(18, 18), seconds(30));
        assert_eq!(beat(20, 18), seconds(15));
        assert_eq!(beat(21, 20), seconds(15));
        assert_eq!(beat(61, 21), seconds(30));
        let mut quick = Rhythm { silence: seconds(30), ..Rhythm::default() };
        quick.beat(start + seconds(1), start);
        quick.beat(start + seconds(2), start + seconds(1));
        assert_eq!(quick.patience(), seconds(3));
    }
}
