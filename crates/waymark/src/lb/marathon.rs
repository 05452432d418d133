//! What settings say about the Marathon that is followed.

use std::path::Path;

use waymark_sources::client::{Auth, ClientError, TlsConfig};
use waymark_sources::marathon::{MarathonConfig, MarathonConfigError};

use crate::run::StartError;
use crate::settings::traffic::{Secret, ServiceAccount};
use crate::settings::{Loaded, Surroundings};

/// DC/OS gives services their account in this variable.
const ACCOUNT_VARIABLE: &str = "DCOS_SERVICE_ACCOUNT_CREDENTIAL";

/// The source's configuration, but for its folder. Of credentials the first found counts: the file,
/// `auth-credentials`, then those of DC/OS, as with marathon-lb.
pub fn config(loaded: &Loaded, around: &Surroundings) -> Result<MarathonConfig, StartError> {
    let s = &loaded.settings;
    if let Some(file) = &s.marathon_ca_cert {
        // Without an https URL nobody else would miss it, until there is one.
        read(file).map_err(|e| StartError(format!("{}: {e}", loaded.cite("marathon-ca-cert"))))?;
    }
    Ok(MarathonConfig {
        urls: s.marathon.0.clone(),
        tls: TlsConfig { ca_file: s.marathon_ca_cert.clone(), ..TlsConfig::default() },
        auth: auth(loaded, around)?,
        invented_ports: match (s.min_serv_port_ip_per_task.0, s.max_serv_port_ip_per_task.0) {
            (0, 0) => None,
            (min, max) => Some(port(min)..=port(max)),
        },
        ..MarathonConfig::default()
    })
}

/// The kind of the setting keeps it in this range.
fn port(number: usize) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}

fn auth(loaded: &Loaded, around: &Surroundings) -> Result<Auth, StartError> {
    let s = &loaded.settings;
    if let Some(file) = &s.marathon_auth_credential_file {
        let wrong = |e: ClientError| wrong(loaded, "marathon-auth-credential-file", &e);
        return Auth::basic_from_file(file).map_err(wrong);
    }
    if let Some(Secret { user, password }) = &s.auth_credentials {
        return Ok(Auth::Basic { principal: user.clone(), secret: password.clone() });
    }
    match (&s.dcos_auth_credentials, around.variable(ACCOUNT_VARIABLE)) {
        (Some(ServiceAccount::Json(json)), _) => {
            Auth::dcos(json).map_err(|e| wrong(loaded, "dcos-auth-credentials", &e))
        }
        (Some(ServiceAccount::File(file)), _) => {
            let cited = loaded.cite("dcos-auth-credentials");
            let json = read(file).map_err(|e| StartError(format!("{cited}: {e}")))?;
            Auth::dcos(&json).map_err(|e| wrong(loaded, "dcos-auth-credentials", &e))
        }
        (None, Some(json)) => {
            Auth::dcos(json).map_err(|e| StartError(format!("{ACCOUNT_VARIABLE}: {e}")))
        }
        (None, None) => Ok(Auth::None),
    }
}

fn read(file: &Path) -> Result<String, String> {
    std::fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))
}

fn wrong(loaded: &Loaded, setting: &str, error: &ClientError) -> StartError {
    StartError(format!("{}: {error}", loaded.cite(setting)))
}

/// The source's refusal with the setting that it is about.
pub fn refused(loaded: &Loaded, error: &MarathonConfigError) -> StartError {
    let setting = match error {
        MarathonConfigError::Client(_) if loaded.settings.marathon_ca_cert.is_some() => {
            "marathon-ca-cert"
        }
        MarathonConfigError::Client(_) => "dcos-auth-credentials",
        MarathonConfigError::BadRange(..) => "min-serv-port-ip-per-task",
        _ => "marathon",
    };
    StartError(format!("{}: {error}", loaded.cite(setting)))
}
