//! `staleproof hooks repair`: the file of a durable dispatcher that cannot be read.

use clap::Args;

use super::super::{ConfigFile, Failure, print};
use crate::dispatch::{Repaired, repair};

/// Checks the files of the durable dispatchers. One that is damaged is set aside, and what can be read of it is written to a
/// new one. The server must not be running
#[derive(Debug, Args)]
pub(super) struct Repair {
    #[command(flatten)]
    file: ConfigFile,
}

impl Repair {
    pub(super) fn run(self) -> Result<(), Failure> {
        let plan = self.file.load()?;
        let mut durable = plan.dispatchers.iter().filter_map(|settings| settings.durable.as_ref()).peekable();
        if durable.peek().is_none() {
            return Err(Failure::Failed("the configuration has no durable dispatcher".to_owned()));
        }
        for settings in durable {
            let shown = settings.path.display();
            match repair(&settings.path)? {
                Repaired::Sound { waiting, dead } => {
                    print(format_args!("{shown} is sound: {waiting} wait, {dead} dead letters"))?;
                }
                Repaired::Missing => print(format_args!("{shown} is not there yet"))?,
                Repaired::Anew { kept, aside } => print(format_args!(
                    "{shown} was damaged: {kept} pieces of work were saved; what is left of it is {}",
                    aside.display()
                ))?,
            }
        }
        Ok(())
    }
}
