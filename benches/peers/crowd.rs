//! Clients that join and leave. Measures how long it takes many clients to join, what an idle member costs, and how
//! many visits a server can handle.

use std::io::Write;
use std::time::{Duration, Instant};

use crate::Result;
use crate::dialect::{Dialect, MARK};
use crate::room::{Member, Room};
use crate::server::Server;
use crate::support::PATIENCE;

/// Returns how many bytes of memory the server uses for each member, and how many seconds it took until all had
/// joined.
pub fn members(server: &Server, count: usize) -> Result<[f64; 2]> {
    let before = server.memory()?;
    let begun = Instant::now();
    let mut room = Room::fill(server.kind.dialect(), server.address, count)?;
    let seconds = begun.elapsed().as_secs_f64();
    room.settle(Duration::from_millis(500))?;
    Ok([(server.memory()? - before) / count as f64, seconds])
}

/// The number of visits at the same time.
const AT_ONCE: usize = 8;

struct Visit {
    member: Member,
    has_spoken: bool,
}

impl Visit {
    fn begin(server: &Server, number: usize) -> Result<Self> {
        let hello = server.kind.dialect().hello(&format!("v{number}"));
        Ok(Self {
            member: Member::connect(server.address, &hello)?,
            has_spoken: false,
        })
    }

    /// Continues with the lines that have arrived; returns whether the visit is over.
    fn go_on(&mut self, dialect: Dialect, message: &[u8], buffer: &mut [u8]) -> Result<bool> {
        if !self.has_spoken {
            self.has_spoken = self.member.enter(dialect, buffer)?;
            if self.has_spoken {
                self.member.stream.write_all(message)?;
            }
            return Ok(false);
        }
        let mut is_over = false;
        self.member.lines(buffer, |_, line| {
            is_over |= dialect.is_answer(line);
            Ok(())
        })?;
        Ok(is_over)
    }
}

/// Measures visits per second, and per second of the server's processor time. In a visit, a client connects, takes a
/// name, sends one message, waits until it was processed, and leaves. A member that stays checks that nothing is
/// lost.
pub fn visits(server: &Server, time: Duration) -> Result<[f64; 2]> {
    let dialect = server.kind.dialect();
    let text = format!("{}{}", char::from(MARK), "x".repeat(63));
    let message = [dialect.say(&text).as_bytes(), dialect.ask().as_bytes()].concat();
    let mut room = Room::fill(dialect, server.address, 1)?;
    room.settle(server.quiet(1, time))?;
    let mut visits: Vec<Option<Visit>> = (0..AT_ONCE).map(|_| None).collect();
    let (mut begun, mut ended, mut seen) = (0, 0, 0);
    let before = server.cpu()?;
    let start = Instant::now();
    let mut seconds = 0.0;
    loop {
        let goes_on = start.elapsed() < time;
        for (number, place) in visits.iter_mut().enumerate() {
            if goes_on && place.is_none() {
                begun += 1;
                let visit = Visit::begin(server, begun)?;
                room.watch.add(&visit.member.stream, number + 1)?; // 0 is the member that stays
                *place = Some(visit);
            }
        }
        if !goes_on && ended == begun {
            if seconds == 0.0 {
                seconds = start.elapsed().as_secs_f64();
            }
            if seen >= ended {
                break;
            }
        }
        if start.elapsed() > time + PATIENCE {
            return Err(format!("{begun} visits begun, {ended} ended, {seen} seen").into());
        }
        for (number, _, _) in room.watch.wait(Duration::from_millis(100))? {
            if number == 0 {
                let stays = room.members.first_mut().ok_or("nobody stays")?;
                let read = stays.read(&mut room.buffer)?;
                seen +=
                    memchr::memchr_iter(MARK, room.buffer.get(..read).unwrap_or_default()).count();
                continue;
            }
            let place = visits.get_mut(number - 1).ok_or("no such visit")?;
            if let Some(visit) = place
                && visit.go_on(dialect, &message, &mut room.buffer)?
            {
                *place = None;
                ended += 1;
            }
        }
    }
    let cpu = server.cpu()? - before;
    Ok([ended as f64 / cpu, ended as f64 / seconds])
}
