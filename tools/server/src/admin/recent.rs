//! The last warnings and errors, kept for whoever looks at the status page.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use serde::Serialize;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::data::buckets::now_ms;

/// How many are kept.
const KEPT: usize = 100;
/// Of one's text; the rest is cut off.
const MAX_CHARS: usize = 1000;

/// The last warnings and errors of a process. As a layer of its log it takes them in.
#[derive(Clone, Debug, Default)]
pub struct Recent(Arc<Mutex<VecDeque<Entry>>>);

#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    pub time_ms: u64,
    /// `WARN` or `ERROR`.
    pub level: &'static str,
    /// The message, then the fields.
    pub text: String,
}

impl Recent {
    /// All that are kept, the latest first.
    #[must_use]
    pub fn all(&self) -> Vec<Entry> {
        self.0.lock().expect("nobody panics here").iter().rev().cloned().collect()
    }

    fn push(&self, entry: Entry) {
        let mut entries = self.0.lock().expect("nobody panics here");
        if entries.len() == KEPT {
            entries.pop_front();
        }
        entries.push_back(entry);
    }
}

impl<S: Subscriber> Layer<S> for Recent {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let level = *event.metadata().level();
        if level > tracing::Level::WARN {
            return;
        }
        let mut text = Text::default();
        event.record(&mut text);
        let text = format!("{}{}", text.message, text.fields);
        let text = text.chars().take(MAX_CHARS).collect();
        self.push(Entry { time_ms: now_ms(), level: level.as_str(), text });
    }
}

#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[test]
    fn the_last_ones_are_kept_and_none_that_are_less_than_warnings() {
        let recent = Recent::default();
        let log = tracing_subscriber::registry().with(recent.clone());
        tracing::subscriber::with_default(log, || {
            for number in 0..KEPT + 7 {
                tracing::warn!(number, "went wrong");
                tracing::info!("went well");
            }
            tracing::error!(what = "x".repeat(2 * MAX_CHARS), "at the end");
        });
        let all = recent.all();
        assert_eq!(all.len(), KEPT);
        assert_eq!((all[0].level, all[0].text.chars().count()), ("ERROR", MAX_CHARS));
        assert!(all[0].text.starts_with("at the end what=\"xxx"), "{}", all[0].text);
        assert_eq!(all[1].text, format!("went wrong number={}", KEPT + 6));
    }
}
