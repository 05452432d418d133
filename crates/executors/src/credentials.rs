//! Which Unix user a task runs as.
//!
//! Input: the `user` of an app (a name or a number) and the machine's user database. Output: an
//! [`Account`], or a sentence that says why the task cannot run. Only root may change the user.

use std::ffi::CString;

use nix::unistd::{Gid, Uid, User, geteuid, getgrouplist};
use serde::{Deserialize, Serialize};

/// The numbers a process takes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    /// User.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

/// The account of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its login name, if it has one.
    pub name: Option<String>,
    /// Its home folder (`/` when the user database has none).
    pub home: String,
    /// What to change to; `None` when the task runs as Waymark itself does.
    pub credentials: Option<Credentials>,
}

impl Account {
    /// The account for an app's `user`; `None` is the user that Waymark runs as. Reads the user
    /// database, which may block.
    ///
    /// # Errors
    /// One sentence: the user does not exist, or Waymark may not change to it.
    pub fn resolve(user: Option<&str>) -> Result<Account, String> {
        Account::resolve_as(user, geteuid())
    }

    fn resolve_as(user: Option<&str>, me: Uid) -> Result<Account, String> {
        let found = match user {
            None => by_uid(me)?,
            Some(text) => by_text(text)?,
        };
        if found.uid == me {
            return Ok(found.account(None));
        }
        if !me.is_root() {
            let mine = by_uid(me)?.label();
            return Err(format!(
                "the app asks for user '{}', but Waymark runs as '{mine}' and only root can \
                 start tasks as another user",
                found.label()
            ));
        }
        let credentials = Credentials {
            uid: found.uid.as_raw(),
            gid: found.gid.as_raw(),
            groups: found.supplementary_groups(),
        };
        Ok(found.account(Some(credentials)))
    }
}

/// A user, in the database or not.
struct Found {
    uid: Uid,
    gid: Gid,
    name: Option<String>,
    home: Option<String>,
}

impl Found {
    fn account(self, credentials: Option<Credentials>) -> Account {
        let home = self.home.filter(|h| !h.is_empty()).unwrap_or_else(|| "/".to_owned());
        Account { name: self.name, home, credentials }
    }

    fn label(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.uid.to_string())
    }

    fn supplementary_groups(&self) -> Vec<u32> {
        let name = self.name.as_deref().and_then(|n| CString::new(n).ok());
        let groups = name.and_then(|n| getgrouplist(&n, self.gid).ok());
        groups.unwrap_or_else(|| vec![self.gid]).into_iter().map(Gid::as_raw).collect()
    }
}

impl From<User> for Found {
    fn from(user: User) -> Found {
        let home = user.dir.to_string_lossy().into_owned();
        Found { uid: user.uid, gid: user.gid, name: Some(user.name), home: Some(home) }
    }
}

fn by_text(text: &str) -> Result<Found, String> {
    let unreadable = |e| format!("the user '{text}' could not be looked up: {e}");
    if let Some(user) = User::from_name(text).map_err(unreadable)? {
        return Ok(user.into());
    }
    match text.parse() {
        Ok(number) => by_uid(Uid::from_raw(number)),
        Err(_) => Err(format!("the user '{text}' does not exist on this machine")),
    }
}

/// A number that the database does not know is a user all the same, with a group of that number.
fn by_uid(uid: Uid) -> Result<Found, String> {
    let unreadable = |e| format!("the user {uid} could not be looked up: {e}");
    Ok(match User::from_uid(uid).map_err(unreadable)? {
        Some(user) => user.into(),
        None => Found { uid, gid: Gid::from_raw(uid.as_raw()), name: None, home: None },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_may_become_anybody() {
        let root = Uid::from_raw(0);
        let nobody = Account::resolve_as(Some("nobody"), root).unwrap();
        let credentials = nobody.credentials.unwrap();
        assert_eq!((nobody.name.as_deref(), credentials.uid), (Some("nobody"), 65534));
        let stranger = Account::resolve_as(Some("54321"), root).unwrap();
        let want = Credentials { uid: 54321, gid: 54321, groups: vec![54321] };
        assert_eq!((stranger.credentials, &*stranger.home), (Some(want), "/"));
        assert_eq!(Account::resolve_as(Some("root"), root).unwrap().credentials, None);
        assert_eq!(Account::resolve_as(None, root).unwrap().credentials, None);
        let error = Account::resolve_as(Some("no-such-user"), root).unwrap_err();
        assert_eq!(error, "the user 'no-such-user' does not exist on this machine");
    }

    #[test]
    fn others_stay_who_they_are() {
        let nobody = Uid::from_raw(65534);
        assert_eq!(Account::resolve_as(Some("nobody"), nobody).unwrap().credentials, None);
        let error = Account::resolve_as(Some("root"), nobody).unwrap_err();
        assert!(error.contains("asks for user 'root', but Waymark runs as 'nobody'"), "{error}");
    }
}
