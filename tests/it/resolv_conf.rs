//! `dns:` sources ask the servers that the C library asks: each form of a line of resolv.conf,
//! read by both.

use std::{
    fs,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6},
    os::raw::{c_int, c_uint, c_ulong, c_void},
    thread,
};

use dbfw_provider::dns::nameservers;
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

const MAXNS: usize = 3;

/// `struct __res_state` of glibc (bits/types/res_state.h), 64 bits.
#[repr(C)]
struct ResState {
    retrans: c_int,
    retry: c_int,
    options: c_ulong,
    nscount: c_int,
    nsaddr_list: [libc::sockaddr_in; MAXNS],
    id: u16,
    dnsrch: [*mut c_void; 7],
    defdname: [u8; 256],
    pfcode: c_ulong,
    bits: c_uint,
    sort_list: [[u32; 2]; 10],
    unused: [*mut c_void; 2],
    res_h_errno: c_int,
    vcsock: c_int,
    flags: c_uint,
    ext: Ext,
    // A later version may have more.
    spare: [u64; 64],
}

#[repr(C)]
struct Ext {
    nscount: u16,
    nsmap: [u16; MAXNS],
    nssocks: [c_int; MAXNS],
    nscount6: u16,
    nsinit: u16,
    nsaddrs: [*mut libc::sockaddr_in6; MAXNS],
    reserved: [c_uint; 2],
}

#[link(name = "resolv")]
unsafe extern "C" {
    fn __res_ninit(state: *mut ResState) -> c_int;
    fn __res_nclose(state: *mut ResState);
}

/// The servers that the C library reads of the resolv.conf of this thread's mount namespace.
fn of_libc() -> Vec<SocketAddr> {
    // SAFETY: all zero is what res_ninit(3) asks for, and a valid value of every field.
    let mut state: ResState = unsafe { std::mem::zeroed() };
    // SAFETY: the state is as large as glibc's own, and larger.
    let failed = unsafe { __res_ninit(&raw mut state) };
    assert_eq!(failed, 0, "res_ninit");
    let count = usize::try_from(state.nscount).expect("a count");
    assert!(count <= MAXNS, "{count} servers: the structure is another one");
    let servers = (0..count).map(|at| {
        let v4 = state.nsaddr_list[at];
        if v4.sin_family == libc::AF_INET as u16 {
            let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            return SocketAddr::from((ip, u16::from_be(v4.sin_port)));
        }
        assert!(!state.ext.nsaddrs[at].is_null(), "server {at} is of no family");
        // SAFETY: it is not null, so glibc allocated it, and the state was not closed.
        let v6 = unsafe { *state.ext.nsaddrs[at] };
        let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
        SocketAddrV6::new(ip, u16::from_be(v6.sin6_port), 0, v6.sin6_scope_id).into()
    });
    let servers = servers.collect();
    // SAFETY: it was opened above and is not used again.
    unsafe { __res_nclose(&raw mut state) };
    servers
}

/// Runs `work` with a way to replace /etc/resolv.conf for this thread alone.
fn with_resolv_conf(work: impl FnOnce(&dyn Fn(&[u8])) + Send) {
    thread::scope(|scope| {
        let worker = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace");
            let nothing: Option<&str> = None;
            let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
            mount(nothing, "/", nothing, private, nothing).expect("private mounts");
            let directory = tempfile::tempdir().expect("a directory");
            let file = directory.path().join("resolv.conf");
            fs::write(&file, "").expect("a file");
            let target = fs::canonicalize("/etc/resolv.conf").expect("/etc/resolv.conf is there");
            mount(Some(&file), &target, nothing, MsFlags::MS_BIND, nothing).expect("a bind mount");
            work(&|text| fs::write(&file, text).expect("write resolv.conf"));
        });
        worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

#[test]
fn every_form_of_a_nameserver_line_is_read_as_libc_reads_it() {
    let values = [
        "192.0.2.1",
        "192.0.2.1 ",
        "192.0.2.1\t# x",
        "192.0.2.1#x",
        "192.0.2.1;x",
        "192.0.2.1\r",
        "192.0.2.1\u{b}x",
        "192.0.2.1\u{c}x",
        "192.0.2.1 192.0.2.2",
        "192.0.2.1,192.0.2.2",
        "127.1",
        "127.0.1",
        "127.65535",
        "127.16777216",
        "1.2.65536",
        "2130706433",
        "4294967295",
        "4294967296",
        "99999999999999999999999",
        "0x7f000001",
        "0X7F.1",
        "0x",
        "0xg",
        "0177.0.0.1",
        "08",
        "010.1",
        "0",
        "00",
        "1.",
        "1.2.",
        "1.2.3.",
        "1.2.3.4.",
        "1.2.3.4.5",
        ".1",
        "1..2",
        "256.1",
        "1.2.3.256",
        "255.255.255.255",
        "0.0.0.0",
        "+1",
        "-1",
        "1e3",
        "",
        "2001:db8::1",
        "2001:db8::1 # x",
        "2001:db8::1#x",
        "2001:db8::1\r",
        "2001:DB8::1",
        "::",
        "::1",
        "::ffff:192.0.2.1",
        "::192.0.2.1",
        "::1.2.3",
        "2001:db8:::1",
        "[2001:db8::1]",
        "1:2:3:4:5:6:7:8:9",
        "12345::",
        "::01.2.3.4",
        "fe80::1",
        "fe80::1%lo",
        "fe80::1%1",
        "fe80::1%999",
        "fe80::1%4294967295",
        "fe80::1%4294967296",
        "fe80::1%no-such",
        "fe80::1%",
        "fe80::1%lo x",
        "fe80::1%%lo",
        "fe80::1%+1",
        "fe80::1%1x",
        "%lo",
        "2001:db8::1%lo",
        "2001:db8::1%7",
        "ff02::1%lo",
        "ff01::1%lo",
        "ff12::1%lo",
        "ff05::1%lo",
        "192.0.2.1%lo",
        "localhost",
        "dns.example",
        "192.0.2.1:53",
        "\u{fc}",
    ];
    let mut texts: Vec<Vec<u8>> = Vec::new();
    for value in values {
        for line in ["nameserver ", "nameserver\t", "nameserver  \t ", " nameserver ", "nameserver"]
        {
            texts.push(format!("{line}{value}\n").into_bytes());
        }
    }
    for text in [
        "",
        "\n\n",
        "search a.example\n",
        "NAMESERVER 192.0.2.1\n",
        "nameservers 192.0.2.1\n",
        "#nameserver 192.0.2.1\n",
        ";nameserver 192.0.2.1\n",
        "# x\nnameserver 192.0.2.1",
        "nameserver 192.0.2.1\r\nnameserver 2001:db8::1\r\nnameserver 192.0.2.3\r\n",
        "nameserver 192.0.2.1\rnameserver 192.0.2.2\n",
        "nameserver\u{b}192.0.2.1\n",
        "\u{feff}nameserver 192.0.2.1\nnameserver 192.0.2.2\n",
        "nameserver 192.0.2.1\nnameserver x\nnameserver 2001:db8::2\nnameserver 192.0.2.3\n\
         nameserver 192.0.2.4\n",
        "nameserver 2001:db8::1\nnameserver fe80::1%lo\nnameserver ::3\nnameserver ::4\n",
        "nameserver 192.0.2.1\nnameserver 192.0.2.1\n",
        "options inet6 rotate\nsortlist 192.0.2.0\nnameserver 192.0.2.1\ndomain x\n",
        "nameserver 192.0.2.1\0\nnameserver 192.0.2.2\n",
        "nameserver 2001:db8::1\0x\n\0nameserver 192.0.2.2\n",
    ] {
        texts.push(text.as_bytes().to_vec());
    }
    texts.push(b"nameserver \xff\nnameserver 192.0.2.1\xff\nnameserver fe80::1%\xff\n".to_vec());
    let (mut read, mut told) = (0, Vec::new());
    with_resolv_conf(|write| {
        for text in &texts {
            write(text);
            let (ours, theirs) = (nameservers(text), of_libc());
            read += usize::from(theirs != [SocketAddr::from((Ipv4Addr::LOCALHOST, 53))]);
            if ours != theirs {
                let text = String::from_utf8_lossy(text);
                told.push(format!("{text:?}: {ours:?} here, {theirs:?} in libc"));
            }
        }
    });
    assert!(told.is_empty(), "{}", told.join("\n"));
    assert!(read > 50, "libc read {read} of the texts: it did not read this file");
}
