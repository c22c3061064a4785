//! Bad `[digitalocean]` and `[aptible]`.

use super::{Dir, SHORT, check, check_table};

/// Keys of `[digitalocean]`, and their problems.
const DIGITALOCEAN: &[(&str, &[&str])] = &[
    (
        r#"token_file = "dop_v1_S3CRET""#,
        &[
            r#"token_file: is not an absolute path: name a file that holds the token, as in "/etc/dbfw/do-token""#,
        ],
    ),
    (
        r#"token_file = "/dop_v1_S3CRET\u0000""#,
        &[
            r#"token_file: is not an absolute path: name a file that holds the token, as in "/etc/dbfw/do-token""#,
        ],
    ),
    (
        "token_file = 7",
        &[r#"token_file: must be a string, not an integer: write "/etc/dbfw/do-token""#],
    ),
    (
        r#"token = "dop_v1_S3CRET""#,
        &[
            r#"token: a token does not belong in the configuration: write it to a file with mode 0600 and add token_file = "/etc/dbfw/do-token"; make a new token if others could read this file"#,
        ],
    ),
    (
        r#"token = { S3CRET = "S3CRET" }"#,
        &[
            r#"token: a token does not belong in the configuration: write it to a file with mode 0600 and add token_file = "/etc/dbfw/do-token"; make a new token if others could read this file"#,
        ],
    ),
    (r#"token_fil = "/a""#, &[r#"token_fil: unknown key: did you mean "token_file"?"#]),
    (
        r#"api_url = "api.digitalocean.com""#,
        &[
            r#"api_url: is not a URL (relative URL without a base): write "https://api.digitalocean.com""#,
        ],
    ),
    (
        r#"api_url = "https://x:S3CRET@api.digitalocean.com:99999""#,
        &[r#"api_url: is not a URL (invalid port number): write "https://api.digitalocean.com""#],
    ),
    (
        r#"api_url = "ftp://api.digitalocean.com""#,
        &[
            r#"api_url: begins neither with https:// nor with http://: write "https://api.digitalocean.com""#,
        ],
    ),
    (
        r#"api_url = "https://dop_v1_S3CRET@api.digitalocean.com""#,
        &[r#"api_url: has a user name or a password in it: write "https://api.digitalocean.com""#],
    ),
    (
        r#"api_url = "https://:S3CRET@api.digitalocean.com""#,
        &[r#"api_url: has a user name or a password in it: write "https://api.digitalocean.com""#],
    ),
    (
        r#"api_url = "https://api.digitalocean.com/v2""#,
        &[r#"api_url: has text behind the host: write "https://api.digitalocean.com""#],
    ),
    (
        r#"api_url = "https://api.digitalocean.com/?token=S3CRET""#,
        &[r#"api_url: has text behind the host: write "https://api.digitalocean.com""#],
    ),
    (
        r##"api_url = "https://api.digitalocean.com#a""##,
        &[r#"api_url: has text behind the host: write "https://api.digitalocean.com""#],
    ),
    (
        "api_url = true",
        &[r#"api_url: must be a string, not a boolean: write "https://api.digitalocean.com""#],
    ),
    (
        r#"api_url = "http://api.internal""#,
        &[
            r#"api_url: the token would be sent to api.internal without TLS: begin it with https://, or add allow_http = ["api.internal"]"#,
        ],
    ),
    (
        r#"api_url = "http://localhost.example""#,
        &[
            r#"api_url: the token would be sent to localhost.example without TLS: begin it with https://, or add allow_http = ["localhost.example"]"#,
        ],
    ),
    (
        r#"api_url = "http://[2001:db8::1]:8080""#,
        &[
            r#"api_url: the token would be sent to [2001:db8::1] without TLS: begin it with https://, or add allow_http = ["[2001:db8::1]"]"#,
        ],
    ),
    ("poll = 15", &[r#"poll: must be a string, not an integer: use "100ms" to "1h""#]),
    (r#"poll = "15""#, &[r#"poll: "15" is not a length of time: write it like 15s, 2h or 1d12h"#]),
    (r#"poll = "99ms""#, &[r#"poll: "99ms" is not a possible interval: use "100ms" to "1h""#]),
    (r#"poll = "61m""#, &[r#"poll: "61m" is not a possible interval: use "100ms" to "1h""#]),
    (r#"timeout = "0s""#, &[r#"timeout: "0s" is not a possible timeout: use "100ms" to "5m""#]),
    (r#"timeout = "301s""#, &[r#"timeout: "301s" is not a possible timeout: use "100ms" to "5m""#]),
    (
        r#"ca_file = "ca.pem""#,
        &[
            r#"ca_file: "ca.pem" is not an absolute path: begin it with "/", as in "/etc/dbfw/ca.pem""#,
        ],
    ),
    ("ca_file = []", &[r#"ca_file: must be a string, not an array: write "/etc/dbfw/ca.pem""#]),
    (
        r#"allow_http = "api.internal""#,
        &[r#"allow_http: must be an array, not a string: write ["api.internal"]"#],
    ),
    (
        r#"allow_http = ["http://a.example", "a.example:80", "*.example", "", 7]"#,
        &[
            r#"allow_http[0]: "http://a.example" is not a host name: write only the name, as in "api.internal""#,
            r#"allow_http[1]: "a.example:80" is not a host name: write only the name, as in "api.internal""#,
            r#"allow_http[2]: "*.example" is not a host name: write only the name, as in "api.internal""#,
            r#"allow_http[3]: "" is not a host name: write only the name, as in "api.internal""#,
            r#"allow_http[4]: must be a string, not an integer: write ["api.internal"]"#,
        ],
    ),
    (
        r#"addresses = "public""#,
        &[r#"addresses: must be an array, not a string: write ["private", "public", "v6"]"#],
    ),
    (
        "addresses = []",
        &[r#"addresses: lists no kind of address: write ["private", "public", "v6"]"#],
    ),
    (
        r#"addresses = ["public", "public", "v4", 6]"#,
        &[
            "addresses[1]: is listed twice: remove one",
            r#"addresses[2]: "v4" is not a kind of address: use "private", "public" or "v6""#,
            r#"addresses[3]: must be a string, not an integer: use "private", "public" or "v6""#,
        ],
    ),
    (
        r#"pod_subnets = "yes""#,
        &["pod_subnets: must be true or false, not a string: write true or false without quotes"],
    ),
    ("requests_per_hour = 0", &["requests_per_hour: 0 is not a possible number: use 1 to 1000000"]),
    (
        "requests_per_hour = 1000001",
        &["requests_per_hour: 1000001 is not a possible number: use 1 to 1000000"],
    ),
    (
        "requests_per_minute = 100001",
        &["requests_per_minute: 100001 is not a possible number: use 1 to 100000"],
    ),
    (
        "requests_per_minute = 2.5",
        &["requests_per_minute: must be an integer, not a float: use 1 to 100000"],
    ),
    ("adresses = []", &[r#"adresses: unknown key: did you mean "addresses"?"#]),
    (
        "region = 1",
        &[
            "region: unknown key: remove it (known here: token_file, api_url, poll, timeout, ca_file, allow_http, addresses, pod_subnets, requests_per_hour, requests_per_minute)",
        ],
    ),
];

/// Keys of `[aptible]`, and their problems. What it has in common with `[digitalocean]`
/// is read by the same code.
const APTIBLE: &[(&str, &[&str])] = &[
    (
        r#"token = "S3CRET""#,
        &[
            r#"token: a token does not belong in the configuration: write it to a file with mode 0600 and add token_file = "/etc/dbfw/aptible-token"; make a new token if others could read this file"#,
        ],
    ),
    (
        r#"token_file = "S3CRET""#,
        &[
            r#"token_file: is not an absolute path: name a file that holds the token, as in "/etc/dbfw/aptible-token""#,
        ],
    ),
    (
        r#"api_url = "https://api.aptible.com/vhosts""#,
        &[r#"api_url: has text behind the host: write "https://api.aptible.com""#],
    ),
    (
        "addresses = []",
        &[
            "addresses: unknown key: remove it (known here: token_file, api_url, poll, timeout, ca_file, allow_http)",
        ],
    ),
];

#[test]
fn bad_digitalocean() {
    for (text, expected) in DIGITALOCEAN {
        check_table("digitalocean", text, expected);
    }
}

#[test]
fn bad_aptible() {
    for (text, expected) in APTIBLE {
        check_table("aptible", text, expected);
    }
}

#[test]
fn no_secret_is_shown() {
    for (text, expected) in DIGITALOCEAN.iter().chain(APTIBLE) {
        assert!(!expected.concat().contains("S3CRET"), "{text}");
    }
    // What the TOML parser says of a broken line is not the line.
    for line in ["token = dop_v1_S3CRET", "token = \"S3CRET", "token_file = '/S3CRET", "S3CRET"] {
        let problems = Dir::new(format!("[digitalocean]\n{line}\n")).load().unwrap_err();
        assert!(!problems.concat().contains("S3CRET"), "{problems:?}");
    }
}

/// Whether a URL may be asked without TLS is decided over all files.
#[test]
fn allow_http_of_a_later_file_counts() {
    let dir = Dir::new(format!("{SHORT}[digitalocean]\napi_url = \"http://API.internal\"\n"));
    assert_eq!(dir.load().unwrap_err().len(), 1);
    dir.write("conf.d/1.toml", "[digitalocean]\nallow_http = [\"api.Internal\"]\n");
    assert_eq!(
        dir.warnings(),
        ["@/dbfw.toml:6: digitalocean.api_url: anyone between this host and the server can read \
             the token: use https, with ca_file if it has a certificate of your own"]
    );
    dir.write("conf.d/2.toml", "[digitalocean]\nallow_http = []\n");
    assert_eq!(dir.load().unwrap_err().len(), 1);
}

#[test]
fn the_tables_must_be_tables() {
    let text = "digitalocean = true\naptible = \"a\"\nfeeds = []\ndns = 53\n";
    check(
        &format!("{text}{SHORT}"),
        "@/dbfw.toml:",
        &[
            "1: digitalocean: must be a table, not a boolean: begin it with [digitalocean]",
            "2: aptible: must be a table, not a string: begin it with [aptible]",
            "3: feeds: must be a table, not an array: begin it with [feeds]",
            "4: dns: must be a table, not an integer: begin it with [dns]",
        ],
    );
}
