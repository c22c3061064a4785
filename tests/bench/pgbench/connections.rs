//! New connections a second: what the socket lookup sees. Client and server take turns on
//! one CPU, so that the rate is what a connection costs and not how threads are woken.

use std::{
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use dbfw_common::Family;
use nix::sys::socket::{Backlog, listen, setsockopt, sockopt};

use super::{Filter, Outcome, ROUNDS, counted};
use crate::{
    PORT,
    line::{Line, flood_cpu, pin},
    sets::Set,
};

/// A server that accepts and closes, for each filter, and one client in turn.
pub(super) fn run(filters: &[Filter], set: &Set, seconds: f64, quick: bool) -> Outcome {
    let lines = filters.iter().map(|_| Line::new(Family::V4)).collect::<Result<Vec<_>, _>>()?;
    let standing = lines
        .iter()
        .zip(filters)
        .map(|(line, filter)| filter.start(line, set))
        .collect::<Result<Vec<_>, _>>()?;
    let mut figures = vec![Vec::new(); filters.len()];
    for round in 0..ROUNDS[usize::from(quick)] {
        for turn in 0..filters.len() {
            let at = (turn + round) % filters.len();
            let line = &lines[at];
            let rate = counted(line, &standing[at], || {
                connect(line, Duration::from_secs_f64(seconds)).map_err(|error| error.to_string())
            })?;
            figures[at].push(rate);
        }
    }
    Ok(figures)
}

fn connect(line: &Line, time: Duration) -> io::Result<f64> {
    let server: SocketAddr =
        SocketAddr::new(line.server().parse().map_err(io::Error::other)?, PORT);
    let listener = line.sut.run(|| TcpListener::bind(server))?;
    // The client makes many before the server's turn comes; one too many waits for a second.
    listen(&listener, Backlog::MAXCONN)?;
    thread::scope(|scope| {
        // Ends with the connection that carries a byte.
        let acceptor = scope.spawn(move || -> io::Result<()> {
            pin(flood_cpu())?;
            loop {
                let (mut stream, _) = listener.accept()?;
                if matches!(io::Read::read(&mut stream, &mut [0]), Ok(1)) {
                    return Ok(());
                }
            }
        });
        let rate = line.outside.run(|| -> io::Result<f64> {
            pin(flood_cpu())?;
            let reset = libc::linger { l_onoff: 1, l_linger: 0 };
            let began = Instant::now();
            let mut made = 0u32;
            while began.elapsed() < time {
                let stream = TcpStream::connect(server)?;
                // Closed by a reset: ports in TIME_WAIT would run out.
                setsockopt(&stream, sockopt::Linger, &reset)?;
                made += 1;
            }
            let rate = f64::from(made) / began.elapsed().as_secs_f64();
            let mut last = TcpStream::connect(server)?;
            io::Write::write_all(&mut last, &[1])?;
            Ok(rate)
        })?;
        acceptor.join().map_err(|_| io::Error::other("the server failed"))??;
        Ok(rate)
    })
}
