//! A bar on the terminal, with the cells that are running; what has ended is written above it.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use confgen::diagnostic::Style;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Reporter, lines};
use crate::runner::event::Event;
use crate::runner::plan::Plan;

/// Draws a bar on standard error.
#[derive(Debug)]
pub struct Live {
    bar: ProgressBar,
    style: Style,
    running: BTreeMap<usize, (Instant, String)>,
    failed: usize,
}

impl Live {
    /// A bar for so many cells.
    #[must_use]
    pub fn new(cells: usize, style: Style) -> Self {
        let bar = ProgressBar::with_draw_target(Some(cells as u64), ProgressDrawTarget::stderr_with_hz(10));
        if let Ok(style) = ProgressStyle::with_template("{elapsed_precise} {bar:24} {pos}/{len} {wide_msg}") {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar, style, running: BTreeMap::new(), failed: 0 }
    }

    fn show(&self) {
        let mut running: Vec<_> = self.running.values().collect();
        running.sort_by_key(|(since, _)| *since);
        let names: Vec<_> = running.iter().map(|(_, name)| name.as_str()).collect();
        let failed = if self.failed > 0 { format!("{} failed; ", self.failed) } else { String::new() };
        self.bar.set_message(format!("{failed}{}", names.join(", ")));
    }
}

impl Reporter for Live {
    fn event(&mut self, plan: &Plan, event: &Event) -> io::Result<()> {
        let name = |cell: &usize| plan.cells.get(*cell).map(|cell| cell.id.to_string()).unwrap_or_default();
        match event {
            Event::CellStarted { cell } => {
                self.running.insert(*cell, (Instant::now(), name(cell)));
            }
            Event::StepStarted { cell, step, kind, name: step_name } => {
                if let Some((_, text)) = self.running.get_mut(cell) {
                    let step_name = step_name.clone().unwrap_or_else(|| format!("{} {}", kind.name(), step + 1));
                    *text = format!("{} ({step_name})", name(cell));
                }
            }
            Event::CellFinished { cell, outcome } => {
                self.running.remove(cell);
                self.failed += usize::from(outcome.verdict.failed());
                self.bar.println(lines::block(plan, *cell, outcome, self.style).trim_end_matches('\n'));
                self.bar.inc(1);
            }
            Event::Held { cell, url, dir, parent, request, failures } => {
                let request = request.as_deref();
                let kept = lines::Held { cell: *cell, url, dir, parent: *parent, request, failures };
                let text = lines::held(plan, &kept, self.style);
                self.bar.println(text.trim_end_matches('\n'));
            }
            Event::RunFinished { .. } => {
                self.bar.finish_and_clear();
                return Ok(());
            }
            Event::RunStarted { .. } | Event::ServerReady { .. } | Event::StepFinished { .. } => return Ok(()),
        }
        self.show();
        Ok(())
    }
}
