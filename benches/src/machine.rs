//! The conditions of a run: figures without them are worth little.

use std::{env, fmt, fs, thread};

use serde::Serialize;

/// What the figures were measured on.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// The processor's own name.
    pub cpu: String,
    /// How many threads it runs at once.
    pub cpus: usize,
    /// Host memory in GiB, if known.
    pub memory_gib: Option<u64>,
    /// Operating system and architecture.
    pub os: String,
    /// The kernel's release, if known.
    pub kernel: Option<String>,
}

impl Machine {
    /// Looks at the machine that this runs on.
    pub fn here() -> Machine {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let memory_kib = field(&read("/proc/meminfo"), "MemTotal").and_then(|text| text.split(' ').next()?.parse().ok());
        let kernel = read("/proc/sys/kernel/osrelease").trim().to_owned();
        Machine {
            cpu: field(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| "unknown".into()),
            cpus: thread::available_parallelism().map_or(1, Into::into),
            memory_gib: memory_kib.map(|kib: u64| kib >> 20),
            os: format!("{} {}", env::consts::OS, env::consts::ARCH),
            kernel: (!kernel.is_empty()).then_some(kernel),
        }
    }
}

/// The text behind `name :` on the first line that begins so.
fn field(text: &str, name: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_once(':').map(|(_, value)| value.trim().to_owned())
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} CPUs", self.cpu, self.cpus)?;
        if let Some(memory) = self.memory_gib {
            write!(f, ", {memory} GiB")?;
        }
        write!(f, ", {}", self.os)?;
        if let Some(kernel) = &self.kernel {
            write!(f, " {kernel}")?;
        }
        Ok(())
    }
}
