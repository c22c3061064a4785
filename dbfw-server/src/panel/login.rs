//! Logging in with a token, and out.

use std::sync::Arc;

use axum::{
    extract::{FromRequest as _, RawQuery, Request, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Redirect, Response},
};
use jiff::Timestamp;
use maud::{Markup, html};

use super::{
    form::Form,
    frame,
    message::{self, Done},
    state::Panel,
    visitor::{COOKIE, Visitor, peer},
};
use crate::{
    api::{ApiError, Login, query_value, too_many},
    model::{AuditAction, Secret, Via},
    service::SESSION_LASTS,
};

type Answer = Result<Response, ApiError>;

pub(super) async fn form(State(panel): State<Arc<Panel>>, RawQuery(query): RawQuery) -> Response {
    let next = query_value(query.as_deref(), "next");
    let message = message::of_query(query.as_deref());
    shown(&panel, StatusCode::OK, &local(next.as_deref().unwrap_or("/")), &message)
}

pub(super) async fn log_in(State(panel): State<Arc<Panel>>, request: Request) -> Answer {
    let (parts, body) = request.into_parts();
    let (_, address) = peer(&parts)?;
    let form = Form::from_request(Request::from_parts(parts, body), &panel).await?;
    let next = local(form.get("next"));
    let found = match Secret::parse(form.get("token")) {
        Some(secret) => panel.service().log_in(&secret, address).await?,
        None => None,
    };
    let Some((token, session)) = found else {
        panel.app.tally.refused(Login::Panel);
        panel.service().record_refusal(AuditAction::LoginRefused, Via::Panel, address);
        tracing::warn!(%address, "a login to the panel was refused");
        let now = Timestamp::now().as_second();
        // Whoever has a token is let in all the same: others may have the same address.
        if let Err(exhausted) = panel.logins.count_refused(address, now) {
            let error = too_many(exhausted, now);
            let wait = error.retry_after.unwrap_or_default();
            let message = format!("too many logins failed: try again in {wait} seconds");
            return Err(ApiError { message, ..error });
        }
        let message = html! {
            div.problem role="alert" tabindex="-1" autofocus {
                p {
                    "This is no token of this server, or it counts no more. A token is "
                    code { "dodbfw_" } " and 64 digits."
                }
            }
        };
        return Ok(shown(&panel, StatusCode::FORBIDDEN, &next, &message));
    };
    tracing::info!(token = token.name, id = %token.id, %address, "somebody logged in to the panel");
    let seconds = SESSION_LASTS.as_secs();
    let cookie = format!(
        "{COOKIE}={}; Path=/; Max-Age={seconds}; Secure; HttpOnly; SameSite=Strict",
        session.expose()
    );
    with_cookie(Redirect::to(&next).into_response(), &cookie)
}

pub(super) async fn log_out(State(panel): State<Arc<Panel>>, visitor: Visitor) -> Answer {
    panel.service().log_out(&visitor.session).await?;
    let cookie = format!("{COOKIE}=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Strict");
    with_cookie(Redirect::to(&Done::LoggedOut.at("/login")).into_response(), &cookie)
}

fn with_cookie(mut response: Response, cookie: &str) -> Answer {
    let mut value = HeaderValue::from_str(cookie).map_err(|_| ApiError::unavailable())?;
    value.set_sensitive(true);
    response.headers_mut().insert(header::SET_COOKIE, value);
    Ok(response)
}

/// A path of the panel, and the first page in the place of anything else.
fn local(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.~%?=&+".contains(&byte);
    let is_local = path.starts_with('/') && !path.starts_with("//") && path.bytes().all(plain);
    if is_local { path.to_owned() } else { "/".to_owned() }
}

fn shown(panel: &Panel, status: StatusCode, next: &str, message: &Markup) -> Response {
    let content = html! {
        div.narrow {
            h1 { "Log in" }
            (message)
            form.stack method="post" action="/login" {
                input type="hidden" name="next" value=(next);
                // Password managers look for a name.
                input type="text" name="username" autocomplete="username" value="token" hidden;
                label for="token" { "Token" }
                input id="token" name="token" type="password" autocomplete="current-password"
                    spellcheck="false" required autofocus;
                p.hint {
                    "The pages do what the token may. "
                    code { "dbfw-server token add" } " makes one."
                }
                button type="submit" { "Log in" }
            }
        }
    };
    frame::plain(panel, status, "Log in", content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_path_of_the_panel_is_gone_to() {
        for path in ["/", "/databases/orders?q=10.0", "/tokens"] {
            assert_eq!(local(path), path);
        }
        for other in
            ["", "//evil.example", "https://evil.example", "/\\evil.example", "/a\nb", "x", "/:x"]
        {
            assert_eq!(local(other), "/", "{other}");
        }
    }
}
