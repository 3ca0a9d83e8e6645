//! Kogia as it comes, with the durability that is asked for.

use std::io::Write;
use std::ops::Range;
use std::path::Path;

use kogia::{Batch, Durability, ListOptions, Options, Store};

use super::{Engine, Page, Promise, See};
use crate::Result;
use crate::data::Key;

pub const SETTINGS: [&str; 3] = [
    "defaults (64 MiB of memory), and `refill` where objects are overwritten all the time (churn); every read is \
     verified",
    "`Durability::Sync`: the machine's death",
    "`Durability::Os`: the process's death, the machine's after `sync`",
];

struct Open(Store);

pub fn open(dir: &Path, promise: Promise) -> Result<Box<dyn Engine>> {
    open_with(Options::new(), dir, promise)
}

/// As the README says where large objects are overwritten all the time.
pub fn open_refilling(dir: &Path, promise: Promise) -> Result<Box<dyn Engine>> {
    open_with(Options::new().refill(true), dir, promise)
}

fn open_with(options: Options, dir: &Path, promise: Promise) -> Result<Box<dyn Engine>> {
    let durability = match promise {
        Promise::Durable => Durability::Sync,
        Promise::AtSync => Durability::Os,
    };
    Ok(Box::new(Open(options.durability(durability).open(dir)?)))
}

pub fn rebuild(dir: &Path) -> Result<()> {
    Ok(Store::rebuild(dir)?.close()?)
}

impl Engine for Open {
    fn put(&self, key: &Key, body: &[u8]) -> Result<()> {
        self.0.put(key.bytes(), body)?;
        Ok(())
    }

    fn put_batch(&self, puts: &[(Key, &[u8])]) -> Result<()> {
        let mut batch = Batch::new();
        for (key, body) in puts {
            batch.put(key.bytes(), body);
        }
        self.0.write(batch)?;
        Ok(())
    }

    fn upload(&self, key: &Key, pieces: &[&[u8]]) -> Result<()> {
        let mut writer = self.0.writer(key.bytes())?;
        pieces.iter().try_for_each(|piece| writer.write_all(piece))?;
        writer.commit()?;
        Ok(())
    }

    fn get(&self, key: &Key, buffer: &mut Vec<u8>, see: &mut See<'_>) -> Result<bool> {
        let found = self.0.get_into(key.bytes(), buffer)?.is_some();
        if found {
            see(buffer);
        }
        Ok(found)
    }

    fn borrow(&self, key: &Key, see: &mut See<'_>) -> Result<bool> {
        let Some(mut reader) = self.0.reader(key.bytes())? else { return Ok(false) };
        while let Some(slice) = reader.next_slice()? {
            see(slice);
        }
        Ok(true)
    }

    fn get_range(
        &self,
        key: &Key,
        range: Range<usize>,
        buffer: &mut Vec<u8>,
        see: &mut See<'_>,
    ) -> Result<bool> {
        let range = range.start as u64..range.end as u64;
        let found = self.0.get_range_into(key.bytes(), range, buffer)?.is_some();
        if found {
            see(buffer);
        }
        Ok(found)
    }

    fn delete(&self, keys: &[Key]) -> Result<()> {
        let mut batch = Batch::new();
        for key in keys {
            batch.delete(key.bytes());
        }
        self.0.write(batch)?;
        Ok(())
    }

    fn list(&self, after: Option<&[u8]>, delimited: bool, limit: usize) -> Result<Page> {
        let page = self.0.list(&ListOptions {
            start_after: after.map(<[u8]>::to_vec),
            delimiter: delimited.then(|| vec![super::paging::DELIMITER]),
            max_keys: limit,
            ..ListOptions::default()
        })?;
        Ok(Page { entries: page.items.len(), last: page.next })
    }

    fn sync(&self) -> Result<()> {
        Ok(self.0.sync()?)
    }

    fn tidy(&self) -> Result<()> {
        self.0.maintain()?;
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.0.close()?)
    }
}
