//! Asynchronous events (NVM Express Base 5.2): told once, then not again before software has read the log page.

use std::collections::VecDeque;

/// What is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// A doorbell of a queue that does not exist.
    InvalidDoorbell,
    /// A doorbell with a value that cannot be.
    InvalidDoorbellValue,
}

/// The log page of error events.
pub(super) const ERROR_LOG: u8 = 1;

impl Event {
    /// Dword 0 of the completion: type in 2:0 (an error: 0), information in 15:8, log page in 23:16.
    pub(super) fn dword(self) -> u32 {
        let information = match self {
            Self::InvalidDoorbell => 0,
            Self::InvalidDoorbellValue => 1,
        };
        u32::from(ERROR_LOG) << 16 | information << 8
    }
}

/// Requests of software to be told, and what there is to tell.
#[derive(Debug, Default)]
pub(super) struct Events {
    /// Slots of the requests.
    pub(super) requests: VecDeque<usize>,
    happened: Option<Event>,
    told: bool,
}

impl Events {
    /// How many requests may wait: AERL is one less.
    pub(super) const MOST: usize = 4;

    /// Something happened. Further errors are in the log, which software reads because of the first.
    pub(super) fn happen(&mut self, event: Event) {
        if !self.told && self.happened.is_none() {
            self.happened = Some(event);
        }
    }

    /// What to tell now, and in answer to which request.
    pub(super) fn next(&mut self) -> Option<(usize, Event)> {
        let event = self.happened.filter(|_| !self.requests.is_empty())?;
        let slot = self.requests.pop_front()?;
        self.happened = None;
        self.told = true;
        Some((slot, event))
    }

    /// Software has read the log page of errors.
    pub(super) fn log_was_read(&mut self) {
        self.told = false;
    }
}
