//! What the figures were measured on.

use std::process::Command;

/// Processor, cores, memory, kernel, compiler and commit on one line.
#[must_use]
pub fn line() -> String {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let value = |text: &str, key: &str| {
        let line = text.lines().find(|line| line.starts_with(key));
        let value = line.and_then(|line| line.split_once(':'));
        value.map_or_else(|| "?".to_owned(), |(_, value)| value.trim().to_owned())
    };
    let model = value(&read("/proc/cpuinfo"), "model name");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = value(&read("/proc/meminfo"), "MemTotal");
    let kibibytes = memory
        .split_whitespace()
        .next()
        .and_then(|n| n.parse().ok());
    let gibibytes = kibibytes.unwrap_or(0.0) / f64::from(1 << 20);
    let kernel = read("/proc/sys/kernel/osrelease");
    format!(
        "{model}, {cores} cores, {gibibytes:.0} GiB, Linux {}, {}, commit {}{}",
        kernel.trim(),
        output("rustc", &["--version"]),
        output("git", &["rev-parse", "--short", "HEAD"]),
        if output("git", &["status", "--porcelain", "--untracked-files=no"]).is_empty() {
            ""
        } else {
            " with changes"
        }
    )
}

/// The day, by UTC.
#[must_use]
pub fn day() -> String {
    output("date", &["-u", "+%Y-%m-%d"])
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.ok().filter(|output| output.status.success());
    text.map_or_else(
        || "?".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}
