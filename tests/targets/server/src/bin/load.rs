//! A bounded load on `server`: each connection sends its share of RATE requests a second, one after the other.
//!
//! load ADDRESS [CONNECTIONS [SECONDS [RATE [MIX]]]]; MIX `plain`: without the reports.  Prints a line of totals; exit code 1 when a request failed.

use std::io;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{interval, MissedTickBehavior};

/// Of a hundred requests: one report, nine that write, the others read.
fn request(connection: u32, number: u64, is_plain: bool) -> String {
    let key = (number * 7 + u64::from(connection)) % 101;
    match number % 100 {
        50 if !is_plain => String::from("GET /report HTTP/1.1\r\n\r\n"),
        0..=8 => format!("PUT /items/{key} HTTP/1.1\r\ncontent-length: 5\r\n\r\nvalue"),
        _ => format!("GET /items/{key} HTTP/1.1\r\n\r\n"),
    }
}

async fn exchange(stream: &mut BufReader<TcpStream>, request: &str) -> io::Result<()> {
    stream.write_all(request.as_bytes()).await?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.trim_end().parse().map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        }
        if line == "\r\n" {
            break;
        }
    }
    stream.read_exact(&mut vec![0; length]).await?;
    Ok(())
}

/// Returns the latency of each request in microseconds.
async fn drive(
    address: String,
    connection: u32,
    pause: Duration,
    deadline: Instant,
    is_plain: bool,
) -> io::Result<Vec<u64>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    let mut ticks = interval(pause);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut latencies = Vec::new();
    while Instant::now() < deadline {
        ticks.tick().await;
        let begin = Instant::now();
        // Connections start at different places of the mix.
        let number = latencies.len() as u64 + 13 * u64::from(connection);
        exchange(&mut stream, &request(connection, number, is_plain)).await?;
        latencies.push(begin.elapsed().as_micros() as u64);
    }
    Ok(latencies)
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |index: usize, otherwise: f64| arguments.get(index).map_or(otherwise, |text| text.parse().unwrap());
    let address = arguments.get(1).expect("load ADDRESS [CONNECTIONS [SECONDS [RATE [MIX]]]]");
    let is_plain = arguments.get(5).is_some_and(|mix| mix == "plain");
    let connections = number(2, 8.0) as u32;
    let seconds = number(3, 5.0);
    let pause = Duration::from_secs_f64(f64::from(connections) / number(4, 400.0));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let deadline = Instant::now() + Duration::from_secs_f64(seconds);
    let results = runtime.block_on(async {
        let mut set = JoinSet::new();
        for connection in 0..connections {
            set.spawn(drive(address.clone(), connection, pause, deadline, is_plain));
        }
        set.join_all().await
    });
    let failed = results.iter().filter(|result| result.is_err()).count();
    let mut latencies: Vec<u64> = results.into_iter().flatten().flatten().collect();
    latencies.sort_unstable();
    let part = |share: f64| latencies.get((latencies.len() as f64 * share) as usize).copied().unwrap_or(0);
    println!(
        "{{\"requests\": {}, \"failed_connections\": {failed}, \"p50_us\": {}, \"p99_us\": {}}}",
        latencies.len(),
        part(0.5),
        part(0.99)
    );
    ExitCode::from(u8::from(failed > 0))
}
