//! Where and as whom the processes of one task work: folder, user, environment, control group.
//! Found anew from the task's definition whenever it is needed, so an adopted task has the same.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;

use waymark_model::{Task, TaskId};

use super::Inner;
use super::cgroup::TaskGroup;
use crate::credentials::{Account, Credentials};
use crate::environment::{Environment, Surroundings, environment};

/// Longest name of a task's folder, in bytes: file systems take 255, and a record's draft has a
/// suffix. Longer ids lose their beginning; the end is what makes them unique.
const FOLDER_LIMIT: usize = 200;

/// What a process of a task needs to know.
#[derive(Debug)]
pub struct Workplace {
    pub sandbox: PathBuf,
    pub record: PathBuf,
    pub env: Environment,
    pub credentials: Option<Credentials>,
    /// The control group, when the task has been given one.
    pub group: Option<TaskGroup>,
}

/// The name of a task's folder, record and control group; `None` for an id that cannot be a file's
/// name (no id that Waymark makes is such).
pub fn folder(task: &TaskId) -> Option<String> {
    let id = task.as_str();
    let start =
        (id.len().saturating_sub(FOLDER_LIMIT)..=id.len()).find(|n| id.is_char_boundary(*n))?;
    let name = id.get(start..)?.trim_start_matches('.');
    (!name.is_empty() && !name.contains(['/', '\0'])).then(|| name.to_owned())
}

impl Inner {
    /// The workplace of a task. Reads the user database, which may block.
    ///
    /// # Errors
    /// One sentence: the app's definition does not work on this machine.
    pub fn workplace(&self, task: &Task) -> Result<Workplace, String> {
        let folder = folder(&task.id).ok_or("the task's id cannot be the name of a folder")?;
        let user = task.app.user.as_deref().or(self.config.default_user.as_deref());
        let account = Account::resolve(user)?;
        let sandbox = self.config.sandbox_root.join(&folder);

        let mut base = self.config.environment.clone();
        base.insert("HOME".to_owned(), account.home);
        base.extend(account.name.map(|name| ("USER".to_owned(), name)));
        let around =
            Surroundings { base: &base, sandbox: &sandbox, prefix: &self.config.env_prefix };
        let env = environment(task, around, &mut numbers_of(&task.id));
        let group = self.cgroups.as_ref().ok().and_then(|c| c.existing(&folder));
        let record = self.records().join(folder);
        Ok(Workplace { sandbox, record, env, credentials: account.credentials, group })
    }
}

/// Numbers that look random and are the same for a task whenever they are asked for.
fn numbers_of(task: &TaskId) -> impl FnMut() -> u16 + use<> {
    let mut hasher = DefaultHasher::new();
    task.hash(&mut hasher);
    move || {
        1u8.hash(&mut hasher);
        // The lowest bits of a hash are as good as any; `as` takes them.
        hasher.finish() as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders() {
        let of = |id: &str| folder(&TaskId::from_text(id));
        assert_eq!(of("web.instance-1._app.1").as_deref(), Some("web.instance-1._app.1"));
        for bad in ["", "..", "../x", "a/b", "a\0b"] {
            assert_eq!(of(bad), None, "{bad:?}");
        }
        assert_eq!(of(".runners").as_deref(), Some("runners"));
        let long = of(&format!("{}.instance-1", "ä".repeat(600))).unwrap();
        assert!(long.len() <= FOLDER_LIMIT && long.ends_with("ä.instance-1"));
    }

    #[test]
    fn numbers_repeat_for_a_task_alone() {
        let three = |id: &str| {
            let mut draw = numbers_of(&TaskId::from_text(id));
            [draw(), draw(), draw()]
        };
        assert_eq!(three("a"), three("a"));
        assert_ne!(three("a"), three("b"));
        assert_ne!(three("a")[0], three("a")[1]);
    }
}
