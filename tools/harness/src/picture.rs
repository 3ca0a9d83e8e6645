//! A failing history as a picture: operations from top to bottom, calls from left to right.
//!
//! A bar runs from an operation's first call to its last; its colour says what was known of it when
//! the world broke, which is the red line. A dashed line is a sync: what is left of it and
//! acknowledged is durable.

use std::fmt::Write;

use crate::history::Standing;
use crate::world::Failing;

const WIDTH: u64 = 1100;
/// Where the bars begin: operations are named to the left.
const LEFT: u64 = 380;
const TOP: u64 = 60;
const ROW: u64 = 20;
const COLOURS: [(Standing, &str, &str); 7] = [
    (Standing::Durable, "#2e7d32", "acknowledged as durable"),
    (Standing::Acknowledged, "#9ccc65", "acknowledged"),
    (Standing::Syncs, "#1565c0", "makes durable what was acknowledged"),
    (Standing::Refused, "#bdbdbd", "refused"),
    (Standing::Failed, "#ef6c00", "failed"),
    (Standing::UnderWay, "#fdd835", "under way"),
    (Standing::NotBegun, "#eeeeee", "not begun"),
];

pub fn svg(failing: &Failing) -> String {
    let history = &failing.history;
    let rows = history.bars.len() as u64;
    let height = TOP + rows * ROW + (failing.losses.len() as u64 + COLOURS.len() as u64 + 4) * ROW;
    let x = |call: u64| LEFT + call * (WIDTH - LEFT - 20) / history.calls.max(1);
    let bottom = TOP + rows * ROW;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    let title = format!("{}, {}, seed {}", failing.world, failing.workload, failing.seed);
    text(&mut svg, 10, 20, "bold", &title);
    text(&mut svg, 10, 40, "normal", &failing.command);
    for (row, bar) in history.bars.iter().enumerate() {
        let y = TOP + row as u64 * ROW;
        text(&mut svg, 10, y + 14, "normal", &format!("{row}: {}", shortened(&bar.operation)));
        let width = (x(bar.end) - x(bar.begin)).max(3);
        rect(&mut svg, x(bar.begin), y + 3, width, colour(bar.standing));
        if bar.standing == Standing::Syncs {
            line(&mut svg, x(bar.end), bottom, "#1565c0", "4 3");
        }
        if let Some(disk) = bar.disk {
            text(&mut svg, x(bar.begin) + width + 3, y + 14, "normal", &format!("disk {disk}"));
        }
    }
    line(&mut svg, x(history.moment.call), bottom, "#c62828", "none");
    text(&mut svg, LEFT, bottom + 16, "bold", &history.lines().pop().unwrap_or_default());
    let mut y = bottom + 2 * ROW + 10;
    for loss in &failing.losses {
        text(&mut svg, 10, y, "bold", &loss.to_string());
        y += ROW;
    }
    for (_, colour, words) in COLOURS {
        rect(&mut svg, 10, y - 10, 20, colour);
        text(&mut svg, 40, y + 2, "normal", words);
        y += ROW;
    }
    svg + "</svg>\n"
}

fn colour(standing: Standing) -> &'static str {
    COLOURS.iter().find(|entry| entry.0 == standing).map_or("black", |entry| entry.1)
}

fn shortened(operation: &str) -> String {
    const MOST: usize = 55;
    match operation.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}…", &operation[..at]),
        None => operation.to_owned(),
    }
}

fn rect(svg: &mut String, x: u64, y: u64, width: u64, fill: &str) {
    let _ = writeln!(
        svg,
        "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"14\" fill=\"{fill}\"/>"
    );
}

fn line(svg: &mut String, x: u64, bottom: u64, colour: &str, dashes: &str) {
    let _ = writeln!(
        svg,
        "<line x1=\"{x}\" y1=\"{TOP}\" x2=\"{x}\" y2=\"{bottom}\" stroke=\"{colour}\" \
         stroke-width=\"2\" stroke-dasharray=\"{dashes}\"/>"
    );
}

fn text(svg: &mut String, x: u64, y: u64, weight: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let _ = writeln!(svg, "<text x=\"{x}\" y=\"{y}\" font-weight=\"{weight}\">{words}</text>");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Bar, History, Moment};
    use crate::oracle::{Loss, LossKind};

    #[test]
    fn the_picture_has_every_operation_the_break_and_what_was_lost() {
        let bar = |operation: &str, begin, end, standing| Bar {
            operation: operation.into(),
            begin,
            end,
            standing,
            disk: Some(1),
        };
        let bars =
            vec![bar("put a<b>", 3, 9, Standing::Durable), bar("sync", 9, 12, Standing::Syncs)];
        let moment = Moment { call: 12, words: "the power is cut".into() };
        let failing = Failing {
            world: "sim",
            workload: "mix",
            seed: 5,
            state: "12:nothing".into(),
            losses: vec![Loss::new(LossKind::Lost, "a is not there")],
            command: "kogia-crash run".into(),
            history: History { bars, moment, calls: 20 },
        };
        let svg = svg(&failing);
        for words in ["put a&lt;b&gt;", "1: sync", "disk 1", "the power is cut", "a is not there"] {
            assert!(svg.contains(words), "{words}");
        }
        assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
    }
}
