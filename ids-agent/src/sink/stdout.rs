//! Writes lines to standard output; stops counting them as written when its reader goes away.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use super::{AlertSink, Delivery, DropReason, Line, SinkError};

/// Standard output.
#[derive(Debug)]
pub struct StdoutSink {
    name: &'static str,
    closed: bool,
}

impl StdoutSink {
    pub fn new(name: &'static str) -> Self {
        Self { name, closed: false }
    }
}

impl AlertSink for StdoutSink {
    fn name(&self) -> &'static str {
        self.name
    }

    fn write(&mut self, lines: &[Line]) -> Delivery {
        let mut delivery = Delivery::default();
        let mut out = io::stdout().lock();
        for line in lines {
            if self.closed {
                delivery.drop_lines(DropReason::Closed, 1);
                continue;
            }
            match out.write_all(&line.bytes) {
                Ok(()) => {
                    delivery.written += 1;
                    delivery.bytes_written += line.bytes.len() as u64;
                }
                Err(error) => {
                    self.closed = error.kind() == io::ErrorKind::BrokenPipe;
                    delivery.drop_lines(DropReason::of(&error), 1);
                }
            }
        }
        // A failed flush shows at the next write.
        let _ = out.flush();
        delivery
    }

    fn reopen(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    fn finish(&mut self) -> Result<(), SinkError> {
        match io::stdout().flush() {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Err(source) => Err(SinkError::Write { path: PathBuf::from("-"), source }),
        }
    }
}
