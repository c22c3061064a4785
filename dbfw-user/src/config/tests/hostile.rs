//! Whatever is in the file, the answer is a configuration or problems.

use dbfw_provider::fs::read_file;

use super::{Dir, good::FULL};

/// xorshift64: the same bytes in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
    }
}

fn survives(content: &[u8]) {
    let dir = Dir::new(content);
    if let Err(problems) = dir.load() {
        assert!(!problems.is_empty());
        for problem in problems {
            assert!(problem.starts_with("@/dbfw.toml"), "{problem:?}");
        }
    }
    dir.agent();
}

#[test]
fn truncated_at_every_byte() {
    for end in 0..=FULL.len() {
        survives(&FULL.as_bytes()[..end]);
    }
}

#[test]
fn mutated() {
    // What the grammar gives a meaning, and what it has no place for.
    const PIECES: [&[u8]; 20] = [
        b"\"",
        b"'",
        b"[",
        b"]",
        b"[[",
        b"{",
        b"}",
        b"=",
        b",",
        b".",
        b"\n",
        b"\r",
        b"\"\"\"",
        b"#",
        b"\0",
        b"\xff",
        b"\\u0000",
        b"9223372036854775808",
        b"-",
        b"\xc3\xbc",
    ];
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..2000 {
        let mut content = FULL.as_bytes().to_vec();
        for _ in 0..=random.below(4) {
            let at = random.below(content.len());
            match random.below(4) {
                0 => content[at] = u8::try_from(random.below(256)).unwrap(),
                1 => {
                    content.remove(at);
                }
                2 => {
                    let end = (at + random.below(40)).min(content.len());
                    content.drain(at..end);
                }
                _ => {
                    let piece = PIECES[random.below(PIECES.len())];
                    content.splice(at..at, piece.iter().copied());
                }
            }
        }
        survives(&content);
    }
}

#[test]
fn deeply_nested_or_long() {
    survives(format!("a = {}", "[".repeat(100_000)).as_bytes());
    survives(format!("a = {}", "{a=".repeat(100_000)).as_bytes());
    survives(format!("[{}]", "a.".repeat(100_000)).as_bytes());
    survives(format!("{}=1", "a.".repeat(10_000)).as_bytes());
    survives(format!("{} = 1", "a".repeat(1 << 20)).as_bytes());
    survives(format!("agent.attach = \"{}\"", "a".repeat(1 << 20)).as_bytes());
    survives(format!("agent.events_per_second = {}", "9".repeat(1 << 20)).as_bytes());
}

#[test]
fn messages_stay_short_and_on_one_line() {
    let long = "a\\n".repeat(1 << 16);
    let dir = Dir::new(format!(
        "\"{long}\" = 1\nagent = {{ attach = \"{long}\", state_dir = \"{long}\", \
         metrics_listen = \"{long}\", interfaces = \"{long}\", \
         events_per_second = {} }}\n[[database]]\nname = \"{long}\"\nports = [\"{long}\"]\n\
         max_shrink = \"{long}\"\nprovider.kind = \"{long}\"\n\
         trusted_sources = [\"{long}\", \"tag:{}\", {{ type = \"{long}\", value = \"{long}\", \
         description = \"{long}\", expires_at = \"{long}\" }}, \"feed:{long}\", \
         \"dns:{long}\"]\n[digitalocean]\ntoken_file = \"{long}\"\ntoken = \"{long}\"\n\
         api_url = \"{long}\"\npoll = \"{long}\"\ntimeout = \"{long}\"\nca_file = \"{long}\"\n\
         allow_http = [\"{long}\"]\naddresses = [\"{long}\"]\n[dns]\nservers = [\"{long}\"]\n",
        "9".repeat(1 << 16),
        "x".repeat(1 << 16),
    ));
    let problems = dir.load().unwrap_err();
    assert_eq!(problems.len(), 26, "{problems:#?}");
    for problem in problems {
        assert!(problem.starts_with("@/dbfw.toml:"), "{problem}");
        assert!(problem.len() < 500, "{problem}");
    }
}

#[test]
fn a_flood_of_problems_is_cut() {
    let keys: String = (0..5000).map(|i| format!("unknown_{i} = 1\n")).collect();
    let problems = Dir::new(keys).load().unwrap_err();
    assert_eq!(problems.len(), 1001);
    assert_eq!(problems[1000], "@/dbfw.toml: 4000 more problems: fix these first");
}

#[test]
fn a_file_has_a_limit() {
    let dir = Dir::new("x".repeat(11));
    let path = dir.path("dbfw.toml");
    assert!(read_file(&path, 11).is_ok());
    assert_eq!(read_file(&path, 10).unwrap_err().to_string(), "is larger than 10 bytes");
    let large = std::fs::File::options().write(true).open(&path).unwrap();
    large.set_len((16 << 20) + 1).unwrap();
    assert_eq!(
        dir.load().unwrap_err(),
        ["@/dbfw.toml: is larger than 16777216 bytes: move long lists of sources to a file of \
          their own (provider)"]
    );
}
