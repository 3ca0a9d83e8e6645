//! A run as whoever debugs it wants to see it: operations, acknowledgements, syncs, and the break.

use std::fmt;

use serde::Serialize;

use crate::operation::Durability;
use crate::session::Outcome;
use crate::world::recording::Step;

/// A run up to where it broke.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct History {
    pub bars: Vec<Bar>,
    pub moment: Moment,
    /// Calls of the run.
    pub calls: u64,
}

/// Where it broke.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Moment {
    pub call: u64,
    pub words: String,
}

/// One operation.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Bar {
    pub operation: String,
    pub begin: u64,
    pub end: u64,
    pub standing: Standing,
    /// The disk that it was written to, if that is known.
    pub disk: Option<usize>,
}

/// What was known of an operation when it broke.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub enum Standing {
    /// Acknowledged as durable.
    Durable,
    /// Acknowledged short of that.
    Acknowledged,
    /// It makes durable what was acknowledged before.
    Syncs,
    Refused,
    Failed,
    UnderWay,
    NotBegun,
}

impl History {
    pub fn of(steps: &[Step], calls: u64, moment: Moment) -> Self {
        let bar = |step: &Step| Bar {
            operation: step.operation.to_string(),
            begin: step.begin,
            end: step.end,
            standing: standing(step, moment.call),
            disk: step.disk,
        };
        History { bars: steps.iter().map(bar).collect(), moment: moment.clone(), calls }
    }

    pub fn lines(&self) -> Vec<String> {
        let seen = self.bars.iter().filter(|bar| bar.standing != Standing::NotBegun);
        let lines = seen.enumerate().map(|(number, bar)| format!("{number}: {bar}"));
        let broke = format!("call {}: {}", self.moment.call, self.moment.words);
        lines.chain([broke]).collect()
    }
}

fn standing(step: &Step, broke_at: u64) -> Standing {
    match &step.outcome {
        _ if step.begin > broke_at => Standing::NotBegun,
        _ if step.end > broke_at => Standing::UnderWay,
        Outcome::Failed(crate::engine::Failure::Refused) => Standing::Refused,
        Outcome::Failed(_) => Standing::Failed,
        _ if step.operation.settles() => Standing::Syncs,
        _ if step.operation.durability() == Durability::Sync => Standing::Durable,
        _ => Standing::Acknowledged,
    }
}

impl fmt::Display for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let standing = match self.standing {
            Standing::Durable => "acknowledged as durable",
            Standing::Acknowledged => "acknowledged",
            Standing::Syncs => "done",
            Standing::Refused => "refused",
            Standing::Failed => "failed",
            Standing::UnderWay => "under way",
            Standing::NotBegun => "not begun",
        };
        write!(f, "{} (calls {} to {}", self.operation, self.begin, self.end)?;
        self.disk.map_or(Ok(()), |disk| write!(f, ", disk {disk}"))?;
        write!(f, "): {standing}")
    }
}
