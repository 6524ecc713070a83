//! How a target talks to the test that runs it.
//!
//! It prints `ready {"pid": …}` when all is set up, waits for a line on its standard input, does its work, writes
//! the log to the file named by TRUTH_LOG (when set; the lives of watched futures beside it, with the extension
//! `lives`), and prints one line of JSON with its totals.

use crate::buffer::{collect, RECORD_SIZE};
use crate::{now, Kind, Place};
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};

/// When the measured part began.
static GO: AtomicU64 = AtomicU64::new(0);

/// Says that the target is set up.  `details`: more members for the JSON object, each with a comma before it, or "".
pub fn ready(details: &str) {
    let mut out = std::io::stdout();
    writeln!(out, "ready {{\"pid\": {}{details}}}", std::process::id()).unwrap();
    out.flush().unwrap();
}

/// Says `ready` and waits for a line, unless TRUTH_NO_WAIT is set.  The end of the input means that the test is gone.
pub fn wait_for_go() {
    ready("");
    if std::env::var_os("TRUTH_NO_WAIT").is_none() {
        let mut line = String::new();
        if std::io::stdin().read_line(&mut line).unwrap() == 0 {
            std::process::exit(3);
        }
    }
    GO.store(now(), Ordering::Relaxed);
}

/// Writes the log and prints the totals.
///
/// `polls`: for functions whose number of polls is known by construction, that number; several entries of one name
/// are added up.  `checksum`: something that goes wrong when the work went wrong.
pub fn finish(places: &[Place], polls: &[(&str, u64)], checksum: u64) {
    let end = now();
    let begin = GO.load(Ordering::Relaxed);
    let (bytes, dropped) = collect();
    let records = bytes.len() / RECORD_SIZE;
    if let Some(path) = std::env::var_os("TRUTH_LOG") {
        let places: Vec<String> = places.iter().map(describe).collect();
        crate::lives::write(path.as_ref());
        let mut file = std::fs::File::create(path).unwrap();
        writeln!(
            file,
            "{{\"version\": 1, \"begin\": {begin}, \"end\": {end}, \"records\": {records}, \"dropped\": {dropped}, \"places\": [{}]}}",
            places.join(", ")
        )
        .unwrap();
        file.write_all(&bytes).unwrap();
    }
    let mut sums = BTreeMap::new();
    for (name, count) in polls {
        *sums.entry(name).or_insert(0) += count;
    }
    let sums: Vec<String> = sums.iter().map(|(name, count)| format!("\"{name}\": {count}")).collect();
    println!(
        "{{\"begin\": {begin}, \"end\": {end}, \"records\": {records}, \"dropped\": {dropped}, \"checksum\": {checksum}, \"polls\": {{{}}}}}",
        sums.join(", ")
    );
}

fn describe(place: &Place) -> String {
    let kind = match place.kind {
        Kind::Poll => "poll",
        Kind::Resume => "resume",
        Kind::Part => "part",
    };
    let chain: Vec<String> = place.chain.iter().map(|name| format!("\"{name}\"")).collect();
    format!("{{\"kind\": \"{kind}\", \"chain\": [{}]}}", chain.join(", "))
}
