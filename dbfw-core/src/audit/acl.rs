//! [`RedisCatalog`]: the default user and the clients of Redis or Valkey.

use super::{check::CheckId, connection::SeenConnection, finding::Finding, trusted::Trusted};

/// The user of clients that name none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DefaultUser {
    /// Whether it may log in.
    pub is_on: bool,
    /// Whether it has to say a password.
    pub needs_password: bool,
}

/// The answers of a Redis to somebody who logged in. Each may be missing, with the reason.
#[derive(Clone, Debug)]
pub struct RedisCatalog {
    /// The default user.
    pub default_user: Result<DefaultUser, String>,
    /// The connections by TCP.
    pub connections: Result<Vec<SeenConnection>, String>,
}

/// Judges the default user: R-2.
pub fn judge_default_user(
    catalog: &RedisCatalog,
    trusted: Result<&[Trusted], &str>,
) -> Vec<Finding> {
    let check = CheckId::R2;
    let user = match (&catalog.default_user, trusted) {
        (Err(why), _) => return vec![Finding::unknown(check, why)],
        (_, Err(why)) => return vec![Finding::unknown(check, why)],
        (Ok(user), Ok(trusted)) if trusted.iter().any(|source| !source.prefixes.is_empty()) => user,
        (Ok(_), Ok(_)) => return vec![Finding::ok(check, "there is no trusted source")],
    };
    let finding = match user {
        DefaultUser { is_on: false, .. } => Finding::ok(check, "the default user is off"),
        DefaultUser { needs_password: true, .. } => {
            Finding::fail(check, "the default user is on, and trusted sources may use it")
        }
        DefaultUser { needs_password: false, .. } => Finding::fail(
            check,
            "the default user is on and needs no password, and trusted sources may use it",
        ),
    };
    vec![finding.about("default")]
}

#[cfg(test)]
mod tests {
    use super::{super::finding::State, *};

    #[test]
    fn the_default_user_counts_where_somebody_may_use_it() {
        let trusted =
            [Trusted { prefixes: ["10.0.0.0/8".parse().unwrap()].into(), ..Trusted::default() }];
        let on = Ok(DefaultUser { is_on: true, needs_password: true });
        let off = Ok(DefaultUser { is_on: false, needs_password: true });
        for (default_user, trusted, state) in [
            (on.clone(), Ok(&trusted[..]), State::Fail),
            (off, Ok(&trusted[..]), State::Ok),
            (on.clone(), Ok(&[][..]), State::Ok),
            (on, Err("no list"), State::Unknown),
            (Err("NOPERM".to_owned()), Ok(&trusted[..]), State::Unknown),
        ] {
            let catalog = RedisCatalog { default_user, connections: Ok(Vec::new()) };
            assert_eq!(judge_default_user(&catalog, trusted)[0].state(), state, "{catalog:?}");
        }
    }
}
