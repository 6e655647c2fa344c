//! Features (NVM Express Base 5.16, 5.27): what Set Features takes and Get Features gives back. None of them can be saved.

use super::command::Command;
use super::status::Status;

/// The values in force.
#[derive(Debug, Clone)]
pub(super) struct Features {
    arbitration: u32,
    over_temperature: u32,
    under_temperature: u32,
    error_recovery: u32,
    write_cache: u32,
    coalescing: u32,
    /// Coalescing Disable of each vector.
    vectors: Vec<u32>,
    atomicity: u32,
    events: u32,
    /// Number of Queues as it was granted: completion queues in 31:16, submission queues in 15:0, 0's based.
    queues: u32,
    most_queues: u16,
}

const ARBITRATION: u8 = 0x01;
const POWER: u8 = 0x02;
const TEMPERATURE: u8 = 0x04;
const ERROR_RECOVERY: u8 = 0x05;
const WRITE_CACHE: u8 = 0x06;
const QUEUES: u8 = 0x07;
const COALESCING: u8 = 0x08;
const VECTOR: u8 = 0x09;
const ATOMICITY: u8 = 0x0a;
const EVENTS: u8 = 0x0b;

const EVERY_NAMESPACE: u32 = 0xffff_ffff;

impl Features {
    /// As they are after a reset.
    pub(super) fn new(most_queues: u16, vectors: u16) -> Self {
        let queues = u32::from(most_queues.saturating_sub(1));
        Self {
            // Three: eight commands at once.
            arbitration: 3,
            over_temperature: 343,
            under_temperature: 0,
            error_recovery: 0,
            write_cache: 1,
            coalescing: 0,
            vectors: vec![0; usize::from(vectors)],
            atomicity: 0,
            events: 0,
            queues: queues << 16 | queues,
            most_queues,
        }
    }

    /// How many entries to fetch from one queue before the next has its turn.
    pub(super) fn burst(&self) -> u64 {
        1 << (self.arbitration & 7)
    }

    /// Is there an I/O submission queue of this number?
    pub(super) fn has_submission(&self, queue: u16) -> bool {
        (1..=(self.queues & 0xffff) + 1).contains(&u32::from(queue))
    }

    /// Is there an I/O completion queue of this number?
    pub(super) fn has_completion(&self, queue: u16) -> bool {
        (1..=(self.queues >> 16) + 1).contains(&u32::from(queue))
    }

    /// Set Features; dword 0 of the completion.
    ///
    /// # Errors
    /// The status that the command ends with.
    pub(super) fn set(&mut self, command: &Command, io_queues_exist: IoQueues) -> Result<u32, Status> {
        const SAVE: u32 = 1 << 31;
        let (feature, value) = (command.dword(10) as u8, command.dword(11));
        self.value(feature, value, Select::Current)?;
        if command.dword(10) & SAVE != 0 {
            return Err(Status::FEATURE_NOT_SAVEABLE);
        }
        let of_namespace = feature == ERROR_RECOVERY;
        if !of_namespace && !matches!(command.namespace(), 0 | EVERY_NAMESPACE) {
            return Err(Status::FEATURE_NOT_NAMESPACE_SPECIFIC);
        }
        match feature {
            ARBITRATION => self.arbitration = value,
            // One power state.
            POWER if value & 0x1f != 0 => return Err(Status::INVALID_FIELD),
            POWER => {}
            TEMPERATURE => match value >> 20 & 3 {
                0 => self.over_temperature = value & 0xffff,
                1 => self.under_temperature = value & 0xffff,
                _ => return Err(Status::INVALID_FIELD),
            },
            // DULBE is not offered.
            ERROR_RECOVERY if value & 1 << 16 != 0 => return Err(Status::INVALID_FIELD),
            ERROR_RECOVERY => self.error_recovery = value & 0xffff,
            WRITE_CACHE => self.write_cache = value & 1,
            QUEUES => return self.grant(value, io_queues_exist),
            COALESCING => self.coalescing = value & 0xffff,
            VECTOR => {
                if let Some(vector) = self.vectors.get_mut((value & 0xffff) as usize) {
                    *vector = value & 1 << 16;
                }
            }
            ATOMICITY => self.atomicity = value & 1,
            _ => self.events = value,
        }
        Ok(0)
    }

    /// Get Features; dword 0 of the completion.
    ///
    /// # Errors
    /// The status that the command ends with.
    pub(super) fn get(&self, command: &Command) -> Result<u32, Status> {
        let (feature, value) = (command.dword(10) as u8, command.dword(11));
        let select = match command.dword(10) >> 8 & 7 {
            0 => Select::Current,
            // What cannot be saved has the default saved.
            1 | 2 => Select::Default,
            3 => Select::Capabilities,
            _ => return Err(Status::INVALID_FIELD),
        };
        self.value(feature, value, select)
    }

    fn grant(&mut self, value: u32, io_queues_exist: IoQueues) -> Result<u32, Status> {
        let (submission, completion) = (value & 0xffff, value >> 16);
        if submission == 0xffff || completion == 0xffff {
            return Err(Status::INVALID_FIELD);
        }
        if io_queues_exist == IoQueues::Exist {
            return Err(Status::COMMAND_SEQUENCE_ERROR);
        }
        let most = u32::from(self.most_queues.saturating_sub(1));
        self.queues = completion.min(most) << 16 | submission.min(most);
        Ok(self.queues)
    }

    fn value(&self, feature: u8, argument: u32, select: Select) -> Result<u32, Status> {
        let fresh;
        let from = match select {
            Select::Current => self,
            Select::Default => {
                fresh = Self::new(self.most_queues, self.vectors.len() as u16);
                &fresh
            }
            Select::Capabilities => {
                const NAMESPACE_SPECIFIC: u32 = 2;
                const CHANGEABLE: u32 = 4;
                self.value(feature, argument, Select::Current)?;
                return Ok(CHANGEABLE
                    | if feature == ERROR_RECOVERY {
                        NAMESPACE_SPECIFIC
                    } else {
                        0
                    });
            }
        };
        Ok(match feature {
            ARBITRATION => from.arbitration,
            POWER => 0,
            // Only the composite temperature is measured; all sensors at once can be set.
            TEMPERATURE => match (argument >> 16 & 0xf, argument >> 20 & 3) {
                (0 | 0xf, 0) => from.over_temperature,
                (0 | 0xf, 1) => from.under_temperature,
                _ => return Err(Status::INVALID_FIELD),
            },
            ERROR_RECOVERY => from.error_recovery,
            WRITE_CACHE => from.write_cache,
            QUEUES => from.queues,
            COALESCING => from.coalescing,
            VECTOR => {
                let number = argument & 0xffff;
                let vector = from.vectors.get(number as usize).ok_or(Status::INVALID_FIELD)?;
                number | vector
            }
            ATOMICITY => from.atomicity,
            EVENTS => from.events,
            _ => return Err(Status::INVALID_FIELD),
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Select {
    Current,
    Default,
    Capabilities,
}

/// Were I/O queues made since the last reset? Then their number is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IoQueues {
    Exist,
    None,
}
