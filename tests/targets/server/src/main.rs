//! A key-value store over HTTP, as an example of a service to look at in a trace.
//!
//! server [ADDRESS]: port 0 (the default) takes any free one.  Prints `ready {"pid": …, "port": …}`, ends at SIGINT or
//! SIGTERM with a line of totals.
//!
//! GET /items/KEY · PUT /items/KEY (with a body) · GET /report, which blocks its worker thread for 20 ms: the fault that
//! a trace should show.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{signal, SignalKind};
use tokio::sync::{mpsc, Mutex};
use tokio::time::{interval, sleep};

/// Entries that the journal writes together.
const BATCH: usize = 16;

struct Service {
    items: Mutex<HashMap<String, Vec<u8>>>,
    journal: mpsc::Sender<String>,
    requests: AtomicU64,
    reports: AtomicU64,
    journalled: AtomicU64,
}

struct Request {
    method: String,
    path: String,
    body: Vec<u8>,
}

struct Response {
    status: &'static str,
    body: Vec<u8>,
}

async fn read_request(stream: &mut BufReader<TcpStream>) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(String::from);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let length = read_headers(stream).await?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(Some(Request { method, path, body }))
}

/// Returns the length of the body.
async fn read_headers(stream: &mut BufReader<TcpStream>) -> io::Result<usize> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        match line.trim_end().split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.trim().parse().map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
            }
            Some(_) => {}
            None => return Ok(length),
        }
    }
}

async fn write_response(stream: &mut BufReader<TcpStream>, response: Response) -> io::Result<()> {
    let head = format!("HTTP/1.1 {}\r\ncontent-length: {}\r\n\r\n", response.status, response.body.len());
    stream.write_all(&[head.into_bytes(), response.body].concat()).await
}

async fn look_up(service: &Service, key: &str) -> Response {
    match service.items.lock().await.get(key) {
        Some(value) => Response { status: "200 OK", body: value.clone() },
        None => Response { status: "404 Not Found", body: Vec::new() },
    }
}

/// Holds the lock while the (pretended) disk works.
async fn store(service: &Service, key: &str, value: Vec<u8>) -> Response {
    let mut items = service.items.lock().await;
    sleep(Duration::from_millis(1)).await;
    items.insert(key.to_string(), value);
    drop(items);
    // The journal outlives the connections.
    let _ = service.journal.send(key.to_string()).await;
    Response { status: "204 No Content", body: Vec::new() }
}

/// The fault: it blocks the thread, not only the task.
async fn build_report(service: &Service) -> Response {
    let count = service.items.lock().await.len();
    std::thread::sleep(Duration::from_millis(20));
    service.reports.fetch_add(1, Ordering::Relaxed);
    Response { status: "200 OK", body: format!("{count} items\n").into_bytes() }
}

async fn answer(service: &Service, request: Request) -> Response {
    service.requests.fetch_add(1, Ordering::Relaxed);
    let key = request.path.strip_prefix("/items/");
    match (request.method.as_str(), key) {
        ("GET", Some(key)) => look_up(service, key).await,
        ("PUT", Some(key)) => store(service, key, request.body).await,
        ("GET", None) if request.path == "/report" => build_report(service).await,
        _ => Response { status: "400 Bad Request", body: Vec::new() },
    }
}

async fn serve_connection(service: Arc<Service>, stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    while let Some(request) = read_request(&mut stream).await? {
        let response = answer(&service, request).await;
        write_response(&mut stream, response).await?;
    }
    Ok(())
}

async fn accept_connections(service: Arc<Service>, listener: TcpListener) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(serve_connection(service.clone(), stream));
    }
}

async fn write_batch(service: &Service, keys: &[String]) {
    sleep(Duration::from_millis(2)).await;
    service.journalled.fetch_add(keys.len() as u64, Ordering::Relaxed);
}

async fn keep_journal(service: Arc<Service>, mut entries: mpsc::Receiver<String>) {
    let mut keys = Vec::new();
    while entries.recv_many(&mut keys, BATCH).await > 0 {
        write_batch(&service, &keys).await;
        keys.clear();
    }
}

/// Keeps the store from growing for ever.
async fn expire_items(service: Arc<Service>) {
    let mut ticks = interval(Duration::from_millis(100));
    loop {
        ticks.tick().await;
        let mut items = service.items.lock().await;
        if items.len() > 10_000 {
            items.clear();
        }
    }
}

async fn stopped() -> io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

async fn run(address: String) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    let port = listener.local_addr()?.port();
    let (journal, entries) = mpsc::channel(64);
    let service = Arc::new(Service {
        items: Mutex::default(),
        journal,
        requests: AtomicU64::new(0),
        reports: AtomicU64::new(0),
        journalled: AtomicU64::new(0),
    });
    tokio::spawn(accept_connections(service.clone(), listener));
    tokio::spawn(keep_journal(service.clone(), entries));
    tokio::spawn(expire_items(service.clone()));
    truth::ready(&format!(", \"port\": {port}"));
    stopped().await?;
    let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let (requests, reports, journalled) = (of(&service.requests), of(&service.reports), of(&service.journalled));
    println!("{{\"requests\": {requests}, \"reports\": {reports}, \"journalled\": {journalled}}}");
    Ok(())
}

pub fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| String::from("127.0.0.1:0"));
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(run(address))
}
