//! What a run says in the end: a table and what was lost, for people or as JSON.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::cli;
use crate::world::{Coverage, Failing};

/// The outcome of a run.
#[derive(Debug, Serialize)]
pub struct Report {
    pub engine: String,
    pub seed: u64,
    pub threads: usize,
    pub seconds: f64,
    pub states: u64,
    pub states_a_minute: f64,
    pub rows: Vec<Row>,
    pub failing: Vec<Failing>,
    /// What else the worlds have to say.
    pub notes: Vec<String>,
}

/// One workload in one world.
#[derive(Debug, Serialize)]
pub struct Row {
    pub world: &'static str,
    pub workload: &'static str,
    pub states: u64,
    pub coverage: Coverage,
    pub failing: usize,
}

impl Row {
    pub fn new(world: &'static str, workload: &'static str) -> Self {
        Row { world, workload, states: 0, coverage: Coverage::default(), failing: 0 }
    }
}

impl Report {
    pub fn new(
        options: &cli::Run,
        engine: &str,
        rows: Vec<Row>,
        failing: Vec<Failing>,
        threads: usize,
        took: Duration,
    ) -> Self {
        let states = rows.iter().map(|row| row.states).sum();
        let seconds = took.as_secs_f64();
        Report {
            engine: engine.to_owned(),
            seed: options.seed,
            threads,
            seconds,
            states,
            states_a_minute: states as f64 * 60.0 / seconds.max(0.001),
            rows,
            failing,
            notes: Vec::new(),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:18}{:20}{:>9}{:>18}{:>8}", "world", "workload", "states", "points", "lost")?;
        for row in &self.rows {
            let Coverage { points, points_hit } = row.coverage;
            let points = format!("{points_hit} of {points}");
            let Row { world, workload, states, failing, .. } = row;
            writeln!(f, "{world:18}{workload:20}{states:>9}{points:>18}{failing:>8}")?;
        }
        // Behind the table, which is long: the end of an output is what is kept of it.
        for failing in &self.failing {
            writeln!(f, "\n{failing}")?;
        }
        for note in &self.notes {
            writeln!(f, "{note}")?;
        }
        let (states, seconds, pace) = (self.states, self.seconds, self.states_a_minute);
        write!(f, "{states} states in {seconds:.1} s, {pace:.0} a minute")?;
        match self.failing.len() {
            0 => write!(f, ": nothing was lost"),
            lost => write!(f, ": {lost} of them lost something"),
        }
    }
}

impl fmt::Display for Failing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}, {}, seed {}, state {}:",
            self.world, self.workload, self.seed, self.state
        )?;
        for line in self.history.lines() {
            writeln!(f, "  {line}")?;
        }
        for loss in &self.losses {
            writeln!(f, "  {loss}")?;
        }
        writeln!(f, "  again: {}", self.command)
    }
}
