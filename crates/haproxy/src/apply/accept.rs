//! From what is wanted to what HAProxy takes: its program is asked, and when it refuses, the apps that are the reason are found
//! and left as they were. Nothing is installed here.

use std::sync::Arc;

use super::applier::Applier;
use super::install::Staged;
use super::options::{ApplyError, Wanted, Without};
use super::search::{Found, search};
use super::validate::{ValidateError, Validator};
use crate::{Refused, Rendered};

/// Most refused apps whose own reason is asked for, with one run of HAProxy each.
const MOST_REASONS: usize = 10;

/// A configuration that HAProxy takes.
pub(super) struct Accepted {
    /// What is installed.
    pub rendered: Arc<Rendered>,
    /// None when the files say it already.
    pub staged: Option<Staged>,
    /// Apps that are left out of it, or as they were.
    pub refused: Vec<Refused>,
}

impl Applier {
    /// Has HAProxy look at it, and finds the apps to leave as they were if it refuses.
    pub(super) async fn accept(&self, wanted: &Wanted) -> Result<Accepted, ApplyError> {
        if self.files.hold(&wanted.rendered) {
            return Ok(Accepted {
                rendered: wanted.rendered.clone(),
                staged: None,
                refused: vec![],
            });
        }
        let staged = self.files.stage(&wanted.rendered)?;
        let Some(validator) = &self.options.validator else {
            return Ok(Accepted {
                rendered: wanted.rendered.clone(),
                staged: Some(staged),
                refused: vec![],
            });
        };
        let Err(refusal) = self.check(validator, &staged).await else {
            return Ok(Accepted {
                rendered: wanted.rendered.clone(),
                staged: Some(staged),
                refused: vec![],
            });
        };
        drop(staged);
        if let ValidateError::Refused { .. } = refusal {
            match self.options.archive.keep_refused(&wanted.rendered.config) {
                Ok(Some(path)) => {
                    tracing::error!(reason = %refusal, kept = %path.display(), "HAProxy would refuse this")
                }
                Ok(None) => tracing::error!(reason = %refusal, "HAProxy would refuse this"),
                Err(error) => tracing::warn!(%error, "what HAProxy refused is not kept"),
            }
            if self.options.clean_up && wanted.without.is_some() && !wanted.suspects.is_empty() {
                return self.clean_up(validator, wanted, refusal).await;
            }
        }
        Err(refusal.into())
    }

    async fn check(&self, validator: &Validator, staged: &Staged) -> Result<(), ValidateError> {
        validator.check(staged.check()).await.map_err(|error| match error {
            ValidateError::Refused { output } => {
                let (temporary, path) =
                    (staged.check().to_string_lossy(), self.files.config().to_string_lossy());
                ValidateError::Refused { output: output.replace(&*temporary, &path) }
            }
            error => error,
        })
    }

    /// Whether HAProxy takes it.
    async fn takes(
        &self,
        validator: &Validator,
        rendered: &Rendered,
    ) -> Result<Result<(), String>, ApplyError> {
        match self.check(validator, &self.files.stage(rendered)?).await {
            Ok(()) => Ok(Ok(())),
            Err(error @ ValidateError::Refused { .. }) => Ok(Err(error.to_string())),
            Err(error) => Err(error.into()),
        }
    }

    async fn clean_up(
        &self,
        validator: &Validator,
        wanted: &Wanted,
        refusal: ValidateError,
    ) -> Result<Accepted, ApplyError> {
        let Some(without) = &wanted.without else { return Err(refusal.into()) };
        let takes = async |out: &[String]| {
            Ok::<_, ApplyError>(self.takes(validator, &without(out)).await?.is_ok())
        };
        // Most often it is still those of the last time.
        let known = wanted.suspects.iter().filter(|app| self.bad.contains(app));
        let mut out: Vec<String> = known.cloned().collect();
        if out.is_empty() || !takes(&out).await? {
            let Found::Without(found) = search(&wanted.suspects, takes).await? else {
                return Err(refusal.into());
            };
            out = found;
        }
        let reasons = self.reasons(validator, without, &mut out).await?;
        let rendered = Arc::new(without(&out));
        let mut refused = Vec::new();
        for (number, app) in out.into_iter().enumerate() {
            let reason = reasons.get(number).cloned().unwrap_or_else(|| refusal.to_string());
            let kept = rendered.backends.values().any(|backend| backend.app == app);
            tracing::error!(%app, %reason, kept, "HAProxy refuses this app's configuration");
            refused.push(Refused { app, reason, kept });
        }
        let staged = self.files.stage(&rendered)?;
        Ok(Accepted { rendered, staged: Some(staged), refused })
    }

    /// HAProxy's own words about the first of these apps, in their order. Those that it has nothing against any more are
    /// taken off the list.
    async fn reasons(
        &self,
        validator: &Validator,
        without: &Without,
        out: &mut Vec<String>,
    ) -> Result<Vec<String>, ApplyError> {
        let mut reasons = Vec::new();
        while let Some(app) = out.get(reasons.len()).filter(|_| reasons.len() < MOST_REASONS) {
            let others: Vec<String> = out.iter().filter(|other| *other != app).cloned().collect();
            match self.takes(validator, &without(&others)).await? {
                Ok(()) => *out = others,
                Err(reason) => reasons.push(reason),
            }
        }
        Ok(reasons)
    }
}
