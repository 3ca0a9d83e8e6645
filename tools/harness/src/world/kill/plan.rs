//! When children are killed: the name of a state.
//!
//! ```text
//! work:slice.copied@2/open:open.flushed@1/look/work:12+340us
//! ```
//!
//! A child works, and is killed when it takes a step for the second time; another one opens what is
//! left, and is killed, too; then the store is looked at; and the last one is killed 340 microseconds
//! after it has said 12 messages.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::points::Point;

/// What is done to a store, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan(pub Vec<Deed>);

/// One thing that is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// A child does its part, and is killed.
    Child(Part, When),
    /// The store is opened and looked at, and closed.
    Look,
}

/// What a child is killed at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Work,
    Open,
    Rebuild,
}

/// When a child is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// At a step, at the nth time that it is taken.
    Step(&'static Point, u64),
    /// So long after it has said so much.
    Moment { messages: u64, after: Duration },
}

impl Part {
    const ALL: [Part; 3] = [Part::Work, Part::Open, Part::Rebuild];

    fn name(self) -> &'static str {
        match self {
            Part::Work => "work",
            Part::Open => "open",
            Part::Rebuild => "rebuild",
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&words.join("/"))
    }
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Deed::Child(part, When::Step(point, nth)) => {
                write!(f, "{}:{}@{nth}", part.name(), point.name)
            }
            Deed::Child(part, When::Moment { messages, after }) => {
                write!(f, "{}:{messages}+{}us", part.name(), after.as_micros())
            }
            Deed::Look => f.write_str("look"),
        }
    }
}

impl FromStr for Plan {
    type Err = String;

    fn from_str(words: &str) -> Result<Self, String> {
        words.split('/').map(str::parse).collect::<Result<_, _>>().map(Plan)
    }
}

impl FromStr for Deed {
    type Err = String;

    fn from_str(words: &str) -> Result<Self, String> {
        if words == "look" {
            return Ok(Deed::Look);
        }
        let wrong = || format!("`{words}` says of no child when it is killed");
        let (part, when) = words.split_once(':').ok_or_else(wrong)?;
        let part = Part::ALL.into_iter().find(|known| known.name() == part).ok_or_else(wrong)?;
        if let Some((point, nth)) = when.split_once('@') {
            let nth = nth.parse().map_err(|_| wrong())?;
            return Ok(Deed::Child(part, When::Step(super::find(point)?, nth)));
        }
        let (messages, micros) = when.split_once('+').ok_or_else(wrong)?;
        let micros = micros.strip_suffix("us").and_then(|micros| micros.parse().ok());
        let after = Duration::from_micros(micros.ok_or_else(wrong)?);
        let messages = messages.parse().map_err(|_| wrong())?;
        Ok(Deed::Child(part, When::Moment { messages, after }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_read_as_it_is_written() {
        let words = "work:slice.copied@2/open:open.flushed@1/look/rebuild:12+340us";
        let plan: Plan = words.parse().expect("it is a plan");
        assert_eq!(plan.0.len(), 4);
        assert_eq!(plan.to_string(), words);
        for wrong in ["", "work", "work:no.such@1", "walk:open.named@1", "work:open.named@x"] {
            assert!(wrong.parse::<Plan>().is_err(), "{wrong}");
        }
    }
}
