//! Goes on working, whatever is done to it, and knows at any moment how much it has done, and whether rightly.
//!
//! endure [plain|churn|panics] [filtered] [apart]: its work is chunks, all alike; whatever order its threads run in, each
//! gives the same number and polls each function equally often.  churn: each on new threads, with a runtime each.
//! panics: with a task for each turn that panics.  filtered: a seccomp filter kills it at any system call that is
//! none of its own.  apart: not on its main thread.
//!
//! Lines of its input: `on` and `off`: chunks, one after the other, until told otherwise.  A number: so many chunks.
//! `tell`: nothing.  `load FILE N`: a shared library's futures, N times.  `fork`: a child that works until `reap`.
//! `leave`: apart, the main thread ends, and no other.  `exec PROGRAM ...`, `exit`, `abort`: its end.  Each but the last
//! three is answered by a line of JSON: see `Done`.

mod ends;
mod work;

use std::io::{BufRead, Write};
use std::sync::mpsc::{channel, Receiver, Sender, TryRecvError};
use std::time::Duration;
use truth::now;
use work::{Kind, Work};

/// What was done since the last answer, and in all.
#[derive(Default)]
struct Done {
    /// In all.
    chunks: u64,
    /// Of those, how many gave another number than the first.
    wrong: u64,
    /// What the first gave.
    checksum: u64,
    /// Of what a library gave, in all.
    loaded: u64,
    /// The child that works, or 0.
    child: i32,
    /// Since the last answer: when each began and ended, ns of CLOCK_MONOTONIC.
    times: Vec<(u64, u64)>,
}

impl Done {
    fn chunk(&mut self, work: &mut Work) {
        let begin = now();
        let checksum = work.chunk();
        self.times.push((begin, now()));
        if self.chunks == 0 {
            self.checksum = checksum;
        }
        self.wrong += u64::from(checksum != self.checksum);
        self.chunks += 1;
    }

    fn tell(&mut self, kind: Kind) {
        let polls: Vec<String> = work::polls(kind).iter().map(|(name, count)| format!("\"{name}\": {count}")).collect();
        let times: Vec<String> = self.times.drain(..).map(|(begin, end)| format!("[{begin}, {end}]")).collect();
        let mut out = std::io::stdout().lock();
        writeln!(
            out,
            "{{\"chunks\": {}, \"wrong\": {}, \"checksum\": {}, \"loaded\": {}, \"child\": {}, \"chunk\": {{{}}}, \"times\": [{}]}}",
            self.chunks,
            self.wrong,
            self.checksum,
            self.loaded,
            self.child,
            polls.join(", "),
            times.join(", ")
        )
        .unwrap();
        out.flush().unwrap();
    }
}

fn lines() -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            if sender.send(line.unwrap()).is_err() {
                return;
            }
        }
    });
    receiver
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let kind = match arguments.first().map_or("plain", String::as_str) {
        "plain" => Kind::Plain,
        "churn" => Kind::Churn,
        "panics" => Kind::Panics,
        other => panic!("no work called {other}"),
    };
    if arguments.iter().any(|argument| argument == "filtered") {
        ends::filter_system_calls();
    }
    std::panic::set_hook(Box::new(|_| {}));
    let (leave, left) = channel();
    if !arguments.iter().any(|argument| argument == "apart") {
        return serve(kind, &leave);
    }
    std::thread::spawn(move || serve(kind, &leave));
    if left.recv().is_ok() {
        ends::end_this_thread();
    }
}

/// Until there are no more lines.
fn serve(kind: Kind, leave: &Sender<()>) {
    let mut work = Work::new(kind);
    let mut done = Done::default();
    let lines = lines();
    truth::ready("");
    let mut goes_on = false;
    loop {
        let line = if goes_on {
            match lines.try_recv() {
                Ok(line) => line,
                Err(TryRecvError::Disconnected) => return,
                Err(TryRecvError::Empty) => {
                    done.chunk(&mut work);
                    std::thread::sleep(Duration::from_millis(8));
                    continue;
                }
            }
        } else {
            match lines.recv() {
                Ok(line) => line,
                Err(_) => return,
            }
        };
        let words: Vec<&str> = line.split(' ').collect();
        match words[0] {
            "on" => goes_on = true,
            "off" => goes_on = false,
            "tell" => {}
            "load" => done.loaded += ends::load(words[1], words[2].parse().unwrap()),
            "fork" => done.child = ends::fork(kind, done.checksum),
            "reap" => {
                done.wrong += u64::from(!ends::reap(done.child));
                done.child = 0;
            }
            "leave" => leave.send(()).unwrap(),
            "exec" => ends::exec(&words[1..]),
            "exit" => std::process::exit(7),
            "abort" => std::process::abort(),
            number => (0..number.parse::<u64>().unwrap()).for_each(|_| done.chunk(&mut work)),
        }
        done.tell(kind);
    }
}
