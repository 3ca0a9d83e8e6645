//! What was measured, as it is kept beside the report.

use std::fmt;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::engines::Kind;
use crate::measure::Row;

pub const FILE: &str = "results.json";

/// Who does the work.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Contender {
    Engine(Kind),
    /// Raw calls, by their name in the workload.
    Limit(String),
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Contender::Engine(kind) => kind.title(),
            Contender::Limit(name) => name,
        })
    }
}

/// All of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Results {
    pub machine: String,
    pub commit: String,
    pub short: bool,
    pub rounds: usize,
    pub samples: Vec<Sample>,
}

/// One process's measurement.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sample {
    pub workload: String,
    pub contender: Contender,
    pub round: usize,
    /// Runnable tasks of the last minute, before.
    pub load: f64,
    /// What touching a GiB of memory took, before.
    pub touch_seconds: f64,
    pub outcome: Option<Outcome>,
    /// Why there is none.
    pub failure: Option<String>,
}

/// What a process measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    pub rows: Vec<Row>,
    /// The most that was resident, mapped files included, without the bench's own bodies.
    pub peak_bytes: u64,
    /// The most that no file was behind, likewise.
    pub anonymous_bytes: u64,
    /// What the directory took at the end.
    pub disk_bytes: u64,
}

impl Results {
    pub fn load(dir: &Path) -> Result<Self> {
        let path = dir.join(FILE);
        let text = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(serde_json::from_slice(&text)?)
    }

    /// Replaces what is there, whole or not at all.
    pub fn save(&self, dir: &Path) -> Result<()> {
        fs::create_dir_all(dir)?;
        let beside = dir.join(format!("{FILE}.new"));
        fs::write(&beside, serde_json::to_vec(self)?)?;
        Ok(fs::rename(&beside, dir.join(FILE))?)
    }

    pub fn has(&self, workload: &str, contender: &Contender, round: usize) -> bool {
        let is = |sample: &Sample| {
            sample.workload == workload && sample.round == round && sample.contender == *contender
        };
        self.samples.iter().any(|sample| is(sample) && sample.outcome.is_some())
    }
}
