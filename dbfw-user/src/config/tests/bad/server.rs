//! Bad `[server]`.

use super::{check, check_table};

/// Keys, and their problems.
const SERVER: &[(&str, &[&str])] = &[
    (
        r#"urls = "https://ctl.example.com:7443""#,
        &[r#"urls: must be an array, not a string: write ["https://ctl.example.com:7443"]"#],
    ),
    (r#"urls = []"#, &[r#"urls: lists no server: write ["https://ctl.example.com:7443"]"#]),
    (
        r#"urls = ["http://ctl.example.com"]"#,
        &[
            r#"urls[0]: would send the host's token without TLS: begin it with https://: write "https://ctl.example.com:7443""#,
        ],
    ),
    (
        r#"urls = ["ftp://ctl.example.com", "https://x:S3CRET@ctl.example.com", "https://ctl.example.com/panel"]"#,
        &[
            r#"urls[0]: does not begin with https://: write "https://ctl.example.com:7443""#,
            r#"urls[1]: has a user name or a password in it: write "https://ctl.example.com:7443""#,
            r#"urls[2]: has text behind the host: write "https://ctl.example.com:7443""#,
        ],
    ),
    (
        r#"token = "dbfwh_S3CRET""#,
        &[
            r#"token: a token does not belong in the configuration: write it to a file with mode 0600 and add token_file = "/etc/dbfw/host-token"; join the host again if others could read this file"#,
        ],
    ),
    (
        r#"token_file = "host-token""#,
        &[
            r#"token_file: is not an absolute path: name a file that holds the token, as in "/etc/dbfw/host-token""#,
        ],
    ),
    (
        r#"within = []"#,
        &[
            r#"within: lists no network: name a network, or remove it: without it the server may grant everything that min_prefix lets through"#,
        ],
    ),
    (
        r#"within = ["10.0.0.1/8"]"#,
        &[r#"within[0]: 10.0.0.1/8 has host bits set: write 10.0.0.0/8"#],
    ),
    (r#"url = "https://a""#, &[r#"url: unknown key: did you mean "urls"?"#]),
];

#[test]
fn server() {
    for (text, expected) in SERVER {
        check_table("server", text, expected);
    }
}

#[test]
fn a_server_cannot_open_a_database_by_an_empty_list() {
    let server =
        "[server]\nurls = [\"https://ctl.example.com\"]\ntoken_file = \"/etc/dbfw/host-token\"\n";
    let database = "[[database]]\nname = \"a\"\nports = [1]\n";
    let provider = "provider = { kind = \"server\", database = \"orders\" }\n";
    let empty = "on_empty = \"open\"\n";
    let problem = "on_empty: lets the server open the database to everyone, by an empty list: leave it \
                   out: an empty list of a control plane closes the database";
    for (line, keys) in [(8, [provider, empty]), (7, [empty, provider])] {
        let text = format!("{server}{database}{}", keys.concat());
        check(&text, &format!("@/dbfw.toml:{line}: database.a."), &[problem]);
    }
}
