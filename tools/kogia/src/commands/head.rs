//! `kogia head`: what is known of an object without reading it.

use clap::Args;
use kogia::Store;

use crate::console::Console;
use crate::escaped::Escaped;
use crate::failure::Failure;
use crate::object_view::ObjectView;

#[derive(Args)]
pub struct Head {
    /// Key of the object
    key: Escaped,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Head {
    /// Prints the object's fields.
    pub fn run(&self, store: &Store, console: &mut Console) -> Result<(), Failure> {
        let key = &self.key.0;
        let info = store.head(key)?.ok_or_else(|| Failure::NoSuchKey(key.clone()))?;
        let view = ObjectView::new(key, &info);
        let out = &mut console.out;
        if self.json {
            view.write_json(out)?
        } else {
            view.write_page(out)?
        }
        Ok(())
    }
}
