//! `harness list`

use std::fmt::Write as _;
use std::io;

use clap::{Args, ValueEnum};
use confgen::environment::Environment;

use super::catalogue::CatalogueArgs;
use super::output::Output;
use crate::exit::Exit;
use crate::runner::plan::Cell;
use crate::scenario::quantity::Time;

/// Options of `list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    catalogue: CatalogueArgs,
    /// A line for every cell instead of one for every scenario.
    #[arg(long)]
    cells: bool,
    /// How to list.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Text,
    Json,
}

pub(crate) fn list(args: &ListArgs, environment: &Environment, output: &Output) -> io::Result<Exit> {
    let prepared = match args.catalogue.prepare(environment, output) {
        Ok(prepared) => prepared,
        Err(exit) => return Ok(exit),
    };
    let cells = &prepared.plan.cells;
    let cost = |cell: &Cell| prepared.history.of(&cell.id.to_string());
    if matches!(args.format, Format::Json) {
        let cells: Vec<_> = cells
            .iter()
            .map(|cell| {
                serde_json::json!({
                    "id": cell.id.to_string(), "scenario": cell.id.scenario, "variant": cell.id.variant, "axes": cell.id.axes,
                    "expect": cell.expected, "tags": cell.scenario.scenario.tags,
                    "covers": cell.scenario.scenario.covers, "title": cell.scenario.scenario.title,
                    "file": cell.scenario.file, "exclusive": cell.exclusive, "skip": cell.skip,
                    "seconds": cost(cell).map(|cost| cost.as_secs_f64()),
                })
            })
            .collect();
        output.print(&format!("{:#}\n", serde_json::json!({ "cells": cells })))?;
        return Ok(Exit::Expected);
    }
    let mut text = String::new();
    if args.cells {
        let width = cells.iter().map(|cell| cell.id.to_string().len()).max().unwrap_or_default();
        for cell in cells {
            let note = match (&cell.skip, cell.exclusive) {
                (Some(reason), _) => format!("SKIP: {reason}"),
                (None, true) => "exclusive".to_owned(),
                (None, false) => String::new(),
            };
            let cost = cost(cell).map_or_else(|| "-".to_owned(), |cost| Time(cost).to_string());
            let line = format!("{:width$}  {:8}{cost:>9}  {note}", cell.id.to_string(), cell.expected.name());
            let _ = writeln!(text, "{}", line.trim_end());
        }
    } else {
        let mut ids: Vec<&str> = cells.iter().map(|cell| cell.id.scenario.as_str()).collect();
        ids.dedup();
        let width = ids.iter().map(|id| id.len()).max().unwrap_or_default();
        for id in &ids {
            let own: Vec<_> = cells.iter().filter(|cell| cell.id.scenario == *id).collect();
            let Some(first) = own.first() else { continue };
            let mut variants: Vec<_> = own.iter().map(|cell| cell.id.variant.as_str()).collect();
            variants.dedup();
            let skipped = own.iter().filter(|cell| cell.skip.is_some()).count();
            let skipped = if skipped > 0 { format!(", {skipped} skipped") } else { String::new() };
            let _ = writeln!(text, "{id:width$}  {}", first.scenario.scenario.title);
            let tags = &first.scenario.scenario.tags;
            let tags = if tags.is_empty() { String::new() } else { format!("  [{}]", tags.join(", ")) };
            let _ = writeln!(text, "{:width$}  {} cells{skipped}: {}{tags}", "", own.len(), variants.join(", "));
        }
    }
    let known: std::time::Duration = cells.iter().filter(|cell| cell.skip.is_none()).filter_map(cost).sum();
    let known = if known.is_zero() { String::new() } else { format!(", {} one after the other", Time(known)) };
    let mut ids: Vec<&str> = cells.iter().map(|cell| cell.id.scenario.as_str()).collect();
    ids.dedup();
    let _ = writeln!(text, "{} scenarios, {} cells{known}", ids.len(), cells.len());
    output.print(&text)?;
    Ok(Exit::Expected)
}
