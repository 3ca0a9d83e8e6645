//! Charts of what was measured, as SVG: bars for a workload, lines for growth.

use std::collections::BTreeMap;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::Result;
use crate::engines::Kind;
use crate::report::number;
use crate::results::Contender;
use crate::summary::{Measured, Spread};

const WIDTH: u32 = 760;
const BAR_HEIGHT: u32 = 22;
const TITLE_HEIGHT: u32 = 34;
/// Bars begin here, and end before the numbers.
const LEFT: i32 = 180;
const RIGHT: i32 = 600;
const FONT: &str = "sans-serif";
const KOGIA_COLOR: RGBColor = RGBColor(0x1f, 0x77, 0xb4);
const PEER_COLOR: RGBColor = RGBColor(0xb0, 0xb7, 0xbf);
const LIMIT_COLOR: RGBColor = RGBColor(0xe3, 0xd5, 0xa8);
const INK: RGBColor = RGBColor(0x33, 0x33, 0x33);

type Panel<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Bars of every figure, one panel below the other.
pub fn workload(measured: &Measured<'_>, path: &Path) -> Result<()> {
    let panels: Vec<_> = measured
        .figures()
        .into_iter()
        .map(|row| {
            let bar = |contender: Contender| {
                measured.value(&contender, &row.what).map(|value| (contender, value))
            };
            let bars: Vec<_> = measured.contenders().into_iter().filter_map(bar).collect();
            let better = if row.less { "less is better" } else { "more is better" };
            (format!("{}: {}, {better}", row.what, row.unit), bars)
        })
        .collect();
    let height = |bars: &Vec<_>| TITLE_HEIGHT + BAR_HEIGHT * bars.len() as u32;
    let sum = panels.iter().map(|(_, bars)| height(bars)).sum::<u32>();
    let root = SVGBackend::new(path, (WIDTH, sum.max(TITLE_HEIGHT) + 10)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut top = 0;
    for (title, bars) in &panels {
        let (_, rest) = root.split_vertically(top);
        panel(&rest, title, bars)?;
        top += height(bars);
    }
    Ok(root.present()?)
}

fn panel(area: &Panel<'_>, title: &str, bars: &[(Contender, Spread)]) -> Result<()> {
    let most = bars.iter().map(|(_, value)| value.greatest).fold(f64::MIN_POSITIVE, f64::max);
    let at = |value: f64| LEFT + (f64::from(RIGHT - LEFT) * value / most) as i32;
    area.draw(&Text::new(title.to_owned(), (8, 12), (FONT, 17).into_font().color(&INK)))?;
    for (line, (contender, value)) in bars.iter().enumerate() {
        let top = (TITLE_HEIGHT + BAR_HEIGHT * line as u32) as i32;
        let (bottom, middle) = (top + BAR_HEIGHT as i32 - 5, top + BAR_HEIGHT as i32 / 2 - 3);
        let color = match contender {
            Contender::Engine(Kind::Kogia) => KOGIA_COLOR,
            Contender::Engine(_) => PEER_COLOR,
            Contender::Limit(_) => LIMIT_COLOR,
        };
        let bar = [(LEFT, top), (at(value.median), bottom)];
        area.draw(&Rectangle::new(bar, color.filled()))?;
        let spread = vec![(at(value.least), middle), (at(value.greatest), middle)];
        area.draw(&PathElement::new(spread, INK))?;
        let font = (FONT, 15).into_font().color(&INK);
        area.draw(&Text::new(contender.to_string(), (8, top + 3), font.clone()))?;
        let end = at(value.greatest) + 6;
        area.draw(&Text::new(number(value.median), (end, top + 3), font))?;
    }
    Ok(())
}

/// Points of an engine's line: objects, and the figure.
type Lines = BTreeMap<Kind, Vec<(f64, f64)>>;

/// Lines over the number of objects, for each figure that was measured at more than one; titles and files.
pub fn growth(all: &[Measured<'_>], dir: &Path) -> Result<Vec<(String, String)>> {
    let mut charts: BTreeMap<(&str, String), Lines> = BTreeMap::new();
    for measured in all {
        let Some((family, objects)) = measured.workload.growth() else { continue };
        for row in measured.figures() {
            let title = format!("{}: {}", row.what, row.unit);
            let lines = charts.entry((family, title)).or_default();
            for kind in Kind::ALL {
                if let Some(value) = measured.value(&Contender::Engine(kind), &row.what) {
                    lines.entry(kind).or_default().push((objects as f64, value.median));
                }
            }
        }
    }
    charts.retain(|_, lines| lines.values().any(|line| line.len() > 1));
    let mut files = Vec::new();
    for (at, ((family, title), lines)) in charts.iter().enumerate() {
        let (title, file) = (format!("{family}, {title}"), format!("growth-{at}.svg"));
        line_chart(&title, lines, &dir.join(&file))?;
        files.push((title, file));
    }
    Ok(files)
}

fn line_chart(title: &str, lines: &Lines, path: &Path) -> Result<()> {
    let points = || lines.values().flatten();
    let range = |of: fn(&(f64, f64)) -> f64| {
        let least = points().map(of).fold(f64::INFINITY, f64::min);
        let most = points().map(of).fold(0.0, f64::max);
        least / 1.5..most * 1.5
    };
    let root = SVGBackend::new(path, (WIDTH, 380)).into_drawing_area();
    root.fill(&WHITE)?;
    let (plot, legend) = root.split_horizontally(WIDTH - 110);
    let mut chart = ChartBuilder::on(&plot)
        .caption(title, (FONT, 18).into_font().color(&INK))
        .margin(10)
        .x_label_area_size(40)
        .y_label_area_size(70)
        .build_cartesian_2d(range(|p| p.0).log_scale(), range(|p| p.1).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("objects")
        .x_labels(4)
        .y_labels(10)
        .x_label_formatter(&|objects| format!("{objects:.0}"))
        .y_label_formatter(&|value| number(*value))
        .light_line_style(TRANSPARENT)
        .draw()?;
    for (at, (kind, line)) in lines.iter().enumerate() {
        let color = Palette99::pick(at).stroke_width(if *kind == Kind::Kogia { 3 } else { 1 });
        chart.draw_series(LineSeries::new(line.iter().copied(), color))?;
        chart.draw_series(line.iter().map(|point| Circle::new(*point, 3, color.filled())))?;
        let top = 60 + 24 * at as i32;
        legend.draw(&PathElement::new(vec![(0, top + 7), (18, top + 7)], color))?;
        let font = (FONT, 15).into_font().color(&INK);
        legend.draw(&Text::new(kind.title(), (26, top), font))?;
    }
    drop(chart);
    Ok(root.present()?)
}
