//! temporary
use crate::config::Config;
struct L;
impl log::Log for L {
    fn enabled(&self, _: &log::Metadata) -> bool {
        true
    }
    fn log(&self, r: &log::Record) {
        eprintln!("{} {}", r.level(), r.args());
    }
    fn flush(&self) {}
}
pub fn init(_c: &Config) -> std::io::Result<()> {
    let _ = log::set_logger(&L);
    log::set_max_level(log::LevelFilter::Info);
    Ok(())
}
