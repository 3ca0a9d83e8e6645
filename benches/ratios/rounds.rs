//! Comparing contenders in one run: they take turns, each round in another order, and each
//! round's rates are divided by the reference's of the same round.

use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use crate::machine::{self, Result, Usage};

/// Contenders that do the same work; the first is the reference.
pub struct Comparison<'a> {
    title: &'a str,
    unit: &'a str,
    contenders: Vec<Contender<'a>>,
    /// What runs leave; removed at the end, since removing a file slows down those after it.
    dir: TempDir,
}

/// Does the work once and times it, without what is set up for it. The path is its own, and
/// nothing is there yet.
type Run<'a> = Box<dyn FnMut(&Path) -> Result<Timing> + 'a>;

struct Contender<'a> {
    name: String,
    aim: Option<f64>,
    run: Run<'a>,
    runs: Vec<Measured>,
}

/// What a run took, and how much it did.
pub struct Timing {
    pub took: Duration,
    /// In the comparison's unit.
    pub amount: f64,
    /// What was counted, for the table.
    pub note: String,
}

struct Measured {
    rate: f64,
    usage: Usage,
    note: String,
}

impl<'a> Comparison<'a> {
    pub fn new(title: &'a str, unit: &'a str) -> Result<Self> {
        Ok(Comparison { title, unit, contenders: Vec::new(), dir: machine::data_dir()? })
    }

    /// Adds a contender; `aim` is the least ratio to the reference that it should reach.
    pub fn add(
        &mut self,
        name: impl Into<String>,
        aim: Option<f64>,
        run: impl FnMut(&Path) -> Result<Timing> + 'a,
    ) {
        let (run, runs) = (Box::new(run), Vec::new());
        self.contenders.push(Contender { name: name.into(), aim, run, runs });
    }

    /// Runs the rounds and prints the table.
    pub fn measure(&mut self, rounds: usize) -> Result<()> {
        println!("\n{}", self.title);
        let mut touched = Duration::ZERO;
        for _ in 0..rounds {
            touched = touched.max(machine::touch_memory());
            self.round()?;
        }
        self.print();
        println!("  (touching a GiB of memory before each round took {touched:.2?} at most)");
        Ok(())
    }

    fn round(&mut self) -> Result<()> {
        let (count, number) = (self.contenders.len(), self.contenders[0].runs.len());
        for turn in 0..count {
            let which = (number + turn) % count;
            let path = self.dir.path().join(format!("{which}-{number}"));
            let contender = &mut self.contenders[which];
            let before = Usage::now();
            let timing = (contender.run)(&path)?;
            let usage = Usage::now().since(before);
            let rate = timing.amount / timing.took.as_secs_f64();
            contender.runs.push(Measured { rate, usage, note: timing.note });
        }
        Ok(())
    }

    fn print(&self) {
        let width = self.contenders.iter().map(|c| c.name.len()).max().unwrap_or(0);
        println!(
            "  {:width$}  {:>26}  {:>22}  {:>6}  {:>7}",
            "", self.unit, "ratio", "cpu s", "MiB out"
        );
        for contender in &self.contenders {
            let rates = Spread::of(contender.runs.iter().map(|run| run.rate));
            let reference = self.contenders[0].runs.iter();
            let ratios =
                contender.runs.iter().zip(reference).map(|(run, base)| run.rate / base.rate);
            let ratios = Spread::of(ratios);
            let cpu = Spread::of(contender.runs.iter().map(|run| run.usage.cpu.as_secs_f64()));
            let out = Spread::of(contender.runs.iter().map(|run| run.usage.device_bytes as f64));
            let verdict = match contender.aim {
                Some(aim) if ratios.median >= aim => format!("aim {aim}: met"),
                Some(aim) => format!("aim {aim}: MISSED"),
                None => String::new(),
            };
            let note = contender.runs.last().map_or("", |run| &run.note);
            println!(
                "  {:width$}  {rates:>26}  {ratios:>22}  {:6.2}  {:7.0}  {verdict} {note}",
                contender.name,
                cpu.median,
                out.median / f64::from(1 << 20),
            );
        }
    }
}

/// Median, least and greatest.
struct Spread {
    median: f64,
    least: f64,
    greatest: f64,
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        Spread {
            median: f64::midpoint(low, high),
            least: values[0],
            greatest: values[values.len() - 1],
        }
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digits = if self.greatest >= 100.0 { 0 } else { 2 };
        let Spread { median, least, greatest } = self;
        f.pad(&format!("{median:.digits$} ({least:.digits$}..{greatest:.digits$})"))
    }
}
