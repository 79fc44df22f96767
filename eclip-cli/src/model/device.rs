//! `eclip model device`: constants and their sources.

use std::io::Write;

use anyhow::Result;

use crate::table::{align_right, table};

/// Arguments of `eclip model device`.
#[derive(clap::Args)]
pub struct Options {
    /// mi50, h200 or a file
    #[arg(default_value = "mi50", value_name = "NAME|FILE")]
    device: String,
    /// Only what is assumed
    #[arg(long)]
    assumed: bool,
}

/// Prints them.
pub fn run(options: &Options, out: &mut impl Write) -> Result<()> {
    let device = super::load_device(&options.device)?;
    let mut table = table();
    table.set_header(["constant", "value", "source"]);
    for (name, constant) in device.constants() {
        if !options.assumed || constant.is_assumed() {
            table.add_row([name, constant.value.to_string(), constant.source.clone()]);
        }
    }
    align_right(&mut table, 1);
    if let Some(column) = table.column_mut(2) {
        column.set_cell_alignment(comfy_table::CellAlignment::Left);
    }
    writeln!(out, "{}, policy {:?}\n{table}", device.name, device.policy)?;
    Ok(())
}
