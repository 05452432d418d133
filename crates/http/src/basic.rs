//! HTTP Basic (RFC 7617): whether a request carries the one user name and password there are.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{Digest, SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, header};

/// The `WWW-Authenticate` of a 401.
pub const CHALLENGE: &str = "Basic realm=\"waymark\", charset=\"UTF-8\"";

/// A longer `Authorization` cannot be right.
const MAX_HEADER: usize = 4096;

/// The user name and password that are let in.
pub struct BasicAuth {
    /// Of `name:password`: what is compared says nothing of lengths and beginnings.
    digest: Digest,
}

impl fmt::Debug for BasicAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BasicAuth")
    }
}

impl BasicAuth {
    /// Lets this one in. The name must be without a colon, which would part it from the password.
    pub fn new(user: &str, password: &str) -> BasicAuth {
        BasicAuth { digest: digest(&SHA256, format!("{user}:{password}").as_bytes()) }
    }

    /// Whether the request may pass. Takes the same time whatever is wrong.
    pub fn allows(&self, headers: &HeaderMap) -> bool {
        let mut given = headers.get_all(header::AUTHORIZATION).iter();
        // Two of them say two things.
        let (Some(value), None) = (given.next(), given.next()) else { return false };
        let Ok(text) = value.to_str() else { return false };
        let Some((scheme, token)) = text.split_once(' ').filter(|_| text.len() <= MAX_HEADER)
        else {
            return false;
        };
        let Ok(pair) = STANDARD.decode(token.trim()) else { return false };
        let same = verify_slices_are_equal(digest(&SHA256, &pair).as_ref(), self.digest.as_ref());
        scheme.eq_ignore_ascii_case("basic") && same.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_the_right_pair_is_let_in() {
        let auth = BasicAuth::new("ann", "open:sesame");
        let allows = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
            }
            auth.allows(&headers)
        };
        let good = format!("Basic {}", STANDARD.encode("ann:open:sesame"));
        assert!(allows(&[&good]) && allows(&[&good.replace("Basic", "bAsIc ")]));
        for pair in ["ann:open", "ann:", "Ann:open:sesame", "", "ann:open:sesame "] {
            assert!(!allows(&[&format!("Basic {}", STANDARD.encode(pair))]), "{pair}");
        }
        for values in [
            &[][..],
            &["Basic"],
            &["Basic ***"],
            &[&good.replace("Basic", "Bearer")],
            &[&good, &good],
            &[&format!("Basic {}", "A".repeat(MAX_HEADER))],
        ] {
            assert!(!allows(values), "{values:?}");
        }
        assert!(!format!("{auth:?}").contains("sesame"));
    }
}
