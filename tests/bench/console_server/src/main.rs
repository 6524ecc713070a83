#[path = "../../../targets/server/src/main.rs"]
mod server;

fn main() -> std::io::Result<()> {
    console_subscriber::init();
    server::main()
}
