//! Users and groups of this machine, by name or number. Pure, but for reading the two files they are in.

use std::fs;

use crate::failure::Failure;

/// As whom a process is to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) user: Option<u32>,
    pub(crate) group: Option<u32>,
    /// The other groups of the user.
    pub(crate) groups: Vec<u32>,
}

impl Identity {
    /// The user and the group of these names or numbers. Without a group it is that of the user.
    pub(crate) fn named(user: Option<&str>, group: Option<&str>) -> Result<Self, Failure> {
        let (users, groups) = (fs::read_to_string("/etc/passwd"), fs::read_to_string("/etc/group"));
        Self::among(user, group, &users.unwrap_or_default(), &groups.unwrap_or_default())
    }

    /// The same, with the users and groups as passwd(5) and group(5) have them.
    fn among(user: Option<&str>, group: Option<&str>, users: &str, groups: &str) -> Result<Self, Failure> {
        let mut identity = Self::default();
        if let Some(user) = user {
            let entry = entry(users, user);
            identity.user = Some(number(entry.as_deref(), user, "user")?);
            let name = entry.as_ref().map_or("", |fields| fields[0]);
            identity.group = entry.as_ref().and_then(|fields| fields.get(3)?.parse().ok());
            identity.groups = memberships(groups, name);
        }
        if let Some(group) = group {
            identity.group = Some(number(entry(groups, group).as_deref(), group, "group")?);
        }
        Ok(identity)
    }
}

/// The fields of the entry with this name or number; both files have the name first and the number third.
fn entry<'a>(file: &'a str, wanted: &str) -> Option<Vec<&'a str>> {
    let mut entries = file.lines().map(|line| line.split(':').collect::<Vec<_>>());
    entries.find(|fields| fields[0] == wanted || fields.get(2) == Some(&wanted))
}

/// A number may have no entry.
fn number(entry: Option<&[&str]>, wanted: &str, what: &str) -> Result<u32, Failure> {
    let listed = entry.and_then(|fields| fields.get(2)?.parse().ok());
    listed.or_else(|| wanted.parse().ok()).ok_or_else(|| {
        Failure::new(format!("there is no {what} {wanted} on this machine"))
            .next("give its number, if it is known elsewhere than in /etc")
    })
}

/// The groups that list this user as a member.
fn memberships(groups: &str, name: &str) -> Vec<u32> {
    let is_member = |fields: &Vec<&str>| {
        fields
            .get(3)
            .is_some_and(|members| members.split(',').any(|member| !name.is_empty() && member == name))
    };
    let entries = groups.lines().map(|line| line.split(':').collect::<Vec<_>>());
    entries.filter(is_member).filter_map(|fields| fields.get(2)?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const USERS: &str = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34::/srv:/bin/sh\n";
    const GROUPS: &str = "root:x:0:\nweb:x:34:\ndocker:x:99:git,web\nmails:x:50:webmaster\n";

    fn among(user: Option<&str>, group: Option<&str>) -> Result<Identity, String> {
        Identity::among(user, group, USERS, GROUPS).map_err(|failure| failure.to_string())
    }

    #[test]
    fn a_user_comes_with_its_groups() {
        let web = Identity { user: Some(33), group: Some(34), groups: vec![99] };
        assert_eq!(among(Some("web"), None), Ok(web.clone()));
        assert_eq!(among(Some("33"), None), Ok(web.clone()));
        assert_eq!(among(Some("web"), Some("mails")), Ok(Identity { group: Some(50), ..web }));
        assert_eq!(among(None, Some("mails")), Ok(Identity { group: Some(50), ..Identity::default() }));
    }

    #[test]
    fn a_number_needs_no_entry_and_a_name_does() {
        assert_eq!(among(Some("4711"), None), Ok(Identity { user: Some(4711), ..Identity::default() }));
        assert!(
            among(Some("nobody4711"), None).unwrap_err().starts_with("error: there is no user nobody4711")
        );
        assert!(among(None, Some("none")).unwrap_err().starts_with("error: there is no group none"));
    }
}
